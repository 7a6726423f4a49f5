package bench

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cocoon/measure/eventlog"
	"cocoon/measure/measuretest"
	"cocoon/measure/tdx"
	"cocoon/tests/bench/load"
	"cocoon/tests/golden"
	"cocoon/tests/ports"
)

const (
	benchBase  = "bench/model"
	benchModel = benchBase + "@0000000000000000000000000000000000000000:0000000000000000000000000000000000000000000000000000000000000000"
	// oneCore limits a Go process.
	oneCore = "GOMAXPROCS=1"
	// maxStreams is more than any load here has.
	maxStreams = 2048
)

// object is a JSON object.
type object = map[string]any

// rules are a policy's that admits one image of the simulated platform.
func rules(root, image string) object {
	return object{
		"allow_simulated": true, "allowed_collateral_root_hashes": []string{root}, "image_source": "list", "allowed_image_hashes": []string{image},
	}
}

// simulatedTD is a TD whose measurements follow from its role, and whose quotes are at a socket.
func simulatedTD(t *testing.T, platform *measuretest.Platform, dir, role string) (device, image string) {
	t.Helper()
	name := []byte("bench " + role)
	events := append(measuretest.DefaultEvents(), measuretest.Event{Register: tdx.RTMR2, Type: eventlog.EFIAction, Digest: tdx.Sum(name), Data: name})
	td, err := platform.Launch(measuretest.TDOptions{Events: events})
	if err != nil {
		t.Fatal(err)
	}
	m := td.Measurements()
	hash, err := tdx.PublishableHash(&m)
	if err != nil {
		t.Fatal(err)
	}
	device = filepath.Join(dir, role+".td")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", device)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = td.Serve(ctx, l, slog.New(slog.DiscardHandler)) // ends with ctx
	}()
	t.Cleanup(func() {
		cancel()
		<-served
	})
	return "unix:" + device, hash.String()
}

// startOurs starts gateway, proxy and worker as processes of one core each, with RA-TLS between them.
func startOurs(t *testing.T, engine engineAt) (*path, string) {
	t.Helper()
	dir := t.TempDir()
	platform, err := measuretest.NewPlatform(measuretest.Options{Seed: [measuretest.SeedSize]byte{7}, Now: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	pcs := httptest.NewServer(measuretest.NewService(platform))
	t.Cleanup(pcs.Close)
	id := platform.RootID()
	root := hex.EncodeToString(id[:])
	rootPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: platform.RootCertificate().Raw})
	proxyTD, proxyImage := simulatedTD(t, platform, dir, "proxy")
	workerTD, workerImage := simulatedTD(t, platform, dir, "worker")

	file := func(name string, doc object) string {
		data, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		full := filepath.Join(dir, name)
		put(t, full, data)
		return full
	}
	router := func(device, policy, image string, ports ...object) object {
		return object{
			"network": "local", "simulated": object{"device": device, "root": string(rootPEM)}, "collateral": object{"pccs_url": pcs.URL},
			"policies": []object{{"name": policy, "type": "tdx", "tdx_config": rules(root, image)}},
			"ports":    append([]object{}, ports...), "limits": object{"drain": "10ms"},
		}
	}
	reverse := func(port int, policy string, inner int) object {
		return object{
			"port": port, "type": "reverse", "policy_name": policy, "destination_host": "localhost", "destination_port": inner, "pow_difficulty": 4,
		}
	}
	free := ports.Free(t, 5)
	clients, workers, innerClients, innerWorkers, apps := free[0], free[1], free[2], free[3], free[4]
	owner := func(n int) string { return "0:" + strings.Repeat(fmt.Sprintf("%02d", n), 32) }
	proxyFile := file("proxy.json", object{
		"is_test": true, "owner_address": owner(1), "client_rpc_port": innerClients, "workers_rpc_port": innerWorkers,
		"check_worker_hashes": true, "worker_image_hashes": []string{workerImage}, "model_names": []string{benchModel},
		"router": file("proxy-router.json", router(proxyTD, "workers", workerImage, reverse(clients, "any", innerClients), reverse(workers, "workers", innerWorkers))),
	})
	workerFile := file("worker.json", object{
		"is_test": true, "owner_address": owner(2), "model_name": benchModel, "max_active_requests": maxStreams, "engine": "fake",
		"engine_socket": engine.socket, "proxies": []string{fmt.Sprintf("127.0.0.1:%d", workers)}, "proxy_image_hashes": []string{proxyImage},
		"router": file("worker-router.json", router(workerTD, "proxies", proxyImage)), "policy": "proxies", "price_per_token": 1, "cost_fields": false,
	})
	put(t, filepath.Join(dir, "root.pem"), rootPEM)
	policy := rules(root, proxyImage)
	policy["type"] = "tdx"
	guest, cocoon := buildBinary(t, dir, "init"), buildBinary(t, dir, "cocoon")
	address := fmt.Sprintf("127.0.0.1:%d", apps)
	p := &path{addr: address}
	for _, role := range []struct {
		name string
		cmd  *exec.Cmd
	}{
		{"proxy", exec.Command(guest, "proxy", "-c", proxyFile)},
		{"worker", exec.Command(guest, "worker", "-c", workerFile)},
		{"gateway", exec.Command(cocoon, "gateway", "run", "--listen", address, "--proxy", fmt.Sprintf("127.0.0.1:%d", clients), "--wallet", owner(3),
			"--test-network", "--policy", file("policy.json", policy), "--pccs", pcs.URL, "--no-intel", "--trust-root", filepath.Join(dir, "root.pem"),
			"--price-per-token", "1", "--receipts", filepath.Join(dir, "receipts"))},
	} {
		role.cmd.Env = []string{oneCore, "HOME=" + dir}
		p.roles = append(p.roles, startProcess(t, role.name, role.cmd))
		if role.name == "proxy" { // the others would wait before they try again
			listens(t, fmt.Sprintf("127.0.0.1:%d", workers))
		}
	}
	answers(t, address)
	return p, ""
}

// buildBinary builds a command of this tree as the images have it: without cgo.
func buildBinary(t *testing.T, dir, name string) string {
	t.Helper()
	binary := filepath.Join(dir, name+".bin")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "./cmd/"+name)
	build.Dir, build.Env = golden.Root(t), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	return binary
}

// startProcess starts a role. It is ended with the test, and what it said is shown when the test failed.
func startProcess(t *testing.T, name string, cmd *exec.Cmd) role {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), cmd.Env...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		const grace = 5 * time.Second
		_ = cmd.Process.Signal(os.Interrupt)
		late := time.AfterFunc(grace, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		late.Stop()
		if t.Failed() {
			t.Logf("the %s said:\n%s", name, out.String())
		}
	})
	return role{name, cmd.Process.Pid}
}

// listens waits until somebody takes connections.
func listens(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), proxyWait)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", address)
		if err == nil {
			_ = c.Close()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("nobody listens at %s: %v", address, err)
		}
	}
}

// answers waits until a completion comes whole.
func answers(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), proxyWait)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"hello"}]}`, benchBase)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+"/v1/chat/completions", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		last := fmt.Sprint(err)
		if err == nil {
			said, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if last = string(said); res.StatusCode == http.StatusOK && strings.Contains(last, `"model":"`+load.Model) {
				http.DefaultClient.CloseIdleConnections()
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s gives no completion: %s", address, last)
		}
	}
}
