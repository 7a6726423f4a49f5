package emulate

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"cocoon/contracts/api"
	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/api/sse"
)

const (
	canary     = "c4n4ry-of-a-prompt"
	answerBody = `{"id":"c1","object":"chat.completion","created":1,"model":"org/model","choices":[{"index":0,"message":{"role":"assistant","content":"hi <b>"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}`
)

// chatBody is a request with more members.
func chatBody(more string) string {
	return `{"model":"org/model","messages":[{"role":"user","content":"` + canary + `"}]` + more + `}`
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
			out, err := Events(Answer{Endpoint: tc.ep, Usage: true}, []byte(tc.body))
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
	for _, s := range []string{answerBody, "{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"a\x7f\u00e9<\\u0001\":\"x\"}}]}", `{"choices":[{"finish_reason":"stop","message":{"tool_calls":[{ },[],1]}}]}`, "{\"choices\":[{\"finish_reason\":\"stop\"}]}\n", "", "[]", "{\"choices\":[\n{\"index\":-1,\"text\":1,\"finish_reason\":\"x\"}],\"id\":{\"a\":\n1}}"} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, body []byte, chat bool) {
		ep := api.Completions
		if chat {
			ep = api.Chat
		}
		out, err := Events(Answer{Endpoint: ep, Usage: true}, body)
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
		out, err := Body(req, Peer{Role: "proxy", Version: 4})
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

// read puts a body through the policy of the gateway.
func read(t *testing.T, ep api.Endpoint, body string) *api.Request {
	t.Helper()
	req, err := api.NewPolicy(api.Limits{}).Read(ep, []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// TestFieldsOfBothGenerations is the table of protocol.md section 6.5: what passes, what is left out because it changes
// nothing, and what is refused by its name.
func TestFieldsOfBothGenerations(t *testing.T) {
	const stays, goes = "stays", "goes"
	for name, tc := range map[string]struct {
		member   string // one member, or several
		dec, apr string // stays, goes, another member, or the parameter that is refused
	}{
		"temperature":             {`"temperature":0.5`, stays, stays},
		"reasoning effort":        {`"reasoning_effort":"low"`, stays, stays},
		"response format":         {`"response_format":{"type":"json_object"}`, stays, stays},
		"one stop":                {`"stop":"x"`, stays, `"stop":["x"]`},
		"stops":                   {`"stop":["x","y"]`, stays, stays},
		"seed":                    {`"seed":7`, "seed", stays},
		"no seed":                 {`"seed":null`, goes, goes},
		"log probabilities":       {`"logprobs":true`, "logprobs", stays},
		"no log probabilities":    {`"logprobs":false,"top_logprobs":0`, goes, `"logprobs":false`},
		"tools":                   {`"tools":[{"type":"function"}]`, "tools", "tools"},
		"no tools":                {`"tools":[],"tool_choice":"auto","parallel_tool_calls":true`, goes, goes},
		"a choice without tools":  {`"tool_choice":"required"`, "tool_choice", "tool_choice"},
		"old functions":           {`"functions":[{}]`, "functions", "functions"},
		"bias":                    {`"logit_bias":{"5":1}`, "logit_bias", "logit_bias"},
		"no bias":                 {`"logit_bias":{}`, goes, goes},
		"top_k":                   {`"top_k":5`, "top_k", "top_k"},
		"top_k off":               {`"top_k":-1`, goes, goes},
		"neutral sampling":        {`"min_p":0,"repetition_penalty":1.0,"min_tokens":0,"ignore_eos":false,"stop_token_ids":[]`, goes, goes},
		"min_p":                   {`"min_p":0.1`, "min_p", "min_p"},
		"repetition":              {`"repetition_penalty":1.1`, "repetition_penalty", "repetition_penalty"},
		"thinking":                {`"chat_template_kwargs":{"enable_thinking":false}`, stays, stays},
		"the other thinking":      {`"chat_template_kwargs":{"thinking":false}`, "chat_template_kwargs", "chat_template_kwargs"},
		"prediction":              {`"prediction":{"type":"content","content":"x"}`, "prediction", "prediction"},
		"modalities":              {`"modalities":["text"]`, goes, stays},
		"stream":                  {`"stream":true,"stream_options":{"include_usage":true}`, goes, goes},
		"consumed":                {`"user":"u","metadata":{},"store":false,"service_tier":"auto","timeout":5`, goes, goes},
		"unknown":                 {`"brand_new":{"a":1}`, goes, goes},
		"special tokens kept":     {`"skip_special_tokens":false`, "skip_special_tokens", stays},
		"special tokens skipped":  {`"skip_special_tokens":true`, goes, stays},
		"encrypted":               {`"is_encrypted":"v1","sender_public_key":"a","receiver_public_key":"b","encryption_nonce":"c"`, "is_encrypted", stays},
		"encrypted and streaming": {`"is_encrypted":"v1","sender_public_key":"a","receiver_public_key":"b","encryption_nonce":"c","stream":true`, "stream", "stream"},
	} {
		t.Run(name, func(t *testing.T) {
			req := read(t, api.Chat, chatBody(","+tc.member))
			for version, want := range map[int32]string{2: tc.dec, 4: tc.apr} {
				out, err := Body(req, Peer{Role: "worker", Version: version})
				if refused, ok := errors.AsType[*api.Error](err); ok {
					if refused.Param != want || refused.Code != api.UnsupportedParameter || !strings.Contains(refused.Message, "the worker") {
						t.Errorf("version %d: %v, want %s", version, err, want)
					}
					continue
				}
				body := chatBody("," + want)
				switch want {
				case stays:
					body = chatBody("," + tc.member)
				case goes:
					body = chatBody("")
				}
				if err != nil || string(out) != body {
					t.Errorf("version %d: %s (%v), want %s", version, out, err, body)
				}
			}
			needed := int32(versionOurs)
			if Check(req, Peer{Version: 0}) == nil {
				needed = 0
			} else if Check(req, Peer{Version: 3}) == nil {
				needed = versionApr
			}
			if got := Needed(req); got != needed {
				t.Errorf("needed is %d, want %d", got, needed)
			}
		})
	}
}

func TestOtherPathsAreNotServed(t *testing.T) {
	for ep, body := range map[api.Endpoint]string{api.Embeddings: `{"model":"m","input":"x"}`, api.Responses: `{"model":"m","input":"x"}`} {
		_, err := Body(read(t, ep, body), Peer{Role: "proxy", Version: 4})
		if refused, ok := errors.AsType[*api.Error](err); !ok || refused.Code != api.UnknownURL {
			t.Errorf("%d: %v", ep, err)
		}
	}
	req := read(t, api.Completions, `{"model":"m","prompt":"x","suffix":"y"}`)
	if err := Check(req, Peer{Version: 4}); err == nil {
		t.Error("a suffix in words is let through to peers that read a boolean")
	}
	if out, err := Body(read(t, api.Completions, `{"model":"m","prompt":"x","seed":1,"suffix":null,"echo":true}`), Peer{Version: 0}); err != nil || string(out) != `{"model":"m","prompt":"x","seed":1,"echo":true}` {
		t.Errorf("%s %v", out, err)
	}
}

// TestRowsBecomeEventsAsTheyCome: however the bytes are cut, the same events come out, and none waits for a later row.
func TestRowsBecomeEventsAsTheyCome(t *testing.T) {
	answers := map[string]struct {
		ep         api.Endpoint
		body, want string
	}{
		"rows of a chat": {
			api.Chat,
			"{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\r\n\n{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"total_tokens\":3}}\n",
			"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n" +
				"data: {\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\n" + sse.Done,
		},
		"rows of a completion, the last without its end": {
			api.Completions, "{\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n{\"choices\":[{\"text\":\"b\",\"finish_reason\":\"length\"}]}",
			"data: {\"choices\":[{\"text\":\"a\",\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"text\":\"b\",\"finish_reason\":\"length\"}]}\n\n" + sse.Done,
		},
		"counts in a row of their own": {
			api.Chat, "{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n{\"choices\":[],\"usage\":{\"a\":1}}\n",
			"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"object\":\"chat.completion.chunk\",\"choices\":[],\"usage\":{\"a\":1}}\n\n" + sse.Done,
		},
		"a document over many lines": {
			api.Completions, "{\n\"choices\":\n[{\"text\":\"a\",\n\"finish_reason\":\"stop\"}]\n}\n",
			"data: {\"object\":\"text_completion\",\"choices\":[{\"index\":0,\"text\":\"a\",\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n\n" + sse.Done,
		},
	}
	for name, tc := range answers {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{1, 2, 3, 7, 50, len(tc.body)} {
				s := New(Answer{Endpoint: tc.ep, Usage: true, Limit: MaxHeld})
				var out []byte
				for rest := []byte(tc.body); len(rest) > 0; rest = rest[min(size, len(rest)):] {
					events, err := s.Write(rest[:min(size, len(rest))])
					if err != nil {
						t.Fatal(err)
					}
					out = append(out, events...)
				}
				tail, err := s.End()
				if out = append(out, tail...); err != nil || string(out) != tc.want {
					t.Fatalf("in pieces of %d: %v\n%s\nwant\n%s", size, err, out, tc.want)
				}
			}
		})
	}
	s := New(Answer{Endpoint: api.Chat, Limit: MaxHeld})
	if out, err := s.Write([]byte("{\"choices\":[{\"delta\":{\"content\":\"now\"}}]}\n{\"cho")); err != nil || !strings.Contains(string(out), "now") {
		t.Errorf("%q, %v: the first row waits", out, err)
	}
}

// TestBrokenAnswersAreNoStreams: each says what is wrong, and nothing of it ends like a stream that is whole.
func TestBrokenAnswersAreNoStreams(t *testing.T) {
	const row0, row1 = `{"choices":[{"index":0,"delta":{}}]}` + "\n", `{"choices":[{"index":1,"delta":{}}]}` + "\n"
	const end0, end1 = `{"choices":[{"index":0,"finish_reason":"stop"}]}` + "\n", `{"choices":[{"index":1,"finish_reason":"length"}]}` + "\n"
	whole := func(reason string) string {
		return `{"choices":[{"index":0,"message":{"content":"x"},"finish_reason":"` + reason + `"}]}`
	}
	for name, tc := range map[string]struct {
		body    string
		choices int64
		want    error
	}{
		"a row that is cut":              {row0 + "{\"cho", 1, ErrMalformed},
		"words between rows":             {row0 + "hello\n", 1, ErrMalformed},
		"no finish":                      {row0, 1, ErrTruncated},
		"an error in a row":              {row0 + "{\"error\":{}}\n", 1, ErrTruncated},
		"no error in a row":              {row0 + `{"error":null,"choices":[]}` + "\n" + end0, 1, nil},
		"events already":                 {"data: " + row0 + "\n", 1, ErrMalformed},
		"a document of errors":           {`{"error":{"message":"x"}}`, 1, ErrTruncated},
		"two of two":                     {row0 + row1 + end1 + end0, 2, nil},
		"one of two ended":               {row0 + row1 + end0, 2, ErrTruncated},
		"one of two came":                {row0 + end0, 2, ErrTruncated},
		"one more came, and never ended": {row0 + row1 + end0, 1, ErrTruncated},
		"stopped in a row":               {row0 + `{"choices":[{"index":0,"finish_reason":"abort"}]}` + "\n", 1, ErrTruncated},
		"whole":                          {whole("stop"), 0, nil},
		"stopped":                        {whole("abort"), 1, ErrTruncated},
		"whole, one of two":              {whole("stop"), 2, ErrTruncated},
		"too much":                       {`{"choices":[{"message":{"content":"` + strings.Repeat("x", 2000) + `"},"finish_reason":"stop"}]}`, 1, ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			s := New(Answer{Endpoint: api.Chat, Usage: true, Limit: 1000, Choices: tc.choices})
			_, err := s.Write([]byte(tc.body))
			if err == nil {
				_, err = s.End()
			}
			if !errors.Is(err, tc.want) {
				t.Errorf("%v, want %v", err, tc.want)
			}
		})
	}
}

// BenchmarkDocument shows that many lines cost no more than one.
func BenchmarkDocument(b *testing.B) {
	body := []byte("{\"choices\":[{\"finish_reason\":\"stop\",\"message\":{\"content\":[" + strings.Repeat("\"x\",\n", 100_000) + "1]}}]}")
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := Events(Answer{Endpoint: api.Chat, Usage: true}, body); err != nil {
			b.Fatal(err)
		}
	}
}
