package dcap

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fields reads the members of one JSON object by name and keeps the first error. Members that it does not know are
// passed over: Intel may add some, and they are signed like the rest.
type fields struct {
	path    string
	members []member
	err     error
}

// fieldsOf takes an object whose members have the known names. A name that differs from a known one only in letter case
// is an error: another reader would take it for that.
func fieldsOf(path string, v *value, known ...string) *fields {
	f := &fields{path: path, members: v.members}
	if v.kind != isObject {
		f.fail("", errors.New("not an object"))
	}
	for _, m := range v.members {
		for _, name := range known {
			if m.name != name && strings.EqualFold(m.name, name) {
				f.fail(m.name, fmt.Errorf("want %q", name))
			}
		}
	}
	return f
}

func (f *fields) fail(name string, err error) {
	if f.err == nil {
		f.err = fmt.Errorf("%s.%s: %w", f.path, name, err)
	}
}

// take keeps the error of an object inside this one.
func (f *fields) take(inner *fields) {
	if f.err == nil {
		f.err = inner.err
	}
}

// find is a member, or nil if there is none.
func (f *fields) find(name string) *value {
	for i := range f.members {
		if f.members[i].name == name {
			return &f.members[i].value
		}
	}
	return nil
}

// need is a member of the given kind. When it is missing, the error is kept and an empty value returned.
func (f *fields) need(name string, want kind) *value {
	v := f.find(name)
	switch {
	case v == nil:
		f.fail(name, errors.New("missing"))
	case v.kind != want:
		f.fail(name, fmt.Errorf("%.40q has another type", v.raw))
	default:
		return v
	}
	return new(value)
}

// text is a string without escapes.
func (f *fields) text(name string) string {
	v := f.need(name, isString)
	if v.escaped {
		f.fail(name, fmt.Errorf("escape in %.40q", v.raw))
	}
	return v.raw
}

// bytes reads exactly len(dst) bytes of hex, of either case.
func (f *fields) bytes(name string, dst []byte) {
	text := f.text(name)
	if f.err != nil {
		return
	}
	if len(text) != 2*len(dst) {
		f.fail(name, fmt.Errorf("%d characters, want %d of hex", len(text), 2*len(dst)))
		return
	}
	if _, err := hex.Decode(dst, []byte(text)); err != nil {
		f.fail(name, err)
	}
}

// number is an integer of the given number of bits, without sign.
func (f *fields) number(name string, bits int) uint64 {
	v := f.need(name, isNumber)
	if f.err != nil {
		return 0
	}
	n, err := strconv.ParseUint(v.raw, 10, bits)
	if err != nil {
		f.fail(name, fmt.Errorf("%.40s is not an integer of %d bits", v.raw, bits))
		return 0
	}
	return n
}

func (f *fields) byte(name string) byte { return byte(f.number(name, 8)) } //nolint:gosec // number bounds it

func (f *fields) uint16(name string) uint16 { return uint16(f.number(name, 16)) } //nolint:gosec // number bounds it

func (f *fields) uint31(name string) int { return int(f.number(name, 31)) } //nolint:gosec // number bounds it

// time is an instant in UTC, as RFC 3339 writes it.
func (f *fields) time(name string) time.Time {
	text := f.text(name)
	if f.err != nil {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, text)
	if err == nil && !strings.HasSuffix(text, "Z") {
		err = fmt.Errorf("%q is not in UTC", text)
	}
	if err != nil {
		f.fail(name, err)
	}
	return t
}

// list are the items of an array, up to limit.
func (f *fields) list(name string, limit int) []value {
	v := f.need(name, isArray)
	if len(v.items) > limit {
		f.fail(name, fmt.Errorf("%d items, at most %d", len(v.items), limit))
		return nil
	}
	return v.items
}

// Bounds of advisory lists; Intel's longest has about 30 ids of 14 characters.
const (
	maxAdvisories = 512
	maxAdvisoryID = 64
)

// advisories are the ids of a level; a level without the member has none. They come sorted and without repetition.
func (f *fields) advisories(name string) []string {
	if f.find(name) == nil {
		return nil
	}
	items := f.list(name, maxAdvisories)
	out := make([]string, 0, len(items))
	for i := range items {
		if items[i].kind != isString || items[i].escaped || len(items[i].raw) > maxAdvisoryID {
			f.fail(name, fmt.Errorf("item %d is not an advisory id", i))
			return nil
		}
		out = append(out, items[i].raw)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// status is a TCB status by name.
func (f *fields) status(name string) Status {
	text := f.text(name)
	if f.err != nil {
		return NoStatus
	}
	s, err := ParseStatus(text)
	if err == nil && s == Unrecognized {
		err = errors.New("status \"Unrecognized\" is not one of Intel's")
	}
	if err != nil {
		f.fail(name, err)
	}
	return s
}
