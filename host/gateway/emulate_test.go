package gateway

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/api/sse"
)

func TestAReferenceProxyGetsAWholeRequestAndTheAppAStream(t *testing.T) {
	release := make(chan struct{})
	p := newScripted("p1", 4, func(_ *scripted, q *query) {
		<-release
		q.head(200, "application/json", answerBody, true)
	})
	w := start(t, setup{ping: 20 * time.Millisecond}, p)
	time.AfterFunc(100*time.Millisecond, func() { close(release) })
	r := w.chat(`,"stream":true,"stream_options":{"include_usage":true},"user":"u","odd":1,"tools":[],"logprobs":false`)
	if r.status != 200 || r.header.Get("X-Cocoon-Stream") != "emulated" || r.header.Get("X-Receipt-Id") != "" {
		t.Fatalf("got %d %v %s", r.status, r.header, r.body)
	}
	want := `{"model":"org/model", "messages":[{"role":"user","content":"` + canary + `"}]}`
	q := p.requests()[0]
	if string(q.http.Payload) != want {
		t.Errorf("the proxy got %s", q.http.Payload)
	}
	if q.Timeout > 114 || q.Timeout < 113 {
		t.Errorf("timeout %v, want 0.95 of two minutes", q.Timeout)
	}
	if !strings.HasPrefix(r.body, sse.Ping) || !strings.HasSuffix(r.body, sse.Done) {
		t.Errorf("body %q", r.body)
	}
	for _, part := range []string{`"delta":{"role":"assistant","content":""}`, `"delta":{"content":"hi <b>"}`, `"finish_reason":"stop"`, `"choices":[],"usage":{"prompt_tokens":5`} {
		if !strings.Contains(r.body, part) {
			t.Errorf("no %s in %s", part, r.body)
		}
	}
}

func TestWhatAReferenceProxyCannotDoIsSaid(t *testing.T) {
	p := newScripted("p1", 4, good)
	w := start(t, setup{}, p)
	for _, extra := range []string{
		`,"tools":[{"type":"function","function":{"name":"f"}}]`, `,"logprobs":true`, `,"logit_bias":{"5":1}`, `,"seed":4`,
	} {
		r := w.chat(extra)
		if r.status != 400 || r.code(t) != "unsupported_parameter" {
			t.Errorf("%s: %d %s", extra, r.status, r.body)
		}
	}
	if len(p.requests()) != 0 {
		t.Error("a request was sent")
	}
}

func TestImitation(t *testing.T) {
	for name, tc := range map[string]struct {
		ep   api.Endpoint
		body string
		want []string // data of the events
		fail bool
	}{
		"tools": {api.Chat, `{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function"},{}]},"finish_reason":"tool_calls"}]}`, []string{
			`{"object":"chat.completion.chunk","id":"c","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`,
			`{"object":"chat.completion.chunk","id":"c","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"1","type":"function"},{"index":1}]},"finish_reason":null}]}`,
			`{"object":"chat.completion.chunk","id":"c","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`, "[DONE]",
		}, false},
		"text":         {api.Completions, "{\"choices\":[\n{\"index\":1,\"text\":\"a\\nb\",\"finish_reason\":\"length\"}]}", []string{`{"object":"text_completion","choices":[{"index":1,"text":"a\nb","logprobs":null,"finish_reason":"length"}]}`, "[DONE]"}, false},
		"NDJSON":       {api.Chat, "{\"choices\":[{\"delta\":{}}]}\n\n{\"choices\":[{\"finish_reason\":\"stop\"}]}\n", []string{`{"choices":[{"delta":{}}]}`, `{"choices":[{"finish_reason":"stop"}]}`, "[DONE]"}, false},
		"no finish":    {api.Chat, `{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":null}]}`, nil, true},
		"no choices":   {api.Chat, `{"choices":[]}`, nil, true},
		"other":        {api.Chat, `{"x":1}`, nil, true},
		"not JSON":     {api.Chat, `hello`, nil, true},
		"cut NDJSON":   {api.Chat, "{\"choices\":[]}\n{\"cho", nil, true},
		"empty answer": {api.Chat, ``, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := imitation(tc.ep, []byte(tc.body), true)
			if (err != nil) != tc.fail {
				t.Fatalf("error %v", err)
			}
			var s sse.Splitter
			s.Write(out)
			for i := 0; ; i++ {
				e, ok, err := s.Next()
				if err != nil {
					t.Fatal(err)
				}
				if !ok {
					if i != len(tc.want) || s.Rest() {
						t.Errorf("%d events, want %d: %s", i, len(tc.want), out)
					}
					return
				}
				if i >= len(tc.want) || string(e.Data) != tc.want[i] {
					t.Errorf("event %d: %s", i, e.Data)
				}
			}
		})
	}
}

// FuzzImitation: whatever a reference proxy answers, the result is whole events of valid JSON or an error.
func FuzzImitation(f *testing.F) {
	for _, s := range []string{answerBody, `{"choices":[{"finish_reason":"stop","message":{"tool_calls":[{ },[],1]}}]}`, "{\"choices\":[{\"finish_reason\":\"stop\"}]}\n", "", "[]", "{\"choices\":[\n{\"index\":-1,\"text\":1,\"finish_reason\":\"x\"}],\"id\":{\"a\":\n1}}"} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, chat bool) {
		ep := api.Completions
		if chat {
			ep = api.Chat
		}
		out, err := imitation(ep, body, true)
		if err != nil {
			return
		}
		var s sse.Splitter
		s.Write(out)
		for {
			e, ok, err := s.Next()
			if err != nil {
				t.Fatalf("no events: %v in %q", err, out)
			}
			if !ok {
				break
			}
			if string(e.Data) != "[DONE]" && !json.Valid(e.Data) {
				t.Fatalf("no JSON: %q", e.Data)
			}
		}
		if s.Rest() {
			t.Fatalf("a part of an event is left of %q", out)
		}
	})
}

// FuzzReferenceBody: an accepted body stays valid JSON and loses stream.
func FuzzReferenceBody(f *testing.F) {
	for _, s := range []string{chatBody(""), chatBody(`,"stream":true,"tools":[]`), `{"stream":true,"model":"m","messages":[{}],"zz":1,"seed":null}`, `{"model":"m","messages":[{"role":"user","content":"x"}],"user":"u","stream_options":{}}`, `{}`} {
		f.Add([]byte(s))
	}
	policy := api.NewPolicy(api.Limits{})
	f.Fuzz(func(t *testing.T, body []byte) {
		req, err := policy.Read(api.Chat, body)
		if err != nil {
			return
		}
		out, err := forReference(req)
		if err != nil {
			return
		}
		doc, err := jsonscan.Check(out)
		if err != nil {
			t.Fatalf("%v: %q became %q", err, body, out)
		}
		for _, key := range []string{"stream", "stream_options", "user", "tools"} {
			if _, ok := doc.Get(key); ok {
				t.Fatalf("%s is left in %q", key, out)
			}
		}
	})
}
