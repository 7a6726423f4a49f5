package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/guest/config"
	"cocoon/guest/sandbox"
	"cocoon/guest/supervise"
)

// TestMain lets the test binary play the guest binary for the sandbox's steps.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == sandbox.EnterVerb {
		code, err := sandbox.Enter(slog.New(slog.NewTextHandler(os.Stderr, nil)))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(code)
	}
	if len(os.Args) == 2 && os.Args[1] == sandbox.ExecVerb {
		fmt.Fprintln(os.Stderr, sandbox.Exec())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func measured(file string) config.Measured {
	return config.Measured{
		Role:   "worker",
		Model:  &config.Model{ID: "m@1:00", DataBlocks: 1, File: file},
		Engine: &config.Engine{Context: 2048, Threads: 1, Args: []string{"--parallel", "2"}},
	}
}

// TestArguments: the whole command line of each kind, measured settings last.
func TestArguments(t *testing.T) {
	for name, tc := range map[string]struct {
		got  []string
		want string
	}{
		"llamacpp": {
			llamaArgs("/usr/bin/llama-server", measured("a.gguf")),
			"/usr/bin/llama-server -m /model/a.gguf --host /run/engine/engine.sock -a model --jinja --metrics --no-ui --offline -c 2048 -t 1 --parallel 2",
		},
		"vllm": {
			vllmArgs("/usr/bin/vllm", measured("")),
			"/usr/bin/vllm serve /model --uds /run/engine/engine.sock --served-model-name model --max-model-len 2048 --parallel 2",
		},
	} {
		if diff := cmp.Diff(tc.want, strings.Join(tc.got, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// TestChoose: the program in the layer decides; nothing known is an error.
func TestChoose(t *testing.T) {
	dir := t.TempDir()
	if _, err := choose([]string{dir}); err == nil {
		t.Fatal("an empty layer was accepted")
	}
	if err := os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "usr/bin/vllm"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if k, err := choose([]string{t.TempDir(), dir}); err != nil || k.name != "vllm" {
		t.Fatalf("chose %q, %v", k.name, err)
	}
}

// TestRing: the last bytes survive, whole lines come out, writes never fail.
func TestRing(t *testing.T) {
	r := &ring{}
	for i := range 5000 {
		if _, err := fmt.Fprintf(r, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.tail(2); !cmp.Equal(got, []string{"line 4998", "line 4999"}) {
		t.Fatalf("tail %q", got)
	}
	if n, err := r.Write(make([]byte, 3*ringBytes)); n != 3*ringBytes || err != nil {
		t.Fatalf("a long write returned %d, %v", n, err)
	}
}

// TestParseAnswer: numbers that make no sense are refused, whatever the engine says.
func TestParseAnswer(t *testing.T) {
	good := `{"choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":3}}`
	if a, err := parseAnswer([]byte(good)); err != nil || a.Content != "x" || a.CompletionTokens != 3 {
		t.Fatalf("%+v, %v", a, err)
	}
	for name, doc := range map[string]string{
		"no choices":        `{"usage":{"prompt_tokens":5,"completion_tokens":3}}`,
		"no usage":          `{"choices":[{"message":{"content":"x"}}]}`,
		"negative tokens":   strings.Replace(good, `"completion_tokens":3`, `"completion_tokens":-3`, 1),
		"more than allowed": strings.Replace(good, `"completion_tokens":3`, `"completion_tokens":17`, 1),
		"not JSON":          "Internal error",
	} {
		if _, err := parseAnswer([]byte(doc)); err == nil {
			t.Errorf("%s: accepted %s", name, doc)
		}
	}
}

// TestClientBounds: a wrong status, an endless answer or header, a redirect and a missing socket are errors.
func TestClientBounds(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s.sock")
	if err := newClient(socket).healthy(t.Context()); err == nil {
		t.Fatal("healthy without a socket")
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.HandleFunc("/v1/chat/completions", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", maxAnswer+2))
	})
	mux.HandleFunc("/elsewhere", func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
	mux.HandleFunc("/header", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 2*maxHeader)) })
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) })
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	c := newClient(socket)
	if err := c.healthy(t.Context()); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("loading engine: %v", err)
	}
	if _, err := c.complete(t.Context()); err == nil || !strings.Contains(err.Error(), "over") {
		t.Errorf("endless answer: %v", err)
	}
	for path, want := range map[string]string{"/header": "header", "/redirect": "302"} {
		if _, err := c.do(t.Context(), http.MethodGet, path, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}

type refusing struct{ got supervise.Service }

func (r *refusing) Start(_ context.Context, svc supervise.Service) error {
	r.got = svc
	return errors.New("not today")
}

// TestStartService: the description handed to the supervisor; output reaches errors only when verbose.
func TestStartService(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("skipped: giving a folder to another user needs root")
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "usr/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "usr/bin/llama-server"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	r := &refusing{}
	cfg := Config{
		Self: "/proc/self/exe", Supervisor: r, Layers: []string{dir}, ModelDir: dir,
		Measured: measured("m.gguf"), SocketDir: filepath.Join(t.TempDir(), "sock"),
	}
	_, err := Start(t.Context(), cfg, time.Now)
	if err == nil || strings.Contains(err.Error(), "output") {
		t.Fatalf("quiet start: %v", err)
	}
	if !r.got.Required || r.got.Limits.Pids == 0 || r.got.Restart.Max == 0 {
		t.Fatalf("service %+v", r.got)
	}
	cfg.Verbose = true
	if _, err := Start(t.Context(), cfg, time.Now); err == nil || !strings.Contains(err.Error(), "output") {
		t.Fatalf("verbose start: %v", err)
	}
	cfg.ModelDir = ""
	if _, err := Start(t.Context(), cfg, time.Now); err == nil || !strings.Contains(err.Error(), "no model") {
		t.Fatalf("start without a model: %v", err)
	}
}

// TestRealEngine: llama-server answers inside the sandbox. COCOON_TEST_ENGINE names a folder with the engine's root
// in root/ and a model in model/.
func TestRealEngine(t *testing.T) {
	dir := os.Getenv("COCOON_TEST_ENGINE")
	if dir == "" || os.Geteuid() != 0 {
		t.Skip("skipped: needs root and COCOON_TEST_ENGINE, a folder with root/ and model/scripted.gguf")
	}
	sup := supervise.New(supervise.Config{
		Logger: slog.New(slog.DiscardHandler), Processes: supervise.Plain{}, Now: time.Now,
	})
	defer sup.Stop()
	report, err := Start(t.Context(), Config{
		Self: "/proc/self/exe", Supervisor: sup, Layers: []string{filepath.Join(dir, "root")},
		ModelDir: filepath.Join(dir, "model"), Measured: measured("scripted.gguf"),
		SocketDir: filepath.Join(t.TempDir(), "sock"), Verbose: true,
	}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	want := "Hello from a scripted model running inside llama-server."
	if report.Answer.Content != want || report.Answer.FinishReason != "stop" {
		t.Fatalf("answer %+v", report.Answer)
	}
	t.Logf("first answer after %s", report.Start)
}
