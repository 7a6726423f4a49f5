package engine

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"cocoon/guest/supervise"
	settings "cocoon/guest/worker/engine"
	"cocoon/tests/inputs"
)

// patience bounds every wait of this test.
const patience = 2 * time.Minute

// words are the scripted model's answer.
const words = "Hello from a scripted model running inside llama-server."

// TestRealEngine: the pinned llama-server answers inside the sandbox, through its own socket and through a forwarder in
// front of TCP; killed, it is seen to be gone, is started again over its stale socket, and answers again.
// The crash is counted.
func TestRealEngine(t *testing.T) {
	root, modelDir := engineRoot(t)
	for name, change := range map[string]func(*settings.Config){
		"unix": func(*settings.Config) {},
		"TCP": func(c *settings.Config) {
			c.Listen = "127.0.0.1:8000"
			i := slices.Index(c.Argv, "{socket}")
			c.Argv = slices.Concat(c.Argv[:i], []string{"127.0.0.1", "--port", "8000"}, c.Argv[i+1:])
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := builtin(t, settings.LlamaCPP)
			change(s.Config)
			crash(t, root, modelDir, s)
		})
	}
}

// crash starts an engine, kills it and waits for its return.
func crash(t *testing.T, root, modelDir string, s Settings) {
	t.Helper()
	sup := supervise.New(supervise.Config{Logger: slog.New(slog.DiscardHandler), Processes: supervise.Plain{}, Now: time.Now})
	defer sup.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	report, err := Start(ctx, Config{
		Self: "/proc/self/exe", Supervisor: sup, Layers: []string{root}, ModelDir: modelDir, ModelFile: "scripted.gguf", ModelName: "demo/scripted",
		Settings: s, SocketDir: filepath.Join(t.TempDir(), "sock"), Verbose: true,
	}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if report.Answer.Content != words || report.Answer.FinishReason != "stop" || report.Kind != settings.LlamaCPP {
		t.Fatalf("report %+v", report)
	}
	own := *s.Config
	own.Listen = "unix:" + report.Socket
	adapter, err := settings.New(&own)
	if err != nil {
		t.Fatal(err)
	}
	defer adapter.Close()
	first := sup.Status()[0]
	if err := syscall.Kill(first.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	await(ctx, t, func() bool {
		err := adapter.Health(ctx)
		return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist)
	})
	gone := time.Since(killed) // logged: a busy machine may take its time
	if looked := time.Duration(own.Health.Interval); looked > time.Second/2 {
		t.Errorf("looked at every %s: a proxy would hear of its end after more than a second", looked)
	}
	await(ctx, t, func() bool { st := sup.Status()[0]; return st.State == supervise.StateReady && st.PID != first.PID })
	back := time.Since(killed)
	if st := sup.Status()[0]; st.Restarts != 1 {
		t.Errorf("status %+v", st)
	}
	answer, err := newClient(report.Socket, s.Config).complete(ctx)
	if err != nil || answer.Content != words {
		t.Errorf("after the restart: %+v, %v", answer, err)
	}
	t.Logf("first answer after %s; killed: gone after %s, ready again after %s", report.Start, gone, back)
}

func await(ctx context.Context, t *testing.T, done func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		case <-tick.C:
		}
	}
}

// engineRoot is a root of the pinned engine's packages, and a folder with the scripted model.
func engineRoot(t *testing.T) (root, modelDir string) {
	t.Helper()
	if !inputs.Wants("big") || os.Geteuid() != 0 {
		t.Skip("skipped: needs root, and COCOON_TEST to name big: unpacks the pinned engine and starts it")
	}
	in, err := inputs.Open()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tree, err := in.Group(ctx, "engine-cpu")
	if err != nil {
		t.Skipf("skipped: the engine's packages cannot be had: %v", err)
	}
	root, modelDir = t.TempDir(), t.TempDir()
	if err := inputs.WriteTree(tree, root); err != nil {
		t.Fatal(err)
	}
	if err := in.Model(filepath.Join(modelDir, "scripted.gguf")); err != nil {
		t.Skip(err)
	}
	for _, link := range []string{"bin", "lib", "lib64"} {
		if _, err := os.Lstat(filepath.Join(root, link)); err != nil {
			if err := os.Symlink("usr/"+link, filepath.Join(root, link)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return root, modelDir
}
