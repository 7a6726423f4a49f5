package boot

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"

	"cocoon/guest/boot"
	"cocoon/guest/config"
	"cocoon/host/gateway"
	"cocoon/host/gateway/attest"
	"cocoon/host/gateway/keys"
	"cocoon/host/gateway/receipts"
	"cocoon/host/gateway/upstream"
	"cocoon/measure/bootfiles"
	"cocoon/measure/dcap"
	"cocoon/measure/launch"
	"cocoon/measure/policy"
	"cocoon/measure/ratls"
	"cocoon/measure/spec"
	"cocoon/measure/tdx"
	"cocoon/tests/ports"
)

const (
	// Ports of the proxy: outside for workers and clients, inside behind its router.
	workersPort, clientsPort   = 11001, 11002
	innerWorkers, innerClients = 11101, 11102
	// Owners of a network without a chain.
	proxyOwner  = "0:0101010101010101010101010101010101010101010101010101010101010101"
	workerOwner = "0:0202020202020202020202020202020202020202020202020202020202020202"
	clientOwner = "0:0303030303030303030303030303030303030303030303030303030303030303"
	// inferenceLimit bounds the wait for a worker, and a completion, of emulated machines.
	inferenceLimit = 2 * time.Minute
)

// TestACompletionComesFromMachineToMachine: a proxy image and a worker image, booted as they are built, serve an app
// outside: gateway, RA-TLS, proxy machine, RA-TLS, worker machine, its sandboxed engine and back, with a receipt.
func TestACompletionComesFromMachineToMachine(t *testing.T) {
	t.Parallel()
	proxy, worker := imitate(newSubject(t, proxyImage, bootfiles.Test, launch.BootUKI)), imitate(newSubject(t, workerImage, bootfiles.Test, launch.BootUKI))
	forWorkers := ports.Free(t, 1)[0]
	worker.pcs, worker.shared = proxy.pcs, true
	worker.withModel()
	var measured config.Measured
	if err := json.Unmarshal(worker.files[0].Data, &measured); err != nil {
		t.Fatal(err)
	}
	proxy.machine.Paths.Netdev = fmt.Sprintf("user,hostfwd=tcp:127.0.0.1:%d-:%d,hostfwd=tcp:127.0.0.1:%d-:%d",
		forWorkers, workersPort, proxy.outside, clientsPort)
	// Each hash covers its machine's configuration, so only one of the two can name the other: the proxy knows workers by
	// their firmware, as a root contract would list their images.
	firmware := proxy.predict().MRTD
	proxy.files = append(proxy.files,
		spec.File{Path: "router.json", Data: encode(t, proxy.routerConfig("workers", map[string]any{"allowed_mrtd": []tdx.Digest{firmware}},
			reverse(workersPort, "workers", innerWorkers), reverse(clientsPort, "any", innerClients)))},
		spec.File{Path: "proxy.json", Data: encode(t, map[string]any{
			"is_test": true, "owner_address": proxyOwner, "client_rpc_port": innerClients, "workers_rpc_port": innerWorkers,
			"check_worker_hashes": false, "router": "/run/cocoon/spec/router.json",
		})})
	proxy.simulate(proxy.predict())
	worker.files = append(worker.files,
		spec.File{Path: "router.json", Data: encode(t, worker.routerConfig("proxies", map[string]any{"allowed_image_hashes": []tdx.Hash{proxy.hash}}))},
		spec.File{Path: "worker.json", Data: encode(t, map[string]any{
			"is_test": true, "owner_address": workerOwner, "model_name": measured.Model.ID, "engine": "llamacpp",
			"engine_socket": "/run/engine/engine.sock", "proxies": []string{fmt.Sprintf("10.0.2.2:%d", forWorkers)},
			"proxy_image_hashes": []tdx.Hash{proxy.hash}, "router": "/run/cocoon/spec/router.json", "policy": "proxies", "price_per_token": 1,
			"max_active_requests": 4,
		})})
	worker.simulate(worker.predict())
	machinesServe(t, proxy, worker)
}

// machinesServe boots both and asks for a completion while they run.
func machinesServe(t *testing.T, proxy, worker *attested) {
	t.Helper()
	up, done := make(chan struct{}), make(chan struct{})
	proxy.machine.During = func(stage string) {
		if stage == boot.StageReady {
			close(up)
			<-done
		}
	}
	ended := make(chan *Run, 1)
	go func() { ended <- proxy.start() }()
	asked := false
	worker.machine.During = func(stage string) {
		if stage != boot.StageReady {
			return
		}
		select {
		case <-up:
			asked = true
			ask(t, proxy, worker)
		case <-time.After(inferenceLimit):
			t.Error("the proxy is not ready")
		}
	}
	run := worker.start()
	close(done)
	other := <-ended
	if !asked {
		t.Errorf("the worker's stages are %v; console:\n%s\nthe proxy's are %v; console:\n%s", names(run), run.Tail(), names(other), other.Tail())
	}
	if t.Failed() {
		t.Logf("the worker's console:\n%s\nthe proxy's console:\n%s", run.Tail(), other.Tail())
	}
}

// ask runs a gateway outside and sends what an app would.
func ask(t *testing.T, proxy, worker *attested) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), inferenceLimit)
	defer cancel()
	pool, server, store := gatewayFor(ctx, t, proxy, worker)
	defer store.Close() //nolint:errcheck // read below
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		t.Error(err)
		return
	}
	running, stop := context.WithCancel(ctx)
	over := make(chan error, 1)
	go func() { over <- server.Run(running, l) }()
	defer func() {
		stop()
		if err := <-over; err != nil {
			t.Errorf("gateway: %v", err)
		}
	}()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for offered := false; !offered; {
		s := pool.Status()[0]
		offered = len(s.Models) > 0 && len(s.Models[0].Instances) > 0
		select {
		case <-ctx.Done():
			t.Errorf("no worker is on offer: %+v", s)
			return
		case <-tick.C:
		}
	}
	began := time.Now()
	body := `{"model":"test/scripted","messages":[{"role":"user","content":"hello"}]}`
	answer := post(ctx, t, "http://"+l.Addr().String()+"/v1/chat/completions", body)
	const words = "Hello from a scripted model running inside llama-server."
	if !bytes.Contains(answer, []byte(words)) {
		t.Errorf("the answer is %s", answer)
	}
	t.Logf("a completion from machine to machine after %.2f s", time.Since(began).Seconds())
	for kept := 0; kept == 0; kept, _, _ = store.Size() { // the verdict comes after the answer
		select {
		case <-ctx.Done():
			t.Error("no receipt is kept")
			return
		case <-tick.C:
		}
	}
	kept := 0
	for r, err := range store.All() {
		kept++
		if err != nil || !r.OK() {
			t.Errorf("receipt %s: %s, %s, %v", r.ID, r.Class, r.Why, err)
		}
	}
	if kept != 1 {
		t.Errorf("%d receipts were kept", kept)
	}
}

func post(ctx context.Context, t *testing.T, url, body string) []byte {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Error(err)
		return nil
	}
	r.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer resp.Body.Close() //nolint:errcheck // read side
	out, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("status %d, %v: %s", resp.StatusCode, err, out)
	}
	return out
}

// gatewayFor is a gateway that admits exactly these two machines.
func gatewayFor(ctx context.Context, t *testing.T, proxy, worker *attested) (*upstream.Pool, *gateway.Server, *receipts.Store) {
	t.Helper()
	only := func(a *attested) *policy.Policy {
		p, err := policy.New(a.believer().rules)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	verifier := dcap.NewVerifier(proxy.platform.Roots(), 0)
	collateral := source{proxy.believer(), proxy.platform}
	judge, err := ratls.NewJudge(ratls.JudgeConfig{Verifier: verifier, Collateral: collateral, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	nobody, err := ratls.NewIdentity(ratls.IdentityConfig{Now: time.Now})
	if err == nil {
		err = nobody.Refresh(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	trust := attest.New(attest.Config{
		Proxies: only(proxy), Workers: only(worker), Judge: judge, Verifier: verifier, Collateral: collateral, Identity: nobody,
		PricePerToken: 1, Now: time.Now,
	})
	log := slog.New(slog.DiscardHandler)
	pool, err := upstream.New(upstream.Config{
		Proxies: []string{fmt.Sprintf("127.0.0.1:%d", proxy.outside)}, Dial: trust.Dial, Account: attest.SecretAccount{Wallet: clientOwner},
		Test: true, Now: time.Now, Log: log, Backoff: time.Second, Poll: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	store, err := receipts.Open(receipts.Config{Dir: t.TempDir(), Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	server, err := gateway.New(gateway.Config{
		Pool: pool, Keys: new(keys.Book), Store: store, Checker: receipts.NewChecker(trust, time.Now), Test: true, Owner: clientOwner,
		Now: time.Now, Log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	return pool, server, store
}
