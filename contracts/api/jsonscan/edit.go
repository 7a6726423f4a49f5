package jsonscan

import (
	"slices"
	"strconv"
)

// Edit collects changes to the members of one object and applies them to a copy of its document.
type Edit struct {
	object  Value
	members []Member
	cut     []bool
	replace map[int][]byte
	splice  []byte
}

// NewEdit begins to change an object.
func NewEdit(object Value) *Edit {
	m := object.Members()
	return &Edit{object: object, members: m, cut: make([]bool, len(m)), replace: make(map[int][]byte)}
}

// Cut removes a member; one that is not there changes nothing.
func (e *Edit) Cut(key string) {
	if i := e.index(key); i >= 0 {
		e.cut[i] = true
	}
}

// Set gives a member another value, or adds it before the closing brace. The value must be JSON, the key plain ASCII.
func (e *Edit) Set(key string, value []byte) {
	if i := e.index(key); i >= 0 {
		e.cut[i] = false
		e.replace[i] = value
		return
	}
	e.splice = append(e.splice, ',')
	e.splice = strconv.AppendQuoteToASCII(e.splice, key)
	e.splice = append(e.splice, ':')
	e.splice = append(e.splice, value...)
}

func (e *Edit) index(key string) int {
	return slices.IndexFunc(e.members, func(m Member) bool { return string(m.Key) == key })
}

// AppendCut appends the document without one member of the object, as Cut and Bytes would, and says whether it was there.
func AppendCut(dst []byte, object Value, key string) (out []byte, found bool) {
	var last, member Member // the one before it, and it
	for m := range object.All() {
		if found {
			if last.Key == nil { // the first: it goes with the comma behind it
				return append(append(dst, object.doc[:member.keyAt]...), object.doc[m.keyAt:]...), true
			}
			break
		}
		if found = string(m.Key) == key; found {
			member = m
			continue
		}
		last = m
	}
	from := member.keyAt
	switch {
	case !found:
		return append(dst, object.doc...), false
	case last.Key != nil:
		from = last.end
	}
	return append(append(dst, object.doc[:from]...), object.doc[member.end:]...), true
}

// Bytes is the changed document. A cut member goes with the comma before it, or with the one behind it when no member
// before it stays; every other byte stays.
func (e *Edit) Bytes() []byte {
	doc := e.object.doc
	out := make([]byte, 0, len(doc)+len(e.splice)+64)
	at, kept := 0, false
	change := func(start, end int, with []byte) {
		out = append(append(out, doc[at:start]...), with...)
		at = end
	}
	for i, m := range e.members {
		value, replaced := e.replace[i]
		switch {
		case e.cut[i] && kept:
			change(e.members[i-1].end, m.end, nil)
		case e.cut[i] && i+1 < len(e.members):
			change(m.keyAt, e.members[i+1].keyAt, nil)
		case e.cut[i]:
			change(m.keyAt, m.end, nil)
		default:
			kept = true
			if replaced {
				change(m.start, m.end, value)
			}
		}
	}
	if splice := e.splice; len(splice) > 0 {
		if !kept {
			splice = splice[1:]
		}
		change(e.object.end-1, e.object.end-1, splice)
	}
	return append(out, doc[at:]...)
}
