package gateway

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
)

// TestTheSurfaceIsThatOfTheTable goes through the table of inference.md section 3: every path with every method.
func TestTheSurfaceIsThatOfTheTable(t *testing.T) {
	w := start(t, setup{}, newScripted("p1", 5, good))
	zeros := strings.Repeat("0", 64)
	for path, tc := range map[string]struct {
		method string
		// status is that of the method without a body: an empty body is no JSON, and no document has these names.
		status int
	}{
		"/v1/chat/completions":           {"POST", 415},
		"/v1/completions":                {"POST", 415},
		"/v1/embeddings":                 {"POST", 415},
		"/v1/responses":                  {"POST", 415},
		"/v1/audio/transcriptions":       {"POST", 415},
		"/v1/models":                     {"GET", 200},
		"/v1/models/org/model@c:r":       {"GET", 200},
		"/v1/models/org%2Fmodel@c:r":     {"GET", 200},
		"/v1/models/org%2fmodel%40c%3Ar": {"GET", 200},
		"/v1/models/org%252Fmodel@c:r":   {"GET", 404}, // decoded once
		"/v1/aci/attestation":            {"GET", 200},
		"/v1/aci/receipts/" + zeros:      {"GET", 404},
		"/v1/receipts/" + zeros:          {"GET", 404},
		"/v1/aci/sessions":               {"GET", 200},
		"/v1/aci/sessions/" + zeros:      {"GET", 404},
		"/v1/attestation/report":         {"GET", 200},
		"/v1/signature/chat-none":        {"GET", 404},
		"/healthz":                       {"GET", 200},
		"/readyz":                        {"GET", 200},
		"/metrics":                       {"GET", 200},
		"/stats":                         {"GET", 200},
		"/jsonstats":                     {"GET", 200},
		"/v1":                            {"", 404},
		"/v1/":                           {"", 404},
		"/v1/models/":                    {"", 404},
		"/v1/aci/receipts/":              {"", 404},
		"/v1/Models":                     {"", 404},
		"/v1/models/../chat/completions": {"GET", 404}, // a name of no model
		"/v1/messages":                   {"", 404},    // optional, and no engine here has it
		"/v1/files":                      {"", 404},
		"/request/topup":                 {"", 404}, // the reference's, which is the operators' listener's now
		"/perf":                          {"", 404},
		"/v1/chat/completions%00":        {"", 404},
		"/v1/chat%2Fcompletions":         {"POST", 415}, // the same path, spelt otherwise
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			r := w.do(method, path, "")
			if r.err != nil {
				t.Fatalf("%s %s: %v", method, path, r.err)
			}
			want := tc.status
			switch {
			case method == "OPTIONS":
				want = 204
			case tc.method == "":
				want = 404
			case method != tc.method && (method != "HEAD" || tc.method != "GET"):
				want = 405
			}
			if r.status != want {
				t.Errorf("%s %s: status %d, want %d: %.200s", method, path, r.status, want, r.body)
			}
			allow := r.header.Get("Allow")
			if want == 405 && (allow != tc.method+", OPTIONS" || method != "HEAD" && r.code(t) != "method_not_allowed") {
				t.Errorf("%s %s: Allow %q, %s", method, path, allow, r.body)
			}
			if want == 404 && tc.method == "" && method != "HEAD" && r.code(t) != "unknown_url" {
				t.Errorf("%s %s: %s", method, path, r.body)
			}
			if h := r.header; h.Get("Access-Control-Allow-Origin") != "" || h.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s %s: headers %v", method, path, h)
			}
		}
	}
}

// TestEveryRowOfTheErrorTable goes through the table of inference.md section 5.1 as an app sees it.
func TestEveryRowOfTheErrorTable(t *testing.T) {
	failing := func(code session.Code, text string) func(*scripted, *query) {
		return func(_ *scripted, q *query) { q.fail(code, text) }
	}
	answering := func(status int32, body string) func(*scripted, *query) {
		return func(_ *scripted, q *query) { q.head(status, "application/json", body, true) }
	}
	overlong := `{"error":{"message":"5000 tokens, the model takes 4096","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}`
	keyed := func(t *testing.T) setup {
		t.Helper()
		return setup{keys: book(t, `{"keys":[{"name":"a","sha256":"HASH0","tokens_per_day":1}]}`, "secret")}
	}
	broken := func(p *scripted, q *query) {
		q.head(200, "application/json", answerBody, true)
		q.receipt(p, func(r *receipt.Receipt) { r.Usage.Price++ })
	}
	type row struct {
		setup  func(t *testing.T) setup
		serve  func(*scripted, *query)
		header []string
		extra  string // of the request
		body   string // instead of a chat
		times  int    // how often the app asks; the last answer counts

		status     int
		kind, code string // code "" is null
		param      string
		retry      string // x-should-retry
		after      bool   // Retry-After and retry-after-ms
		says       string
	}
	none := func(*testing.T) setup { return setup{} }
	for name, tc := range map[string]row{
		"bad JSON":             {setup: none, body: `{"model"`, status: 400, kind: "invalid_request_error", code: "invalid_json"},
		"bad value":            {setup: none, extra: `,"max_tokens":0`, status: 400, kind: "invalid_request_error", code: "invalid_value", param: "max_tokens"},
		"unsupported field":    {setup: none, extra: `,"kv_transfer_params":{}`, status: 400, kind: "invalid_request_error", code: "unsupported_parameter", param: "kv_transfer_params"},
		"unsupported value":    {setup: none, extra: `,"service_tier":"priority"`, status: 400, kind: "invalid_request_error", code: "unsupported_value", param: "service_tier"},
		"remote media":         {setup: none, body: `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/y"}}]}]}`, status: 400, kind: "invalid_request_error", code: "remote_media_refused"},
		"context too long":     {setup: func(*testing.T) setup { return setup{receipt: shortly} }, serve: answering(400, overlong), status: 400, kind: "invalid_request_error", code: "context_length_exceeded", param: "messages", says: "4096"},
		"price cap too low":    {setup: none, serve: failing(651, "can run this query with coefficient=2500"), status: 400, kind: "invalid_request_error", code: "price_limit_exceeded", param: "max_coefficient", says: "2500"},
		"no key":               {setup: keyed, status: 401, kind: "authentication_error", code: "invalid_api_key"},
		"wrong key":            {setup: keyed, header: []string{"Authorization", "Bearer wrong"}, status: 401, kind: "authentication_error", code: "invalid_api_key"},
		"channel too low":      {setup: none, serve: failing(602, "client balance is too low: 5"), status: 402, kind: "insufficient_quota", code: "insufficient_quota", says: "cocoon client topup"},
		"channel too low, 651": {setup: none, serve: failing(651, "balance is too low"), status: 402, kind: "insufficient_quota", code: "insufficient_quota", says: "cocoon client topup"},
		"budget spent":         {setup: keyed, serve: good, header: []string{"Authorization", "Bearer secret"}, times: 2, status: 402, kind: "insufficient_quota", code: "key_budget_exceeded"},
		"unknown model":        {setup: none, serve: failing(621, "unknown model x"), status: 404, kind: "invalid_request_error", code: "model_not_found"},
		"pinned sessions":      {setup: none, serve: failing(602, "session_not_accepted: none of the pinned sessions can serve"), status: 412, kind: "session_not_accepted"},
		"busy":                 {setup: none, serve: failing(651, "no ready workers for model x: try again in 3 s"), status: 429, kind: "rate_limit_error", code: "rate_limit_exceeded", after: true},
		"too many queries":     {setup: none, serve: failing(602, "too many active queries"), status: 429, kind: "rate_limit_error", code: "rate_limit_exceeded", after: true},
		"no worker":            {setup: none, serve: failing(651, "no workers for model x"), status: 503, kind: "server_error", code: "no_workers", retry: "false"},
		"proxy disabled":       {setup: none, serve: failing(651, "proxy is disabled"), status: 503, kind: "server_error", code: "proxy_disabled"},
		"channel closing":      {setup: none, serve: failing(651, "client is closing"), status: 503, kind: "server_error", code: "channel_closing"},
		"config too old":       {setup: none, serve: failing(602, "active config version is too low"), status: 503, kind: "server_error", code: "config_version"},
		"nobody there":         {setup: func(*testing.T) setup { return setup{down: map[string]bool{"p1": true}, noWait: true} }, status: 503, kind: "server_error", code: "no_proxy", after: true},
		"nobody verified":      {setup: func(*testing.T) setup { return setup{refused: map[string]bool{"p1": true}, noWait: true} }, status: 503, kind: "upstream_verification_failed", retry: "false"},
		"worker lost":          {setup: none, serve: failing(602, "connection is dead"), status: 502, kind: "server_error", code: "worker_lost"},
		"out of order":         {setup: none, serve: failing(621, "out of order answer parts"), status: 502, kind: "server_error", code: "worker_protocol_error"},
		"engine error":         {setup: none, serve: failing(602, "engine_error: the engine failed"), status: 502, kind: "server_error", code: "engine_error"},
		"receipt invalid":      {setup: func(*testing.T) setup { return setup{mode: Require} }, serve: broken, status: 502, kind: "server_error", code: "receipt_invalid", retry: "false"},
		"deadline of a worker": {setup: none, serve: failing(652, "timeout"), status: 504, kind: "server_error", code: "timeout"},
		"deadline of the app":  {setup: none, serve: func(*scripted, *query) {}, extra: `,"timeout":0.05`, status: 504, kind: "server_error", code: "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			serve := tc.serve
			if serve == nil {
				serve = good
			}
			w := start(t, tc.setup(t), newScripted("p1", 5, serve))
			if name == "nobody verified" {
				w.until(func() bool { return w.stateOf("p1") == "refused" })
			}
			body := tc.body
			if body == "" {
				body = chatBody(tc.extra)
			}
			var r reply
			for range max(tc.times, 1) {
				r = w.do("POST", "/v1/chat/completions", body, tc.header...)
				w.until(func() bool { return w.server.record.active.Load() == 0 })
			}
			var whole struct {
				Error map[string]any `json:"error"`
			}
			if err := json.Unmarshal([]byte(r.body), &whole); err != nil || r.status != tc.status {
				t.Fatalf("got %d %s, %v", r.status, r.body, err)
			}
			for _, key := range []string{"message", "type", "param", "code"} {
				if _, ok := whole.Error[key]; !ok {
					t.Errorf("the error has no %s: %s", key, r.body)
				}
			}
			orNull := func(s string) any {
				if s == "" {
					return nil
				}
				return s
			}
			if e := whole.Error; e["type"] != tc.kind || e["code"] != orNull(tc.code) || tc.param != "" && e["param"] != tc.param {
				t.Errorf("error %v", e)
			}
			if !strings.Contains(fmt.Sprint(whole.Error["message"]), tc.says) {
				t.Errorf("message %q does not say %q", whole.Error["message"], tc.says)
			}
			if id := r.header.Get("X-Request-Id"); !strings.HasPrefix(id, "req_") || whole.Error["request_id"] != id && name != "context too long" {
				t.Errorf("id %q in the header, %v in the error", id, whole.Error["request_id"])
			}
			if got := r.header.Get("X-Should-Retry"); got != tc.retry {
				t.Errorf("x-should-retry %q, want %q", got, tc.retry)
			}
			if got := r.header.Get("Retry-After") != "" && r.header.Get("Retry-After-Ms") != ""; got != tc.after {
				t.Errorf("Retry-After %q, retry-after-ms %q", r.header.Get("Retry-After"), r.header.Get("Retry-After-Ms"))
			}
			if ct := r.header.Get("Content-Type"); ct != "application/json" || strings.Contains(r.body, canary) {
				t.Errorf("%s: %s", ct, r.body)
			}
		})
	}
}

// TestHeadersOfAnAnswer: those of inference.md section 3 are there, and none of the app's or the proxy's own get through.
func TestHeadersOfAnAnswer(t *testing.T) {
	p := newScripted("p1", 5, good)
	w := start(t, setup{keys: book(t, `{"keys":[{"name":"a","sha256":"HASH0","requests_per_minute":60,"tokens_per_day":1000}]}`, "secret")}, p)
	before := time.Now()
	r := w.do("POST", "/v1/chat/completions", chatBody(`,"unknown_a":1,"unknown_b":2`),
		"Authorization", "Bearer secret", "Cookie", "a=b", "Idempotency-Key", "k-1", "X-Forwarded-For", "10.9.9.9", "OpenAI-Organization", "org", "X-Stainless-Lang", "js")
	if r.status != 200 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	for name, want := range map[string]string{
		"X-Aci-Version": "aci/1", "X-Cocoon-Cost-Nano": "320", "X-Cocoon-Ignored-Params": "unknown_a,unknown_b", "X-Aci-Keyset-Digest": p.keyset().Digest(),
		"X-Ratelimit-Limit-Requests": "60", "X-Ratelimit-Remaining-Requests": "59", "X-Ratelimit-Limit-Tokens": "1000", "X-Ratelimit-Remaining-Tokens": "1000",
		"Content-Type": "application/json",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	id := r.header.Get("X-Receipt-Id")
	if len(id) != 64 || r.header.Get("X-Request-Id") != "req_"+id[:32] {
		t.Errorf("receipt %q, request %q", id, r.header.Get("X-Request-Id"))
	}
	for _, name := range []string{"X-Cocoon-Client-Start", "X-Cocoon-Client-End", "X-Cocoon-Proxy-Start", "X-Cocoon-Worker-End", "X-Ratelimit-Reset-Requests"} {
		if r.header.Get(name) == "" {
			t.Errorf("%s is missing", name)
		}
	}
	if got := r.header.Get("X-Cocoon-Client-Start"); got < unix(before) || len(got) != len("1735689600.000000") {
		t.Errorf("X-Cocoon-Client-Start %q", got)
	}
	if r.header.Get("Set-Cookie") != "" {
		t.Error("a header of the proxy's own got through")
	}
	q := p.requests()[0]
	if len(q.http.Headers) != 1 || http.CanonicalHeaderKey(q.http.Headers[0].Name) != "Content-Type" || !slices.Equal(q.http.Payload, []byte(chatBody(`,"unknown_a":1,"unknown_b":2`))) {
		t.Errorf("the proxy was sent %v and %s", q.http.Headers, q.http.Payload)
	}
}

// TestModelsSayWhatWorkersCost: the fields of inference.md section 3, and models without a worker only when asked for.
func TestModelsSayWhatWorkersCost(t *testing.T) {
	p := newScripted("p1", 5, good)
	worker := p.models[0].Workers[0]
	dear, full := worker, worker
	dear.Coefficient, full.Coefficient, full.ActiveRequests = 3000, 2000, 9
	p.models[0].Workers = append(p.models[0].Workers, dear, full)
	p.models = append(p.models, p.models[0])
	p.models[1].Name, p.models[1].Workers = "org/idle@c:r", nil
	w := start(t, setup{}, p)
	w.until(func() bool { return len(w.server.merged()) == 2 })
	var list struct {
		Object string           `json:"object"`
		Data   []map[string]any `json:"data"`
	}
	r := w.do("GET", "/v1/models", "")
	if err := json.Unmarshal([]byte(r.body), &list); err != nil || list.Object != "list" || len(list.Data) != 1 || strings.Count(r.body, `"object":"list"`) != 1 {
		t.Fatalf("%s, %v", r.body, err)
	}
	for name, want := range map[string]any{
		"id": "org/model@c:r", "object": "model", "owned_by": "cocoon", "coefficient_min": 1000.0, "coefficient_median": 2000.0, "coefficient_max": 3000.0,
		"workers_ready": 3.0, "slots_free": 6.0, "model_root": "r",
	} {
		if got := list.Data[0][name]; got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if created, ok := list.Data[0]["created"].(float64); !ok || created < 1_700_000_000 || created != float64(int64(created)) {
		t.Errorf("created %v", list.Data[0]["created"])
	}
	if workers, ok := list.Data[0]["workers"].([]any); !ok || len(workers) != 3 {
		t.Errorf("workers %v", list.Data[0]["workers"])
	}
	if r := w.do("GET", "/v1/models?all=1", ""); strings.Count(r.body, `"object":"model"`) != 2 || r.header.Get("Content-Type") != "application/json" {
		t.Errorf("with ?all=1: %s", r.body)
	}
}

// TestPagesOfTheListMayCall: the official JavaScript SDK in a browser asks before it sends its headers, and reads those that
// say when to try again.
func TestPagesOfTheListMayCall(t *testing.T) {
	w := start(t, setup{origins: []string{"https://app.example"}}, newScripted("p1", 5, good))
	r := w.do("OPTIONS", "/v1/chat/completions", "", "Origin", "https://app.example", "Access-Control-Request-Method", "POST",
		"Access-Control-Request-Headers", "authorization,content-type,x-stainless-os")
	for name, want := range map[string][]string{
		"Access-Control-Allow-Origin": {"https://app.example"}, "Access-Control-Allow-Methods": {"GET", "POST"}, "Access-Control-Max-Age": {"600"}, "Vary": {"Origin"},
		"Access-Control-Allow-Headers": {"Authorization", "Content-Type", "Idempotency-Key", "X-Stainless-Retry-Count", "X-Stainless-Timeout", "X-Stainless-Os", "X-Stainless-Helper-Method", ", *"},
	} {
		for _, part := range want {
			if !strings.Contains(r.header.Get(name), part) {
				t.Errorf("%s: %q lacks %s", name, r.header.Get(name), part)
			}
		}
	}
	if r.status != 204 || r.body != "" || r.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%d %v %q", r.status, r.header, r.body)
	}
	r = w.do("POST", "/v1/chat/completions", chatBody(""), "Origin", "https://app.example")
	for _, name := range []string{"x-request-id", "X-Receipt-Id", "retry-after-ms", "x-should-retry", "x-ratelimit-remaining-tokens"} {
		if r.status != 200 || !strings.Contains(r.header.Get("Access-Control-Expose-Headers"), name) {
			t.Errorf("%d: browsers may not read %s: %q", r.status, name, r.header.Get("Access-Control-Expose-Headers"))
		}
	}
	for _, origin := range []string{"https://app.example.evil", "http://app.example", "null", "https://app.example:444"} {
		if r := w.do("POST", "/v1/chat/completions", chatBody(""), "Origin", origin); r.header.Get("Access-Control-Allow-Origin") != "" || r.header.Get("Vary") != "Origin" {
			t.Errorf("%s: %v", origin, r.header)
		}
	}
}

// TestAFaultOfTheProgramIsLogged: a request that panics ends its connection alone, and the log says where, without the prompt.
func TestAFaultOfTheProgramIsLogged(t *testing.T) {
	w := start(t, setup{}, newScripted("p1", 5, good))
	broken := &Server{surface: w.server.surface, cfg: Config{Log: w.server.cfg.Log}} // it has no clock
	h := broken.Handler()
	fault := func() (v any) {
		defer func() { v = recover() }()
		r := httptest.NewRequest(http.MethodPost, "/v1/chat/completions", strings.NewReader(chatBody("")))
		r.Header.Set("Content-Type", "application/json")
		h.ServeHTTP(httptest.NewRecorder(), r)
		return nil
	}
	if err, _ := fault().(error); !errors.Is(err, http.ErrAbortHandler) {
		t.Errorf("the server is told %v", err)
	}
	if text := w.log.String(); !strings.Contains(text, "fault of the program") || !strings.Contains(text, "infer.go") || strings.Contains(text, canary) {
		t.Errorf("the log says %s", text)
	}
}
