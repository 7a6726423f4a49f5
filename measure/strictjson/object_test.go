package strictjson

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestObjectKeepsOrderAndBytes: a table of keys gets what the document says, as it says it.
func TestObjectKeepsOrderAndBytes(t *testing.T) {
	got, err := Object([]byte(" {\"b\": [1, 2] , \"a\":{\"x\":null}, \"c\": \"\\u0041\"} \n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Member{{"b", []byte("[1, 2]")}, {"a", []byte(`{"x":null}`)}, {"c", []byte(`"\u0041"`)}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	kinds := make([]string, 0, len(got))
	for _, m := range got {
		kinds = append(kinds, Kind(m.Value))
	}
	if d := cmp.Diff([]string{"an array", "an object", "a string"}, kinds); d != "" {
		t.Error(d)
	}
	for value, want := range map[string]string{"null": "null", "1": "a number", "true": "a boolean", "": "no value"} {
		if got := Kind([]byte(value)); got != want {
			t.Errorf("%q is %s, want %s", value, got, want)
		}
	}
	elements, err := Array([]byte(`[1, "two", [3]]`))
	if err != nil || len(elements) != 3 || string(elements[2]) != "[3]" {
		t.Errorf("elements %q (%v)", elements, err)
	}
}

func TestObjectRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ doc, want string }{
		"nothing":           {``, ""},
		"an array":          {`[]`, "an array, want an object"},
		"null":              {`null`, "null, want an object"},
		"a number":          {`1`, "a number, want an object"},
		"a string":          {`"{}"`, "a string, want an object"},
		"duplicate key":     {`{"a":1,"a":2}`, `duplicate key "a"`},
		"hidden duplicate":  {`{"a":{"b":[{"c":1,"c":2}]}}`, `duplicate key "c"`},
		"trailing document": {`{} {}`, "after the document"},
		"trailing bracket":  {`{}]`, ""},
		"truncated":         {`{"a":1`, ""},
		"too deep":          {strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70), "nested deeper"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Object([]byte(tc.doc)); !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want ErrSyntax with %q", err, tc.want)
			}
		})
	}
	for _, doc := range []string{`{}`, `[1`, `[1]2`, `[{"a":1,"a":1}]`} {
		if _, err := Array([]byte(doc)); !errors.Is(err, ErrSyntax) {
			t.Errorf("%s: %v, want ErrSyntax", doc, err)
		}
	}
}
