// Package enginetest is an inference engine in process that misbehaves on request (inference.md section 14).
//
// It owns the faults by name and counts what was asked, cancelled and left running, so that tests can assert that an
// engine's slot was freed. It trusts its callers: it is test support and never part of production. An Engine is safe
// for concurrent use. It computes nothing: answers are scripts.
package enginetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxBody bounds a request.
	maxBody = 32 << 20
	// marker in a prompt is followed by the name of a behaviour.
	marker = "fault:"
	// tagMarker is followed by a name for the request.
	tagMarker = "tag:"
	// patience bounds behaviours that never end by themselves.
	patience = time.Minute
)

// Engine is the handler of a fake engine.
type Engine struct {
	// Default is the behaviour of requests that name none.
	Default string

	// Requests counts completions asked for, Cancelled those whose connection closed before the script's end, Active those
	// under way.
	Requests, Cancelled, Active atomic.Int64
	sick, mute                  atomic.Bool

	mu     sync.Mutex
	last   []byte
	tagged map[string]int // tokens that were sent, by the tag of their request
}

// New makes an engine that answers well.
func New() *Engine { return &Engine{Default: "good", tagged: make(map[string]int)} }

// SetHealthy decides what the health path answers.
func (e *Engine) SetHealthy(ok bool) { e.sick.Store(!ok) }

// SetMute has the health path answer nothing at all.
func (e *Engine) SetMute(on bool) { e.mute.Store(on) }

// LastBody is the body of the latest completion request.
func (e *Engine) LastBody() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return bytes.Clone(e.last)
}

// ServeHTTP answers like an engine.
func (e *Engine) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/health":
		if e.mute.Load() {
			<-r.Context().Done()
		}
		if e.sick.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	case r.URL.Path == "/metrics":
		_, _ = fmt.Fprintf(w, "# TYPE fake:running gauge\nfake:running{engine=\"0\"} %d\nfake:waiting 0\nfake:old_kv 0.5\n", e.Active.Load())
	case r.URL.Path == "/v1/models":
		_, _ = io.WriteString(w, `{"object":"list","data":[{"id":"model","object":"model"}]}`)
	case r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/v1/"):
		e.complete(w, r)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// asked is what the fake reads of a request.
type asked struct {
	Stream bool `json:"stream"`
	N      int  `json:"n"`
	Max    int  `json:"max_tokens"`

	tag string
}

// Tagged is how many tokens the requests with a tag were sent. A tag stands in a prompt behind "tag:".
func (e *Engine) Tagged(tag string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.tagged[tag]
}

func (e *Engine) count(tag string, tokens int) {
	if tag == "" || tokens == 0 {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.tagged[tag] += tokens
}

// word is what follows a marker in a body: small letters, digits and hyphens.
func word(body []byte, marker string) (string, bool) {
	_, rest, ok := bytes.Cut(body, []byte(marker))
	end := bytes.IndexFunc(rest, func(c rune) bool { return c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') })
	if end >= 0 {
		rest = rest[:end]
	}
	return string(rest), ok
}

func (e *Engine) complete(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	var q asked
	if err != nil || json.Unmarshal(body, &q) != nil {
		http.Error(w, `{"error":{"message":"bad request","type":"invalid_request_error","code":400}}`, http.StatusBadRequest)
		return
	}
	e.mu.Lock()
	e.last = body
	e.mu.Unlock()
	e.Requests.Add(1)
	e.Active.Add(1)
	defer e.Active.Add(-1)
	name := e.Default
	if asked, ok := word(body, marker); ok {
		name = asked
	}
	q.tag, _ = word(body, tagMarker)
	s, ok := scriptOf(name, q)
	if !ok {
		http.Error(w, `{"error":{"message":"no such behaviour","type":"test","code":500}}`, http.StatusInternalServerError)
		return
	}
	p := &player{w: w, r: r, s: s}
	defer func() { e.count(q.tag, p.tokens) }()
	if p.play(q.Stream); r.Context().Err() != nil && !p.finished {
		e.Cancelled.Add(1)
	}
	if s.ignoreCancel {
		wait(nil, s.gap*time.Duration(len(s.events)))
	}
	if p.abort {
		panic(http.ErrAbortHandler) //nolint:forbidigo // the documented way to break a connection
	}
}

// Names lists the behaviours.
func Names() []string {
	return slices.Sorted(slices.Values(append(slices.Collect(maps.Keys(scripts(asked{}))), heavyNames()...)))
}

// wait pauses until done closes.
func wait(done <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
}
