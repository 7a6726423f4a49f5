package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDocumentsThatAreRefused(t *testing.T) {
	deep := func(n int) string { return `{"a":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}` }
	if _, err := Check([]byte(deep(MaxDepth - 1))); err != nil {
		t.Errorf("the deepest document: %v", err)
	}
	many := make([]string, 40)
	for i := range many {
		many[i] = fmt.Sprintf(`"k%d":0`, i)
	}
	for name, tc := range map[string]struct{ doc, want string }{
		"empty":                      {``, "not an object"},
		"array":                      {`[]`, "not an object"},
		"byte order mark":            {"\ufeff{}", "not an object"},
		"trailing bytes":             {`{} x`, "after the object"},
		"second document":            {`{}{}`, "after the object"},
		"duplicate":                  {`{"a":1,"a":2}`, "twice"},
		"duplicate, escaped":         {`{"a":1,"\u0061":2}`, "twice"},
		"duplicate deep":             {`{"x":[{"a":1,"b":2,"a":3}]}`, "twice"},
		"duplicate among many":       {`{` + strings.Join(many, ",") + `,"k7":1}`, "twice"},
		"duplicate at the threshold": {`{` + strings.Join(many[:fewKeys], ",") + `,"k15":1}`, "twice"},
		"too deep":                   {deep(MaxDepth), "nested deeper"},
		"not UTF-8":                  {"{\"a\":\"\xff\"}", "UTF-8"},
		"surrogate in UTF-8":         {"{\"a\":\"\xed\xa0\x80\"}", "UTF-8"},
		"lone high surrogate":        {`{"a":"\ud800"}`, "lone surrogate"},
		"lone low surrogate":         {`{"a":"\udc00"}`, "lone surrogate"},
		"two high surrogates":        {`{"a":"\ud800\ud800"}`, "lone surrogate"},
		"control character":          {"{\"a\":\"\n\"}", "control character"},
		"unknown escape":             {`{"a":"\x41"}`, "escape"},
		"short escape":               {`{"a":"\u12"}`, "escape"},
		"escape at the end":          {`{"a":"\`, "not closed"},
		"open string":                {`{"a":"b`, "not closed"},
		"open object":                {`{"a":1`, "not closed"},
		"open array":                 {`{"a":[1`, "not closed"},
		"no value":                   {`{"a":}`, "value is missing"},
		"no colon":                   {`{"a" 1}`, "colon"},
		"trailing comma":             {`{"a":1,}`, "key is missing"},
		"trailing comma in array":    {`{"a":[1,]}`, "value is missing"},
		"bare key":                   {`{a:1}`, "key is missing"},
		"leading zero":               {`{"a":01}`, "number"},
		"plus":                       {`{"a":+1}`, "value is missing"},
		"bare minus":                 {`{"a":-}`, "number"},
		"dot without digits":         {`{"a":1.}`, "number"},
		"exponent without digits":    {`{"a":1e}`, "number"},
		"not a number":               {`{"a":NaN}`, "value is missing"},
		"half a word":                {`{"a":tru}`, "value is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Check([]byte(tc.doc))
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want one about %q", err, tc.want)
			}
		})
	}
}

func TestValues(t *testing.T) {
	v, err := Check([]byte(` { "a" : "x\n\u00e9\ud83d\ude00" , "b":[1, -2.5e3,{"c":null}],"t":true,"f":false,"e":{},"n":[] } `))
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, m := range v.Members() {
		keys = append(keys, string(m.Key)+string(m.Kind()))
	}
	if diff := cmp.Diff([]string{`a"`, "b[", "tt", "ff", "e{", "n["}, keys); diff != "" {
		t.Error(diff)
	}
	a, _ := v.Get("a")
	if text, ok := a.Text(); !ok || text != "x\né😀" {
		t.Errorf("a = %q, %v", text, ok)
	}
	b, _ := v.Get("b")
	if e := b.Elements(); len(e) != 3 || string(e[1].Raw()) != "-2.5e3" || e[2].Kind() != Object {
		t.Errorf("b = %v", e)
	}
	if f, ok := b.Elements()[1].Float(); !ok || f != -2500 {
		t.Errorf("float %v, %v", f, ok)
	}
	tr, _ := v.Get("t")
	if value, ok := tr.Bool(); !value || !ok {
		t.Error("true is not")
	}
	if _, ok := v.Get("absent"); ok {
		t.Error("absent is there")
	}
	if a.Members() != nil || a.Elements() != nil {
		t.Error("a string has parts")
	}
}

func TestIntegersAreWrittenAsIntegers(t *testing.T) {
	for text, want := range map[string]bool{
		"0": true, "-1": true, "9223372036854775807": true, "9223372036854775808": false, "1.0": false, "1e3": false, "-0": false, `"1"`: false,
	} {
		v, err := Check([]byte(`{"a":` + text + `}`))
		if err != nil {
			t.Fatal(err)
		}
		a, _ := v.Get("a")
		if _, ok := a.Int(); ok != want {
			t.Errorf("%s is an integer: %v", text, ok)
		}
	}
}

func TestEdits(t *testing.T) {
	var used Edit // by one case after the other
	for name, tc := range map[string]struct {
		doc  string
		cut  []string
		set  [][2]string
		want string
	}{
		"nothing":             {doc: ` {"a":1 , "b":2} `, want: ` {"a":1 , "b":2} `},
		"first":               {doc: `{"a":1, "b":2}`, cut: []string{"a"}, want: `{"b":2}`},
		"middle":              {doc: `{"a":1, "b":2 ,"c":3}`, cut: []string{"b"}, want: `{"a":1 ,"c":3}`},
		"last":                {doc: `{"a":1, "b":2 }`, cut: []string{"b"}, want: `{"a":1 }`},
		"only":                {doc: `{ "a":1 }`, cut: []string{"a"}, want: `{  }`},
		"all":                 {doc: `{"a":1,"b":2,"c":3}`, cut: []string{"a", "b", "c"}, want: `{}`},
		"first two":           {doc: `{"a":1,"b":2,"c":3}`, cut: []string{"a", "b"}, want: `{"c":3}`},
		"outer two":           {doc: `{"a":1,"b":2,"c":3}`, cut: []string{"a", "c"}, want: `{"b":2}`},
		"last two":            {doc: `{"a":1,"b":2,"c":3}`, cut: []string{"b", "c"}, want: `{"a":1}`},
		"absent":              {doc: `{"a":1}`, cut: []string{"x"}, want: `{"a":1}`},
		"escaped spelling":    {doc: `{"us\u0061ge":1,"b":2}`, cut: []string{"usage"}, want: `{"b":2}`},
		"replace":             {doc: `{"a" : 1 , "b":2}`, set: [][2]string{{"a", `"x"`}}, want: `{"a" : "x" , "b":2}`},
		"add":                 {doc: `{"a":1 }`, set: [][2]string{{"b", "2"}, {"c", "3"}}, want: `{"a":1 ,"b":2,"c":3}`},
		"add to empty":        {doc: `{}`, set: [][2]string{{"b", "2"}}, want: `{"b":2}`},
		"cut all and add":     {doc: `{"a":1}`, cut: []string{"a"}, set: [][2]string{{"b", "2"}}, want: `{"b":2}`},
		"cut, replace, add":   {doc: `{"a":1,"b":2,"c":3}`, cut: []string{"a"}, set: [][2]string{{"c", "9"}, {"d", "4"}}, want: `{"b":2,"c":9,"d":4}`},
		"set brings it back":  {doc: `{"a":1}`, cut: []string{"a"}, set: [][2]string{{"a", "2"}}, want: `{"a":2}`},
		"nested stays as is":  {doc: `{"x":{"a":1,  "b":2},"a":3}`, cut: []string{"a"}, want: `{"x":{"a":1,  "b":2}}`},
		"braces in strings":   {doc: `{"x":"}\"{","a":"],"}`, cut: []string{"x"}, want: `{"a":"],"}`},
		"bytes stay the same": {doc: "{\"n\":1.50,\n\t\"s\":\"\\u0041\",\"a\":0}", cut: []string{"a"}, want: "{\"n\":1.50,\n\t\"s\":\"\\u0041\"}"},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := Check([]byte(tc.doc))
			if err != nil {
				t.Fatal(err)
			}
			used.Begin(v)
			var got []byte
			for _, e := range []*Edit{&used, NewEdit(v)} {
				for _, k := range tc.cut {
					e.Cut(k)
				}
				for _, kv := range tc.set {
					e.Set(kv[0], []byte(kv[1]))
				}
				if got = e.Bytes(); string(got) != tc.want {
					t.Errorf("got  %s\nwant %s", got, tc.want)
				}
			}
			if _, err := Check(got); err != nil {
				t.Error(err)
			}
			if len(tc.cut) == 1 && tc.set == nil {
				if out, found := AppendCut([]byte("x"), v, tc.cut[0]); string(out) != "x"+tc.want || found != (tc.want != tc.doc) {
					t.Errorf("AppendCut: %s, %t", out, found)
				}
			}
		})
	}
}

// FuzzCheck: what is accepted is JSON for the standard library too, with the same members; an edit leaves JSON.
func FuzzCheck(f *testing.F) {
	for _, s := range []string{
		`{}`, ` {"a":1,"b":[true,null,{"c":"\ud83d\ude00"}]} `, `{"a":1,"\u0061":2}`, `{"a":-0.5e-7}`, "{\"a\":\"\xff\"}", `{"a":"\ud800"}`,
		`{"usage":{"x":[[]]},"usage2":""}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		v, err := Check(doc)
		if err != nil {
			return
		}
		var std map[string]json.RawMessage
		if err := json.Unmarshal(doc, &std); err != nil {
			t.Fatalf("the standard library refuses it: %v", err)
		}
		members := v.Members()
		if len(std) != len(members) {
			t.Fatalf("%d members, the standard library sees %d", len(members), len(std))
		}
		sameInside(t, v)
		for _, m := range members {
			if text, ok := m.Text(); ok {
				var want string
				if err := json.Unmarshal(m.Raw(), &want); err != nil || text != want || !m.Is(want) || m.Is(want+"x") {
					t.Fatalf("%s is %q, the standard library reads %q, %v", m.Raw(), text, want, err)
				}
			}
			if !bytes.Equal(std[string(m.Key)], m.Raw()) {
				t.Fatalf("%q is %s, the standard library sees %s", m.Key, m.Raw(), std[string(m.Key)])
			}
			e := NewEdit(v)
			e.Cut(string(m.Key))
			if out, found := AppendCut(nil, v, string(m.Key)); !found || !bytes.Equal(out, e.Bytes()) {
				t.Fatalf("cutting %q: %s, and by an edit %s", m.Key, out, e.Bytes())
			}
			e.Set("zz", []byte("1"))
			if pieces := e.Pieces(); !bytes.Equal(bytes.Join(pieces, nil), e.Bytes()) {
				t.Fatalf("in pieces %q, whole %q", pieces, e.Bytes())
			}
			after, err := Check(e.Bytes())
			if err != nil {
				t.Fatalf("cutting %q: %v in %s", m.Key, err, e.Bytes())
			}
			if _, still := after.Get(string(m.Key)); still && string(m.Key) != "zz" {
				t.Fatalf("%q is still there", m.Key)
			}
		}
	})
}

func BenchmarkCheck64KiB(b *testing.B) {
	doc := []byte(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat("A few words of a prompt. ", 2621) + `"}],"stream":true}`)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		v, err := Check(doc)
		if err != nil {
			b.Fatal(err)
		}
		if len(v.Members()) != 3 {
			b.Fatal("members")
		}
	}
}
