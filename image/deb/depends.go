package deb

import (
	"fmt"
	"slices"
	"strings"
)

const (
	// maxRelations bounds one dependency field; Debian's longest Provides have about 2,000 entries.
	maxRelations = 20000
	// maxAlternatives bounds one dependency's choices.
	maxAlternatives = 200
)

// Relation is one package in a dependency field: a name and, if any, a version constraint (Debian Policy 7.1).
type Relation struct {
	Name string
	Arch string // qualifier after ":", for example "any"
	Op   string // "<<", "<=", "=", ">=", ">>" or ""
	Ver  string
}

// String is the form in control files.
func (r Relation) String() string {
	s := r.Name
	if r.Arch != "" {
		s += ":" + r.Arch
	}
	if r.Op != "" {
		s += " (" + r.Op + " " + r.Ver + ")"
	}
	return s
}

// Alternatives are relations of which one must hold.
type Alternatives []Relation

// String is the form in control files.
func (a Alternatives) String() string {
	parts := make([]string, len(a))
	for i, r := range a {
		parts[i] = r.String()
	}
	return strings.Join(parts, " | ")
}

// ParseRelations reads a dependency field: relations separated by commas, each with alternatives.
func ParseRelations(field string) ([]Alternatives, error) {
	var out []Alternatives
	for part := range strings.SplitSeq(field, ",") {
		if part = trim(part); part == "" {
			continue // archives have empty parts and trailing commas
		}
		if len(out) == maxRelations {
			return nil, fmt.Errorf("parsing a dependency field: over %d relations", maxRelations)
		}
		var alts Alternatives
		for alt := range strings.SplitSeq(part, "|") {
			if len(alts) == maxAlternatives {
				return nil, fmt.Errorf("parsing a dependency field: over %d alternatives", maxAlternatives)
			}
			r, err := parseRelation(trim(alt))
			if err != nil {
				return nil, fmt.Errorf("parsing a dependency field: %.200q: %w", part, err)
			}
			alts = append(alts, r)
		}
		out = append(out, alts)
	}
	return out, nil
}

func trim(s string) string { return strings.Trim(s, " \t\n") }

// parseRelation reads "name[:arch] [(op version)]".
func parseRelation(s string) (Relation, error) {
	head, constraint, has := strings.Cut(s, "(")
	name, arch, _ := strings.Cut(trim(head), ":")
	r := Relation{Name: name, Arch: arch}
	if !packageName.MatchString(r.Name) {
		return r, fmt.Errorf("%.80q is no package name", r.Name)
	}
	if strings.Contains(head, ":") && !packageName.MatchString(r.Arch) {
		return r, fmt.Errorf("%.80q is no architecture", r.Arch)
	}
	if !has {
		return r, nil
	}
	constraint, ok := strings.CutSuffix(constraint, ")")
	if !ok {
		return r, fmt.Errorf("the version constraint has no \")\"")
	}
	constraint = trim(constraint)
	end := strings.IndexFunc(constraint, func(c rune) bool { return !strings.ContainsRune("<=>", c) })
	if end < 0 {
		end = len(constraint)
	}
	r.Op, r.Ver = constraint[:end], trim(constraint[end:])
	if !slices.Contains([]string{"<<", "<=", "=", ">=", ">>"}, r.Op) {
		return r, fmt.Errorf("the operator %q", r.Op)
	}
	if _, err := ParseVersion(r.Ver); err != nil {
		return r, err
	}
	return r, nil
}

// Allows reports whether a version satisfies the constraint.
func (r Relation) Allows(v Version) bool {
	if r.Op == "" {
		return true
	}
	want, err := ParseVersion(r.Ver)
	if err != nil {
		return false
	}
	c := v.Compare(want)
	switch r.Op {
	case "<<":
		return c < 0
	case "<=":
		return c <= 0
	case "=":
		return c == 0
	case ">=":
		return c >= 0
	}
	return c > 0
}
