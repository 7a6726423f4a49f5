package promptkeys

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"cocoon/contracts/promptcrypt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// manager is a scripted key manager.
type manager struct {
	mu    sync.Mutex
	keys  []tl.KeyManagerPrivateKey
	old   bool // knows the first generation's query only, and answers nothing else, as that generation does
	asked []tl.Function
	dials int
	down  bool
	other tl.Object // the answer, when it is another
	done  context.CancelFunc
}

func (m *manager) Query(ctx context.Context, fn tl.Function) (tl.Object, error) {
	m.mu.Lock()
	m.asked = append(m.asked, fn)
	out, old, other := &tl.KeyManagerPrivateKeys{Keys: m.keys}, m.old, m.other
	m.mu.Unlock()
	switch fn.(type) {
	case *tl.KeyManagerGetProxyPrivateKeys:
		if old {
			<-ctx.Done()
			return nil, ctx.Err()
		}
	case *tl.KeyManagerGetProxyPrivateKeysDec:
	default:
		return nil, &session.QueryError{Code: session.CodeProtocol, Message: "unknown function"}
	}
	if other != nil {
		return other, nil
	}
	return out, nil
}

func (*manager) Packet(context.Context, tl.Object) error { return nil }

func (m *manager) set(change func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	change()
}

func (m *manager) questions() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.asked)
}

// ring is a ring under test, in a bubble of its own time.
type ring struct {
	*testing.T
	*Ring
	log *bytes.Buffer
}

// inRing runs a test with a ring that has asked once.
func inRing(t *testing.T, m *manager, change func(*Config), test func(t ring)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		log := new(bytes.Buffer)
		cfg := Config{Now: time.Now, Test: true, Log: slog.New(slog.NewTextHandler(log, nil)), Dial: func(context.Context) (net.Conn, error) {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.dials++; m.down {
				return nil, errors.New("nobody is there")
			}
			near, far := net.Pipe()
			life, end := context.WithCancel(ctx)
			m.done = end
			all.Go(func() { _ = session.New(far, session.Options{}, m).Run(life) })
			return near, nil
		}}
		if change != nil {
			change(&cfg)
		}
		r, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() { _ = r.Run(ctx) })
		synctest.Wait()
		test(ring{t, r, log})
		cancel()
		all.Wait()
		if s := r.Status(); s.Keys != 0 {
			t.Errorf("%d keys stay behind", s.Keys)
		}
	})
}

func seed(n byte) Key { return Key(bytes.Repeat([]byte{n}, promptcrypt.KeySize)) }

func keyOf(n byte, until time.Duration) tl.KeyManagerPrivateKey {
	return tl.KeyManagerPrivateKey{PrivateKey: seed(n), ValidUntilUtime: int32(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(until).Unix())}
}

// TestKeysAreHeldUntilTheirEnd: each key is found by its public half, and by nothing else, while it is valid.
func TestKeysAreHeldUntilTheirEnd(t *testing.T) {
	m := &manager{keys: []tl.KeyManagerPrivateKey{keyOf(1, time.Minute), keyOf(2, time.Hour), keyOf(2, time.Minute), keyOf(3, 0), keyOf(3, -time.Hour), keyOf(0, time.Hour)}}
	inRing(t, m, nil, func(t ring) {
		m.set(func() { m.down = true }) // from here on nothing new is learned
		m.done()
		for n, want := range map[byte]bool{1: true, 2: true, 3: false, 0: false, 9: false} {
			got, ok := t.Private(t.Context(), promptcrypt.Public(seed(n)))
			if ok != want || ok && got != seed(n) {
				t.Errorf("key %d: %v", n, ok)
			}
		}
		if s := t.Status(); s.Keys != 2 || s.Fetched.IsZero() {
			t.Errorf("%+v", s)
		}
		<-time.After(2 * time.Minute)
		_, first := t.Private(t.Context(), promptcrypt.Public(seed(1)))
		_, second := t.Private(t.Context(), promptcrypt.Public(seed(2)))
		if s := t.Status(); first || !second || s.Keys != 1 || !strings.Contains(s.Reason, "nobody is there") {
			t.Errorf("%v %v %+v", first, second, s)
		}
		if text := t.log.String(); strings.Contains(text, "0101") || strings.Contains(text, base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))[:8]) {
			t.Errorf("a key is in the log: %s", text)
		}
	})
}

// TestTheKeyManagerIsAskedEveryFewSeconds: and at once for a key that is missed, but no more than once a second.
func TestTheKeyManagerIsAskedEveryFewSeconds(t *testing.T) {
	m := &manager{}
	inRing(t, m, nil, func(t ring) {
		<-time.After(10 * time.Minute)
		if n := m.questions(); n < 60 || n > 120 {
			t.Errorf("asked %d times in ten minutes", n)
		}
		if young := missEvery - time.Since(t.Status().Fetched); young > 0 { // an answer of this second would stand
			<-time.After(young)
		}
		m.set(func() { m.keys = []tl.KeyManagerPrivateKey{keyOf(5, time.Hour)} })
		began := time.Now()
		if _, ok := t.Private(t.Context(), promptcrypt.Public(seed(5))); !ok || time.Since(began) > missWait {
			t.Errorf("a new key is not found (%s)", time.Since(began))
		}
		before := m.questions()
		for range 200 {
			if _, ok := t.Private(t.Context(), promptcrypt.Public(seed(6))); ok {
				t.Fatal("a key out of nothing")
			}
		}
		if took, n := time.Since(began), m.questions()-before; n > int(took/time.Second)+2 {
			t.Errorf("asked %d times in %s", n, took)
		}
	})
}

// TestMissesDoNotWaitForAManagerThatIsAway: nor before Run, nor longer than the request lives.
func TestMissesDoNotWaitForAManagerThatIsAway(t *testing.T) {
	m := &manager{down: true}
	inRing(t, m, nil, func(t ring) {
		began := time.Now()
		if _, ok := t.Private(t.Context(), seed(1)); ok || time.Since(began) != 0 {
			t.Errorf("%v after %s", ok, time.Since(began))
		}
		<-time.After(10 * time.Minute)
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.dials < 10 || m.dials > 25 {
			t.Errorf("%d connections in ten minutes", m.dials)
		}
	})
}

// TestTheFirstGenerationIsAskedInItsWords: its key manager does not answer the second's query.
func TestTheFirstGenerationIsAskedInItsWords(t *testing.T) {
	m := &manager{old: true, keys: []tl.KeyManagerPrivateKey{keyOf(1, time.Hour)}}
	inRing(t, m, func(c *Config) { c.ConfigVersion = func() int32 { return 77 } }, func(t ring) {
		<-time.After(2 * time.Minute)
		if _, ok := t.Private(t.Context(), promptcrypt.Public(seed(1))); !ok {
			t.Errorf("no key: %+v", t.Status())
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		second, ok := m.asked[1].(*tl.KeyManagerGetProxyPrivateKeysDec)
		if _, first := m.asked[0].(*tl.KeyManagerGetProxyPrivateKeys); !first || !ok || second.MinConfigVersion != 77 {
			t.Errorf("asked %+v", m.asked[:2])
		}
		for _, fn := range m.asked[2:] {
			if _, ok := fn.(*tl.KeyManagerGetProxyPrivateKeysDec); !ok {
				t.Errorf("asked %s again", fn.TLName())
			}
		}
	})
}

// TestThePublishedTestKeyIsForTestNetworks: its private half is known to everybody.
func TestThePublishedTestKeyIsForTestNetworks(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString("BwrYLmEy2rMgZ/tyCv0AYFVaZPkFu+wNwoSQiJUbOmM=")
	if err != nil {
		t.Fatal(err)
	}
	public, err := base64.StdEncoding.DecodeString("+2fQ/NM48g4NSVfZ6CrcEB0uNROkSKOrRgUu4biMWBg=")
	if err != nil {
		t.Fatal(err)
	}
	if got := promptcrypt.Public(Key(raw)); !bytes.Equal(got[:], public) {
		t.Fatalf("its public half is %x", got)
	}
	m := &manager{keys: []tl.KeyManagerPrivateKey{{PrivateKey: Key(raw), ValidUntilUtime: 2_000_000_000}, keyOf(2, time.Hour)}}
	for _, test := range []bool{true, false} {
		inRing(t, m, func(c *Config) { c.Test = test }, func(t ring) {
			if _, ok := t.Private(t.Context(), Key(public)); ok != test || strings.Contains(t.log.String(), "published test key") == test {
				t.Errorf("test network %v: held %v, log %s", test, ok, t.log)
			}
			if _, ok := t.Private(t.Context(), promptcrypt.Public(seed(2))); !ok {
				t.Error("the other key is lost")
			}
		})
	}
}

// TestAnswersThatAreNone end the session and leave what is held.
func TestAnswersThatAreNone(t *testing.T) {
	for name, other := range map[string]tl.Object{
		"too many":     &tl.KeyManagerPrivateKeys{Keys: make([]tl.KeyManagerPrivateKey, maxKeys+1)},
		"another type": &tl.ClientWorkerTypesV2{},
	} {
		t.Run(name, func(t *testing.T) {
			m := &manager{keys: []tl.KeyManagerPrivateKey{keyOf(1, time.Hour)}}
			inRing(t, m, nil, func(t ring) {
				m.set(func() { m.other = other })
				<-time.After(30 * time.Second)
				if _, ok := t.Private(t.Context(), promptcrypt.Public(seed(1))); !ok || t.Status().Reason == "" {
					t.Errorf("%v %+v", ok, t.Status())
				}
			})
		})
	}
}

func TestWhatARingNeeds(t *testing.T) {
	dial := func(context.Context) (net.Conn, error) { return nil, errors.New("no") }
	for name, cfg := range map[string]Config{"dialer": {Now: time.Now}, "clock": {Dial: dial}} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without a %s: %v", name, err)
		}
	}
	r, err := New(Config{Dial: dial, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Private(t.Context(), seed(1)); ok || r.Status().Reason == "" {
		t.Error("a ring that never ran has keys")
	}
}
