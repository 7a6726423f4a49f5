package recipe

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestINIReadsWhatMkosiReads(t *testing.T) {
	text := "# head\n[A]\nOne=1 # tail\nList=\n    a\n\n    # between\n    b=c\nTwo = x , y\n[ B ]\r\nThree=\n"
	got, err := parseINI("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	want := []setting{
		{"A", "One", "1", 3},
		{"A", "List", "\na\nb=c", 4},
		{"A", "Two", "x , y", 9},
		{"B", "Three", "", 11},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(setting{})); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	for i, list := range [][]string{{"1"}, {"a", "b=c"}, {"x", "y"}, nil} {
		if diff := cmp.Diff(list, got[i].list()); diff != "" {
			t.Errorf("list %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestINIErrorsNameFileAndLine(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"setting before a section": {"\nA=1\n", "dir/f:2: "},
		"no equals sign":           {"[A]\nB\n", "dir/f:2: "},
		"no key":                   {"[A]\n=1\n", "dir/f:2: "},
		"section not closed":       {"[A]\nB=1\n[C\n", "dir/f:3: "},
		"section without a name":   {"[]\n", "dir/f:1: "},
		"nested brackets":          {"[[A]]\n", "dir/f:1: "},
		"control character":        {"[A]\nB=\x00\n", "dir/f:2: "},
		"not UTF-8":                {"[A]\nB=\xff\n", "dir/f:2: "},
		"too large":                {strings.Repeat("#", maxINI+1), "dir/f: "},
		"too many settings":        {"[A]\n" + strings.Repeat("B=1\n", maxSettings+1), "dir/f:1026: "},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseINI("dir/f", []byte(c.text)); err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("error %v, want one that starts with %q", err, c.want)
			}
		})
	}
}

// FuzzINI holds that what parses, written out plainly, parses to the same settings.
func FuzzINI(f *testing.F) {
	if committed, err := os.ReadFile("../../mkosi/mkosi.conf"); err == nil {
		f.Add(committed)
	}
	for _, seed := range []string{"[A]\nB=1\n", "[A]\nB=\n  c\n  d\n", "[A]\nB=1#x\n [C]\n", "#\n\n[ X ]\nY = z\r\n", "[A]\nB=\tc=d\n\te"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		settings, err := parseINI("f", data)
		if err != nil {
			return
		}
		var out strings.Builder
		for _, s := range settings {
			out.WriteString("[" + s.section + "]\n" + s.key + "=" + strings.ReplaceAll(s.value, "\n", "\n  ") + "\n")
		}
		again, err := parseINI("f", []byte(out.String()))
		if err != nil {
			t.Fatalf("written out it does not parse: %v\n%s", err, out.String())
		}
		if len(again) != len(settings) {
			t.Fatalf("%d settings, written out %d", len(settings), len(again))
		}
		for i := range again {
			again[i].line = settings[i].line
			if again[i] != settings[i] {
				t.Fatalf("setting %+v, written out %+v", settings[i], again[i])
			}
		}
	})
}

// FuzzDocument holds that no text panics the decoder or the rules behind it.
func FuzzDocument(f *testing.F) {
	if committed, err := os.ReadFile("../../mkosi/image.toml"); err == nil {
		f.Add(committed)
	}
	for _, seed := range []string{
		"version = 1\n", "version = 1\n[layers.a]\nextends = \"a\"\n", "version = 1\n[suites.x]\naccept_expired = 2026-11-06T08:08:01Z\n",
		"version = 1\n[variants.debug]\nreplace = { a = \"b\" }\n", "version = 1\n[images.a]\nlayers = [\"b\"]\ncmdline = [\"init\"]\n", "a = [[[[[[",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := parseDocument(data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), documentName) {
				t.Fatalf("error without a file: %v", err)
			}
			return
		}
		b := builder{doc: doc, recipe: &Recipe{Go: doc.Go, Kernel: doc.Kernel, Stub: doc.Stub, Firmware: doc.Firmware}}
		b.build()
		if b.recipe.Validate() == nil && len(b.errs) == 0 && len(b.recipe.Layers) > 0 {
			t.Fatal("a layer without any definition file is legal")
		}
	})
}
