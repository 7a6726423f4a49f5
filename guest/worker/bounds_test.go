package worker

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/api/sse"
	"cocoon/contracts/pricing"
	"cocoon/contracts/promptcrypt"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
	"cocoon/guest/worker/engine"
	"cocoon/guest/worker/meter"
)

// says is an engine that answers every chat with one stream.
func says(stream string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path != "/v1/chat/completions" {
			return
		}
		w.Header().Set("Content-Type", eventStream)
		_, _ = io.WriteString(w, stream)
	})
}

// TestTheLastBytesHaveTheirReason: an answer whose end nobody takes ended for that reason, or because its time was up, and
// its message, its statement and the worker's counts agree.
func TestTheLastBytesHaveTheirReason(t *testing.T) {
	const frame = `data: {"choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":"stop"}]}` + "\n\n"
	stream := fmt.Sprintf(frame, strings.Repeat("x", window-len(frame)+len("%s")-5)) + sse.Done // of which 5 bytes fit
	for name, tc := range map[string]struct {
		slow    time.Duration
		timeout float64
		code    session.Code
		text    string
		status  int32
	}{
		"slow reader": {100 * time.Millisecond, 20, session.CodeCancelled, "slow reader", 1},
		"deadline":    {patience, 2, session.CodeTimeout, "timeout", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t, func(c *Config, d *Deps) {
				c.Times.Slow = tc.slow
				d.Engine = serveEngine(t, says(stream), nil)
			})
			p := k.connect(5)
			id := p.query(1, call{body: chat(true, "x"), timeout: tc.timeout})
			body := 0
			for {
				switch o := p.next().(type) {
				case *tl.ProxyQueryAnswerPartEx:
					body += len(o.Answer)
					continue
				case *tl.ProxyQueryAnswerErrorEx:
					if o.RequestID != id || o.ErrorCode != int32(tc.code) || !strings.Contains(o.Error, tc.text) || body != window {
						t.Errorf("after %d bytes: %d %s", body, o.ErrorCode, o.Error)
					}
				default:
					continue
				}
				break
			}
			if st, ok := p.next().(*tl.ProxyQueryStatement); !ok || st.Status != tc.status {
				t.Errorf("statement %+v", st)
			}
			k.until("counted", func() bool {
				s := k.w.Status().Totals
				return s.Success == 0 && s.Cancelled+s.Failed == 1
			})
		})
	}
}

// TestAnEngineThatGoesOnIsStopped: before its end at the bound of tokens, behind it at the size of one event; and an end that
// comes twice is one.
func TestAnEngineThatGoesOnIsStopped(t *testing.T) {
	const more, end = `data: {"choices":[{"index":%d,"delta":{"content":"a"}}]}` + "\n\n", `data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}` + "\n\n"
	for name, tc := range map[string]struct {
		choices int64
		events  string
		most    int
	}{
		"no end":                 {1, fmt.Sprintf(more, 0), 2 * readAhead},
		"one choice of two":      {2, end + fmt.Sprintf(more, 1), 2 * readAhead},
		"an end again and again": {1, end, sse.MaxEvent + readAhead},
	} {
		p := &prepared{maxTokens: 2, meter: meter.Options{Choices: tc.choices}}
		r := &relay{p: p, m: meter.New(p.meter)}
		piece := bytes.Repeat([]byte(tc.events), readSize/len(tc.events))
		passed := 0
		for done := false; !done && passed <= tc.most; passed += len(piece) {
			r.buf = r.m.Append(r.buf[:0], piece)
			done = r.exceeded(len(piece))
		}
		if passed > tc.most || len(r.m.Result().FinishReasons) > int(tc.choices) {
			t.Errorf("%s: %d bytes passed, %d ends", name, passed, len(r.m.Result().FinishReasons))
		}
	}
}

// TestEveryPromptIsBounded: the engine gets the bound of one answer, and the request is billed for as many as it asked for.
func TestEveryPromptIsBounded(t *testing.T) {
	k := newKit(t, nil)
	body := `{"model":"test/model","prompt":["a","b","c"],"n":2,"max_tokens":7}`
	p, err := k.w.prepare(&tl.HTTPRequest{Method: http.MethodPost, URL: "/v1/completions", Payload: []byte(body)}, nil, strings.Repeat("0", 64), new(desk))
	if err != nil {
		t.Fatal(err)
	}
	if p.maxTokens != 42 || p.meter.Choices != 6 || !bytes.Contains(bytes.Join(p.body, nil), []byte(`"max_tokens":7`)) {
		t.Errorf("%d tokens, %d choices, %s", p.maxTokens, p.meter.Choices, bytes.Join(p.body, nil))
	}
}

// TestCostsDoNotWrapAround: the largest counts at the largest price cost much, and the sum of two such costs is no debt.
func TestCostsDoNotWrapAround(t *testing.T) {
	const one = 10_000
	dear := Prices{PerToken: math.MaxUint64, Multipliers: pricing.Multipliers{Prompt: math.MaxInt32, Cached: one, Completion: math.MaxInt32, Reasoning: one}}
	c := cost(meter.Usage{Prompt: math.MaxInt32, Completion: math.MaxInt32}, coefficientLimit-1, dear)
	if c.Prompt <= 0 || c.Completion <= 0 || c.Prompt+c.Completion <= 0 {
		t.Errorf("%+v", c)
	}
	if c := cost(meter.Usage{Prompt: 34, Cached: 11, Completion: 100, Reasoning: 10}, 1500, Prices{20, pricing.Multipliers{Prompt: one, Cached: 1000, Completion: 2 * one, Reasoning: 3 * one}}); c != (meter.Cost{Prompt: 700, Completion: 6300}) {
		t.Errorf("%+v", c)
	}
}

// TestNothingOfAnEncryptedAnswerIsReadable: not an event that speaks of no error, nor what stands beside the data.
func TestNothingOfAnEncryptedAnswerIsReadable(t *testing.T) {
	client, worker := [32]byte{1}, [32]byte{2}
	_, talk, err := promptcrypt.SealRequest([]byte(`{"model":"m"}`), client, promptcrypt.Public(worker), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &cipher{talk: talk}
	for in, readable := range map[string]bool{
		`data: {"error":null,"delta":"secret"}` + "\n\n":            false,
		`data: {"error":"secret"}` + "\n\n":                         false,
		"event: a\ndata: {\ndata: \"delta\":\"secret\"}\n\n":        false,
		`data: {"error":{"code":"timeout","message":"x"}}` + "\n\n": true,
		": ping\n\n": true, "data: [DONE]\n\n": true, "data:  [DONE] \n\n": true,
	} {
		out, err := c.seal([]byte(in))
		if err != nil || (string(out) == in) != readable || bytes.Contains(out, []byte("secret")) {
			t.Errorf("%q became %q, %v", in, out, err)
		}
	}
	if out, err := c.seal([]byte("data: secret\n\n")); err == nil || len(out) > 0 {
		t.Errorf("what is no document became %q, %v", out, err)
	}
}

// TestAnEnginesHeaders: they go on where engine.toml says so, but for those of the connection and those that are ours.
func TestAnEnginesHeaders(t *testing.T) {
	engineSays := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{"X-Model": "3", "X-Cocoon-Worker-Start": "0", "Connection": "X-Hop", "X-Hop": "1"} {
			w.Header().Set(name, value)
		}
		says(`data: {"choices":[{"index":0,"finish_reason":"stop"}]}`+"\n\n").ServeHTTP(w, r)
	})
	for strip, want := range map[bool]string{true: "Content-Type X-Cocoon-Worker-Start", false: "Content-Type X-Cocoon-Worker-Start X-Model"} {
		k := newKit(t, func(_ *Config, d *Deps) {
			d.Engine = serveEngine(t, engineSays, func(c *engine.Config) { c.StripHeaders = strip })
		})
		a := k.connect(5).run(1, call{body: chat(true, "x")})
		names := make([]string, 0, len(a.head.Headers))
		for _, h := range a.head.Headers {
			names = append(names, h.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("stripped %t: %s, want %s", strip, got, want)
		}
	}
}
