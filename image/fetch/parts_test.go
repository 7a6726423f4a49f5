package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/go-cmp/cmp"

	"cocoon/image/lock"
)

func TestPlacesAreAskedInOrder(t *testing.T) {
	a := artefact(body, "http://mirror/a", "http://snapshot/a")
	sum := a.SHA256
	tests := map[string]struct {
		o    Options
		want []string
	}{
		"lock only":     {Options{}, []string{"http://mirror/a", "http://snapshot/a"}},
		"from first":    {Options{From: []string{"/mnt", "https://ours/x/"}}, []string{"/mnt/sha256/" + sum, "https://ours/x/sha256/" + sum, "http://mirror/a", "http://snapshot/a"}},
		"offline":       {Options{Offline: true, From: []string{"https://ours", "rel"}}, []string{"rel/sha256/" + sum}},
		"offline alone": {Options{Offline: true}, nil},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.o.places(a)); diff != "" {
				t.Errorf("places (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDeadlineGrowsWithTheFile(t *testing.T) {
	tests := map[string]struct {
		size   int64
		timing Timing
		want   time.Duration
	}{
		"tiny":    {1, Timing{}, defaultGrace},
		"64 MiB":  {64 << 20, Timing{}, defaultGrace + 1024*time.Second},
		"unknown": {0, Timing{}, defaultGrace + maxUnknownSize/defaultMinRate*time.Second},
		"fixed":   {64 << 20, Timing{Attempt: time.Second}, time.Second},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			d := &download{art: lock.Artefact{Size: tc.size}, opts: Options{Timing: tc.timing}}
			if got := d.deadline(); got != tc.want {
				t.Errorf("deadline %v, want %v", got, tc.want)
			}
		})
	}
}

func TestStatusDecidesAboutAnotherTry(t *testing.T) {
	tests := map[string]struct {
		code      int
		after     string
		permanent bool
		wait      time.Duration
	}{
		"gone":               {http.StatusGone, "", true, 0},
		"forbidden":          {http.StatusForbidden, "", true, 0},
		"absent":             {http.StatusNotFound, "3", true, 0},
		"broken":             {http.StatusInternalServerError, "", false, 0},
		"time-out":           {http.StatusRequestTimeout, "", false, 0},
		"busy":               {http.StatusServiceUnavailable, "", false, 0},
		"busy, come back":    {http.StatusServiceUnavailable, "7", false, 7 * time.Second},
		"limited, come back": {http.StatusTooManyRequests, "0", false, 0},
		"asks for an hour":   {http.StatusTooManyRequests, "3600", false, maxRetryAfter},
		"asks for a date":    {http.StatusTooManyRequests, "Fri, 31 Dec 1999 23:59:59 GMT", false, 0},
		"asks for the past":  {http.StatusTooManyRequests, "-5", false, 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			err := statusError(&http.Response{StatusCode: tc.code, Status: fmt.Sprint(tc.code), Header: http.Header{"Retry-After": {tc.after}}})
			if _, permanent := errors.AsType[*backoff.PermanentError](err); permanent != tc.permanent {
				t.Errorf("%v: permanent %v, want %v", err, permanent, tc.permanent)
			}
			var wait time.Duration
			if after, ok := errors.AsType[*backoff.RetryAfterError](err); ok {
				wait = after.Duration
			}
			if wait != tc.wait || !strings.Contains(err.Error(), fmt.Sprint(tc.code)) {
				t.Errorf("%v: waits %v, want %v and the status", err, wait, tc.wait)
			}
		})
	}
}

func TestPartialFileHasOneOwner(t *testing.T) {
	name := filepath.Join(t.TempDir(), "p")
	first, err := openPartial(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := tryPartial(name); second != nil || err != nil {
		t.Fatalf("a second owner: %v, %v", second, err)
	}
	if _, err := first.f.WriteString("done"); err != nil {
		t.Fatal(err)
	}
	if err := first.rewind(t.Context()); err != nil || first.size != 4 {
		t.Fatalf("rewind: %d bytes, %v", first.size, err)
	}
	// A waiter that opened the file before its commit must not take the finished file for a partial one.
	waiting := make(chan *partial)
	go func() {
		p, err := openPartial(context.WithoutCancel(t.Context()), name)
		if err != nil {
			t.Error(err)
		}
		waiting <- p
	}()
	if err := first.commit(name + ".done"); err != nil {
		t.Fatal(err)
	}
	if err := first.f.Close(); err != nil {
		t.Fatal(err)
	}
	p := <-waiting
	defer p.f.Close() //nolint:errcheck // test
	if err := p.rewind(t.Context()); err != nil || p.size != 0 {
		t.Errorf("the waiter has %d bytes, %v; want a new, empty file", p.size, err)
	}
	if got, err := os.ReadFile(name + ".done"); err != nil || string(got) != "done" {
		t.Errorf("committed %q, %v", got, err)
	}
}

func TestWorkersBoundTheConnections(t *testing.T) {
	var running, most atomic.Int64
	gate := make(chan struct{})
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		n := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		if n == 2 { // both workers are here: let everybody go on
			select {
			case <-gate:
			default:
				close(gate)
			}
		}
		select {
		case <-gate:
		case <-r.Context().Done():
		}
		send(w, []byte(r.URL.Path))
	})
	var arts []lock.Artefact
	for i := range 8 {
		path := fmt.Sprintf("/%d", i)
		arts = append(arts, artefact([]byte(path), url+path))
	}
	o := quick(t)
	o.Workers = 2
	if err := open(t).Ensure(t.Context(), arts, o); err != nil {
		t.Fatal(err)
	}
	if most.Load() != 2 {
		t.Errorf("%d connections at once, want 2", most.Load())
	}
}

func TestRedirectsToAnotherHostAreFollowed(t *testing.T) {
	target := serve(t, static(body))
	s, a := open(t), artefact(body, serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target, http.StatusFound) }))
	if err := s.Ensure(t.Context(), []lock.Artefact{a}, quick(t)); err != nil {
		t.Fatal(err)
	}
	mustHave(t, s, a, body)
}

func TestTransfersAreNotCompressed(t *testing.T) {
	var encodings sync.Map
	s := open(t)
	a := artefact(body, serve(t, func(w http.ResponseWriter, r *http.Request) {
		encodings.Store(r.Header.Get("Accept-Encoding"), true)
		static(body)(w, r)
	}))
	if err := s.Ensure(t.Context(), []lock.Artefact{a}, quick(t)); err != nil {
		t.Fatal(err)
	}
	encodings.Range(func(k, _ any) bool {
		if k != "identity" {
			t.Errorf("asked for the encoding %q, want identity: hashes and ranges are of the file", k)
		}
		return true
	})
}

// TestProcessesShareOneFolder runs this test binary several times on one store.
func TestProcessesShareOneFolder(t *testing.T) {
	const childEnv, urlFile = "COCOON_FETCH_TEST_CHILD", "url"
	if os.Getenv(childEnv) != "" { // a child: its working folder is the store and says where to fetch from
		url, err := os.ReadFile(urlFile)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Open(".")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Ensure(t.Context(), []lock.Artefact{artefact(body, string(url))}, quick(t)); err != nil {
			t.Fatal(err)
		}
		return
	}
	var asked atomic.Int64
	dir, url := t.TempDir(), serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		static(body)(w, r)
	})
	if err := os.WriteFile(filepath.Join(dir, urlFile), []byte(url), 0o600); err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var running []*exec.Cmd
	for range 3 {
		cmd := exec.CommandContext(t.Context(), exe, "-test.run", "^TestProcessesShareOneFolder$")
		cmd.Env = append(os.Environ(), childEnv+"=1")
		cmd.Dir = dir
		cmd.Stdout, cmd.Stderr = io.Discard, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		running = append(running, cmd)
	}
	for _, cmd := range running {
		if err := cmd.Wait(); err != nil {
			t.Errorf("a process: %v", err)
		}
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	mustHave(t, s, artefact(body), body)
	if asked.Load() != 1 {
		t.Errorf("%d downloads, want 1", asked.Load())
	}
}

func TestOpenNeedsAFolder(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, bytes.Repeat([]byte("x"), 3), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(name); err == nil || !strings.Contains(err.Error(), "opening the store") {
		t.Errorf("Open of a file: %v", err)
	}
}
