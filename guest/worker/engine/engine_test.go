package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cocoon/contracts/api"
	"cocoon/guest/worker/engine"
	"cocoon/guest/worker/engine/enginetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds every wait of these tests.
const patience = time.Minute

// minimal is the smallest file that is accepted.
const minimal = `kind = "fake"
listen = "unix:/run/e.sock"
paths = ["/health", "/v1/chat/completions"]
health = { path = "/health" }
`

// TestBuiltins: the files that come with the worker are accepted, and their command lines have no open substitution.
func TestBuiltins(t *testing.T) {
	for _, kind := range []string{engine.VLLM, engine.SGLang, engine.LlamaCPP, engine.Fake} {
		c, err := engine.Builtin(kind)
		if err != nil {
			t.Fatal(err)
		}
		argv, err := c.Command(engine.Values{Model: "m", File: "{socket}", Socket: "/run/s", MaxRequests: atLeast(c.Bounds.MaxRequests), TP: atLeast(c.Bounds.TP)})
		if err != nil {
			t.Fatal(err)
		}
		line := strings.Join(argv, " ")
		for _, never := range []string{"trust-remote-code", "log-requests", "{tp}", "{max_requests}", "{gpu_fraction}"} {
			if strings.Contains(line, never) {
				t.Errorf("%s: %s in %s", kind, never, line)
			}
		}
		if kind == engine.LlamaCPP && !strings.Contains(line, "-m /model/{socket} --host /run/s") { // what is put in stays as it is
			t.Errorf("%s", line)
		}
	}
	if _, err := engine.Builtin("other"); err == nil {
		t.Error("an unknown kind")
	}
}

func atLeast(pair []int) int {
	if pair == nil {
		return 0
	}
	return pair[0]
}

// TestParse: what engine.toml must not say is refused, with the path of the rule.
func TestParse(t *testing.T) {
	if _, err := engine.Parse([]byte(minimal)); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ old, with, want string }{
		"an unknown key":         {`kind`, "colour = 1\nkind", "colour"},
		"an unknown inner key":   {`path = "/health" }`, `path = "/health", colour = 1 }`, "colour"},
		"a key twice":            {`kind = "fake"`, "kind = \"fake\"\nkind = \"vllm\"", "kind"},
		"another kind":           {`"fake"`, `"tgi"`, "kind"},
		"a listener outside":     {`unix:/run/e.sock`, `0.0.0.0:8000`, "listen"},
		"a listener by name":     {`unix:/run/e.sock`, `localhost:8000`, "listen"},
		"a long socket":          {`/run/e.sock`, "/" + strings.Repeat("x", 200), "listen"},
		"a path with a query":    {`"/v1/chat/completions"`, `"/v1/chat?x=1"`, "paths"},
		"a path with dots":       {`"/v1/chat/completions"`, `"/v1/../x"`, "paths"},
		"health outside of list": {`{ path = "/health" }`, `{ path = "/other" }`, "health.path"},
		"a word in argv":         {`listen`, "argv = [\"{secret}\"]\nlisten", "argv"},
		"remote code":            {`listen`, "argv = [\"--trust-remote-code\"]\nlisten", "code"},
		"an endless interval":    {`path = "/health" }`, `path = "/health", interval = "-1s" }`, "health.interval"},
		"no duration":            {`path = "/health" }`, `path = "/health", interval = "soon" }`, "duration"},
		"a huge body":            {`listen`, "limits = { max_body = \"1GiB\" }\nlisten", "max_body"},
		"a negative size":        {`listen`, "limits = { max_body = \"-1\" }\nlisten", "size"},
		"an abort without path":  {`listen`, "cancel = { how = \"close+abort\" }\nlisten", "cancel.abort.path"},
		"reversed bounds":        {`listen`, "bounds = { tp = [4, 2] }\nlisten", "bounds.tp"},
		"no toml":                {`kind`, "= =", "toml"},
	} {
		if _, err := engine.Parse([]byte(strings.Replace(minimal, tc.old, tc.with, 1))); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := engine.Parse(make([]byte, 1<<20)); err == nil {
		t.Error("a file without bound")
	}
}

// TestNever: what would bring code, log prompts or open the engine is refused at load, however it is written, in
// arguments and in variables; what switches such a thing off is not.
func TestNever(t *testing.T) {
	load := func(argv, env string) error {
		_, err := engine.Parse([]byte(fmt.Sprintf("argv = [\"/usr/bin/e\", %s]\n%s\nenv = { %s }\n", argv, minimal, env)))
		return err
	}
	for _, arg := range []string{
		"--trust-remote-code", "--trust_remote_code", "--Trust-Remote-Code", "--trust-remote-code=true", "--trust-rem", "--t",
		`--hf-overrides={'trust_remote_code':true}`, "--model-config.trust_remote_code", "--enable-log-requests", "--enable-log-req",
		"--enable-log-outputs", "--log-requests", "--log-requests-level", "--tool-server=demo", "--trust-request-chat-template",
		"--tool-parser-plugin", "--reasoning-parser-plugin=/model/x.py", "--middleware", "--config", "--conf=/model/x.yaml",
		"-v", "-lv", "--verbose", "--verbose-prompt", "--slot-save-path", "--props",
	} {
		if err := load(fmt.Sprintf("%q", arg), ""); err == nil || !strings.Contains(err.Error(), "never allowed") {
			t.Errorf("argument %s: %v", arg, err)
		}
	}
	for _, name := range []string{"VLLM_SERVER_DEV_MODE", "VLLM_PLUGINS", "LD_PRELOAD", "PYTHONPATH", "VLLM_ALLOW_INSECURE_SERIALIZATION"} {
		if err := load(`"serve"`, name+` = "1"`); err == nil || !strings.Contains(err.Error(), name+" is never allowed") {
			t.Errorf("variable %s: %v", name, err)
		}
	}
	for name, value := range map[string]string{"lower": "1", `"A=B"`: "1", "LONG": strings.Repeat("x", 2000), "NUL": "\\u0000"} {
		if err := load(`"serve"`, name+` = "`+strings.ReplaceAll(value, `\\`, `\`)+`"`); err == nil || !strings.Contains(err.Error(), "env") {
			t.Errorf("variable %s: %v", name, err)
		}
	}
	for _, fine := range []string{"--no-enable-log-requests", "--disable-log-requests", "--max-model-len", "--tensor-parallel-size", "--tool-call-parser", "--chat-template=/model/t.jinja"} {
		if err := load(fmt.Sprintf("%q", fine), `A_B1 = "x"`); err != nil {
			t.Errorf("argument %s: %v", fine, err)
		}
	}
}

// TestDefaults: what argv needs is there without the unmeasured configuration, and stays within the bounds.
func TestDefaults(t *testing.T) {
	for _, kind := range []string{engine.VLLM, engine.SGLang} {
		c, err := engine.Builtin(kind)
		if err != nil {
			t.Fatal(err)
		}
		quiet, err := c.Command(engine.Values{Model: "m", Socket: "/run/s"})
		if err != nil {
			t.Fatal(err)
		}
		loud, err := c.Command(engine.Values{Model: "m", Socket: "/run/s", TP: 4, MaxRequests: 7, GPUFraction: 0.75})
		if err != nil {
			t.Fatal(err)
		}
		changed := 0
		for i := range quiet {
			if quiet[i] != loud[i] {
				changed++
			}
		}
		if len(quiet) != len(loud) || changed != 3 {
			t.Errorf("%s: %d arguments differ:\n%q\n%q", kind, changed, quiet, loud)
		}
	}
	for name, tc := range map[string]struct{ text, want string }{
		"no default": {"argv = [\"/e\", \"{tp}\"]\n", "defaults.tp is needed"},
		"beyond":     {"argv = [\"/e\", \"{tp}\"]\nbounds = { tp = [1, 2] }\ndefaults = { tp = 3 }\n", "outside of the measured bounds"},
		"unbounded":  {"defaults = { max_requests = 3 }\n", "outside of the measured bounds"},
		"relative":   {"argv = [\"vllm\"]\n", "the program's path"},
		"a tag":      {"layer = { image = \"engine\", root = \"latest\" }\n", "layer.root"},
		"progress":   {"ready = { progress = \"hope\" }\n", "ready.progress"},
	} {
		if _, err := engine.Parse([]byte(tc.text + minimal)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := engine.Parse([]byte(strings.Replace(minimal, `"fake"`, `"vllm"`, 1))); err == nil || !strings.Contains(err.Error(), "argv is missing") {
		t.Errorf("a kind that is started without argv: %v", err)
	}
	c, err := engine.Builtin(engine.LlamaCPP)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Command(engine.Values{Model: "m", Socket: "/run/s"}); err == nil || !strings.Contains(err.Error(), "model.file") {
		t.Errorf("no model file: %v", err)
	}
}

// TestBounds: the unmeasured configuration stays within the measured bounds.
func TestBounds(t *testing.T) {
	c, err := engine.Builtin(engine.VLLM)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]engine.Values{
		"little memory": {GPUFraction: 0.1}, "all memory": {GPUFraction: 1.5}, "negative": {TP: -1}, "many": {MaxRequests: 1 << 20},
	} {
		if _, err := c.Command(v); err == nil {
			t.Errorf("%s accepted", name)
		}
	}
	if _, err := c.Command(engine.Values{Model: "m", Socket: "/run/s", GPUFraction: 0.9, TP: 2, MaxRequests: 64}); err != nil {
		t.Error(err)
	}
	fake, err := engine.Builtin(engine.Fake)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fake.Command(engine.Values{TP: 1}); err == nil {
		t.Error("a choice without bounds")
	}
}

// FuzzParse: whatever the file says, it is refused or keeps to the rules.
func FuzzParse(f *testing.F) {
	for _, kind := range []string{engine.VLLM, engine.SGLang, engine.LlamaCPP, engine.Fake} {
		c, err := engine.Builtin(kind)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(minimal + "argv = [\"" + strings.Join(c.Argv, `","`) + "\"]"))
	}
	f.Add([]byte(minimal))
	f.Add([]byte("limits = { max_n = 9223372036854775807 }"))
	f.Add([]byte("argv = [\"/e\", \"--trust_remote_code\"]\n" + minimal))
	f.Add([]byte("bounds = { tp = [1, 2] }\ndefaults = { tp = 3 }\n" + minimal))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := engine.Parse(data)
		if err != nil {
			return
		}
		if c.Limits.MaxOutput < 1 || c.Health.Interval <= 0 || c.Validate() != nil || !c.Allows(c.Health.Path) {
			t.Fatalf("%+v", c)
		}
	})
}

// serve puts an engine behind a socket.
func serve(tb testing.TB, h http.Handler, tweak func(*engine.Config)) *engine.Adapter {
	tb.Helper()
	socket := filepath.Join(tb.TempDir(), "e.sock")
	l, err := new(net.ListenConfig).Listen(tb.Context(), "unix", socket)
	if err != nil {
		tb.Fatal(err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: patience, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	cfg, err := engine.Builtin(engine.Fake)
	if err != nil {
		tb.Fatal(err)
	}
	cfg.Listen = "unix:" + socket
	if tweak != nil {
		tweak(cfg)
	}
	a, err := engine.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { a.Close(); _ = server.Close(); <-served })
	return a
}

func chatRequest(id, body string) engine.Request {
	return engine.Request{Path: "/v1/chat/completions", ContentType: "application/json", Body: [][]byte{[]byte(body)}, ID: id}
}

// TestPathsAreListed: nothing else reaches the engine, whatever it is called.
func TestPathsAreListed(t *testing.T) {
	fake := enginetest.New()
	a := serve(t, fake, nil)
	for _, path := range []string{"/v1/update_weights", "/invocations", "/v1/chat/completions/", "/v1/chat/completions?x", "", "http://192.0.2.1/"} {
		if _, err := a.Do(t.Context(), engine.Request{Path: path, Body: [][]byte{[]byte("{}")}}); !errors.Is(err, engine.ErrPath) {
			t.Errorf("%q: %v", path, err)
		}
	}
	if fake.Requests.Load() != 0 {
		t.Error("the engine was asked")
	}
}

// TestReadiness: an engine that is not healthy is waited for, one that cannot complete is not ready.
func TestReadiness(t *testing.T) {
	fake := enginetest.New()
	fake.SetHealthy(false)
	a := serve(t, fake, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := a.Ready(ctx); err == nil {
		t.Fatal("ready")
	}
	time.AfterFunc(20*time.Millisecond, func() { fake.SetHealthy(true) })
	if err := a.Ready(t.Context()); err != nil || fake.Requests.Load() != 1 {
		t.Errorf("%v, %d completions", err, fake.Requests.Load())
	}
	limited := serve(t, http.NotFoundHandler(), func(c *engine.Config) { c.Ready.Timeout = engine.Duration(50 * time.Millisecond) })
	if err := limited.Ready(t.Context()); err == nil {
		t.Error("ready without a health page")
	}
	fake.Default = "status-500"
	stuck, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	broken := serve(t, brokenWhole{fake}, nil)
	if err := broken.Ready(stuck); err == nil {
		t.Error("ready without a completion")
	}
}

// brokenWhole fails whatever is asked.
type brokenWhole struct{ *enginetest.Engine }

func (b brokenWhole) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	b.Engine.ServeHTTP(w, r)
}

// TestLoad: the engine's own names are read, and the older of two names counts where the newer is missing.
func TestLoad(t *testing.T) {
	a := serve(t, enginetest.New(), nil)
	if load, err := a.Load(t.Context()); err != nil || load != (engine.Load{Running: 0, Waiting: 0, KVUse: 0.5}) {
		t.Errorf("%+v, %v", load, err)
	}
	if models, err := a.Models(t.Context()); err != nil || !strings.Contains(string(models), `"model"`) {
		t.Errorf("%s, %v", models, err)
	}
	none := serve(t, enginetest.New(), func(c *engine.Config) { c.Metrics.Path = "" })
	if load, err := none.Load(t.Context()); err == nil || load.Running != -1 {
		t.Errorf("%+v, %v", load, err)
	}
}

// TestFailure: what engines say about errors gets our codes, and never their words.
func TestFailure(t *testing.T) {
	for name, tc := range map[string]struct {
		kind, body string
		status     int
		want       api.Code
	}{
		"llama.cpp context": {engine.LlamaCPP, `{"error":{"code":400,"message":"secret","type":"exceed_context_size_error","n_ctx":1024}}`, 400, api.ContextLength},
		"vLLM context":      {engine.VLLM, `{"error":{"message":"This model's maximum context length is 10 tokens","type":"BadRequestError","param":null,"code":400}}`, 400, api.ContextLength},
		"vLLM context, old": {engine.VLLM, `{"object":"error","message":"This model's maximum context length is 10 tokens","type":"BadRequestError","code":400}`, 400, api.ContextLength},
		"SGLang context":    {engine.SGLang, `{"error":{"message":"The input is longer than the model's context length"}}`, 400, api.ContextLength},
		"bad request":       {engine.LlamaCPP, `{"error":{"code":400,"message":"secret","type":"invalid_request_error"}}`, 400, api.InvalidValue},
		"no JSON":           {engine.VLLM, `secret`, 422, api.InvalidValue},
		"busy":              {engine.VLLM, `{}`, 429, api.RateLimitExceeded},
		"loading":           {engine.LlamaCPP, `{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}`, 503, api.RateLimitExceeded},
		"broken":            {engine.VLLM, `secret`, 500, api.EngineError},
		"elsewhere":         {engine.VLLM, ``, 307, api.EngineError},
		"not offered":       {engine.LlamaCPP, `{"error":{"code":501,"message":"secret","type":"not_supported_error"}}`, 501, api.UnsupportedValue},
	} {
		c, err := engine.Builtin(tc.kind)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Failure(tc.status, []byte(tc.body)); got.Code != tc.want || strings.Contains(string(got.Body()), "secret") {
			t.Errorf("%s: %v", name, got)
		}
	}
	for kind, tc := range map[string]struct{ body, says string }{
		engine.LlamaCPP: {`{"error":{"code":400,"type":"exceed_context_size_error","n_prompt_tokens":5000,"n_ctx":512}}`, "of 512 tokens; the prompt alone has 5000;"},
		engine.VLLM:     {`{"object":"error","message":"This model's maximum context length is 10 tokens","code":400}`, "of 32768 tokens; send"},
	} {
		c, err := engine.Builtin(kind)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.Failure(400, []byte(tc.body)); !strings.Contains(got.Message, tc.says) {
			t.Errorf("%s: %s", kind, got.Message)
		}
	}
}

// TestHeaders: what belongs to the connection is dropped, and everything where engine.toml says so.
func TestHeaders(t *testing.T) {
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Kept", "1")
		w.Header().Set("X-Hop", "1")
		w.Header().Set("Connection", "X-Hop")
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("Content-Type", "Application/JSON; charset=utf-8")
		_, _ = io.WriteString(w, "{}")
	})
	for strip, want := range map[bool]int{true: 0, false: 1} {
		res, err := serve(t, h, func(c *engine.Config) { c.StripHeaders = strip }).Do(t.Context(), chatRequest("1", "{}"))
		if err != nil {
			t.Fatal(err)
		}
		if len(res.Header) != want || res.ContentType != "application/json" {
			t.Errorf("strip %v: %v, %s", strip, res.Header, res.ContentType)
		}
		if _, err := res.ReadAll(1); !errors.Is(err, engine.ErrTooLarge) {
			t.Errorf("%v", err)
		}
		_ = res.Body.Close()
	}
}

// TestAbortIsSent: where closing is not enough, the engine is told by name; an answer read to its end aborts nothing.
func TestAbortIsSent(t *testing.T) {
	aborted := make(chan string, 4)
	fake := enginetest.New()
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/abort_request" {
			body, _ := io.ReadAll(r.Body)
			aborted <- string(body)
			return
		}
		fake.ServeHTTP(w, r)
	})
	a := serve(t, h, func(c *engine.Config) {
		c.Paths = append(c.Paths, "/abort_request")
		c.Cancel.How, c.Cancel.Abort.Path, c.Cancel.Abort.Body = "close+abort", "/abort_request", `{"rid":"{request_id}"}`
	})
	res, err := a.Do(t.Context(), chatRequest("whole", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := res.ReadAll(1 << 20); err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	ctx, cancel := context.WithCancel(t.Context())
	res, err = a.Do(ctx, chatRequest("cut", `{"stream":true,"x":"fault:endless"}`))
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	_ = res.Body.Close()
	if got := <-aborted; got != `{"rid":"cut"}` || len(aborted) != 0 {
		t.Errorf("aborted %s", got)
	}
}

// TestNDJSON: lines become events where engine.toml says so.
func TestNDJSON(t *testing.T) {
	a := serve(t, enginetest.New(), func(c *engine.Config) { c.StreamFormat = "ndjson" })
	r := chatRequest("1", `{"stream":true,"x":"fault:ndjson"}`)
	r.Stream = true
	res, err := a.Do(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // test
	got, err := res.ReadAll(1 << 20)
	if err != nil || res.ContentType != "text/event-stream" || strings.Count(string(got), "data: {") != 2 || !strings.HasSuffix(string(got), "}\n\n") {
		t.Errorf("%s %q, %v", res.ContentType, got, err)
	}
}

// TestStaleConnections: engines that drop idle connections cost no request, because each carries a key to repeat it by.
func TestStaleConnections(t *testing.T) {
	fake := enginetest.New()
	served := 0
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Idempotency-Key") == "" && r.Method == http.MethodPost {
			t.Error("no key to repeat by")
		}
		if served++; served%3 == 0 { // the connection dies without a byte of an answer
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				_ = conn.Close()
			}
			return
		}
		fake.ServeHTTP(w, r)
	})
	a := serve(t, h, nil)
	for i := range 100 {
		res, err := a.Do(t.Context(), chatRequest("id", `{}`))
		if err != nil {
			t.Fatalf("request %d: %v", i, err)
		}
		if _, err := res.ReadAll(1 << 20); err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
}
