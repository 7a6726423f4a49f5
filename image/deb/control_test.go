package deb

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParagraphsKeepFieldsAndContinuations(t *testing.T) {
	const text = "\n\nPackage: a\nDescription: short\n long one\n .\n\tlast\nEmpty:\n\nPackage:b  \n\n \nPackage: c"
	in := newParagraphs(strings.NewReader(text))
	var got []Paragraph
	for {
		p, err := in.next(nil)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p)
	}
	want := []Paragraph{
		{{"Package", "a"}, {"Description", "short\nlong one\n.\nlast"}, {"Empty", ""}},
		{{"Package", "b"}},
		{{"Package", "c"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paragraphs (-want +got):\n%s", diff)
	}
	if v := got[0].Get("package"); v != "a" {
		t.Errorf("Get ignores case: %q, want \"a\"", v)
	}
}

func TestParagraphRefuses(t *testing.T) {
	tests := map[string]struct{ text, want string }{
		"empty":           {"\n\n", "empty"},
		"no colon":        {"Package a\n", "line 1"},
		"early fold":      {" folded\n", "without a field"},
		"twice":           {"A: 1\na: 2\n", "there twice"},
		"space in name":   {"A B: 1\n", "no field"},
		"comment":         {"#A: 1\n", "no field"},
		"two paragraphs":  {"A: 1\n\nB: 2\n", "more than one"},
		"long line":       {"A: " + strings.Repeat("x", maxLine), "over"},
		"long paragraph":  {"A:\n" + strings.Repeat(" "+strings.Repeat("x", 1<<19)+"\n", 17), "paragraph over"},
		"too many fields": {manyFields(maxFields + 1), "fields"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := parseParagraph(strings.NewReader(tc.text)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("parseParagraph: %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString("F" + strings.Repeat("x", i) + ": 1\n")
	}
	return b.String()
}

// FuzzParagraphs: what is read back from the printed form is what was read first.
func FuzzParagraphs(f *testing.F) {
	for _, s := range []string{
		"Package: a\nVersion: 1\n\nPackage: b\n", "A: 1\n b\n .\n c\n", " x", "A:\n\n\n\nB:x", "A: \t x \nA: y\n", "\xff: \x00\n",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, err := parseParagraph(strings.NewReader(text))
		if err != nil {
			return
		}
		var b strings.Builder
		for _, field := range first {
			b.WriteString(field.Name + ": " + strings.ReplaceAll(field.Value, "\n", "\n ") + "\n")
		}
		again, err := parseParagraph(strings.NewReader(b.String()))
		if err != nil || !cmp.Equal(first, again) {
			t.Fatalf("printed form (%v):\n%s", err, cmp.Diff(first, again))
		}
	})
}
