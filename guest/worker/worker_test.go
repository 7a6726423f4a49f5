package worker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/worker/meter"
)

// slotFree is the target of one second (inference.md section 8), with room for a machine that is busy with other tests: how
// long it took is logged.
const slotFree = patience / 2

func counts(prompt, completion int64) tl.TokensUsed {
	return tl.TokensUsed{PromptTokensUsed: prompt, CompletionTokensUsed: completion, TotalTokensUsed: prompt + completion}
}

// TestStream: the engine's bytes go on, usage is metered and signed, and the engine got its bound.
func TestStream(t *testing.T) {
	k := newKit(t, nil)
	p := k.connect(5)
	body := chat(true, "hi")
	a := p.run(1, call{body: body})
	if a.code != 0 || a.head.StatusCode != http.StatusOK || len(a.head.Payload) != 0 || a.final.TokensUsed != counts(5, 3) || a.statement.Status != 0 {
		t.Fatalf("code %d %s, %+v, %+v", a.code, a.text, a.final, a.statement)
	}
	text := string(a.body)
	if strings.Count(text, `"content":"a"`) != 3 || strings.Contains(text, "usage") || !strings.HasSuffix(text, "data: [DONE]\n\n") {
		t.Errorf("body:\n%s", text)
	}
	k.checkStatement(idOf(1), body, a)
	if *a.final.WorkerEndTime < *a.final.WorkerStartTime || a.final.WorkerDebug == nil || strings.Contains(*a.final.WorkerDebug, canary) {
		t.Errorf("final info %+v", a.final)
	}
	var sent map[string]any
	if err := json.Unmarshal(k.engine.LastBody(), &sent); err != nil {
		t.Fatal(err)
	}
	options, _ := sent["stream_options"].(map[string]any)
	if sent["model"] != "model" || sent["max_tokens"] != 50.0 || options["continuous_usage_stats"] != true {
		t.Errorf("the engine got %v", sent)
	}
}

// TestUsageEventWithCost: a caller who asks gets usage with the reference's cost fields.
func TestUsageEventWithCost(t *testing.T) {
	k := newKit(t, func(c *Config, _ *Deps) { c.CostFields = true })
	p := k.connect(5)
	body := `{"model":"test/model@commit","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"x"}]}`
	a := p.run(1, call{body: body, coefficient: 1500})
	if !bytes.Contains(a.body, []byte(`"prompt_total_cost":140,"completion_total_cost":80,"total_cost":220`)) {
		t.Errorf("body:\n%s", a.body)
	}
	k.checkStatement(idOf(1), body, a)
}

// TestWhole: an answer that is no stream is in the head; a large one follows it in parts.
func TestWhole(t *testing.T) {
	k := newKit(t, nil)
	p := k.connect(5)
	body := chat(false, "hi")
	a := p.run(1, call{body: body})
	if a.parts != 0 || a.head.StatusCode != http.StatusOK || a.final.TokensUsed != counts(5, 3) || !json.Valid(a.body) {
		t.Errorf("%d parts, %+v", a.parts, a.final)
	}
	k.checkStatement(idOf(1), body, a)
	large := chat(false, "fault:huge-whole")
	a = p.run(2, call{body: large})
	if a.parts < 4 || len(a.head.Payload) != 0 || len(a.body) < 1<<20 || !json.Valid(a.body) {
		t.Errorf("%d parts, %d bytes", a.parts, len(a.body))
	}
	k.checkStatement(idOf(2), large, a)
}

// TestVersions: each version gets the messages it knows, with the reference's counts below our own.
func TestVersions(t *testing.T) {
	for version := range int32(6) {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			k := newKit(t, func(c *Config, _ *Deps) { c.MinVersion, c.MaxVersion = 0, 5 })
			p := k.connect(version)
			if version == 0 {
				checkOldMessages(t, p)
				return
			}
			a := p.run(1, call{body: chat(true, "hi"), coefficient: 2000})
			want := tl.TokensUsed{PromptTokensUsed: 10, CompletionTokensUsed: 6, TotalTokensUsed: 16} // adjusted
			if version >= versionOurs {
				want = counts(5, 3)
			}
			if a.final.TokensUsed != want || (a.final.WorkerStartTime != nil) != (version >= 2) || (a.statement != nil) != (version >= 5) {
				t.Errorf("%+v, %+v", a.final, a.statement)
			}
			select {
			case o := <-p.packets:
				t.Errorf("unexpected %s", o.TLName())
			case <-time.After(20 * time.Millisecond):
			}
		})
	}
}

func checkOldMessages(t *testing.T, p *proxy) {
	t.Helper()
	id := p.query(1, call{body: chat(true, "hi")})
	if head, ok := p.next().(*tl.ProxyQueryAnswer); !ok || head.RequestID != id || head.IsCompleted {
		t.Errorf("head %+v", head)
	}
	for {
		part, ok := p.next().(*tl.ProxyQueryAnswerPart)
		if !ok {
			t.Fatal("no part")
		}
		if part.IsCompleted {
			if part.TokensUsed != counts(5, 3) {
				t.Errorf("counts %+v", part.TokensUsed)
			}
			break
		}
	}
	p.query(2, call{body: chat(true, "hi"), timeout: -1})
	if e, ok := p.next().(*tl.ProxyQueryAnswerError); !ok || e.ErrorCode != int32(session.CodeProtocol) {
		t.Errorf("error %+v", e)
	}
	p.query(3, call{body: chat(true, "fault:endless"), timeout: 0.3})
	for {
		switch o := p.next().(type) {
		case *tl.ProxyQueryAnswer:
		case *tl.ProxyQueryAnswerPart:
			if o.IsCompleted {
				return
			}
		default:
			t.Fatalf("%+v", o)
		}
	}
}

// TestRefusedVersion: a pick outside of the offer ends the connection.
func TestRefusedVersion(t *testing.T) {
	for name, pick := range map[string]int32{"below": 0, "above": 6, "negative": -1} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, nil)
			p := k.accept(pick, nil)
			p.wait()
			if k.w.Status().Reason == "" {
				t.Error("ready")
			}
		})
	}
}

// TestFaults: what each behaviour of an engine becomes. Nothing that broke looks whole, and it costs what was seen.
func TestFaults(t *testing.T) {
	const whole, inBand, refusal, failed = "whole", "in band", "refusal", "failed"
	for name, tc := range map[string]struct {
		kind   string
		tokens tl.TokensUsed
		inside string
	}{
		"good": {whole, counts(5, 3), "[DONE]"}, "slow-head": {whole, counts(5, 3), ""}, "slow-first": {whole, counts(5, 3), ""},
		"slow-gaps": {whole, counts(5, 20), ""}, "burst": {whole, counts(5, 100), "[DONE]"}, "crlf": {whole, counts(5, 3), "[DONE]"},
		"no-done": {whole, counts(5, 3), "[DONE]"}, "one-byte": {whole, counts(5, 3), "[DONE]"}, "closing": {whole, counts(5, 3), ""},
		"no-finish":        {inBand, counts(5, 3), "engine_truncated"},
		"cut-in-chunk":     {inBand, counts(5, 2), "engine_truncated"},
		"cut-after-tokens": {inBand, counts(5, 3), "engine_truncated"},
		"error-event":      {inBand, counts(5, 2), "engine_error"},
		"finish-abort":     {inBand, counts(5, 2), "engine_abort"},
		"endless":          {inBand, counts(5, 2), "engine_error"},
		"huge-event":       {inBand, tl.TokensUsed{}, "event_too_large"},
		"large-event":      {whole, counts(5, 1), "zzz"},
		"usage-twice":      {inBand, tl.TokensUsed{}, "malformed_event"},
		"usage-lying":      {whole, counts(5, 50), ""},
		"usage-decreasing": {whole, counts(9, 4), ""},
		"usage-cached":     {whole, tl.TokensUsed{PromptTokensUsed: 5, CachedTokensUsed: 5, CompletionTokensUsed: 2, TotalTokensUsed: 7}, ""},
		"usage-absent":     {whole, tl.TokensUsed{}, ""}, "usage-null": {whole, tl.TokensUsed{}, ""},
		"usage-negative": {whole, tl.TokensUsed{}, ""}, "usage-string": {whole, tl.TokensUsed{}, ""},
		"usage-huge": {whole, tl.TokensUsed{}, ""}, "usage-sum": {whole, tl.TokensUsed{}, ""},
		"status-400": {refusal, tl.TokensUsed{}, `"code":"invalid_value"`},
		"context":    {refusal, tl.TokensUsed{}, `"code":"context_length_exceeded"`},
		"status-500": {failed, tl.TokensUsed{}, "engine error"}, "status-429": {failed, tl.TokensUsed{}, "no ready workers for model"},
		"cut-in-head": {failed, counts(0, 0), "engine error"}, "gzip": {failed, counts(0, 0), "engine error"},
		"redirect": {failed, tl.TokensUsed{}, "engine error"}, "huge-header": {failed, counts(0, 0), "engine error"},
		"wrong-type": {failed, counts(0, 0), "engine error"}, "ndjson": {failed, counts(0, 0), "engine error"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t, nil)
			p := k.connect(5)
			body := chat(true, "fault:"+name)
			if name == "burst" {
				body = strings.Replace(body, `"max_tokens":50`, `"max_tokens":100`, 1)
			}
			a := p.run(1, call{body: body})
			kind := failed
			switch {
			case a.code == 0 && a.statement.Status == 0:
				kind = whole
			case a.code == 0 && a.statement.Status == 4:
				kind = inBand
			case a.code == 0 && a.statement.Status == 5:
				kind = refusal
			}
			if kind != tc.kind {
				t.Fatalf("%s; code %d %s, statement %d", kind, a.code, a.text, a.statement.Status)
			}
			if !strings.Contains(string(a.body)+a.text, tc.inside) {
				t.Errorf("no %q in %.300s", tc.inside, string(a.body)+a.text)
			}
			if done := bytes.Contains(a.body, []byte("[DONE]")); done != (kind == whole) {
				t.Errorf("[DONE]: %v", done)
			}
			if (kind == failed || kind == refusal) && a.final.TokensUsed != (tl.TokensUsed{}) {
				t.Errorf("an engine that gave nothing is billed: %+v", a.final.TokensUsed)
			}
			if got := a.final.TokensUsed; tc.tokens.TotalTokensUsed > 0 && got != tc.tokens || got.PromptTokensUsed < 0 || got.CompletionTokensUsed > 100 {
				t.Errorf("billed %+v", got)
			}
			k.checkStatement(idOf(1), body, a)
			if again := p.run(2, call{body: chat(false, "next")}); again.code != 0 || again.head.StatusCode != http.StatusOK {
				t.Errorf("the next request: %d %s", again.code, again.text)
			}
		})
	}
}

// TestCancel: the engine's slot is free at once, before and after the first token, streaming or not, and what was generated is
// billed.
func TestCancel(t *testing.T) {
	for name, tc := range map[string]struct {
		body  string
		parts int
	}{
		"stream, before the head":    {chat(true, "fault:hang-head"), 0},
		"stream, after first tokens": {chat(true, "fault:endless"), 4},
		"whole, before the head":     {chat(false, "fault:hang-head"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, nil)
			p := k.connect(5)
			tc.body = strings.Replace(tc.body, `"max_tokens":50`, `"max_tokens":4000`, 1)
			id := p.query(1, call{body: tc.body})
			// The engine is also asked whether it is well: that is not the query.
			k.until("active", func() bool {
				return k.engine.Active.Load() == 1 && bytes.Contains(k.engine.LastBody(), []byte("fault:"))
			})
			var early []tl.Object
			for seen := 0; seen < tc.parts; {
				o := p.next()
				if _, ok := o.(*tl.ProxyQueryAnswerPartEx); ok {
					seen++
				}
				early = append(early, o)
			}
			began := time.Now()
			p.send(&tl.ProxyCancelQuery{RequestID: id})
			k.until("slot free", func() bool { return k.engine.Active.Load() == 0 })
			t.Logf("slot free after %s", time.Since(began))
			var last *tl.ProxyQueryAnswerErrorEx
			for last == nil {
				last, _ = p.next().(*tl.ProxyQueryAnswerErrorEx)
			}
			u := last.FinalInfo.TokensUsed
			if last.ErrorCode != int32(session.CodeCancelled) || u.PromptTokensUsed == 0 || (len(early) > 0) != (u.CompletionTokensUsed > 0) {
				t.Errorf("%+v, billed %+v", last, u)
			}
			if st, ok := p.next().(*tl.ProxyQueryStatement); !ok || st.Status != 1 {
				t.Errorf("statement %+v", st)
			}
			k.until("the engine saw a cancellation", func() bool { return k.engine.Cancelled.Load() == 1 })
			p.send(&tl.ProxyCancelQuery{RequestID: id}) // of a query that is over: ignored
			if a := p.run(2, call{body: chat(false, "next")}); a.code != 0 {
				t.Errorf("the next request: %d %s", a.code, a.text)
			}
		})
	}
}

// TestDeadline: a deadline after half a stream ends it in band, and half a stream is billed.
func TestDeadline(t *testing.T) {
	t.Parallel()
	k := newKit(t, nil)
	p := k.connect(5)
	body := strings.Replace(chat(true, "fault:endless"), `"max_tokens":50`, `"max_tokens":4000`, 1)
	a := p.run(1, call{body: body, timeout: 1})
	if a.code != 0 || a.statement.Status != 2 || !bytes.Contains(a.body, []byte(`"code":"timeout"`)) || bytes.Contains(a.body, []byte("[DONE]")) {
		t.Fatalf("%d %s, %+v\n%s", a.code, a.text, a.statement, a.body)
	}
	if u := a.final.TokensUsed; u != counts(5, 2) {
		t.Errorf("billed %+v", u)
	}
	k.checkStatement(idOf(1), body, a)
	if a = p.run(2, call{body: chat(true, "fault:hang-head"), timeout: 1}); a.code != int32(session.CodeTimeout) || a.final.TokensUsed.PromptTokensUsed == 0 {
		t.Errorf("before the head: %d %s, %+v", a.code, a.text, a.final)
	}
	k.until("slots free", func() bool { return k.engine.Active.Load() == 0 })
}

// TestHostileNumbers: negative, huge and impossible numbers of a proxy are refused before anything is calculated.
func TestHostileNumbers(t *testing.T) {
	k := newKit(t, nil)
	p := k.connect(5)
	n := uint32(0)
	for name, c := range map[string]call{
		"negative coefficient": {coefficient: -1}, "coefficient of 10^9": {coefficient: 1_000_000_000},
		"smallest coefficient": {coefficient: math.MinInt64}, "largest coefficient": {coefficient: math.MaxInt64},
		"negative timeout": {timeout: -1}, "timeout that is no number": {timeout: math.NaN()}, "endless timeout": {timeout: math.Inf(1)},
		"no http.request": {raw: []byte{1, 2, 3}}, "another object": {raw: tl.Encode(&tl.TCPPing{})},
		"a bad request id": {body: chat(false, "x"), headers: []tl.HTTPHeader{{Name: "x-cocoon-request-id", Value: "zz"}}},
	} {
		n++
		id := p.query(n, c)
		e, ok := p.next().(*tl.ProxyQueryAnswerErrorEx)
		if !ok || e.ErrorCode != int32(session.CodeProtocol) || e.RequestID != id || e.FinalInfo.TokensUsed != (tl.TokensUsed{}) {
			t.Errorf("%s: %+v", name, e)
		}
		if c.raw == nil && c.headers == nil { // the request could be read: its refusal is stated too
			if st, ok := p.next().(*tl.ProxyQueryStatement); !ok || st.Status != 5 {
				t.Errorf("%s: statement %+v", name, st)
			}
		}
	}
	for name, value := range map[string]string{"negative": "-1000000", "zero": "0", "huge": "2147483648", "beyond": "9223372036854775808", "fraction": "1.5"} {
		n++
		body := strings.Replace(chat(false, "x"), `"max_tokens":50`, `"max_tokens":`+value, 1)
		if a := p.run(n, call{body: body}); a.head == nil || a.head.StatusCode != http.StatusBadRequest || a.statement.Status != 5 {
			t.Errorf("max_tokens %s: %+v", name, a)
		}
	}
	if a := p.run(1000, call{body: chat(false, "x"), timeout: math.MaxFloat64, coefficient: 999_999_999}); a.code != 0 {
		t.Errorf("the largest values: %d %s", a.code, a.text)
	}
}

// TestRefusals: the policy is checked once more, and each refusal is an answer that costs nothing.
func TestRefusals(t *testing.T) {
	k := newKit(t, nil)
	p := k.connect(5)
	msg := `"messages":[{"role":"user","content":"x"}]`
	n := uint32(0)
	for name, tc := range map[string]struct {
		c      call
		status int32
		code   string
	}{
		"duplicate keys":    {call{body: `{"model":"test/model","model":"b",` + msg + `}`}, 400, "invalid_json"},
		"another model":     {call{body: `{"model":"other",` + msg + `}`}, 404, "model_not_found"},
		"a remote picture":  {call{body: `{"model":"test/model","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://192.0.2.1/a"}}]}]}`}, 400, "remote_media_refused"},
		"a template":        {call{body: `{"model":"test/model","chat_template":"x",` + msg + `}`}, 400, "unsupported_parameter"},
		"a forged salt":     {call{body: `{"model":"test/model","cache_salt":"x",` + msg + `}`}, 400, "invalid_value"},
		"an unknown path":   {call{path: "/v1/update_weights", body: `{}`}, 404, "unknown_url"},
		"metrics by a peer": {call{path: "/metrics", body: `{}`}, 404, "unknown_url"},
		"a path with dots":  {call{path: "/v1/chat/completions/../../metrics", body: `{}`}, 404, "unknown_url"},
		"multipart":         {call{body: `{}`, headers: []tl.HTTPHeader{{Name: "content-type", Value: "multipart/form-data"}}}, 415, "unsupported_media_type"},
		"too many choices":  {call{body: `{"model":"test/model","n":9,` + msg + `}`}, 400, "invalid_value"},
	} {
		n++
		a := p.run(n, tc.c)
		var doc struct {
			Error struct {
				Code    string
				Request string `json:"request_id"`
			}
		}
		if err := json.Unmarshal(a.body, &doc); err != nil || a.head.StatusCode != tc.status || doc.Error.Code != tc.code || len(doc.Error.Request) != 36 {
			t.Errorf("%s: %d %s, %v", name, a.head.StatusCode, a.body, err)
		}
		if a.final.TokensUsed != (tl.TokensUsed{}) || a.statement.Status != 5 {
			t.Errorf("%s: %+v, %+v", name, a.final, a.statement)
		}
		k.checkStatement(idOf(n), tc.c.body, a)
	}
	if k.engine.Requests.Load() != 1 { // the one of readiness
		t.Errorf("the engine saw %d requests", k.engine.Requests.Load())
	}
}

// TestSaltGoesToTheEngine: the proxy's salt passes the policy, and the client's id names the request in the statement.
func TestSaltGoesToTheEngine(t *testing.T) {
	k := newKit(t, nil)
	p := k.connect(5)
	salt := strings.Repeat("A", 43)
	body := `{"model":"test/model","cache_salt":"` + salt + `","user":"u","messages":[{"role":"user","content":"x"}]}`
	client := idOf(77)
	a := p.run(1, call{body: body, headers: []tl.HTTPHeader{{Name: requestIDHeader, Value: fmt.Sprintf("%X", client)}}})
	if a.head.StatusCode != http.StatusOK || !bytes.Contains(k.engine.LastBody(), []byte(salt)) || bytes.Contains(k.engine.LastBody(), []byte(`"user":"u"`)) {
		t.Errorf("%d, the engine got %s", a.head.StatusCode, k.engine.LastBody())
	}
	k.checkStatement(client, body, a)
}

// TestEndpoints: each endpoint's body is written for the engine, and only what the worker owns is changed.
func TestEndpoints(t *testing.T) {
	k := newKit(t, nil)
	p := k.connect(5)
	n := uint32(0)
	for name, tc := range map[string]struct{ path, body, want string }{
		"chat": {
			"/v1/chat/completions", `{"model":"test/model","max_completion_tokens":7,"max_tokens":9,"user":"u","messages":[ 1.50 ]}`,
			`{"model":"model","max_tokens":7,"messages":[ 1.50 ]}`,
		},
		"completions": {
			"/v1/completions", `{"model":"test/model","prompt":"x","stream":true,"n":2}`,
			`{"model":"model","prompt":"x","stream":true,"n":2,"max_tokens":4096,"stream_options":{"include_usage":true,"continuous_usage_stats":true}}`,
		},
		"embeddings": {"/v1/embeddings", `{"input":["a"],"model":"test/model"}`, `{"input":["a"],"model":"model"}`},
		"responses": {
			"/v1/responses", `{"model":"test/model","input":"x","max_output_tokens":9999}`, `{"model":"model","input":"x","max_output_tokens":4096,"store":false}`,
		},
	} {
		n++
		p.run(n, call{path: tc.path, body: strings.Replace(tc.body, "[ 1.50 ]", `[{"role":"user","content":"\u0041"}]`, 1)})
		if want := strings.Replace(tc.want, "[ 1.50 ]", `[{"role":"user","content":"\u0041"}]`, 1); string(k.engine.LastBody()) != want {
			t.Errorf("%s: the engine got\n%s, want\n%s", name, k.engine.LastBody(), want)
		}
	}
}

// TestCapacity: what is over the limit is refused with 651 at once, and a slot that becomes free is used.
func TestCapacity(t *testing.T) {
	k := newKit(t, func(c *Config, _ *Deps) { c.MaxActive, c.ProxyCount = 3, 2 }) // two per connection
	p := k.connect(5)
	for n := range uint32(2) {
		p.query(n, call{body: chat(true, "fault:hang-head")})
	}
	k.until("both active", func() bool { return k.engine.Active.Load() == 2 })
	a := p.run(2, call{body: chat(true, "x")})
	if a.code != int32(session.CodeNotReady) || a.text != "too many active queries" || a.statement.Status != 5 {
		t.Errorf("%d %s", a.code, a.text)
	}
	p.send(&tl.ProxyCancelQuery{RequestID: idOf(0)})
	p.collect(idOf(0))
	k.until("a slot", func() bool { return k.w.Status().Active == 1 })
	if a := p.run(3, call{body: chat(false, "x")}); a.code != 0 {
		t.Errorf("%d %s", a.code, a.text)
	}
}

// TestDuplicateID: a proxy that uses an id twice at once broke the protocol.
func TestDuplicateID(t *testing.T) {
	k := newKit(t, nil)
	p := k.connect(5)
	p.query(1, call{body: chat(true, "fault:hang-head")})
	p.query(1, call{body: chat(true, "x")})
	p.wait()
	k.until("slot free", func() bool { return k.engine.Active.Load() == 0 })
}

// TestCredit: the worker sends one window and waits; a reader that gives nothing for too long is cancelled and pays.
func TestCredit(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(c *Config, _ *Deps) { c.Times.Slow = 2 * time.Second })
	p := k.connect(5)
	body := strings.Replace(chat(true, "fault:flood"), `"max_tokens":50`, `"max_tokens":4000`, 1)
	id := p.query(1, call{body: body})
	total, granted := 0, 0
	for {
		switch o := p.next().(type) {
		case *tl.ProxyQueryAnswerPartEx:
			if total += len(o.Answer); total > window+granted {
				t.Fatalf("%d bytes for a window of %d", total, window+granted)
			}
			if total == window {
				p.send(&tl.ProxyQueryCredit{RequestID: id, Bytes: 1000})
				granted += 1000
			}
		case *tl.ProxyQueryAnswerErrorEx:
			if total != window+1000 || o.ErrorCode != int32(session.CodeCancelled) || !strings.Contains(o.Error, "slow reader") || o.FinalInfo.TokensUsed.CompletionTokensUsed == 0 {
				t.Errorf("after %d bytes: %+v", total, o)
			}
			k.until("slot free", func() bool { return k.engine.Active.Load() == 0 })
			return
		}
	}
}

// TestBadCredit: credit that is no count ends the connection.
func TestBadCredit(t *testing.T) {
	for name, n := range map[string]int32{"negative": -1, "zero": 0} {
		t.Run(name, func(t *testing.T) {
			c := credit{left: window}
			if err := c.add(int64(n)); !errors.Is(err, errProtocol) {
				t.Errorf("%v", err)
			}
		})
	}
	c := credit{left: window}
	for range maxWindow/math.MaxInt32 + 1 {
		if c.add(math.MaxInt32) != nil {
			return
		}
	}
	t.Error("no bound")
}

// TestCreditThatComes: who takes waits for credit, and is told that it did.
func TestCreditThatComes(t *testing.T) {
	c := credit{left: 3}
	for _, step := range []struct {
		before int64
		want   int
		waited bool
	}{{0, 2, false}, {0, 1, false}, {5, 2, true}, {0, 2, true}} {
		if step.before > 0 {
			time.AfterFunc(time.Millisecond, func() {
				if err := c.add(step.before); err != nil {
					t.Error(err)
				}
			})
		}
		if n, err := c.take(t.Context(), 2, slotFree); n != step.want || err != nil || c.waited != step.waited {
			t.Errorf("%+v: %d, %v, waited %t", step, n, err, c.waited)
		}
	}
}

// TestPings: silence of the engine is filled with pings that the hash covers, towards our proxies alone.
func TestPings(t *testing.T) {
	for version, want := range map[int32]bool{5: true, 4: false} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			t.Parallel()
			k := newKit(t, func(c *Config, _ *Deps) { c.Times.Ping = 20 * time.Millisecond })
			p := k.connect(version)
			body := chat(true, "fault:slow-first")
			a := p.run(1, call{body: body})
			if got := bytes.Contains(a.body, []byte(": ping\n\n")); got != want {
				t.Errorf("pings %v:\n%s", got, a.body)
			}
			if version == 5 {
				k.checkStatement(idOf(1), body, a)
			}
		})
	}
}

// TestSilentEngine: an engine that stops talking ends the stream in band.
func TestSilentEngine(t *testing.T) {
	t.Parallel()
	k := newKit(t, func(c *Config, _ *Deps) { c.Times.Gap = time.Second })
	p := k.connect(5)
	a := p.run(1, call{body: chat(true, "fault:hang-body")})
	if a.code != 0 || a.statement.Status != 4 || !bytes.Contains(a.body, []byte("engine_error")) || a.final.TokensUsed != counts(5, 2) {
		t.Errorf("%d %s, %+v, %s", a.code, a.text, a.final, a.body)
	}
}

// TestStamps: a stamp is the wire's seconds, digit by digit.
func TestStamps(t *testing.T) {
	for _, us := range []int64{0, 1, 999_999, 1_000_000, 1_795_000_000_000_001, 1_795_000_000_100_000, 1_795_000_000_999_999} {
		at := time.UnixMicro(us)
		if got, want := stamp(at), strconv.FormatFloat(seconds(at), 'f', 6, 64); got != want {
			t.Errorf("%d: %s, want %s", us, got, want)
		}
	}
}

// TestTheAccountOfAQueryIsJSON: it reads back as what it was made of.
func TestTheAccountOfAQueryIsJSON(t *testing.T) {
	q := &query{began: time.UnixMilli(1000), firstByte: time.UnixMilli(1012)}
	used := meter.Result{Source: meter.FromPartial, Estimated: true, Rejected: 2, Events: 3}
	text := q.debug(outcome{status: receipt.Deadline, used: used})
	type account struct {
		Source    meter.Source   `json:"source"`
		Estimated bool           `json:"estimated"`
		Rejected  int            `json:"usage_rejected"`
		Events    int            `json:"events"`
		First     int64          `json:"ttft_ms"`
		Status    receipt.Status `json:"status"`
	}
	var got account
	if err := json.Unmarshal([]byte(text), &got); err != nil || got != (account{meter.FromPartial, true, 2, 3, 12, receipt.Deadline}) || len(text) > maxDebug {
		t.Errorf("%s: %+v, %v", text, got, err)
	}
}
