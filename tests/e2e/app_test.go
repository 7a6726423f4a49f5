package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"cocoon/guest/proxy/ledger"
)

// reply is what an app saw.
type reply struct {
	status int
	header http.Header
	body   string
}

// request makes what an app sends.
func (n *network) request(ctx context.Context, method, path, body string) *http.Request {
	n.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, n.url+path, strings.NewReader(body))
	check(n.t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func (n *network) do(method, path, body string) reply {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	resp, err := n.client.Do(n.request(ctx, method, path, body))
	if err != nil {
		n.t.Fatalf("%s %s: %v\n%s", method, path, err, n.log)
	}
	defer resp.Body.Close() //nolint:errcheck // read side
	data, err := io.ReadAll(resp.Body)
	check(n.t, err)
	return reply{resp.StatusCode, resp.Header, string(data)}
}

// chatBody asks the fake engine for a behaviour by name; extra are more members.
func chatBody(fault, extra string) string {
	return fmt.Sprintf(`{"model":%q,"max_tokens":50,"messages":[{"role":"user","content":"%s fault:%s "}]%s}`, base, canary, fault, extra)
}

const chatPath = "/v1/chat/completions"

// stream is an answer that is being read.
type stream struct {
	n      *network
	resp   *http.Response
	lines  *bufio.Scanner
	events []string
}

// open asks for a stream and returns with its head.
func (n *network) open(ctx context.Context, fault string) *stream {
	n.t.Helper()
	resp, err := n.client.Do(n.request(ctx, http.MethodPost, chatPath, chatBody(fault, `,"stream":true,"stream_options":{"include_usage":true}`)))
	if err != nil {
		n.t.Fatalf("asking for a stream: %v\n%s", err, n.log)
	}
	n.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
		n.t.Fatalf("status %d, %s\n%s", resp.StatusCode, body, n.log)
	}
	return &stream{n: n, resp: resp, lines: bufio.NewScanner(resp.Body)}
}

// next reads up to the next data event; false is the end.
func (s *stream) next() (string, bool) {
	for s.lines.Scan() {
		if data, ok := strings.CutPrefix(s.lines.Text(), "data: "); ok {
			s.events = append(s.events, data)
			return data, true
		}
	}
	return "", false
}

// rest reads to the end.
func (s *stream) rest() {
	for ok := true; ok; {
		_, ok = s.next()
	}
}

// usage is the object in answers.
type usage struct {
	Prompt     int64 `json:"prompt_tokens"`
	Completion int64 `json:"completion_tokens"`
	Total      int64 `json:"total_tokens"`
}

// answer is what is read of documents and events.
type answer struct {
	Choices []struct {
		Message, Delta struct {
			Content string `json:"content"`
		}
		Finish string `json:"finish_reason"`
	} `json:"choices"`
	Usage *usage `json:"usage"`
	Error *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func (n *network) read(doc string) answer {
	n.t.Helper()
	var a answer
	if err := json.Unmarshal([]byte(doc), &a); err != nil {
		n.t.Fatalf("%q: %v", doc, err)
	}
	return a
}

// record is a receipt as the gateway kept it, with its verdict.
type record struct {
	Class   string          `json:"class"`
	Why     string          `json:"why"`
	Receipt json.RawMessage `json:"receipt"`
	// Outcome, Usage and Said are the receipt's events; Said is nil without a worker's statement.
	Outcome struct {
		Status  string `json:"status"`
		Retries int64  `json:"retries"`
	} `json:"-"`
	Usage struct {
		usage
		Billed int64 `json:"billed_total"`
	} `json:"-"`
	Said *struct {
		KeyID string `json:"key_id"`
	} `json:"-"`
}

// kept waits for the receipt of an answer.
func (n *network) kept(h http.Header) record {
	n.t.Helper()
	id := h.Get("X-Receipt-Id")
	if id == "" {
		n.t.Fatalf("the answer names no receipt: %v", h)
	}
	var out reply
	n.until("the receipt is kept", func() bool {
		out = n.do(http.MethodGet, "/v1/aci/receipts/"+id+"?verdict=1", "")
		return out.status == http.StatusOK
	})
	var r record
	var doc struct {
		Events []json.RawMessage `json:"event_log"`
	}
	check(n.t, json.Unmarshal([]byte(out.body), &r))
	check(n.t, json.Unmarshal(r.Receipt, &doc))
	into := map[string]any{"cocoon.outcome": &r.Outcome, "usage.metered": &r.Usage, "cocoon.worker.statement": &r.Said}
	for _, event := range doc.Events {
		var kind struct {
			Type string `json:"type"`
		}
		check(n.t, json.Unmarshal(event, &kind))
		if to := into[kind.Type]; to != nil {
			check(n.t, json.Unmarshal(event, to))
		}
	}
	return r
}

// receipt is kept, for a receipt that has to be good.
func (n *network) receipt(h http.Header) record {
	n.t.Helper()
	r := n.kept(h)
	if r.Class != "ok" || r.Said == nil {
		n.t.Errorf("the receipt is judged %s: %s\n%s", r.Class, r.Why, r.Receipt)
	}
	return r
}

// billed waits for the ledger to have settled so many requests, and then checks that it stays so.
func (n *network) billed(requests int) []ledger.Entry {
	n.t.Helper()
	n.until(fmt.Sprintf("%d requests are settled", requests), func() bool { return len(n.ledger.settled()) >= requests })
	entries := n.ledger.settled()
	if len(entries) != requests {
		n.t.Fatalf("%d entries for %d requests: %+v", len(entries), requests, entries)
	}
	s := n.ledger.State(ledger.Party{Role: ledger.Client, Address: entries[0].Client})
	var sum int64
	for _, e := range entries {
		sum += e.Paid()
	}
	if s.Max != sum || s.Reserved != 0 || s.Running != 0 {
		n.t.Errorf("the client's counter is %+v, its entries sum up to %d", s, sum)
	}
	return entries
}

// secret checks that the engine was asked the prompt, and that no role shows it anywhere else.
func (n *network) secret() {
	n.t.Helper()
	asked := false
	for _, w := range n.workers {
		asked = asked || bytes.Contains(w.fake.LastBody(), []byte(canary))
	}
	if !asked {
		n.t.Error("the prompt has not reached an engine: this test cannot show that it leaks")
	}
	shown := map[string]string{"log": n.log.String()}
	var page bytes.Buffer
	n.metrics.Write(&page)
	shown["router's metrics"] = page.String()
	for _, path := range []string{"/metrics", "/stats", "/jsonstats", "/", "/v1/models", "/v1/aci/sessions", "/v1/attestation/report"} {
		r := n.do(http.MethodGet, path, "")
		if r.status != http.StatusOK {
			n.t.Errorf("GET %s: status %d, %s", path, r.status, r.body)
		}
		shown["gateway's "+path] = r.body
	}
	for where, text := range shown {
		if text == "" {
			n.t.Errorf("the %s is empty", where)
		}
		if mentions(text) {
			n.t.Errorf("a prompt is in the %s", where)
		}
	}
}

// soon is what inference.md section 8 promises for an engine whose caller is gone.
const soon = time.Second
