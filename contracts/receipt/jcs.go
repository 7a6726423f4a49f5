package receipt

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cocoon/contracts/api/jsonscan"
)

const (
	// MaxDocument bounds a document; a session carries a quote of up to 32 KiB in base64 and its claims.
	MaxDocument = 128 << 10
	// maxInteger is the largest integer that every JSON reader holds exactly.
	maxInteger = 1<<53 - 1
	// roomy is larger than a usual receipt, which is written into one piece of memory.
	roomy = 3 << 10
)

// object is a JSON object with keys in plain ASCII.
type object []member

type member struct {
	key string
	value
}

// value is a JSON value of the kinds that documents have: no fractions. The elements of an array have empty keys.
type value struct {
	kind   jsonscan.Kind
	number int64
	text   string
	parts  object
}

// Members for documents of ours.
func text(key, s string) member { return member{key, value{kind: jsonscan.String, text: s}} }

func number(key string, n int64) member { return member{key, value{kind: jsonscan.Number, number: n}} }
func null(key string) member            { return member{key, value{kind: jsonscan.Null}} }
func list(key string, l object) member  { return member{key, value{kind: jsonscan.Array, parts: l}} }

// element is an object as an array has it.
func (o object) element() member { return member{"", value{kind: jsonscan.Object, parts: o}} }

// get finds a member.
func (o object) get(key string) (v value, there bool) {
	for i := range o {
		if o[i].key == key {
			return o[i].value, true
		}
	}
	return value{}, false
}

// without is a copy less one member.
func (o object) without(key string) object {
	return slices.DeleteFunc(slices.Clone(o), func(m member) bool { return m.key == key })
}

// parse reads a document under the restrictions of inference.md section 10.1: integers only, ASCII keys, no duplicates.
func parse(raw []byte) (object, error) {
	if len(raw) > MaxDocument {
		return nil, fmt.Errorf("the document has %d bytes, at most %d", len(raw), MaxDocument)
	}
	doc, err := jsonscan.Check(raw)
	if err != nil {
		return nil, err
	}
	b := builder{string(raw)}
	v, err := b.value(doc)
	return v.parts, err
}

// builder makes trees whose texts share one string.
type builder struct{ document string }

// shared is decoded as a part of the document where that says the same, which is where nothing is escaped.
func (b builder) shared(at int, decoded []byte) string {
	if s := b.document[at : at+len(decoded)]; s == string(decoded) {
		return s
	}
	return string(decoded)
}

// value reads a checked value.
func (b builder) value(v jsonscan.Value) (value, error) {
	const usual = 12 // members
	out := value{kind: v.Kind()}
	switch out.kind {
	case jsonscan.Object:
		out.parts = make(object, 0, usual)
		for m := range v.All() {
			if !ascii(m.Key) {
				return value{}, errors.New("a key that is not plain ASCII")
			}
			child, err := b.value(m.Value)
			if err != nil {
				return value{}, err
			}
			out.parts = append(out.parts, member{b.shared(m.KeyAt()+1, m.Key), child})
		}
	case jsonscan.Array:
		for e := range v.Each() {
			child, err := b.value(e)
			if err != nil {
				return value{}, err
			}
			out.parts = append(out.parts, member{"", child})
		}
	case jsonscan.String:
		if raw := v.Raw(); bytes.IndexByte(raw, '\\') < 0 {
			out.text = b.document[v.At()+1 : v.At()+len(raw)-1]
		} else {
			out.text, _ = v.Text()
		}
	case jsonscan.Number:
		n, ok := v.Int()
		if !ok || n > maxInteger || n < -maxInteger {
			return value{}, errors.New("a number that is not an integer below 2^53")
		}
		out.number = n
	default: // true, false and null have no more to say
	}
	return out, nil
}

func ascii(key []byte) bool {
	return !slices.ContainsFunc(key, func(c byte) bool { return c < ' ' || c > '~' })
}

func byKey(a, b member) int { return cmp.Compare(a.key, b.key) }

// canonical is the canonical form of a document by RFC 8785.
func canonical(o object) []byte { return appendObject(make([]byte, 0, roomy), o) }

func appendObject(dst []byte, o object) []byte {
	if !slices.IsSortedFunc(o, byKey) {
		o = slices.Clone(o)
		slices.SortFunc(o, byKey)
	}
	dst = append(dst, '{')
	for i := range o {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendString(dst, o[i].key), ':')
		dst = appendValue(dst, &o[i].value)
	}
	return append(dst, '}')
}

func appendValue(dst []byte, v *value) []byte {
	switch v.kind {
	case jsonscan.Object:
		return appendObject(dst, v.parts)
	case jsonscan.Array:
		dst = append(dst, '[')
		for i := range v.parts {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendValue(dst, &v.parts[i].value)
		}
		return append(dst, ']')
	case jsonscan.String:
		return appendString(dst, v.text)
	case jsonscan.Number:
		return strconv.AppendInt(dst, v.number, 10)
	case jsonscan.True:
		return append(dst, "true"...)
	case jsonscan.False:
		return append(dst, "false"...)
	default:
		return append(dst, "null"...)
	}
}

// appendString escapes what RFC 8785 section 3.2.2.2 escapes and nothing else: encoding/json escapes more.
func appendString(dst []byte, s string) []byte {
	const hex, control, letter = "0123456789abcdef", "\b\t\n\f\r", "btnfr"
	dst = append(append(dst, '"'), s...)
	if at := len(dst) - len(s); jsonscan.Plain(dst[at:]) == len(s) {
		return append(dst, '"')
	}
	dst = dst[:len(dst)-len(s)]
	from := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch at := strings.IndexByte(control, c); {
		case c >= ' ':
			dst = append(dst, '\\', c)
		case at >= 0:
			dst = append(dst, '\\', letter[at])
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(append(dst, s[from:]...), '"')
}
