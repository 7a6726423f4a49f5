package bind

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
)

// MisfitError is the first event that does not fit what came before it, or an entry that no event explains.
type MisfitError struct {
	Seqno uint64 // of the event; 0 when all events fit and the storage or the root does not
	Why   string
}

// Error names the event and what does not fit.
func (m *MisfitError) Error() string {
	if m.Seqno == 0 {
		return "auditing governor: " + m.Why
	}
	return fmt.Sprintf("auditing governor: event %d: %s", m.Seqno, m.Why)
}

// follows says whether an event of a kind may take an entry from a state to the next.
func (k EventKind) follows(old, next EntryState) bool {
	type step struct{ old, next EntryState }
	steps := map[EventKind][]step{
		EventProposed:   {{EntryAbsent, EntryAnnounced}},
		EventExecuted:   {{EntryAnnounced, EntryActive}},
		EventCancelled:  {{EntryAnnounced, EntryAbsent}, {EntryRevoked, EntryRevoked}}, // revoked while it was proposed
		EventRevoked:    {{EntryAbsent, EntryRevoked}, {EntryAnnounced, EntryRevoked}, {EntryActive, EntryRevoked}, {EntryDeprecated, EntryRevoked}},
		EventDeprecated: {{EntryActive, EntryDeprecated}},
		EventDrained:    {{EntryDeprecated, EntryRevoked}},
		EventAttested:   {{EntryAnnounced, EntryAnnounced}, {EntryActive, EntryActive}, {EntryDeprecated, EntryDeprecated}},
	}
	// What the root refused puts back whatever was there.
	return k == EventRefused || slices.Contains(steps[k], step{old, next})
}

// ReplayEvents makes the entries from all events of a governor since its first, or a *MisfitError for the first that does not
// fit.
func ReplayEvents(events []GovernorEvent) (GovernorLists, error) {
	type key struct {
		list HashList
		hash Hash
	}
	entries := map[key]Entry{}
	var at uint32
	for i, e := range events {
		was := entries[key{e.List, e.Hash}]
		switch {
		case e.Seqno != uint64(i)+1:
			return GovernorLists{}, &MisfitError{e.Seqno, fmt.Sprintf("number %d is missing", i+1)}
		case e.At < at:
			return GovernorLists{}, &MisfitError{e.Seqno, fmt.Sprintf("at %d, after one at %d", e.At, at)}
		case e.List == ListNone:
		case e.Old != was.State:
			return GovernorLists{}, &MisfitError{e.Seqno, fmt.Sprintf("%s %x was %s, not %s", e.List, e.Hash, was.State, e.Old)}
		case !e.Kind.follows(e.Old, e.New):
			return GovernorLists{}, &MisfitError{e.Seqno, fmt.Sprintf("%s from %s to %s", e.Kind, e.Old, e.New)}
		case e.Entry == nil:
			delete(entries, key{e.List, e.Hash})
		default:
			entries[key{e.List, e.Hash}] = *e.Entry
		}
		at = e.At
	}
	var out GovernorLists
	for k, e := range entries {
		list := out.pick(k.list)
		*list = append(*list, e)
	}
	for l := range ListNone {
		slices.SortFunc(*out.pick(l), func(a, b Entry) int { return bytes.Compare(a.Hash[:], b.Hash[:]) })
	}
	return out, nil
}

// pick is one of the lists, to write.
func (l *GovernorLists) pick(of HashList) *[]Entry {
	switch of {
	case ListProxies:
		return &l.Proxies
	case ListWorkers:
		return &l.Workers
	default:
		return &l.Models
	}
}

// Audit compares what events say with the governor's storage and, while the governor has no open question to it, with its
// root. A hash that only the root has is older than the governor; those are returned.
func (s GovernorStorage) Audit(events []GovernorEvent, root RootStorage) (older GovernorHashes, err error) {
	replayed, err := ReplayEvents(events)
	if err != nil {
		return nil, err
	}
	if uint64(len(events)) != s.LastEvent {
		return nil, &MisfitError{0, fmt.Sprintf("%d events, the storage counts %d", len(events), s.LastEvent)}
	}
	older = GovernorHashes{}
	var errs []error
	for l := range ListNone {
		want, err := encode(&GovernorLists{Models: replayed.List(l)})
		if err != nil {
			return nil, fmt.Errorf("auditing governor: %w", err)
		}
		got, err := encode(&GovernorLists{Models: s.Lists.List(l)})
		if err != nil {
			return nil, fmt.Errorf("auditing governor: %w", err)
		}
		if want.HashKey() != got.HashKey() {
			errs = append(errs, &MisfitError{0, fmt.Sprintf("the list of %s hashes is not what the events give", l)})
		}
		if len(s.Lists.Pending) == 0 {
			errs = append(errs, s.compareRoot(l, root.hashes(l), older))
		}
	}
	return older, errors.Join(errs...)
}

// GovernorHashes are hashes by list.
type GovernorHashes map[HashList][]Hash

func (s GovernorStorage) compareRoot(l HashList, root []Hash, older GovernorHashes) error {
	var errs []error
	for _, e := range s.Lists.List(l) {
		want := e.State == EntryActive || e.State == EntryDeprecated
		if got := slices.Contains(root, e.Hash); got != want {
			errs = append(errs, &MisfitError{0, fmt.Sprintf("%s %x is %s, and in the root: %v", l, e.Hash, e.State, got)})
		}
	}
	for _, h := range root {
		if _, ok := s.Lists.Find(l, h); !ok {
			older[l] = append(older[l], h)
		}
	}
	return errors.Join(errs...)
}

func (s RootStorage) hashes(l HashList) []Hash {
	switch l {
	case ListProxies:
		return s.ProxyHashes
	case ListWorkers:
		return s.WorkerHashes
	default:
		return s.ModelHashes
	}
}
