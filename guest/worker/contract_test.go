package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/worker/engine"
	"cocoon/guest/worker/engine/enginetest"
	"cocoon/tests/golden"
	"cocoon/tests/inputs"
)

// plainBody is a short request that every engine answers.
const plainBody = `{"model":"test/model","temperature":0,"max_tokens":2,"messages":[{"role":"user","content":"hi"}]}`

// subject is an engine under the contract of inference.md section 12.
type subject struct {
	adapter *engine.Adapter
	// kill ends the engine as a crash does; start brings it back.
	kill, start func()
	// long is the body of a request that goes on for as long as its bound of tokens lets it.
	long func(stream bool, maxTokens int) string
	// requests is how many are asked one after another, idle how long nothing is asked in between.
	requests int
	idle     time.Duration
}

// TestContractFake holds the fake engine to the contract that the real ones have.
func TestContractFake(t *testing.T) {
	fake := enginetest.New()
	runContract(t, subject{
		adapter: serveEngine(t, fake, nil), requests: 150,
		kill: func() { fake.SetHealthy(false) }, start: func() { fake.SetHealthy(true) },
		long: func(stream bool, maxTokens int) string {
			fault := map[bool]string{true: "endless", false: "hang-head"}[stream]
			return fmt.Sprintf(`{"model":"test/model","stream":%v,"max_tokens":%d,"messages":[{"role":"user","content":"fault:%s"}]}`, stream, maxTokens, fault)
		},
	})
}

// TestLargestEvent: an event just below the bound of 16 MiB goes through whole.
func TestLargestEvent(t *testing.T) {
	if !inputs.Wants("big") {
		t.Skip("COCOON_TEST does not name big: scans 15 MiB several times")
	}
	k := newKit(t, nil)
	p := k.connect(5)
	body := chat(true, "fault:largest-event")
	a := p.run(1, call{body: body})
	if a.code != 0 || a.statement.Status != 0 || len(a.body) < 15<<20 {
		t.Errorf("%d %s, %d bytes", a.code, a.text, len(a.body))
	}
	k.checkStatement(idOf(1), body, a)
}

// TestContractLlama holds llama-server with the scripted model to it, and its answers to the recorded ones.
func TestContractLlama(t *testing.T) {
	if !inputs.Wants("big") {
		t.Skip("COCOON_TEST does not name big: needs the pinned engine packages and starts a server")
	}
	l := newLlama(t)
	s := subject{
		adapter: l.adapter, requests: 1000, idle: 6 * time.Second, kill: l.kill, start: l.start,
		long: func(stream bool, maxTokens int) string {
			return fmt.Sprintf(`{"model":"test/model","stream":%v,"temperature":0,"max_tokens":%d,"messages":[{"role":"user","content":"loop"}]}`, stream, maxTokens)
		},
	}
	t.Run("recorded", func(t *testing.T) { recorded(t, s) })
	runContract(t, s)
}

// runContract is the suite that every adapter passes.
func runContract(t *testing.T, s subject) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, subject){
		"many requests": manyRequests, "cancel": contractCancel, "a lost engine": lostEngine, "metrics": contractMetrics,
	} {
		t.Run(name, func(t *testing.T) { test(t, s) })
	}
}

func (s subject) kit(t *testing.T, tweak func(*Config)) (*kit, *proxy) {
	t.Helper()
	k := newKit(t, func(c *Config, d *Deps) {
		d.Engine = s.adapter
		if tweak != nil {
			tweak(c)
		}
	})
	return k, k.connect(5)
}

// manyRequests: engines close connections after a hundred requests or five idle seconds, and no request notices.
func manyRequests(t *testing.T, s subject) {
	t.Helper()
	_, p := s.kit(t, nil)
	for i := range s.requests {
		if s.idle > 0 && i == s.requests/2 {
			<-time.After(s.idle)
		}
		if a := p.run(uint32(i), call{body: plainBody}); a.code != 0 || a.head.StatusCode != http.StatusOK || a.final.TokensUsed.TotalTokensUsed == 0 {
			t.Fatalf("request %d: %d %s", i, a.code, a.text)
		}
	}
}

// contractCancel: the slot is free within a second, before and after the first token, and it costs what was generated.
func contractCancel(t *testing.T, s subject) {
	t.Helper()
	k, p := s.kit(t, nil)
	for n, stream := range []bool{true, false} {
		id := p.query(uint32(n), call{body: s.long(stream, 900)})
		if stream {
			for parts := 0; parts == 0; {
				if _, ok := p.next().(*tl.ProxyQueryAnswerPartEx); ok {
					parts++
				}
			}
		} else {
			k.until("asked", func() bool { return k.w.Status().Active == 1 })
		}
		p.send(&tl.ProxyCancelQuery{RequestID: id})
		began := time.Now()
		k.until("slot free", func() bool {
			load, err := s.adapter.Load(t.Context())
			return err == nil && load.Running == 0
		})
		t.Logf("stream %v: slot free after %s", stream, time.Since(began))
		if took := time.Since(began); took > slotFree {
			t.Errorf("stream %v: slot free after %s", stream, took)
		}
		for ended := false; !ended; {
			switch o := p.next().(type) {
			case *tl.ProxyQueryAnswerErrorEx:
				if o.ErrorCode != int32(session.CodeCancelled) || o.FinalInfo.TokensUsed.PromptTokensUsed == 0 || o.FinalInfo.TokensUsed.CompletionTokensUsed >= 900 {
					t.Errorf("stream %v: %+v", stream, o)
				}
			case *tl.ProxyQueryStatement:
				ended = true
			}
		}
	}
}

// lostEngine: requests of an engine that dies end with an error, the proxy is told within three seconds, and the next
// request after its return is served.
func lostEngine(t *testing.T, s subject) {
	t.Helper()
	_, p := s.kit(t, nil)
	id := p.query(1, call{body: s.long(true, 4000)})
	var early []tl.Object
	for parts := 0; parts == 0; {
		o := p.next()
		if _, ok := o.(*tl.ProxyQueryAnswerPartEx); ok {
			parts++
		}
		early = append(early, o)
	}
	began := time.Now()
	s.kill()
	for notice[*tl.WorkerEnabledDisabled](t, p).Disabled != 1 {
	}
	took := time.Since(began)
	t.Logf("told after %s", took)
	if took > 3*time.Second+slotFree {
		t.Errorf("told after %s", took)
	}
	var body []byte
	for final := false; !final; {
		switch o := p.next().(type) {
		case *tl.ProxyQueryAnswerPartEx:
			body, final = append(body, o.Answer...), o.FinalInfo != nil
		case *tl.ProxyQueryAnswerErrorEx:
			final = true
		}
	}
	if bytes.Contains(body, []byte("[DONE]")) {
		t.Errorf("a clean end after %d messages: %.200s", len(early), body)
	}
	if st, ok := p.next().(*tl.ProxyQueryStatement); !ok || st.RequestID != id || st.Status != 4 {
		t.Errorf("statement %+v", st)
	}
	s.start()
	for notice[*tl.WorkerEnabledDisabled](t, p).Disabled != 0 {
	}
	if a := p.run(2, call{body: plainBody}); a.code != 0 || a.head.StatusCode != http.StatusOK {
		t.Errorf("after the return: %d %s", a.code, a.text)
	}
}

// contractMetrics: the load is read by the names of engine.toml, and paths off the list are refused.
func contractMetrics(t *testing.T, s subject) {
	t.Helper()
	load, err := s.adapter.Load(t.Context())
	if err != nil || load.Running < 0 || load.Waiting < 0 {
		t.Errorf("%+v, %v", load, err)
	}
	if _, err := s.adapter.Do(t.Context(), engine.Request{Path: "/props"}); !errors.Is(err, engine.ErrPath) {
		t.Errorf("%v", err)
	}
	if models, err := s.adapter.Models(t.Context()); err != nil || !bytes.Contains(models, []byte("model")) {
		t.Errorf("%s, %v", models, err)
	}
}

// scripted is scripted_model.json.
type scripted struct {
	Answers []struct {
		Name       string
		Request    map[string]any
		Content    string
		Finish     string `json:"finish_reason"`
		Prompt     int64  `json:"prompt_tokens"`
		Completion int64  `json:"completion_tokens"`
		Choices    int64
		Tool       string `json:"tool_name"`
		Arguments  string `json:"tool_arguments"`
	}
	Errors []struct {
		Name    string
		Request map[string]any
		HTTP    int32
	}
}

// choice is one choice, whole or as a delta.
type choice struct {
	Finish         string `json:"finish_reason"`
	Message, Delta struct {
		Content string
		Tools   []struct {
			Function struct{ Name, Arguments string }
		} `json:"tool_calls"`
	}
	Logprobs any
}

// recorded: text, length, JSON, schema, tools, stop, n, logprobs and errors as recorded, streaming and not.
func recorded(t *testing.T, s subject) {
	t.Helper()
	var v scripted
	golden.JSON(t, "inference/scripted_model.json", &v)
	_, p := s.kit(t, nil)
	n := uint32(0)
	for _, c := range v.Answers {
		for _, stream := range []bool{false, true} {
			n++
			c.Request["model"], c.Request["stream"] = "test/model", stream
			c.Request["logprobs"] = c.Name == "text"
			body, err := json.Marshal(c.Request)
			if err != nil {
				t.Fatal(err)
			}
			a := p.run(n, call{body: string(body)})
			if a.code != 0 || a.head.StatusCode != http.StatusOK {
				t.Errorf("%s, stream %v: %d %s %s", c.Name, stream, a.code, a.text, a.body)
				continue
			}
			text, tool, finish, logprobs := readAnswer(t, a.body, stream)
			choices := max(c.Choices, 1)
			want := c.Completion * choices
			used := a.final.TokensUsed
			if c.Choices == 0 && (text != c.Content || finish != c.Finish) || tool != c.Tool+c.Arguments || logprobs != (c.Name == "text") {
				t.Errorf("%s, stream %v: %q %q %q, logprobs %v", c.Name, stream, text, tool, finish, logprobs)
			}
			if c.Prompt > 0 && (used.PromptTokensUsed != c.Prompt || used.CompletionTokensUsed != want) {
				t.Errorf("%s, stream %v: used %+v, want %d and %d", c.Name, stream, used, c.Prompt, want)
			}
		}
	}
	for _, c := range v.Errors {
		n++
		c.Request["model"] = "test/model"
		body, err := json.Marshal(c.Request)
		if err != nil {
			t.Fatal(err)
		}
		a := p.run(n, call{body: string(body)})
		var e struct {
			Error struct{ Code, Type string }
		}
		if err := json.Unmarshal(a.body, &e); err != nil || a.head.StatusCode != c.HTTP || e.Error.Code == "" || a.final.TokensUsed.TotalTokensUsed != 0 {
			t.Errorf("%s: %s, %v", c.Name, a.body, err)
		}
	}
}

// readAnswer joins the parts of an answer.
func readAnswer(t *testing.T, body []byte, stream bool) (text, tool, finish string, logprobs bool) {
	t.Helper()
	docs := []string{string(body)}
	if stream {
		docs = nil
		for event := range strings.SplitSeq(string(body), "\n\n") {
			if data, ok := strings.CutPrefix(event, "data: "); ok && data != "[DONE]" {
				docs = append(docs, data)
			}
		}
	}
	for _, doc := range docs {
		var d struct{ Choices []choice }
		if err := json.Unmarshal([]byte(doc), &d); err != nil {
			t.Fatalf("%s: %v", doc, err)
		}
		for _, c := range d.Choices {
			text += c.Message.Content + c.Delta.Content
			for _, call := range append(c.Message.Tools, c.Delta.Tools...) {
				tool += call.Function.Name + call.Function.Arguments
			}
			if c.Finish != "" {
				finish = c.Finish
			}
			logprobs = logprobs || c.Logprobs != nil
		}
	}
	return text, tool, finish, logprobs
}

// llama is a real llama-server in a root of its pinned packages.
type llama struct {
	t       *testing.T
	root    string
	adapter *engine.Adapter
	mu      sync.Mutex
	cmd     *exec.Cmd
	out     bytes.Buffer
}

func newLlama(t *testing.T) *llama {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for a root of its own")
	}
	in, err := inputs.Open()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	tree, err := in.Group(ctx, "engine-cpu")
	if err != nil {
		t.Skipf("the engine's packages cannot be had: %v", err)
	}
	l := &llama{t: t, root: t.TempDir()}
	if err := inputs.WriteTree(tree, l.root); err != nil {
		t.Fatal(err)
	}
	if err := in.Model(filepath.Join(l.root, "scripted.gguf")); err != nil {
		t.Skip(err)
	}
	if err := os.WriteFile(filepath.Join(l.root, "template.jinja"), golden.Vector(t, "inference/scripted_template.jinja"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, link := range []string{"bin", "lib", "lib64"} {
		if _, err := os.Lstat(filepath.Join(l.root, link)); err != nil {
			if err := os.Symlink("usr/"+link, filepath.Join(l.root, link)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.MkdirAll(filepath.Join(l.root, "dev"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, dev := range map[string][2]uint32{"null": {1, 3}, "zero": {1, 5}, "random": {1, 8}, "urandom": {1, 9}} {
		if err := unix.Mknod(filepath.Join(l.root, "dev", name), unix.S_IFCHR|0o666, int(unix.Mkdev(dev[0], dev[1]))); err != nil {
			t.Skipf("making devices: %v", err)
		}
	}
	cfg, err := engine.Builtin(engine.LlamaCPP)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen = "unix:" + filepath.Join(l.root, "e.sock")
	cfg.Health.Interval = engine.Duration(100 * time.Millisecond)
	if l.adapter, err = engine.New(cfg); err != nil {
		t.Fatal(err)
	}
	l.start()
	t.Cleanup(func() { l.kill(); l.adapter.Close() })
	return l
}

// start starts the server with the flags of inference.md section 13; a stale socket is removed first.
func (l *llama) start() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = os.Remove(filepath.Join(l.root, "e.sock"))
	l.cmd = exec.Command("/usr/bin/llama-server", "-m", "/scripted.gguf", "--host", "/e.sock", "-t", "1", "-c", "8192", "--parallel", "8",
		"--jinja", "--metrics", "--slots", "-a", "model", "--chat-template-file", "/template.jinja", "--sse-ping-interval", "10", "--no-ui", "--offline")
	l.cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: l.root, Pdeathsig: syscall.SIGKILL}
	l.cmd.Dir, l.cmd.Env = "/", []string{"HOME=/tmp", "LANG=C.UTF-8"}
	l.out.Reset()
	l.cmd.Stdout, l.cmd.Stderr = &l.out, &l.out
	if err := l.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(l.t.Context(), patience)
	defer cancel()
	if err := l.adapter.Ready(ctx); err != nil {
		l.t.Fatalf("%v\n%s", err, l.out.String())
	}
}

func (l *llama) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cmd != nil {
		_ = l.cmd.Process.Kill()
		_ = l.cmd.Wait()
		l.cmd = nil
	}
}
