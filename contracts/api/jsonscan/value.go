package jsonscan

import (
	"bytes"
	"iter"
	"slices"
	"strconv"
)

// Kind says what the value is.
func (v Value) Kind() Kind {
	if v.end == v.start {
		return 0
	}
	switch c := v.in.data[v.start]; c {
	case '{', '[', '"', 't', 'f', 'n':
		return Kind(c)
	}
	return Number
}

// Raw is the value's bytes inside the document.
func (v Value) Raw() []byte {
	if v.in == nil {
		return nil
	}
	return v.in.data[v.start:v.end:v.end]
}

// At is the offset of the value in the document.
func (v Value) At() int { return int(v.start) }

// KeyAt is the offset of the key's opening quote in the document.
func (m Member) KeyAt() int { return int(m.keyAt) }

// Text decodes a string; anything else is not ok.
func (v Value) Text() (string, bool) {
	if v.Kind() != String {
		return "", false
	}
	return string(unquote(v.Raw())), true
}

// Is says that the value is a string and reads like this.
func (v Value) Is(text string) bool {
	return v.Kind() == String && string(unquote(v.Raw())) == text
}

// Int reads an integer that is written as one: no fraction, no exponent, no minus zero.
func (v Value) Int() (int64, bool) {
	if v.Kind() != Number {
		return 0, false
	}
	n, err := strconv.ParseInt(string(v.Raw()), 10, 64) // which takes no fraction and no exponent
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

// indexed says that the value is the document's object, whose members are known.
func (v Value) indexed() bool { return v.in != nil && v.start == v.in.root }

// decode is a member as others see it.
func (d *document) decode(m *member) Member {
	return Member{Key: d.key(m), Value: Value{d, m.start, m.end}, keyAt: m.keyAt}
}

// key is a member's key as it is read.
func (d *document) key(m *member) []byte {
	if m.escaped {
		return unquote(d.data[m.keyAt:m.keyEnd])
	}
	return d.data[m.keyAt+1 : m.keyEnd-1 : m.keyEnd-1]
}

// Empty says that an object or an array has nothing in it; any other value is empty.
func (v Value) Empty() bool {
	k := v.Kind()
	return k != Object && k != Array || v.first() == v.end-1
}

// All goes through the members of an object in their order; any other value has none.
func (v Value) All() iter.Seq[Member] {
	return func(yield func(Member) bool) { v.each(yield) }
}

func (v Value) each(yield func(Member) bool) {
	switch {
	case v.indexed():
		for i := range v.in.members {
			if !yield(v.in.decode(&v.in.members[i])) {
				return
			}
		}
	case v.Kind() == Object:
		for i := v.first(); v.in.data[i] != '}'; {
			m := v.in.memberAt(i)
			if !yield(v.in.decode(&m)) {
				return
			}
			i = v.in.next(m.end)
		}
	}
}

// Members lists what All goes through.
func (v Value) Members() []Member { return slices.Collect(v.All()) }

// Get finds a member of an object.
func (v Value) Get(key string) (Value, bool) {
	switch {
	case v.indexed():
		if i := v.index(v.in.members, key); i >= 0 {
			return Value{v.in, v.in.members[i].start, v.in.members[i].end}, true
		}
	case v.Kind() == Object:
		for i := v.first(); v.in.data[i] != '}'; {
			m := v.in.memberAt(i)
			if string(v.in.key(&m)) == key {
				return Value{v.in, m.start, m.end}, true
			}
			i = v.in.next(m.end)
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
		for i := v.first(); v.in.data[i] != ']'; {
			end := v.in.skip(i)
			if !yield(Value{v.in, i, end}) {
				return
			}
			i = v.in.next(end)
		}
	}
}

// Elements lists what Each goes through.
func (v Value) Elements() []Value { return slices.Collect(v.Each()) }

// Inside goes through the members of every object in a value, however deep, whose key find accepts. Those within an
// accepted one come after it. Nothing is looked at twice but what is accepted.
func (v Value) Inside(find func(key []byte) bool) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		for i := v.start; i < v.end; {
			if v.in.data[i] != '"' {
				i++
				continue
			}
			end := v.in.skipString(i)
			colon := v.in.space(end)
			if colon >= v.end || v.in.data[colon] != ':' {
				i = end
				continue
			}
			m := member{keyAt: i, keyEnd: end, start: v.in.space(colon + 1), escaped: v.in.escaped(i, end)}
			i = m.start
			if find(v.in.key(&m)) {
				m.end = v.in.skip(m.start)
				if !yield(v.in.decode(&m)) {
					return
				}
			}
		}
	}
}

// What follows walks through a document that was checked, so it meets an end before that of the bytes.

// first is the offset of the first member or element, or of the bracket that closes an empty value.
func (v Value) first() uint32 { return v.in.space(v.start + 1) }

// next is the offset of what follows the member or element that ends at i: another one, or the closing bracket.
func (d *document) next(i uint32) uint32 {
	if i = d.space(i); d.data[i] == ',' {
		return d.space(i + 1)
	}
	return i
}

func (d *document) space(i uint32) uint32 {
	for int(i) < len(d.data) && d.data[i] <= ' ' {
		i++
	}
	return i
}

// memberAt is the member whose key is at i.
func (d *document) memberAt(i uint32) member {
	end := d.skipString(i)
	m := member{keyAt: i, keyEnd: end, start: d.space(d.space(end) + 1), escaped: d.escaped(i, end)}
	m.end = d.skip(m.start)
	return m
}

// skip returns the offset behind the value at i.
func (d *document) skip(i uint32) uint32 {
	switch d.data[i] {
	case '"':
		return d.skipString(i)
	case '{', '[':
		return d.skipNested(i)
	}
	for int(i) < len(d.data) {
		switch d.data[i] {
		case ',', ']', '}', ' ', '\t', '\r', '\n':
			return i
		}
		i++
	}
	return i
}

// skipNested returns the offset behind the object or array at i.
func (d *document) skipNested(i uint32) uint32 {
	for depth := 0; ; {
		switch d.data[i] {
		case '"':
			i = d.skipString(i)
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

// skipString finds the end of the string at i.
func (d *document) skipString(i uint32) uint32 {
	inner := d.data[i+1:]
	n := bytes.IndexByte(inner, '"')
	for odd(inner[:n]) { // the quote belongs to the string
		n++
		n += bytes.IndexByte(inner[n:], '"')
	}
	return i + uint32(n) + 2 //nolint:gosec // below MaxSize
}

// escaped says whether an escape sequence is in the string from start to end.
func (d *document) escaped(start, end uint32) bool {
	return bytes.IndexByte(d.data[start:end], '\\') >= 0
}

// odd says that text ends in an odd number of backslashes.
func odd(text []byte) bool {
	n := len(text)
	for n > 0 && text[n-1] == '\\' {
		n--
	}
	return (len(text)-n)%2 == 1
}
