package sources

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"cocoon/measure/dcap"
	"cocoon/measure/ratls/pcs"
)

const (
	// suffix ends the name of a stored bundle; what stands before it is dcap.Platform.String.
	suffix = ".json"
	// rejectedDir keeps files that no longer verify, for whoever wants to know why.
	rejectedDir = "rejected"
	// maxFiles bounds what is read of a folder.
	maxFiles = 1024
)

// ErrDamaged marks a stored bundle that does not verify: the file was cut, changed, or signed under another root.
var ErrDamaged = errors.New("stored collateral does not verify")

// Store is a folder with one bundle per platform. It implements pcs.Store.
type Store struct {
	dir   string
	roots *dcap.Roots
	// lockLimit is how long another process may hold the folder.
	lockLimit time.Duration
}

// OpenStore makes the folder where it is missing. Bundles must verify under the roots.
func OpenStore(dir string, roots *dcap.Roots) (*Store, error) {
	if err := os.MkdirAll(filepath.Join(dir, rejectedDir), 0o755); err != nil {
		return nil, fmt.Errorf("opening collateral store: %w", err)
	}
	return &Store{dir: dir, roots: roots, lockLimit: lockLimit}, nil
}

// Dir is the folder.
func (s *Store) Dir() string { return s.dir }

// Path is where a platform's bundle lies if there is one.
func (s *Store) Path(p dcap.Platform) string { return filepath.Join(s.dir, p.String()+suffix) }

// Load reads a bundle and verifies it as of its issue: it may have expired. A file that does not verify is moved out of
// the way, so that the next Save replaces it, and reported as ErrDamaged. A missing one is fs.ErrNotExist.
func (s *Store) Load(p dcap.Platform) (*dcap.Bundle, error) {
	release, err := s.lock()
	if err != nil {
		return nil, fmt.Errorf("loading collateral of %s: %w", p, err)
	}
	defer release()
	b, _, err := s.load(p)
	return b, err
}

func (s *Store) load(p dcap.Platform) (*dcap.Bundle, *dcap.Collateral, error) {
	name := s.Path(p)
	b, col, err := readVerified(name, p, s.roots)
	var outside *fs.PathError
	if err == nil || errors.As(err, &outside) {
		return b, col, err
	}
	aside := filepath.Join(s.dir, rejectedDir, filepath.Base(name))
	if moveErr := os.Rename(name, aside); moveErr != nil {
		err = errors.Join(err, moveErr)
	}
	return nil, nil, fmt.Errorf("loading collateral from %s: %w (kept as %s): %w", name, ErrDamaged, aside, err)
}

func readVerified(name string, p dcap.Platform, roots *dcap.Roots) (*dcap.Bundle, *dcap.Collateral, error) {
	b, err := ReadFile(name)
	if err != nil {
		return nil, nil, err
	}
	col, err := pcs.OpenAtIssue(b, roots)
	if err != nil {
		return nil, nil, err
	}
	if got := col.Platform().String(); got != p.String() {
		return nil, nil, fmt.Errorf("the file holds collateral of %s", got)
	}
	return b, col, nil
}

// Save verifies a bundle now and puts it in the place of an older one, whole or not at all. A bundle that is older in
// any part than the stored one is pcs.ErrRollback; the same one again changes nothing.
func (s *Store) Save(p dcap.Platform, b *dcap.Bundle, now time.Time) error {
	col, err := dcap.Open(b, s.roots, now)
	if err != nil {
		return fmt.Errorf("storing collateral of %s: %w", p, err)
	}
	if got := col.Platform().String(); got != p.String() {
		return fmt.Errorf("storing collateral of %s: the bundle is of %s", p, got)
	}
	release, err := s.lock()
	if err != nil {
		return fmt.Errorf("storing collateral of %s: %w", p, err)
	}
	defer release()
	if err := s.checkNewer(p, col); errors.Is(err, pcs.ErrUnchanged) {
		return nil
	} else if err != nil {
		return fmt.Errorf("storing collateral of %s: %w", p, err)
	}
	if err := writeFile(s.Path(p), b.Encode()); err != nil {
		return fmt.Errorf("storing collateral of %s: %w", p, err)
	}
	return nil
}

// checkNewer compares with what is stored; a damaged file counts as none.
func (s *Store) checkNewer(p dcap.Platform, offered *dcap.Collateral) error {
	_, old, err := s.load(p)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrDamaged) {
		return nil
	}
	if err != nil {
		return err
	}
	return pcs.Newer(old, offered)
}

// Platforms lists the platforms of which the store has collateral that verifies as of its issue, sorted by name; files
// that do not verify are left out.
func (s *Store) Platforms() ([]dcap.Platform, error) {
	names, err := bundleNames(s.dir)
	if err != nil {
		return nil, fmt.Errorf("listing collateral store: %w", err)
	}
	var out []dcap.Platform
	for _, name := range names {
		b, err := ReadFile(filepath.Join(s.dir, name))
		if err != nil {
			continue // load says more about it when somebody asks for that platform
		}
		if col, err := pcs.OpenAtIssue(b, s.roots); err == nil && col.Platform().String()+suffix == name {
			out = append(out, col.Platform())
		}
	}
	return out, nil
}

// bundleNames lists a folder's bundles, sorted.
func bundleNames(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read side
	entries, err := f.ReadDir(maxFiles + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(entries) > maxFiles {
		return nil, fmt.Errorf("%s has more than %d entries", dir, maxFiles)
	}
	var names []string
	for _, e := range entries {
		if e.Type().IsRegular() && strings.HasSuffix(e.Name(), suffix) && !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	slices.Sort(names)
	return names, nil
}

// ReadFile reads a bundle from a file. Nothing is verified.
func ReadFile(name string) (*dcap.Bundle, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read side
	data, err := io.ReadAll(io.LimitReader(f, dcap.MaxBundle+1))
	if err != nil {
		return nil, err
	}
	b, err := dcap.ParseBundle(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}

// WriteFile writes a bundle, whole or not at all.
func WriteFile(name string, b *dcap.Bundle) error {
	if err := writeFile(name, b.Encode()); err != nil {
		return fmt.Errorf("writing collateral bundle: %w", err)
	}
	return nil
}

// writeFile replaces a file atomically and durably.
func writeFile(name string, data []byte) error {
	if err := renameio.WriteFile(name, data, 0o644); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer dir.Close() //nolint:errcheck // read side
	return dir.Sync()
}
