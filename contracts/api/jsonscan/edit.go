package jsonscan

import (
	"slices"
	"strconv"
)

// Edit collects changes to the members of one object and applies them to a copy of its document. Begin makes one ready that
// is zero, or was used before.
type Edit struct {
	object  Value
	members []member
	changes []change
	splice  []byte
	few     [fewChanges]change
}

// change is what becomes of one member.
type change struct {
	index int
	cut   bool
	value []byte // when it is not cut
}

const (
	// fewChanges are those for which memory is taken at once.
	fewChanges = 8
	// fewAdded is the same for the bytes of members that are added.
	fewAdded = 128
)

// NewEdit begins to change an object.
func NewEdit(object Value) *Edit {
	e := new(Edit)
	e.Begin(object)
	return e
}

// Begin begins to change another object; what was to become of the one before is forgotten.
func (e *Edit) Begin(object Value) {
	if e.changes == nil {
		e.changes = e.few[:0]
	}
	e.object, e.members, e.changes, e.splice = object, object.all(), e.changes[:0], e.splice[:0]
}

// all are the members of an object.
func (v Value) all() []member {
	if v.indexed() {
		return v.in.members
	}
	var out []member
	if v.Kind() == Object {
		for i := v.first(); v.in.data[i] != '}'; {
			m := v.in.memberAt(i)
			out = append(out, m)
			i = v.in.next(m.end)
		}
	}
	return out
}

// Cut removes a member; one that is not there changes nothing.
func (e *Edit) Cut(key string) {
	if i := e.index(key); i >= 0 {
		e.change(change{index: i, cut: true})
	}
}

// Set gives a member another value, or adds it before the closing brace. The value must be JSON, the key plain ASCII.
func (e *Edit) Set(key string, value []byte) {
	if i := e.index(key); i >= 0 {
		e.change(change{index: i, value: value})
		return
	}
	if cap(e.splice) == 0 {
		e.splice = make([]byte, 0, fewAdded)
	}
	e.splice = append(e.splice, ',')
	e.splice = strconv.AppendQuoteToASCII(e.splice, key)
	e.splice = append(e.splice, ':')
	e.splice = append(e.splice, value...)
}

func (e *Edit) index(key string) int { return e.object.index(e.members, key) }

// index finds a member among those of an object.
func (v Value) index(members []member, key string) int {
	for i := range members {
		if string(v.in.key(&members[i])) == key {
			return i
		}
	}
	return -1
}

// change notes what becomes of a member, in the order of members. The last word on one counts.
func (e *Edit) change(c change) {
	at := len(e.changes)
	for at > 0 && e.changes[at-1].index >= c.index {
		at--
	}
	if at < len(e.changes) && e.changes[at].index == c.index {
		e.changes[at] = c
		return
	}
	e.changes = append(e.changes, change{})
	copy(e.changes[at+1:], e.changes[at:])
	e.changes[at] = c
}

// pieces gives the changed document piece by piece. A cut member goes with the comma before it, or with the one behind it
// when no member before it stays; every other byte stays.
func (e *Edit) pieces(put func(piece []byte)) {
	if e.object.in == nil { // no value has no document
		return
	}
	doc, at, next, kept := e.object.in.data, uint32(0), 0, false
	for _, c := range e.changes {
		m := &e.members[c.index]
		kept = kept || c.index > next // those between changes stay
		next = c.index + 1
		from, to := m.start, m.end
		switch {
		case !c.cut:
			kept = true
		case kept:
			from = e.members[c.index-1].end
		case next < len(e.members):
			from, to = m.keyAt, e.members[next].keyAt
		default:
			from = m.keyAt
		}
		put(doc[at:from])
		put(c.value)
		at = to
	}
	if splice := e.splice; len(splice) > 0 {
		if !kept && next == len(e.members) {
			splice = splice[1:]
		}
		brace := e.object.end - 1
		put(doc[at:brace])
		put(splice)
		at = brace
	}
	put(doc[at:])
}

// Bytes is the changed document.
func (e *Edit) Bytes() []byte {
	return e.Append(nil)
}

// Append appends the changed document.
func (e *Edit) Append(dst []byte) []byte {
	size := 0
	e.pieces(func(piece []byte) { size += len(piece) })
	dst = slices.Grow(dst, size)
	e.pieces(func(piece []byte) { dst = append(dst, piece...) })
	return dst
}

// Pieces is the changed document in pieces, none of them empty, of which most are the document's own bytes.
func (e *Edit) Pieces() [][]byte {
	out := make([][]byte, 0, 2*len(e.changes)+3)
	e.pieces(func(piece []byte) {
		if len(piece) > 0 {
			out = append(out, piece)
		}
	})
	return out
}

// AppendCut appends the document without one member of its object, as Cut and Bytes would, and says whether it was there.
func AppendCut(dst []byte, object Value, key string) (out []byte, found bool) {
	members, doc := object.all(), object.in.data
	i := object.index(members, key)
	if i < 0 {
		return append(dst, doc...), false
	}
	m := &members[i]
	from, to := m.keyAt, m.end
	switch {
	case i > 0:
		from = members[i-1].end
	case len(members) > 1:
		to = members[1].keyAt
	}
	return append(append(dst, doc[:from]...), doc[to:]...), true
}
