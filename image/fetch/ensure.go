package fetch

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"cocoon/image/lock"
)

const (
	defaultWorkers = 4
	maxWorkers     = 32
	// defaultStall ends an attempt that brings no byte for this long.
	defaultStall = 30 * time.Second
	// defaultTries is how often one source is asked before the next one.
	defaultTries = 3
	// defaultBackoff is the first pause between two tries of a source; it grows.
	defaultBackoff = 500 * time.Millisecond
	// defaultGrace and defaultMinRate give an attempt its deadline: grace + size/minRate (bytes per second).
	defaultGrace   = 2 * time.Minute
	defaultMinRate = 64 << 10
	// maxUnknownSize bounds a file whose size the caller does not know yet.
	maxUnknownSize = 4 << 30
)

// Options says how files are found. The zero value is online with defaults.
type Options struct {
	// Offline forbids connections: the store and From folders must have everything.
	Offline bool
	// From are places asked first: folders that Export wrote, or base URLs that serve BASE/sha256/HEX.
	From []string
	// Workers bounds concurrent downloads (0 = 4).
	Workers int
	// Progress, when set, hears of every file; it is called from several goroutines.
	Progress func(Event)
	// Client makes the requests (nil = a client without overall deadline, because attempts have their own).
	Client *http.Client
	// Timing changes the deadlines; zero fields keep the defaults.
	Timing Timing
}

// Timing are the deadlines of downloads.
type Timing struct {
	Stall   time.Duration // longest wait for the next byte
	Attempt time.Duration // one attempt as a whole (0 = 2 min + size at 64 KiB/s)
	Backoff time.Duration // first pause between tries
	Tries   int           // tries per source
}

// Phase is where a file stands.
type Phase string

// The phases: already in the store; bytes are arriving; arrived and verified; a source let us down.
const (
	Cached   Phase = "cached"
	Loading  Phase = "loading"
	Done     Phase = "done"
	NextTry  Phase = "retry"
	Replaced Phase = "replaced" // the stored file was corrupt and is fetched again
)

// Event is one step of one file.
type Event struct {
	Artefact lock.Artefact
	Phase    Phase
	Bytes    int64  // so far
	Source   string // in use
	Err      error  // for NextTry and Replaced
}

// Attempt is what one source answered.
type Attempt struct {
	Source string
	Err    error
}

// MissingError reports a file that no source had.
type MissingError struct {
	Artefact lock.Artefact
	Offline  bool
	Attempts []Attempt
}

// Error names the file, every source with its answer, and the next step.
func (e *MissingError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "fetching %s (sha256 %s): ", e.Artefact.Label(), e.Artefact.SHA256)
	if e.Offline {
		b.WriteString("not in the store, and this run is offline: run \"cocoon image fetch\" (with --all for what no image needs) first")
	} else {
		b.WriteString("no source has it: get it from somebody who built this lock (\"cocoon image fetch --export DIR\" there," +
			" \"cocoon image fetch --from DIR|URL\" here)")
	}
	for _, a := range e.Attempts {
		fmt.Fprintf(&b, "\n  %s: %v", a.Source, a.Err)
	}
	return b.String()
}

// Unwrap gives callers the sources' errors.
func (e *MissingError) Unwrap() []error {
	out := make([]error, 0, len(e.Attempts))
	for _, a := range e.Attempts {
		out = append(out, a.Err)
	}
	return out
}

// Ensure brings every artefact into the store and verifies what is there. It goes on after a missing file, so that the
// error lists all of them (joined *MissingError); a full disk or a cancelled context ends it at once.
func (s *Store) Ensure(ctx context.Context, arts []lock.Artefact, o Options) error {
	o, err := o.complete()
	if err != nil {
		return fmt.Errorf("fetching: %w", err)
	}
	byHash, order := map[string]lock.Artefact{}, []string{}
	for _, a := range arts {
		if !hexSHA256.MatchString(a.SHA256) {
			return fmt.Errorf("fetching %s: %q is not a SHA-256 in hex", a.Label(), a.SHA256)
		}
		if _, ok := byHash[a.SHA256]; !ok {
			order = append(order, a.SHA256)
		}
		byHash[a.SHA256] = a
	}
	missing := make([]error, len(order))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(o.Workers)
	for i, sum := range order {
		g.Go(func() error {
			err := s.ensureOne(ctx, byHash[sum], o)
			if _, ok := errors.AsType[*MissingError](err); ok {
				missing[i] = err
				return nil
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	return errors.Join(missing...)
}

// File ensures one artefact and returns its path.
func (s *Store) File(ctx context.Context, a lock.Artefact, o Options) (string, error) {
	if err := s.Ensure(ctx, []lock.Artefact{a}, o); err != nil {
		return "", err
	}
	return s.done(a.SHA256), nil
}

func (o Options) complete() (Options, error) {
	if o.Workers < 0 || o.Workers > maxWorkers {
		return o, fmt.Errorf("%d workers, want 0..%d", o.Workers, maxWorkers)
	}
	if o.Workers == 0 {
		o.Workers = defaultWorkers
	}
	if o.Client == nil {
		o.Client = &http.Client{}
	}
	if o.Progress == nil {
		o.Progress = func(Event) {}
	}
	if o.Timing.Stall == 0 {
		o.Timing.Stall = defaultStall
	}
	if o.Timing.Backoff == 0 {
		o.Timing.Backoff = defaultBackoff
	}
	if o.Timing.Tries == 0 {
		o.Timing.Tries = defaultTries
	}
	return o, nil
}

func (s *Store) ensureOne(ctx context.Context, a lock.Artefact, o Options) error {
	var attempts []Attempt
	err := s.Check(ctx, a.SHA256)
	switch {
	case err == nil:
		o.Progress(Event{Artefact: a, Phase: Cached, Bytes: a.Size})
		return nil
	case errors.Is(err, ErrCorrupt):
		o.Progress(Event{Artefact: a, Phase: Replaced, Err: err})
		attempts = append(attempts, Attempt{"the store", err})
		if err := s.quarantine(a.SHA256); err != nil {
			return fmt.Errorf("fetching %s: %w", a.Label(), err)
		}
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("fetching %s: %w", a.Label(), err)
	}
	d, err := s.begin(ctx, a, o)
	if err != nil {
		return fmt.Errorf("fetching %s: %w", a.Label(), err)
	}
	defer d.close()
	d.attempts = attempts
	if s.Check(ctx, a.SHA256) == nil { // another process finished it while we waited for the partial file
		o.Progress(Event{Artefact: a, Phase: Cached, Bytes: a.Size})
		return nil
	}
	return d.run(ctx)
}

// places returns the folders and URLs to try for an artefact, in order.
func (o Options) places(a lock.Artefact) []string {
	var out []string
	for _, from := range o.From {
		if !isURL(from) {
			out = append(out, filepath.Join(from, doneDir, a.SHA256))
		} else if !o.Offline {
			out = append(out, strings.TrimSuffix(from, "/")+"/"+doneDir+"/"+a.SHA256)
		}
	}
	if !o.Offline {
		out = append(out, a.Sources...)
	}
	return out
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https")
}
