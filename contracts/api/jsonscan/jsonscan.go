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
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const (
	// MaxSize is the longest document; callers have lower bounds of their own.
	MaxSize = 1 << 30
	// MaxDepth is the deepest nesting (field_policy.json, body rule "depth above 64").
	MaxDepth = 64
	// fewKeys is how many keys of one object are compared one by one before a map takes over.
	fewKeys = 32
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
	doc        []byte
	start, end int
}

// Member is a member of an object. Key is decoded, so an escaped spelling of a name is that name; it may share the
// document's bytes.
type Member struct {
	Key []byte
	Value
	keyAt int // offset of the key's opening quote
}

// Check reads a whole document: one object, and nothing after it but white space.
func Check(doc []byte) (Value, error) {
	s := scanner{data: doc}
	if len(doc) > MaxSize {
		return Value{}, s.fail(MaxSize, "the document is too long")
	}
	start := s.space(0)
	if start == len(doc) || doc[start] != byte(Object) {
		return Value{}, s.fail(start, "the document is not an object")
	}
	end, err := s.value(start, 0)
	if err != nil {
		return Value{}, err
	}
	if rest := s.space(end); rest != len(doc) {
		return Value{}, s.fail(rest, "bytes after the object")
	}
	return Value{doc, start, end}, nil
}

// scanner checks a document. Its errors name the offset, never the content: a body is private.
type scanner struct{ data []byte }

func (s *scanner) fail(at int, reason string) error {
	return fmt.Errorf("%w: offset %d: %s", ErrInvalid, at, reason)
}

func (s *scanner) space(i int) int {
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
	var seen keys
	for {
		next, err := s.member(i, depth, &seen)
		if err != nil {
			return i, err
		}
		i = s.space(next)
		switch {
		case i < len(s.data) && s.data[i] == '}':
			return i + 1, nil
		case i < len(s.data) && s.data[i] == ',':
			i = s.space(i + 1)
		default:
			return i, s.fail(i, "an object is not closed")
		}
	}
}

func (s *scanner) member(i, depth int, seen *keys) (int, error) {
	if i >= len(s.data) || s.data[i] != '"' {
		return i, s.fail(i, "a key is missing")
	}
	end, err := s.str(i)
	if err != nil {
		return i, err
	}
	if !seen.add(s.data, i, end) {
		return i, s.fail(i, "a key stands twice in one object")
	}
	colon := s.space(end)
	if colon >= len(s.data) || s.data[colon] != ':' {
		return i, s.fail(colon, "a colon is missing")
	}
	return s.value(s.space(colon+1), depth)
}

// keys remembers the keys of one object: the first by where they stand, quotes included, so that nested objects need
// little memory.
type keys struct {
	few  [fewKeys][2]uint32
	n    int
	many map[string]struct{}
	// escaped says that one of the few is not written as it is read.
	escaped bool
}

// add remembers the key from start to end and reports whether it is new.
func (k *keys) add(data []byte, start, end int) bool {
	key := unquote(data[start:end])
	if k.many != nil {
		return k.addToMany(key)
	}
	for _, at := range k.few[:k.n] {
		other := data[at[0]+1 : at[1]-1]
		if k.escaped {
			other = unquote(data[at[0]:at[1]])
		}
		if bytes.Equal(other, key) {
			return false
		}
	}
	if k.n < fewKeys {
		k.few[k.n] = [2]uint32{uint32(start), uint32(end)} //nolint:gosec // below MaxSize
		k.n++
		k.escaped = k.escaped || len(key) != end-start-2
		return true
	}
	k.many = make(map[string]struct{}, 2*fewKeys)
	for _, at := range k.few {
		k.many[string(unquote(data[at[0]:at[1]]))] = struct{}{}
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

// str checks the string that begins at i.
func (s *scanner) str(i int) (int, error) {
	start := i
	i++
	for {
		i += plain(s.data[i:])
		if i >= len(s.data) {
			return start, s.fail(start, "a string is not closed")
		}
		switch c := s.data[i]; {
		case c == '"':
			return i + 1, nil
		case c == '\\':
			next, err := s.escape(i)
			if err != nil {
				return i, err
			}
			i = next
		case c < ' ':
			return i, s.fail(i, "a control character inside a string")
		default:
			r, size := utf8.DecodeRune(s.data[i:])
			if r == utf8.RuneError && size == 1 {
				return i, s.fail(i, "bytes that are not UTF-8")
			}
			i += size
		}
	}
}

// plain counts the bytes at the start of data that are ASCII and neither a quote, a backslash nor a control character:
// eight at a time, by the arithmetic of Mycroft's test for a zero byte, which is exact up to the first byte found.
func plain(data []byte) (n int) {
	const low, high = 0x0101010101010101, 0x8080808080808080
	for ; len(data)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(data[n:])
		quote, slash := w^(low*'"'), w^(low*'\\')
		if found := (w | (w - low*' ') | (quote - low) | (slash - low)) & high; found != 0 {
			break // perhaps of a byte further on: each is looked at
		}
	}
	for ; n < len(data); n++ {
		if c := data[n]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			break
		}
	}
	return n
}

// escape checks the escape sequence at i; a surrogate needs its partner.
func (s *scanner) escape(i int) (int, error) {
	if i+1 >= len(s.data) {
		return i, s.fail(i, "a string is not closed")
	}
	switch s.data[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, nil
	case 'u':
	default:
		return i, s.fail(i, "an unknown escape sequence")
	}
	r, ok := hex4(s.data, i)
	if !ok {
		return i, s.fail(i, "an escape sequence without four hexadecimal digits")
	}
	if !utf16.IsSurrogate(r) {
		return i + 6, nil
	}
	if low, ok := hex4(s.data, i+6); !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
		return i, s.fail(i, "a lone surrogate")
	}
	return i + 12, nil
}

// hex4 reads the escape at i, \u and four digits.
func hex4(data []byte, i int) (rune, bool) {
	if len(data)-i < 6 || data[i] != '\\' || data[i+1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(data[i+2:i+6]), 16, 16)
	return rune(n), err == nil
}
