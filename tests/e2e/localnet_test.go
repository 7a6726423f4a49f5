package e2e

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cocoon/host/localnet/network"
	"cocoon/measure/measuretest"
	"cocoon/tests/inputs"
	"cocoon/tests/logbook"
)

// guest builds the guest binary of this checkout.
func guest(t *testing.T) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "init")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "build", "-o", name, "cocoon/cmd/init").CombinedOutput()
	if err != nil {
		t.Fatalf("building the guest binary: %v\n%s", err, out)
	}
	return name
}

// pinned is the engine of the images with the model and the template of the vectors; empty is the scripted one.
type pinned struct{ engine, model, template string }

// localnet starts a local network of processes.
func localnet(t *testing.T, e pinned) (*network.Network, *logbook.Book) {
	t.Helper()
	log := new(logbook.Book)
	n, err := network.Start(t.Context(), network.Config{
		Dir: t.TempDir(), Guest: guest(t), Listen: "127.0.0.1:0", Seed: [measuretest.SeedSize]byte{3}, Engine: e.engine, Model: e.model, Template: e.template, Now: time.Now,
		Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	return n, log
}

// TestLocalNetworkServes: the guest's roles as processes of their own, from their configuration files, serve an app; an
// interrupt ends all of them.
func TestLocalNetworkServes(t *testing.T) {
	serveLocally(t, pinned{}, "scripted", "no model computed it")
}

// TestLocalNetworkServesARealModel does the same with the pinned engine of the images and the model of the vectors.
func TestLocalNetworkServesARealModel(t *testing.T) {
	if !inputs.Wants("big") {
		t.Skip("needs the pinned engine, about 20 MB: set COCOON_TEST=big")
	}
	serveLocally(t, realEngine(t), "llama-server", "Hello from a scripted model running inside llama-server.")
}

// realEngine is the pinned engine, unpacked, and the model of the vectors.
func realEngine(t *testing.T) pinned {
	t.Helper()
	in, err := inputs.Open()
	check(t, err)
	out := pinned{t.TempDir(), filepath.Join(t.TempDir(), "scripted.gguf"), filepath.Join(in.Root, "../shared/vectors/inference/scripted_template.jinja")}
	if err := network.UnpackEngine(t.Context(), in.Lock, in.Store, in.Cache, out.engine); err != nil {
		t.Skipf("the pinned engine cannot be had: %v", err)
	}
	if err := in.Model(out.model); errors.Is(err, inputs.ErrNoVectors) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	return out
}

func serveLocally(t *testing.T, e pinned, who, says string) {
	t.Helper()
	n, log := localnet(t, e)
	ctx, interrupt := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	about := n.Description()
	t.Logf("ready after %d ms", about.Ready)
	if about.Engine != who || !about.Simulated || about.ProxyImage == about.WorkerImage || about.Ready > 10_000 {
		t.Errorf("%+v; promised is to be ready in 10 s", about)
	}
	app := &caller{t: t, url: about.URL, log: log, client: &http.Client{Transport: &http.Transport{}}}
	ask := `{"model":"` + about.Model + `","messages":[{"role":"user","content":"` + canary + `"}]`
	r := app.do(http.MethodPost, chatPath, ask+"}")
	a := app.read(r.body)
	if r.status != http.StatusOK || len(a.Choices) != 1 || !strings.Contains(a.Choices[0].Message.Content, says) || a.Usage == nil {
		t.Fatalf("status %d, %s\n%s", r.status, r.body, log)
	}
	app.receipt(r.header)
	s := app.do(http.MethodPost, chatPath, ask+`,"stream":true}`)
	if s.status != http.StatusOK || !strings.HasSuffix(s.body, "data: [DONE]\n\n") {
		t.Errorf("status %d, %s", s.status, s.body)
	}
	app.receipt(s.header)
	app.client.CloseIdleConnections()
	interrupt()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatalf("the network does not end\n%s", log)
	}
	silent(t, about.Dir, log)
}

// silent checks that no process has logged a prompt.
func silent(t *testing.T, dir string, log *logbook.Book) {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
	if err != nil || len(logs) < 2 {
		t.Fatalf("logs %v, %v", logs, err)
	}
	for _, name := range logs {
		data, err := os.ReadFile(name)
		check(t, err)
		if mentions(string(data)) {
			t.Errorf("a prompt is in %s", name)
		}
	}
	if mentions(log.String()) {
		t.Error("a prompt is in the network's log")
	}
}
