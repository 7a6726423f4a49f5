package receipt

import (
	"errors"
	"fmt"
	"maps"
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
)

// object is a parsed JSON object. Its values are nil, bool, int64, string, []any and object.
type object map[string]any

// parse reads a document under the restrictions of inference.md section 10.1: integers only, ASCII keys, no duplicates.
func parse(raw []byte) (object, error) {
	if len(raw) > MaxDocument {
		return nil, fmt.Errorf("the document has %d bytes, at most %d", len(raw), MaxDocument)
	}
	doc, err := jsonscan.Check(raw)
	if err != nil {
		return nil, err
	}
	v, err := tree(doc)
	if err != nil {
		return nil, err
	}
	o, ok := v.(object)
	if !ok {
		return nil, errors.New("the document is not an object")
	}
	return o, nil
}

func tree(v jsonscan.Value) (any, error) {
	switch v.Kind() {
	case jsonscan.Object:
		out := make(object)
		for m := range v.All() {
			if !ascii(m.Key) {
				return nil, errors.New("a key that is not plain ASCII")
			}
			child, err := tree(m.Value)
			if err != nil {
				return nil, err
			}
			out[string(m.Key)] = child
		}
		return out, nil
	case jsonscan.Array:
		out := []any{}
		for e := range v.Each() {
			child, err := tree(e)
			if err != nil {
				return nil, err
			}
			out = append(out, child)
		}
		return out, nil
	case jsonscan.String:
		s, _ := v.Text()
		return s, nil
	case jsonscan.Number:
		n, ok := v.Int()
		if !ok || n > maxInteger || n < -maxInteger {
			return nil, errors.New("a number that is not an integer below 2^53")
		}
		return n, nil
	case jsonscan.True, jsonscan.False:
		b, _ := v.Bool()
		return b, nil
	default:
		return nil, nil //nolint:nilnil // null
	}
}

func ascii(key []byte) bool {
	return !slices.ContainsFunc(key, func(c byte) bool { return c < ' ' || c > '~' })
}

// appendJCS writes the canonical form of RFC 8785 for what parse can return.
func appendJCS(dst []byte, v any) []byte {
	switch v := v.(type) {
	case object:
		dst = append(dst, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, key), ':')
			dst = appendJCS(dst, v[key])
		}
		return append(dst, '}')
	case []any:
		dst = append(dst, '[')
		for i, e := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJCS(dst, e)
		}
		return append(dst, ']')
	case string:
		return appendString(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case bool:
		return strconv.AppendBool(dst, v)
	default:
		return append(dst, "null"...)
	}
}

// appendString escapes what RFC 8785 section 3.2.2.2 escapes and nothing else: encoding/json escapes more.
func appendString(dst []byte, s string) []byte {
	const hex, control, letter = "0123456789abcdef", "\b\t\n\f\r", "btnfr"
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= ' ':
			dst = append(dst, c)
		case strings.IndexByte(control, c) >= 0:
			dst = append(dst, '\\', letter[strings.IndexByte(control, c)])
		default:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(dst, '"')
}
