package deb

import (
	"context"
	"crypto/sha1" //nolint:gosec // Debian's snapshot service addresses files by SHA-1; nothing relies on it
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"cocoon/image/lock"
)

const (
	defaultWorkers = 4
	// snapshotDelay: the snapshot service imports an archive some hours after it was signed; its dated paths show the
	// last import before their date.
	snapshotDelay = 6 * time.Hour
	snapshotForm  = "20060102T150405Z"
)

// archive is a suite with its verified index.
type archive struct {
	spec   Suite
	locked lock.Suite
	list   *list
}

// Resolve makes the lock entries of a request: verified indexes, one closure per group, every package fetched once to
// compute its SHA-1 and to compare its control file with the index (image.md sections 9.1 and 9.2).
func Resolve(ctx context.Context, req Request, f Fetcher) (*Resolution, error) {
	if err := req.validate(); err != nil {
		return nil, fmt.Errorf("resolving packages: %w", err)
	}
	archives, err := openArchives(ctx, req, f)
	if err != nil {
		return nil, fmt.Errorf("resolving packages: %w", err)
	}
	out := &Resolution{}
	var found lock.Lock
	for _, g := range req.Groups {
		arts, unused, err := resolveGroup(g, req.Arch, archives)
		if err == nil {
			err = found.Merge(arts...)
		}
		if err != nil {
			return nil, fmt.Errorf("resolving packages of group %q: %w", g.Name, err)
		}
		for _, name := range unused {
			out.UnusedExcludes = append(out.UnusedExcludes, g.Name+": "+name)
		}
	}
	if err := complete(ctx, req, archives, found.Artefacts, f); err != nil {
		return nil, fmt.Errorf("resolving packages: %w", err)
	}
	out.Artefacts = found.Artefacts
	for _, s := range req.Suites {
		out.Suites = append(out.Suites, archives[s.Name].locked)
	}
	return out, nil
}

func (req Request) validate() error {
	names := map[string]bool{}
	for _, s := range req.Suites {
		if names[s.Name] || s.Name == "" || s.Mirror == "" || len(s.Components) == 0 {
			return fmt.Errorf("suite %q: want a unique name, a mirror and components", s.Name)
		}
		names[s.Name] = true
	}
	if !packageName.MatchString(req.Arch) || req.Now.IsZero() {
		return fmt.Errorf("architecture %q at %s: want both set", req.Arch, req.Now)
	}
	for _, g := range req.Groups {
		used := slices.Clone(g.Suites)
		for _, d := range g.Direct {
			used = append(used, d.Suite)
		}
		for _, s := range used {
			if !names[s] {
				return fmt.Errorf("group %q: suite %q is not in the request", g.Name, s)
			}
		}
	}
	return nil
}

func (req Request) workers() int {
	if req.Workers > 0 {
		return req.Workers
	}
	return defaultWorkers
}

func openArchives(ctx context.Context, req Request, f Fetcher) (map[string]*archive, error) {
	opened := make([]*archive, len(req.Suites))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(req.workers())
	for i, s := range req.Suites {
		g.Go(func() (err error) {
			if opened[i], err = openArchive(ctx, s, req, f); err != nil {
				return fmt.Errorf("suite %s at %s: %w", s.Name, s.Mirror, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := map[string]*archive{}
	for _, a := range opened {
		out[a.spec.Name] = a
	}
	return out, nil
}

func openArchive(ctx context.Context, s Suite, req Request, f Fetcher) (*archive, error) {
	keys, err := ReadKeyring(s.Keyring)
	if err != nil {
		return nil, err
	}
	dist := s.Mirror + "/dists/" + s.Name
	signed, err := f.Get(ctx, dist+"/InRelease", maxInRelease)
	if err != nil {
		return nil, err
	}
	rel, err := VerifyRelease(signed, keys, req.Now)
	if err != nil {
		return nil, err
	}
	if err := rel.Check(s.Name, req.Now, s.AcceptExpired); err != nil {
		return nil, err
	}
	a := &archive{spec: s, locked: lockSuite(s, rel, signed, req.Now)}
	for _, component := range s.Components {
		name := component + "/binary-" + req.Arch + "/Packages.xz"
		listed, err := rel.File(name)
		if err != nil {
			return nil, err
		}
		file, err := f.File(ctx, lock.Artefact{
			Name: "Packages", Version: s.Name, Arch: req.Arch, Kind: lock.File, SHA256: listed.SHA256, Size: listed.Size,
			Sources: []string{dist + "/" + path.Dir(name) + "/by-hash/SHA256/" + listed.SHA256, dist + "/" + name},
		})
		if err != nil {
			return nil, err
		}
		l, err := openList(ctx, file, s.Name, req.Arch)
		if err != nil {
			return nil, err
		}
		if a.list == nil {
			a.list = l
		} else {
			a.list.merge(l)
		}
		a.locked.Indexes = append(a.locked.Indexes, lock.Index{Path: name, SHA256: listed.SHA256})
	}
	return a, nil
}

func lockSuite(s Suite, rel *Release, signed []byte, now time.Time) lock.Suite {
	sum := sha256.Sum256(signed)
	out := lock.Suite{
		Name: s.Name, Mirror: s.Mirror, Date: rel.Date.Format(time.RFC3339),
		AcceptExpired:   rel.expired(now), // Check has passed, so the recipe accepts it
		InReleaseSHA256: hex.EncodeToString(sum[:]), Signers: rel.Signers,
	}
	if !rel.ValidUntil.IsZero() {
		out.ValidUntil = rel.ValidUntil.Format(time.RFC3339)
	}
	if s.Snapshot != "" {
		stamp := rel.Date.Add(snapshotDelay).Format(snapshotForm)
		out.Snapshot = s.Snapshot + "/archive/" + path.Base(s.Mirror) + "/" + stamp
		out.SnapshotFiles = s.Snapshot + "/file"
	}
	return out
}

// openList parses a verified package list; archives compress it with xz.
func openList(ctx context.Context, file, suite, arch string) (*list, error) {
	in, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("reading the package list: %w", err)
	}
	defer in.Close() //nolint:errcheck // read side
	plain, err := decompress(".xz", in)
	if err != nil {
		return nil, fmt.Errorf("reading the package list: %w", err)
	}
	defer plain.Close() //nolint:errcheck // read side
	return readList(ctx, plain, suite, arch)
}

func resolveGroup(g Group, arch string, archives map[string]*archive) ([]lock.Artefact, []string, error) {
	lists := make([]*list, len(g.Suites))
	for i, s := range g.Suites {
		lists[i] = archives[s].list
	}
	r, err := newResolver(g, arch, lists)
	if err != nil {
		return nil, nil, err
	}
	set, err := r.run()
	if err != nil {
		return nil, nil, err
	}
	var arts []lock.Artefact
	for _, c := range set {
		arts = append(arts, lock.Artefact{
			Name: c.Name, Version: c.Version, Arch: c.Arch, Kind: lock.Deb, SHA256: c.SHA256, Size: c.Size,
			Suite: c.Suite, Path: c.Path, Groups: []string{g.Name},
		})
	}
	for _, d := range g.Direct {
		arts = append(arts, lock.Artefact{
			Name: d.Name, Version: d.Version, Arch: d.Arch, Kind: lock.Deb, SHA256: d.SHA256, Size: d.Size,
			Suite: d.Suite, Path: d.Path, Groups: []string{g.Name},
		})
	}
	var unused []string
	for _, name := range g.Exclude {
		if !r.excluded[name] {
			unused = append(unused, name)
		}
	}
	return arts, unused, nil
}

// complete fetches every package and fills in what only the file tells.
func complete(ctx context.Context, req Request, archives map[string]*archive, arts []lock.Artefact, f Fetcher) error {
	var l lock.Lock
	for _, a := range archives {
		l.Suites = append(l.Suites, a.locked)
	}
	l.Artefacts = arts
	l.Expand()
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(req.workers())
	errs := make([]error, len(arts))
	for i := range arts {
		g.Go(func() error {
			errs[i] = completeOne(ctx, &arts[i], f)
			return context.Cause(ctx)
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	l.Expand() // now with SHA-1 places
	return nil
}

func completeOne(ctx context.Context, a *lock.Artefact, f Fetcher) error {
	name, err := f.File(ctx, *a)
	if err != nil {
		return err
	}
	p, err := Open(name)
	if err != nil {
		return err
	}
	if p.Name != a.Name || p.Version != a.Version || p.Arch != a.Arch {
		return fmt.Errorf("checking %s: the file is %s %s %s", a.Label(), p.Name, p.Version, p.Arch)
	}
	in, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("hashing %s: %w", a.Label(), err)
	}
	defer in.Close() //nolint:errcheck // read side
	h := sha1.New()  //nolint:gosec // an address, see the import
	n, err := io.Copy(h, contextReader{ctx, in})
	if err != nil {
		return fmt.Errorf("hashing %s: %w", a.Label(), err)
	}
	if a.Size != 0 && a.Size != n {
		return fmt.Errorf("checking %s: %d bytes, the index says %d", a.Label(), n, a.Size)
	}
	a.Size, a.SHA1 = n, strings.ToLower(hex.EncodeToString(h.Sum(nil)))
	return nil
}
