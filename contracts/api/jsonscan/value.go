package jsonscan

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
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

// At is the offset of the value in the document.
func (v Value) At() int { return v.start }

// KeyAt is the offset of the key's opening quote in the document.
func (m Member) KeyAt() int { return m.keyAt }

// Text decodes a string; anything else is not ok.
func (v Value) Text() (string, bool) {
	if v.Kind() != String {
		return "", false
	}
	return string(unquote(v.Raw())), true
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

// All goes through the members of an object in their order; any other value has none.
func (v Value) All() iter.Seq[Member] {
	return func(yield func(Member) bool) {
		if v.Kind() != Object {
			return
		}
		s := scanner{data: v.doc}
		for i := s.space(v.start + 1); v.doc[i] != '}'; {
			keyEnd := s.skip(i)
			start := s.space(s.space(keyEnd) + 1)
			end := s.skip(start)
			if !yield(Member{Key: unquote(v.doc[i:keyEnd]), Value: Value{v.doc, start, end}, keyAt: i}) {
				return
			}
			if i = s.space(end); v.doc[i] == ',' {
				i = s.space(i + 1)
			}
		}
	}
}

// Members lists what All goes through.
func (v Value) Members() []Member { return slices.Collect(v.All()) }

// Get finds a member of an object.
func (v Value) Get(key string) (Value, bool) {
	for m := range v.All() {
		if string(m.Key) == key {
			return m.Value, true
		}
	}
	return Value{}, false
}

// Each goes through the elements of an array; any other value has none.
func (v Value) Each() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if v.Kind() != Array {
			return
		}
		s := scanner{data: v.doc}
		for i := s.space(v.start + 1); v.doc[i] != ']'; {
			end := s.skip(i)
			if !yield(Value{v.doc, i, end}) {
				return
			}
			if i = s.space(end); v.doc[i] == ',' {
				i = s.space(i + 1)
			}
		}
	}
}

// Elements lists what Each goes through.
func (v Value) Elements() []Value { return slices.Collect(v.Each()) }

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
	for ; i < len(s.data); i++ {
		switch s.data[i] {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			return i
		}
	}
	return i
}

// skipString finds the end of the string at i. One with an escape in it is looked at byte by byte.
func (s *scanner) skipString(i int) int {
	i++
	inner := s.data[i:]
	if end := bytes.IndexByte(inner, '"'); bytes.IndexByte(inner[:end], '\\') < 0 {
		return i + end + 1
	}
	for ; s.data[i] != '"'; i++ {
		if s.data[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// unquote decodes a checked string with its quotes; without escapes it shares the bytes.
func unquote(quoted []byte) []byte {
	inner := quoted[1 : len(quoted)-1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	var out string
	if json.Unmarshal(quoted, &out) != nil {
		return inner // unreachable for a checked string; its raw form compares unequal to every known key
	}
	return []byte(out)
}
