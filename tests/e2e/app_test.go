package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"cocoon/guest/proxy/ledger"
	"cocoon/tests/logbook"
)

// reply is what an app saw.
type reply struct {
	status int
	header http.Header
	body   string
}

// caller is an app.
type caller struct {
	t      *testing.T
	url    string
	log    *logbook.Book
	client *http.Client
}

// until waits for something that other goroutines bring about.
func (c *caller) until(what string, ok func() bool) {
	c.t.Helper()
	c.within(patience, what, ok)
}

func (c *caller) within(d time.Duration, what string, ok func() bool) {
	c.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(d)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			c.t.Fatalf("not within %s: %s\n%s", d, what, c.log)
		}
	}
}

// request makes what an app sends.
func (c *caller) request(ctx context.Context, method, path, body string) *http.Request {
	c.t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	check(c.t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func (c *caller) do(method, path, body string) reply {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	resp, err := c.client.Do(c.request(ctx, method, path, body))
	if err != nil {
		c.t.Fatalf("%s %s: %v\n%s", method, path, err, c.log)
	}
	defer resp.Body.Close() //nolint:errcheck // read side
	data, err := io.ReadAll(resp.Body)
	check(c.t, err)
	return reply{resp.StatusCode, resp.Header, string(data)}
}

// chatBody asks the fake engine for a behaviour by name; extra are more members.
func chatBody(fault, extra string) string {
	return fmt.Sprintf(`{"model":%q,"max_tokens":50,"messages":[{"role":"user","content":"%s fault:%s "}]%s}`, base, canary, fault, extra)
}

const chatPath = "/v1/chat/completions"

// stream is an answer that is being read.
type stream struct {
	resp   *http.Response
	lines  *bufio.Scanner
	events []string
}

// open asks for a stream and returns with its head.
func (c *caller) open(ctx context.Context, fault string) *stream {
	c.t.Helper()
	return c.openBody(ctx, chatBody(fault, `,"stream":true,"stream_options":{"include_usage":true}`))
}

// openBody is open for a request of the caller's own.
func (c *caller) openBody(ctx context.Context, body string) *stream {
	c.t.Helper()
	resp, err := c.client.Do(c.request(ctx, http.MethodPost, chatPath, body))
	if err != nil {
		c.t.Fatalf("asking for a stream: %v\n%s", err, c.log)
	}
	c.t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<16))
		c.t.Fatalf("status %d, %s\n%s", resp.StatusCode, body, c.log)
	}
	return &stream{resp: resp, lines: bufio.NewScanner(resp.Body)}
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

func (c *caller) read(doc string) answer {
	c.t.Helper()
	var a answer
	if err := json.Unmarshal([]byte(doc), &a); err != nil {
		c.t.Fatalf("%q: %v", doc, err)
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
		Status  string  `json:"status"`
		Retries int64   `json:"retries"`
		Code    *string `json:"error_code"`
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
func (c *caller) kept(h http.Header) record {
	c.t.Helper()
	id := h.Get("X-Receipt-Id")
	if id == "" {
		c.t.Fatalf("the answer names no receipt: %v", h)
	}
	var out reply
	c.until("the receipt is kept", func() bool {
		out = c.do(http.MethodGet, "/v1/aci/receipts/"+id+"?verdict=1", "")
		return out.status == http.StatusOK
	})
	var r record
	check(c.t, json.Unmarshal([]byte(out.body), &r))
	check(c.t, r.parse())
	return r
}

// parse takes the events out of the receipt.
func (r *record) parse() (err error) {
	if r.Receipt == nil {
		return nil
	}
	var doc struct {
		Events []json.RawMessage `json:"event_log"`
	}
	if err := json.Unmarshal(r.Receipt, &doc); err != nil {
		return err
	}
	into := map[string]any{"cocoon.outcome": &r.Outcome, "usage.metered": &r.Usage, "cocoon.worker.statement": &r.Said}
	for _, event := range doc.Events {
		var kind struct {
			Type string `json:"type"`
		}
		err = errors.Join(err, json.Unmarshal(event, &kind))
		if to := into[kind.Type]; to != nil {
			err = errors.Join(err, json.Unmarshal(event, to))
		}
	}
	return err
}

// receipt is kept, for a receipt that has to be good.
func (c *caller) receipt(h http.Header) record {
	c.t.Helper()
	r := c.kept(h)
	if r.Class != "ok" || r.Said == nil {
		c.t.Errorf("the receipt is judged %s: %s\n%s", r.Class, r.Why, r.Receipt)
	}
	return r
}

// billed waits for the ledger to have settled so many requests, and then checks that it stays so.
func (n *world) billed(requests int) []ledger.Entry {
	n.t.Helper()
	n.until(fmt.Sprintf("%d requests are settled", requests), func() bool { return len(n.settled()) >= requests })
	entries := n.settled()
	if len(entries) != requests {
		n.t.Fatalf("%d entries for %d requests: %+v", len(entries), requests, entries)
	}
	n.balanced()
	return entries
}

// secret checks that the engine was asked the prompt, and that no role shows it anywhere else.
func (n *world) secret() {
	n.t.Helper()
	asked := false
	for _, w := range n.workers {
		asked = asked || bytes.Contains(w.fake.LastBody(), []byte(canary))
	}
	if !asked {
		n.t.Error("the prompt has not reached an engine: this test cannot show that it leaks")
	}
	shown := map[string]string{"log": n.log.String()}
	var routers, counters, status bytes.Buffer
	n.metrics.Write(&routers)
	n.proxy.WriteMetrics(&counters)
	n.workers[0].worker.WriteMetrics(&counters)
	check(n.t, json.NewEncoder(&status).Encode([]any{n.proxy.JSONStats(), n.proxy.Page(), n.workers[0].worker.JSONStats(), n.workers[0].worker.Page()}))
	shown["router's metrics"], shown["proxy's and worker's metrics"], shown["proxy's and worker's status"] = routers.String(), counters.String(), status.String()
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

// soon bounds what inference.md section 8 promises within a second, an engine that is free when its caller is gone, with room
// for a machine that is busy with something else: how long it took is logged. What goes on by itself goes on for longer.
const soon = 10 * time.Second
