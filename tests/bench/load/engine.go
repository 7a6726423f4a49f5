package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// Tokens is how many events of a stream carry text; one with the usage and [DONE] follow (inference.md section 18.2).
	Tokens = 100
	// Events is how many events a stream has.
	Events = Tokens + 2
	// Model is the name that the engine answers to.
	Model = "model"

	promptTokens = 12
	maxBody      = 16 << 20
	headTime     = 10 * time.Second
	// sentences make a whole answer about 1.1 KB long.
	sentences = 18
)

// answers are the engine's.
type answers struct {
	whole  []byte
	events [][]byte
}

func newAnswers() answers {
	usage := fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d}`, promptTokens, Tokens, promptTokens+Tokens)
	text := strings.Repeat("The quick brown fox jumps over the lazy dog. ", sentences)
	a := answers{whole: fmt.Appendf(nil, `{"id":"chatcmpl-0123456789abcdef0123456789abcdef","object":"chat.completion","created":1700000000,"model":%q,`+
		`"choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":%s}`, Model, text, usage)}
	chunk := func(rest string) {
		a.events = append(a.events, fmt.Appendf(nil, "data: {\"id\":\"chatcmpl-0123456789abcdef0123456789abcdef\",\"object\":\"chat.completion.chunk\","+
			"\"created\":1700000000,\"model\":%q,%s}\n\n", Model, rest))
	}
	for i := range Tokens {
		finish := "null"
		if i == Tokens-1 {
			finish = `"stop"`
		}
		chunk(fmt.Sprintf(`"choices":[{"index":0,"delta":{"content":" tok%03d"},"logprobs":null,"finish_reason":%s}]`, i, finish))
	}
	chunk(`"choices":[],"usage":` + usage)
	a.events = append(a.events, []byte("data: [DONE]\n\n"))
	return a
}

// Whole is the answer that is no stream.
func Whole() []byte { return newAnswers().whole }

// Engine answers every completion with the same bytes.
type Engine struct {
	answers answers
	// gap is the pause before each event, in nanoseconds; 0 is none.
	gap    atomic.Int64
	server *http.Server
	done   chan struct{}
}

// Start serves on the listeners until Close.
func Start(listeners ...net.Listener) *Engine {
	e := &Engine{answers: newAnswers(), done: make(chan struct{}, len(listeners))}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "fake:running 0\nfake:waiting 0\nfake:kv 0\n") // a reader that is gone asks again
	})
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"object":"list","data":[{"id":%q,"object":"model"}]}`, Model) // as above
	})
	mux.HandleFunc("POST /", e.complete)
	e.server = &http.Server{Handler: mux, ReadHeaderTimeout: headTime, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	for _, l := range listeners {
		go func() {
			defer func() { e.done <- struct{}{} }()
			_ = e.server.Serve(l) // ends with Close
		}()
	}
	return e
}

// Pace sets the pause before each event of the streams that begin from now on.
func (e *Engine) Pace(gap time.Duration) { e.gap.Store(int64(gap)) }

// Close ends the engine and cuts what is under way.
func (e *Engine) Close() error {
	err := e.server.Close()
	for range cap(e.done) {
		<-e.done
	}
	return err
}

func (e *Engine) complete(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil || !json.Valid(body) {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if !bytes.Contains(body, []byte(`"stream":true`)) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", fmt.Sprint(len(e.answers.whole)))
		_, _ = w.Write(e.answers.whole) // whoever is gone reads nothing
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	if err := e.flow(r.Context(), w); err != nil {
		panic(http.ErrAbortHandler) //nolint:forbidigo // the way to end an answer as broken
	}
}

// flow writes a stream, each event in a write of its own.
func (e *Engine) flow(ctx context.Context, w http.ResponseWriter) error {
	out := http.NewResponseController(w)
	gap := time.Duration(e.gap.Load())
	var pause *time.Timer
	for i, event := range e.answers.events {
		if gap > 0 {
			if pause == nil {
				pause = time.NewTimer(gap)
				defer pause.Stop()
			} else {
				pause.Reset(gap)
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-pause.C:
			}
		}
		if _, err := w.Write(event); err != nil {
			return err
		}
		if i == len(e.answers.events)-1 {
			return nil
		}
		if err := out.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return err
		}
	}
	return nil
}
