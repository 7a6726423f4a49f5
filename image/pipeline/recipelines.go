package pipeline

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"cocoon/measure/strictjson"
)

// maxLineValue is how much of a recipe value the manifest repeats; the hash covers all of it.
const maxLineValue = 160

// recipeLines turns a part of the recipe into one input per line that a person wrote, so that a difference between
// two builds can name the line. Elements of a list are named by their value, because their number changes when a line
// above is inserted.
func recipeLines(prefix string, part any) ([]Input, error) {
	data, err := strictjson.Canonical(part)
	if err != nil {
		return nil, fmt.Errorf("listing recipe lines: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var tree any
	if err := dec.Decode(&tree); err != nil {
		return nil, fmt.Errorf("listing recipe lines: %w", err)
	}
	lines := make(map[string]Input)
	flatten(prefix, tree, lines)
	out := make([]Input, 0, len(lines))
	for _, in := range lines {
		out = append(out, in)
	}
	slices.SortFunc(out, func(a, b Input) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	return out, nil
}

func flatten(prefix string, v any, lines map[string]Input) {
	switch v := v.(type) {
	case nil:
	case map[string]any:
		for k, e := range v {
			flatten(prefix+" "+k, e, lines)
		}
	case []any:
		for _, e := range v {
			text := compact(e)
			lines[prefix+" "+text] = line(prefix+" "+text, "set", text)
		}
	default:
		lines[prefix] = line(prefix, clip(compact(v)), compact(v))
	}
}

func line(name, version, value string) Input {
	sum := sha256.Sum256([]byte(value))
	return Input{Kind: "recipe", Name: clip(name), Version: version, SHA256: hex.EncodeToString(sum[:])}
}

func compact(v any) string {
	data, err := json.Marshal(v) // v was decoded from JSON
	if err != nil {
		return ""
	}
	return string(data)
}

// clip shortens a long value and keeps it unique by its hash.
func clip(s string) string {
	if len(s) <= maxLineValue {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return strconv.QuoteToASCII(s[:maxLineValue]) + " #" + hex.EncodeToString(sum[:6])
}
