package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/wire"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/config"
	"cocoon/guest/worker"
	"cocoon/guest/worker/engine"
	"cocoon/guest/worker/engine/enginetest"
	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// referenceFile is a configuration as the reference writes it, with the least of ours.
const referenceFile = `{"@type":"workerRunner.config","is_test":"1","is_testnet":1,"http_port":"0","owner_address":"EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73k",
"proxy_connections":1,"connect_to_proxy_via":"127.0.0.1:8116","model_name":"test/model@c:r","coefficient":"1500","root_contract_address":"x",
"node_wallet_key":"AAAA","forward_requests_to":"127.0.0.1:8000","ton_config_filename":"g.json","check_proxy_hashes":false,
"max_active_requests":60,"image_hash":"AAAA","http_access_hash":"secret","max_coeficient":3,"proxies":["proxy:1"]}`

// TestWorkerConfig: the reference's file is read by its rules, unknown keys are told with the nearest known one.
func TestWorkerConfig(t *testing.T) {
	c, warnings, err := parseWorkerConfig([]byte(referenceFile))
	if err != nil {
		t.Fatal(err)
	}
	if !c.Test || c.CheckProxies || c.Coefficient != 1500 || c.Via != "127.0.0.1:8116" || c.Engine != "" || c.MaxActive != 60 {
		t.Errorf("%+v", c)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], `"max_coeficient"`) || !strings.Contains(warnings[0], `"coefficient"`) {
		t.Errorf("warnings %q", warnings)
	}
	for name, tc := range map[string]struct{ old, with, want string }{
		"no proxies":            {`["proxy:1"]`, `[]`, "proxies"},
		"unchecked outside":     {`"is_test":"1"`, `"is_test":"0"`, "check_proxy_hashes"},
		"checked without hash":  {`"check_proxy_hashes":false`, `"check_proxy_hashes":true`, "proxy_image_hashes"},
		"negative coefficient":  {`"coefficient":"1500"`, `"coefficient":-5`, "coefficient"},
		"a word for a number":   {`"coefficient":"1500"`, `"coefficient":"much"`, "coefficient"},
		"both ways out":         {`"proxies"`, `"router":"x","proxies"`, "router"},
		"no way out":            {`"connect_to_proxy_via":"127.0.0.1:8116"`, `"connect_to_proxy_via":""`, "router"},
		"a zero hash":           {`"proxies"`, `"proxy_image_hashes":["` + strings.Repeat("0", 64) + `"],"proxies"`, "proxy_image_hashes"},
		"a hash that is none":   {`"proxies"`, `"proxy_image_hashes":["zz"],"proxies"`, "proxy_image_hashes"},
		"a bad boolean":         {`"check_proxy_hashes":false`, `"check_proxy_hashes":7`, "check_proxy_hashes"},
		"negative price":        {`"proxies"`, `"price_per_token":-1,"proxies"`, "price_per_token"},
		"negative multiplier":   {`"proxies"`, `"prompt_tokens_price_multiplier":-1,"proxies"`, "multipliers"},
		"bytes after the value": {`["proxy:1"]}`, `["proxy:1"]} x`, "reading"},
	} {
		if _, _, err := parseWorkerConfig([]byte(strings.Replace(referenceFile, tc.old, tc.with, 1))); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzWorkerConfig: whatever the file says, it is refused or within its bounds.
func FuzzWorkerConfig(f *testing.F) {
	for _, s := range []string{referenceFile, `{}`, `[]`, `{"coefficient":1e9}`, `{"proxies":[""],"router":"x","is_test":1,"check_proxy_hashes":0}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, err := parseWorkerConfig(data)
		if err == nil && (c.Coefficient < 0 || c.MaxActive < 1 || c.Price < 0 || !c.CheckProxies && !c.Test) {
			t.Fatalf("%+v", c)
		}
	})
}

// TestWorkerArguments: what is missing is said.
func TestWorkerArguments(t *testing.T) {
	file := filepath.Join(t.TempDir(), "worker.json")
	if err := os.WriteFile(file, []byte(strings.Replace(referenceFile, `"proxies"`, `"engine":"none","proxies"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"nothing":           {nil, exitUsage, "-c FILE"},
		"an unknown flag":   {[]string{"-x"}, exitUsage, "-x"},
		"a missing file":    {[]string{"-c", file + "x"}, exitUsage, "no such file"},
		"an unknown engine": {[]string{"-c", file}, exitError, "engine kind"},
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), append([]string{"/init", "worker"}, tc.args...), io.Discard, &stderr); code != tc.code || !strings.Contains(stderr.String(), tc.want) {
			t.Errorf("%s: %d, %s", name, code, stderr.String())
		}
	}
}

// TestFakeEngineIsRefused: an image that is no test's serves no scripts.
func TestFakeEngineIsRefused(t *testing.T) {
	p := &workerProcess{cfg: &workerConfig{Engine: "fake"}}
	if _, err := p.engine(); err == nil {
		t.Error("accepted")
	}
	p.allowLocal = true
	if _, err := p.engine(); err != nil {
		t.Error(err)
	}
}

// TestEngineSettings: the worker of a machine talks to the engine that the machine was started with, and to no other.
func TestEngineSettings(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	vllm, err := engine.BuiltinFile(engine.VLLM)
	if err != nil {
		t.Fatal(err)
	}
	measured, broken, none := write("measured.toml", strings.Replace(string(vllm), "32768,", "4096,", 1)), write("broken.toml", "kind"), filepath.Join(dir, "none")
	own := write("own.toml", string(vllm))
	for name, tc := range map[string]struct {
		name, measured, kind, err string
	}{
		"a machine's":                {"", measured, engine.VLLM, ""},
		"a machine's, by its kind":   {engine.VLLM, measured, engine.VLLM, ""},
		"another than the machine's": {engine.LlamaCPP, measured, "", "this machine's is vllm"},
		"a file beside a machine's":  {own, measured, "", "this machine's is vllm"},
		"a machine's that is none":   {"", broken, "", "toml"},
		"the default":                {"", none, engine.LlamaCPP, ""},
		"a kind":                     {engine.SGLang, none, engine.SGLang, ""},
		"a file":                     {own, none, engine.VLLM, ""},
		"a file that is not there":   {filepath.Join(dir, "x.toml"), none, "", "no such file"},
		"nothing known":              {"tgi", none, "", "engine kind"},
		"unreadable":                 {"", dir, "", "reading"},
	} {
		cfg, err := engineSettings(tc.name, tc.measured)
		switch {
		case tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)):
			t.Errorf("%s: %v", name, err)
		case tc.err == "" && (err != nil || cfg.Kind != tc.kind):
			t.Errorf("%s: %+v, %v", name, cfg, err)
		}
	}
	sglang, err := engine.BuiltinFile(engine.SGLang)
	if err != nil {
		t.Fatal(err)
	}
	if cfg, err := engineSettings("", write("sglang.toml", string(sglang))); err != nil || cfg.Listen != "unix:/run/engine/engine.sock" {
		t.Errorf("an engine on the sandbox's loopback: %+v, %v", cfg, err)
	}
	if cfg, err := engineSettings("", measured); err != nil || cfg.Limits.Context != 4096 {
		t.Errorf("not the measured file's: %+v, %v", cfg, err)
	}
}

// TestCheckWorkerSpec: a worker announces the model that its machine has measured, or does not start.
func TestCheckWorkerSpec(t *testing.T) {
	cfg, _, err := parseWorkerConfig([]byte(referenceFile))
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		model *config.Model
		want  string
	}{
		"the same": {&config.Model{ID: cfg.Model}, ""},
		"another":  {&config.Model{ID: cfg.Model + "0"}, "has measured"},
		"none":     {nil, "names none"},
	} {
		err := checkWorkerSpec([]byte(referenceFile), tc.model)
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := checkWorkerSpec([]byte("{"), nil); err == nil {
		t.Error("a file that is none")
	}
}

// TestCheckProxy: a listed image is needed, and only a test network may do without.
func TestCheckProxy(t *testing.T) {
	listed := map[[32]byte]bool{{1}: true}
	for name, tc := range map[string]struct {
		peer   worker.Peer
		needed bool
		ok     bool
	}{
		"listed":       {worker.Peer{Attested: true, Image: [32]byte{1}}, true, true},
		"another":      {worker.Peer{Attested: true, Image: [32]byte{2}}, true, false},
		"not attested": {worker.Peer{Image: [32]byte{1}}, true, false},
		"unchecked":    {worker.Peer{}, false, true},
	} {
		if err := checkProxy(tc.peer, listed, tc.needed); (err == nil) != tc.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// standInRouter answers one SOCKS request and then writes what the test wants.
func standInRouter(t *testing.T, then func(conn net.Conn, asked []byte)) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = l.Close(); <-done })
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close() //nolint:errcheck // test
		_ = conn.SetDeadline(time.Now().Add(routerWait))
		greeting := make([]byte, 3)
		_, _ = io.ReadFull(conn, greeting)
		_, _ = conn.Write([]byte{5, 0})
		head := make([]byte, 5)
		_, _ = io.ReadFull(conn, head)
		rest := make([]byte, map[byte]int{1: 3, 4: 15, 3: int(head[4])}[head[3]]+2)
		_, _ = io.ReadFull(conn, rest)
		then(conn, bytes.Join([][]byte{head, rest}, nil))
		_, _ = io.Copy(io.Discard, conn)
	}()
	return l.Addr().String()
}

// TestDialVia: the request is SOCKS5's, and the preamble says who answered; a fake or missing report attests nothing.
func TestDialVia(t *testing.T) {
	granted := []byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 1}
	here := netip.MustParseAddrPort("127.0.0.1:1")
	report := &wire.TDXReport{RTMR: [4][48]byte{{1}, {2}, {3}, {4}}, CollateralRoot: dcap.IntelRootID()}
	simulated := *report
	simulated.CollateralRoot[0]++
	rootless := *report
	rootless.CollateralRoot = [48]byte{}
	for name, tc := range map[string]struct {
		address  string
		asked    []byte
		preamble *wire.Preamble
		reply    []byte
		attested bool
		want     string
	}{
		"by IPv4":    {"192.0.2.7:443", []byte{5, 1, 0, 1, 192, 0, 2, 7, 1, 187}, &wire.Preamble{TDX: report, PeerKey: [32]byte{9}}, granted, true, ""},
		"by IPv6":    {"[2001:db8::1]:80", []byte{5, 1, 0, 4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 80}, &wire.Preamble{TDX: report}, granted, true, ""},
		"by name":    {"p.example:80", []byte("\x05\x01\x00\x03\x09p.example\x00\x50"), &wire.Preamble{TDX: report}, granted, true, ""},
		"unattested": {"192.0.2.7:443", nil, &wire.Preamble{}, granted, false, ""},
		"fake":       {"192.0.2.7:443", nil, &wire.Preamble{TDX: &wire.TDXReport{MRTD: [48]byte{1}}}, granted, false, ""},
		"simulated":  {"192.0.2.7:443", nil, &wire.Preamble{TDX: &simulated}, granted, false, ""},
		"no root":    {"192.0.2.7:443", nil, &wire.Preamble{TDX: &rootless}, granted, false, ""},
		"refused":    {"192.0.2.7:443", nil, nil, []byte{5, 5, 0, 1, 0, 0, 0, 0, 0, 0}, false, "code 5"},
		"no end":     {"192.0.2.7:443", nil, nil, granted, false, "who answered"},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan []byte, 1)
			via := standInRouter(t, func(conn net.Conn, got []byte) {
				asked <- got
				_, _ = conn.Write(tc.reply)
				if tc.preamble == nil {
					_ = conn.Close()
					return
				}
				tc.preamble.Source, tc.preamble.Destination = here, here
				data, err := tc.preamble.Append(nil, wire.Apr2026)
				if err != nil {
					t.Error(err)
				}
				_, _ = conn.Write(data)
			})
			conn, peer, err := dialVia(via, []dcap.RootID{dcap.IntelRootID()})(t.Context(), tc.address)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Fatalf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close() //nolint:errcheck // test
			if got := <-asked; tc.asked != nil && !bytes.Equal(got, tc.asked) {
				t.Errorf("asked % x", got)
			}
			if (peer.Doubt == "") != tc.attested || !tc.attested && checkProxy(peer, map[[32]byte]bool{peer.Image: true}, true) == nil {
				t.Errorf("%+v is taken for attested", peer)
			}
			if peer.Attested != tc.attested || tc.attested && peer.Image != tdx.ImageHash(&tdx.Measurements{RTMR: [4]tdx.Digest{{1}, {2}, {3}, {4}}}) || peer.Key != tc.preamble.PeerKey {
				t.Errorf("%+v", peer)
			}
		})
	}
}

// TestDialViaEnds: a router that says nothing is left when the context ends.
func TestDialViaEnds(t *testing.T) {
	via := standInRouter(t, func(net.Conn, []byte) {})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := dialVia(via, []dcap.RootID{dcap.IntelRootID()})(ctx, "192.0.2.7:443"); err == nil {
		t.Error("connected")
	}
}

// smallProxy is just enough of a proxy to be connected to.
type smallProxy struct{ answers chan tl.Object }

func (smallProxy) Query(_ context.Context, fn tl.Function) (tl.Object, error) {
	const contract = "EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73k"
	switch fn.(type) {
	case *tl.WorkerConnectToProxy:
		return &tl.WorkerConnectedToProxy{Params: tl.ProxyParams{ProxySCAddress: contract, IsTest: new(true), ProtoVersion: new(int32(5))}, WorkerSCAddress: contract}, nil
	case *tl.WorkerCompareBalanceWithProxy:
		return &tl.WorkerCompareBalanceWithProxyResult{SignedPayment: &tl.ProxySignedPayment{}}, nil
	case *tl.WorkerProxyHandshakeComplete:
		return &tl.WorkerProxyHandshakeCompleted{}, nil
	}
	return nil, errors.New("unexpected")
}

func (p smallProxy) Packet(_ context.Context, o tl.Object) error {
	p.answers <- o
	return nil
}

// TestWorkerProcess: the process connects, serves a completion, shows its state, and changes its price for who may.
func TestWorkerProcess(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "engine.sock")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: enginetest.New(), ReadHeaderTimeout: routerWait}
	go func() { _ = server.Serve(l) }()
	defer server.Close() //nolint:errcheck // test
	cfg, _, err := parseWorkerConfig([]byte(strings.Replace(referenceFile, `"proxies"`, fmt.Sprintf(`"engine":"fake","engine_socket":%q,"state_dir":%q,"proxies"`, socket, dir), 1)))
	if err != nil {
		t.Fatal(err)
	}
	proxyEnd := make(chan net.Conn, 4)
	p := &workerProcess{cfg: cfg, log: slog.New(slog.DiscardHandler), allowLocal: true, dial: func(context.Context, string) (net.Conn, worker.Peer, error) {
		a, b := net.Pipe()
		proxyEnd <- b
		return a, worker.Peer{}, nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	w, err := p.build(ctx)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	go func() { done <- w.Run(ctx) }()
	peer := smallProxy{make(chan tl.Object, 64)}
	sess := session.New(<-proxyEnd, session.Options{}, peer)
	go func() { done <- sess.Run(ctx) }()
	pages := httptest.NewServer(both(t, workerPages(w, new(self), cfg, p.log)))
	defer pages.Close()
	deadline := time.Now().Add(routerWait)
	for askPage(t, pages.URL+"/readyz", "", http.MethodGet).code != http.StatusOK && time.Now().Before(deadline) {
		<-time.After(5 * time.Millisecond)
	}
	body := `{"model":"test/model","messages":[{"role":"user","content":"x"}]}`
	raw := tl.Encode(&tl.HTTPRequest{Method: "POST", URL: "/v1/chat/completions", Payload: []byte(body)})
	if err := sess.Send(ctx, &tl.ProxyRunQueryEx{Query: raw, SignedPayment: &tl.ProxySignedPaymentEmpty{}, Coefficient: 1000, Timeout: 10}); err != nil {
		t.Fatal(err)
	}
	for answered := false; !answered; {
		a, ok := (<-peer.answers).(*tl.ProxyQueryAnswerEx)
		answered = ok && a.FinalInfo != nil && bytes.Contains(a.Answer, []byte(`"total_cost":160`))
	}
	for name, tc := range map[string]struct {
		token, query string
		code         int
	}{
		"no token": {"", "2.5", http.StatusUnauthorized}, "another": {"x", "2.5", http.StatusUnauthorized},
		"no number": {"secret", "much", http.StatusBadRequest}, "a price": {"secret", "2.5", http.StatusOK},
	} {
		if got := askPage(t, pages.URL+"/request/change_coefficient", tc.token, http.MethodPost, "coefficient="+tc.query); got.code != tc.code {
			t.Errorf("%s: %d %s", name, got.code, got.body)
		}
	}
	var stats struct {
		Local  struct{ Coefficient int } `json:"localconfig"`
		Totals struct{ Success int }
	}
	for stats.Totals.Success == 0 && time.Now().Before(deadline) { // counted once the answer has left
		if err := json.Unmarshal(askPage(t, pages.URL+"/jsonstats", "", http.MethodGet).body, &stats); err != nil {
			t.Fatal(err)
		}
	}
	if stats.Local.Coefficient != 2500 || stats.Totals.Success != 1 {
		t.Errorf("%+v", stats)
	}
	if askPage(t, pages.URL+"/request/disable", "secret", http.MethodPost); askPage(t, pages.URL+"/readyz", "", http.MethodGet).code != http.StatusServiceUnavailable {
		t.Error("ready although stopped")
	}
	if got := askPage(t, pages.URL+"/request/change_coefficient", "secret", http.MethodGet); got.code != http.StatusMethodNotAllowed {
		t.Errorf("a GET changes: %d", got.code)
	}
	if c, err := p.coefficient(); err != nil || c != 2500 {
		t.Errorf("kept %d, %v", c, err)
	}
	cancel()
	for range 2 {
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, io.EOF) { // whichever end is first
			t.Error(err)
		}
	}
}

type page struct {
	code int
	body []byte
}

func askPage(t *testing.T, url, token, method string, form ...string) page {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(strings.Join(form, "&")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // test
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return page{res.StatusCode, body}
}
