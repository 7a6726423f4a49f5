package gateway

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/wire/tl"
	"cocoon/host/gateway/upstream"
)

func TestACompletionArrivesByteForByteWithItsReceipt(t *testing.T) {
	w := start(t, setup{}, newScripted("p1", 5, good))
	r := w.chat(`,"user":"u1","odd_field":1`)
	if r.status != 200 || r.body != answerBody {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	for name, want := range map[string]string{
		"Content-Type": "application/json", "X-Cocoon-Cost-Nano": "320", "X-Cocoon-Ignored-Params": "odd_field", "X-Aci-Version": "aci/1",
		"X-Cocoon-Proxy-Start": "1.500000", "Set-Cookie": "", "X-Cocoon-Warning": "", "X-Content-Type-Options": "nosniff",
	} {
		if got := r.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	q := w.proxies["p1"].requests()[0]
	if string(q.http.Payload) != chatBody(`,"user":"u1","odd_field":1`) {
		t.Errorf("the body was changed: %s", q.http.Payload)
	}
	if len(q.http.Headers) != 1 || q.MaxTokens != 10000 || q.MaxCoefficient != 4000 || q.Timeout > 120 || q.Timeout < 110 {
		t.Errorf("headers %v, max tokens %d, coefficient %d, timeout %v", q.http.Headers, q.MaxTokens, q.MaxCoefficient, q.Timeout)
	}
	id := r.header.Get("X-Receipt-Id")
	if !strings.HasPrefix("req_"+id, r.header.Get("X-Request-Id")) || len(id) != 64 {
		t.Errorf("receipt %s, request %s", id, r.header.Get("X-Request-Id"))
	}
	got := w.do("GET", "/v1/aci/receipts/"+id, "")
	var doc struct {
		ID     string `json:"receipt_id"`
		ChatID string `json:"chat_id"`
	}
	if err := json.Unmarshal([]byte(got.body), &doc); err != nil || doc.ID != id || got.header.Get("X-Cocoon-Receipt-Verdict") != "ok" {
		t.Fatalf("receipt: %d %s %v", got.status, got.body, got.header)
	}
	if by := w.do("GET", "/v1/receipts/"+id, ""); by.status != 200 || by.body != got.body {
		t.Errorf("by the short name: %d %s", by.status, by.body)
	}
	if by := w.do("GET", "/v1/aci/receipts/"+doc.ChatID, ""); by.body != got.body {
		t.Errorf("by chat id: %s", by.body)
	}
}

func TestAStreamArrivesByteForByte(t *testing.T) {
	for name, mode := range map[string]Mode{"record": Record, "require": Require} {
		t.Run(name, func(t *testing.T) {
			w := start(t, setup{mode: mode}, newScripted("p1", 5, func(p *scripted, q *query) {
				q.head(200, "text/event-stream", "", false)
				for i := range len(streamEvents) {
					q.part(streamEvents[i:i+1], i == len(streamEvents)-1)
				}
				q.receipt(p, nil)
			}))
			r := w.chat(`,"stream":true`)
			if r.err != nil || r.status != 200 || r.body != streamEvents {
				t.Fatalf("got %d %q %v", r.status, r.body, r.err)
			}
			if r.header.Get("Content-Type") != "text/event-stream" || r.header.Get("X-Receipt-Id") == "" || r.header.Get("Cache-Control") != "no-cache" {
				t.Errorf("headers %v", r.header)
			}
			w.until(func() bool { return w.server.record.receiptOK.Read(w.server.cfg.Now())[0] == 1 })
		})
	}
}

// TestNoAppWaitsForAReceiptThatIsOnlyRecorded: the proxy says in its head what the answer costs; the receipt comes when the
// app has all of it, and is there for who asks for it then.
func TestNoAppWaitsForAReceiptThatIsOnlyRecorded(t *testing.T) {
	answered := make(chan struct{}, 1)
	w := start(t, setup{}, newScripted("p1", 5, func(p *scripted, q *query) {
		q.sent = []byte(answerBody)
		q.send(&tl.ClientQueryAnswerEx{RequestID: q.RequestID, FinalInfo: used(), Answer: tl.Encode(&tl.HTTPResponse{
			HTTPVersion: "HTTP/1.1", StatusCode: 200, Reason: "OK", Payload: []byte(answerBody),
			Headers: []tl.HTTPHeader{{Name: "X-Aci-Keyset-Digest", Value: p.keyset().Digest()}, {Name: "X-Cocoon-Cost-Nano", Value: "320"}},
		})})
		<-answered
		q.receipt(p, nil)
	}))
	for range 3 { // on one connection: what follows an answer holds up no question
		r := w.chat("")
		if r.status != 200 || r.body != answerBody || r.header.Get("X-Cocoon-Cost-Nano") != "320" || r.header.Get("X-Aci-Keyset-Digest") == "" {
			t.Fatalf("%d %s %v", r.status, r.body, r.header)
		}
		id := r.header.Get("X-Receipt-Id")
		if _, ok, _ := w.store.Find(id); ok {
			t.Error("the receipt was there before it came")
		}
		answered <- struct{}{}
		if got := w.do("GET", "/v1/aci/receipts/"+id, ""); got.status != 200 || got.header.Get("X-Cocoon-Receipt-Verdict") != "ok" {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	w.until(func() bool { return w.server.cfg.Pool.Status()[0].Running == 0 })
	if r := w.do("GET", "/v1/aci/receipts/"+strings.Repeat("0", 64), ""); r.status != 404 {
		t.Errorf("a receipt that nobody owes: %d", r.status)
	}
}

// TestARequiredReceiptIsAwaitedAsLongAsTheAppWaits, and no longer.
func TestARequiredReceiptIsAwaitedAsLongAsTheAppWaits(t *testing.T) {
	w := start(t, setup{mode: Require, receipt: time.Minute}, newScripted("p1", 5, func(_ *scripted, q *query) { q.head(200, "application/json", answerBody, true) }))
	began := time.Now()
	if r := w.chat(`,"timeout":0.05`); r.status != 502 || r.code(t) != "receipt_invalid" || time.Since(began) > 50*time.Second {
		t.Errorf("%d %s after %s", r.status, r.body, time.Since(began))
	}
}

// TestAProxyThatOwesTooManyReceiptsGetsNoRequest: what waits for receipts is bounded, and an app is told to wait.
func TestAProxyThatOwesTooManyReceiptsGetsNoRequest(t *testing.T) {
	const much = 1 << 30
	w := start(t, setup{}, newScripted("p1", 5, good))
	call, err := w.link("p1").Start(t.Context(), upstream.Ask{ID: [32]byte{1}, Path: "/v1/chat/completions", Body: []byte(chatBody("")), Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	call.Owe(much)
	r := w.chat("")
	if r.status != 429 || r.code(t) != "rate_limit_exceeded" || r.header.Get("Retry-After") != "1" || !strings.Contains(r.body, "receipts") {
		t.Errorf("%d %s %v", r.status, r.body, r.header)
	}
	call.Forget()
	if r := w.chat(""); r.status != 200 {
		t.Errorf("with nothing owed: %d %s", r.status, r.body)
	}
}
