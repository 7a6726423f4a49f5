package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

type inner struct {
	Port int `json:"port"`
}

// own reads itself: its keys and lengths are its own affair.
type own [1]string

func (o *own) UnmarshalJSON(data []byte) error {
	o[0] = string(data)
	return nil
}

type sample struct {
	Name  string            `json:"name"`
	In    inner             `json:"in"`
	List  []inner           `json:"list,omitempty"`
	Extra map[string]string `json:"extra,omitempty"`
	Any   any               `json:"any,omitempty"`
	Two   [2]inner          `json:"two,omitzero"`
	Named map[string]*inner `json:"named,omitempty"`
	Own   own               `json:"own,omitzero"`
}

// TestDecodeRefuses: each document breaks one rule, and the error names the key or the rule.
func TestDecodeRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ doc, want string }{
		"unknown key":             {`{"name":"a","nme":"b"}`, `unknown key "nme"`},
		"duplicate key":           {`{"name":"a","name":"b"}`, `duplicate key "name"`},
		"nested duplicate":        {`{"in":{"port":1,"port":2}}`, `duplicate key "port"`},
		"duplicate in list":       {`{"list":[{"port":1},{"port":1,"port":2}]}`, `duplicate key "port"`},
		"duplicate in map":        {`{"extra":{"a":"1","a":"2"}}`, `duplicate key "a"`},
		"duplicate in any":        {`{"any":{"a":1,"a":2}}`, `duplicate key "a"`},
		"case variant":            {`{"Name":"a"}`, `unknown key "Name"`},
		"case variant in object":  {`{"in":{"Port":1}}`, `in: unknown key "Port"`},
		"case variant in list":    {`{"list":[{"port":1},{"Port":1}]}`, `list: unknown key "Port"`},
		"case variant in array":   {`{"two":[{"port":1},{"Port":1}]}`, `two: unknown key "Port"`},
		"case variant in map":     {`{"named":{"a":{"Port":1}}}`, `named: a: unknown key "Port"`},
		"cut after a key":         {`{"name"`, ""},
		"cut in an array":         {`{"list":[{"port":1}`, ""},
		"escaped duplicate":       {`{"name":"a","n\u0061me":"b"}`, `duplicate key "name"`},
		"trailing document":       {`{"name":"a"}{}`, "after the document"},
		"trailing bracket":        {`{"name":"a"}]`, "after the document"},
		"wrong type":              {`{"in":{"port":"x"}}`, "port"},
		"truncated":               {`{"name":`, ""},
		"null":                    {`null`, "want an object"},
		"array too long":          {`{"two":[{"port":1},{"port":2},{"port":3}]}`, "two: array of 3 elements, want 2"},
		"array too short":         {`{"two":[{"port":1}]}`, "two: array of 1 elements, want 2"},
		"duplicate in array":      {`{"two":[{"port":1},{"port":1,"port":2}]}`, `duplicate key "port"`},
		"empty":                   {``, ""},
		"nested beyond the bound": {strings.Repeat(`{"any":`, 80) + "1" + strings.Repeat("}", 80), "nested deeper"},
	} {
		t.Run(name, func(t *testing.T) {
			var v sample
			err := Decode([]byte(tc.doc), &v)
			if !errors.Is(err, ErrSyntax) || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("Decode(%s) = %v, want ErrSyntax naming %q", tc.doc, err, tc.want)
			}
		})
	}
}

// TestDecodeAccepts: white space and key order do not matter when reading.
func TestDecodeAccepts(t *testing.T) {
	var v sample
	if err := Decode([]byte(" {\"in\" : {\"port\":7}, \"name\":\"a\", \"two\":[{},{}]}\n"), &v); err != nil {
		t.Fatal(err)
	}
	if v.Name != "a" || v.In.Port != 7 {
		t.Fatalf("decoded %+v", v)
	}
	if err := Decode([]byte(`{"own":[{"a":1},{"A":2}],"named":{"a":{"port":7},"A":null},"any":null}`), &v); err != nil || v.Own[0] == "" || v.Named["a"].Port != 7 {
		t.Fatalf("decoded %+v (%v)", v, err)
	}
	var generic any
	if err := Decode([]byte(`null`), &generic); err != nil || generic != nil {
		t.Fatalf("decoded %v (%v)", generic, err)
	}
}

// TestCanonical: keys sorted, no white space, one newline, nothing escaped that need not be.
func TestCanonical(t *testing.T) {
	got, err := Canonical(sample{Name: "<a>", In: inner{3}, Extra: map[string]string{"z": "1", "b": "2"}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"extra":{"b":"2","z":"1"},"in":{"port":3},"name":"<a>"}` + "\n"
	if string(got) != want {
		t.Fatalf("Canonical = %s, want %s", got, want)
	}
	if _, err := Canonical(map[string]any{"x": 1.5}); err == nil {
		t.Fatal("a float was accepted")
	}
	if big, err := Canonical(map[string]any{"x": uint64(1) << 63}); err != nil || string(big) != "{\"x\":9223372036854775808}\n" {
		t.Fatalf("a 64-bit integer became %s, %v", big, err)
	}
}

// FuzzDecode: what decodes re-encodes canonically, and the canonical form decodes to the same encoding.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{}`, `{"name":"a"}`, `{"in":{"port":1}}`, `{"list":[{"port":2}]}`, `{"any":[1,{"a":null}]}`, `{"name":"\ud800"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var v sample
		if Decode(data, &v) != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("accepted invalid JSON %q", data)
		}
		once, err := Canonical(v)
		if err != nil {
			return // a float in "any"
		}
		var again sample
		if err := Decode(once, &again); err != nil {
			t.Fatalf("canonical form %q does not decode: %v", once, err)
		}
		twice, err := Canonical(again)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q became %q (%v)", once, twice, err)
		}
	})
}
