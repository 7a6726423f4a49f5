package ratls

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/measure/policy"
	"cocoon/measure/ratls/cert"
)

func TestIdentityMakesACertificateOfEachProfile(t *testing.T) {
	w := newWorld(t)
	id := w.identity()
	keys := map[cert.Key]bool{}
	for _, p := range []Profile{V1, V2} {
		c, err := id.Certificate(p)
		if err != nil {
			t.Fatal(err)
		}
		e, err := cert.Inspect(c.Leaf, cert.Server)
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind != cert.TDX || (e.Claims != nil) != (p == V2) || !c.Leaf.NotBefore.Equal(noon) {
			t.Errorf("v%d: %+v", p, e)
		}
		keys[e.Key] = true
		if p == V2 && (e.Claims.Nonce == [16]byte{} || e.Claims.Seqno != 77 || e.Claims.NotAfter != noon.Add(cert.DefaultLifetime).Unix()) {
			t.Errorf("claims are %+v", e.Claims)
		}
	}
	if len(keys) != 2 || !id.Expires().Equal(noon.Add(cert.DefaultLifetime)) {
		t.Errorf("%d keys, end %s", len(keys), id.Expires())
	}
	if _, err := w.identity(noV2).Certificate(V2); !errors.Is(err, ErrProfile) {
		t.Errorf("without claims: %v", err)
	}
}

func TestCertificatesNearTheirEndAreNotShown(t *testing.T) {
	w := newWorld(t)
	id := w.identity()
	w.clock.set(noon.Add(cert.DefaultLifetime - MinLeft))
	if _, err := id.Certificate(V1); err != nil {
		t.Errorf("with an hour left: %v", err)
	}
	w.clock.advance(time.Second)
	for _, p := range []Profile{V1, V2} {
		if _, err := id.Certificate(p); err == nil || !strings.Contains(err.Error(), "ends in 59m59s") {
			t.Errorf("v%d with less: %v", p, err)
		}
	}
	empty, err := NewIdentity(IdentityConfig{Now: w.clock.time})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := empty.Certificate(V1); err == nil || !empty.Expires().IsZero() {
		t.Errorf("without any: %v", err)
	}
	d, s := w.pair()
	d.Credentials = empty
	if m := meet(t, d, s); CodeOf(m.clientErr) != CodeCredentials {
		t.Errorf("client without a certificate: %v", m.clientErr)
	}
}

func TestANewCertificateIsCheckedBeforeItIsShown(t *testing.T) {
	w := newWorld(t)
	var quoter atomic.Pointer[Quoter]
	set := func(q Quoter) { quoter.Store(&q) }
	set(w.platform)
	var terms atomic.Pointer[Terms]
	good := w.terms()
	terms.Store(&good)
	var told []error
	id := w.identity(func(c *IdentityConfig) {
		c.Quoter = quoterFunc(func(ctx context.Context, d [64]byte) ([]byte, error) { return (*quoter.Load()).Quote(ctx, d) })
		c.Terms = func() Terms { return *terms.Load() }
		c.Refreshed = func(_ time.Duration, err error) { told = append(told, err) }
	})
	before, err := id.Certificate(V1)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		quoter quoterFunc
		terms  Terms
		want   policy.Code
	}{
		"we would not be admitted": {w.platform.Quote, w.terms(func(r *policy.Rules) { r.AllowedImages[0][0]++ }), policy.Image},
		"quote of something else":  {func(ctx context.Context, _ [64]byte) ([]byte, error) { return w.platform.Quote(ctx, [64]byte{}) }, good, policy.ReportData},
		"no quote":                 {func(context.Context, [64]byte) ([]byte, error) { return nil, ErrBusy }, good, CodeBusy},
		"an empty quote":           {func(context.Context, [64]byte) ([]byte, error) { return nil, nil }, good, CodeInternal},
		"a long quote":             {func(context.Context, [64]byte) ([]byte, error) { return make([]byte, cert.MaxQuote+1), nil }, good, CodeInternal},
	} {
		set(c.quoter)
		terms.Store(&c.terms)
		if err := id.Refresh(t.Context()); CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
		if now, err := id.Certificate(V1); err != nil || now != before {
			t.Errorf("%s: the certificate was replaced (%v)", name, err)
		}
	}
	set(w.platform)
	terms.Store(&good)
	if err := id.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
	if now, _ := id.Certificate(V1); now == before {
		t.Error("the certificate was not replaced")
	}
	if len(told) != 7 || told[0] != nil || told[1] == nil || told[6] != nil {
		t.Errorf("told about %v", told)
	}
	down := func(c *IdentityConfig) {
		c.Claims = func(context.Context) (cert.Claims, error) { return cert.Claims{}, errors.New("no chain") }
	}
	c := IdentityConfig{Now: w.clock.time}
	down(&c)
	if id, err = NewIdentity(c); err != nil {
		t.Fatal(err)
	}
	if err := id.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), "no chain") {
		t.Errorf("without a chain: %v", err)
	}
}

func TestIdentityConfigIsValidated(t *testing.T) {
	w := newWorld(t)
	good := IdentityConfig{Now: w.clock.time, Quoter: w.platform, Judge: w.judge, Terms: Fixed(w.terms())}
	for name, edit := range map[string]func(*IdentityConfig){
		"no clock":             func(c *IdentityConfig) { c.Now = nil },
		"quoter and fake":      func(c *IdentityConfig) { c.Fake = true },
		"quoter without judge": func(c *IdentityConfig) { c.Judge = nil },
		"quoter without terms": func(c *IdentityConfig) { c.Terms = nil },
		"an hour of life":      func(c *IdentityConfig) { c.Lifetime = time.Hour },
		"a long life":          func(c *IdentityConfig) { c.Lifetime = cert.MaxLifetime + 1 },
		"renewed too late":     func(c *IdentityConfig) { c.Lifetime = 2 * time.Hour },
	} {
		c := good
		edit(&c)
		if _, err := NewIdentity(c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := NewIdentity(good); err != nil {
		t.Error(err)
	}
}

func TestRunRenewsEveryHourAndRetriesSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		judge, err := NewJudge(JudgeConfig{Now: time.Now})
		if err != nil {
			t.Fatal(err)
		}
		var notes notebook
		var down atomic.Bool
		id, err := NewIdentity(IdentityConfig{
			Now: time.Now, Fake: true, Log: slog.New(slog.NewTextHandler(&notes, nil)),
			Judge: judge, Terms: Fixed(anybody()),
			Claims: func(ctx context.Context) (cert.Claims, error) {
				notes.note(time.Since(start))
				if down.Load() {
					return cert.Claims{}, errors.New("no chain")
				}
				return testClaims(ctx)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- id.Run(ctx) }()
		synctest.Wait()
		if made, _ := notes.read(); len(made) != 1 || made[0] != 0 {
			t.Errorf("certificates were made after %s, want one at once", made)
		}
		<-time.After(10 * time.Hour)
		synctest.Wait()
		made, _ := notes.read()
		for i := 1; i < len(made); i++ {
			if gap := made[i] - made[i-1]; gap < DefaultRefresh || gap >= DefaultRefresh+DefaultJitter {
				t.Errorf("certificate %d came %s after the one before", i, gap)
			}
		}
		if n := len(made); n < 10 || n > 11 {
			t.Errorf("%d certificates in ten hours", n)
		}
		down.Store(true)
		attempts := len(made)
		<-time.After(3 * time.Hour)
		synctest.Wait()
		var log string
		made, log = notes.read()
		if n := len(made) - attempts; n < 15 || n > 80 {
			t.Errorf("%d attempts in three hours without a chain", n)
		}
		if !strings.Contains(log, "level=WARN msg=\"Own certificate cannot be renewed\"") || strings.Contains(log, "level=ERROR") {
			t.Errorf("log: %.500s", log)
		}
		<-time.After(18 * time.Hour)
		synctest.Wait()
		if _, log := notes.read(); !strings.Contains(log, "level=ERROR") {
			t.Error("no alarm when the certificate is about to end")
		}
		down.Store(false)
		<-time.After(10 * time.Minute)
		synctest.Wait()
		if _, err := id.Certificate(V1); err != nil {
			t.Errorf("after the chain came back: %v", err)
		}
		// The next failure is not the long one's continuation.
		down.Store(true)
		made, _ = notes.read()
		attempts = len(made)
		<-time.After(DefaultRefresh + DefaultJitter + time.Minute)
		synctest.Wait()
		down.Store(false)
		<-time.After(10 * time.Minute)
		synctest.Wait()
		if made, _ = notes.read(); len(made) < attempts+2 || made[attempts+1]-made[attempts] > 2*minRetry {
			t.Errorf("attempts at %s: after the first failure the second comes within %s", made[attempts:], 2*minRetry)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		// Started again with a certificate, it waits.
		before, _ := notes.read()
		ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err = id.Run(ctx)
		if after, _ := notes.read(); err != nil || len(after) != len(before) {
			t.Errorf("%d certificates were made at once (%v)", len(after)-len(before), err)
		}
	})
}

// notebook takes down when things happened and what was logged.
type notebook struct {
	mu    sync.Mutex
	times []time.Duration
	text  []byte
}

func (n *notebook) note(at time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.times = append(n.times, at)
}

func (n *notebook) Write(b []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.text = append(n.text, b...)
	return len(b), nil
}

func (n *notebook) read() ([]time.Duration, string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.times), string(n.text)
}

// TestRotationUnderLoad replaces both sides' certificates a hundred times while connections are made.
func TestRotationUnderLoad(t *testing.T) {
	w := newWorld(t)
	client, server := w.identity(), w.identity()
	d := &Dialer{Endpoint: w.endpoint(client, w.terms())}
	s := &Server{Endpoint: w.endpoint(server, w.terms()), MaxPending: 64}
	l := listenTCP(t)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	s.Observe = func(stage Stage, _ time.Duration, err error) {
		if err != nil && ctx.Err() == nil {
			t.Errorf("server, %s: %v", stage, err)
		}
	}
	go func() {
		served <- s.Serve(ctx, l, func(_ context.Context, c *Conn) {
			_, _ = c.Write([]byte("x"))
			_, _ = c.Read(make([]byte, 1))
		})
	}()
	var stop atomic.Bool
	var count atomic.Int64
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			dialer := *d
			dialer.Mode = []Mode{OnlyV1, Auto}[i%2]
			for !stop.Load() {
				c, err := dialer.Dial(t.Context(), l.Addr().String())
				if err != nil {
					t.Errorf("client: %v", err)
					return
				}
				if _, err := c.Read(make([]byte, 1)); err != nil {
					t.Errorf("client: %v", err)
				}
				_ = c.Close()
				count.Add(1)
			}
		})
	}
	keys := map[cert.Key]bool{}
	const swaps, connections = 100, 20
	made := 0
	for ; (made < swaps || count.Load() < connections) && !t.Failed(); made++ {
		id := []*Identity{client, server}[made%2]
		if err := id.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
		c, err := id.Certificate(V1)
		if err != nil {
			t.Fatal(err)
		}
		key, _ := publicKey(c.Leaf)
		keys[key] = true
	}
	stop.Store(true)
	all.Wait()
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if len(keys) != made {
		t.Errorf("%d swaps made %d keys", made, len(keys))
	}
	t.Logf("%d connections during %d swaps", count.Load(), made)
}

func TestFilesAreThoseOfGenCert(t *testing.T) {
	w := newWorld(t)
	base := filepath.Join(t.TempDir(), "tdx")
	id := w.identity(func(c *IdentityConfig) { c.Files = base })
	for range 3 {
		own, err := id.Certificate(V1)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ReadFiles(base)
		if err != nil {
			t.Fatal(err)
		}
		if !got.Leaf.Equal(own.Leaf) {
			t.Error("the files are of another certificate")
		}
		hash, err := os.ReadFile(base + "_image_hash.b64")
		image := w.image()
		if err != nil || string(hash) != base64.StdEncoding.EncodeToString(image[:]) {
			t.Errorf("image hash file has %q (%v)", hash, err)
		}
		if info, err := os.Stat(base + "_key.pem"); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("key file: %v (%v)", info, err)
		}
		if err := id.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadDir(base + ".d")
	if err != nil || len(kept) != 3 { // current, the last two
		t.Errorf("%d entries are kept (%v)", len(kept), err)
	}
}

// TestReadersNeverSeeTwoHalves reads the files while they are being replaced.
func TestReadersNeverSeeTwoHalves(t *testing.T) {
	w := newWorld(t)
	base := filepath.Join(t.TempDir(), "tdx")
	id := w.identity(plain, noV2, func(c *IdentityConfig) { c.Files = base })
	var stop atomic.Bool
	var read atomic.Int64
	var torn int
	var reader sync.WaitGroup
	reader.Go(func() {
		for !stop.Load() {
			read.Add(1)
			if _, err := ReadFiles(base); err != nil {
				torn++
				if !strings.Contains(err.Error(), "they do not belong together") {
					t.Error(err)
				}
			}
		}
	})
	written := 0
	for ; written < 20 || (read.Load() < 20 && written < 2000); written++ {
		if err := id.Refresh(t.Context()); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	reader.Wait()
	if n := read.Load(); n < 20 || torn > written { // writing once tears one read at most
		t.Errorf("%d of %d reads were torn by %d writes", torn, n, written)
	}
}

func TestReadPairRefuses(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	pem := func(name string) (certPEM, keyPEM []byte) {
		base := filepath.Join(dir, name)
		own, err := w.identity(noV2).Certificate(V1)
		if err != nil {
			t.Fatal(err)
		}
		if err := WriteFiles(base, own); err != nil {
			t.Fatal(err)
		}
		for suffix, data := range map[string]*[]byte{suffixCert: &certPEM, suffixKey: &keyPEM} {
			if *data, err = os.ReadFile(base + suffix); err != nil {
				t.Fatal(err)
			}
		}
		return certPEM, keyPEM
	}
	certPEM, keyPEM := pem("one")
	_, otherKey := pem("two")
	ec := []byte("-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgZ0Y4oZb8u8i2xP4m\n" +
		"-----END PRIVATE KEY-----\n")
	for name, c := range map[string]struct {
		cert, key []byte
		want      string
	}{
		"as written":             {certPEM, keyPEM, ""},
		"another key":            {certPEM, otherKey, "do not belong together"},
		"no certificate":         {nil, keyPEM, "no PEM block"},
		"key for certificate":    {keyPEM, keyPEM, "PEM block is of type \"PRIVATE KEY\""},
		"no key":                 {certPEM, nil, "no PEM block"},
		"two certificates":       {append(bytes.Clone(certPEM), certPEM...), keyPEM, "bytes follow"},
		"a long file":            {append(bytes.Clone(certPEM), bytes.Repeat([]byte{'\n'}, maxPEM)...), keyPEM, "at most"},
		"something else in PEM":  {[]byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), keyPEM, "reading certificate"},
		"another kind of key":    {certPEM, ec, "reading key"},
		"changed self-signature": {changeSignature(t, certPEM), keyPEM, "cert_signature"},
	} {
		_, err := ReadPair(c.cert, c.key)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// changeSignature changes the last byte of a certificate in PEM.
func changeSignature(t *testing.T, certPEM []byte) []byte {
	t.Helper()
	text := strings.Split(strings.TrimSpace(string(certPEM)), "\n")
	body, err := base64.StdEncoding.DecodeString(strings.Join(text[1:len(text)-1], ""))
	if err != nil {
		t.Fatal(err)
	}
	body[len(body)-1] ^= 1
	return []byte(text[0] + "\n" + base64.StdEncoding.EncodeToString(body) + "\n" + text[len(text)-1] + "\n")
}

func TestFilesOfAnotherProgramAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := filepath.Join(t.TempDir(), "tdx")
		if _, err := OpenFiles(base, time.Now); err == nil {
			t.Error("files that are not there are opened")
		}
		id, err := NewIdentity(IdentityConfig{Now: time.Now, Files: base})
		if err != nil {
			t.Fatal(err)
		}
		if err := id.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		f, err := OpenFiles(base, time.Now)
		if err != nil {
			t.Fatal(err)
		}
		first, err := f.Certificate(V1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Certificate(V2); !errors.Is(err, ErrProfile) {
			t.Errorf("V2: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var failures atomic.Int64
		done := make(chan error)
		go func() { done <- f.Run(ctx, 0, func(error) { failures.Add(1) }) }()
		if err := id.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-time.After(DefaultPoll + time.Second)
		second, err := f.Certificate(V1)
		if err != nil || second.Leaf.Equal(first.Leaf) {
			t.Errorf("the new files were not read (%v)", err)
		}
		if err := os.Remove(base + suffixKey); err != nil {
			t.Fatal(err)
		}
		<-time.After(DefaultPoll)
		if c, err := f.Certificate(V1); err != nil || c != second || failures.Load() != 1 {
			t.Errorf("after the loss of a file: %v, %d failures", err, failures.Load())
		}
		<-time.After(cert.DefaultLifetime)
		if _, err := f.Certificate(V1); CodeOf(err) != policy.Code(cert.CodeExpired) {
			t.Errorf("after its end: %v", err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
