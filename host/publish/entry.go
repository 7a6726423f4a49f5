package publish

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"cocoon/contracts/bind"
	"cocoon/contracts/registry"
	"cocoon/measure/bootfiles"
	"cocoon/measure/strictjson"
)

const (
	// maxEntryFile bounds a file of entries; a prediction with all events of a dozen machines has 200 KiB.
	maxEntryFile = 4 << 20
	maxEntries   = 256

	// EntriesSchema is the document that lists what to publish.
	EntriesSchema = "cocoon.publish.entries/1"
	// PredictSchema is what "measure predict -o json" prints.
	PredictSchema = "cocoon.measure.predict/1"
)

// Entry is a hash that a list of the root should hold, or should not any more.
type Entry struct {
	List registry.List
	Hash bind.Hash
	// Name of the image or model and Variant of the image are for people; a variant of test is refused on the main
	// network.
	Name, Variant string
	// Manifest is the SHA-256 of the manifest that the hash was predicted from, zero when unknown.
	Manifest bind.Hash
}

// entryDoc is an Entry as JSON.
type entryDoc struct {
	List     string `json:"list"`
	Hash     string `json:"hash"`
	Name     string `json:"name,omitempty"`
	Variant  string `json:"variant,omitempty"`
	Manifest string `json:"manifest_sha256,omitempty"`
}

// EncodeEntries writes the document that ParseEntries reads.
func EncodeEntries(entries []Entry) ([]byte, error) {
	doc := struct {
		Schema  string     `json:"schema"`
		Entries []entryDoc `json:"entries"`
	}{EntriesSchema, make([]entryDoc, len(entries))}
	for i, e := range entries {
		doc.Entries[i] = e.doc()
	}
	out, err := json.MarshalIndent(doc, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing entries: %w", err)
	}
	return append(out, '\n'), nil
}

func (e Entry) doc() entryDoc {
	d := entryDoc{List: e.List.String(), Hash: hex.EncodeToString(e.Hash[:]), Name: e.Name, Variant: e.Variant}
	if e.Manifest != (bind.Hash{}) {
		d.Manifest = hex.EncodeToString(e.Manifest[:])
	}
	return d
}

// ParseEntries reads a list of entries, or what "measure predict -o json" printed for an image with its spec.
func ParseEntries(data []byte) ([]Entry, error) {
	if len(data) > maxEntryFile {
		return nil, fmt.Errorf("reading entries: %d bytes, at most %d", len(data), maxEntryFile)
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("reading entries: %w", err)
	}
	var out []Entry
	var err error
	switch head.Schema {
	case EntriesSchema:
		out, err = parseList(data)
	case PredictSchema:
		out, err = parsePrediction(data)
	default:
		err = fmt.Errorf("schema %q is neither %s nor %s", head.Schema, EntriesSchema, PredictSchema)
	}
	if err != nil {
		return nil, fmt.Errorf("reading entries: %w", err)
	}
	if len(out) == 0 || len(out) > maxEntries {
		return nil, fmt.Errorf("reading entries: %d entries, want 1 to %d", len(out), maxEntries)
	}
	return out, nil
}

func parseList(data []byte) ([]Entry, error) {
	var doc struct {
		Schema  string     `json:"schema"`
		Entries []entryDoc `json:"entries"`
	}
	if err := strictjson.Decode(data, &doc); err != nil {
		return nil, err
	}
	var out []Entry
	var errs []error
	for i, d := range doc.Entries {
		e, err := d.entry()
		if err != nil {
			errs = append(errs, fmt.Errorf("entries[%d]: %w", i, err))
		}
		out = append(out, e)
	}
	return out, errors.Join(errs...)
}

func (d entryDoc) entry() (Entry, error) {
	e := Entry{Name: d.Name, Variant: d.Variant}
	var errs [3]error
	e.List, errs[0] = registry.ParseList(d.List)
	e.Hash, errs[1] = ParseHash(d.Hash)
	if d.Manifest != "" {
		e.Manifest, errs[2] = ParseHash(d.Manifest)
	}
	return e, errors.Join(errs[:]...)
}

// ParseHash reads 64 hexadecimal digits. The zero hash is refused: nothing that exists has it.
func ParseHash(text string) (bind.Hash, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(bind.Hash{}) {
		return bind.Hash{}, fmt.Errorf("hash %q is not 64 hexadecimal digits", text)
	}
	if bind.Hash(raw) == (bind.Hash{}) {
		return bind.Hash{}, errors.New("the hash is zero")
	}
	return bind.Hash(raw), nil
}

// parsePrediction takes the image hashes of a prediction. Members that are not needed here belong to its own reader.
func parsePrediction(data []byte) ([]Entry, error) {
	var doc struct {
		Image       bootfiles.Image `json:"image"`
		Predictions []struct {
			Shape     string  `json:"shape"`
			ImageHash *string `json:"imageHash"`
		} `json:"predictions"`
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, err
	}
	var out []Entry
	for _, p := range doc.Predictions {
		if p.ImageHash == nil {
			return nil, fmt.Errorf("shape %s: no image hash: it covers the spec, so predict with --spec", p.Shape)
		}
		h, err := ParseHash(*p.ImageHash)
		if err != nil {
			return nil, fmt.Errorf("shape %s: %w", p.Shape, err)
		}
		list, err := ListOf(doc.Image.Profile)
		if err != nil {
			return nil, err
		}
		out = append(out, Entry{List: list, Hash: h, Name: doc.Image.Name, Variant: string(doc.Image.Variant)})
	}
	return out, nil
}

// ListOf is the list that images of a profile belong on.
func ListOf(profile string) (registry.List, error) {
	switch profile {
	case "proxy":
		return registry.Proxies, nil
	case "worker":
		return registry.Workers, nil
	default:
		return 0, fmt.Errorf("images of profile %q are on no list: only proxy and worker are", profile)
	}
}
