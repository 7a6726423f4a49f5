package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	// maxAsk bounds a request to the scripted engine.
	maxAsk = 16 << 20
	// promptTokens is what every prompt counts as.
	promptTokens = 5
	// tokenGap paces a stream so that people see it flow.
	tokenGap = 20 * time.Millisecond
)

// script is every answer's text, in tokens.
func script() []string {
	return strings.SplitAfter("This answer is scripted: no model computed it. It came through an attested worker and proxy, was counted, and has a receipt.", " ")
}

// scriptedEngine speaks the worker's side of an engine's HTTP and computes nothing.
func scriptedEngine() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "fake:running 0\nfake:waiting 0\nfake:kv 0\n")
	})
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"model","object":"model"}]}`)
	})
	mux.HandleFunc("POST /v1/chat/completions", func(w http.ResponseWriter, r *http.Request) { complete(w, r, true) })
	mux.HandleFunc("POST /v1/completions", func(w http.ResponseWriter, r *http.Request) { complete(w, r, false) })
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotImplemented)
		_, _ = io.WriteString(w, `{"error":{"message":"the scripted engine has chat and completions only","type":"not_supported_error","code":501}}`)
	})
	return mux
}

// text is an answer's text, or the next piece of it, in the two shapes of the API.
type text struct {
	Role    string `json:"role,omitempty"`
	Content string `json:"content"`
}

type choice struct {
	Index   int     `json:"index"`
	Message *text   `json:"message,omitempty"`
	Delta   *text   `json:"delta,omitempty"`
	Text    *string `json:"text,omitempty"`
	Finish  *string `json:"finish_reason"`
}

type counts struct {
	Prompt     int `json:"prompt_tokens"`
	Completion int `json:"completion_tokens"`
	Total      int `json:"total_tokens"`
}

type document struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	Model   string   `json:"model"`
	Choices []choice `json:"choices"`
	Usage   *counts  `json:"usage,omitempty"`
}

// complete answers both kinds of completions.
func complete(w http.ResponseWriter, r *http.Request, chat bool) {
	var q struct {
		Stream bool   `json:"stream"`
		Max    int    `json:"max_tokens"`
		Model  string `json:"model"`
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAsk))
	if err != nil || json.Unmarshal(body, &q) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	tokens, finish := script(), "stop"
	if q.Max > 0 && q.Max < len(tokens) {
		tokens, finish = tokens[:q.Max], "length"
	}
	used := &counts{promptTokens, len(tokens), promptTokens + len(tokens)}
	object := map[bool]string{true: "chat.completion", false: "text_completion"}[chat]
	if !q.Stream {
		c := choice{Finish: &finish}
		all := strings.Join(tokens, "")
		if chat {
			c.Message = &text{"assistant", all}
		} else {
			c.Text = &all
		}
		data, err := json.Marshal(document{"scripted-1", object, 1, q.Model, []choice{c}, used})
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(data)
		return
	}
	if chat {
		object += ".chunk"
	}
	flow(w, r, tokens, func(token string, finish *string, used *counts) document {
		c := choice{Finish: finish}
		if chat {
			c.Delta = &text{"", token}
		} else {
			c.Text = &token
		}
		return document{"scripted-1", object, 1, q.Model, []choice{c}, used}
	}, finish)
}

// flow writes a stream: a token per event, the finish, the usage.
func flow(w http.ResponseWriter, r *http.Request, tokens []string, event func(string, *string, *counts) document, finish string) {
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	send := func(d document) bool {
		data, err := json.Marshal(d)
		if err == nil {
			_, err = fmt.Fprintf(w, "data: %s\n\n", data)
		}
		return err == nil && out.Flush() == nil
	}
	for i, token := range tokens {
		pause(r.Context(), tokenGap)
		if !send(event(token, nil, &counts{promptTokens, i + 1, promptTokens + i + 1})) {
			return
		}
	}
	last := event("", &finish, nil)
	end := event("", nil, &counts{promptTokens, len(tokens), promptTokens + len(tokens)})
	end.Choices = []choice{}
	if send(last) && send(end) {
		_, _ = io.WriteString(w, "data: [DONE]\n\n")
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// serveHTTP serves until ctx ends, when requests under way are cut: those who made them are gone by then.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	const headTime = 10 * time.Second
	server := &http.Server{Handler: h, ReadHeaderTimeout: headTime, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
