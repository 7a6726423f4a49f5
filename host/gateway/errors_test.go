package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/api"
	"cocoon/contracts/receipt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/host/gateway/upstream"
)

func TestErrorsOfPeersBecomeTheOnesOfTheTable(t *testing.T) {
	for name, tc := range map[string]struct {
		code   session.Code
		text   string
		status int
		want   api.Code
		again  again
		param  string
	}{
		"balance":            {602, "client balance is too low: 5", 402, api.InsufficientQuota, elsewhere, ""},
		"balance inside":     {651, "balance is too low", 402, api.InsufficientQuota, elsewhere, ""},
		"config":             {602, "active config version is too low", 503, api.ConfigVersion, elsewhere, ""},
		"closing":            {651, "client is closing", 503, api.ChannelClosing, elsewhere, ""},
		"disabled":           {651, "proxy is disabled", 503, api.ProxyDisabled, elsewhere, ""},
		"unknown model":      {621, "unknown model x", 404, api.ModelNotFound, elsewhere, ""},
		"no workers":         {651, "no workers for model x", 503, api.NoWorkers, elsewhere, ""},
		"busy":               {651, "no ready workers for model x", 429, api.RateLimitExceeded, elsewhere, ""},
		"too many":           {602, "too many active queries", 429, api.RateLimitExceeded, elsewhere, ""},
		"price":              {651, "can run this query with coefficient=1500", 400, api.PriceLimit, elsewhere, "max_coefficient"},
		"price, odd":         {651, "can run this query with coefficient=<b>", 400, api.PriceLimit, elsewhere, "max_coefficient"},
		"dead":               {602, "connection is dead", 502, api.WorkerLost, anywhere, ""},
		"key":                {602, "unknown public key", 503, api.EncryptionKeyUnknown, anywhere, ""},
		"slow reader":        {653, "cancelled: slow reader", 503, api.SlowReader, never, ""},
		"cancelled":          {653, "cancelled", 499, api.Cancelled, never, ""},
		"timeout":            {652, "timeout", 504, api.Timeout, elsewhere, ""},
		"unknown option":     {621, `unknown option "tools"`, 400, api.UnsupportedParameter, never, "tools"},
		"hostile option":     {621, "unknown option \"to\nols\"", 400, api.UnsupportedParameter, never, ""},
		"order":              {621, "out of order answer parts", 502, api.WorkerProtocol, never, ""},
		"malformed":          {621, "received malformed answer", 502, api.WorkerProtocol, never, ""},
		"not ready, other":   {651, "hm", 503, api.NoWorkers, elsewhere, ""},
		"something else":     {-3, "hm", 502, api.EngineError, elsewhere, ""},
		"code of ours":       {602, "session_not_accepted: none of the pinned sessions can serve", 412, api.SessionNotAccepted, never, ""},
		"no code of ours":    {602, "nonsense: text", 502, api.EngineError, elsewhere, ""},
		"code, hostile text": {602, "session_not_accepted: a\x00b", 502, api.EngineError, elsewhere, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e, row := translate(fmt.Errorf("x: %w", &session.QueryError{Code: tc.code, Message: tc.text}))
			if e.Status() != tc.status || e.Code != tc.want || row.again != tc.again || e.Param != tc.param || e.TL != int(tc.code) {
				t.Errorf("got %d %s again %d param %q TL %d", e.Status(), e.Code, row.again, e.Param, e.TL)
			}
			if strings.ContainsAny(e.Message, "<\n\x00") || e.Message == "" {
				t.Errorf("message %q", e.Message)
			}
		})
	}
	for text, want := range map[string]time.Duration{
		"no ready workers for model":                       time.Second,
		"no ready workers for model: try again in 27 s":    27 * time.Second,
		"no ready workers for model: try again in 0 s":     time.Second,
		"no ready workers for model: try again in 601 s":   time.Second,
		"no ready workers for model: try again in -5 s":    time.Second,
		"no ready workers for model: try again in 27 days": time.Second,
		"no workers for model: try again in 27 s":          0,
	} {
		if e, _ := translate(&session.QueryError{Code: 651, Message: text}); e.RetryAfter != want {
			t.Errorf("%q: a pause of %s, want %s", text, e.RetryAfter, want)
		}
	}
	for err, want := range map[error]api.Code{
		context.DeadlineExceeded: api.Timeout, upstream.ErrLost: api.WorkerLost, upstream.ErrSlow: api.SlowReader,
		upstream.ErrOrder: api.WorkerProtocol, upstream.ErrTooLarge: api.WorkerProtocol, io.EOF: api.WorkerProtocol,
	} {
		if e, _ := translate(fmt.Errorf("x: %w", err)); e.Code != want {
			t.Errorf("%v became %s", err, e.Code)
		}
	}
}

func TestWhatIsRefusedBeforeAnythingIsSent(t *testing.T) {
	p := newScripted("p1", 5, good)
	w := start(t, setup{}, p)
	big := `{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("x", api.MaxBody) + `"}]}`
	for name, tc := range map[string]struct {
		method, path, body string
		header             []string
		status             int
		code               string
	}{
		"no JSON":         {"POST", "/v1/chat/completions", "{", nil, 400, "invalid_json"},
		"twice":           {"POST", "/v1/chat/completions", `{"model":"a","model":"b","messages":[]}`, nil, 400, "invalid_json"},
		"negative tokens": {"POST", "/v1/chat/completions", chatBody(`,"max_tokens":-1`), nil, 400, "invalid_value"},
		"zero tokens":     {"POST", "/v1/chat/completions", chatBody(`,"max_tokens":0`), nil, 400, "invalid_value"},
		"negative price":  {"POST", "/v1/chat/completions", chatBody(`,"max_coefficient":-5`), nil, 400, "invalid_value"},
		"template":        {"POST", "/v1/chat/completions", chatBody(`,"chat_template":"x"`), nil, 400, "unsupported_parameter"},
		"media":           {"POST", "/v1/chat/completions", `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x/y"}}]}]}`, nil, 400, "remote_media_refused"},
		"too large":       {"POST", "/v1/chat/completions", big, nil, 413, "request_too_large"},
		"form":            {"POST", "/v1/chat/completions", "a=b", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"},
		"gzip":            {"POST", "/v1/chat/completions", chatBody(""), []string{"Content-Encoding", "gzip"}, 415, "unsupported_media_type"},
		"unknown path":    {"POST", "/v1/chat/completion", chatBody(""), nil, 404, "unknown_url"},
		"path and slash":  {"POST", "/v1/chat/completions/", chatBody(""), nil, 404, "unknown_url"},
		"double slash":    {"POST", "//v1/chat/completions", chatBody(""), nil, 404, "unknown_url"},
		"wrong method":    {"GET", "/v1/chat/completions", "", nil, 405, "method_not_allowed"},
		"post to models":  {"POST", "/v1/models", "{}", nil, 405, "method_not_allowed"},
		"unknown model":   {"GET", "/v1/models/org%2Fnone", "", nil, 404, "model_not_found"},
		"no receipt":      {"GET", "/v1/aci/receipts/00", "", nil, 404, "not_found"},
		"bad nonce":       {"GET", "/v1/aci/attestation?nonce=AB", "", nil, 400, "invalid_value"},
		"no session":      {"GET", "/v1/aci/sessions/" + strings.Repeat("0", 64), "", nil, 404, "not_found"},
		"bad session":     {"GET", "/v1/aci/sessions/xyz", "", nil, 400, "invalid_value"},
		"ECDSA":           {"GET", "/v1/signature/x?signing_algo=ecdsa", "", nil, 400, "invalid_value"},
		"traversal":       {"GET", "/v1/aci/receipts/..%2f..%2fetc", "", nil, 404, "not_found"},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.do(tc.method, tc.path, tc.body, tc.header...)
			if r.err != nil || r.status != tc.status || r.code(t) != tc.code {
				t.Fatalf("got %d %s %v", r.status, r.body, r.err)
			}
			if tc.status == 405 && r.header.Get("Allow") == "" {
				t.Error("no Allow")
			}
			if id := r.header.Get("X-Request-Id"); len(id) != len("req_")+32 || !strings.Contains(r.body, `"request_id":"`+id+`"`) {
				t.Errorf("request id %q in %s", id, r.body)
			}
			if strings.Contains(r.body, canary) {
				t.Error("the error quotes the prompt")
			}
		})
	}
	if n := len(p.requests()); n != 0 {
		t.Errorf("%d requests reached the proxy", n)
	}
}

// TestABodyIsAsLongAsTheOperatorAllows: the limit may be lower than the protocol's, and is told.
func TestABodyIsAsLongAsTheOperatorAllows(t *testing.T) {
	p := newScripted("p1", 5, good)
	w := start(t, setup{maxBody: int64(len(chatBody("")))}, p)
	if r := w.chat(""); r.status != 200 {
		t.Errorf("at the limit: %d %s", r.status, r.body)
	}
	if r := w.chat(" "); r.status != 413 || r.code(t) != "request_too_large" || !strings.Contains(r.body, strconv.Itoa(len(chatBody("")))) {
		t.Errorf("above it: %d %s", r.status, r.body)
	}
	if _, err := New(Config{MaxBody: api.MaxBody + 1}); err == nil || !strings.Contains(err.Error(), "MaxBody") {
		t.Errorf("a limit above the protocol's: %v", err)
	}
}

// TestNobodyWaitsForABodyThatDoesNotCome: what is refused without its body is refused while the body is still to come, or
// after the time that a body may take; a server left to itself reads the rest for as long as its sender likes.
func TestNobodyWaitsForABodyThatDoesNotCome(t *testing.T) {
	const patience = time.Second
	w := start(t, setup{body: patience}, newScripted("p1", 5, func(p *scripted, q *query) {
		<-time.After(2 * patience)
		good(p, q)
	}))
	if r := w.chat(""); r.status != 200 {
		t.Errorf("an answer may take longer than a body: %d %s %v", r.status, r.body, r.err)
	}
	const chat = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"
	for name, tc := range map[string]struct{ request, status string }{
		"a part of a body":       {chat + "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{", "400"},
		"a kind that is refused": {chat + "Content-Type: text/plain\r\nContent-Length: 100\r\n\r\n", "415"},
		"two encodings":          {chat + "Content-Type: application/json\r\nContent-Encoding: identity\r\nContent-Encoding: gzip\r\nContent-Length: 100\r\n\r\n", "415"},
		"no such path":           {"POST /v1/none HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n", "404"},
		"a page":                 {"GET /stats HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "200"},
		"half a head":            {"GET /stats HTTP/1.1\r\nHost:", ""},
		"too much is announced":  {chat + "Content-Type: application/json\r\nContent-Length: 10485761\r\n\r\n", "413"},
		"and asked for":          {chat + "Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 10485761\r\n\r\n", "413"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(w.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close() //nolint:errcheck // the test is over
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			if _, err := io.WriteString(conn, tc.request); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if err != nil {
				t.Fatalf("the connection was left open: %v", err)
			}
			if status, _, _ := strings.Cut(strings.TrimPrefix(string(answer), "HTTP/1.1 "), " "); status != tc.status {
				t.Errorf("answered with %.200q", answer)
			}
		})
	}
}

func TestAnErrorBeforeTheFirstByteIsAnHTTPError(t *testing.T) {
	p := newScripted("p1", 5, func(_ *scripted, q *query) { q.fail(651, "no ready workers for model x") })
	w := start(t, setup{}, p)
	for _, extra := range []string{"", `,"stream":true`} {
		r := w.chat(extra)
		var doc problem
		if err := json.Unmarshal([]byte(r.body), &doc); err != nil || r.status != 429 || doc.ErrorCode != 651 || doc.Error.Type != "rate_limit_error" {
			t.Fatalf("got %d %s", r.status, r.body)
		}
		if r.header.Get("Retry-After") != "1" || r.header.Get("Retry-After-Ms") != "1000" || r.header.Get("X-Request-Id") != doc.Error.RequestID || doc.Error.RequestID == "" {
			t.Errorf("headers %v", r.header)
		}
	}
}

func TestAStreamThatBreaksNeverEndsWhole(t *testing.T) {
	const begin = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"
	for name, tc := range map[string]struct {
		serve func(w *world, p *scripted, q *query)
		code  string
	}{
		"error of the proxy":  {func(_ *world, _ *scripted, q *query) { q.part(begin, false); q.fail(602, "connection is dead") }, "worker_lost"},
		"end without the end": {func(_ *world, _ *scripted, q *query) { q.part(begin, true) }, "engine_truncated"},
		"end inside an event": {func(_ *world, _ *scripted, q *query) { q.part(begin+"data: [DONE]\n", true) }, "engine_truncated"},
		"NDJSON":              {func(_ *world, _ *scripted, q *query) { q.part(begin+"{\"a\":1}\n", true) }, "worker_protocol_error"},
		"second head": {func(_ *world, _ *scripted, q *query) {
			q.part(begin, false)
			q.head(200, "text/event-stream", "", false)
		}, "worker_protocol_error"},
		"connection lost": {func(w *world, _ *scripted, q *query) {
			q.part(begin, false)
			<-w.began
			w.cut("p1")
		}, "worker_lost"},
		"silence": {func(_ *world, _ *scripted, q *query) { q.part(begin, false) }, "worker_lost"},
		"lost behind the last event": {func(w *world, _ *scripted, q *query) {
			q.part(begin+"data: [DONE]\n\n", false)
			<-w.began
			w.cut("p1")
		}, "worker_lost"},
		"error behind the last event": {func(_ *world, _ *scripted, q *query) {
			q.part(begin+"data: [DONE]\n\n", false)
			q.fail(602, "connection is dead")
		}, "worker_lost"},
		"silence behind the last event": {func(_ *world, _ *scripted, q *query) { q.part(begin+"data: [DONE]\n\n", false) }, "worker_lost"},
		"timeout of the proxy":          {func(_ *world, _ *scripted, q *query) { q.part(begin, false); q.fail(652, "timeout") }, "timeout"},
	} {
		t.Run(name, func(t *testing.T) {
			gap := time.Minute
			if strings.HasPrefix(name, "silence") {
				gap = 50 * time.Millisecond
			}
			var w *world
			w = start(t, setup{ping: 10 * time.Millisecond, gap: gap}, newScripted("p1", 5, func(p *scripted, q *query) {
				q.head(200, "text/event-stream", "", false)
				tc.serve(w, p, q)
			}))
			r := w.chat(`,"stream":true`)
			if r.status != 200 || r.err != nil {
				t.Fatalf("got %d %v %s", r.status, r.err, r.body)
			}
			rest := strings.TrimPrefix(r.body, begin)
			if strings.Contains(r.body, "[DONE]") || !strings.HasPrefix(rest, "data: {") || !strings.HasSuffix(rest, "\n\n") {
				t.Fatalf("body %q", r.body)
			}
			got := reply{status: 200, body: strings.TrimPrefix(strings.TrimSuffix(rest, "\n\n"), "data: ")}
			if got.code(t) != tc.code {
				t.Errorf("got %s", rest)
			}
		})
	}
}

// cut ends the connection to a proxy at once.
func (w *world) cut(name string) {
	if c, ok := w.conns.Load(name); ok {
		if conn, ok := c.(interface{ Close() error }); ok {
			_ = conn.Close()
		}
	}
}

func TestAnErrorEventOfTheProxyIsTheLastWord(t *testing.T) {
	const body = "data: {\"choices\":[]}\n\ndata: {\"error\":{\"message\":\"m\",\"code\":\"engine_abort\"}}\n\n"
	w := start(t, setup{}, newScripted("p1", 5, func(_ *scripted, q *query) {
		q.head(200, "text/event-stream", "", false)
		q.part(body, false)
		q.fail(602, "connection is dead")
	}))
	if r := w.chat(`,"stream":true`); r.body != body || r.err != nil {
		t.Errorf("got %q %v", r.body, r.err)
	}
}

func TestFailoverBeforeTheFirstByteAndOnce(t *testing.T) {
	dead := func(_ *scripted, q *query) { q.fail(602, "connection is dead") }
	for name, tc := range map[string]struct {
		first, second func(*scripted, *query)
		status        int
		asked         [2]int
	}{
		"the other serves":  {dead, good, 200, [2]int{1, 1}},
		"both fail":         {dead, dead, 502, [2]int{1, 1}},
		"disabled":          {func(_ *scripted, q *query) { q.fail(651, "proxy is disabled") }, good, 200, [2]int{1, 1}},
		"out of time early": {func(_ *scripted, q *query) { q.fail(652, "timeout") }, good, 200, [2]int{1, 1}},
		"not retried":       {func(_ *scripted, q *query) { q.fail(621, "out of order answer parts") }, good, 502, [2]int{1, 0}},
		"answered already":  {func(_ *scripted, q *query) { q.head(500, "application/json", `{"error":{}}`, true) }, good, 500, [2]int{1, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			p1, p2 := newScripted("p1", 5, tc.first), newScripted("p2", 5, tc.second)
			w := start(t, setup{receipt: shortly}, p1, p2)
			w.until(func() bool { return len(w.server.models(false)) > 0 && w.server.models(false)[0].WorkersReady == 2 })
			r := w.chat("")
			if r.status != tc.status || [2]int{len(p1.requests()), len(p2.requests())} != tc.asked {
				t.Errorf("got %d %s, asked %d and %d", r.status, r.body, len(p1.requests()), len(p2.requests()))
			}
		})
	}
	t.Run("one proxy, anew", func(t *testing.T) {
		n := 0
		p := newScripted("p1", 5, func(p *scripted, q *query) {
			if n++; n == 1 {
				dead(p, q)
				return
			}
			good(p, q)
		})
		w := start(t, setup{}, p)
		if r := w.chat(""); r.status != 200 || n != 2 {
			t.Errorf("got %d after %d", r.status, n)
		}
		if a := p.requests(); a[0].RequestID == a[1].RequestID {
			t.Error("both attempts have one id")
		}
	})
}

func TestNothingGoesToAProxyThatIsNotVerified(t *testing.T) {
	p := newScripted("p1", 5, good)
	w := start(t, setup{unverified: true, noWait: true}, p)
	w.until(func() bool { return w.server.cfg.Pool.Status()[0].State == upstream.Refused })
	r := w.chat("")
	if r.status != 503 || r.code(t) != "upstream_verification_failed" || r.header.Get("X-Should-Retry") != "false" || len(p.requests()) != 0 {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	if ready := w.do("GET", "/readyz", ""); ready.status != 503 || !strings.Contains(ready.body, "image hash is not listed") {
		t.Errorf("readyz: %d %s", ready.status, ready.body)
	}
	allowed := start(t, setup{unverified: true, allow: true}, newScripted("p1", 5, good))
	if r := allowed.chat(""); r.status != 200 || r.header.Get("X-Cocoon-Warning") == "" {
		t.Errorf("with the flag: %d %v", r.status, r.header)
	}
}

func TestNoProxyIsSaidSo(t *testing.T) {
	w := start(t, setup{down: map[string]bool{"p1": true}, noWait: true}, newScripted("p1", 5, good))
	w.until(func() bool { return w.server.cfg.Pool.Status()[0].State == upstream.Down })
	r := w.chat("")
	if r.status != 503 || r.code(t) != "no_proxy" || r.header.Get("Retry-After") == "" {
		t.Errorf("got %d %s", r.status, r.body)
	}
}

func TestTheAppGoesAndTheProxyIsTold(t *testing.T) {
	for name, extra := range map[string]string{"stream": `,"stream":true`, "whole": ""} {
		t.Run(name, func(t *testing.T) {
			p := newScripted("p1", 5, func(_ *scripted, q *query) {
				if name == "stream" {
					q.head(200, "text/event-stream", "data: {}\n\n", false)
				}
			})
			w := start(t, setup{}, p)
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				w.until(func() bool { return len(p.requests()) == 1 })
				cancel()
			}()
			if r := w.doCtx(ctx, "POST", "/v1/chat/completions", chatBody(extra)); r.err == nil {
				t.Fatalf("got %d %s", r.status, r.body)
			}
			select {
			case id := <-p.cancelled:
				if id != p.requests()[0].RequestID {
					t.Error("another request was cancelled")
				}
			case <-time.After(time.Minute):
				t.Error("not cancelled")
			}
			w.until(func() bool { return w.server.record.byStatus[statusCancelled].Read(time.Now())[0] == 1 })
		})
	}
}

func TestTheDeadlineIsTheCallers(t *testing.T) {
	t.Parallel()
	p := newScripted("p1", 5, func(*scripted, *query) {})
	w := start(t, setup{}, p)
	r := w.chat(`,"timeout":1`)
	if r.status != 504 || r.code(t) != "timeout" {
		t.Errorf("got %d %s", r.status, r.body)
	}
	if got := p.requests()[0].Timeout; got <= 0 || got > 1 {
		t.Errorf("the proxy was given %v s", got)
	}
	w.until(func() bool { return len(p.cancelled) == 1 })
}

func TestABadReceiptIsMarkedOrRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(r *receipt.Receipt)
		class  string
	}{
		"other answer": {func(r *receipt.Receipt) { r.ResponseHash = receipt.SHA256(nil) }, "response_hash_mismatch"},
		"price":        {func(r *receipt.Receipt) { r.Usage.Price = 21; r.Usage.Meter() }, "price_mismatch"},
		"reservation":  {func(r *receipt.Receipt) { r.Usage.Reserved = 3 }, "over_reservation"},
		"channel":      {func(r *receipt.Receipt) { r.Channel.ClientSC = "0:other" }, "channel_mismatch"},
		"keyset":       {func(r *receipt.Receipt) { r.KeysetDigest = "sha256:00" }, "keyset_mismatch"},
		"session":      {func(r *receipt.Receipt) { r.Verified.SessionID = strings.Repeat("a", 64) }, "session_unknown"},
		"other id":     {func(r *receipt.Receipt) { r.ID = strings.Repeat("b", 64) }, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			serve := func(p *scripted, q *query) {
				if strings.Contains(string(q.http.Payload), `"stream":true`) {
					q.head(200, "text/event-stream", streamEvents, true)
				} else {
					q.head(200, "application/json", answerBody, true)
				}
				q.receipt(p, tc.change)
			}
			w := start(t, setup{mode: Record}, newScripted("p1", 5, serve))
			r := w.chat("")
			if r.status != 200 || r.body != answerBody {
				t.Fatalf("record: %d %s", r.status, r.body)
			}
			w.until(func() bool {
				rec, ok, err := w.store.Find(r.header.Get("X-Receipt-Id"))
				if err != nil || ok && rec.Class != tc.class {
					t.Fatalf("record: %v %+v", err, rec)
				}
				return ok
			})
			w.until(func() bool { return w.server.record.active.Load() == 0 })
			if page := w.do("GET", "/stats", ""); !strings.Contains(page.body, tc.class) {
				t.Error("the page does not show it")
			}
			w = start(t, setup{mode: Require}, newScripted("p1", 5, serve))
			if r := w.chat(""); r.status != 502 || r.code(t) != "receipt_invalid" || r.header.Get("X-Should-Retry") != "false" {
				t.Errorf("require: %d %s", r.status, r.body)
			}
			if r := w.chat(`,"stream":true`); strings.Contains(r.body, "[DONE]") || !strings.Contains(r.body, "receipt_invalid") {
				t.Errorf("require, stream: %s", r.body)
			}
		})
	}
	t.Run("missing", func(t *testing.T) {
		w := start(t, setup{mode: Require, receipt: shortly}, newScripted("p1", 5, func(_ *scripted, q *query) { q.head(200, "application/json", answerBody, true) }))
		if r := w.chat(""); r.status != 502 || !strings.Contains(r.body, "missing") {
			t.Errorf("got %d %s", r.status, r.body)
		}
	})
}

func TestOldErrorFormsAreUnderstood(t *testing.T) {
	w := start(t, setup{}, newScripted("p1", 1, func(_ *scripted, q *query) {
		q.send(&tl.ClientQueryAnswerError{RequestID: q.RequestID, ErrorCode: 621, Error: "unknown model"})
	}))
	if r := w.chat(""); r.status != http.StatusNotFound || r.code(t) != "model_not_found" {
		t.Errorf("got %d %s", r.status, r.body)
	}
}
