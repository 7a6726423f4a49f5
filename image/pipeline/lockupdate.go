package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"cocoon/image/deb"
	"cocoon/image/fetch"
	"cocoon/image/lock"
	"cocoon/image/recipe"
)

// LockChange is one entry that differs between two locks. The empty string means absent.
type LockChange struct {
	Entry string // "deb libc6 amd64", "suite trixie"
	Old   string
	New   string
}

// LockUpdate is what resolving the recipe gave.
type LockUpdate struct {
	Lock    *lock.Lock
	Changes []LockChange
	// UnusedExcludes are lines of the recipe that nothing needed: "group: package".
	UnusedExcludes []string
}

// UpdateLock resolves the recipe against the archives and returns the new lock; the caller decides whether to save it.
func UpdateLock(ctx context.Context, o Options) (*LockUpdate, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	r, err := recipe.Load(RecipePath(o.Root))
	if err != nil {
		return nil, err
	}
	old, err := lock.Load(LockPath(o.Root))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		old = &lock.Lock{}
	case err != nil:
		return nil, err
	}
	store, err := fetch.Open(StoreDir(o.CacheDir))
	if err != nil {
		return nil, err
	}
	res, err := deb.Resolve(ctx, request(r, o.Now()), fetch.Fetcher{Store: store, Options: o.fetchOptions(nil)})
	if err != nil {
		return nil, err
	}
	if err := checkExpiry(r, res.Suites); err != nil {
		return nil, err
	}
	l := &lock.Lock{
		Epoch: r.Epoch, Go: r.Go, RecipeSHA256: r.SHA256, Mirrors: old.Mirrors, Suites: res.Suites, Artefacts: res.Artefacts,
	}
	wheels, err := lockedWheels(o.Root)
	if err != nil {
		return nil, err
	}
	l.Artefacts = append(l.Artefacts, wheels...)
	// What comes from elsewhere is pinned by hand and stays.
	l.Artefacts = append(l.Artefacts, slices.DeleteFunc(slices.Clone(old.Artefacts), func(a lock.Artefact) bool {
		return a.Kind == lock.Deb || a.Kind == lock.Wheel
	})...)
	if _, err := l.Format(); err != nil {
		return nil, err
	}
	l.Expand()
	return &LockUpdate{l, compareLocks(old, l), res.UnusedExcludes}, nil
}

// request asks the archives for what the recipe names.
func request(r *recipe.Recipe, now time.Time) deb.Request {
	req := deb.Request{Arch: r.Arch, Now: now}
	for _, s := range r.Suites {
		req.Suites = append(req.Suites, deb.Suite{
			Name: s.Name, Mirror: s.Mirror, Components: s.Components, Keyring: s.Keyring, Snapshot: s.Snapshot,
			AcceptExpired: !s.AcceptExpired.IsZero(),
		})
	}
	for _, g := range r.Groups {
		out := deb.Group{Name: g.Name, Suites: g.Suites, Packages: g.Packages, Choices: g.Choices, NoDepends: g.NoDepends}
		for _, e := range g.Exclude {
			out.Exclude = append(out.Exclude, e.Package)
		}
		for _, p := range g.Pinned {
			out.Direct = append(out.Direct, deb.Direct{
				Name: p.Name, Version: p.Version, Arch: p.Arch, Suite: p.Suite, Path: p.Path, SHA256: p.SHA256, Size: p.Size,
			})
		}
		req.Groups = append(req.Groups, out)
	}
	return req
}

// checkExpiry holds an expired index against the one date that the recipe accepts.
func checkExpiry(r *recipe.Recipe, suites []lock.Suite) error {
	for _, s := range suites {
		if !s.AcceptExpired {
			continue
		}
		accepted, err := r.Suite(s.Name)
		if err != nil {
			return err
		}
		if want := accepted.AcceptExpired.UTC().Format(time.RFC3339); s.ValidUntil != want {
			return fmt.Errorf("suite %s: its index expired on %s, the recipe accepts only the one that expired on %s", s.Name, s.ValidUntil, want)
		}
	}
	return nil
}

// compareLocks lists what differs, ordered by entry.
func compareLocks(a, b *lock.Lock) []LockChange {
	changes := make(map[string]*LockChange)
	at := func(entry string) *LockChange {
		if changes[entry] == nil {
			changes[entry] = &LockChange{Entry: entry}
		}
		return changes[entry]
	}
	for i, l := range []*lock.Lock{a, b} {
		put := func(entry, value string) {
			c := at(entry)
			side := []*string{&c.Old, &c.New}[i]
			*side = strings.TrimPrefix(*side+", "+value, ", ")
		}
		for _, s := range l.Suites {
			put("suite "+s.Name, s.Date)
		}
		for _, art := range l.Artefacts {
			put(fmt.Sprintf("%s %s %s", art.Kind, art.Name, art.Arch), art.Version+" "+art.SHA256[:12]+" for "+strings.Join(art.Groups, "+"))
		}
		if l.Go != "" {
			put("go", l.Go)
			put("epoch", fmt.Sprint(l.Epoch))
			put("recipe", l.RecipeSHA256[:12])
		}
	}
	var out []LockChange
	for _, c := range changes {
		if c.Old != c.New {
			out = append(out, *c)
		}
	}
	slices.SortFunc(out, func(x, y LockChange) int { return strings.Compare(x.Entry, y.Entry) })
	return out
}

// FetchAll brings the inputs of the selected build into the store and returns them. Optional groups are tools for
// checks; they come along only when asked for.
func FetchAll(ctx context.Context, o Options, optional bool, progress func(fetch.Event)) (*fetch.Store, []lock.Artefact, error) {
	o, err := o.complete()
	if err != nil {
		return nil, nil, err
	}
	b, err := newBuild(o)
	if err != nil {
		return nil, nil, err
	}
	needed := b.groups()
	arts := slices.DeleteFunc(slices.Clone(b.lock.Artefacts), func(a lock.Artefact) bool {
		return !slices.ContainsFunc(a.Groups, func(name string) bool {
			g, err := b.recipe.Group(name)
			return slices.Contains(needed, name) || (err == nil && g.Optional && optional)
		})
	})
	located, err := locateWheels(ctx, b.store, arts, o)
	if err != nil {
		return nil, nil, err
	}
	return b.store, arts, b.store.Ensure(ctx, located, o.fetchOptions(progress))
}

// CheckLock compares a checkout's lock with its recipe and a toolchain.
func CheckLock(ctx context.Context, o Options) (*lock.Lock, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	b, err := newBuild(o)
	if err != nil {
		return nil, err
	}
	s := b.checkStep()
	return b.lock, s.Run(ctx, &work{})
}

// Plan returns the rows that a run would have, in order, without running any.
func Plan(o Options) ([]string, error) {
	o, err := o.complete()
	if err != nil {
		return nil, err
	}
	b, err := newBuild(o)
	if err != nil {
		return nil, err
	}
	if err := b.table(); err != nil {
		return nil, fmt.Errorf("planning build: %w", err)
	}
	names := make([]string, 0, len(b.steps))
	for _, s := range b.steps {
		names = append(names, s.Name)
	}
	return names, nil
}
