// Package rooted_test runs the guest's roles as processes that follow a root contract on a local chain, seen through a
// liteserver with proofs, and serves an app through a gateway that follows the same root.
//
// It owns the scenario and everything around the processes: chain, simulated machines, engine, gateway. It trusts nothing
// beyond its own chain and platform, runs one network per test, and refuses nothing.
package rooted_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"
	"go.uber.org/goleak"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/adnl"
	"cocoon/contracts/code"
	"cocoon/guest/worker/engine/enginetest"
	"cocoon/measure/eventlog"
	"cocoon/measure/measuretest"
	"cocoon/measure/tdx"
	"cocoon/tests/ports"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = 60 * time.Second
	base     = "demo/model"
	model    = base + "@0123456789abcdef0123456789abcdef01234567:f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6f6"
	// blocks is the time between blocks, look the time between the roles' looks at the root.
	blocks, look = 100 * time.Millisecond, "200ms"
)

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type object = map[string]any

// world is a network.
type world struct {
	t        *testing.T
	dir      string
	guest    string
	chain    *local.Chain
	server   *adnl.Server
	owner    *address.Address
	root     *address.Address
	global   string // file of the global configuration
	platform *measuretest.Platform
	pccs     string
	ports    map[string]int
	app      *http.Client
	url      string
}

// newWorld starts everything but the roles.
func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), ports: make(map[string]int), app: &http.Client{Transport: &http.Transport{}}}
	t.Cleanup(w.app.CloseIdleConnections)
	w.build()
	w.startChain()
	var err error
	w.platform, err = measuretest.NewPlatform(measuretest.Options{Seed: [measuretest.SeedSize]byte{8}, Now: time.Now()})
	check(t, err)
	pccs := httptest.NewServer(measuretest.NewService(w.platform))
	t.Cleanup(pccs.Close)
	w.pccs = pccs.URL
	names := []string{"clients", "workers", "inner clients", "inner workers", "proxy", "worker"}
	for i, port := range ports.Free(t, len(names)) {
		w.ports[names[i]] = port
	}
	return w
}

// build builds the guest binary of this checkout.
func (w *world) build() {
	w.t.Helper()
	w.guest = filepath.Join(w.dir, "init")
	ctx, cancel := context.WithTimeout(w.t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "build", "-o", w.guest, "cocoon/cmd/init").CombinedOutput()
	if err != nil {
		w.t.Fatalf("building the guest binary: %v\n%s", err, out)
	}
}

// startChain deploys a root whose lists are empty and lets blocks be made by themselves.
func (w *world) startChain() {
	w.t.Helper()
	var err error
	w.chain, err = local.NewChain(local.Options{})
	check(w.t, err)
	w.t.Cleanup(func() { check(w.t, w.chain.Close()) })
	w.owner = address.NewAddress(0, 0, bytes.Repeat([]byte{7}, 32))
	data, err := bind.RootStorage{Owner: w.owner, KeyManager: &bind.KeyManager{}, Params: bind.Params{
		StructVersion: 4, ParamsVersion: 1, UniqueID: 7, IsTest: true, PricePerToken: 20, WorkerFee: 19, MinProxyStake: 1e9, MinClientStake: 1e9,
		PromptMultiplier: 10_000, CachedMultiplier: 10_000, CompletionMultiplier: 10_000, ReasoningMultiplier: 10_000,
		Proxy: code.Proxy(), Worker: code.Worker(), Client: code.Client(),
	}}.Cell()
	check(w.t, err)
	w.root, err = bind.Address(code.Root(), data)
	check(w.t, err)
	check(w.t, w.chain.SendInternal(&tlb.InternalMessage{
		IHRDisabled: true, SrcAddr: w.owner, DstAddr: w.root, Amount: tlb.MustFromTON("100"),
		StateInit: &tlb.StateInit{Code: code.Root(), Data: data}, Body: cell.BeginCell().EndCell(),
	}))
	check(w.t, w.chain.Steps(2))
	w.server, err = adnl.Start(w.t.Context(), w.chain, adnl.Options{Listen: "127.0.0.1:0", Seed: [32]byte{3}})
	check(w.t, err)
	w.t.Cleanup(func() { check(w.t, w.server.Close()) })
	config, err := adnl.GlobalConfig(w.chain, adnl.Endpoint{Addr: w.server.Addr(), Key: w.server.Key()})
	check(w.t, err)
	w.global = filepath.Join(w.dir, "global.json")
	check(w.t, os.WriteFile(w.global, config, 0o600))
	w.background(func(ctx context.Context) error {
		tick := time.NewTicker(blocks)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
				if err := w.chain.Step(); err != nil {
					return err
				}
			}
		}
	})
}

// tell is a message of the root's owner.
func (w *world) tell(m bind.Message) {
	w.t.Helper()
	body, err := bind.Encode(m)
	check(w.t, err)
	check(w.t, w.chain.SendInternal(&tlb.InternalMessage{
		IHRDisabled: true, Bounce: true, SrcAddr: w.owner, DstAddr: w.root, Amount: tlb.MustFromTON("0.2"), Body: body,
	}))
}

// background runs something until the test ends; what was started last ends first.
func (w *world) background(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				w.t.Error(err)
			}
		case <-time.After(patience):
			w.t.Error("something does not end")
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// machine is a simulated TD whose quotes a process can ask for.
type machine struct {
	device string
	image  tdx.Hash
}

func (w *world) launch(role string) machine {
	w.t.Helper()
	name := []byte(role)
	events := append(measuretest.DefaultEvents(), measuretest.Event{Register: tdx.RTMR2, Type: eventlog.EFIAction, Digest: tdx.Sum(name), Data: name})
	td, err := w.platform.Launch(measuretest.TDOptions{Events: events})
	check(w.t, err)
	m := td.Measurements()
	image, err := tdx.PublishableHash(&m)
	check(w.t, err)
	socket := w.socket(role + ".td")
	l, err := new(net.ListenConfig).Listen(w.t.Context(), "unix", socket)
	check(w.t, err)
	w.background(func(ctx context.Context) error { _ = td.Serve(ctx, l, nil); return nil })
	return machine{"unix:" + socket, image}
}

// socket names one; the test's folder has too long a name for that.
func (w *world) socket(name string) string {
	dir, err := os.MkdirTemp("", "rooted")
	check(w.t, err)
	w.t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, name)
}

// engine starts a fake engine behind a socket.
func (w *world) engine() (fake *enginetest.Engine, socket string) {
	w.t.Helper()
	fake, socket = enginetest.New(), w.socket("engine")
	l, err := new(net.ListenConfig).Listen(w.t.Context(), "unix", socket)
	check(w.t, err)
	server := &http.Server{Handler: fake, ReadHeaderTimeout: patience}
	w.background(func(ctx context.Context) error {
		defer context.AfterFunc(ctx, func() { _ = server.Close() })()
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	return fake, socket
}

// routerFile is that of a role: its policy admits the images that the root lists.
func (w *world) routerFile(of machine, policy string, ports ...object) object {
	id := w.platform.RootID()
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.platform.RootCertificate().Raw})
	if ports == nil {
		ports = []object{}
	}
	return object{
		"network": "local", "simulated": object{"device": of.device, "root": string(root)}, "collateral": object{"pccs_url": w.pccs},
		"policies": []object{{"name": policy, "type": "tdx", "tdx_config": object{
			"allow_simulated": true, "allowed_collateral_root_hashes": []string{id.String()}, "image_source": "chain",
		}}},
		"ports": ports, "limits": object{"drain": "100ms"},
	}
}

func (w *world) reversePort(name, policy string) object {
	return object{
		"port": w.ports[name], "host": "127.0.0.1", "type": "reverse", "policy_name": policy, "destination_host": "localhost",
		"destination_port": w.ports["inner "+name], "pow_difficulty": 4,
	}
}

// section is the section root of a role.
func (w *world) section(role, maxAge string) object {
	return object{
		"address": w.root.StringRaw(), "network": "localnet", "config": w.global, "every": look, "max_age": maxAge,
		"state_dir": filepath.Join(w.dir, role+".state"), "one_liteserver": true,
	}
}

func (w *world) write(name string, doc object) string {
	w.t.Helper()
	data, err := json.MarshalIndent(doc, "", " ")
	check(w.t, err)
	path := filepath.Join(w.dir, name)
	check(w.t, os.WriteFile(path, data, 0o600))
	return path
}

// run starts a role as a process.
func (w *world) run(role, file string) (stop func()) {
	w.t.Helper()
	cmd := exec.Command(w.guest, role, "-c", file)
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	check(w.t, cmd.Start())
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		_ = cmd.Wait() // how it ends when it is told to is its own matter
		if w.t.Failed() {
			w.t.Logf("the %s's log:\n%s", role, log.String())
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// readiness is a role's /readyz.
type readiness struct {
	Ready   bool
	Reasons []struct{ Code, Text string }
	Chain   struct {
		Known       bool
		Light       string
		AgeSeconds  float64 `json:"age_seconds"`
		RootVersion int     `json:"root_version"`
	}
}

func (w *world) ready(role string) (r readiness) {
	w.t.Helper()
	_ = json.Unmarshal([]byte(w.get(fmt.Sprintf("http://127.0.0.1:%d/readyz", w.ports[role]))), &r) // not there yet is not ready
	return r
}

func (w *world) get(url string) string {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	check(w.t, err)
	resp, err := w.app.Do(req)
	if err != nil {
		return ""
	}
	defer resp.Body.Close() //nolint:errcheck // read side
	data, err := io.ReadAll(resp.Body)
	check(w.t, err)
	return string(data)
}

// waits waits until a role is not ready for a reason, with words in its text.
func (w *world) waits(role, code string, words ...string) {
	w.t.Helper()
	w.until(func() (bool, string) {
		r := w.ready(role)
		if r.Ready || len(r.Reasons) == 0 || r.Reasons[0].Code != code {
			return false, fmt.Sprintf("the %s's readiness is %+v, wanted is %s", role, r, code)
		}
		for _, word := range words {
			if !strings.Contains(r.Reasons[0].Text, word) {
				return false, fmt.Sprintf("the %s does not say %q but %+v", role, word, r)
			}
		}
		return true, ""
	})
}

// serves waits until a role is ready.
func (w *world) serves(role string) {
	w.t.Helper()
	w.until(func() (bool, string) {
		r := w.ready(role)
		return r.Ready, fmt.Sprintf("the %s is not ready: %+v", role, r)
	})
}

// until waits for something that the processes bring about.
func (w *world) until(ok func() (bool, string)) {
	w.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		done, what := ok()
		if done {
			return
		}
		select {
		case <-tick.C:
		case <-limit.C:
			w.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
