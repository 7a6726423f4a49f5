package rootfs_test

import (
	"path"
	"strings"
	"testing"

	"cocoon/image/rootfs"
)

func TestPatternMatches(t *testing.T) {
	for pattern, c := range map[string]struct{ yes, no []string }{
		"usr/bin/*":       {[]string{"usr/bin/a"}, []string{"usr/bin", "usr/bin/a/b", "usr/lib/a"}},
		"/usr/bin/a":      {[]string{"usr/bin/a"}, []string{"bin/a"}},
		"**/x":            {[]string{"x", "a/x", "a/b/x"}, []string{"x/a", "ax"}},
		"usr/**":          {[]string{"usr", "usr/a", "usr/a/b"}, []string{"us", "var/usr"}},
		"usr/**/doc/*":    {[]string{"usr/doc/a", "usr/share/doc/a"}, []string{"usr/share/doc", "usr/share/doc/a/b"}},
		"**/a/**/b":       {[]string{"a/b", "x/a/y/z/b", "a/a/b/b"}, []string{"b/a", "a/b/c"}},
		"lib[a-c].so.[0]": {[]string{"libb.so.0"}, []string{"libd.so.0", "libb.so.1"}},
	} {
		p, err := rootfs.CompilePattern(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range c.yes {
			if !p.Match(name) {
				t.Errorf("%q does not match %q", pattern, name)
			}
		}
		for _, name := range c.no {
			if p.Match(name) {
				t.Errorf("%q matches %q", pattern, name)
			}
		}
	}
}

func TestPatternCoversWhatIsBelowAMatch(t *testing.T) {
	p, err := rootfs.CompilePattern("usr/share/*")
	if err != nil {
		t.Fatal(err)
	}
	if !p.Covers("usr/share/doc/a/b") || !p.Covers("usr/share/doc") || p.Covers("usr/share") || p.Covers("usr/lib/x") {
		t.Error("coverage of usr/share/* is wrong")
	}
}

func TestPatternRefusals(t *testing.T) {
	for _, text := range []string{"", "/", "a//b", "a/../b", "./a", "a/[", "a/", strings.Repeat("a/", 40) + "a"} {
		if p, err := rootfs.CompilePattern(text); err == nil {
			t.Errorf("%q compiles to %v", text, p)
		}
	}
}

// FuzzPattern compares matching with a plain recursive definition and checks that nothing panics.
func FuzzPattern(f *testing.F) {
	for _, seed := range [][2]string{
		{"usr/**/x", "usr/a/b/x"}, {"**/**/**/b", "a/a/a/a/a/c"}, {"[a-z]*/?", "ab/c"}, {"**", "a"}, {`a\*/b`, "a*/b"}, {"*/*", "a/b/c"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		p, err := rootfs.CompilePattern(pattern)
		clean, cleanErr := rootfs.CleanPath(name)
		if err != nil || cleanErr != nil || strings.Count(pattern, "**") > 3 || strings.Count(name, "/") > 12 {
			return
		}
		got := p.Match(clean)
		want := slowMatch(strings.Split(strings.TrimPrefix(pattern, "/"), "/"), strings.Split(clean, "/"))
		if got != want {
			t.Errorf("%q matches %q: %t, by definition %t", pattern, clean, got, want)
		}
		if got && !p.Covers(clean+"/below") {
			t.Errorf("%q matches %q but does not cover what is below", pattern, clean)
		}
	})
}

func slowMatch(pattern, name []string) bool {
	if len(pattern) == 0 {
		return len(name) == 0
	}
	if pattern[0] == "**" {
		return slowMatch(pattern[1:], name) || len(name) > 0 && slowMatch(pattern, name[1:])
	}
	if len(name) == 0 {
		return false
	}
	ok, err := path.Match(pattern[0], name[0])
	return err == nil && ok && slowMatch(pattern[1:], name[1:])
}
