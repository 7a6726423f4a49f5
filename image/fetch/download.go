package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"golang.org/x/sys/unix"

	"cocoon/image/lock"
)

const (
	userAgent = "cocoon-image/1"
	// maxRetryAfter bounds the pause that a server may ask for.
	maxRetryAfter = time.Minute
	maxBackoff    = 30 * time.Second
	copyBuffer    = 128 << 10
)

// The reasons that end an attempt. They stand in a MissingError's attempts, so callers can tell them apart.
var (
	ErrWrongHash = errors.New("content has another SHA-256")
	ErrTooLong   = errors.New("content is longer than the lock says")
	ErrTruncated = errors.New("content ended early")
	ErrSlow      = errors.New("the source was too slow")
)

// errStale marks a transfer that could not continue behind what an earlier one left; that is gone now.
var errStale = errors.New("cannot continue behind an earlier download")

// download is one artefact on its way into the store.
type download struct {
	store    *Store
	art      lock.Artefact
	opts     Options
	part     *partial
	attempts []Attempt
}

func (s *Store) begin(ctx context.Context, a lock.Artefact, o Options) (*download, error) {
	p, err := openPartial(ctx, s.partial(a.SHA256))
	if err != nil {
		return nil, err
	}
	return &download{store: s, art: a, opts: o, part: p}, nil
}

// close releases the partial file; an empty one is removed.
func (d *download) close() {
	if d.part.size == 0 {
		_ = d.part.discard() // an empty leftover harms nothing
	}
	_ = d.part.f.Close() // commit has synced what counts
}

// run asks the sources in order until one has delivered.
func (d *download) run(ctx context.Context) error {
	if err := d.part.rewind(ctx); err != nil {
		return fmt.Errorf("fetching %s: %w", d.art.Label(), err)
	}
	for _, place := range d.opts.places(d.art) {
		err := d.from(ctx, place)
		if err == nil {
			d.opts.Progress(Event{Artefact: d.art, Phase: Done, Bytes: d.part.size, Source: place})
			return nil
		}
		if cause := context.Cause(ctx); cause != nil {
			return fmt.Errorf("fetching %s from %s: %w", d.art.Label(), place, cause)
		}
		if isLocal(err) {
			_ = d.part.clear() // the disk is in trouble already; give back what we took
			return fmt.Errorf("fetching %s into %s: %w", d.art.Label(), d.store.dir, err)
		}
		d.attempts = append(d.attempts, Attempt{place, err})
		d.opts.Progress(Event{Artefact: d.art, Phase: NextTry, Source: place, Err: err})
	}
	return &MissingError{Artefact: d.art, Offline: d.opts.Offline, Attempts: d.attempts}
}

func (d *download) from(ctx context.Context, place string) error {
	if !isURL(place) {
		return d.copyFolder(ctx, place)
	}
	exp := backoff.NewExponentialBackOff()
	exp.InitialInterval = d.opts.Timing.Backoff
	exp.MaxInterval = maxBackoff
	attempt := func() (struct{}, error) {
		err := d.attempt(ctx, place)
		if errors.Is(err, errStale) { // the earlier bytes were at fault: once more, from the start
			err = d.attempt(ctx, place)
		}
		return struct{}{}, err
	}
	_, err := backoff.Retry(ctx, attempt,
		backoff.WithBackOff(exp), backoff.WithMaxTries(uint(d.opts.Timing.Tries)), backoff.WithMaxElapsedTime(0))
	return err
}

// copyFolder takes the file from an exported store.
func (d *download) copyFolder(ctx context.Context, name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read side
	if err := d.part.clear(); err != nil {
		return localError{err}
	}
	if err := d.receive(ctx, f, name, func() {}); err != nil {
		return err
	}
	return d.finish(false)
}

// attempt makes one request and continues behind the bytes that are there.
func (d *download) attempt(parent context.Context, url string) error {
	ctx, cancel := context.WithTimeoutCause(parent, d.deadline(), ErrSlow)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	stall := time.AfterFunc(d.opts.Timing.Stall, func() { stop(ErrSlow) })
	defer stall.Stop()
	defer stop(nil)

	resp, err := d.request(ctx, url)
	if err != nil {
		return slow(ctx, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read side
	resumed, err := d.continueFrom(resp)
	if err != nil {
		return err
	}
	err = d.receive(ctx, resp.Body, url, func() { stall.Reset(d.opts.Timing.Stall) })
	if err != nil {
		return slow(ctx, err)
	}
	return d.finish(resumed)
}

// deadline is what one attempt may take.
func (d *download) deadline() time.Duration {
	if d.opts.Timing.Attempt > 0 {
		return d.opts.Timing.Attempt
	}
	return defaultGrace + time.Duration(d.limit()/defaultMinRate)*time.Second
}

// limit is the most bytes the file may have.
func (d *download) limit() int64 {
	if d.art.Size > 0 {
		return d.art.Size
	}
	return maxUnknownSize
}

// slow replaces the cancellation that our own timers caused by its reason.
func slow(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), ErrSlow) {
		return fmt.Errorf("%w: %w", ErrSlow, err)
	}
	return err
}

func (d *download) request(ctx context.Context, url string) (*http.Response, error) {
	req, err := newRequest(ctx, url)
	if err != nil {
		return nil, backoff.Permanent(err)
	}
	if d.part.size > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", d.part.size))
	}
	return d.opts.Client.Do(req)
}

func newRequest(ctx context.Context, url string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept-Encoding", "identity") // ranges and hashes are of the file, not of a compressed transfer
	return req, nil
}

// continueFrom judges the answer: a matching range goes on, a whole file starts over, everything else is an error.
func (d *download) continueFrom(resp *http.Response) (bool, error) {
	switch resp.StatusCode {
	case http.StatusPartialContent:
		if d.part.size > 0 && strings.HasPrefix(resp.Header.Get("Content-Range"), fmt.Sprintf("bytes %d-", d.part.size)) {
			return true, nil
		}
		err := fmt.Errorf("%w: answered with the range %q for %d-", errStale, resp.Header.Get("Content-Range"), d.part.size)
		return false, errors.Join(d.restart(), err)
	case http.StatusOK:
		return false, d.restart()
	case http.StatusRequestedRangeNotSatisfiable:
		return false, errors.Join(d.restart(), fmt.Errorf("%w: answered %s", errStale, resp.Status))
	}
	return false, statusError(resp)
}

func (d *download) restart() error {
	if err := d.part.clear(); err != nil {
		return backoff.Permanent(localError{err})
	}
	return nil
}

// statusError says which answers are worth another try of the same source.
func statusError(resp *http.Response) error {
	err := fmt.Errorf("answered %s", resp.Status)
	switch {
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable:
		if n, parseErr := strconv.Atoi(resp.Header.Get("Retry-After")); parseErr == nil && n >= 0 {
			wait := min(time.Duration(n)*time.Second, maxRetryAfter)
			return fmt.Errorf("%w (%w)", err, &backoff.RetryAfterError{Duration: wait})
		}
		return err
	case resp.StatusCode >= http.StatusInternalServerError || resp.StatusCode == http.StatusRequestTimeout:
		return err
	}
	return backoff.Permanent(err)
}

// receive appends the body, bounded by the size that the lock names.
func (d *download) receive(ctx context.Context, body io.Reader, source string, alive func()) error {
	buf := make([]byte, copyBuffer)
	out := d.store.writer(d.part.f)
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		n, readErr := body.Read(buf)
		if int64(n) > d.limit()-d.part.size {
			return backoff.Permanent(errors.Join(fmt.Errorf("%w: over %d bytes", ErrTooLong, d.limit()), d.restart()))
		}
		if n > 0 {
			alive()
			if _, err := out.Write(buf[:n]); err != nil {
				return backoff.Permanent(localError{err})
			}
			d.part.hash.Write(buf[:n])
			d.part.size += int64(n)
			d.opts.Progress(Event{Artefact: d.art, Phase: Loading, Bytes: d.part.size, Source: source})
		}
		if errors.Is(readErr, io.EOF) {
			break
		}
		if readErr != nil {
			return readErr
		}
	}
	if d.art.Size > 0 && d.part.size < d.art.Size {
		return fmt.Errorf("%w: %d of %d bytes", ErrTruncated, d.part.size, d.art.Size)
	}
	return nil
}

// finish verifies and stores. After a resumed transfer a wrong hash may be the fault of the earlier part: errStale.
func (d *download) finish(resumed bool) error {
	if got := d.part.sum(); got != d.art.SHA256 {
		err := fmt.Errorf("%w: %s", ErrWrongHash, got)
		if clearErr := d.restart(); clearErr != nil {
			return clearErr
		}
		if resumed {
			return fmt.Errorf("%w: %w", errStale, err)
		}
		return backoff.Permanent(err)
	}
	if err := d.part.commit(d.store.done(d.art.SHA256)); err != nil {
		return backoff.Permanent(localError{err})
	}
	info, err := os.Stat(d.store.done(d.art.SHA256))
	if err != nil {
		return backoff.Permanent(localError{fmt.Errorf("storing a file: %w", err)})
	}
	d.store.markVerified(d.art.SHA256, stamp{info.Size(), info.ModTime()})
	return nil
}

// localError marks trouble of this machine, which no other source can cure.
type localError struct{ err error }

func (e localError) Error() string {
	if errors.Is(e.err, unix.ENOSPC) || errors.Is(e.err, unix.EDQUOT) {
		return e.err.Error() + ": free space there and run it again"
	}
	return e.err.Error()
}
func (e localError) Unwrap() error { return e.err }

func isLocal(err error) bool {
	var l localError
	return errors.As(err, &l)
}
