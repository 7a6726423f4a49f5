package e2e

import (
	"context"
	"net/http"
	"strings"
	"testing"
)

// TestAnAppIsServed: what an app sees, what the engine counted, what was billed and what the receipt says agree.
func TestAnAppIsServed(t *testing.T) {
	n := start(t, options{})

	if r := n.do(http.MethodGet, "/v1/models", ""); r.status != http.StatusOK || !strings.Contains(r.body, `"`+base+`"`) {
		t.Fatalf("status %d, %s", r.status, r.body)
	}

	whole := n.do(http.MethodPost, chatPath, chatBody("good", ""))
	a := n.read(whole.body)
	if whole.status != http.StatusOK || len(a.Choices) != 1 || a.Choices[0].Message.Content != "aaa" || a.Choices[0].Finish != "stop" || a.Usage == nil {
		t.Fatalf("status %d, %s\n%s", whole.status, whole.body, n.log)
	}
	if *a.Usage != (usage{5, 3, 8}) {
		t.Errorf("usage %+v", a.Usage)
	}
	entry := n.billed(1)[0]
	if entry.Tokens.Prompt != 5 || entry.Tokens.Completion != 3 || entry.Source != "engine" || entry.Estimated || entry.Paid() != 8 {
		t.Errorf("billed %+v", entry)
	}
	if r := n.receipt(whole.header); r.Outcome.Status != "complete" || r.Usage.usage != (usage{5, 3, 8}) || r.Usage.Billed != 8 {
		t.Errorf("the receipt is %+v", r)
	}

	s := n.open(t.Context(), "good")
	s.rest()
	if len(s.events) < 3 || s.events[len(s.events)-1] != "[DONE]" {
		t.Fatalf("events %q", s.events)
	}
	var text strings.Builder
	for _, e := range s.events[:len(s.events)-1] {
		for _, c := range n.read(e).Choices {
			text.WriteString(c.Delta.Content)
		}
	}
	last := n.read(s.events[len(s.events)-2])
	if text.String() != "aaa" || last.Usage == nil || *last.Usage != (usage{5, 3, 8}) || len(last.Choices) != 0 {
		t.Errorf("text %q, last event %+v", text.String(), last)
	}
	if r := n.receipt(s.resp.Header); r.Outcome.Status != "complete" || r.Usage.Billed != 8 {
		t.Errorf("the receipt is %+v", r)
	}
	n.billed(2)
	n.secret()
}

// TestMistakesOfAppsCostNothing: they are told what is wrong, and no engine is asked.
func TestMistakesOfAppsCostNothing(t *testing.T) {
	n := start(t, options{})
	before := n.workers[0].fake.Requests.Load()
	for name, tc := range map[string]struct {
		body   string
		status int
	}{
		"unknown model":       {strings.Replace(chatBody("good", ""), base, "demo/nothing", 1), http.StatusNotFound},
		"no JSON":             {`{"model":`, http.StatusBadRequest},
		"no messages":         {`{"model":"` + base + `"}`, http.StatusBadRequest},
		"more than one value": {chatBody("good", "") + "{}", http.StatusBadRequest},
		"negative max_tokens": {strings.Replace(chatBody("good", ""), ":50", ":-1", 1), http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			r := n.do(http.MethodPost, chatPath, tc.body)
			if a := n.read(r.body); r.status != tc.status || a.Error == nil || a.Error.Message == "" || mentions(r.body) {
				t.Errorf("status %d, want %d: %s", r.status, tc.status, r.body)
			}
		})
	}
	if after := n.workers[0].fake.Requests.Load(); after != before {
		t.Errorf("the engine was asked %d times", after-before)
	}
	for _, e := range n.ledger.settled() {
		if e.Paid() != 0 {
			t.Errorf("billed %+v", e)
		}
	}
}

// TestAnEngineIsFreeWhenItsAppIsGone: within a second, and what was generated is billed (inference.md section 8).
func TestAnEngineIsFreeWhenItsAppIsGone(t *testing.T) {
	for name, tc := range map[string]struct {
		ask    func(ctx context.Context, n *world)
		status string
		least  int64 // of completion tokens billed
	}{
		"stream": {func(ctx context.Context, n *world) {
			s := n.open(ctx, "endless")
			for range 3 {
				s.next()
			}
		}, "cancelled", 1},
		"whole answer": {func(ctx context.Context, n *world) {
			go func() { // nobody reads the answer: there is none
				resp, err := n.client.Do(n.request(ctx, http.MethodPost, chatPath, chatBody("hang-head", "")))
				if err == nil {
					_ = resp.Body.Close()
				}
			}()
			n.until("the engine is busy", func() bool { return n.workers[0].fake.Active.Load() == 1 })
		}, "cancelled", 0},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, options{})
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			tc.ask(ctx, n)
			fake := n.workers[0].fake
			if fake.Active.Load() != 1 || fake.Cancelled.Load() != 0 {
				t.Fatalf("before: %d active, %d cancelled", fake.Active.Load(), fake.Cancelled.Load())
			}
			leave()
			n.within(soon, "the engine is free", func() bool { return fake.Active.Load() == 0 && fake.Cancelled.Load() == 1 })
			entry := n.billed(1)[0]
			if entry.Status != tc.status || entry.Tokens.Completion < tc.least || entry.Tokens.Prompt == 0 {
				t.Errorf("billed %+v", entry)
			}
			if r := n.do(http.MethodPost, chatPath, chatBody("good", "")); r.status != http.StatusOK {
				t.Errorf("the next request: status %d, %s", r.status, r.body)
			}
			n.secret()
		})
	}
}

// TestNobodyIsServedByStrangers: a worker whose image is not listed gets no request, a proxy whose image is not listed
// gets no prompt.
func TestNobodyIsServedByStrangers(t *testing.T) {
	for name, tc := range map[string]struct {
		options
		why string
	}{
		"worker":          {options{strangeWorkers: true}, "evidence refused by rule allowed_image_hashes"},
		"unlisted worker": {options{unlisted: true}, "not in root version 1"},
		"proxy":           {options{strangeProxy: true}, "proxy refused: image"},
	} {
		t.Run(name, func(t *testing.T) {
			n := start(t, tc.options)
			n.until("the stranger is refused", func() bool { return strings.Contains(n.log.String(), tc.why) })
			r := n.do(http.MethodPost, chatPath, chatBody("good", ""))
			if r.status < 400 {
				t.Errorf("status %d, %s", r.status, r.body)
			}
			for _, w := range n.workers {
				if strings.Contains(string(w.fake.LastBody()), canary) {
					t.Error("a prompt has reached a stranger")
				}
			}
			if paid := n.ledger.settled(); len(paid) > 0 && paid[0].Paid() != 0 {
				t.Errorf("billed %+v", paid)
			}
		})
	}
}
