package chainnode

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"go.uber.org/goleak"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/lite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running is a node under test with its control interface.
type running struct {
	*Node
	tb  testing.TB
	url string
}

func start(tb testing.TB, change ...func(*Config)) *running {
	tb.Helper()
	loop := netip.MustParseAddrPort("127.0.0.1:0")
	c := Config{Dir: tb.TempDir(), Listen: loop, Control: loop, Liteservers: 2, Deterministic: true, Now: time.Now}
	for _, f := range change {
		f(&c)
	}
	n, err := New(tb.Context(), c)
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	tb.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, n.Close()); err != nil {
			tb.Error(err)
		}
		http.DefaultTransport.(*http.Transport).CloseIdleConnections() //nolint:forcetypeassert // documented to be of this type
	})
	d, err := n.Describe()
	if err != nil {
		tb.Fatal(err)
	}
	return &running{n, tb, d.Control}
}

// post sends a request and returns the answer's code and body.
func (r *running) post(verb, body string, header ...string) (int, string) {
	r.tb.Helper()
	req, err := http.NewRequestWithContext(r.tb.Context(), http.MethodPost, r.url+"/v1/"+verb, strings.NewReader(body))
	if err != nil {
		r.tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.tb.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		r.tb.Fatal(err)
	}
	return resp.StatusCode, string(raw)
}

// must sends a request that has to succeed.
func (r *running) must(verb, body string) Status {
	r.tb.Helper()
	code, raw := r.post(verb, body)
	if code != http.StatusOK {
		r.tb.Fatalf("%s %s: %d %s", verb, body, code, raw)
	}
	var s Status
	if err := json.NewDecoder(bytes.NewReader([]byte(raw))).Decode(&s); err != nil {
		r.tb.Fatal(err)
	}
	return s
}

// client is the product's client, configured by the file that the node wrote.
func (r *running) client(tb testing.TB) (*lite.Client, error) {
	tb.Helper()
	raw, err := os.ReadFile(r.config.ConfigPath())
	if err != nil {
		tb.Fatal(err)
	}
	n, err := lite.ParseGlobalConfig(raw)
	if err != nil {
		tb.Fatal(err)
	}
	c, err := lite.New(tb.Context(), lite.Options{Servers: n.Servers, Trusted: n.Init, Now: r.blockTime, Timeout: 30 * time.Second})
	if err == nil {
		tb.Cleanup(c.Close)
	}
	return c, err
}

func (r *running) blockTime() time.Time {
	b, err := r.chain.Head(context.Background())
	if err != nil {
		r.tb.Error(err)
	}
	return b.Time
}

func TestControlledNetworkServesTheClient(t *testing.T) {
	r := start(t)
	before := r.must("step", `{}`)
	const who = "0:1111111111111111111111111111111111111111111111111111111111111111"
	if s := r.must("faucet", `{"address":"`+who+`","amount":"5000000000"}`); s.Mempool != 1 {
		t.Errorf("%+v", s)
	}
	if s := r.must("step", `{"count":3}`); s.Seqno != before.Seqno+3 || s.Mempool != 0 {
		t.Errorf("%+v", s)
	}
	c, err := r.client(t)
	if err != nil {
		t.Fatal(err)
	}
	at, err := c.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a, err := c.Account(t.Context(), at, address.MustParseRawAddr(who)); err != nil || a.Balance.Int64() != 5e9 {
		t.Errorf("%+v, %v", a, err)
	}
	if s := r.must("time", `{"travel_seconds":86400}`); s.Time != at.Time.Unix() {
		t.Errorf("time moved before the next block: %+v", s)
	}
	if s := r.must("step", `{}`); s.Time < at.Time.Unix()+86400 {
		t.Errorf("time did not move: %+v", s)
	}
}

func TestFaultsReachTheClient(t *testing.T) {
	for name, c := range map[string]struct {
		faults string
		want   error
	}{
		"wrong proofs":       {`{"wrong_proofs":"*"}`, chain.ErrProof},
		"rollback":           {``, chain.ErrOldHead},
		"old global version": {`{"global_version":11}`, chain.ErrGlobalVersion},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			r.must("snapshot", `{"name":"begin"}`)
			r.must("step", `{"count":3}`)
			client, err := r.client(t)
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case c.faults == "":
				r.must("restore", `{"name":"begin"}`)
			case strings.Contains(c.faults, "global"):
				r.must("config", c.faults)
				r.must("step", `{"count":2}`)
			default:
				r.must("faults", c.faults)
				r.must("step", `{"count":2}`)
			}
			if _, err := client.Head(t.Context()); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestSplitBrainBeginsAndEnds(t *testing.T) {
	r := start(t)
	r.must("step", `{"count":2}`)
	if s := r.must("faults", `{"split_brain":true}`); !s.SplitBrain {
		t.Fatalf("%+v", s)
	}
	r.must("step", `{"count":2}`)
	if r.other == nil || r.other.Newest() != r.chain.Newest() {
		t.Fatal("the other half did not go on")
	}
	a, err := r.chain.RootHash(r.chain.Newest())
	if err != nil {
		t.Fatal(err)
	}
	b, err := r.other.RootHash(r.other.Newest())
	if err != nil || a == b {
		t.Errorf("both halves have block %s, %v", a, err)
	}
	if code, _ := r.post("restore", `{"name":"x"}`); code == http.StatusOK {
		t.Error("restored a split network")
	}
	if s := r.must("faults", `{"split_brain":false}`); s.SplitBrain {
		t.Errorf("%+v", s)
	}
}

func TestPaceAndPause(t *testing.T) {
	r := start(t)
	s := r.must("pace", `{"period_ms":10,"paused":false}`)
	late := time.NewTimer(time.Minute)
	defer late.Stop()
	for r.chain.Newest() < s.Seqno+3 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		_ = r.chain.Wait(ctx, r.chain.Newest())
		cancel()
		select {
		case <-late.C:
			t.Fatal("no blocks come")
		default:
		}
	}
	s = r.must("pace", `{"paused":true}`)
	if !s.Paused {
		t.Errorf("%+v", s)
	}
	if again := r.must("faults", `{}`); again.Seqno != s.Seqno {
		t.Errorf("blocks come during a pause: %d, %d", s.Seqno, again.Seqno)
	}
}

func TestRestartGoesOn(t *testing.T) {
	dir := t.TempDir()
	var hash string
	t.Run("first", func(t *testing.T) {
		r := start(t, func(c *Config) { c.Dir = dir })
		hash = r.must("step", `{"count":5}`).Hash
	})
	r := start(t, func(c *Config) { c.Dir = dir })
	if s, err := r.Status(t.Context()); err != nil || s.Hash != hash {
		t.Errorf("%+v, %v; want %s", s, err, hash)
	}
}

func TestControlRefuses(t *testing.T) {
	r := start(t)
	for name, c := range map[string]struct {
		verb, body string
		header     []string
		code       int
	}{
		"unknown verb":      {"mint", `{}`, nil, http.StatusNotFound},
		"unknown member":    {"step", `{"cuont":1}`, nil, http.StatusBadRequest},
		"not JSON":          {"step", `step!`, nil, http.StatusBadRequest},
		"two documents":     {"step", `{}{}`, nil, http.StatusBadRequest},
		"too many blocks":   {"step", `{"count":10001}`, nil, http.StatusBadRequest},
		"bad address":       {"faucet", `{"address":"nobody","amount":"1"}`, nil, http.StatusBadRequest},
		"no amount":         {"faucet", `{"address":"0:1111111111111111111111111111111111111111111111111111111111111111"}`, nil, http.StatusBadRequest},
		"too much":          {"faucet", `{"address":"0:1111111111111111111111111111111111111111111111111111111111111111","amount":"9999999999999999999999"}`, nil, http.StatusBadRequest},
		"past":              {"time", `{"unix":1}`, nil, http.StatusBadRequest},
		"travel back":       {"time", `{"travel_seconds":-1}`, nil, http.StatusBadRequest},
		"unknown snapshot":  {"restore", `{"name":"x"}`, nil, http.StatusConflict},
		"unnamed snapshot":  {"snapshot", `{}`, nil, http.StatusConflict},
		"unknown treatment": {"faults", `{"externals":"eat"}`, nil, http.StatusBadRequest},
		"no such server":    {"faults", `{"server":2,"freeze":true}`, nil, http.StatusBadRequest},
		"version":           {"config", `{"global_version":16}`, nil, http.StatusBadRequest},
		"pace":              {"pace", `{"period_ms":1}`, nil, http.StatusBadRequest},
		"other host":        {"step", `{}`, []string{"Host", "example.org:80"}, http.StatusForbidden},
		"from a web page":   {"step", `{}`, []string{"Origin", "http://127.0.0.1"}, http.StatusForbidden},
		"as a form":         {"step", `{}`, []string{"Content-Type", "text/plain"}, http.StatusUnsupportedMediaType},
		"too long":          {"step", `{"count":` + strings.Repeat(" ", maxRequest) + `1}`, nil, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			if code, raw := r.post(c.verb, c.body, c.header...); code != c.code {
				t.Errorf("got %d %s, want %d", code, raw, c.code)
			}
		})
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{
		Dir: "x", Listen: netip.MustParseAddrPort("127.0.0.1:1"), Control: netip.MustParseAddrPort("127.0.0.1:2"), Liteservers: 2, Period: time.Second,
	}
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no directory":      func(c *Config) { c.Dir = "" },
		"fast":              func(c *Config) { c.Period = time.Millisecond },
		"IPv6":              func(c *Config) { c.Listen = netip.MustParseAddrPort("[::1]:1") },
		"no server":         func(c *Config) { c.Liteservers = 0 },
		"no room":           func(c *Config) { c.Listen = netip.MustParseAddrPort("127.0.0.1:65535") },
		"open to strangers": func(c *Config) { c.Control = netip.MustParseAddrPort("0.0.0.0:2") },
		"unknown version":   func(c *Config) { c.GlobalVersion = 16 },
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			change(&c)
			if c.Validate() == nil {
				t.Error("accepted")
			}
			if n, err := New(t.Context(), c); err == nil {
				t.Errorf("began: %v", n.Close())
			}
		})
	}
}
