package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/wire"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/proxy"
	"cocoon/tests/ports"
)

const (
	proxyOwner = "0:0101010101010101010101010101010101010101010101010101010101010101"
	goodProxy  = `{"@type":"proxyRunner.config","is_test":1,"is_testnet":"0","workers_rpc_port":"12002","client_rpc_port":12001,"http_port":0,
		"owner_address":"` + proxyOwner + `","root_contract_address":"","machine_specific_private_key":"BwrYLmEy2rMgZ/tyCv0AYFVaZPkFu+wNwoSQiJUbOmM=",
		"node_wallet_key":"x","ton_config_filename":"y","db_path":"z","check_worker_hashes":false,"image_hash":"","http_access_hash":"token"}`
)

func TestProxyConfigurationIsTheReferencesWithWarnings(t *testing.T) {
	c, warnings, err := parseProxyConfig([]byte(goodProxy))
	if err != nil || len(warnings) != 0 || !c.Test || c.Testnet || c.ClientPort != 12001 || c.WorkersPort != 12002 || c.Access != "token" {
		t.Fatalf("%+v, %v, %v", c, warnings, err)
	}
	_, warnings, err = parseProxyConfig([]byte(strings.Replace(goodProxy, `"db_path"`, `"rpc_port":1,"db_paht"`, 1)))
	if err != nil || len(warnings) != 2 || !strings.Contains(warnings[0], `"db_path"`) || !strings.Contains(warnings[1], `"http_port"`) {
		t.Errorf("%v, %v", warnings, err)
	}
}

func TestProxyConfigurationIsRefused(t *testing.T) {
	for name, tc := range map[string]struct{ from, to, want string }{
		"no JSON":               {goodProxy, "{", "reading proxy configuration"},
		"a port of 0":           {`"client_rpc_port":12001`, `"client_rpc_port":0`, "client_rpc_port"},
		"a port above":          {`"client_rpc_port":12001`, `"client_rpc_port":70000`, "client_rpc_port"},
		"twice the same port":   {`"client_rpc_port":12001`, `"client_rpc_port":12002`, "workers_rpc_port"},
		"no owner":              {proxyOwner, "x", "owner_address"},
		"a main network":        {`"is_test":1`, `"is_test":0`, "is_test"},
		"no lists":              {`"check_worker_hashes":false`, `"check_worker_hashes":true`, "worker_image_hashes"},
		"a list of nonsense":    {`"image_hash":""`, `"worker_image_hashes":["zz"]`, "worker_image_hashes"},
		"a list with no image":  {`"image_hash":""`, `"worker_image_hashes":["` + strings.Repeat("0", 64) + `"]`, "worker_image_hashes"},
		"a short key":           {"BwrYLmEy2rMgZ/tyCv0AYFVaZPkFu+wNwoSQiJUbOmM=", "AAAA", "machine_specific_private_key"},
		"max_tokens negative":   {`"image_hash":""`, `"max_tokens":-1`, "max_tokens"},
		"a number that is none": {`"http_port":0`, `"http_port":"many"`, "http_port"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := parseProxyConfig([]byte(strings.Replace(goodProxy, tc.from, tc.to, 1)))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v", err)
			}
		})
	}
}

func FuzzProxyConfig(f *testing.F) {
	for _, seed := range []string{goodProxy, "{}", "", `{"client_rpc_port":"99999999999999999999"}`, `{"worker_image_hashes":[null]}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, err := parseProxyConfig(data)
		if err == nil && (!c.Test || c.ClientPort < 1 || c.WorkersPort < 1) {
			t.Errorf("accepted %+v", c)
		}
	})
}

func TestAnImageWithoutTestNetworksRefusesTheProxy(t *testing.T) {
	c, _, err := parseProxyConfig([]byte(goodProxy))
	if err != nil {
		t.Fatal(err)
	}
	p := &proxyProcess{cfg: c, log: slog.New(slog.DiscardHandler), now: time.Now}
	if err := p.run(t.Context()); err == nil || !strings.Contains(err.Error(), "refuses") {
		t.Errorf("%v", err)
	}
}

// nobody handles nothing.
type nobody struct{}

func (nobody) Query(context.Context, tl.Function) (tl.Object, error) {
	return nil, &session.QueryError{Code: session.CodeProtocol, Message: "unknown function"}
}
func (nobody) Packet(context.Context, tl.Object) error { return nil }

// TestProxyBehindAnExternalRouter: the process listens on the loopback, reads the preamble, and shakes hands.
func TestProxyBehindAnExternalRouter(t *testing.T) {
	c, _, err := parseProxyConfig([]byte(goodProxy))
	if err != nil {
		t.Fatal(err)
	}
	free := ports.Free(t, 3)
	c.ClientPort, c.WorkersPort, c.HTTPPort, c.Access = int64(free[0]), int64(free[1]), int64(free[2]), ""
	p := &proxyProcess{cfg: c, allowLocal: true, log: slog.New(slog.DiscardHandler), now: time.Now}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.run(ctx) }()
	conn := dialUntil(t, c.ClientPort)
	at := netip.MustParseAddrPort("127.0.0.1:1")
	pre, err := (&wire.Preamble{PeerKey: [32]byte{1}, Source: at, Destination: at}).Append(nil, wire.Apr2026)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write(pre); err != nil {
		t.Fatal(err)
	}
	s := session.New(conn, session.Options{Dialer: true}, nobody{})
	over := make(chan error, 1)
	go func() { over <- s.Run(ctx) }()
	<-s.Ready()
	got, err := s.Query(ctx, &tl.ClientConnectToProxy{Params: tl.ClientParams{
		ClientOwnerAddress: proxyOwner, IsTest: new(true), MinProtoVersion: new(int32(1)), MaxProtoVersion: new(int32(5)),
	}})
	if connected, ok := got.(*tl.ClientConnectedToProxy); err != nil || !ok || *connected.Params.ProtoVersion != 5 {
		t.Errorf("%v, %v", got, err)
	}
	short := dialUntil(t, c.WorkersPort) // no preamble: the connection ends
	if _, err := short.Write(bytes.Repeat([]byte{12, 0, 0, 0}, 8)); err != nil {
		t.Fatal(err)
	}
	if n, err := short.Read(make([]byte, 1)); err == nil || n > 0 {
		t.Error("a connection without a preamble is answered")
	}
	_ = short.Close()
	cancel()
	if err := <-over; err == nil {
		t.Error("the session ended without a reason")
	}
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}

func dialUntil(t *testing.T, port int64) net.Conn {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(port)).String())
		if err == nil {
			return conn
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-tick.C:
		}
	}
}

func TestProxyPages(t *testing.T) {
	c, _, err := parseProxyConfig([]byte(goodProxy))
	if err != nil {
		t.Fatal(err)
	}
	free := ports.Free(t, 2)
	c.ClientPort, c.WorkersPort = int64(free[0]), int64(free[1])
	process := &proxyProcess{cfg: c, allowLocal: true, log: slog.New(slog.DiscardHandler), now: time.Now}
	server, err := process.build(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		for _, end := range process.closers {
			end()
		}
	}()
	handler := both(t, proxyPages(server, new(self), "token", process.log))
	ask := func(method, path, token string) (int, string) {
		r := httptest.NewRequestWithContext(t.Context(), method, path, http.NoBody)
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		body, _ := io.ReadAll(w.Result().Body)
		return w.Code, string(body)
	}
	for _, step := range []struct {
		method, path, token string
		code                int
		want                string
	}{
		{"GET", "/healthz", "", 200, "ok"},
		{"GET", "/readyz", "", 200, "true"},
		{"GET", "/stats", "", 200, "no worker is connected"},
		{"GET", "/metrics", "", 200, "cocoon_proxy_workers_ready 0"},
		{"GET", "/request/disable", "token", 405, ""},
		{"POST", "/request/disable", "", 401, "bearer"},
		{"POST", "/request/disable", "wrong", 401, "bearer"},
		{"POST", "/request/disable", "token", 200, "ok"},
		{"GET", "/readyz", "", 503, "disabled by the operator"},
		{"GET", "/stats", "", 200, "disabled by the operator"},
		{"POST", "/request/enable", "token", 200, "ok"},
		{"GET", "/readyz", "", 200, "true"},
	} {
		if code, body := ask(step.method, step.path, step.token); code != step.code || !strings.Contains(body, step.want) {
			t.Errorf("%s %s: %d %s", step.method, step.path, code, body)
		}
	}
	_, body := ask("GET", "/jsonstats", "")
	var doc map[string]map[string]any
	if err := json.Unmarshal([]byte(body[:strings.LastIndex(body, "}")+1]), &map[string]any{}); err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal([]byte(body), &doc)
	for _, key := range []string{"queries", "success", "failed", "rejected", "bytes_received", "bytes_sent", "time", "total_adjusted_tokens_used"} {
		if list, ok := doc["stats"][key].([]any); !ok || len(list) != 7 {
			t.Errorf("stats.%s is %v", key, doc["stats"][key])
		}
	}
	if _, err := proxy.ParseAddress(proxyOwner); err != nil {
		t.Error(err)
	}
}
