package publish

import (
	"errors"
	"fmt"

	"cocoon/contracts/bind"
	"cocoon/contracts/registry"
	"cocoon/measure/bootfiles"
)

// Change is one operation on a list of the root.
type Change struct {
	Entry
	Add bool
}

// Diff compares entries with a root and returns the changes that make it hold them, or not hold them. It refuses entries
// that would change nothing: the root would take them and count up its version. Every refused entry is in the error.
func Diff(root *registry.Snapshot, entries []Entry, add bool) ([]Change, error) {
	var errs []error
	out := make([]Change, 0, len(entries))
	type key struct {
		list registry.List
		hash bind.Hash
	}
	seen := map[key]bool{}
	for _, e := range entries {
		switch k := (key{e.List, e.Hash}); {
		case seen[k]:
			continue // one image on several machines may have one hash
		case root.Has(e.List, e.Hash) && add:
			errs = append(errs, fmt.Errorf("%s hash %x: %w", e.List, e.Hash, ErrPresent))
		case !root.Has(e.List, e.Hash) && !add:
			errs = append(errs, fmt.Errorf("%s hash %x: %w", e.List, e.Hash, ErrAbsent))
		case add && !root.Params.IsTest && e.Variant == string(bootfiles.Test):
			errs = append(errs, fmt.Errorf("%s hash %x, image %s: %w", e.List, e.Hash, e.Name, ErrTestImage))
		default:
			seen[k] = true
			out = append(out, Change{e, add})
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("comparing with root %s at block %d: %w", root.Root, root.Block.Seqno, err)
	}
	return out, nil
}

// Message is the operation's body.
func (c Change) Message(queryID uint64) bind.Message {
	return &bind.RootHash{Change: c.List.Op(c.Add), QueryID: queryID, Hash: c.Hash}
}

// Action is what happens to the hash, in one word.
func (c Change) Action() string {
	if c.Add {
		return "add"
	}
	return "delete"
}

// EntryState is an entry and whether the root has it, as JSON.
type EntryState struct {
	Present bool `json:"present"`
	entryDoc
}

// States tells of every entry whether the root has it.
func States(root *registry.Snapshot, entries []Entry) []EntryState {
	out := make([]EntryState, len(entries))
	for i, e := range entries {
		out[i] = EntryState{root.Has(e.List, e.Hash), e.doc()}
	}
	return out
}
