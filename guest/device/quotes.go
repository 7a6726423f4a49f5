package device

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-configfs-tsm/configfs/configfsi"
	"github.com/google/go-configfs-tsm/configfs/linuxtsm"
	"github.com/google/go-configfs-tsm/report"

	"cocoon/measure/tdx"
)

const (
	// providerTDX is what the provider attribute says when the tdx_guest driver makes the reports.
	providerTDX = "tdx_guest"
	// quoteDeadline bounds a quote with its retries. The kernel asks the quoting service once a second and gives up
	// after 30 seconds; a second try must fit.
	quoteDeadline = 75 * time.Second
	// The wait between two tries grows from firstWait to longestWait.
	firstWait   = 100 * time.Millisecond
	longestWait = 2 * time.Second
)

// ErrClosed means that the source was closed.
var ErrClosed = errors.New("source of quotes is closed")

// Quotes makes quotes through configfs-tsm.
type Quotes struct {
	client configfsi.Client
	// turn holds the only slot for a running request; the kernel serves one at a time.
	turn   chan struct{}
	closed chan struct{}
}

// OpenQuotes finds the kernel's configfs-tsm.
func OpenQuotes() (*Quotes, error) {
	client, err := linuxtsm.MakeClient()
	if err != nil {
		return nil, fmt.Errorf("opening configfs-tsm: %w; mount configfs and load the tdx_guest driver", err)
	}
	return NewQuotes(client), nil
}

// NewQuotes makes quotes through the given configfs.
func NewQuotes(client configfsi.Client) *Quotes {
	return &Quotes{client: client, turn: make(chan struct{}, 1), closed: make(chan struct{})}
}

// Quote makes a quote over the report data and returns it without the padding that hosts add. A busy driver and an
// interfering writer are waited out until ctx ends or the package's deadline. A request that the kernel works on cannot
// be taken back: after ctx ended it runs on, and the next one waits for it.
func (q *Quotes) Quote(ctx context.Context, reportData [tdx.ReportDataSize]byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, quoteDeadline)
	defer cancel()
	select {
	case <-q.closed:
		return nil, fmt.Errorf("making quote: %w", ErrClosed)
	case <-ctx.Done():
		return nil, fmt.Errorf("making quote: waiting for an earlier one: %w", ctx.Err())
	case q.turn <- struct{}{}:
	}
	type outcome struct {
		quote []byte
		err   error
	}
	done := make(chan outcome, 1)
	go func() { // Close waits for it through turn
		defer func() { <-q.turn }()
		quote, err := q.tryUntil(ctx, reportData)
		done <- outcome{quote, err}
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return nil, fmt.Errorf("making quote: %w", o.err)
		}
		return o.quote, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("making quote: %w", ctx.Err())
	}
}

// Close waits for a running request and refuses further ones. It must be called once.
func (q *Quotes) Close() error {
	close(q.closed)
	q.turn <- struct{}{}
	return nil
}

// tryUntil repeats a request that may succeed later.
func (q *Quotes) tryUntil(ctx context.Context, reportData [tdx.ReportDataSize]byte) ([]byte, error) {
	wait := firstWait
	for {
		quote, err := q.try(reportData)
		if err == nil || !passing(err) {
			return quote, err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, errors.Join(ctx.Err(), err)
		case <-timer.C:
		}
		wait = min(2*wait, longestWait)
	}
}

// passing tells conditions that go away by themselves: a driver that is busy with a request that timed out, and another
// writer in our folder.
func passing(err error) bool {
	if report.GetGenerationErr(err) != nil {
		return true
	}
	return slices.ContainsFunc([]error{syscall.EBUSY, syscall.EWOULDBLOCK, syscall.EINTR, syscall.ETIMEDOUT},
		func(e error) bool { return errors.Is(err, e) })
}

// try makes one request in a folder of its own.
func (q *Quotes) try(reportData [tdx.ReportDataSize]byte) ([]byte, error) {
	watched := &watchedClient{Client: q.client}
	response, err := report.Get(watched, &report.Request{InBlob: reportData[:]})
	if err != nil {
		return nil, errors.Join(err, watched.err) // the library keeps no error numbers
	}
	if p := strings.TrimSuffix(response.Provider, "\n"); p != providerTDX {
		return nil, fmt.Errorf("configfs-tsm's provider is %q, want %q: this is not a TD", p, providerTDX)
	}
	return checkQuote(response.OutBlob, reportData)
}

// checkQuote checks that bytes are a TD quote over the report data, and cuts the padding off.
func checkQuote(data []byte, reportData [tdx.ReportDataSize]byte) ([]byte, error) {
	quote, err := tdx.ParseQuote(data)
	switch {
	case err != nil:
		return nil, err
	case quote.TD == nil:
		return nil, fmt.Errorf("the quote is one of %s, want one of a TD", quote.TEE)
	case quote.TD.ReportData != reportData:
		return nil, errors.New("the quote is over other report data than asked for")
	}
	return quote.Signed, nil
}

// watchedClient remembers the error of the last operation that had one.
type watchedClient struct {
	configfsi.Client
	err error
}

func (w *watchedClient) ReadFile(name string) ([]byte, error) {
	data, err := w.Client.ReadFile(name)
	if err != nil {
		w.err = err
	}
	return data, err
}

func (w *watchedClient) WriteFile(name string, contents []byte) error {
	err := w.Client.WriteFile(name, contents)
	if err != nil {
		w.err = err
	}
	return err
}
