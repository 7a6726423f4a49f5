package collateral

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"cocoon/measure/ratls"
	"cocoon/measure/ratls/pcs"
	"cocoon/tests/pcstest"
)

var _ ratls.CollateralHolder = (*pcs.Cache)(nil)

func TestServeEndsWithItsContext(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, http.NotFoundHandler(), slog.New(slog.DiscardHandler)) }()
	if code, _, _ := get(t, "http://"+l.Addr().String()); code != http.StatusNotFound {
		t.Errorf("status %d", code)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("an orderly end is an error: %v", err)
	}
}

func TestServeSaysWhyItCannotGoOn(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	pcstest.Contains(t, Serve(t.Context(), l, http.NotFoundHandler(), slog.New(slog.DiscardHandler)), "serving collateral on 127.0.0.1:")
}

func TestTooManyRequestsAtATimeAreSentAway(t *testing.T) {
	release := make(chan struct{})
	var inside sync.WaitGroup
	inside.Add(maxRequests)
	h := limited(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		inside.Done()
		<-release
	}))
	var all sync.WaitGroup
	for range maxRequests {
		all.Go(func() { h.ServeHTTP(&recorder{}, &http.Request{}) })
	}
	inside.Wait()
	var last recorder
	h.ServeHTTP(&last, &http.Request{})
	if last.code != http.StatusServiceUnavailable || last.Header().Get("Retry-After") == "" {
		t.Errorf("status %d", last.code)
	}
	close(release)
	all.Wait()
}

// recorder is a response that remembers its status.
type recorder struct {
	header http.Header
	code   int
	body   strings.Builder
}

func (r *recorder) Header() http.Header {
	if r.header == nil {
		r.header = http.Header{}
	}
	return r.header
}
func (r *recorder) WriteHeader(code int)              { r.code = code }
func (r *recorder) Write(b []byte) (int, error)       { return r.body.Write(b) }
func (r *recorder) WriteString(s string) (int, error) { return io.WriteString(&r.body, s) }
