package policy

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"cocoon/measure/strictjson"
)

// Bounds of a policy document. A list that needs more entries belongs on the chain.
const (
	maxDocument = 1 << 20
	maxEntries  = 4096
	maxString   = 256
)

// fixed are the byte strings of documents, all written as lower-case or upper-case hex without a prefix.
type fixed interface {
	~[6]byte | ~[16]byte | ~[32]byte | ~[48]byte
}

// hexOf is v as documents have it.
func hexOf[T fixed](v T) string {
	raw := make([]byte, len(v))
	for i := range raw {
		raw[i] = v[i]
	}
	return hex.EncodeToString(raw)
}

// The read functions turn one value of a document into one of Go's. Their errors begin with the path of the value.

func readString(path string, v json.RawMessage) (string, error) {
	if kind := strictjson.Kind(v); kind != "a string" {
		return "", fmt.Errorf("%s: %s, want a string", path, kind)
	}
	var s string
	if err := json.Unmarshal(v, &s); err != nil {
		return "", fmt.Errorf("%s: %w", path, err)
	}
	switch {
	case s == "":
		return "", fmt.Errorf("%s: an empty string; leave the key out instead", path)
	case len(s) > maxString:
		return "", fmt.Errorf("%s: %d characters, at most %d", path, len(s), maxString)
	}
	return s, nil
}

func readHex[T fixed](path string, v json.RawMessage) (T, error) {
	var out T
	s, err := readString(path, v)
	if err != nil {
		return out, err
	}
	if len(s) != 2*len(out) {
		return out, fmt.Errorf("%s: %d characters, want %d hex digits", path, len(s), 2*len(out))
	}
	raw, err := hex.DecodeString(s)
	if err != nil {
		return out, fmt.Errorf("%s: decoding hex: %w", path, err)
	}
	for i, b := range raw {
		out[i] = b
	}
	return out, nil
}

// readNumber reads a 64-bit field. Documents write it as a number with 0x, which cannot be taken for the bytes in
// their order in a quote.
func readNumber(path string, v json.RawMessage) (uint64, error) {
	s, err := readString(path, v)
	if err != nil {
		return 0, err
	}
	digits, found := strings.CutPrefix(s, "0x")
	if !found {
		return 0, fmt.Errorf("%s: %q, want a number like \"0x10000000\"", path, s)
	}
	n, err := strconv.ParseUint(digits, 16, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a hexadecimal number of 64 bits", path, s)
	}
	return n, nil
}

func readInt(path string, v json.RawMessage, low, high int64) (int64, error) {
	if kind := strictjson.Kind(v); kind != "a number" {
		return 0, fmt.Errorf("%s: %s, want a number", path, kind)
	}
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("%s: %s, want an integer from %d to %d", path, v, low, high)
	}
	return n, nil
}

func readBool(path string, v json.RawMessage) (bool, error) {
	if kind := strictjson.Kind(v); kind != "a boolean" {
		return false, fmt.Errorf("%s: %s, want true or false", path, kind)
	}
	return string(v) == "true", nil
}

func readDuration(path string, v json.RawMessage) (time.Duration, error) {
	s, err := readString(path, v)
	if err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("%s: %q is not a duration like \"25h\"", path, s)
	}
	return d, nil
}

// readList reads every element, and reports every one that is wrong.
func readList[T any](path string, v json.RawMessage, read func(string, json.RawMessage) (T, error)) ([]T, error) {
	if kind := strictjson.Kind(v); kind != "an array" {
		return nil, fmt.Errorf("%s: %s, want an array", path, kind)
	}
	elements, err := strictjson.Array(v)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(elements) > maxEntries {
		return nil, fmt.Errorf("%s: %d entries, at most %d", path, len(elements), maxEntries)
	}
	out := make([]T, 0, len(elements))
	var problems []error
	for i, e := range elements {
		item, err := read(fmt.Sprintf("%s[%d]", path, i), e)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		out = append(out, item)
	}
	return out, errors.Join(problems...)
}

// readSome is readList for lists whose emptiness could be meant as "any" or as "none".
func readSome[T any](path string, v json.RawMessage, read func(string, json.RawMessage) (T, error)) ([]T, error) {
	out, err := readList(path, v, read)
	if err == nil && len(out) == 0 {
		return nil, fmt.Errorf("%s: an empty list; leave the key out for the default", path)
	}
	return out, err
}

// readName reads a string with a parser of its own.
func readName[T any](parse func(string) (T, error)) func(string, json.RawMessage) (T, error) {
	return func(path string, v json.RawMessage) (T, error) {
		s, err := readString(path, v)
		if err != nil {
			var zero T
			return zero, err
		}
		out, err := parse(s)
		if err != nil {
			return out, fmt.Errorf("%s: %w", path, err)
		}
		return out, nil
	}
}
