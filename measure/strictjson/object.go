package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Member is one key of an object, with its value as it stands in the document.
type Member struct {
	Key   string
	Value json.RawMessage
}

// Object splits data, one JSON object, into its members in the order they have. A duplicate key is an error at every
// depth. It suits documents that are read by a table of keys, each of which judges its own value.
func Object(data []byte) ([]Member, error) {
	members, err := splitObject(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return members, nil
}

// Array splits data, one JSON array, into its elements.
func Array(data []byte) ([]json.RawMessage, error) {
	var elements []json.RawMessage
	err := splitValue(data, '[', "an array", func(dec *json.Decoder) error {
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return err
		}
		elements = append(elements, v)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSyntax, err)
	}
	return elements, nil
}

func splitObject(data []byte) ([]Member, error) {
	var members []Member
	err := splitValue(data, '{', "an object", func(dec *json.Decoder) error {
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		key, ok := tok.(string)
		if !ok {
			return fmt.Errorf("object key %v is not a string", tok)
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return err
		}
		members = append(members, Member{key, v})
		return nil
	})
	return members, err
}

// splitValue checks the whole document first, so that no depth hides a duplicate key, then hands the decoder to next
// at every element of the outermost value.
func splitValue(data []byte, open json.Delim, want string, next func(*json.Decoder) error) error {
	if err := checkKeys(data, nil); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	tok, err := dec.Token()
	if err != nil {
		return err
	}
	if tok != open {
		return fmt.Errorf("%s, want %s", kindOf(tok), want)
	}
	for dec.More() {
		if err := next(dec); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("data after the document at byte %d", dec.InputOffset())
	}
	return nil
}

// kindOf names the kind of the value that a token begins.
func kindOf(tok json.Token) string {
	switch v := tok.(type) {
	case nil:
		return "null"
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case json.Delim:
		if v == '{' {
			return "an object"
		}
		return "an array"
	}
	return "a number"
}

// Kind names the kind of a value: "null", "a string", "a boolean", "a number", "an object" or "an array".
func Kind(value json.RawMessage) string {
	tok, err := json.NewDecoder(bytes.NewReader(value)).Token()
	if err != nil {
		return "no value"
	}
	return kindOf(tok)
}
