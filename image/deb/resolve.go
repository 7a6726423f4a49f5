package deb

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

const (
	// maxRounds bounds how often a closure starts over with a constraint it has learned.
	maxRounds = 200
	// maxClosure bounds a group's packages.
	maxClosure = 5000
)

// AmbiguousError reports a virtual package that several packages provide: the recipe has to choose.
type AmbiguousError struct {
	Needed    string // the relation
	By        string // who needs it
	Providers []string
}

// Error lists the providers.
func (e *AmbiguousError) Error() string {
	return fmt.Sprintf("%s, needed by %s, is provided by several packages: choose one of %s in the recipe",
		e.Needed, e.By, strings.Join(e.Providers, ", "))
}

// UnmetError reports a dependency that nothing in the group's suites satisfies.
type UnmetError struct {
	Needed  string
	By      string
	Reasons []string
}

// Error gives each alternative's reason.
func (e *UnmetError) Error() string {
	return fmt.Sprintf("nothing satisfies %s, needed by %s: %s", e.Needed, e.By, strings.Join(e.Reasons, "; "))
}

// ConflictError reports two selected packages that exclude each other.
type ConflictError struct{ Package, Relation, Other string }

// Error names both.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s conflicts with or breaks %s, which is %s: pin, choose or exclude one of them in the recipe", e.Package, e.Relation, e.Other)
}

// errRestart says that a constraint was learned.
var errRestart = errors.New("constraint learned")

// bound is a constraint that a name's version must satisfy.
type bound struct {
	rel Relation
	by  string
}

// resolver makes one group's closure. The result depends on the lists and the group only: no rule looks at the order
// in which packages were met, except that versions come from the first suite that satisfies everything known.
type resolver struct {
	group     Group
	arch      string
	lists     []*list
	requested map[string]bool
	bounds    map[string][]bound
	excluded  map[string]bool // name -> was of use

	selected map[string]*Candidate
	queue    []*Candidate
}

func newResolver(g Group, arch string, lists []*list) (*resolver, error) {
	r := &resolver{
		group: g, arch: arch, lists: lists,
		requested: map[string]bool{}, bounds: map[string][]bound{}, excluded: map[string]bool{},
	}
	r.group.Packages = slices.Sorted(slices.Values(g.Packages)) // the recipe's order means nothing
	for _, name := range g.Exclude {
		r.excluded[name] = false
	}
	for _, p := range g.Packages {
		name, version, pinned := strings.Cut(p, "=")
		if pinned {
			if _, err := ParseVersion(version); err != nil {
				return nil, fmt.Errorf("pin %q: %w", p, err)
			}
			r.bounds[name] = append(r.bounds[name], bound{Relation{Name: name, Op: "=", Ver: version}, "the recipe"})
		}
		r.requested[name] = true
	}
	return r, nil
}

// run repeats the closure until no dependency contradicts a version that was taken before it was known.
func (r *resolver) run() ([]*Candidate, error) {
	for range maxRounds {
		err := r.round()
		if errors.Is(err, errRestart) {
			continue
		}
		if err != nil {
			return nil, err
		}
		out := make([]*Candidate, 0, len(r.selected))
		for _, c := range r.selected {
			out = append(out, c)
		}
		slices.SortFunc(out, func(a, b *Candidate) int { return strings.Compare(a.Name, b.Name) })
		return out, checkConflicts(out)
	}
	return nil, fmt.Errorf("no consistent set after %d rounds: pin versions in the recipe", maxRounds)
}

func (r *resolver) round() error {
	r.selected, r.queue = map[string]*Candidate{}, nil
	for _, p := range r.group.Packages {
		name, _, _ := strings.Cut(p, "=")
		if err := r.satisfy(Alternatives{{Name: name}}, "the recipe"); err != nil {
			return err
		}
	}
	for len(r.queue) > 0 {
		if len(r.selected) > maxClosure {
			return fmt.Errorf("the closure has over %d packages", maxClosure)
		}
		c := r.queue[0]
		r.queue = r.queue[1:]
		if r.group.NoDepends {
			continue
		}
		for _, field := range []string{c.PreDepends, c.Depends} {
			needs, err := ParseRelations(field)
			if err != nil {
				return fmt.Errorf("%s: %w", c.Label(), err)
			}
			for _, alts := range needs {
				if err := r.satisfy(alts, c.Label()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// satisfy takes the alternative that the recipe chose, else one that the recipe requests anyway, else the first one
// that exists (image.md section 9.1).
func (r *resolver) satisfy(alts Alternatives, by string) error {
	alts, err := r.prefer(alts, by)
	if err != nil {
		return err
	}
	var reasons []string
	for _, alt := range alts {
		if _, ok := r.excluded[alt.Name]; ok && !r.requested[alt.Name] {
			r.excluded[alt.Name] = true
			return nil
		}
		reason, err := r.take(alt, by)
		if err != nil || reason == "" {
			return err
		}
		reasons = append(reasons, reason)
	}
	return &UnmetError{Needed: alts.String(), By: by, Reasons: reasons}
}

func (r *resolver) prefer(alts Alternatives, by string) (Alternatives, error) {
	for _, alt := range alts {
		chosen, ok := r.group.Choices[alt.Name]
		if !ok {
			continue
		}
		if i := slices.IndexFunc(alts, func(a Relation) bool { return a.Name == chosen }); i >= 0 {
			return alts[i : i+1], nil
		}
		c := r.pick(Relation{Name: chosen})
		if c == nil || !provides(c, alt) {
			return nil, fmt.Errorf("the recipe chooses %s for %s, needed by %s, but that package is missing or does not provide it", chosen, alt, by)
		}
		return Alternatives{{Name: chosen}}, nil
	}
	for _, alt := range alts {
		if c := r.pick(alt); c != nil && r.requested[alt.Name] {
			return Alternatives{alt}, nil
		}
	}
	return alts, nil
}

// take selects a package for a relation. A reason says why it cannot; an error ends the round.
func (r *resolver) take(rel Relation, by string) (reason string, err error) {
	if rel.Arch != "" && rel.Arch != "any" && rel.Arch != "native" && rel.Arch != r.arch {
		return fmt.Sprintf("%s is of another architecture", rel), nil
	}
	if old, ok := r.selected[rel.Name]; ok && rel.Allows(old.parsed) {
		return "", nil
	}
	if c := r.pick(rel); c != nil {
		if _, ok := r.selected[c.Name]; ok { // a version was taken that this relation forbids: start over, knowing it
			r.bounds[c.Name] = append(r.bounds[c.Name], bound{rel, by})
			return "", errRestart
		}
		r.add(c)
		return "", nil
	}
	names := r.providersOf(rel)
	for _, name := range names {
		if r.requested[name] || len(names) == 1 {
			if _, ok := r.selected[name]; !ok {
				r.add(r.pick(Relation{Name: name}))
			}
			return "", nil
		}
	}
	if len(names) > 1 {
		return "", &AmbiguousError{Needed: rel.String(), By: by, Providers: names}
	}
	return r.why(rel), nil
}

func (r *resolver) add(c *Candidate) {
	r.selected[c.Name] = c
	r.queue = append(r.queue, c)
}

// pick returns the newest version in the first suite that satisfies the relation and all that is known of the name.
func (r *resolver) pick(rel Relation) *Candidate {
	for _, l := range r.lists {
		for _, c := range l.byName[rel.Name] {
			if rel.Allows(c.parsed) && r.allowed(c) {
				return c
			}
		}
	}
	return nil
}

func (r *resolver) allowed(c *Candidate) bool {
	for _, b := range r.bounds[c.Name] {
		if !b.rel.Allows(c.parsed) {
			return false
		}
	}
	return true
}

// providersOf lists the packages whose picked version provides a virtual package, sorted.
func (r *resolver) providersOf(rel Relation) []string {
	var names []string
	for _, l := range r.lists {
		for _, p := range l.providers[rel.Name] {
			if c := r.pick(Relation{Name: p.by.Name}); c != nil && provides(c, rel) && !slices.Contains(names, c.Name) {
				names = append(names, c.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// provides: a versioned relation is met only by a versioned offer (Debian Policy 7.5).
func provides(c *Candidate, rel Relation) bool {
	offers, err := ParseRelations(c.Provides)
	if err != nil {
		return false
	}
	for _, o := range offers {
		if o[0].Name != rel.Name {
			continue
		}
		if rel.Op == "" {
			return true
		}
		if v, err := ParseVersion(o[0].Ver); err == nil && rel.Allows(v) {
			return true
		}
	}
	return false
}

// why explains a missing package: absent everywhere, or there in versions that do not fit.
func (r *resolver) why(rel Relation) string {
	var have []string
	for _, l := range r.lists {
		for _, c := range l.byName[rel.Name] {
			have = append(have, c.Version+" ("+c.Suite+")")
		}
	}
	if len(have) == 0 {
		return fmt.Sprintf("%s is in none of the suites %s", rel.Name, strings.Join(r.group.Suites, ", "))
	}
	parts := []string{fmt.Sprintf("%s exists as %s", rel.Name, strings.Join(have, ", "))}
	for _, b := range r.bounds[rel.Name] {
		parts = append(parts, fmt.Sprintf("and %s wants %s", b.by, b.rel))
	}
	return strings.Join(parts, ", ")
}

// checkConflicts refuses sets whose members exclude each other (Debian Policy 7.3, 7.4).
func checkConflicts(set []*Candidate) error {
	byName, offered := map[string]*Candidate{}, map[string][]*Candidate{}
	for _, c := range set {
		byName[c.Name] = c
		offers, err := ParseRelations(c.Provides)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Label(), err)
		}
		for _, o := range offers {
			offered[o[0].Name] = append(offered[o[0].Name], c)
		}
	}
	for _, c := range set {
		against, err := ParseRelations(c.Conflicts + "," + c.Breaks)
		if err != nil {
			return fmt.Errorf("%s: %w", c.Label(), err)
		}
		for _, alts := range against {
			for _, rel := range alts {
				if d := byName[rel.Name]; d != nil && d != c && rel.Allows(d.parsed) {
					return &ConflictError{c.Label(), rel.String(), d.Label()}
				}
				for _, d := range offered[rel.Name] {
					if d != c && provides(d, rel) {
						return &ConflictError{c.Label(), rel.String(), d.Label()}
					}
				}
			}
		}
	}
	return nil
}
