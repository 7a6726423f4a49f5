package proxy

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/contracts/api/emulate"
	"cocoon/contracts/api/sse"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
)

const (
	counting = `{"model":"demo/model","messages":[{"role":"user","content":"` + canary + `"}],"max_tokens":50,"stream":true,"stream_options":{"include_usage":true}}`
	row      = `{"id":"c","choices":[{"index":0,"delta":{"content":"a"}}]}` + "\n"
	lastRow  = `{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":34}}` + "\n"
)

// pieces answers like a reference worker: a head, then the body in pieces.
func pieces(body ...string) func(*scriptWorker, order) {
	return func(w *scriptWorker, o order) {
		w.begin(o, headOf(200, "application/json", ""), nil)
		for i, b := range body {
			if i == len(body)-1 {
				w.part(o, b, w.usage())
			} else {
				w.part(o, b, nil)
			}
		}
	}
}

func header(r reply, name string) string {
	for _, h := range r.head.Headers {
		if h.Name == name {
			return h.Value
		}
	}
	return ""
}

// TestReferenceWorkersServeStreams: whatever a reference worker's generation, its request does not stream, and the client
// gets events, a bill and, when it is one of ours, a receipt for the bytes that it got.
func TestReferenceWorkersServeStreams(t *testing.T) {
	whole := `{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"ab"},"finish_reason":"stop"}],"usage":{"prompt_tokens":34}}`
	for name, tc := range map[string]struct {
		play func(*scriptWorker, order)
		in   []string
	}{
		"in one message":    {func(w *scriptWorker, o order) { w.begin(o, headOf(200, "application/json", whole+"\n"), w.usage()) }, []string{`"delta":{"content":"ab"}`}},
		"in pieces":         {pieces(whole[:30], whole[30:], "\n"), []string{`"delta":{"role":"assistant"`, `"delta":{"content":"ab"}`}},
		"rows":              {pieces(row, lastRow), []string{`"delta":{"content":"a"}`}},
		"rows, and no more": {pieces(row+lastRow[:20], lastRow[20:], ""), []string{`"delta":{"content":"a"}`}},
	} {
		for _, version := range []int32{0, 1, 2, 3, 4} {
			for _, client := range []int32{1, 5} {
				t.Run(name, func(t *testing.T) {
					inProxy(t, func(b *bench) {
						w := b.worker(version, tc.play)
						c := b.client(client)
						c.send(run(1, counting))
						r := c.collect(1)
						if r.head == nil || r.code != 0 || header(r, "X-Cocoon-Stream") != "emulated" || header(r, "Content-Type") != "text/event-stream" {
							t.Fatalf("version %d: %+v", version, r)
						}
						for _, part := range append(tc.in, `"finish_reason":"stop"`, `"choices":[],"usage":{"prompt_tokens":34}`) {
							if !strings.Contains(r.body, part) {
								t.Errorf("version %d: no %s in %s", version, part, r.body)
							}
						}
						if !strings.HasSuffix(r.body, sse.Done) || r.tokens.TotalTokensUsed != 74 || b.settled() != 74 {
							t.Errorf("version %d: %+v %q", version, r.tokens, r.body)
						}
						if got := string(w.seen()[0].http.Payload); strings.Contains(got, `"stream`) {
							t.Errorf("the worker is asked %s", got)
						}
						if client < versionOurs {
							return
						}
						paper := hear[*tl.ClientQueryReceipt](c.party)
						if _, err := b.verify(paper.Receipt, counting, r.body); err != nil {
							t.Errorf("receipt: %v", err)
						}
					})
				})
			}
		}
	}
}

// TestAFailedImitationEndsInAnError: before the first event it is an error of the request, behind it one in the stream; what
// the worker used is billed.
func TestAFailedImitationEndsInAnError(t *testing.T) {
	for name, tc := range map[string]struct {
		play func(*scriptWorker, order)
		code session.Code
		in   string
		bill int64
	}{
		"an answer without an end":      {pieces(`{"choices":[{"message":{"content":"a"},"finish_reason":null}]}`), 602, "", 74},
		"an empty answer, as Apr gives": {pieces("", ""), 602, "", 74},
		"words":                         {pieces("hello\n"), 621, "", 74},
		"rows that stop":                {pieces(row, ""), 602, `"code":"engine_truncated"`, 74},
		"rows and words":                {pieces(row, "hello\n", lastRow), 621, `"code":"worker_protocol_error"`, 14},
		"an error behind a row":         {func(w *scriptWorker, o order) { pieces(row, row)(w, o) }, 602, `"error"`, 74},
		"more than is held":             {huge, 602, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			inProxy(t, func(b *bench) {
				b.worker(4, tc.play)
				c := b.client(5)
				c.send(run(1, counting))
				r := c.collect(1)
				if session.Code(r.code) != tc.code || (r.head != nil) != (tc.in != "") || !strings.Contains(r.body, tc.in) || strings.Contains(r.body, "[DONE]") {
					t.Errorf("%d %s %q", r.code, r.text, r.body)
				}
				<-time.After(time.Minute) // the worker goes on to its end
				if got := b.settled(); got != tc.bill && tc.bill != 14 || tc.bill == 14 && got == 0 {
					t.Errorf("billed %d, want %d", got, tc.bill)
				}
			})
		})
	}
}

// huge answers with more than can be held, piece by piece.
func huge(w *scriptWorker, o order) {
	w.begin(o, headOf(200, "application/json", `{"choices":[`), nil)
	for range 5 {
		<-time.After(time.Second)
		w.part(o, strings.Repeat(" ", emulate.MaxHeld/4), nil)
	}
	w.part(o, "]}", w.usage())
}

// TestStreamsPreferWorkersThatStream: a reference worker gets a stream only when none of ours can have it.
func TestStreamsPreferWorkersThatStream(t *testing.T) {
	inProxy(t, func(b *bench) {
		w := b.worker(4, pieces(row, lastRow))
		ours := b.worker(5, serveStream)
		c := b.client(5)
		for id := range byte(20) {
			c.send(run(id+1, stream))
			if r := c.collect(id + 1); r.body != first+second+done {
				t.Fatalf("%+v", r)
			}
		}
		if len(w.seen()) != 0 {
			t.Errorf("%d streams are imitated", len(w.seen()))
		}
		ours.leave()
		synctest.Wait()
		c.send(run(99, stream))
		if r := c.collect(99); header(r, headerStream) != "emulated" {
			t.Errorf("%+v", r)
		}
	})
}

// TestFieldsThatNoReferenceWorkerTakesAreNamed: the caller learns the parameter, and no worker is asked.
func TestFieldsThatNoReferenceWorkerTakesAreNamed(t *testing.T) {
	for param, tc := range map[string]struct {
		value   string
		version int32
	}{
		"tools": {`[{"type":"function","function":{"name":"f"}}]`, 4}, "top_k": {"4", 4}, "seed": {"1", 2}, "logprobs": {"true", 2},
	} {
		inProxy(t, func(b *bench) {
			w := b.worker(tc.version, serveWhole)
			c := b.client(5)
			c.send(run(1, strings.Replace(chat, `"max_tokens"`, `"`+param+`":`+tc.value+`,"max_tokens"`, 1)))
			r := c.collect(1)
			if r.head == nil || r.head.StatusCode != badStatus || !strings.Contains(r.body, `"param":"`+param+`"`) || !strings.Contains(r.body, "unsupported_parameter") {
				t.Errorf("%s: %+v", param, r)
			}
			if len(w.seen()) != 0 || b.settled() != 0 {
				t.Errorf("%s: the worker was asked", param)
			}
		})
	}
}

// TestAnImitationIsNotCancelledButItsSlotStays: there is no word for it; the work counts until the worker's own end.
func TestAnImitationIsNotCancelledButItsSlotStays(t *testing.T) {
	inProxy(t, func(b *bench) {
		release := make(chan struct{})
		w := b.worker(4, func(w *scriptWorker, o order) {
			w.begin(o, headOf(200, "application/json", ""), nil)
			w.part(o, row, nil)
			<-release
			w.part(o, lastRow, w.usage())
		})
		c := b.client(5)
		c.send(run(1, counting))
		synctest.Wait()
		c.send(&tl.ClientCancelQuery{RequestID: [32]byte{1}})
		if r := c.collect(1); r.code != 653 {
			t.Errorf("%+v", r)
		}
		if views, _ := b.p.sched.Snapshot(); views[0].Running != 1 || w.cancelled(w.seen()[0]) {
			t.Errorf("%+v", views)
		}
		close(release)
		synctest.Wait()
		if got := b.settled(); got != 74 {
			t.Errorf("billed %d", got)
		}
		if views, _ := b.p.sched.Snapshot(); views[0].Running != 0 {
			t.Errorf("%+v", views)
		}
	})
}

// TestASlowReaderOfAnImitation: a reference worker knows no credit, so what piles up ends that stream alone.
func TestASlowReaderOfAnImitation(t *testing.T) {
	long := strings.Replace(row, `"a"`, `"`+strings.Repeat("x", 100<<10)+`"`, 1)
	inProxy(t, func(b *bench) {
		b.worker(4, func(w *scriptWorker, o order) {
			w.begin(o, headOf(200, "application/json", ""), nil)
			for range 40 {
				w.part(o, long, nil)
			}
			w.part(o, lastRow, w.usage())
		})
		c := b.client(5)
		c.send(run(1, counting)) // no credit is given back
		body := 0
		for body < window {
			body += len(hear[*tl.ClientQueryAnswerPartEx](c.party).Answer)
		}
		if end := hear[*tl.ClientQueryAnswerErrorEx](c.party); end.ErrorCode != 653 || body != window {
			t.Errorf("%d %s after %d bytes", end.ErrorCode, end.Error, body)
		}
		b.settled()
	})
}

// TestPingsGoOnUntilTheFirstEvent: the head of a worker that has nothing yet is no sign of life for the app.
func TestPingsGoOnUntilTheFirstEvent(t *testing.T) {
	inProxy(t, func(b *bench) {
		b.worker(4, func(w *scriptWorker, o order) {
			w.begin(o, headOf(200, "application/json", ""), nil)
			<-time.After(35 * time.Second)
			w.part(o, row+lastRow, w.usage())
		})
		c := b.client(5)
		c.send(run(1, counting))
		if r := c.collect(1); strings.Count(r.body, sse.Ping) != 3 || !strings.HasSuffix(r.body, sse.Done) {
			t.Errorf("%q", r.body)
		}
	})
}

// TestCausesOfImitations: every failure of the package has an end of its own.
func TestCausesOfImitations(t *testing.T) {
	for from, want := range map[error]error{
		emulate.ErrTruncated: errTruncated, emulate.ErrTooLarge: errUnfit, emulate.ErrMalformed: errMalformed, errors.New("other"): errMalformed,
	} {
		if got := broken(from); !errors.Is(got, want) {
			t.Errorf("%v became %v", from, got)
		}
	}
}
