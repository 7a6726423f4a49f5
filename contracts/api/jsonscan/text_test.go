package jsonscan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// plainSlowly is plain, and Plain, byte by byte.
func plainSlowly(data []byte) (end, ascii int) {
	special := func(c byte) bool { return c < ' ' || c == '"' || c == '\\' }
	end = len(data)
	if i := slices.IndexFunc(data, special); i >= 0 {
		end = i
	}
	ascii = end
	if i := slices.IndexFunc(data[:end], func(c byte) bool { return c >= utf8.RuneSelf }); i >= 0 {
		ascii = i
	}
	return end, ascii
}

func samePlain(t *testing.T, data []byte) {
	t.Helper()
	end, ascii := plainSlowly(data)
	n, wide := plain(data)
	if n != end {
		t.Fatalf("%q: plain until %d, want %d", data, n, end)
	}
	if ascii < end && wide&high == 0 {
		t.Fatalf("%q: what is beyond ASCII was not seen", data)
	}
	if n := Plain(data); n != ascii {
		t.Fatalf("%q: plain ASCII until %d, want %d", data, n, ascii)
	}
}

// TestEveryByteIsSeenAtEveryPlace: whatever stands before and behind it, at whatever place in a word.
func TestEveryByteIsSeenAtEveryPlace(t *testing.T) {
	for _, around := range []string{"a", " ", "!", "#", "[", "]", "\x7f", "\x80", "\xa2", "\xdc", "\xff"} {
		for c := range 256 {
			for at := range 44 {
				data := []byte(strings.Repeat(around, 44))
				data[at] = byte(c)
				samePlain(t, data)
			}
		}
	}
}

// FuzzPlain: the search of eight bytes at a time finds what one byte by byte does.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{
		"", "plain", strings.Repeat("long and plain ", 9), "quote\"", "a backslash\\ and more of it", "\x1f", "\x7f\x80\xff\x00", "é, ü and 漢字 \n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for len(data) > 0 {
			samePlain(t, data)
			end, _ := plainSlowly(data)
			data = data[min(end+1, len(data)):]
		}
	})
}

// TestWhatIsNotUTF8IsNamedWhereItStands: in keys and values of any length, among text of one and of several bytes.
func TestWhatIsNotUTF8IsNamedWhereItStands(t *testing.T) {
	for _, text := range []string{"a", "é", "漢", "😀", `\n`, `\u00e9`} {
		for n := range 40 {
			before := strings.Repeat(text, n)
			for _, bad := range []string{"\xff", "\x80", "\xc3", "\xe6\xbc", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc0\xaf"} {
				for _, form := range []string{`{"k":"%s%s"}`, `{"%s%s":1}`, `{"a":[{"b":"%s%s` + text + `"}]}`} {
					doc := fmt.Sprintf(form, before, bad)
					want := fmt.Sprintf("offset %d: bytes that are not UTF-8", strings.Index(doc, before+bad)+len(before))
					if _, err := Check([]byte(doc)); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
						t.Fatalf("%q: %v, want %s", doc, err, want)
					}
				}
			}
			if _, err := Check([]byte(`{"` + before + `":"` + before + `"}`)); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestStringsEndWhereTheyEnd: quotes behind backslashes belong to a string by the number of those.
func TestStringsEndWhereTheyEnd(t *testing.T) {
	for n := range 12 {
		text := strings.Repeat(`\\`, n)
		for _, s := range []string{text, text + `\"`, `\"` + text, text + `\"` + text, `a` + text + `\"b\"` + text + `c`} {
			doc := `{"o":{"` + s + `x":["` + s + `",1]},"z":2}`
			v, err := Check([]byte(doc))
			if err != nil {
				t.Fatal(doc, err)
			}
			o, _ := v.Get("o")
			for m := range o.All() {
				var want string
				if err := json.Unmarshal([]byte(`"`+s+`x"`), &want); err != nil || string(m.Key) != want {
					t.Errorf("%s: %q, want %q, %v", doc, m.Key, want, err)
				}
				if e := m.Elements(); len(e) != 2 || string(e[0].Raw()) != `"`+s+`"` || string(e[1].Raw()) != "1" {
					t.Errorf("%s: %v", doc, e)
				}
			}
		}
	}
}

// all lists the members inside a value by walking through it, containers first.
func all(v Value) (out []string) {
	for m := range v.All() {
		out = append(append(out, fmt.Sprintf("%d %s=%s", m.KeyAt(), m.Key, m.Raw())), all(m.Value)...)
	}
	for e := range v.Each() {
		out = append(out, all(e)...)
	}
	return out
}

// sameInside checks that one pass finds the members that a walk does.
func sameInside(t *testing.T, v Value) {
	t.Helper()
	var got []string
	for m := range v.Inside(func([]byte) bool { return true }) {
		got = append(got, fmt.Sprintf("%d %s=%s", m.KeyAt(), m.Key, m.Raw()))
	}
	if want := all(v); !slices.Equal(got, want) {
		t.Fatalf("inside of %s are %q, want %q", v.Raw(), got, want)
	}
}

// TestInside: one pass sees the members of all objects, chosen by their keys, and nothing that only looks like one.
func TestInside(t *testing.T) {
	v, err := Check([]byte(` {"a" : [ {"x_url":{"url":"1"}} , "x_url", ":", {"b":{"\u0078_url" : "2"}}, []] , "c":"\"x_url\":3", "x_url":4 } `))
	if err != nil {
		t.Fatal(err)
	}
	sameInside(t, v)
	var got []string
	for m := range v.Inside(func(key []byte) bool { return string(key) == "x_url" }) {
		got = append(got, string(m.Raw()))
	}
	if want := []string{`{"url":"1"}`, `"2"`, "4"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for m := range v.Inside(func([]byte) bool { return true }) {
		if string(m.Key) == "x_url" {
			break // a pass may end early
		}
	}
	for range (Value{}).Inside(func([]byte) bool { return true }) {
		t.Error("something is inside of nothing")
	}
}

// TestReader: one document after another is read as it would be alone, also after one that is refused.
func TestReader(t *testing.T) {
	many := make([]string, 3*fewKeys)
	for i := range many {
		many[i] = fmt.Sprintf(`"k%d":{"x":%d}`, i, i)
	}
	var r Reader
	for _, doc := range []string{
		`{"a":1,"b":{"c":2}}`, `{"a":1,"b":{"c":2}`, `{}`, `{` + strings.Join(many, ",") + `}`, `{"a":1,"a":2}`, `{"b":[{"a":0}]}`, `[]`, ` {"\u0061":"x"} `,
	} {
		got, gotErr := r.Check([]byte(doc))
		want, wantErr := Check([]byte(doc))
		if fmt.Sprint(gotErr) != fmt.Sprint(wantErr) || !slices.Equal(all(got), all(want)) || !bytes.Equal(got.Raw(), want.Raw()) {
			t.Errorf("%s: %q, %v; alone %q, %v", doc, all(got), gotErr, all(want), wantErr)
		}
	}
}

// TestReaderTakesNoMemory: a stream's events are read without any.
func TestReaderTakesNoMemory(t *testing.T) {
	var r Reader
	doc := []byte(`{"id":"chatcmpl-1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":null}]}`)
	found := 0
	if n := testing.AllocsPerRun(100, func() {
		if v, err := r.Check(doc); err == nil {
			if _, ok := v.Get("choices"); ok {
				found++
			}
		}
	}); n != 0 || found == 0 {
		t.Errorf("%v allocations, %d found", n, found)
	}
}

// BenchmarkCheck is one pass over a prompt of 64 KiB, by what it is written in.
func BenchmarkCheck(b *testing.B) {
	for _, text := range []string{"A few words of a prompt. ", `A line of a prompt.\n`, "Несколько слов. ", "几句话的提示。"} {
		doc := []byte(`{"model":"m","messages":[{"role":"user","content":"` + strings.Repeat(text, 65536/len(text)) + `"}],"stream":true}`)
		b.Run(text[:4], func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Check(doc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSkip finds the member behind a long one, within an object that is not the document's.
func BenchmarkSkip(b *testing.B) {
	for _, text := range []string{"A few words of a prompt. ", `A "line" of it.\n`} {
		text := strings.ReplaceAll(text, `"`, `\"`)
		doc := []byte(`{"m":{"content":"` + strings.Repeat(text, 65536/len(text)) + `","role":"user"}}`)
		v, err := Check(doc)
		if err != nil {
			b.Fatal(err)
		}
		m, _ := v.Get("m")
		b.Run(text[:4], func(b *testing.B) {
			b.SetBytes(int64(len(doc)))
			for b.Loop() {
				if _, ok := m.Get("role"); !ok {
					b.Fatal("lost")
				}
			}
		})
	}
}
