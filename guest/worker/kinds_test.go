package worker

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cocoon/contracts/api"
	"cocoon/guest/worker/engine"
)

// shaped is an engine that answers in the shapes of a kind, as its documentation has them (inference.md section 15).
type shaped struct {
	kind string

	mu      sync.Mutex
	sick    bool
	running map[string]chan struct{} // by request id, closed to abort
	last    shapedRequest
}

// shapedRequest is what the fake reads of a request.
type shapedRequest struct {
	Stream  bool
	Max     int64 `json:"max_completion_tokens"`
	Rid     string
	Salt    string `json:"cache_salt"`
	Options struct {
		Include    bool `json:"include_usage"`
		Continuous bool `json:"continuous_usage_stats"`
	} `json:"stream_options"`
	Messages []struct{ Content string }
}

func newShaped(kind string) *shaped {
	return &shaped{kind: kind, running: make(map[string]chan struct{})}
}

func (s *shaped) healthy(ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sick = !ok
}

func (s *shaped) seen() shapedRequest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// ServeHTTP serves the paths that the kind has.
func (s *shaped) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/health":
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.sick {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	case "/metrics":
		s.metrics(w)
	case "/v1/models":
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"model","object":"model","created":1,"owned_by":"x","root":"/model","parent":null,"max_model_len":32768,"permission":[]}]}`)
	case "/abort_request":
		var ask struct{ Rid string }
		_ = json.NewDecoder(r.Body).Decode(&ask)
		s.mu.Lock()
		defer s.mu.Unlock()
		if abort, ok := s.running[ask.Rid]; ok {
			close(abort)
			delete(s.running, ask.Rid)
		}
	case "/v1/completions":
		_, _ = io.WriteString(w, `{"id":"cmpl-1","object":"text_completion","choices":[{"index":0,"text":"a","finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}`)
	case "/v1/chat/completions":
		s.chat(w, r)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// metrics is the page of the kind: counters beside the gauges, labels, and in vLLM's case the older name of one.
func (s *shaped) metrics(w io.Writer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.running)
	if s.kind == engine.SGLang {
		_, _ = fmt.Fprintf(w, "# HELP sglang:num_running_reqs The number of running requests.\n# TYPE sglang:num_running_reqs gauge\n"+
			"sglang:num_running_reqs{model_name=\"model\",tp_rank=\"0\"} %d.0\nsglang:num_queue_reqs{model_name=\"model\"} 0.0\nsglang:token_usage{model_name=\"model\"} 0.28\n"+
			"sglang:num_running_reqs_offline_batch{model_name=\"model\"} 9.0\n", n)
		return
	}
	_, _ = fmt.Fprintf(w, "# HELP vllm:num_requests_running Number of requests in model execution batches.\n# TYPE vllm:num_requests_running gauge\n"+
		"vllm:num_requests_running{engine=\"0\",model_name=\"model\"} %d.0\nvllm:num_requests_waiting{engine=\"0\",model_name=\"model\"} 0.0\n"+
		"vllm:gpu_cache_usage_perc{engine=\"0\",model_name=\"model\"} 0.28\nvllm:prompt_tokens_total{engine=\"0\",model_name=\"model\"} 9e+06\n", n)
}

// chat answers three tokens, of which one is thought, or goes on until it is stopped.
func (s *shaped) chat(w http.ResponseWriter, r *http.Request) {
	var ask shapedRequest
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil || len(ask.Messages) == 0 {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":{"message":"secret words","type":"BadRequestError","param":null,"code":400}}`)
		return
	}
	if strings.Contains(ask.Messages[0].Content, "too long") {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, s.tooLong())
		return
	}
	id := ask.Rid
	if id == "" {
		id = r.Header.Get("Idempotency-Key")
	}
	aborted, closed := make(chan struct{}), r.Context().Done()
	if s.kind == engine.SGLang {
		closed = nil // it may go on after its connection is gone
	}
	s.mu.Lock()
	s.last = ask
	s.running[id] = aborted
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.running, id)
	}()
	tokens, gap := int64(3), time.Duration(0)
	if strings.Contains(ask.Messages[0].Content, "long") {
		tokens, gap = ask.Max, 2*time.Millisecond
	}
	if ask.Stream {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	} else {
		w.Header().Set("Content-Type", "application/json")
	}
	for n := int64(1); n <= tokens; n++ {
		if ask.Stream {
			_, _ = io.WriteString(w, s.chunk(n, n == tokens, ask))
			_ = http.NewResponseController(w).Flush()
		}
		pause := time.NewTimer(gap)
		select {
		case <-pause.C:
		case <-closed:
			return
		case <-aborted:
			return
		}
	}
	switch {
	case !ask.Stream:
		_, _ = fmt.Fprintf(w, `{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"model","choices":[{"index":0,"message":{"role":"assistant","content":"ab","reasoning_content":"t","tool_calls":[]},"logprobs":null,"finish_reason":"stop","stop_reason":null}],"usage":%s}`, s.usage(tokens))
	case ask.Options.Include:
		_, _ = fmt.Fprintf(w, `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"model","choices":[],"usage":%s}`+"\n\n", s.usage(tokens))
		fallthrough
	default:
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	}
}

// chunk is one event. The first token is thought; usage is in every event where that was asked for.
func (s *shaped) chunk(n int64, last bool, ask shapedRequest) string {
	delta, finish, usage, extra := `{"content":"a"}`, "null", "", `,"token_ids":null`
	if s.kind == engine.SGLang {
		usage, extra = `,"usage":null`, `,"matched_stop":null`
	}
	if n == 1 {
		delta = `{"role":"assistant","reasoning_content":"t"}`
	}
	if last {
		finish = `"stop"`
	}
	if ask.Options.Continuous {
		usage = `,"usage":` + s.usage(n)
	}
	return fmt.Sprintf(`data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"model","choices":[{"index":0,"delta":%s,"logprobs":null,"finish_reason":%s%s}]%s}`, delta, finish, extra, usage) + "\n\n"
}

func (s *shaped) usage(n int64) string {
	if s.kind == engine.SGLang {
		return fmt.Sprintf(`{"prompt_tokens":7,"total_tokens":%d,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":4},"reasoning_tokens":1}`, n+7, n)
	}
	return fmt.Sprintf(`{"prompt_tokens":7,"total_tokens":%d,"completion_tokens":%d,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":1}}`, n+7, n)
}

func (s *shaped) tooLong() string {
	if s.kind == engine.SGLang {
		return `{"object":"error","message":"The input (99999 tokens) is longer than the model's context length (32768 tokens).","type":"BadRequestError","param":null,"code":400}`
	}
	return `{"error":{"message":"This model's maximum context length is 32768 tokens. However, you requested 99999 tokens.","type":"BadRequestError","param":"input_tokens","code":400}}`
}

// adapterOf is the adapter of a kind's own engine.toml, looking often.
func adapterOf(t *testing.T, kind string, h http.Handler) *engine.Adapter {
	t.Helper()
	return serveEngine(t, h, func(c *engine.Config) {
		own, err := engine.Builtin(kind)
		if err != nil {
			t.Fatal(err)
		}
		own.Listen, own.Health.Interval = c.Listen, engine.Duration(50*time.Millisecond)
		*c = *own
	})
}

// TestContractShapes holds the adapters of vLLM and SGLang to the contract that every engine has, against their shapes.
func TestContractShapes(t *testing.T) {
	for _, kind := range []string{engine.VLLM, engine.SGLang} {
		t.Run(kind, func(t *testing.T) {
			fake := newShaped(kind)
			s := subject{
				adapter: adapterOf(t, kind, fake), requests: 150,
				kill: func() { fake.healthy(false) }, start: func() { fake.healthy(true) },
				long: func(stream bool, maxTokens int) string {
					return fmt.Sprintf(`{"model":"test/model","stream":%v,"max_tokens":%d,"messages":[{"role":"user","content":"long"}]}`, stream, maxTokens)
				},
			}
			t.Run("answers", func(t *testing.T) { shapedAnswers(t, s, fake) })
			runContract(t, s)
		})
	}
}

// shapedAnswers: usage with cached and thought tokens, streamed and not; the fields that engine.toml says are set; our
// code for a prompt that is too long, and none of the engine's words; load by the kind's names.
func shapedAnswers(t *testing.T, s subject, fake *shaped) {
	t.Helper()
	k, p := s.kit(t, nil)
	set := s.adapter.Config().Set
	for n, stream := range []bool{true, false} {
		body := fmt.Sprintf(`{"model":"test/model","stream":%v,"max_tokens":900,"messages":[{"role":"user","content":"hi"}]}`, stream)
		a := p.run(uint32(10+n), call{body: body})
		used := a.final.TokensUsed
		if a.code != 0 || used.PromptTokensUsed != 7 || used.CachedTokensUsed != 4 || used.CompletionTokensUsed != 3 || used.ReasoningTokensUsed != 1 {
			t.Errorf("stream %v: %d %s, used %+v", stream, a.code, a.text, used)
		}
		if !bytes.Contains(a.body, []byte(`"reasoning_content":"t"`)) || stream != bytes.HasSuffix(a.body, []byte("data: [DONE]\n\n")) {
			t.Errorf("stream %v: %s", stream, a.body)
		}
		k.checkStatement(idOf(uint32(10+n)), body, a)
		if got := fake.seen(); got.Max != 900 || got.Options.Continuous != stream || (got.Rid != "") != (set.RequestIDField == "rid") {
			t.Errorf("stream %v: the engine was asked %+v", stream, got)
		}
	}
	long := p.run(20, call{body: `{"model":"test/model","messages":[{"role":"user","content":"too long"}]}`})
	if long.head.StatusCode != http.StatusBadRequest || !bytes.Contains(long.body, []byte(api.ContextLength)) || bytes.Contains(long.body, []byte("99999")) {
		t.Errorf("a prompt that is too long: %d %s", long.head.StatusCode, long.body)
	}
	if load, err := s.adapter.Load(t.Context()); err != nil || load != (engine.Load{Running: 0, Waiting: 0, KVUse: 0.28}) {
		t.Errorf("load %+v, %v", load, err)
	}
	if err := s.adapter.Ready(t.Context()); err != nil {
		t.Errorf("readiness: %v", err)
	}
}
