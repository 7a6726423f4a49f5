package jsonscan

import (
	"bytes"
	"encoding/json"
	"strconv"
)

// Kind says what the value is.
func (v Value) Kind() Kind {
	if v.end == v.start {
		return 0
	}
	switch c := v.doc[v.start]; c {
	case '{', '[', '"', 't', 'f', 'n':
		return Kind(c)
	}
	return Number
}

// Raw is the value's bytes inside the document.
func (v Value) Raw() []byte { return v.doc[v.start:v.end:v.end] }

// Text decodes a string; anything else is not ok.
func (v Value) Text() (string, bool) {
	if v.Kind() != String {
		return "", false
	}
	return unquote(v.Raw()), true
}

// Int reads an integer that is written as one: no fraction, no exponent, no minus zero.
func (v Value) Int() (int64, bool) {
	if v.Kind() != Number || bytes.ContainsAny(v.Raw(), ".eE") {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v.Raw()), 10, 64)
	return n, err == nil && string(v.Raw()) != "-0"
}

// Float reads any number that fits.
func (v Value) Float() (float64, bool) {
	if v.Kind() != Number {
		return 0, false
	}
	f, err := strconv.ParseFloat(string(v.Raw()), 64)
	return f, err == nil
}

// Bool reads true or false.
func (v Value) Bool() (value, ok bool) {
	k := v.Kind()
	return k == True, k == True || k == False
}

// Members lists the members of an object in their order; nil for any other value.
func (v Value) Members() []Member {
	if v.Kind() != Object {
		return nil
	}
	s := scanner{data: v.doc}
	var out []Member
	for i := s.space(v.start + 1); v.doc[i] != '}'; {
		keyEnd := s.skip(i)
		start := s.space(s.space(keyEnd) + 1)
		end := s.skip(start)
		out = append(out, Member{Key: unquote(v.doc[i:keyEnd]), Value: Value{v.doc, start, end}, keyAt: i})
		if i = s.space(end); v.doc[i] == ',' {
			i = s.space(i + 1)
		}
	}
	return out
}

// Get finds a member of an object.
func (v Value) Get(key string) (Value, bool) {
	for _, m := range v.Members() {
		if m.Key == key {
			return m.Value, true
		}
	}
	return Value{}, false
}

// Elements lists the elements of an array; nil for any other value.
func (v Value) Elements() []Value {
	if v.Kind() != Array {
		return nil
	}
	s := scanner{data: v.doc}
	var out []Value
	for i := s.space(v.start + 1); v.doc[i] != ']'; {
		end := s.skip(i)
		out = append(out, Value{v.doc, i, end})
		if i = s.space(end); v.doc[i] == ',' {
			i = s.space(i + 1)
		}
	}
	return out
}

// skip returns the offset behind the value at i of a document that was checked.
func (s *scanner) skip(i int) int {
	switch s.data[i] {
	case '"':
		return s.skipString(i)
	case '{', '[':
		depth := 0
		for {
			switch s.data[i] {
			case '"':
				i = s.skipString(i)
				continue
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			}
			i++
			if depth == 0 {
				return i
			}
		}
	}
	for i < len(s.data) && !bytes.ContainsRune([]byte(",]} \t\r\n"), rune(s.data[i])) {
		i++
	}
	return i
}

func (s *scanner) skipString(i int) int {
	for i++; s.data[i] != '"'; i++ {
		if s.data[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// unquote decodes a checked string with its quotes.
func unquote(quoted []byte) string {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return string(inner)
	}
	var out string
	if json.Unmarshal(quoted, &out) != nil {
		return string(inner) // unreachable for a checked string; its raw form compares unequal to every known key
	}
	return out
}
