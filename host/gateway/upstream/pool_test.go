package upstream

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
)

// fleet is a pool with proxies that accept everybody.
type fleet struct {
	t     *testing.T
	pool  *Pool
	mu    sync.Mutex
	asked []*tl.ClientRunQueryEx
	by    map[string]*session.Session
	dials map[string]int
	stop  func()
}

// member is one proxy of a fleet.
type member struct {
	*proxy
	f *fleet
}

func (m *member) Packet(_ context.Context, v tl.Object) error {
	if q, ok := v.(*tl.ClientRunQueryEx); ok {
		m.f.mu.Lock()
		m.f.asked = append(m.f.asked, q)
		m.f.mu.Unlock()
	}
	return nil
}

func newFleet(t *testing.T, c Config) *fleet {
	t.Helper()
	f := &fleet{t: t, by: make(map[string]*session.Session), dials: make(map[string]int)}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	c.Account, c.Now, c.Log = owner{secret: "s"}, time.Now, slog.New(slog.DiscardHandler)
	if c.Poll = 10 * time.Millisecond; c.Backoff == 0 {
		c.Backoff = time.Millisecond
	}
	c.Dial = func(_ context.Context, address string) (net.Conn, Peer, error) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.dials[address]++
		if strings.HasPrefix(address, "dead") {
			return nil, Peer{}, errors.New("connection refused")
		}
		near, far := net.Pipe()
		s := session.New(far, session.Options{}, &member{newProxy(), f})
		f.by[address] = s
		running.Go(func() { _ = s.Run(ctx) })
		return near, Peer{Verified: true}, nil
	}
	var err error
	if f.pool, err = New(c); err != nil {
		t.Fatal(err)
	}
	running.Go(func() { f.pool.Run(ctx) })
	f.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
	})
	t.Cleanup(f.stop)
	return f
}

func (f *fleet) until(what string, ok func() bool) {
	f.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			f.t.Fatalf("waited in vain for %s: %+v", what, f.pool.Status())
		}
	}
}

// states are the proxies by name and state.
func (f *fleet) states() (out []string) {
	for _, s := range f.pool.Status() {
		out = append(out, s.Address+" "+string(s.State))
	}
	return out
}

func (f *fleet) reach(want ...string) {
	f.t.Helper()
	f.until(strings.Join(want, ", "), func() bool { return slices.Equal(f.states(), want) })
}

// begin hands a request to the proxy and waits until it is there.
func (f *fleet) begin(l *Link, id byte) *Call {
	f.t.Helper()
	c, err := l.Start(f.t.Context(), Ask{ID: [32]byte{id}, Path: "/v1/chat/completions", ContentType: "application/json", Timeout: time.Minute})
	if err != nil {
		f.t.Fatal(err)
	}
	f.until("the request", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return slices.ContainsFunc(f.asked, func(q *tl.ClientRunQueryEx) bool { return q.RequestID == c.ID })
	})
	return c
}

// end answers a request.
func (f *fleet) end(address string, c *Call) {
	f.t.Helper()
	f.mu.Lock()
	s := f.by[address]
	f.mu.Unlock()
	err := s.Send(f.t.Context(), &tl.ClientQueryAnswerErrorEx{RequestID: c.ID, ErrorCode: 651, Error: "no workers for model", FinalInfo: &tl.ClientQueryFinalInfo{}})
	if err != nil {
		f.t.Fatal(err)
	}
	if _, err := c.Recv(time.Minute); err == nil || errors.Is(err, ErrIdle) || errors.Is(err, ErrLost) {
		f.t.Errorf("the answer of a session that is left: %v", err)
	}
	c.Forget()
}

func TestAProxyThatDisappearsFinishesWhatItCarries(t *testing.T) {
	f := newFleet(t, Config{Proxies: []string{"a", "b"}})
	f.reach("a ready", "b ready")
	first := f.pool.Links()[0]
	call := f.begin(first, 1)

	f.pool.Set([]string{"b", "c", "c"})
	f.reach("b ready", "c ready", "a draining")
	if got := f.pool.Pick("m", nil); got == first {
		t.Error("the proxy that left is picked")
	}
	f.end("a", call)
	f.reach("b ready", "c ready")

	f.pool.Set([]string{"a", "b"})
	f.reach("a ready", "b ready")
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dials["a"] != 2 || f.dials["b"] != 1 || f.dials["c"] != 1 {
		t.Errorf("dials %v: who stays keeps the session", f.dials)
	}
}

func TestASessionIsMadeAnewWhenItsGroundsChange(t *testing.T) {
	f := newFleet(t, Config{Proxies: []string{"a"}})
	f.reach("a ready")
	call := f.begin(f.pool.Links()[0], 2)
	f.pool.Renew()
	f.reach("a draining")
	f.end("a", call)
	f.reach("a ready")
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dials["a"] != 2 {
		t.Errorf("dials %v", f.dials)
	}
}

func TestARequestThatNeverEndsDoesNotKeepASession(t *testing.T) {
	f := newFleet(t, Config{Proxies: []string{"a"}, Drain: 20 * time.Millisecond})
	f.reach("a ready")
	call := f.begin(f.pool.Links()[0], 3)
	f.pool.Set(nil)
	if _, err := call.Recv(time.Minute); !errors.Is(err, ErrLost) {
		t.Errorf("the request ended with %v", err)
	}
	f.reach()
}

func TestADeadProxyIsTriedUntilItIsUsedNoMore(t *testing.T) {
	f := newFleet(t, Config{Proxies: []string{"dead"}})
	f.reach("dead down")
	f.until("another attempt", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.dials["dead"] > 2
	})
	if why := f.pool.Status()[0].Reason; !strings.Contains(why, "connection refused") {
		t.Errorf("reason %q", why)
	}
	f.pool.Set([]string{"a"})
	f.reach("a ready")
}

func TestARetryDoesNotWaitForThePauseToEnd(t *testing.T) {
	f := newFleet(t, Config{Proxies: []string{"dead", "a"}, Backoff: time.Hour})
	f.reach("dead down", "a ready")
	for want := range 4 {
		f.until("another attempt", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.dials["dead"] > want && f.dials["a"] == 1
		})
		f.pool.Retry()
	}
	f.reach("dead down", "a ready")
}

func TestRecordsOutliveARestart(t *testing.T) {
	name := filepath.Join(t.TempDir(), "scores.json")
	f := newFleet(t, Config{Proxies: []string{"a", "b", "gone"}, ScoreFile: name})
	f.reach("a ready", "b ready", "gone ready")
	links := f.pool.Links()
	links[0].Report(true, 0)
	links[0].Report(false, time.Second)
	links[1].Report(false, 10*time.Millisecond)
	links[2].Report(false, time.Second)
	f.pool.Set([]string{"a", "b"})
	f.stop()

	g := newFleet(t, Config{Proxies: []string{"a", "b"}, ScoreFile: name})
	g.reach("a ready", "b ready")
	was := g.pool.Status()
	if was[0].Requests != 2 || was[0].Failures != 1 || was[1].Requests != 1 || was[0].Score <= was[1].Score {
		t.Errorf("records %+v", was)
	}
	if got := g.pool.Pick("m", nil); got.Address() != "b" {
		t.Errorf("picked %s", got.Address())
	}
	g.pool.Set([]string{"a", "b", "gone"})
	if s := g.pool.Status()[2]; s.Requests != 1 {
		t.Errorf("the record of a proxy that was away: %+v", s)
	}
	g.stop()
	if err := os.WriteFile(name, []byte(`{"schema":"cocoon.gateway.scores/1","proxies":{"a":{"requests":-1}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	h := newFleet(t, Config{Proxies: []string{"a"}, ScoreFile: name})
	h.reach("a ready")
	if s := h.pool.Status()[0]; s.Requests != 0 {
		t.Errorf("a broken file was believed: %+v", s)
	}
}

func TestABadRecordFades(t *testing.T) {
	now := time.Unix(1000, 0)
	var s score
	for range 10 {
		s.note(now, true, 0)
	}
	at := s.value(now)
	half, late := s.value(now.Add(halfLife)), s.value(now.Add(20*halfLife))
	if at <= half || half <= late || late > newcomer+0.06 {
		t.Errorf("score %v, after half a life %v, after twenty %v", at, half, late)
	}
}

// TestWhoRefusesAtOnceIsNotAskedFirst: only answers say how fast a proxy is.
func TestWhoRefusesAtOnceIsNotAskedFirst(t *testing.T) {
	now := time.Unix(1_795_000_000, 0)
	var serves, refuses score
	for range 20 {
		serves.note(now, false, 200*time.Millisecond)
		refuses.note(now, false, 0)
	}
	if s, r := serves.value(now), refuses.value(now); r <= s {
		t.Errorf("who refuses scores %v, who serves %v; lower is asked first", r, s)
	}
}

func TestVersionsThatAreOffered(t *testing.T) {
	f := newFleet(t, Config{Proxies: []string{"a"}, MaxVersion: 3})
	f.until("a refusal or a session", func() bool { return f.pool.Status()[0].State != Connecting })
	if s := f.pool.Status()[0]; s.State != Refused || !strings.Contains(s.Reason, "offered were 1 to 3") {
		t.Errorf("a proxy that chose what was not offered: %s, %s", s.State, s.Reason)
	}
	c := Config{MaxVersion: 6}
	if err := c.validate(); err == nil || !strings.Contains(err.Error(), "MaxVersion 6") {
		t.Errorf("error %v", err)
	}
}

func FuzzScores(f *testing.F) {
	for _, seed := range []string{
		`{"schema":"cocoon.gateway.scores/1","proxies":{}}`, `{"schema":"cocoon.gateway.scores/1","proxies":{"a:1":{"requests":2,"failures":1,"latency_s":0.5,"success":0.8,"at":"2026-01-02T03:04:05Z"}}}`,
		`{"schema":"x"}`, `{"schema":"cocoon.gateway.scores/1","proxies":{"a":{"requests":1,"success":2}}}`, `{"proxies":{"a":{"x":1}}}`, `{}{}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := parseScores(data)
		if err != nil {
			return
		}
		for name, s := range all {
			if v := s.value(s.At); !(v > 0) || v > 1e6 {
				t.Errorf("%q: %+v has the value %v", name, s, v)
			}
		}
	})
}
