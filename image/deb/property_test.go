package deb

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// drawWorld makes a small archive with versions, constraints, alternatives, virtual packages and conflicts.
func drawWorld(tb testing.TB, rt *rapid.T, suite string) *list {
	tb.Helper()
	name := rapid.SampledFrom([]string{"aa", "bb", "cc", "dd", "ee"})
	relation := rapid.Custom(func(rt *rapid.T) string {
		s := rapid.SampledFrom([]string{"aa", "bb", "cc", "dd", "ee", "virtual", "absent"}).Draw(rt, "to")
		if op := rapid.SampledFrom([]string{"", "", "<<", "<=", "=", ">=", ">>"}).Draw(rt, "op"); op != "" {
			s += fmt.Sprintf(" (%s %d)", op, rapid.IntRange(1, 3).Draw(rt, "bound"))
		}
		return s
	})
	var lines []string
	seen := map[string]bool{}
	for range rapid.IntRange(1, 8).Draw(rt, "packages") {
		n, v := name.Draw(rt, "name"), rapid.IntRange(1, 3).Draw(rt, "version")
		if head := fmt.Sprintf("%s %d", n, v); !seen[head] {
			seen[head] = true
			var deps []string
			for range rapid.IntRange(0, 2).Draw(rt, "dependencies") {
				deps = append(deps, strings.Join(rapid.SliceOfN(relation, 1, 2).Draw(rt, "alternatives"), " | "))
			}
			line := head + "; Depends: " + strings.Join(deps, ", ")
			if rapid.IntRange(0, 3).Draw(rt, "offer") == 0 {
				line += fmt.Sprintf("; Provides: virtual (= %d)", v)
			}
			if rapid.IntRange(0, 5).Draw(rt, "hostile") == 0 {
				line += "; Conflicts: " + relation.Draw(rt, "against")
			}
			lines = append(lines, line)
		}
	}
	return world(tb, suite, lines...)
}

// TestClosuresAreClosed draws archives. A set that the resolver returns has one version per name, satisfies every
// dependency in it, has no conflict, and does not depend on the order of the request.
func TestClosuresAreClosed(t *testing.T) {
	solved := 0
	rapid.Check(t, func(rt *rapid.T) {
		lists := []*list{drawWorld(t, rt, "first"), drawWorld(t, rt, "second")}
		g := Group{Suites: []string{"first", "second"}, Packages: rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"aa", "bb", "cc"}), 1, 2, rapid.ID[string]).Draw(rt, "request")}
		set, err := runGroup(g, lists)
		slices.Reverse(g.Packages)
		again, errAgain := runGroup(g, lists)
		if (err == nil) != (errAgain == nil) || !slices.Equal(labels(set), labels(again)) {
			rt.Fatalf("the request's order matters: %v %v, %v %v", labels(set), err, labels(again), errAgain)
		}
		if err != nil {
			return
		}
		solved++
		for _, c := range set {
			needs, err := ParseRelations(c.Depends)
			if err != nil {
				rt.Fatal(err)
			}
			for _, alts := range needs {
				if !slices.ContainsFunc(alts, func(r Relation) bool { return slices.ContainsFunc(set, func(d *Candidate) bool { return meets(d, r) }) }) {
					rt.Fatalf("%s needs %s, the set is %v", c.Label(), alts, labels(set))
				}
			}
			against, err := ParseRelations(c.Conflicts)
			if err != nil {
				rt.Fatal(err)
			}
			for _, alts := range against {
				if slices.ContainsFunc(set, func(d *Candidate) bool { return d != c && meets(d, alts[0]) }) {
					rt.Fatalf("%s conflicts with %s, the set is %v", c.Label(), alts, labels(set))
				}
			}
		}
		for i := 1; i < len(set); i++ {
			if set[i].Name == set[i-1].Name {
				rt.Fatalf("two versions of a package: %v", labels(set))
			}
		}
	})
	if solved == 0 {
		t.Error("no drawn archive had a solution: the test proves nothing")
	}
}

func runGroup(g Group, lists []*list) ([]*Candidate, error) {
	r, err := newResolver(g, "amd64", lists)
	if err != nil {
		return nil, err
	}
	set, err := r.run()
	if err != nil {
		return nil, err
	}
	return set, nil
}

// meets is the test's own reading of Debian Policy 7.1 and 7.5.
func meets(c *Candidate, r Relation) bool {
	if c.Name == r.Name && r.Allows(c.parsed) {
		return true
	}
	name, version, _ := strings.Cut(strings.TrimSuffix(c.Provides, ")"), " (= ")
	if name != r.Name || name == "" {
		return false
	}
	v, err := ParseVersion(version)
	return err == nil && r.Allows(v)
}

func labels(set []*Candidate) []string {
	out := make([]string, len(set))
	for i, c := range set {
		out[i] = c.Label()
	}
	return out
}

func TestNewestVersionOfTheFirstSuiteWins(t *testing.T) {
	first, second := world(t, "first", "aa 1", "aa 1.10", "aa 1.9"), world(t, "second", "aa 2")
	for pin, want := range map[string]string{"aa": "aa 1.10 (first)", "aa=1.9": "aa 1.9 (first)", "aa=2": "aa 2 (second)"} {
		set, err := runGroup(Group{Suites: []string{"first", "second"}, Packages: []string{pin}}, []*list{first, second})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{want}, labels(set)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", pin, diff)
		}
	}
}

func TestComponentsOfASuiteAreOne(t *testing.T) {
	main, extra := world(t, "s", "aa 1; Depends: bb", "vv 1; Provides: virtual"), world(t, "s", "bb 1; Depends: virtual", "aa 2; Depends: bb")
	main.merge(extra)
	set, err := runGroup(Group{Suites: []string{"s"}, Packages: []string{"aa"}}, []*list{main})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"aa 2 (s)", "bb 1 (s)", "vv 1 (s)"}, labels(set)); diff != "" {
		t.Errorf("closure over two components (-want +got):\n%s", diff)
	}
}

func TestErrorsOfTheResolverAreTyped(t *testing.T) {
	l := world(t, "s", "aa 1; Depends: absent", "bb 1; Conflicts: cc", "cc 1")
	_, err := runGroup(Group{Suites: []string{"s"}, Packages: []string{"aa"}}, []*list{l})
	if unmet, ok := errors.AsType[*UnmetError](err); !ok || unmet.By != "aa 1 (s)" || unmet.Needed != "absent" {
		t.Errorf("unmet dependency: %v", err)
	}
	_, err = runGroup(Group{Suites: []string{"s"}, Packages: []string{"bb", "cc"}}, []*list{l})
	if c, ok := errors.AsType[*ConflictError](err); !ok || c.Package != "bb 1 (s)" || c.Other != "cc 1 (s)" {
		t.Errorf("conflict: %v", err)
	}
}

func TestReleaseDates(t *testing.T) {
	want := time.Date(2026, 9, 6, 8, 14, 33, 0, time.UTC)
	for _, s := range []string{"Sun, 06 Sep 2026 08:14:33 UTC", "Sun, 6 Sep 2026 08:14:33 GMT", "Sun, 06 Sep 2026 08:14:33 GMT"} {
		if got, err := parseDate(s); err != nil || !got.Equal(want) {
			t.Errorf("parseDate(%q) = %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "2026-09-06T08:14:33Z", "Sun, 06 Sep 2026 08:14:33 CEST", "Sun, 06 Sep 2026 08:14:33 +0200"} {
		if got, err := parseDate(s); err == nil {
			t.Errorf("parseDate(%q) = %v, want an error", s, got)
		}
	}
}

func TestLockedSuiteNamesItsSnapshot(t *testing.T) {
	s := Suite{Name: "trixie-security", Mirror: "http://security.debian.org/debian-security", Snapshot: "https://snapshot.debian.org"}
	rel := &Release{Codename: "trixie-security", Date: time.Date(2026, 10, 30, 20, 8, 1, 0, time.UTC), ValidUntil: testNow.Add(time.Hour), Signers: []string{"ab"}}
	got := lockSuite(s, rel, []byte("signed"), testNow)
	if got.Snapshot != "https://snapshot.debian.org/archive/debian-security/20261031T020801Z" || got.SnapshotFiles != "https://snapshot.debian.org/file" {
		t.Errorf("snapshot places %q and %q", got.Snapshot, got.SnapshotFiles)
	}
	if got.AcceptExpired || got.ValidUntil != "2026-11-21T13:00:00Z" || got.Date != "2026-10-30T20:08:01Z" {
		t.Errorf("suite %+v", got)
	}
	s.Snapshot = ""
	if got := lockSuite(s, rel, nil, testNow.Add(2*time.Hour)); got.Snapshot != "" || got.SnapshotFiles != "" || !got.AcceptExpired {
		t.Errorf("suite without snapshots, expired: %+v", got)
	}
}
