package e2e

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"cocoon/host/gateway/receipts"
)

// TestAWorkerThatDiesBeforeItsFirstByteIsReplaced: the app sees one answer and pays for one.
func TestAWorkerThatDiesBeforeItsFirstByteIsReplaced(t *testing.T) {
	n := start(t, options{workers: 2})
	var died atomic.Int64
	for _, w := range n.workers {
		dying := func(_ http.ResponseWriter, r *http.Request) bool {
			if died.Add(1) > 1 {
				return false
			}
			_, err := io.Copy(io.Discard, r.Body) // a server sees its client go only after the body
			if err := errors.Join(err, w.cut()); err != nil {
				t.Error(err)
			}
			<-r.Context().Done()
			return true
		}
		w.before.Store(&dying)
	}
	s := n.open(t.Context(), "good")
	s.rest()
	if len(s.events) < 3 || s.events[len(s.events)-1] != "[DONE]" || strings.Count(strings.Join(s.events, "\n"), `"finish_reason":"stop"`) != 1 {
		t.Fatalf("events %q", s.events)
	}
	if died.Load() != 2 {
		t.Fatalf("the engines were asked %d times", died.Load())
	}
	if e := n.billed(1)[0]; e.Tokens.Prompt != 5 || e.Tokens.Completion != 3 || e.Status != "complete" {
		t.Errorf("billed %+v", e)
	}
	r := n.receipt(s.resp.Header)
	if r.Outcome.Retries != 1 || r.Usage.Billed != 8 {
		t.Errorf("the receipt says %+v, %+v", r.Outcome, r.Usage)
	}
	n.secret()
}

// TestAStreamThatBreaksNeverEndsLikeOneThatIsWhole: when a worker dies in the middle the app reads an error event, and
// pays for what was generated until then.
func TestAStreamThatBreaksNeverEndsLikeOneThatIsWhole(t *testing.T) {
	n := start(t, options{})
	s := n.open(t.Context(), "endless")
	for range 4 {
		if _, ok := s.next(); !ok {
			t.Fatalf("events %q", s.events)
		}
	}
	if err := n.workers[0].cut(); err != nil {
		t.Fatal(err)
	}
	s.rest()
	last := n.read(s.events[len(s.events)-1])
	if last.Error == nil || last.Error.Code != "worker_lost" {
		t.Errorf("the last event is %q", s.events[len(s.events)-1])
	}
	if all := strings.Join(s.events, "\n"); strings.Contains(all, "[DONE]") || strings.Contains(all, `"finish_reason":"stop"`) {
		t.Errorf("the stream looks whole: %q", s.events)
	}
	e := n.billed(1)[0]
	if e.Status != "worker_lost" || e.Tokens.Completion == 0 || e.Tokens.Prompt == 0 {
		t.Errorf("billed %+v", e)
	}
	// The worker is gone and cannot sign: the numbers are the proxy's word alone, no higher than what the gateway saw itself.
	r := n.kept(s.resp.Header)
	if r.Outcome.Status != "worker_lost" || r.Usage.Billed != e.Paid() || r.Said != nil || r.Class != receipts.ClassOK || r.Usage.Completion > int64(len(s.events)) {
		t.Errorf("the receipt is judged %s (%s) and says %+v, %+v; billed was %+v", r.Class, r.Why, r.Outcome, r.Usage, e)
	}
	n.within(soon, "the engine is free", func() bool { return n.workers[0].fake.Active.Load() == 0 })
	n.until("the worker is back", func() bool {
		return n.do(http.MethodPost, chatPath, chatBody("good", "")).status == http.StatusOK
	})
	n.secret()
}
