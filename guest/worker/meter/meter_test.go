package meter

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/contracts/api"
	"cocoon/contracts/api/sse"
	"cocoon/tests/golden"
)

// vector is one case of sse_cases.json.
type vector struct {
	Name   string `json:"name"`
	Caller struct {
		IncludeUsage bool  `json:"include_usage"`
		N            int64 `json:"n"`
	} `json:"caller"`
	Input  string `json:"input"`
	Expect struct {
		Forwarded     string   `json:"forwarded"`
		Outcome       string   `json:"outcome"`
		ErrorCode     *string  `json:"error_code"`
		Events        int      `json:"events"`
		ContentEvents int      `json:"content_events"`
		FinishReasons []string `json:"finish_reasons"`
		AppendUsage   bool     `json:"append_usage_event"`
		AppendDone    bool     `json:"append_done"`
		AppendError   bool     `json:"append_error"`
		UsageRejected int      `json:"usage_rejected"`
		Usage         *struct {
			Prompt, Cached, Completion, Reasoning int64
		} `json:"usage"`
	} `json:"expect"`
}

func vectors(tb testing.TB) []vector {
	tb.Helper()
	var doc struct {
		Cases []vector `json:"cases"`
	}
	golden.JSON(tb, "inference/sse_cases.json", &doc)
	return doc.Cases
}

// run feeds a stream in pieces and returns what went on before the end, what was appended, and the result.
func run(opt Options, pieces ...[]byte) (forwarded, tail []byte, res Result) {
	m := New(opt)
	for _, p := range pieces {
		forwarded = m.Append(forwarded, p)
	}
	tail = m.Finish(nil)
	return forwarded, tail, m.Result()
}

// cuts are ways to cut a stream into reads: whole, at each single place, byte by byte, at random.
func cuts(in []byte) [][][]byte {
	out := [][][]byte{{in}}
	for i := range in {
		out = append(out, [][]byte{in[:i], in[i:]})
	}
	single := make([][]byte, 0, len(in))
	for i := range in {
		single = append(single, in[i:i+1])
	}
	out = append(out, single)
	rng := rand.New(rand.NewPCG(1, uint64(len(in))))
	for range 20 {
		var parts [][]byte
		for rest := in; len(rest) > 0; {
			n := min(1+rng.IntN(40), len(rest))
			parts, rest = append(parts, rest[:n]), rest[n:]
		}
		out = append(out, parts)
	}
	return out
}

// TestVectors: every case has its outcome, whatever way the bytes arrive.
func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			opt := Options{IncludeUsage: v.Caller.IncludeUsage, Choices: v.Caller.N}
			for i, pieces := range cuts([]byte(v.Input)) {
				if diff := v.differs(run(opt, pieces...)); diff != "" {
					t.Fatalf("cut %d: %s", i, diff)
				}
			}
		})
	}
}

// differs compares one run with what the vector expects.
func (v vector) differs(forwarded, tail []byte, res Result) string {
	want := v.Expect
	expect := ""
	if want.AppendError {
		expect = string(sse.Append(nil, (&api.Error{Code: res.Code, Message: errorMessage(tail)}).Body()))
	}
	got := string(forwarded)
	rest := string(tail)
	if res.AppendedUsage {
		_, after, _ := strings.Cut(rest, "\n\n")
		rest = after
	}
	switch {
	case want.AppendError:
	case want.AppendDone:
		expect = sse.Done
	default: // the engine's own [DONE], held back until here
		got, rest = got+rest, ""
	}
	code := ""
	if want.ErrorCode != nil {
		code = *want.ErrorCode
	}
	type facts struct {
		Forwarded, Tail, Code string
		Events, Content       int
		Complete, Appended    bool
		Rejected              int
		Reasons               string
		Usage                 string
	}
	usage := func(u *Usage) string {
		if u == nil {
			return "none"
		}
		return fmt.Sprint(*u)
	}
	var engine, wanted *Usage
	if res.Source != FromCounting {
		engine = &res.Usage
	}
	if want.Usage != nil {
		wanted = &Usage{want.Usage.Prompt, want.Usage.Cached, want.Usage.Completion, want.Usage.Reasoning}
	}
	return cmp.Diff(
		facts{want.Forwarded, expect, code, want.Events, want.ContentEvents, want.Outcome == "complete", want.AppendUsage, want.UsageRejected, fmt.Sprint(want.FinishReasons), usage(wanted)},
		facts{got, rest, string(res.Code), res.Events, res.Content, res.Code == "", res.AppendedUsage, res.Rejected, fmt.Sprint(res.FinishReasons), usage(engine)},
	)
}

func errorMessage(event []byte) string {
	var doc struct {
		Error struct{ Message string } `json:"error"`
	}
	_ = json.Unmarshal(bytes.TrimPrefix(bytes.TrimSpace(event), []byte("data: ")), &doc) // an empty message then differs
	return doc.Error.Message
}

func TestCostsAreSplicedIntoTheUsageThatGoesOut(t *testing.T) {
	opt := Options{IncludeUsage: true, Cost: func(u Usage) Cost { return Cost{Prompt: 20 * u.Prompt, Completion: 160 * u.Completion} }}
	const costs = `,"prompt_total_cost":60,"completion_total_cost":160,"total_cost":220}`
	in := `data: {"id":"c","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}` + "\n\n" +
		`data: {"choices":[],"usage":{"prompt_tokens":3, "completion_tokens":1,"total_tokens":4}}` + "\n\n" + sse.Done
	got, _, _ := run(opt, []byte(in))
	if !strings.HasSuffix(string(got), `{"choices":[],"usage":{"prompt_tokens":3, "completion_tokens":1,"total_tokens":4`+costs+"}\n\n") {
		t.Errorf("got %s", got)
	}
	ours := strings.Replace(in, `data: {"choices":[],"usage":{"prompt_tokens":3, "completion_tokens":1,"total_tokens":4}}`+"\n\n", "", 1)
	opt.PromptTokens = 3
	_, tail, res := run(opt, []byte(ours))
	if want := `data: {"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4` + costs + "}\n\n" + sse.Done; string(tail) != want {
		t.Errorf("got  %s\nwant %s", tail, want)
	}
	if !res.Estimated || res.Source != FromCounting {
		t.Errorf("%+v", res)
	}
	out, whole := wholly([]byte(`{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}`), opt)
	if !strings.HasSuffix(string(out), `"total_tokens":4`+costs+"}") || whole.Source != FromEngine || !whole.Complete {
		t.Errorf("%s %+v", out, whole)
	}
}

func TestEnginesThatCountInOtherWays(t *testing.T) {
	chunk := func(rest string) string {
		return `data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]` + rest + "}\n\n"
	}
	for name, tc := range map[string]struct {
		in   string
		opt  Options
		want Result
	}{
		"timings of a stream that broke": {
			chunk(`,"timings":{"cache_n":2,"prompt_n":3,"predicted_n":1}`) + chunk(`,"timings":{"cache_n":2,"prompt_n":3,"predicted_n":2}`),
			Options{},
			Result{Code: api.EngineTruncated, Events: 2, Content: 2, Usage: Usage{5, 2, 2, 0}, Source: FromPartial},
		},
		"timings that are no numbers": {
			chunk(`,"timings":{"cache_n":-2,"prompt_n":3,"predicted_n":1}`),
			Options{PromptTokens: 7},
			Result{Code: api.EngineTruncated, Events: 1, Content: 1, Usage: Usage{7, 0, 1, 0}, Source: FromCounting, Estimated: true},
		},
		"usage of one choice of two": {
			`data: {"choices":[{"index":0,"text":"a","finish_reason":"stop"},{"index":1,"text":"b","finish_reason":"stop"}]}` + "\n\n" +
				`data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":11,"total_tokens":14}}` + "\n\n",
			Options{Choices: 2, SingleChoiceUsage: true},
			Result{Complete: true, Events: 1, Content: 1, FinishReasons: []string{"stop", "stop"}, Usage: Usage{3, 0, 22, 0}, Source: FromEngine, Estimated: true},
		},
		"a choice that was not asked for": {
			`data: {"choices":[{"index":1,"text":"b"}]}` + "\n\n",
			Options{},
			Result{Code: api.MalformedEvent, Source: FromCounting, Estimated: true},
		},
		"a response": {
			`data: {"type":"response.output_text.delta","delta":"a"}` + "\n\n" +
				`data: {"type":"response.completed","response":{"usage":{"input_tokens":4,"output_tokens":2,"total_tokens":6,"input_tokens_details":{"cached_tokens":1},"output_tokens_details":{"reasoning_tokens":1}}}}` + "\n\n",
			Options{Responses: true},
			Result{Complete: true, Events: 2, Content: 1, FinishReasons: []string{"response.completed"}, Usage: Usage{4, 1, 2, 1}, Source: FromEngine},
		},
		"a response that failed": {
			`data: {"type":"response.failed","response":{}}` + "\n\n",
			Options{Responses: true},
			Result{Code: api.EngineError, Source: FromCounting, Estimated: true},
		},
		"a response that ended": {
			`data: {"type":"response.output_text.delta"}` + "\n\n",
			Options{Responses: true},
			Result{Code: api.EngineTruncated, Events: 1, Content: 1, Usage: Usage{Completion: 1}, Source: FromCounting, Estimated: true},
		},
		"usage beyond an integer": {
			`data: {"choices":[],"usage":{"prompt_tokens":9223372036854775808,"completion_tokens":1,"total_tokens":1}}` + "\n\n" +
				`data: {"choices":[],"usage":{"prompt_tokens":"3","completion_tokens":1,"total_tokens":4}}` + "\n\n",
			Options{},
			Result{Code: api.EngineTruncated, Rejected: 2, Source: FromCounting, Estimated: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, tail, got := run(tc.opt, []byte(tc.in))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if tc.want.Code != "" && (!strings.Contains(string(tail), string(tc.want.Code)) || strings.Contains(string(tail), "[DONE]")) {
				t.Errorf("tail %s", tail)
			}
			if tc.opt.Responses && tc.want.Code == "" && len(tail) != 0 {
				t.Errorf("tail %s", tail)
			}
		})
	}
}

func TestWholeAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want api.Code
		use  Usage
	}{
		"complete":       {`{"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}`, "", Usage{3, 0, 1, 0}},
		"embedding":      {`{"data":[],"usage":{"prompt_tokens":3,"total_tokens":3}}`, "", Usage{Prompt: 3}},
		"integer code":   {`{"error":{"code":400,"message":"x"}}`, api.EngineError, Usage{Prompt: 9}},
		"aborted":        {`{"choices":[{"finish_reason":"abort"}],"usage":null}`, api.EngineAbort, Usage{Prompt: 9, Completion: 1}},
		"no end":         {`{"choices":[{"finish_reason":"stop"},{"finish_reason":null}],"usage":null}`, api.EngineTruncated, Usage{Prompt: 9, Completion: 2}},
		"a choice short": {`{"choices":[{"finish_reason":"stop"}],"usage":null}`, api.EngineTruncated, Usage{Prompt: 9, Completion: 1}},
		"a choice more":  {`{"choices":[{"finish_reason":"stop"},{"finish_reason":"stop"},{"finish_reason":"stop"}],"usage":null}`, api.EngineTruncated, Usage{Prompt: 9, Completion: 3}},
		"no choice":      {`{"choices":[],"usage":{"prompt_tokens":3,"total_tokens":3}}`, api.EngineTruncated, Usage{Prompt: 3}},
		"not JSON":       {`<html>`, api.MalformedEvent, Usage{Prompt: 9}},
		"duplicate keys": {`{"usage":1,"usage":2}`, api.MalformedEvent, Usage{Prompt: 9}},
	} {
		t.Run(name, func(t *testing.T) {
			opt := Options{PromptTokens: 9}
			if strings.HasPrefix(name, "a choice") {
				opt.Choices = 2
			}
			out, res := wholly([]byte(tc.in), opt)
			if res.Code != tc.want || res.Usage != tc.use || (out == nil) == (tc.want == "") {
				t.Errorf("%s %+v", out, res)
			}
			if tc.want == "" && string(out) != tc.in {
				t.Errorf("the bytes changed: %s", out)
			}
		})
	}
}

// TestAWholeAnswerHasAUsage: what is no usage gives way to what was metered, as at the end of a stream; nothing else changes.
func TestAWholeAnswerHasAUsage(t *testing.T) {
	const head, ours = `{"choices":[{"finish_reason":"stop"}]`, `{"prompt_tokens":9,"completion_tokens":1,"total_tokens":10`
	for name, usage := range map[string]string{
		"absent": "", "null": `,"usage":null`, "a word": `,"usage":"many"`, "negative": `,"usage":{"prompt_tokens":-3,"completion_tokens":1,"total_tokens":-2}`,
		"beyond 2^63": `,"usage":{"prompt_tokens":9223372036854775808,"completion_tokens":1,"total_tokens":9223372036854775809}`,
	} {
		t.Run(name, func(t *testing.T) {
			out, res := wholly([]byte(head+usage+"}"), Options{PromptTokens: 9})
			if string(out) != head+`,"usage":`+ours+"}}" || res.Source != FromCounting || !res.Estimated || !res.AppendedUsage {
				t.Errorf("%s %+v", out, res)
			}
			priced, _ := wholly([]byte(head+usage+"}"), Options{PromptTokens: 9, Cost: func(Usage) Cost { return Cost{9, 1} }})
			if !strings.HasPrefix(string(priced), head+`,"usage":`+ours+`,"prompt_total_cost":9`) {
				t.Errorf("%s", priced)
			}
		})
	}
}

// wholly meters one answer that is not a stream.
func wholly(body []byte, opt Options) ([]byte, Result) {
	m := New(opt)
	out := m.Whole(body)
	return out, m.Result()
}

// FuzzMeter: what goes on and what is found do not depend on how the stream is cut, tokens stay in range, and a stream
// that is not complete never ends like one that is.
func FuzzMeter(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add([]byte(v.Input), uint(7), v.Caller.IncludeUsage)
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint, ask bool) {
		opt := Options{IncludeUsage: ask, PromptTokens: 5, Cost: func(u Usage) Cost { return Cost{Prompt: u.Prompt} }}
		whole, tail, res := run(opt, in)
		at := int(cut % uint(len(in)+1))
		parts, tail2, res2 := run(opt, in[:at], in[at:])
		if !bytes.Equal(whole, parts) || !bytes.Equal(tail, tail2) || !cmp.Equal(res, res2) {
			t.Fatalf("cut at %d:\n%s\n%s\n%s\n%s", at, whole, parts, tail, tail2)
		}
		u := res.Usage
		if u.Prompt < 0 || u.Cached < 0 || u.Completion < 0 || u.Reasoning < 0 || u.Cached > u.Prompt || u.Reasoning > u.Completion {
			t.Fatalf("%+v", u)
		}
		if done := bytes.Contains(tail, []byte("[DONE]")); done != (res.Code == "") {
			t.Fatalf("code %q, tail %s", res.Code, tail)
		}
	})
}

func BenchmarkEvent(b *testing.B) {
	chunk := []byte(`data: {"id":"chatcmpl-0123456789","object":"chat.completion.chunk","created":1795000000,"model":"m","choices":[{"index":0,"delta":{"content":" word"},"logprobs":null,"finish_reason":null}],"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}` + "\n\n")
	m := New(Options{})
	out := make([]byte, 0, 4096)
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		out = m.Append(out[:0], chunk)
		if len(out) == 0 {
			b.Fatal(m.Result().Code)
		}
	}
}

// TestChoicesAreCountedOnce: the set of choices is one, for any number of them.
func TestChoicesAreCountedOnce(t *testing.T) {
	var s set
	want := make(map[int64]bool)
	for _, i := range []int64{0, 0, 1, 63, 64, 63, 64, 1 << 40, 5, 1<<63 - 1} {
		s.add(i)
		want[i] = true
		if s.size() != int64(len(want)) {
			t.Errorf("%d of %d", s.size(), len(want))
		}
	}
}

func BenchmarkWhole(b *testing.B) {
	body := []byte(`{"id":"chatcmpl-0123456789","object":"chat.completion","created":1795000000,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"` +
		strings.Repeat("a word or two, ", 60) + `"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":3,"total_tokens":15}}`)
	opt := Options{Cost: func(u Usage) Cost { return Cost{Prompt: 20 * u.Prompt, Completion: 160 * u.Completion} }}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	var m Meter
	var out []byte
	for b.Loop() {
		m = Meter{}
		m.Begin(opt)
		if out = m.Whole(body); m.Failed() || len(out) == 0 {
			b.Fatal(m.Result().Code)
		}
	}
}
