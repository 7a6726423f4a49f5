package deb

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/lock"
)

// world builds a suite's list from lines "name version; Field: value; Field: value".
func world(tb testing.TB, suite string, lines ...string) *list {
	tb.Helper()
	var b strings.Builder
	for i, line := range lines {
		parts := strings.Split(line, "; ")
		name, version, _ := strings.Cut(parts[0], " ")
		fmt.Fprintf(&b, "Package: %s\nVersion: %s\nArchitecture: amd64\nFilename: pool/%s.deb\nSize: 1\nSHA256: %064x\n", name, version, name, i)
		for _, field := range parts[1:] {
			b.WriteString(field + "\n")
		}
		b.WriteString("\n")
	}
	l, err := readList(tb.Context(), strings.NewReader(b.String()), suite, "amd64")
	if err != nil {
		tb.Fatal(err)
	}
	return l
}

func closure(tb testing.TB, g Group, lists ...*list) ([]string, error) {
	tb.Helper()
	r, err := newResolver(g, "amd64", lists)
	if err != nil {
		return nil, err
	}
	set, err := r.run()
	var out []string
	for _, c := range set {
		out = append(out, c.Name+"="+c.Version)
	}
	return out, err
}

func TestClosure(t *testing.T) {
	stable := []string{
		"app 1; Depends: lib (>= 1), data; Pre-Depends: init",
		"lib 1", "lib 2", "data 5", "init 1",
		"alt 1; Depends: first | second", "first 1", "second 1",
		"noalt 1; Depends: absent | second",
		"mail 1; Depends: mta", "exim 1; Provides: mta", "postfix 1; Provides: mta",
		"one 1; Depends: only-virtual", "sole 1; Provides: only-virtual (= 3)",
		"versioned 1; Depends: only-virtual (>= 2)",
		"py 1; Depends: lib:any (<< 2)",
		"late 1; Depends: app, lib (<< 2)",
		"loop-a 1; Depends: loop-b", "loop-b 1; Depends: loop-a",
		"deb 1; Depends: debconf (>= 0.5) | debconf-2.0, lib",
	}
	backports := []string{"lib 3", "app 2; Depends: lib (>= 3)", "newer 1; Depends: lib (>= 3), app"}
	tests := map[string]struct {
		group Group
		want  []string
	}{
		"dependencies":                  {Group{Packages: []string{"app"}}, []string{"app=1", "data=5", "init=1", "lib=2"}},
		"first alternative":             {Group{Packages: []string{"alt"}}, []string{"alt=1", "first=1"}},
		"chosen alternative":            {Group{Packages: []string{"alt"}, Choices: map[string]string{"first": "second"}}, []string{"alt=1", "second=1"}},
		"requested alternative":         {Group{Packages: []string{"alt", "second"}}, []string{"alt=1", "second=1"}},
		"missing first alternative":     {Group{Packages: []string{"noalt"}}, []string{"noalt=1", "second=1"}},
		"chosen provider":               {Group{Packages: []string{"mail"}, Choices: map[string]string{"mta": "postfix"}}, []string{"mail=1", "postfix=1"}},
		"requested provider":            {Group{Packages: []string{"mail", "exim"}}, []string{"exim=1", "mail=1"}},
		"only provider":                 {Group{Packages: []string{"one"}}, []string{"one=1", "sole=1"}},
		"versioned provider":            {Group{Packages: []string{"versioned"}}, []string{"sole=1", "versioned=1"}},
		"any architecture":              {Group{Packages: []string{"py"}}, []string{"lib=1", "py=1"}},
		"constraint learned late":       {Group{Packages: []string{"late"}}, []string{"app=1", "data=5", "init=1", "late=1", "lib=1"}},
		"loop":                          {Group{Packages: []string{"loop-a"}}, []string{"loop-a=1", "loop-b=1"}},
		"excluded":                      {Group{Packages: []string{"deb"}, Exclude: []string{"debconf"}}, []string{"deb=1", "lib=2"}},
		"pin":                           {Group{Packages: []string{"lib=1"}}, []string{"lib=1"}},
		"pin in a later suite":          {Group{Packages: []string{"app=2"}}, []string{"app=2", "lib=3"}},
		"no dependencies":               {Group{Packages: []string{"app"}, NoDepends: true}, []string{"app=1"}},
		"later suite only where needed": {Group{Packages: []string{"newer"}}, []string{"app=1", "data=5", "init=1", "lib=3", "newer=1"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := closure(t, tc.group, world(t, "stable", stable...), world(t, "backports", backports...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("closure (-want +got):\n%s", diff)
			}
		})
	}
}

func TestClosureRefuses(t *testing.T) {
	l := world(t, "stable",
		"mail 1; Depends: mta", "exim 1; Provides: mta", "postfix 1; Provides: mta", "lib 1",
		"wants 1; Depends: absent | lib (>= 2)", "versioned 1; Depends: mta (>= 1)",
		"xx 1; Conflicts: yy", "yy 1", "zz 1; Breaks: mta", "foreign 1; Depends: lib:i386",
		"pair 1; Depends: strict, loose", "strict 1; Depends: lib (= 1)", "loose 1; Depends: lib (>> 1)",
		"self 1; Provides: mta; Conflicts: mta", "broken 1; Depends: lib (1)",
	)
	tests := map[string]struct {
		group Group
		want  []string
	}{
		"ambiguous provider":   {Group{Packages: []string{"mail"}}, []string{"choose one of exim, postfix, self", "mail 1 (stable)"}},
		"no alternative fits":  {Group{Packages: []string{"wants"}}, []string{"absent is in none", "lib exists as 1", "wants 1 (stable)"}},
		"unversioned provider": {Group{Packages: []string{"versioned"}}, []string{"mta (>= 1)"}},
		"unknown package":      {Group{Packages: []string{"nothing"}}, []string{"nothing", "the recipe"}},
		"unknown pin":          {Group{Packages: []string{"lib=9"}}, []string{"lib exists as 1", "(= 9)"}},
		"malformed pin":        {Group{Packages: []string{"lib=x"}}, []string{"pin \"lib=x\""}},
		"conflict":             {Group{Packages: []string{"xx", "yy"}}, []string{"xx 1 (stable) conflicts", "yy 1 (stable)"}},
		"breaks a provider":    {Group{Packages: []string{"zz", "exim"}}, []string{"zz 1 (stable)", "exim 1 (stable)"}},
		"foreign architecture": {Group{Packages: []string{"foreign"}}, []string{"another architecture"}},
		"contradiction":        {Group{Packages: []string{"pair"}}, []string{"lib (>> 1)", "loose 1 (stable)"}},
		"wrong choice":         {Group{Packages: []string{"mail"}, Choices: map[string]string{"mta": "lib"}}, []string{"chooses lib for mta"}},
		"malformed field":      {Group{Packages: []string{"broken"}}, []string{"broken 1 (stable)", "operator"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			tc.group.Suites = []string{"stable"}
			_, err := closure(t, tc.group, l)
			if err == nil {
				t.Fatal("the closure succeeds")
			}
			for _, w := range tc.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("the error does not say %q: %v", w, err)
				}
			}
		})
	}
	var ambiguous *AmbiguousError
	if _, err := closure(t, Group{Packages: []string{"mail"}}, l); !errors.As(err, &ambiguous) || len(ambiguous.Providers) != 3 {
		t.Errorf("error %v, want an AmbiguousError with three providers", err)
	}
	if got, err := closure(t, Group{Packages: []string{"self"}}, l); err != nil || len(got) != 1 {
		t.Errorf("a package that conflicts with its own virtual name: %q, %v", got, err)
	}
}

func TestUnusedExclusionsAreReported(t *testing.T) {
	a := map[string]*archive{"stable": {list: world(t, "stable", "deb 1; Depends: debconf")}}
	g := Group{Name: "base", Suites: []string{"stable"}, Packages: []string{"deb"}, Exclude: []string{"debconf", "wget"}}
	arts, unused, err := resolveGroup(g, "amd64", a)
	if err != nil || len(arts) != 1 {
		t.Fatalf("%d artefacts, %v", len(arts), err)
	}
	if diff := cmp.Diff([]string{"wget"}, unused); diff != "" {
		t.Errorf("unused exclusions (-want +got):\n%s", diff)
	}
	if want := (lock.Artefact{
		Name: "deb", Version: "1", Arch: "amd64", Kind: lock.Deb, SHA256: strings.Repeat("0", 64), Size: 1,
		Suite: "stable", Path: "pool/deb.deb", Groups: []string{"base"},
	}); !cmp.Equal(want, arts[0]) {
		t.Errorf("artefact (-want +got):\n%s", cmp.Diff(want, arts[0]))
	}
}

func TestPackageListRefuses(t *testing.T) {
	const good = "Package: a\nVersion: 1\nArchitecture: amd64\nFilename: pool/a.deb\nSize: 1\nSHA256: 0000000000000000000000000000000000000000000000000000000000000000\n"
	tests := map[string]struct{ old, with string }{
		"name":              {"Package: a", "Package: ../a"},
		"no version":        {"Version: 1\n", ""},
		"hash":              {"SHA256: 00", "SHA256: xx"},
		"size":              {"Size: 1", "Size: -1"},
		"size overflow":     {"Size: 1", "Size: 99999999999999999999"},
		"path escape":       {"pool/a.deb", "../../etc/passwd"},
		"absolute path":     {"pool/a.deb", "/etc/passwd"},
		"provides an older": {"Size: 1", "Size: 1\nProvides: b (<< 2)"},
		"no field":          {"Size: 1", "Size 1"},
	}
	if l, err := readList(t.Context(), strings.NewReader(strings.Replace(good, ": a\n", ": aa\n", 1)), "s", "amd64"); err != nil || len(l.byName) != 1 {
		t.Fatalf("the good list: %v", err)
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(strings.Replace(good, ": a\n", ": aa\n", 1), strings.Replace(tc.old, "Package: a", "Package: aa", 1), tc.with, 1)
			if _, err := readList(t.Context(), strings.NewReader(text), "s", "amd64"); err == nil || !strings.Contains(err.Error(), "package list of s") {
				t.Errorf("readList: %v, want an error that names the list", err)
			}
		})
	}
}

func TestPackageListSkipsOtherArchitectures(t *testing.T) {
	const form = "Package: aa\nVersion: 1\nArchitecture: %s\nFilename: pool/a.deb\nSize: 1\nSHA256: %064d\n\n"
	l, err := readList(t.Context(), strings.NewReader(fmt.Sprintf(form+form+form, "amd64", 1, "all", 2, "arm64", 3)), "s", "amd64")
	if err != nil || len(l.byName["aa"]) != 2 {
		t.Errorf("%d candidates (%v), want 2", len(l.byName["aa"]), err)
	}
}

// FuzzPackages: what is read has the form that a lock needs, and the closure of anything in it ends.
func FuzzPackages(f *testing.F) {
	const p = "Package: %s\nVersion: %s\nArchitecture: all\nFilename: pool/a.deb\nSize: 1\nSHA256: %064d\n%s\n\n"
	f.Add(fmt.Sprintf(p, "aa", "1", 1, "Depends: bb | cc (>= 1)") + fmt.Sprintf(p, "bb", "2:1-1", 2, "Provides: dd (= 1), ee"))
	f.Add(fmt.Sprintf(p, "aa", "1", 1, "Depends: aa, bb (<< 1)") + fmt.Sprintf(p, "bb", "1~", 2, "Depends: aa") + fmt.Sprintf(p, "bb", "2", 3, "Breaks: aa"))
	f.Add(fmt.Sprintf(p, "aa", "1", 1, "Depends: bb\n, cc\nConflicts: aa"))
	f.Add("Package: aa\n\n\nPackage")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		l, err := readList(t.Context(), strings.NewReader(text), "s", "amd64")
		if err != nil {
			return
		}
		for name, cs := range l.byName {
			for _, c := range cs {
				if c.Name != name || !hexHash.MatchString(c.SHA256) || c.Size <= 0 || strings.HasPrefix(c.Path, "/") {
					t.Fatalf("candidate %+v", c)
				}
			}
			first, errA := closure(t, Group{Packages: []string{name}}, l)
			second, errB := closure(t, Group{Packages: []string{name}}, l)
			if (errA == nil) != (errB == nil) || !cmp.Equal(first, second) {
				t.Fatalf("two answers: %q %v, %q %v", first, errA, second, errB)
			}
		}
	})
}
