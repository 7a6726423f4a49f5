package load

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"cocoon/contracts/api/jsonscan"
	"cocoon/contracts/api/sse"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func spec(address string, stream bool) Spec {
	return Spec{
		Address: address, Model: Model, Clients: 3, Stream: stream, Prompt: 500, Warm: 20 * time.Millisecond, Measure: 150 * time.Millisecond,
	}
}

// tell runs a load until its measured time was long enough for this machine to see something.
func tell(t *testing.T, s Spec, at func()) Result {
	t.Helper()
	for ; ; s.Measure *= 4 {
		got, err := Run(t.Context(), s, at)
		if err != nil {
			t.Fatal(err)
		}
		if got.Requests+got.Events > 0 || got.Broken+got.Refused > 0 || s.Measure > time.Minute {
			return got
		}
	}
}

// TestAnswersAreWhatAnAppReads: the fixed answers are JSON and events of the counts that the package names.
func TestAnswersAreWhatAnAppReads(t *testing.T) {
	a := newAnswers()
	if _, err := jsonscan.Check(Whole()); err != nil || len(Whole()) < 1000 || len(Whole()) > 1300 {
		t.Errorf("%d bytes, %v", len(Whole()), err)
	}
	var s sse.Splitter
	s.Write(bytes.Join(a.events, nil))
	n := 0
	for {
		e, ok, err := s.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if n++; n < Events {
			if _, err := jsonscan.Check(e.Data); err != nil {
				t.Errorf("event %d: %v", n, err)
			}
		} else if string(e.Data) != "[DONE]" {
			t.Errorf("the last event is %s", e.Data)
		}
	}
	if n != Events || s.Rest() {
		t.Errorf("%d events", n)
	}
}

// TestWholeAnswersAreCounted: between engine and clients alone nothing is broken, and everything is counted between the
// two moments.
func TestWholeAnswersAreCounted(t *testing.T) {
	l := listen(t)
	e := Start(l)
	defer e.Close() //nolint:errcheck // nothing is left to lose
	for name, stream := range map[string]bool{"documents": false, "streams": true} {
		moments := 0
		got := tell(t, spec(l.Addr().String(), stream), func() { moments++ })
		if got.Broken+got.Refused != 0 || got.Requests == 0 || moments < 2 || moments%2 != 0 || got.P50 <= 0 || got.P99 < got.P50 {
			t.Errorf("%s: %+v, %d moments", name, got, moments)
		}
		if stream && (got.Events < got.Requests*Events/2 || got.Writes == 0 || got.Writes > got.Events) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestQuestionsThatAreDueWait: a client that asks every so often asks no oftener, and an answer that stalls is charged to
// the questions that were due meanwhile.
func TestQuestionsThatAreDueWait(t *testing.T) {
	const every, stall, measure = 5 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond
	whole := Whole()
	var stalls, answered atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if !stalls.CompareAndSwap(true, false) {
			_, _ = w.Write(whole)
			return
		}
		<-time.After(stall)
		_, _ = w.Write(whole)
		answered.Store(true)
	}))
	defer server.Close()
	s := spec(strings.TrimPrefix(server.URL, "http://"), false)
	s.Clients, s.Every, s.Measure = 1, every, measure
	for range 20 { // until the machine lets the answer come before the end of the measured time
		stalls.Store(false)
		answered.Store(false)
		moments, inTime, began := 0, false, time.Now()
		got, err := Run(t.Context(), s, func() {
			if moments++; moments == 1 {
				stalls.Store(true)
			} else {
				inTime = answered.Load()
			}
		})
		if most := int64(time.Since(began)/every) + 1; err != nil || got.Broken+got.Refused != 0 || got.Requests > most {
			t.Fatalf("%+v, of at most %d, %v", got, most, err)
		}
		if !inTime {
			continue
		}
		// Forty of about sixty questions were due while one was not answered.
		if got.Requests == 0 || got.P50 < 2*every || got.P99 < stall/2 {
			t.Errorf("%d questions; the middle one took %v and the slowest %v", got.Requests, got.P50, got.P99)
		}
		return
	}
	t.Skip("this machine is too busy to answer in time")
}

// TestPacedStreamsAreEventsOfTheirOwn: with a pause before each event, each comes in a write of its own unless who reads is
// late, and clients that are cut at the end count for nothing.
func TestPacedStreamsAreEventsOfTheirOwn(t *testing.T) {
	l := listen(t)
	e := Start(l)
	defer e.Close() //nolint:errcheck // nothing is left to lose
	e.Pace(10 * time.Millisecond)
	got := tell(t, spec(l.Addr().String(), true), func() {})
	if got.Broken+got.Refused != 0 || got.Events == 0 || got.Writes < got.Events/2 {
		t.Errorf("%+v", got)
	}
	if got.Elapsed < Events*10*time.Millisecond && got.Requests != 0 {
		t.Errorf("streams of a second are over after %v: %+v", got.Elapsed, got)
	}
}

// TestWhatIsNotTheEnginesIsBroken: an answer that is cut, one that is called whole too early, one with another byte and
// one with an error status are told apart.
func TestWhatIsNotTheEnginesIsBroken(t *testing.T) {
	whole := Whole()
	for name, tc := range map[string]struct {
		answer  http.HandlerFunc
		refused bool
		why     string
	}{
		"cut": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "4096")
			_, _ = w.Write(whole[:100])
		}, false, "breaks off after 100 bytes"},
		"short": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(whole[:100]) }, false, "called whole after 100 bytes"},
		"other": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(bytes.Replace(whole, []byte("quick"), []byte("quack"), 1))
		}, false, "differs"},
		"longer":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(append(bytes.Clone(whole), ' ')) }, false, "differs"},
		"refused": {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusBadGateway) }, true, "status 502"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			tc.answer(w, r)
		}))
		got, err := Run(t.Context(), spec(strings.TrimPrefix(server.URL, "http://"), false), func() {})
		server.Close()
		if err != nil || got.Requests != 0 || (got.Refused > 0) != tc.refused || (got.Broken > 0) == tc.refused || !strings.Contains(got.Why, tc.why) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

// TestRunEndsWithItsContext.
func TestRunEndsWithItsContext(t *testing.T) {
	l := listen(t)
	e := Start(l)
	defer e.Close() //nolint:errcheck // nothing is left to lose
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	s := spec(l.Addr().String(), true)
	s.Measure = time.Minute
	if _, err := Run(ctx, s, func() {}); err == nil {
		t.Error("a load that was cut says nothing")
	}
}
