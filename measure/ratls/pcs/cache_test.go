package pcs

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/tdx"
)

func TestCollateralIsFetchedOnceForEveryoneWhoWaits(t *testing.T) {
	w := newWorld(t)
	src := &answers{name: "pccs", bundle: w.issued(0), gate: make(chan struct{})}
	c := w.cache(Config{Sources: []Source{src}})
	const callers = 64
	var wg sync.WaitGroup
	generations := make(chan [32]byte, callers)
	p := w.name()
	for range callers {
		wg.Go(func() {
			got, err := c.Collateral(t.Context(), p)
			if err != nil {
				t.Error(err)
				return
			}
			generations <- got.Generation()
		})
	}
	close(src.gate)
	wg.Wait()
	close(generations)
	first := <-generations
	for g := range generations {
		if g != first {
			t.Error("callers got different collateral")
		}
	}
	if _, err := c.Collateral(t.Context(), p); err != nil {
		t.Error(err)
	}
	if n := src.asked.Load(); n != 1 {
		t.Errorf("the source was asked %d times, want 1", n)
	}
}

func TestOneTEEsCollateralIsNotAnothers(t *testing.T) {
	w := newWorld(t)
	src := &answers{name: "pccs", bundle: w.issued(0)}
	c := w.cache(Config{Sources: []Source{src}})
	p := w.name()
	p.TEE = tdx.SGX
	_, err := c.Collateral(t.Context(), p)
	if !strings.Contains(err.Error(), "was asked for") || !isRefusal(err) {
		t.Errorf("got %v, want a refusal that names the mix-up", err)
	}
}

func TestHalfwayCollateralIsRenewedWhileTheOldOneServes(t *testing.T) {
	w := newWorld(t)
	src := &answers{name: "pccs", bundle: w.issued(0)}
	changed := make(chan dcap.Platform, 4)
	c := w.cache(Config{Sources: []Source{src}, Changed: func(p dcap.Platform, _ *dcap.Collateral) { changed <- p }})
	p := w.name()
	old, err := c.Collateral(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	w.at(14 * day)
	if _, err := c.Collateral(t.Context(), p); err != nil || src.asked.Load() != 1 {
		t.Fatalf("asked %d times before half of the life, %v", src.asked.Load(), err)
	}
	w.at(16 * day)
	src.mu.Lock()
	src.bundle, src.gate = w.issued(16*day), make(chan struct{})
	src.mu.Unlock()
	during, err := c.Collateral(t.Context(), p) // must not wait for the gate
	if err != nil || during.Generation() != old.Generation() {
		t.Fatalf("during renewal: %v, changed %v", err, during.Generation() != old.Generation())
	}
	close(src.gate)
	settle(c)
	after, err := c.Collateral(t.Context(), p)
	if err != nil || after.Generation() == old.Generation() {
		t.Errorf("after renewal: %v, still the old one", err)
	}
	if got := len(changed); got != 2 {
		t.Errorf("%d changes were announced, want 2", got)
	}
}

func TestUnreachableSourceServesUntilExpiryThenRefuses(t *testing.T) {
	w := newWorld(t)
	src := &answers{name: "http://pccs:8081", bundle: w.issued(0)}
	c := w.cache(Config{Sources: []Source{src}})
	p := w.name()
	if c.Holds(p) {
		t.Error("collateral is held before anybody asked")
	}
	first, err := c.Collateral(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	src.set(nil, errors.New("connection refused"))
	for _, after := range []time.Duration{16 * day, 20 * day, first.Expires().Sub(start())} {
		w.at(after)
		got, err := c.Collateral(t.Context(), p)
		if err != nil || got.Generation() != first.Generation() || !c.Holds(p) {
			t.Fatalf("after %s: %v, held %t", after, err, c.Holds(p))
		}
		settle(c)
	}
	w.at(first.Expires().Sub(start()) + time.Second)
	_, err = c.Collateral(t.Context(), p)
	if !isRefusal(err) || dcap.ClassOf(err) != dcap.ClassCollateralExpired {
		t.Fatalf("got %v of class %q, want a refusal of class collateral_expired", err, dcap.ClassOf(err))
	}
	for _, want := range []string{
		p.String(), "tcb_info expired at " + first.Expires().Format(time.RFC3339), "http://pccs:8081: connection refused",
		"give a newer bundle", "next try after",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %q", want, err)
		}
	}

	if c.Holds(p) {
		t.Error("expired collateral counts as held")
	}
	asked := src.asked.Load()
	if _, err := c.Collateral(t.Context(), p); !isRefusal(err) || src.asked.Load() != asked {
		t.Errorf("a second refusal asked the source again: %v", err)
	}
	src.set(w.issued(40*day), nil)
	w.at(40 * day)
	if _, err := c.Collateral(t.Context(), p); err != nil {
		t.Errorf("the source is back, but: %v", err)
	}
}

func TestFailuresOfRenewalAreRetriedSlowly(t *testing.T) {
	w := newWorld(t)
	src := &answers{name: "pccs", bundle: w.issued(0)}
	c := w.cache(Config{Sources: []Source{src}})
	p := w.name()
	if _, err := c.Collateral(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	src.set(nil, errors.New("down"))
	base := src.asked.Load()
	for minute := range 24 * 60 {
		w.at(15*day + time.Duration(minute)*time.Minute)
		if _, err := c.Collateral(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		settle(c)
	}
	// 1 min to 1 h with jitter: once an hour and a few more at the beginning.
	if n := src.asked.Load() - base; n < 20 || n > 60 {
		t.Errorf("asked %d times in a day, want between 20 and 60", n)
	}
}

func TestRollbackIsRefusedAndTheNextSourceAsked(t *testing.T) {
	lists := func(s *measuretest.CollateralSpec, after time.Duration) {
		s.Now = start().Add(after)
	}
	for name, tc := range map[string]struct {
		spec measuretest.CollateralSpec
		edit func(*measuretest.CollateralSpec)
		want string
	}{
		"older in all parts":        {measuretest.CollateralSpec{}, func(s *measuretest.CollateralSpec) { lists(s, -day) }, "older"},
		"lower evaluation number":   {measuretest.CollateralSpec{Now: start().Add(2 * time.Hour)}, renumber(measuretest.EvaluationNumber - 1), "evaluation number"},
		"newer, but an older CRL":   {measuretest.CollateralSpec{Now: start().Add(2 * time.Hour)}, nil, "older"},
		"same collateral once more": {measuretest.CollateralSpec{Now: start()}, nil, "same as"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			stale, good := &answers{name: "stale", bundle: w.issued(0)}, &answers{name: "good"}
			good.set(nil, errors.New("down"))
			c := w.cache(Config{Sources: []Source{stale, good}})
			p := w.name()
			held, err := c.Collateral(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			spec := tc.spec
			if tc.edit != nil {
				tc.edit(&spec)
			}
			b := w.bundle(spec)
			if name == "newer, but an older CRL" {
				b.PCKCRL = w.issued(-day).PCKCRL
			}
			stale.set(b, nil)
			w.at(16 * day)
			if _, err := c.Collateral(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			settle(c)
			status := c.Status()
			if len(status) != 1 || status[0].Held.Generation() != held.Generation() {
				t.Fatalf("the older collateral took over: %+v", status)
			}
			if status[0].Err == nil || !strings.Contains(status[0].Err.Error(), tc.want) {
				t.Errorf("error %v, want one that says %q", status[0].Err, tc.want)
			}
			if good.asked.Load() != 1 {
				t.Error("the next source was not asked")
			}
		})
	}
}

func TestChangedJSONIsNeverServed(t *testing.T) {
	w := newWorld(t)
	bundle := w.issued(0)
	mustBeJSON(t, bundle.TCBInfo)
	bad := *bundle
	bad.TCBInfo = strings.Replace(bad.TCBInfo, "UpToDate", "OutOfDate", 1)
	if bad.TCBInfo == bundle.TCBInfo {
		t.Fatal("nothing was changed")
	}
	c := w.cache(Config{Sources: []Source{&answers{name: "evil", bundle: &bad}}})
	if _, err := c.Collateral(t.Context(), w.name()); !isRefusal(err) || !strings.Contains(err.Error(), "evil") {
		t.Errorf("got %v, want a refusal that names the source", err)
	}
	c = w.cache(Config{Sources: []Source{&answers{name: "evil", bundle: &bad}, &answers{name: "good", bundle: bundle}}})
	if _, err := c.Collateral(t.Context(), w.name()); err != nil {
		t.Errorf("an evil source before a good one: %v", err)
	}
}

func TestWhoGivesUpWaitingDoesNotStopTheOthers(t *testing.T) {
	w := newWorld(t)
	src := &answers{name: "pccs", bundle: w.issued(0), gate: make(chan struct{})}
	c := w.cache(Config{Sources: []Source{src}})
	p := w.name()
	ctx, cancel := context.WithCancel(t.Context())
	impatient := make(chan error, 1)
	go func() {
		_, err := c.Collateral(ctx, p)
		impatient <- err
	}()
	for src.asked.Load() == 0 { // until the flight is under way
		if _, _, err := c.begin(p); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	if err := <-impatient; !errors.Is(err, context.Canceled) || isRefusal(err) {
		t.Errorf("got %v, want the caller's own end", err)
	}
	close(src.gate)
	if _, err := c.Collateral(t.Context(), p); err != nil {
		t.Error(err)
	}
	if n := src.asked.Load(); n != 1 {
		t.Errorf("asked %d times, want 1", n)
	}
}

func TestCloseEndsWhatIsUnderWay(t *testing.T) {
	w := newWorld(t)
	src := &answers{name: "pccs", gate: make(chan struct{})}
	c := w.cache(Config{Sources: []Source{src}})
	done := make(chan error, 1)
	go func() {
		_, err := c.Collateral(t.Context(), w.name())
		done <- err
	}()
	for src.asked.Load() == 0 {
		select {
		case err := <-done:
			t.Fatal(err)
		default:
		}
	}
	c.Close()
	if err := <-done; !isRefusal(err) {
		t.Errorf("got %v, want a refusal", err)
	}
	if _, err := c.Collateral(t.Context(), w.name()); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed cache says %v", err)
	}
}

func TestStrangersCannotMakeTheCacheALoad(t *testing.T) {
	w := newWorld(t)
	src := &answers{name: "pcs", bundle: w.issued(0)}
	c := w.cache(Config{Sources: []Source{src}})
	p := w.name()
	if _, err := c.Collateral(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	src.set(nil, ErrNotFound)
	busy := 0
	for n := range 1000 {
		if _, err := c.Collateral(t.Context(), unknown(n)); errors.Is(err, ErrBusy) {
			busy++
		} else if !isRefusal(err) || dcap.ClassOf(err) != ClassUnavailable {
			t.Fatalf("platform %d: %v", n, err)
		}
	}
	if asked := src.asked.Load(); asked > strangersBurst+1 || busy < 1000-strangersBurst-1 {
		t.Errorf("%d requests went out, %d were refused", asked, busy)
	}
	if _, err := c.Collateral(t.Context(), p); err != nil {
		t.Errorf("the known platform suffers: %v", err)
	}
	for n := range 5 * maxPlatforms { // slowly, so that the limit lets them through
		w.at(time.Duration(n) * 3 * time.Second)
		if _, err := c.Collateral(t.Context(), unknown(n)); !isRefusal(err) {
			t.Fatalf("platform %d: %v", n, err)
		}
	}
	if len(c.entries) > maxPlatforms {
		t.Errorf("%d entries, at most %d", len(c.entries), maxPlatforms)
	}
	asked := src.asked.Load()
	if _, err := c.Collateral(t.Context(), p); err != nil || src.asked.Load() != asked {
		t.Errorf("the known platform was forgotten: %v", err)
	}
}

func TestAPlatformNobodyKnowsIsAskedForRarely(t *testing.T) {
	w := newWorld(t)
	src := &answers{name: "pcs", err: ErrNotFound}
	c := w.cache(Config{Sources: []Source{src}})
	for second := range 20 * 60 {
		w.at(time.Duration(second) * time.Second)
		if _, err := c.Collateral(t.Context(), unknown(1)); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
	}
	if n := src.asked.Load(); n != 2 {
		t.Errorf("asked %d times in 20 minutes, want 2", n)
	}
}

// panics is a Source with a bug.
type panics struct{}

func (panics) String() string { return "broken" }

func (panics) Bundle(context.Context, dcap.Platform) (*dcap.Bundle, error) {
	var none []int
	_ = none[len(none)]
	return nil, nil
}

func TestAPanicRefusesOnePlatformOnly(t *testing.T) {
	w := newWorld(t)
	c := w.cache(Config{Sources: []Source{panics{}}})
	if _, err := c.Collateral(t.Context(), w.name()); !isRefusal(err) || !strings.Contains(err.Error(), "panic") {
		t.Errorf("got %v, want a refusal that says so", err)
	}
}

func TestNoSourceIsSaidPlainly(t *testing.T) {
	w := newWorld(t)
	c := w.cache(Config{})
	_, err := c.Collateral(t.Context(), w.name())
	if !isRefusal(err) || !strings.Contains(err.Error(), "no source is configured") || dcap.ClassOf(err) != ClassUnavailable {
		t.Errorf("got %v", err)
	}
}

func TestRunRenewsWithoutBeingAsked(t *testing.T) {
	w := newWorld(t)
	p, first, second := w.name(), w.issued(0), w.issued(20*day)
	synctest.Test(t, func(t *testing.T) {
		zero := time.Now()
		src := &answers{name: "pccs", bundle: first}
		c, err := NewCache(Config{
			Roots: w.platform.Roots(), Sources: []Source{src}, Now: func() time.Time { return start().Add(time.Since(zero)) },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- c.Run(ctx) }()
		if _, err := c.Collateral(ctx, p); err != nil {
			t.Fatal(err)
		}
		<-time.After(14 * day)
		synctest.Wait()
		if n := src.asked.Load(); n != 1 {
			t.Errorf("asked %d times before half of the life, want 1", n)
		}
		src.set(second, nil)
		<-time.After(7 * day)
		synctest.Wait()
		if got := c.Status()[0]; !got.Held.Expires().After(start().Add(31 * day)) {
			t.Errorf("not renewed: %+v", got)
		}
		stop()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run ended with %v", err)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	w := newWorld(t)
	for name, cfg := range map[string]Config{"no roots": {Now: w.clock}, "no clock": {Roots: w.platform.Roots()}} {
		if _, err := NewCache(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func isRefusal(err error) bool {
	_, ok := errors.AsType[*RefusalError](err)
	return ok
}

// BenchmarkCollateralFromMemory is what every judgement of a quote pays.
func BenchmarkCollateralFromMemory(b *testing.B) {
	p, err := measuretest.NewPlatform(measuretest.Options{Seed: [measuretest.SeedSize]byte{1}, Now: start()})
	if err != nil {
		b.Fatal(err)
	}
	bundle, err := p.Bundle()
	if err != nil {
		b.Fatal(err)
	}
	c, err := NewCache(Config{Roots: p.Roots(), Sources: []Source{&answers{name: "pccs", bundle: bundle}}, Now: start})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	col, err := OpenAtIssue(bundle, p.Roots())
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := c.Collateral(b.Context(), col.Platform()); err != nil {
			b.Fatal(err)
		}
	}
}
