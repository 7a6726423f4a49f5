package deb

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseRelations(t *testing.T) {
	got, err := ParseRelations("libc6 (>= 2.38), debconf (>= 0.5) | debconf-2.0 ,\n python3:any(<<3.14~),, a-b (= 1:2-3)")
	if err != nil {
		t.Fatal(err)
	}
	want := []Alternatives{
		{{Name: "libc6", Op: ">=", Ver: "2.38"}},
		{{Name: "debconf", Op: ">=", Ver: "0.5"}, {Name: "debconf-2.0"}},
		{{Name: "python3", Arch: "any", Op: "<<", Ver: "3.14~"}},
		{{Name: "a-b", Op: "=", Ver: "1:2-3"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("relations (-want +got):\n%s", diff)
	}
}

func TestParseRelationsRefuses(t *testing.T) {
	for name, s := range map[string]string{
		"no name": "(>= 1)", "empty alternative": "a || b", "open bracket": "a (>= 1", "old operator": "a (> 1)", "no operator": "a (1)",
		"no version": "a (>= )", "space in name": "a b", "architecture list": "a [amd64]", "build profile": "a <!nocheck>",
		"empty qualifier": "a: (>= 1)", "two constraints": "a (>= 1) (<< 2)", "many": strings.Repeat("aa,", maxRelations+1),
		"many alternatives": strings.Repeat("aa|", maxAlternatives) + "aa",
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := ParseRelations(s); err == nil {
				t.Errorf("ParseRelations = %v, want an error", got)
			}
		})
	}
}

func TestRelationAllows(t *testing.T) {
	tests := map[string]map[string]bool{ // operator -> version -> allowed, against 2.0
		"<<": {"1": true, "2.0~": true, "2.0": false, "3": false},
		"<=": {"1": true, "2.0": true, "2.0-1": false},
		"=":  {"2.0": true, "2.00": true, "2.0-1": false},
		">=": {"2.0": true, "2.0~": false, "3": true},
		">>": {"2.0": false, "2.0-1": true},
		"":   {"0": true, "9": true},
	}
	for op, versions := range tests {
		for v, want := range versions {
			if got := (Relation{Name: "a", Op: op, Ver: "2.0"}).Allows(mustVersion(t, v)); got != want {
				t.Errorf("%s %s 2.0: %v, want %v", v, op, got, want)
			}
		}
	}
}

// FuzzRelations: the printed form parses to the same relations.
func FuzzRelations(f *testing.F) {
	for _, s := range []string{
		"libc6 (>= 2.38), debconf (>= 0.5) | debconf-2.0", "a:any", "a(<<1~)", ",,", "a | b | c (= 1:1-1)", "a (>> 0)\n, b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, err := ParseRelations(s)
		if err != nil {
			return
		}
		parts := make([]string, len(first))
		for i, a := range first {
			parts[i] = a.String()
		}
		again, err := ParseRelations(strings.Join(parts, ", "))
		if err != nil || !cmp.Equal(first, again) {
			t.Fatalf("printed form of %q (%v):\n%s", s, err, cmp.Diff(first, again))
		}
	})
}
