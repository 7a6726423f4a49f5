// Package strictjson reads and writes the JSON documents whose bytes are hashed or trusted.
//
// It owns two rules. Decode accepts exactly one document: an unknown key, a duplicate key, a key that differs
// from the field's name only in case, an array that is not as long as its place, null for the whole document, or
// anything after the document is an error. Canonical writes one encoding
// per value: keys sorted, no insignificant whitespace, no floats, one trailing newline (image.md section 2).
//
// It trusts nothing: input is bounded by the caller, depth is bounded here. All functions are safe for concurrent
// use. It refuses to be lenient: there is no option to ignore anything.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
)

// maxDepth bounds the nesting of a document; ours are at most 8 deep.
const maxDepth = 64

// ErrSyntax marks every refusal of a document, so that callers can tell bad input from an I/O error.
var ErrSyntax = errors.New("strict JSON")

// Decode parses data, one JSON document, into the value that v points to.
func Decode(data []byte, v any) error {
	if err := checkKeys(data, reflect.TypeOf(v)); err != nil {
		return fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: data after the document at byte %d", ErrSyntax, dec.InputOffset())
	}
	return nil
}

// Canonical encodes v canonically. Floats are refused, because their text form is not unique.
func Canonical(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding canonical JSON: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var generic any
	if err := dec.Decode(&generic); err != nil {
		return nil, fmt.Errorf("encoding canonical JSON: %w", err)
	}
	if err := refuseFloats(generic); err != nil {
		return nil, fmt.Errorf("encoding canonical JSON: %w", err)
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out) // sorts map keys and ends with one newline
	enc.SetEscapeHTML(false)
	if err := enc.Encode(generic); err != nil {
		return nil, fmt.Errorf("encoding canonical JSON: %w", err)
	}
	return out.Bytes(), nil
}

func refuseFloats(v any) error {
	switch v := v.(type) {
	case json.Number:
		if strings.ContainsAny(v.String(), ".eE") {
			return fmt.Errorf("number %s is not an integer", v)
		}
	case []any:
		for _, e := range v {
			if err := refuseFloats(e); err != nil {
				return err
			}
		}
	case map[string]any:
		for k, e := range v {
			if err := refuseFloats(e); err != nil {
				return fmt.Errorf("%s: %w", k, err)
			}
		}
	}
	return nil
}

// checkKeys walks the tokens of data beside the type they decode into and refuses duplicate keys and keys that
// encoding/json would match only by folding case.
func checkKeys(data []byte, t reflect.Type) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	return walkValue(dec, t, 0)
}

func walkValue(dec *json.Decoder, t reflect.Type, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("nested deeper than %d", maxDepth)
	}
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch tok {
	case json.Delim('{'):
		return walkObject(dec, t, depth)
	case json.Delim('['):
		return walkArray(dec, t, depth)
	case nil:
		if depth == 0 && t != nil && t.Kind() == reflect.Struct {
			return errors.New("the document is null, want an object")
		}
	}
	return nil
}

// walkArray also counts: encoding/json would drop what a Go array has no place for, and fill up what is missing.
func walkArray(dec *json.Decoder, t reflect.Type, depth int) error {
	var elem reflect.Type
	if t != nil && (t.Kind() == reflect.Slice || t.Kind() == reflect.Array) {
		elem = t.Elem()
	}
	count := 0
	for ; dec.More(); count++ {
		if err := walkValue(dec, elem, depth+1); err != nil {
			return err
		}
	}
	if t != nil && t.Kind() == reflect.Array && !readsItself(t) && count != t.Len() {
		return fmt.Errorf("array of %d elements, want %d", count, t.Len())
	}
	_, err := dec.Token()
	return err
}

// readsItself reports types that encoding/json leaves alone.
func readsItself(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
}

func walkObject(dec *json.Decoder, t reflect.Type, depth int) error {
	fields := fieldTypes(t)
	seen := make(map[string]bool)
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		key, ok := tok.(string)
		if !ok {
			return fmt.Errorf("object key %v is not a string", tok)
		}
		if seen[key] {
			return fmt.Errorf("duplicate key %q", key)
		}
		seen[key] = true
		var elem reflect.Type
		switch {
		case fields != nil:
			if elem, ok = fields[key]; !ok {
				return fmt.Errorf("unknown key %q", key)
			}
		case t != nil && t.Kind() == reflect.Map:
			elem = t.Elem()
		}
		if err := walkValue(dec, elem, depth+1); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	_, err := dec.Token()
	return err
}

// fieldTypes lists the JSON names of a struct's fields, or nil when t is not a struct with visible fields.
func fieldTypes(t reflect.Type) map[string]reflect.Type {
	if t == nil || t.Kind() != reflect.Struct || readsItself(t) {
		return nil
	}
	out := make(map[string]reflect.Type)
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() || (f.Anonymous && name == ""):
			continue
		case name == "":
			name = f.Name
		}
		out[name] = f.Type
	}
	return out
}
