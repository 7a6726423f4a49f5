package fetch

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"cocoon/image/lock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// body is larger than one copy buffer, so that downloads come in pieces.
var body = bytes.Repeat([]byte("cocoon! "), 64<<10)

func artefact(data []byte, sources ...string) lock.Artefact {
	return lock.Artefact{
		Name: "thing", Version: "1", Arch: "amd64", Kind: lock.Deb, SHA256: fmt.Sprintf("%x", sha256.Sum256(data)),
		Size: int64(len(data)), Sources: sources,
	}
}

// quick are deadlines for tests.
func quick(t *testing.T) Options {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return Options{
		Client: &http.Client{Transport: transport},
		Timing: Timing{Stall: 30 * time.Second, Attempt: time.Minute, Backoff: time.Millisecond, Tries: 3},
	}
}

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func serve(t *testing.T, h http.HandlerFunc) string {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.URL
}

// send writes what a server has, at once; the client may be gone.
func send(w http.ResponseWriter, data []byte) {
	_, _ = w.Write(data)
	_ = http.NewResponseController(w).Flush()
}

func static(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	}
}

// mustHave checks that the store has exactly these bytes and no leftovers.
func mustHave(t *testing.T, s *Store, a lock.Artefact, want []byte) {
	t.Helper()
	p, ok := s.Path(a.SHA256)
	if !ok {
		t.Fatal("the store does not have the file")
	}
	if got, err := os.ReadFile(p); err != nil || !bytes.Equal(got, want) {
		t.Errorf("stored %d bytes (%v), want %d", len(got), err, len(want))
	}
	if left := list(t, filepath.Join(s.dir, partialDir)); len(left) != 0 {
		t.Errorf("partial files %q are left", left)
	}
}

func list(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestEnsureStoresWhatTheHashNames(t *testing.T) {
	s, a := open(t), artefact(body, serve(t, static(body)))
	var phases []Phase
	o := quick(t)
	var mu sync.Mutex
	o.Progress = func(e Event) {
		mu.Lock()
		defer mu.Unlock()
		if len(phases) == 0 || phases[len(phases)-1] != e.Phase {
			phases = append(phases, e.Phase)
		}
	}
	for range 2 {
		if err := s.Ensure(t.Context(), []lock.Artefact{a, a}, o); err != nil {
			t.Fatal(err)
		}
	}
	mustHave(t, s, a, body)
	if diff := cmp.Diff([]Phase{Loading, Done, Cached}, phases); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
}

func TestUnknownSizeIsAllowed(t *testing.T) {
	s, a := open(t), artefact(body, serve(t, static(body)))
	a.Size = 0
	if err := s.Ensure(t.Context(), []lock.Artefact{a}, quick(t)); err != nil {
		t.Fatal(err)
	}
	mustHave(t, s, a, body)
}

// TestBadSourcesAreNamedAndPassedOver: each bad source yields its own error, and a good one behind it still wins.
func TestBadSourcesAreNamedAndPassedOver(t *testing.T) {
	tests := map[string]struct {
		handler http.HandlerFunc
		want    error
		text    string
	}{
		"wrong bytes": {static(bytes.ToUpper(body)), ErrWrongHash, ""},
		"too long":    {static(append(bytes.Clone(body), 'x')), ErrTooLong, ""},
		"too short":   {static(body[:len(body)-1]), ErrTruncated, ""},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(body)))
			send(w, body[:1000])
		}, io.ErrUnexpectedEOF, ""},
		"absent":                   {http.NotFound, nil, "404"},
		"broken":                   {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, nil, "502"},
		"error page":               {func(w http.ResponseWriter, _ *http.Request) { send(w, []byte("<html>")) }, ErrTruncated, ""},
		"endless loop":             {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, nil, "redirects"},
		"gives what was not asked": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusPartialContent) }, nil, "range"},
		"hangs":                    {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, ErrSlow, ""},
		"stalls in the middle": {func(w http.ResponseWriter, r *http.Request) {
			send(w, body[:1000])
			<-r.Context().Done()
		}, ErrSlow, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			bad := serve(t, tc.handler)
			o := quick(t)
			o.Timing.Tries = 1
			if errors.Is(tc.want, ErrSlow) {
				o.Timing.Stall = 100 * time.Millisecond
			}
			s, a := open(t), artefact(body, bad)
			err := s.Ensure(t.Context(), []lock.Artefact{a}, o)
			var missing *MissingError
			if !errors.As(err, &missing) || len(missing.Attempts) != 1 || missing.Attempts[0].Source != bad {
				t.Fatalf("Ensure: %v, want a MissingError with one attempt", err)
			}
			if tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("Ensure: %v, want %v", err, tc.want)
			}
			if !strings.Contains(err.Error(), tc.text) {
				t.Errorf("Ensure: %v, want an error with %q", err, tc.text)
			}
			if _, ok := s.Path(a.SHA256); ok {
				t.Error("a bad file is in the store")
			}
			a.Sources = append(a.Sources, serve(t, static(body)))
			if errors.Is(tc.want, ErrSlow) { // not again for so long
				a.Sources = a.Sources[1:]
			}
			o.Timing.Stall = 30 * time.Second
			if err := s.Ensure(t.Context(), []lock.Artefact{a}, o); err != nil {
				t.Fatalf("the good source behind the bad one: %v", err)
			}
			mustHave(t, s, a, body)
		})
	}
}

func TestSlowButSteadySourceEndsAtTheDeadline(t *testing.T) {
	drip := serve(t, func(w http.ResponseWriter, r *http.Request) {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for i := range body {
			send(w, body[i:i+1])
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
	})
	o := quick(t)
	o.Timing.Attempt, o.Timing.Tries = 200*time.Millisecond, 1
	start := time.Now()
	err := open(t).Ensure(t.Context(), []lock.Artefact{artefact(body, drip)}, o)
	if !errors.Is(err, ErrSlow) || time.Since(start) > 50*time.Second {
		t.Errorf("Ensure: %v after %v, want ErrSlow at once", err, time.Since(start))
	}
}

func TestMissingErrorSaysEverything(t *testing.T) {
	first, second := serve(t, http.NotFound), serve(t, static([]byte("x")))
	a, b := artefact(body, first+"/pool/thing.deb", second+"/file"), artefact([]byte("other"), first+"/pool/other.deb")
	b.Name = "other"
	o := quick(t)
	o.Timing.Tries = 1
	o.From = []string{t.TempDir()}
	err := open(t).Ensure(t.Context(), []lock.Artefact{a, b}, o)
	for _, want := range []string{
		"deb thing 1 amd64", a.SHA256, first + "/pool/thing.deb", "404", second + "/file", "ended early", o.From[0], "no such file",
		"--from", "--export", "deb other 1 amd64", b.SHA256,
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q:\n%v", want, err)
		}
	}
}

// flaky cuts the connection after so many bytes of each answer, and counts them.
func flaky(cut int, requests *atomic.Int64, ranges *sync.Map) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		n := requests.Add(1)
		ranges.Store(n, r.Header.Get("Range"))
		static(body)(&cutWriter{w, cut}, r)
	}
}

type cutWriter struct {
	http.ResponseWriter
	left int
}

func (c *cutWriter) Write(p []byte) (int, error) {
	if len(p) > c.left {
		send(c.ResponseWriter, p[:c.left])
		panic(http.ErrAbortHandler) //nolint:forbidigo // net/http's way to cut a connection
	}
	c.left -= len(p)
	return c.ResponseWriter.Write(p)
}

func TestInterruptedDownloadContinues(t *testing.T) {
	var requests atomic.Int64
	var ranges sync.Map
	cut := len(body)/2 + 100
	url := serve(t, flaky(cut, &requests, &ranges))
	s, a := open(t), artefact(body, url)
	o := quick(t)
	o.Timing.Tries = 1
	if err := s.Ensure(t.Context(), []lock.Artefact{a}, o); err == nil {
		t.Fatal("a cut connection passes for a whole file")
	}
	again, err := Open(s.dir) // as another run of the program would
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Ensure(t.Context(), []lock.Artefact{a}, o); err != nil {
		t.Fatal(err)
	}
	mustHave(t, again, a, body)
	if got, _ := ranges.Load(int64(2)); got == "" || requests.Load() != 2 {
		t.Errorf("%d requests, the second for range %q; want it to continue", requests.Load(), got)
	}
}

func TestContinuationOfWrongBytesStartsOver(t *testing.T) {
	s, a := open(t), artefact(body, serve(t, static(body)))
	for name, leftover := range map[string][]byte{
		"wrong": bytes.Repeat([]byte("x"), 1000), "too long": append(bytes.Clone(body), "more"...), "same length": bytes.ToUpper(body), "whole": body,
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(s.done(a.SHA256)); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.partial(a.SHA256), leftover, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.Ensure(t.Context(), []lock.Artefact{a}, quick(t)); err != nil {
				t.Fatal(err)
			}
			mustHave(t, s, a, body)
		})
	}
}

func TestServerWithoutRangesStartsOver(t *testing.T) {
	s, a := open(t), artefact(body, serve(t, func(w http.ResponseWriter, _ *http.Request) { send(w, body) }))
	if err := os.WriteFile(s.partial(a.SHA256), body[:1000], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Ensure(t.Context(), []lock.Artefact{a}, quick(t)); err != nil {
		t.Fatal(err)
	}
	mustHave(t, s, a, body)
}

func TestRetryWaitsAndSucceeds(t *testing.T) {
	var n atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch n.Add(1) {
		case 1:
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
		case 2:
			w.WriteHeader(http.StatusInternalServerError)
		default:
			static(body)(w, r)
		}
	})
	s, a := open(t), artefact(body, url)
	if err := s.Ensure(t.Context(), []lock.Artefact{a}, quick(t)); err != nil {
		t.Fatal(err)
	}
	mustHave(t, s, a, body)
}

func TestCorruptStoredFileIsFoundAndReplaced(t *testing.T) {
	url := serve(t, static(body))
	s, a := open(t), artefact(body, url)
	if err := os.WriteFile(s.done(a.SHA256), bytes.ToUpper(body), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context(), a.SHA256); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Check: %v, want ErrCorrupt", err)
	}
	err := s.Ensure(t.Context(), []lock.Artefact{a}, Options{Offline: true})
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("offline: %v, want ErrCorrupt", err)
	}
	if err := s.Ensure(t.Context(), []lock.Artefact{a}, quick(t)); err != nil {
		t.Fatal(err)
	}
	mustHave(t, s, a, body)
	// Damage after a successful check shows by the file's time.
	if err := os.WriteFile(s.done(a.SHA256), bytes.ToUpper(body), 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(s.done(a.SHA256), later, later); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context(), a.SHA256); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Check after a change: %v, want ErrCorrupt", err)
	}
}

func TestOfflineMakesNoConnection(t *testing.T) {
	var asked atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		static(body)(w, r)
	})
	s, a := open(t), artefact(body, url)
	o := quick(t)
	o.Offline, o.From = true, []string{url}
	err := s.Ensure(t.Context(), []lock.Artefact{a}, o)
	if err == nil || !strings.Contains(err.Error(), "offline") || !strings.Contains(err.Error(), "cocoon image fetch") || asked.Load() != 0 {
		t.Errorf("Ensure: %v with %d requests, want a refusal that names the command", err, asked.Load())
	}
	if _, err := (Fetcher{s, o}).Get(t.Context(), url, 10); err == nil || asked.Load() != 0 {
		t.Errorf("Get: %v with %d requests", err, asked.Load())
	}
}

func TestExportFeedsAnotherStore(t *testing.T) {
	s, a, dir := open(t), artefact(body, serve(t, static(body))), t.TempDir()
	if err := s.Export(t.Context(), dir, []lock.Artefact{a}); err == nil {
		t.Fatal("Export of a missing file succeeds")
	}
	if err := s.Ensure(t.Context(), []lock.Artefact{a}, quick(t)); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second finds everything there
		if err := s.Export(t.Context(), dir, []lock.Artefact{a}); err != nil {
			t.Fatal(err)
		}
	}
	a.Sources = nil
	for name, o := range map[string]Options{
		"folder": {Offline: true, From: []string{dir}},
		"URL":    {From: []string{serve(t, http.FileServer(http.Dir(dir)).ServeHTTP) + "/"}, Client: quick(t).Client},
	} {
		t.Run(name, func(t *testing.T) {
			other := open(t)
			if err := other.Ensure(t.Context(), []lock.Artefact{a}, o); err != nil {
				t.Fatal(err)
			}
			mustHave(t, other, a, body)
		})
	}
	if err := os.WriteFile(filepath.Join(dir, doneDir, a.SHA256), []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(t).Ensure(t.Context(), []lock.Artefact{a}, Options{Offline: true, From: []string{dir}}); !errors.Is(err, ErrTruncated) {
		t.Errorf("a damaged export: %v, want ErrTruncated", err)
	}
	if err := s.Export(t.Context(), dir, []lock.Artefact{a}); err != nil {
		t.Errorf("Export does not repair: %v", err)
	}
}

// fullDisk takes so many bytes and then fails like a full file system.
type fullDisk struct {
	w    io.Writer
	left int
}

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > d.left {
		return 0, &os.PathError{Op: "write", Path: "partial", Err: unix.ENOSPC}
	}
	d.left -= len(p)
	return d.w.Write(p)
}

func TestFullDiskEndsTheRunAndLeavesNothing(t *testing.T) {
	var asked atomic.Int64
	count := func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		static(body)(w, r)
	}
	s, a := open(t), artefact(body, serve(t, count), serve(t, count))
	s.writer = func(f *os.File) io.Writer { return &fullDisk{f, 200_000} }
	err := s.Ensure(t.Context(), []lock.Artefact{a}, quick(t))
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "free space") || !strings.Contains(err.Error(), s.dir) {
		t.Errorf("Ensure: %v, want a full disk with the folder and what to do", err)
	}
	if asked.Load() != 1 {
		t.Errorf("%d requests; other sources cannot cure a full disk", asked.Load())
	}
	if left := append(list(t, filepath.Join(s.dir, partialDir)), list(t, filepath.Join(s.dir, doneDir))...); len(left) != 0 {
		t.Errorf("%q are left", left)
	}
}

func TestCancelledDownloadKeepsItsPartialFile(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		send(w, body[:200_000])
		<-r.Context().Done()
	})
	o := quick(t)
	o.Progress = func(e Event) {
		if e.Phase == Loading && e.Bytes == 200_000 {
			cancel()
		}
	}
	s, a := open(t), artefact(body, url)
	if err := s.Ensure(ctx, []lock.Artefact{a}, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("Ensure: %v, want context.Canceled", err)
	}
	info, err := os.Stat(s.partial(a.SHA256))
	if err != nil || info.Size() != 200_000 {
		t.Fatalf("the partial file: %v, %v; want 200000 bytes", info, err)
	}
	if _, ok := s.Path(a.SHA256); ok {
		t.Error("half a file is in the store")
	}
}

// TestSeveralStoresShareOneFolder: independent stores behave as processes do (flock is per open file), so one of them
// downloads and the others find its result.
func TestSeveralStoresShareOneFolder(t *testing.T) {
	var asked atomic.Int64
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		static(body)(w, r)
	})
	dir, a, o := t.TempDir(), artefact(body, url), quick(t)
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			s, err := Open(dir)
			if err == nil {
				err = s.Ensure(t.Context(), []lock.Artefact{a}, o)
			}
			errs[i] = err
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil || asked.Load() != 1 {
		t.Errorf("%d requests, %v; want 1", asked.Load(), err)
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	mustHave(t, s, a, body)
}

func TestWaitForAnotherProcessEndsWithTheContext(t *testing.T) {
	s, a := open(t), artefact(body)
	held, err := openPartial(t.Context(), s.partial(a.SHA256))
	if err != nil {
		t.Fatal(err)
	}
	defer held.f.Close() //nolint:errcheck // releases the lock
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := s.Ensure(ctx, []lock.Artefact{a}, quick(t)); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "another process") {
		t.Errorf("Ensure: %v, want a deadline that names the other process", err)
	}
}

func TestGetIsBounded(t *testing.T) {
	s, o := open(t), quick(t)
	f := Fetcher{s, o}
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ok" {
			http.NotFound(w, r)
			return
		}
		send(w, []byte("12345"))
	})
	if got, err := f.Get(t.Context(), url+"/ok", 5); err != nil || string(got) != "12345" {
		t.Errorf("Get = %q, %v", got, err)
	}
	if _, err := f.Get(t.Context(), url+"/ok", 4); !errors.Is(err, ErrTooLong) {
		t.Errorf("Get over its limit: %v, want ErrTooLong", err)
	}
	if _, err := f.Get(t.Context(), url+"/absent", 5); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("Get of nothing: %v", err)
	}
}

func TestEnsureRefusesBadRequests(t *testing.T) {
	s := open(t)
	for name, sum := range map[string]string{"empty": "", "upper case": strings.Repeat("A", 64), "path": "../../etc/passwd"} {
		t.Run(name, func(t *testing.T) {
			if err := s.Ensure(t.Context(), []lock.Artefact{{SHA256: sum}}, quick(t)); err == nil || !strings.Contains(err.Error(), "not a SHA-256") {
				t.Errorf("Ensure: %v", err)
			}
			if _, ok := s.Path(sum); ok {
				t.Error("Path knows it")
			}
			if err := s.Check(t.Context(), sum); err == nil {
				t.Error("Check passes it")
			}
		})
	}
	if err := s.Ensure(t.Context(), nil, Options{Workers: maxWorkers + 1}); err == nil || !strings.Contains(err.Error(), "workers") {
		t.Errorf("too many workers: %v", err)
	}
	if err := s.Ensure(t.Context(), []lock.Artefact{artefact(body, "file:///etc/passwd")}, quick(t)); err == nil {
		t.Error("a file URL in a lock is read")
	}
}
