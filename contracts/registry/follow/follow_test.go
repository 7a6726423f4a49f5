package follow

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/chain/lite"
	"cocoon/contracts/chain/local/adnl"
	"cocoon/contracts/registry"
)

func TestWhatIsNeverReadIsRefusedAndNamed(t *testing.T) {
	w := newWorld(t)
	w.down = errors.New("connection refused")
	f := w.follow(w.section())
	f.Start(t.Context())
	want(t, "unreachable", f, Unread)
	if _, err := f.Snapshot(); !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("%v does not say why", err)
	}
	if st := f.State(); st.Known || st.Light != Red || st.Err == nil || st.Last == nil {
		t.Errorf("%+v", st)
	}
	w.set(func() { w.down = nil })
	check(t, f.Refresh(t.Context()))
	want(t, "reachable", f, "")
	f.Close()
	if err := f.Refresh(t.Context()); err != nil && !errors.Is(err, chain.ErrUnavailable) || w.closed != 1 {
		t.Errorf("closed %d times, %v", w.closed, err)
	}
}

func TestAFrozenChainServesUntilTheLimitAndComesBack(t *testing.T) {
	w := newWorld(t)
	s := w.section()
	s.MaxAge = 2 * time.Hour
	f := w.follow(s)
	defer f.Close()
	check(t, f.Refresh(t.Context()))
	w.freeze()
	for _, c := range []struct {
		pass   time.Duration
		light  Light
		reason Reason
	}{
		{GreenAge - 2*time.Second, Green, ""},
		{2 * time.Second, Amber, ""},
		{AmberAge - GreenAge, Red, ""},
		{2*time.Hour - AmberAge + time.Second, Red, Stale},
	} {
		w.pass(c.pass)
		err := f.Refresh(t.Context())
		if (c.reason == "") != (err == nil) {
			t.Errorf("refresh at %s: %v", c.pass, err)
		}
		st := f.State()
		if st.Light != c.light || !st.Known || st.Version != 0 || st.Age <= 0 || (st.Err == nil) != (c.reason == "") {
			t.Errorf("after another %s: %+v", c.pass, st)
		}
		want(t, c.pass.String(), f, c.reason)
	}
	w.thaw()
	w.block()
	check(t, f.Refresh(t.Context()))
	want(t, "thawed", f, "")
	if st := f.State(); st.Light != Green {
		t.Errorf("%+v", st)
	}
}

func TestAHeadThatIsTooOldAtTheStartIsRefusedByName(t *testing.T) {
	w := newWorld(t)
	w.freeze()
	w.pass(registry.MaxAge + time.Minute)
	f := w.follow(w.section())
	defer f.Close()
	f.Start(t.Context())
	want(t, "old head", f, Stale)
	w.thaw()
	w.block()
	check(t, f.Refresh(t.Context()))
	want(t, "a new block", f, "")
}

func TestChangesAreToldAndOldTermsRemembered(t *testing.T) {
	w := newWorld(t)
	f := w.follow(w.section())
	defer f.Close()
	var told []uint32
	f.OnChange(func(s *registry.Snapshot) { told = append(told, s.Version) })
	check(t, f.Refresh(t.Context()))
	w.block()
	check(t, f.Refresh(t.Context()))
	before, err := f.Snapshot()
	check(t, err)
	old, err := before.Terms()
	check(t, err)
	w.tell(&bind.RootChangePrice{PricePerToken: 30, WorkerFee: 20})
	check(t, f.Refresh(t.Context()))
	now, err := f.Snapshot()
	check(t, err)
	terms, err := now.Terms()
	check(t, err)
	if terms.Price != 30 || terms.WorkerFee != 20 || terms.ParamsVersion <= old.ParamsVersion || terms.ConfigVersion <= old.ConfigVersion || old.Price != 20 {
		t.Errorf("before %+v, now %+v", old, terms)
	}
	if len(told) != 2 {
		t.Errorf("told of versions %v", told)
	}
	for _, c := range []registry.Terms{old, terms} {
		if got, ok := f.TermsAt(int64(c.ConfigVersion), int64(c.ParamsVersion)); !ok || got != c {
			t.Errorf("terms at %d: %+v, %t", c.ConfigVersion, got, ok)
		}
	}
	if got, ok := f.TermsAt(99, 99); ok {
		t.Errorf("terms that nobody saw: %+v", got)
	}
}

func TestARestartGoesOnWithWhatWasKnown(t *testing.T) {
	w := newWorld(t)
	s := w.section()
	s.Dir = filepath.Join(t.TempDir(), "state")
	f := w.follow(s)
	check(t, f.Refresh(t.Context()))
	w.tell(&bind.RootHash{Change: registry.Workers.Op(true), Hash: bind.Hash{5}})
	check(t, f.Refresh(t.Context()))
	f.Close()

	w.set(func() { w.down = errors.New("connection refused") })
	again := func() *Follower {
		f := w.follow(s)
		f.Start(t.Context())
		return f
	}
	f = again()
	got, err := f.Snapshot()
	check(t, err)
	if !got.Has(registry.Workers, bind.Hash{5}) {
		t.Error("the change before the restart is lost")
	}
	f.Close()
	w.pass(registry.MaxAge + time.Second)
	want(t, "too old", again(), Stale)

	for name, spoil := range map[string]func(path string) error{
		"cut":       func(path string) error { return os.Truncate(path, 100) },
		"a folder":  func(path string) error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
		"not there": os.RemoveAll,
	} {
		check(t, os.RemoveAll(filepath.Join(s.Dir, snapshotFile)))
		check(t, got.Save(filepath.Join(s.Dir, snapshotFile)))
		check(t, spoil(filepath.Join(s.Dir, snapshotFile)))
		want(t, name, again(), Unread)
	}
}

func TestASavedRootFromTheFutureOrAnotherNetworkIsNotUsed(t *testing.T) {
	w := newWorld(t)
	s := w.section()
	s.Dir = t.TempDir()
	f := w.follow(s)
	check(t, f.Refresh(t.Context()))
	f.Close()
	w.set(func() { w.down = errors.New("connection refused") })
	w.pass(-time.Hour)
	want(t, "from the future", w.follow(s), Unread)
	w.pass(time.Hour)
	s.Network, s.OneServer = registry.Mainnet, false
	want(t, "another network", w.follow(s), Unread)
}

func TestTheRootMustBeOnItsNetwork(t *testing.T) {
	w := newWorld(t)
	s := w.section()
	s.Network = registry.Testnet
	f := w.follow(s)
	defer f.Close()
	f.Start(t.Context())
	want(t, "another network", f, Foreign)
	s = w.section()
	s.Address = w.owner
	nobody := w.follow(s)
	defer nobody.Close()
	nobody.Start(t.Context())
	want(t, "no root", nobody, Foreign)
}

// TestRunFollowsByItself goes over a liteserver with proofs, from a chain that is not there to one that freezes.
func TestRunFollowsByItself(t *testing.T) {
	w := newWorld(t)
	server, err := adnl.Start(t.Context(), w.chain, adnl.Options{Listen: "127.0.0.1:0", Seed: [32]byte{3}, Now: w.now})
	check(t, err)
	defer func() { check(t, server.Close()) }()
	global, err := adnl.GlobalConfig(w.chain, adnl.Endpoint{Addr: server.Addr(), Key: server.Key()})
	check(t, err)
	s := w.section()
	s.Config, s.Dir = filepath.Join(t.TempDir(), "global.json"), t.TempDir()
	check(t, os.WriteFile(s.Config, global, 0o600))
	f, err := New(s, Deps{Now: w.now})
	check(t, err)
	versions := make(chan uint32, 8)
	f.OnChange(func(s *registry.Snapshot) { versions <- s.Version })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	next := func() uint32 {
		t.Helper()
		select {
		case v := <-versions:
			return v
		case <-time.After(time.Minute):
			t.Fatal("no change is told")
			return 0
		}
	}
	first := next()
	server.Freeze(true)
	w.tell(&bind.RootHash{Change: registry.Models.Op(true), Hash: registry.ModelHash("m")})
	if got, err := f.Snapshot(); err != nil || got.CheckModel("m") == nil {
		t.Errorf("a frozen chain shows the change, or: %v", err)
	}
	server.Freeze(false)
	if second := next(); second != first+1 {
		t.Errorf("version %d after %d", second, first)
	}
	cancel()
	check(t, <-done)
	if got, err := registry.Load(filepath.Join(s.Dir, snapshotFile), w.root); err != nil || got.CheckModel("m") != nil {
		t.Errorf("what was saved: %v", err)
	}
}

// TestTheTrustedBlockDecides: a section that pins another block than the servers' chain has believes none of it.
func TestTheTrustedBlockDecides(t *testing.T) {
	w := newWorld(t)
	server, err := adnl.Start(t.Context(), w.chain, adnl.Options{Listen: "127.0.0.1:0", Seed: [32]byte{3}, Now: w.now})
	check(t, err)
	defer func() { check(t, server.Close()) }()
	global, err := adnl.GlobalConfig(w.chain, adnl.Endpoint{Addr: server.Addr(), Key: server.Key()})
	check(t, err)
	parsed, err := lite.ParseGlobalConfig(global)
	check(t, err)
	s := w.section()
	s.Config = filepath.Join(t.TempDir(), "global.json")
	check(t, os.WriteFile(s.Config, global, 0o600))
	other := parsed.Init
	other.RootHash[0]++
	for name, tc := range map[string]struct {
		pin    lite.KeyBlock
		reason Reason
	}{"the chain's": {parsed.Init, ""}, "another": {other, Foreign}} {
		s.Trusted = &tc.pin
		f, err := New(s, Deps{Now: w.now})
		check(t, err)
		f.Start(t.Context())
		want(t, name, f, tc.reason)
		f.Close()
	}
}

func TestTheFileOfTheNetworkIsReadAtTheStart(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	for name, content := range map[string]string{"none.json": "", "empty.json": "{}", "text.json": "liteservers"} {
		s := w.section()
		s.Config = filepath.Join(dir, name)
		if content != "" {
			check(t, os.WriteFile(s.Config, []byte(content), 0o600))
		}
		if _, err := New(s, Deps{Now: w.now}); err == nil || !strings.Contains(err.Error(), "root.config") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(nil, Deps{Now: w.now}); err == nil {
		t.Error("no section: accepted")
	}
	if _, err := New(w.section(), Deps{Log: slog.New(slog.DiscardHandler), Dial: w.dial}); err == nil {
		t.Error("no clock: accepted")
	}
}
