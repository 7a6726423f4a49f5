package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"github.com/cenkalti/backoff/v5"
	"github.com/google/renameio/v2"

	"cocoon/image/lock"
)

// Export writes every artefact to dir/sha256/HEX, the form that From reads and that any web server can publish. The
// store must have all of them; files that dir has already with the right content stay.
func (s *Store) Export(ctx context.Context, dir string, arts []lock.Artefact) error {
	if err := s.Ensure(ctx, arts, Options{Offline: true}); err != nil {
		return fmt.Errorf("exporting: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(dir, doneDir), 0o755); err != nil {
		return fmt.Errorf("exporting: %w", err)
	}
	for _, a := range arts {
		target := filepath.Join(dir, doneDir, a.SHA256)
		if sum, err := hashFile(ctx, target); err == nil && sum == a.SHA256 {
			continue
		}
		if err := copyFile(ctx, target, s.done(a.SHA256)); err != nil {
			return fmt.Errorf("exporting %s: %w", a.Label(), err)
		}
	}
	return nil
}

func copyFile(ctx context.Context, target, source string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // read side
	out, err := renameio.NewPendingFile(target, renameio.WithPermissions(0o644))
	if err != nil {
		return err
	}
	defer out.Cleanup() //nolint:errcheck // nothing is left after CloseAtomicallyReplace
	if _, err := io.Copy(out, contextReader{ctx, in}); err != nil {
		return err
	}
	return out.CloseAtomicallyReplace()
}

// Fetcher is a store with its options: what resolving a lock needs from the network.
type Fetcher struct {
	Store   *Store
	Options Options
}

// File ensures one artefact and returns its path.
func (f Fetcher) File(ctx context.Context, a lock.Artefact) (string, error) {
	return f.Store.File(ctx, a, f.Options)
}

// Get reads a small document that has no known hash, such as an archive's signed index; the caller verifies it.
func (f Fetcher) Get(ctx context.Context, url string, limit int64) ([]byte, error) {
	o, err := f.Options.complete()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", url, err)
	}
	if o.Offline {
		return nil, fmt.Errorf("reading %s: this run is offline", url)
	}
	exp := backoff.NewExponentialBackOff()
	exp.InitialInterval = o.Timing.Backoff
	data, err := backoff.Retry(ctx, func() ([]byte, error) { return o.get(ctx, url, limit) },
		backoff.WithBackOff(exp), backoff.WithMaxTries(uint(o.Timing.Tries)), backoff.WithMaxElapsedTime(0))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", url, err)
	}
	return data, nil
}

func (o Options) get(ctx context.Context, url string, limit int64) ([]byte, error) {
	deadline := o.Timing.Attempt
	if deadline == 0 {
		deadline = defaultGrace
	}
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, ErrSlow)
	defer cancel()
	req, err := newRequest(ctx, url)
	if err != nil {
		return nil, backoff.Permanent(err)
	}
	req.Header.Set("Cache-Control", "no-cache")
	resp, err := o.Client.Do(req)
	if err != nil {
		return nil, slow(ctx, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read side
	if resp.StatusCode != http.StatusOK {
		return nil, statusError(resp)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, slow(ctx, err)
	}
	if int64(len(data)) > limit {
		return nil, backoff.Permanent(errors.Join(ErrTooLong, fmt.Errorf("over %d bytes", limit)))
	}
	return data, nil
}
