package deb

import (
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// ascending is in Debian's order (Debian Policy 5.6.12 and dpkg's own tests).
var ascending = []string{
	"0~~", "0~", "0", "0-0a", "0-0.1", "0.0", "0.1~rc1", "0.1", "0.1-1~bpo13+1", "0.1-1", "0.1-1+b1", "0.1-2", "0.1-10",
	"0.1a", "0.1+x", "0.10", "1.0~beta1", "1.0", "1.0.0", "6.18.15-1~bpo13+1", "6.18.15-1", "9", "10", "257.13-1~deb13u1",
	"2026.08+ds-2", "1:0~", "1:0", "2:0.9", "10:0",
}

func mustVersion(tb testing.TB, s string) Version {
	tb.Helper()
	v, err := ParseVersion(s)
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

func TestVersionsHaveDebiansOrder(t *testing.T) {
	for i, a := range ascending {
		for j, b := range ascending {
			if got, want := mustVersion(t, a).Compare(mustVersion(t, b)), sign(i-j); got != want {
				t.Errorf("Compare(%q, %q) = %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestEqualVersionsInDifferentWords(t *testing.T) {
	for a, b := range map[string]string{"0:1": "1", "1.00": "1.0", "1": "1-0", "00:1.01-0": "1.1"} {
		if got := mustVersion(t, a).Compare(mustVersion(t, b)); got != 0 {
			t.Errorf("Compare(%q, %q) = %d, want 0", a, b, got)
		}
	}
}

func TestParseVersionRefuses(t *testing.T) {
	for name, s := range map[string]string{
		"empty": "", "letter first": "a1", "no upstream": "1:", "epoch word": "x:1", "no epoch": ":1", "empty revision": "1-",
		"space": "1 2", "slash": "1/2", "not ASCII": "1.0é", "long": strings.Repeat("1", maxVersion+1), "revision's character": "1-a:b",
	} {
		t.Run(name, func(t *testing.T) {
			if v, err := ParseVersion(s); err == nil {
				t.Errorf("ParseVersion(%.20q) = %+v, want an error", s, v)
			}
		})
	}
}

// TestCompareAgreesWithDpkg draws versions from the alphabet that matters and asks dpkg about each pair.
func TestCompareAgreesWithDpkg(t *testing.T) {
	dpkg, err := exec.LookPath("dpkg")
	if err != nil {
		t.Skip("needs dpkg")
	}
	rng := rand.New(rand.NewPCG(1, 2))
	draw := func() string {
		const alphabet = "01290..+~~-ab:"
		b := []byte{byte('0' + rng.IntN(3))}
		for range rng.IntN(7) {
			b = append(b, alphabet[rng.IntN(len(alphabet))])
		}
		return string(b)
	}
	for n := 0; n < 150; {
		a, b := draw(), draw()
		v, errA := ParseVersion(a)
		w, errB := ParseVersion(b)
		if errA != nil || errB != nil {
			continue
		}
		n++
		op := map[int]string{-1: "lt", 0: "eq", 1: "gt"}[v.Compare(w)]
		if err := exec.CommandContext(t.Context(), dpkg, "--compare-versions", a, op, b).Run(); err != nil {
			t.Errorf("dpkg does not agree that %q %s %q: %v", a, op, b, err)
		}
	}
}

// FuzzVersion: the order is total, antisymmetric, and does not depend on how the text is split.
func FuzzVersion(f *testing.F) {
	for i := range len(ascending) - 1 {
		f.Add(ascending[i], ascending[i+1], ascending[(i+7)%len(ascending)])
	}
	f.Fuzz(func(t *testing.T, a, b, c string) {
		var vs []Version
		for _, s := range []string{a, b, c} {
			v, err := ParseVersion(s)
			if err != nil {
				return
			}
			vs = append(vs, v)
		}
		for _, v := range vs {
			for _, w := range vs {
				if v.Compare(w) != -w.Compare(v) {
					t.Fatalf("%+v and %+v: %d and %d", v, w, v.Compare(w), w.Compare(v))
				}
			}
		}
		slices.SortFunc(vs, Version.Compare)
		if vs[0].Compare(vs[2]) > 0 {
			t.Fatalf("not transitive: %+v", vs)
		}
	})
}
