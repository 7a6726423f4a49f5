package gateway

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/api/sse"
)

func TestAReferenceProxyGetsAWholeRequestAndTheAppAStream(t *testing.T) {
	release := make(chan struct{})
	p := newScripted("p1", 2, func(_ *scripted, q *query) {
		<-release
		q.head(200, "application/json", answerBody, true)
	})
	w := start(t, setup{ping: 20 * time.Millisecond}, p)
	ask, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/v1/chat/completions",
		strings.NewReader(chatBody(`,"stream":true,"stream_options":{"include_usage":true},"user":"u","odd":1,"tools":[],"logprobs":false`)))
	if err != nil {
		t.Fatal(err)
	}
	ask.Header.Set("Content-Type", "application/json")
	resp, err := w.client.Do(ask)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	first := make([]byte, len(sse.Ping))
	_, err = io.ReadFull(resp.Body, first)
	close(release) // the answer comes when the app has heard something
	if err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(resp.Body)
	r := reply{resp.StatusCode, resp.Header, string(first) + string(rest), err}
	if r.status != 200 || r.header.Get("X-Cocoon-Stream") != "emulated" || r.header.Get("X-Receipt-Id") != "" {
		t.Fatalf("got %d %v %s", r.status, r.header, r.body)
	}
	want := `{"model":"org/model", "messages":[{"role":"user","content":"` + canary + `"}]}`
	q := p.requests()[0]
	if string(q.http.Payload) != want {
		t.Errorf("the proxy got %s", q.http.Payload)
	}
	if q.Timeout > 114 || q.Timeout < 100 {
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
	p := newScripted("p1", 2, good)
	w := start(t, setup{}, p)
	for param, value := range map[string]string{
		"tools": `[{"type":"function","function":{"name":"f"}}]`, "logprobs": `true`, "logit_bias": `{"5":1}`, "seed": `4`, "top_k": "3",
	} {
		r := w.chat(`,"` + param + `":` + value)
		if r.status != 400 || r.code(t) != "unsupported_parameter" || !strings.Contains(r.body, `"param":"`+param+`"`) || !strings.Contains(r.body, "the proxy") {
			t.Errorf("%s: %d %s", param, r.status, r.body)
		}
	}
	if len(p.requests()) != 0 {
		t.Error("a request was sent")
	}
}
