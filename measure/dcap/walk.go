package dcap

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Bounds of signed JSON. Intel's TCB info nests 6 deep and has some thousand values.
const (
	maxDepth   = 16
	maxMembers = 64
	maxItems   = 1024
	maxValues  = 1 << 16
)

// kind is the kind of a JSON value.
type kind byte

const (
	isObject kind = '{'
	isArray  kind = '['
	isString kind = '"'
	isNumber kind = '0'
	isWord   kind = 't' // true, false, null
)

// value is a JSON value together with the bytes it was read from.
type value struct {
	kind kind
	// raw is the value's text; that of a string without its quotes.
	raw string
	// escaped says that a string's text is not the string.
	escaped bool
	members []member
	items   []value
}

type member struct {
	name  string
	value value
}

// walker reads JSON token by token. It is stricter than the grammar: names must not contain escapes, and two names of an
// object must differ in more than letter case, because other readers of the same bytes take one for the other.
type walker struct {
	text   string
	at     int
	values int
}

// walk reads exactly one JSON value; whitespace around it is allowed.
func walk(text string) (value, error) {
	if !utf8.ValidString(text) {
		return value{}, errors.New("not UTF-8")
	}
	w := walker{text: text}
	w.space()
	v, err := w.value(0)
	if err != nil {
		return value{}, fmt.Errorf("at byte %d: %w", w.at, err)
	}
	if w.space(); w.at != len(text) {
		return value{}, fmt.Errorf("%d bytes after the value", len(text)-w.at)
	}
	return v, nil
}

func (w *walker) space() {
	for w.at < len(w.text) && strings.IndexByte(" \t\r\n", w.text[w.at]) >= 0 {
		w.at++
	}
}

// peek is the next byte, or 0 at the end.
func (w *walker) peek() byte {
	if w.at == len(w.text) {
		return 0
	}
	return w.text[w.at]
}

// take steps over one byte if it is c.
func (w *walker) take(c byte) bool {
	if w.peek() != c {
		return false
	}
	w.at++
	return true
}

func (w *walker) value(depth int) (value, error) {
	w.values++
	if depth > maxDepth || w.values > maxValues {
		return value{}, fmt.Errorf("nested deeper than %d or more than %d values", maxDepth, maxValues)
	}
	start := w.at
	var v value
	var err error
	switch c := w.peek(); {
	case c == '{':
		v, err = w.object(depth)
	case c == '[':
		v, err = w.array(depth)
	case c == '"':
		return w.string()
	case c == '-' || isDigit(c):
		v, err = value{kind: isNumber}, w.number()
	default:
		v, err = value{kind: isWord}, w.word()
	}
	v.raw = w.text[start:w.at]
	return v, err
}

func (w *walker) object(depth int) (value, error) {
	v := value{kind: isObject}
	w.at++
	w.space()
	if w.take('}') {
		return v, nil
	}
	for {
		m, err := w.member(depth)
		if err != nil {
			return v, err
		}
		for _, other := range v.members {
			if strings.EqualFold(other.name, m.name) {
				return v, fmt.Errorf("keys %q and %q in one object", other.name, m.name)
			}
		}
		if len(v.members) == maxMembers {
			return v, fmt.Errorf("object of more than %d members", maxMembers)
		}
		v.members = append(v.members, m)
		if w.take('}') {
			return v, nil
		}
		if !w.take(',') {
			return v, errors.New("want ',' or '}'")
		}
		w.space()
	}
}

// member reads a name, a colon and a value, with the whitespace after it.
func (w *walker) member(depth int) (member, error) {
	name, err := w.string()
	if err != nil {
		return member{}, err
	}
	if name.escaped {
		return member{}, fmt.Errorf("escape in the key %q", name.raw)
	}
	if w.space(); !w.take(':') {
		return member{}, fmt.Errorf("want ':' after the key %q", name.raw)
	}
	w.space()
	v, err := w.value(depth + 1)
	w.space()
	return member{name.raw, v}, err
}

func (w *walker) array(depth int) (value, error) {
	v := value{kind: isArray}
	w.at++
	w.space()
	if w.take(']') {
		return v, nil
	}
	for {
		item, err := w.value(depth + 1)
		if err != nil {
			return v, err
		}
		if len(v.items) == maxItems {
			return v, fmt.Errorf("array of more than %d items", maxItems)
		}
		v.items = append(v.items, item)
		w.space()
		if w.take(']') {
			return v, nil
		}
		if !w.take(',') {
			return v, errors.New("want ',' or ']'")
		}
		w.space()
	}
}

func (w *walker) string() (value, error) {
	if !w.take('"') {
		return value{}, errors.New("want a string")
	}
	v := value{kind: isString}
	start := w.at
	for w.at < len(w.text) {
		switch c := w.text[w.at]; {
		case c == '"':
			v.raw = w.text[start:w.at]
			w.at++
			return v, nil
		case c < ' ':
			return v, fmt.Errorf("control character %#02x in a string", c)
		case c == '\\':
			v.escaped = true
			if err := w.escape(); err != nil {
				return v, err
			}
		default:
			w.at++
		}
	}
	return v, errors.New("string does not end")
}

// escape steps over an escape sequence.
func (w *walker) escape() error {
	rest := w.text[w.at+1:]
	switch {
	case rest == "":
		return errors.New("string does not end")
	case strings.IndexByte(`"\/bfnrt`, rest[0]) >= 0:
		w.at += 2
		return nil
	case rest[0] == 'u' && len(rest) >= 5 && strings.Trim(rest[1:5], "0123456789abcdefABCDEF") == "":
		w.at += 6
		return nil
	}
	return errors.New("unknown escape in a string")
}

func (w *walker) number() error {
	w.take('-')
	if !w.take('0') && w.digits() == 0 {
		return errors.New("number without digits")
	}
	if isDigit(w.peek()) {
		return errors.New("number begins with 0")
	}
	if w.take('.') && w.digits() == 0 {
		return errors.New("number ends with a point")
	}
	if w.take('e') || w.take('E') {
		if !w.take('-') {
			w.take('+')
		}
		if w.digits() == 0 {
			return errors.New("number ends in its exponent")
		}
	}
	return nil
}

func (w *walker) digits() (n int) {
	for isDigit(w.peek()) {
		w.at++
		n++
	}
	return n
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (w *walker) word() error {
	for _, word := range []string{"true", "false", "null"} {
		if strings.HasPrefix(w.text[w.at:], word) {
			w.at += len(word)
			return nil
		}
	}
	return errors.New("want a JSON value")
}
