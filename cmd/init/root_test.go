package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/adnl"
	"cocoon/contracts/code"
	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/guest/router"
	"cocoon/measure/ratls"
	"cocoon/measure/tdx"
)

// rooted is a chain with a root contract, behind a liteserver that can freeze.
type rooted struct {
	t           *testing.T
	chain       *local.Chain
	server      *adnl.Server
	root, owner *address.Address
	config      string
}

func newRooted(t *testing.T) *rooted {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	n := &rooted{t: t, owner: address.NewAddress(0, 0, bytes.Repeat([]byte{7}, 32)), config: filepath.Join(t.TempDir(), "global.json")}
	var err error
	n.chain, err = local.NewChain(local.Options{})
	must(err)
	t.Cleanup(func() { must(n.chain.Close()) })
	data, err := bind.RootStorage{Owner: n.owner, KeyManager: &bind.KeyManager{}, Params: bind.Params{
		StructVersion: 4, ParamsVersion: 1, UniqueID: 7, IsTest: true, PricePerToken: 20, WorkerFee: 19, MinProxyStake: 1e9, MinClientStake: 1e9,
		Proxy: code.Proxy(), Worker: code.Worker(), Client: code.Client(),
	}}.Cell()
	must(err)
	n.root, err = bind.Address(code.Root(), data)
	must(err)
	must(n.chain.SendInternal(&tlb.InternalMessage{
		IHRDisabled: true, SrcAddr: n.owner, DstAddr: n.root, Amount: tlb.MustFromTON("9"),
		StateInit: &tlb.StateInit{Code: code.Root(), Data: data}, Body: cell.BeginCell().EndCell(),
	}))
	must(n.chain.Steps(2))
	n.server, err = adnl.Start(t.Context(), n.chain, adnl.Options{Listen: "127.0.0.1:0", Seed: [32]byte{3}})
	must(err)
	t.Cleanup(func() { must(n.server.Close()) })
	global, err := adnl.GlobalConfig(n.chain, adnl.Endpoint{Addr: n.server.Addr(), Key: n.server.Key()})
	must(err)
	must(os.WriteFile(n.config, global, 0o600))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				done <- nil
				return
			case <-tick.C:
				if err := n.chain.Step(); err != nil {
					done <- err
					return
				}
			}
		}
	}()
	t.Cleanup(func() { cancel(); must(<-done) })
	return n
}

// list puts a hash on a list of the root, or takes it off.
func (n *rooted) list(l registry.List, h bind.Hash, on bool) {
	n.t.Helper()
	body, err := bind.Encode(&bind.RootHash{Change: l.Op(on), Hash: h})
	if err == nil {
		err = n.chain.SendInternal(&tlb.InternalMessage{
			IHRDisabled: true, Bounce: true, SrcAddr: n.owner, DstAddr: n.root, Amount: tlb.MustFromTON("0.2"), Body: body,
		})
	}
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *rooted) section(maxAge string) map[string]any {
	return map[string]any{
		"address": n.root.StringRaw(), "network": "localnet", "config": n.config, "every": "200ms", "max_age": maxAge, "one_liteserver": true,
		"state_dir": filepath.Join(n.t.TempDir(), "state"),
	}
}

// chainFile is a local network's router whose policy "sim" takes its images from the root's workers.
func (s *simulation) chainFile(t *testing.T, root map[string]any) string {
	t.Helper()
	id := s.platform.RootID()
	doc := map[string]any{
		"network": "local", "limits": map[string]string{"drain": "50ms"}, "collateral": map[string]any{"pccs_url": s.pccs},
		"simulated": map[string]string{"device": s.device, "root": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.platform.RootCertificate().Raw}))},
		"policies": []any{map[string]any{"name": "sim", "type": "tdx", "tdx_config": map[string]any{
			"allow_simulated": true, "allowed_collateral_root_hashes": []string{id.String()}, "image_source": "chain",
		}}},
	}
	if root != nil {
		doc["root"], doc["root_lists"] = root, []string{"worker"}
	}
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// echoes opens a session and says whether the service behind the routers answers.
func echoes(t *testing.T, addr string) (net.Conn, bool) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", addr)
	if err != nil { // the router is quick to close
		return nil, false
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(routerWait))
	answer := make([]byte, 4)
	_, err = c.Write([]byte("echo"))
	if err == nil {
		_, err = io.ReadFull(c, answer)
	}
	return c, err == nil && string(answer) == "echo"
}

// TestRouterFollowsTheRoot: `init router` by the chain's list. Nothing is listed: policy_empty. A publication admits, the
// frozen chain's list serves until its age limit and is refused beyond, and a deletion ends the session that is open.
func TestRouterFollowsTheRoot(t *testing.T) {
	n, s := newRooted(t), newSimulation(t)
	m := s.td.Measurements()
	image, err := tdx.PublishableHash(&m)
	if err != nil {
		t.Fatal(err)
	}
	service := echoService(t)
	metrics := freeAddress(t)
	file := s.chainFile(t, n.section("4s"))
	far := startRouting(t, true, func() string { return file }, "-d", "0", "--metrics", metrics, "-R", "11001:"+service+"@sim")
	near := startRouting(t, true, func() string { return s.file(t, image.String()) }, "-F", "9000:"+far.listening(t)+"@sim")
	door := near.listening(t)
	until := func(what string, ok func() bool) {
		t.Helper()
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for limit := time.After(routerWait); !ok(); {
			select {
			case <-tick.C:
			case <-limit:
				t.Fatalf("never: %s\n%s\n%s", what, far.log, get(t, "http://"+metrics+"/metrics"))
			}
		}
	}
	refused := func(code string) bool {
		return strings.Contains(get(t, "http://"+metrics+"/metrics"), fmt.Sprintf(`router_handshakes_total{listener="11001",code=%q}`, code))
	}
	if _, ok := echoes(t, door); ok {
		t.Fatalf("with an empty root a peer is admitted\n%s", far.log)
	}
	until("the refusal is counted", func() bool { return refused("policy_empty") })
	n.list(registry.Proxies, bind.Hash(image), true) // the wrong list
	n.list(registry.Workers, bind.Hash{1}, true)
	until("another image is listed", func() bool { _, ok := echoes(t, door); return !ok && refused("image") })
	n.list(registry.Workers, bind.Hash(image), true)
	var session net.Conn
	until("admitted after publication", func() (ok bool) { session, ok = echoes(t, door); return ok })
	n.server.Freeze(true)
	if _, ok := echoes(t, door); !ok {
		t.Error("refused as soon as the chain froze")
	}
	until("refused when the list is too old", func() bool { _, ok := echoes(t, door); return !ok })
	if page := get(t, "http://"+metrics+"/metrics"); !strings.Contains(page, "router_root_age_seconds") || !strings.Contains(page, "router_root_version 3") {
		t.Errorf("metrics do not tell the root's age and version:\n%s", page)
	}
	if _, err := session.Write([]byte("echo")); err != nil {
		t.Errorf("the open session ended with the chain: %v", err)
	}
	n.server.Freeze(false)
	until("admitted after the thaw", func() (ok bool) { session, ok = echoes(t, door); return ok })
	n.list(registry.Workers, bind.Hash(image), false)
	if _, err := session.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the session goes on although its image is not listed any more: %v", err)
	}
	until("the reason is counted", func() bool { return strings.Contains(get(t, "http://"+metrics+"/metrics"), `reason="root"`) })
}

// TestCertificatesAreMadeAtTheChainsTime: the machine's clock is set back behind what the chain has proven, and the router's
// certificate is not.
func TestCertificatesAreMadeAtTheChainsTime(t *testing.T) {
	n, s := newRooted(t), newSimulation(t)
	const back = 2 * time.Hour
	var gone atomic.Int64 // by the monotonic clock, while the other one stands still
	text, err := json.Marshal(n.section("1h"))
	if err != nil {
		t.Fatal(err)
	}
	section, err := follow.ParseSection(text)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	root, err := follow.New(section, follow.Deps{
		Now: func() time.Time { return began }, Elapsed: func() time.Duration { return time.Duration(gone.Load()) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	root.Start(t.Context())
	if _, err := root.Snapshot(); err != nil {
		t.Fatal(err)
	}
	gone.Store(int64(back))
	cfg, err := router.Parse([]string{"-c", "router.json", "-R", "11001:127.0.0.1:9000@sim"}, func(string) ([]byte, error) { return []byte(s.chainFile(t, nil)), nil })
	if err != nil {
		t.Fatal(err)
	}
	p := &routerProcess{
		cfg: cfg, log: slog.New(slog.DiscardHandler), now: func() time.Time { return began }, allowLocal: true, root: root, lists: []registry.List{registry.Workers},
		openQuotes: func() (quotes, error) { return nil, nil },
	}
	if _, err := p.build(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer p.close()
	own, err := p.shown.Certificate(ratls.V1)
	if err != nil {
		t.Fatal(err)
	}
	if ahead := own.Leaf.NotBefore.Sub(began); ahead < back-time.Minute || ahead > back {
		t.Errorf("the certificate begins %s after the time that the machine's clock shows, want about %s", ahead, back)
	}
}

// echoService repeats what it hears, for any number of connections.
func echoService(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

// TestARouterByTheChainNeedsOne: the command line alone names none, and a role's router has the role's.
func TestARouterByTheChainNeedsOne(t *testing.T) {
	n, s := newRooted(t), newSimulation(t)
	r := startRouting(t, true, func() string { return s.chainFile(t, nil) }, "-R", "11001:127.0.0.1:11101@sim")
	err := <-r.done
	r.done <- err
	if err == nil || !strings.Contains(err.Error(), "section root") {
		t.Errorf("without a root: %v", err)
	}
	proxyFile := map[string]any{
		"is_test": true, "owner_address": someOwner, "client_rpc_port": 11002, "workers_rpc_port": 11001, "root": n.section("1h"),
		"router": filepath.Join(t.TempDir(), "router.json"),
	}
	if err := os.WriteFile(proxyFile["router"].(string), []byte(withPorts(t, s.chainFile(t, n.section("1h")))), 0o600); err != nil { //nolint:forcetypeassert // written above
		t.Fatal(err)
	}
	data, err := json.Marshal(proxyFile)
	if err != nil {
		t.Fatal(err)
	}
	cfg, _, err := parseProxyConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxyProcess{cfg: cfg, allowLocal: true, now: time.Now, log: slog.New(slog.DiscardHandler)}
	if err := p.run(t.Context()); err == nil || !strings.Contains(err.Error(), "the router's file must not") {
		t.Errorf("two roots in one process: %v", err)
	}
}

const someOwner = "0:0101010101010101010101010101010101010101010101010101010101010101"

// withPorts adds the reverse ports that a proxy needs.
func withPorts(t *testing.T, file string) string {
	t.Helper()
	var doc map[string]any
	if err := json.Unmarshal([]byte(file), &doc); err != nil {
		t.Fatal(err)
	}
	var ports []any
	for i, inner := range []int{11001, 11002} {
		ports = append(ports, map[string]any{
			"port": 21001 + i, "type": "reverse", "policy_name": "sim", "destination_host": "localhost", "destination_port": inner,
		})
	}
	doc["ports"] = ports
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestRootSections: a role with a root takes from it what a role without one lists.
func TestRootSections(t *testing.T) {
	const at = "0:a7b3b6d84a9d22805bd2d70a5be70b198c2282575f4c0f9015cc8e04cb1b2753"
	const friendly = "EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73k" // the same, contracts.md section 1.2
	section := `"root":{"address":"` + at + `","network":"testnet","config":"c"}`
	proxy := `"is_test":true,"owner_address":"` + someOwner + `","client_rpc_port":11002,"workers_rpc_port":11001`
	worker := `"is_test":true,"owner_address":"` + someOwner + `","model_name":"m@c:r","router":"r.json"`
	for name, tc := range map[string]struct {
		role, file, says string // nothing: accepted
	}{
		"proxy":                  {"proxy", `{` + proxy + `,` + section + `}`, ""},
		"worker":                 {"worker", `{` + worker + `,` + section + `}`, ""},
		"the same root named":    {"proxy", `{` + proxy + `,` + section + `,"root_contract_address":"` + friendly + `"}`, ""},
		"another root named":     {"proxy", `{` + proxy + `,` + section + `,"root_contract_address":"` + someOwner + `"}`, "is not root.address"},
		"no root, no lists":      {"proxy", `{` + proxy + `}`, "or there be a section root"},
		"root and images":        {"proxy", `{` + proxy + `,` + section + `,"worker_image_hashes":["` + strings.Repeat("ab", 32) + `"]}`, "worker_image_hashes is for networks without a root"},
		"root and models":        {"proxy", `{` + proxy + `,` + section + `,"model_names":["m"]}`, "model_names is for networks without a root"},
		"worker with images":     {"worker", `{` + worker + `,` + section + `,"proxy_image_hashes":["` + strings.Repeat("ab", 32) + `"]}`, "proxy_image_hashes is for networks without a root"},
		"worker without proxies": {"worker", `{` + worker + `,"proxy_image_hashes":["` + strings.Repeat("ab", 32) + `"]}`, "proxies must list"},
		"balances on a chain":    {"proxy", `{` + strings.Replace(proxy, "true", "false", 1) + `,` + section + `}`, "balances are counted in memory"},
		"a section of words":     {"worker", `{` + worker + `,"root":"mainnet"}`, "reading root section"},
		"a section without all":  {"proxy", `{` + proxy + `,"root":{}}`, "root.address"},
	} {
		var err error
		if tc.role == "proxy" {
			_, _, err = parseProxyConfig([]byte(tc.file))
		} else {
			_, _, err = parseWorkerConfig([]byte(tc.file))
		}
		if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%s: %v, want %q", name, err, tc.says)
		}
	}
}
