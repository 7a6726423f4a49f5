package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/guest/config"
	"cocoon/guest/sandbox"
	"cocoon/guest/supervise"
	settings "cocoon/guest/worker/engine"
	"cocoon/measure/spec"
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
	if len(os.Args) == 4 && os.Args[1] == sandbox.ForwardVerb {
		fmt.Fprintln(os.Stderr, sandbox.RunForward(context.Background(), os.Args[2], os.Args[3]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// builtin is the image's own engine.toml of a kind.
func builtin(t *testing.T, kind string) Settings {
	t.Helper()
	data, err := settings.BuiltinFile(kind)
	if err != nil {
		t.Fatal(err)
	}
	s, err := load(data, builtinOrigin)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// started is the description of one start, as the sandbox gets it.
func started(t *testing.T, cfg Config) sandbox.Spec {
	t.Helper()
	svc, _, err := cfg.service(&ring{})
	if err != nil {
		t.Fatal(err)
	}
	cmd, err := svc.Command(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	spec, err := sandbox.ReadSpec(cmd.ExtraFiles[0])
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

// TestCommandComesFromTheFile: arguments and variables are engine.toml's, the host's three wishes are put in, and a
// stale socket is gone before the start.
func TestCommandComesFromTheFile(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "engine.sock")
	if err := os.WriteFile(stale, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Self: "/init", Layers: []string{"/l"}, ModelDir: "/run/model", ModelFile: "a.gguf", ModelName: "n", SocketDir: dir}
	for name, tc := range map[string]struct {
		kind   string
		wishes config.Engine
		want   string
	}{
		"llamacpp": {settings.LlamaCPP, config.Engine{}, "/usr/bin/llama-server -m /model/a.gguf --host /run/engine/engine.sock -t 1 -c 8192 --parallel 8 " +
			"--jinja --metrics --slots -a n --sse-ping-interval 10 --no-ui --offline"},
		"vllm": {settings.VLLM, config.Engine{MaxRequests: 64, GPUPercent: 80, TensorParallel: 4}, "/usr/local/bin/vllm serve /model --served-model-name n " +
			"--uds /run/engine/engine.sock --enable-prompt-tokens-details --enable-force-include-usage --disable-fastapi-docs " +
			"--disable-uvicorn-access-log --max-model-len 32768 --max-num-seqs 64 --gpu-memory-utilization 0.8 --tensor-parallel-size 4"},
	} {
		cfg.Settings, cfg.Wishes = builtin(t, tc.kind), tc.wishes
		spec := started(t, cfg)
		if diff := cmp.Diff(tc.want, strings.Join(spec.Argv, " ")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for _, v := range []string{"HF_HUB_OFFLINE=1", "DO_NOT_TRACK=1", "HOME=/tmp", "PATH=/usr/local/bin:/usr/bin:/bin"} {
			if !slices.Contains(spec.Env, v) {
				t.Errorf("%s: %s is not in %q", name, v, spec.Env)
			}
		}
		if !slices.IsSorted(spec.Env) || spec.UID != engineUID || len(spec.Binds) != 2 || spec.Binds[0] != (sandbox.Bind{Source: "/run/model", Target: "/model"}) {
			t.Errorf("%s: %+v", name, spec)
		}
	}
	cfg.Settings, cfg.Wishes = builtin(t, settings.SGLang), config.Engine{}
	if got := started(t, cfg).Forward; got == nil || *got != (sandbox.Forward{Socket: "/run/engine/engine.sock", Address: "127.0.0.1:8000"}) {
		t.Errorf("an engine on TCP: %+v", got)
	}
	if _, err := os.Lstat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stale socket: %v", err)
	}
}

// TestSettingsThatAreRefused: what cannot or must not be started is named before anything runs.
func TestSettingsThatAreRefused(t *testing.T) {
	file := func(t *testing.T, kind, old, with string) Settings {
		t.Helper()
		data, err := settings.BuiltinFile(kind)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(string(data), old, with, 1)
		if text == string(data) {
			t.Fatalf("%s has no %s", kind, old)
		}
		s, err := load([]byte(text), "")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	root := strings.Repeat("ab", 32)
	for name, tc := range map[string]struct {
		settings Settings
		wishes   config.Engine
		model    string
		want     string
	}{
		"a socket outside": {file(t, settings.LlamaCPP, "unix:/run/engine/", "unix:/run/other/"), config.Engine{}, "m", "the sandbox shares"},
		"another layer":    {file(t, settings.LlamaCPP, "listen ", "layer = { image = \"e\", root = \""+root+"\" }\nlisten "), config.Engine{}, "m", "this image's have 00"},
		"a wish too large": {builtin(t, settings.VLLM), config.Engine{GPUPercent: 99}, "", "gpu_fraction 0.99 is outside"},
		"a wish not asked": {builtin(t, settings.LlamaCPP), config.Engine{TensorParallel: 2}, "m", "tp 2 is outside"},
		"no file to load":  {builtin(t, settings.LlamaCPP), config.Engine{}, "", "model.file"},
	} {
		cfg := Config{Settings: tc.settings, Wishes: tc.wishes, ModelFile: tc.model, ModelName: "m", Roots: []string{"00"}, SocketDir: t.TempDir()}
		if _, _, err := cfg.service(&ring{}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestChoose: the measured file comes first, then the program in the layer decides; nothing known, a file with a mistake
// and scripts are errors.
func TestChoose(t *testing.T) {
	dir := t.TempDir()
	if _, err := Choose(nil, []string{dir}); err == nil {
		t.Fatal("an empty layer was accepted")
	}
	if err := os.MkdirAll(filepath.Join(dir, "usr/local/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "usr/local/bin/vllm"), nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if s, err := Choose(nil, []string{t.TempDir(), dir}); err != nil || s.Kind != settings.VLLM || s.Origin != builtinOrigin {
		t.Fatalf("chose %+v, %v", s, err)
	}
	file := func(kind string) []spec.File {
		data, err := settings.BuiltinFile(kind)
		if err != nil {
			t.Fatal(err)
		}
		return []spec.File{{Path: config.RoleFile}, {Path: config.EngineFile, Data: data}}
	}
	if s, err := Choose(file(settings.LlamaCPP), []string{dir}); err != nil || s.Kind != settings.LlamaCPP || s.Origin != config.EngineFile {
		t.Fatalf("chose %+v, %v", s, err)
	}
	if _, err := Choose(file(settings.Fake), []string{dir}); err == nil || !strings.Contains(err.Error(), "fake") {
		t.Errorf("scripts: %v", err)
	}
	if _, err := Choose([]spec.File{{Path: config.EngineFile, Data: []byte("kind")}}, []string{dir}); err == nil {
		t.Error("a file that is none was passed over")
	}
}

// TestPatience: a timeout of 0 waits for as long as there is progress, and which counts engine.toml says.
func TestPatience(t *testing.T) {
	out, reads := &ring{}, uint64(100)
	cfg := Config{Settings: builtin(t, settings.LlamaCPP), Reads: func() uint64 { return reads }}
	limit, progress := cfg.patience(out)
	before := progress()
	_, _ = io.WriteString(out, "loading")
	wrote := progress()
	reads++
	if limit != stallLimit || wrote <= before || progress() <= wrote {
		t.Errorf("limit %s, %d, %d, %d", limit, before, wrote, progress())
	}
	cfg.Settings.Ready.Progress = settings.ReadProgress
	_, progress = cfg.patience(out)
	before = progress()
	if _, _ = io.WriteString(out, "hanging"); progress() != before {
		t.Error("output counts as progress although only reads should")
	}
	cfg.Settings.Ready.Timeout = settings.Duration(time.Second)
	if limit, progress = cfg.patience(out); limit != time.Second || progress != nil {
		t.Errorf("a fixed limit: %s", limit)
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
	socket, cfg := filepath.Join(t.TempDir(), "s.sock"), builtin(t, settings.LlamaCPP).Config
	if err := newClient(socket, cfg).ready(t.Context()); err == nil {
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
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	c := newClient(socket, cfg)
	if err := c.ready(t.Context()); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("loading engine: %v", err)
	}
	if _, err := c.complete(t.Context()); err == nil || !strings.Contains(err.Error(), "over") {
		t.Errorf("endless answer: %v", err)
	}
	cfg.Ready.Expect = http.StatusServiceUnavailable
	if err := c.ready(t.Context()); err != nil {
		t.Errorf("the status that engine.toml names: %v", err)
	}
	cfg.Ready.Path = ""
	if err := c.ready(t.Context()); err == nil {
		t.Error("without a path of its own readiness is health")
	}
	for path, want := range map[string]string{"/header": "header", "/redirect": "302"} {
		if _, err := c.do(t.Context(), http.MethodGet, path, nil, http.StatusOK); err == nil || !strings.Contains(err.Error(), want) {
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
	r := &refusing{}
	cfg := Config{
		Self: "/proc/self/exe", Supervisor: r, Layers: []string{dir}, ModelDir: dir, ModelFile: "m.gguf", ModelName: "n",
		Settings: builtin(t, settings.LlamaCPP), SocketDir: filepath.Join(t.TempDir(), "sock"),
	}
	_, err := Start(t.Context(), cfg, time.Now)
	if err == nil || strings.Contains(err.Error(), "output") {
		t.Fatalf("quiet start: %v", err)
	}
	if !r.got.Required || r.got.Limits.Pids == 0 || r.got.Restart.Max == 0 || r.got.Restart.MaxBackoff != 30*time.Second || r.got.Progress == nil {
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
