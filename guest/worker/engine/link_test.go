package engine_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cocoon/guest/worker/engine"
)

// spoken is an engine of a few words: it answers each request on a connection with the next of its lines, and counts
// connections.
func spoken(t *testing.T, answers ...string) (a *engine.Adapter, connections *atomic.Int32) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "e.sock")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	connections = new(atomic.Int32)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			in := bufio.NewReader(c)
			for _, answer := range answers {
				r, err := http.ReadRequest(in)
				if err != nil {
					break
				}
				_, _ = io.Copy(io.Discard, r.Body)
				_, _ = io.WriteString(c, answer)
			}
			_ = c.Close()
		}
	}()
	cfg, err := engine.Builtin(engine.Fake)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen = "unix:" + socket
	if a, err = engine.New(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); _ = l.Close(); <-done })
	return a, connections
}

func said(t *testing.T, a *engine.Adapter) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	res, err := a.Do(ctx, chatRequest("1", `{}`))
	if err != nil {
		return "error: " + err.Error()
	}
	defer res.Body.Close() //nolint:errcheck // test
	body, err := res.ReadAll(1 << 20)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(body)
}

// TestNobodyGetsAnothersAnswer: bytes that an engine writes beyond an answer are never the beginning of the next one.
func TestNobodyGetsAnothersAnswer(t *testing.T) {
	const first, second = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"
	for name, tc := range map[string]struct {
		answers     []string
		connections int32
	}{
		"an answer each":            {[]string{first, first, first}, 1},
		"two answers at once":       {[]string{first + second, first, first}, 3},
		"a connection to be closed": {[]string{strings.Replace(first, "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1), second, second}, 3},
		"informed first":            {[]string{"HTTP/1.1 103 Early Hints\r\n\r\n" + first, first, first}, 1},
		"closed after each":         {[]string{first}, 3},
	} {
		a, connections := spoken(t, tc.answers...)
		for range 3 {
			if got := said(t, a); got != "a" {
				t.Errorf("%s: %q", name, got)
			}
		}
		if n := connections.Load(); n != tc.connections {
			t.Errorf("%s: %d connections, want %d", name, n, tc.connections)
		}
	}
}

// TestHeadsAreBounded: an engine's head is bounded, and what is no answer is an error, on a new connection at once.
func TestHeadsAreBounded(t *testing.T) {
	for name, answer := range map[string]string{
		"a long head":      "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 70<<10) + "\r\nContent-Length: 1\r\n\r\na",
		"no HTTP":          "hello\r\n\r\n",
		"informed forever": strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 20),
		"nothing":          "",
	} {
		a, connections := spoken(t, answer)
		if got := said(t, a); !strings.HasPrefix(got, "error: ") || connections.Load() != 1 {
			t.Errorf("%s: %.80q, %d connections", name, got, connections.Load())
		}
	}
}

// TestValuesStayInTheirHeader: nothing that came with a request makes a second header of it.
func TestValuesStayInTheirHeader(t *testing.T) {
	a, connections := spoken(t)
	for _, r := range []engine.Request{
		{ContentType: "a\r\nX: y", ID: "1"}, {ContentType: "a", ID: "1\nX: y"}, {ContentType: "a\x00", ID: "1"}, {ContentType: "a", ID: "1\x7f"},
	} {
		r.Path = "/v1/chat/completions"
		if _, err := a.Do(t.Context(), r); err == nil {
			t.Errorf("%q, %q", r.ContentType, r.ID)
		}
	}
	if connections.Load() != 0 {
		t.Error("the engine was asked")
	}
}

// TestCancelEndsTheConnection: the end of a request's context ends a read that waits, and the engine's work.
func TestCancelEndsTheConnection(t *testing.T) {
	gone := make(chan struct{})
	a := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "data: 1\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		close(gone)
	}), nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	res, err := a.Do(ctx, chatRequest("1", `{}`))
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err := res.ReadAll(1 << 20); err == nil {
		t.Error("an end")
	}
	<-gone
	if err := res.Body.Close(); err != nil && !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
}

// TestAnnouncedSizes: an announced size is no promise: what is not there is an error, and what is beyond the limit is not read.
func TestAnnouncedSizes(t *testing.T) {
	long := strings.Repeat("x", 3<<20)
	for name, tc := range map[string]struct {
		answer, want string
		limit        int64
	}{
		"as announced":         {"Content-Length: 2\r\n\r\nab", "ab", 2},
		"empty":                {"Content-Length: 0\r\n\r\n", "", 2},
		"too short":            {"Content-Length: 3\r\n\r\nab", "error: unexpected EOF", 4},
		"beyond the limit":     {"Content-Length: 3\r\n\r\nabc", "error: the engine's answer is too large", 2},
		"not announced":        {"\r\nab", "ab", 2},
		"not announced, large": {"\r\nabc", "error: the engine's answer is too large", 2},
		"a large one":          {fmt.Sprintf("Content-Length: %d\r\n\r\n%s", len(long), long), long, 4 << 20},
	} {
		a, _ := spoken(t, "HTTP/1.1 200 OK\r\n"+tc.answer)
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		res, err := a.Do(ctx, chatRequest("1", `{}`))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		body, err := res.ReadAll(tc.limit)
		got := string(body)
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != tc.want {
			t.Errorf("%s: %.80q, want %.80q", name, got, tc.want)
		}
		_ = res.Body.Close()
		cancel()
	}
}

// TestAnEngineThatTakesNoConnectionsIsDown: its health is looked at on a new connection, as a request may need one.
func TestAnEngineThatTakesNoConnectionsIsDown(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "e.sock")
	l, err := new(net.ListenConfig).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l)
	}()
	defer func() { _ = server.Close(); <-done }()
	cfg, err := engine.Builtin(engine.Fake)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Listen = "unix:" + socket
	a, err := engine.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if err := a.Health(t.Context()); err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // connections that it has go on
	if err := a.Health(t.Context()); err == nil {
		t.Error("an engine that nobody can connect to is healthy")
	}
}
