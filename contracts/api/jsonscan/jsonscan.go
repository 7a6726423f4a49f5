// Package jsonscan reads JSON objects as bytes: it checks a whole document once, says where each member stands, and
// edits by cutting and splicing (inference.md sections 1 and 4).
//
// It owns the rule that everybody on the path of a request sees the same document: duplicate keys at any depth, lone
// surrogates, bytes that are not UTF-8, a byte order mark and trailing bytes are errors, because parsers differ in what
// they make of them. It trusts no input; depth and size are bounded and the cost is linear. Values share the caller's
// bytes and are safe for concurrent reading. It never re-encodes: what is not cut stays byte for byte.
package jsonscan

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

const (
	// MaxSize is the longest document; callers have lower bounds of their own.
	MaxSize = 1 << 30
	// MaxDepth is the deepest nesting (field_policy.json, body rule "depth above 64").
	MaxDepth = 64
	// fewKeys is how many keys of one object are compared one by one before a map takes over.
	fewKeys = 32
	// fewMembers is how many members of a document stand in the memory that it comes with.
	fewMembers = 12
	// fewOpen is the same for the keys of the objects around a place.
	fewOpen = 16
)

// ErrInvalid is what every error of this package wraps.
var ErrInvalid = errors.New("invalid JSON")

// Kind is the kind of a value, named by its first byte.
type Kind byte

// The kinds of JSON values.
const (
	Object Kind = '{'
	Array  Kind = '['
	String Kind = '"'
	Number Kind = '0'
	True   Kind = 't'
	False  Kind = 'f'
	Null   Kind = 'n'
)

// Value is a value inside a checked document.
type Value struct {
	in         *document
	start, end uint32
}

// document is what was checked, and where the members of its object stand: those are asked for again and again.
type document struct {
	data    []byte
	root    uint32
	members []member
	few     [fewMembers]member
}

// member is where a member stands: its key with the quotes, and its value.
type member struct {
	keyAt, keyEnd, start, end uint32
	escaped                   bool // the key is not written as it is read
}

// Member is a member of an object. Key is decoded, so an escaped spelling of a name is that name; it may share the
// document's bytes.
type Member struct {
	Key []byte
	Value
	keyAt uint32 // offset of the key's opening quote
}

// Check reads a whole document: one object, and nothing after it but white space.
func Check(doc []byte) (Value, error) { return new(Reader).Check(doc) }

// Reader checks one document after the other. Its zero value is ready; it is not safe for concurrent use.
type Reader struct {
	doc  document
	keys []span
	few  [fewOpen]span
}

// Check is the function Check without new memory. Values of the document before are not valid any more.
func (r *Reader) Check(doc []byte) (Value, error) {
	d := &r.doc
	if d.members == nil {
		d.members, r.keys = d.few[:0], r.few[:0]
	}
	d.data, d.members = doc, d.members[:0]
	s := scanner{data: doc, root: d, keys: r.keys[:0]}
	if len(doc) > MaxSize {
		return Value{}, s.fail(MaxSize, "the document is too long")
	}
	start := s.space(0)
	if start == len(doc) || doc[start] != byte(Object) {
		return Value{}, s.fail(start, "the document is not an object")
	}
	d.root = uint32(start) //nolint:gosec // below MaxSize
	end, err := s.value(start, 0)
	r.keys = s.keys
	if err != nil {
		return Value{}, err
	}
	if rest := s.space(end); rest != len(doc) {
		return Value{}, s.fail(rest, "bytes after the object")
	}
	return Value{d, d.root, uint32(end)}, nil //nolint:gosec // below MaxSize
}

// scanner checks a document. Its errors name the offset, never the content: a body is private.
type scanner struct {
	data []byte
	// root takes the members of the outermost object.
	root *document
	// keys are those of the objects around the place that is looked at, the outermost object's first.
	keys []span
	// escaped says that the last string had an escape sequence.
	escaped bool
}

// span is where a string stands, quotes included.
type span struct{ start, end uint32 }

func (s *scanner) fail(at int, reason string) error {
	return fmt.Errorf("%w: offset %d: %s", ErrInvalid, at, reason)
}

// space is the offset behind the white space at i, most often none.
func (s *scanner) space(i int) int {
	if i < len(s.data) && s.data[i] > ' ' {
		return i
	}
	return s.blanks(i)
}

func (s *scanner) blanks(i int) int {
	for i < len(s.data) && (s.data[i] == ' ' || s.data[i] == '\n' || s.data[i] == '\r' || s.data[i] == '\t') {
		i++
	}
	return i
}

// value checks the value at i and returns the offset behind it.
func (s *scanner) value(i, depth int) (int, error) {
	if i >= len(s.data) {
		return i, s.fail(i, "the document ends inside a value")
	}
	switch c := s.data[i]; {
	case c == '"':
		return s.str(i)
	case c == '{' || c == '[':
		if depth >= MaxDepth {
			return i, s.fail(i, "nested deeper than "+strconv.Itoa(MaxDepth))
		}
		if c == '{' {
			return s.object(i, depth+1)
		}
		return s.array(i, depth+1)
	case c == '-' || c >= '0' && c <= '9':
		return s.number(i)
	case c == 't':
		return s.word(i, "true")
	case c == 'f':
		return s.word(i, "false")
	case c == 'n':
		return s.word(i, "null")
	}
	return i, s.fail(i, "a value is missing")
}

func (s *scanner) word(i int, word string) (int, error) {
	if len(s.data)-i < len(word) || string(s.data[i:i+len(word)]) != word {
		return i, s.fail(i, "a value is missing")
	}
	return i + len(word), nil
}

func (s *scanner) array(i, depth int) (int, error) {
	i = s.space(i + 1)
	if i < len(s.data) && s.data[i] == ']' {
		return i + 1, nil
	}
	for {
		var err error
		if i, err = s.value(i, depth); err != nil {
			return i, err
		}
		i = s.space(i)
		switch {
		case i < len(s.data) && s.data[i] == ']':
			return i + 1, nil
		case i < len(s.data) && s.data[i] == ',':
			i = s.space(i + 1)
		default:
			return i, s.fail(i, "an array is not closed")
		}
	}
}

func (s *scanner) object(i, depth int) (int, error) {
	i = s.space(i + 1)
	if i < len(s.data) && s.data[i] == '}' {
		return i + 1, nil
	}
	seen := keys{base: len(s.keys)}
	for {
		next, err := s.member(i, depth, &seen)
		if err != nil {
			return i, err
		}
		i = s.space(next)
		switch {
		case i < len(s.data) && s.data[i] == '}':
			s.keys = s.keys[:seen.base]
			return i + 1, nil
		case i < len(s.data) && s.data[i] == ',':
			i = s.space(i + 1)
		default:
			return i, s.fail(i, "an object is not closed")
		}
	}
}

//nolint:gosec // offsets are below MaxSize
func (s *scanner) member(i, depth int, seen *keys) (int, error) {
	if i >= len(s.data) || s.data[i] != '"' {
		return i, s.fail(i, "a key is missing")
	}
	end, err := s.str(i)
	if err != nil {
		return i, err
	}
	escaped := s.escaped
	if !s.add(seen, span{uint32(i), uint32(end)}) {
		return i, s.fail(i, "a key stands twice in one object")
	}
	colon := s.space(end)
	if colon >= len(s.data) || s.data[colon] != ':' {
		return i, s.fail(colon, "a colon is missing")
	}
	start := s.space(colon + 1)
	behind, err := s.value(start, depth)
	if err == nil && depth == 1 {
		s.root.members = append(s.root.members, member{uint32(i), uint32(end), uint32(start), uint32(behind), escaped})
	}
	return behind, err
}

// keys remembers the keys of one object: the first by where they stand, from base on, so that nested objects need little
// memory.
type keys struct {
	base int
	many map[string]struct{}
	// escaped says that one of them is not written as it is read.
	escaped bool
}

// add remembers a key and reports whether it is new in its object.
func (s *scanner) add(k *keys, at span) bool {
	key := s.data[at.start+1 : at.end-1]
	if s.escaped {
		k.escaped = true
		key = unquote(s.data[at.start:at.end])
	}
	if k.many != nil {
		return k.addToMany(key)
	}
	few := s.keys[k.base:]
	for _, other := range few {
		if k.escaped {
			if bytes.Equal(unquote(s.data[other.start:other.end]), key) {
				return false
			}
			continue
		}
		if other.end-other.start == at.end-at.start && bytes.Equal(s.data[other.start+1:other.end-1], key) {
			return false
		}
	}
	if len(few) < fewKeys {
		s.keys = append(s.keys, at)
		return true
	}
	k.many = make(map[string]struct{}, 2*fewKeys)
	for _, other := range few {
		k.many[string(unquote(s.data[other.start:other.end]))] = struct{}{}
	}
	return k.addToMany(key)
}

func (k *keys) addToMany(key []byte) bool {
	n := len(k.many)
	k.many[string(key)] = struct{}{}
	return len(k.many) > n
}

// number checks a number by RFC 8259 section 6.
func (s *scanner) number(i int) (int, error) {
	start := i
	if s.at(i) == '-' {
		i++
	}
	first := i
	i = s.digits(i)
	ok := i > first && (s.data[first] != '0' || i == first+1)
	if s.at(i) == '.' {
		from := i + 1
		i = s.digits(from)
		ok = ok && i > from
	}
	if c := s.at(i); c == 'e' || c == 'E' {
		i++
		if c := s.at(i); c == '+' || c == '-' {
			i++
		}
		from := i
		i = s.digits(from)
		ok = ok && i > from
	}
	if !ok {
		return start, s.fail(start, "a number is malformed")
	}
	return i, nil
}

// at is the byte at i, or 0 behind the end.
func (s *scanner) at(i int) byte {
	if i < len(s.data) {
		return s.data[i]
	}
	return 0
}

// digits is the offset behind the digits at i.
func (s *scanner) digits(i int) int {
	for i < len(s.data) && s.data[i]-'0' <= 9 {
		i++
	}
	return i
}
