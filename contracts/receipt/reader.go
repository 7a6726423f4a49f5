package receipt

import (
	"fmt"
	"strconv"

	"cocoon/contracts/api/jsonscan"
)

// reader takes typed members from an object and keeps the first error.
type reader struct {
	doc object
	err error
}

func (r *reader) fail(key, rule string) {
	if r.err == nil {
		r.err = fmt.Errorf("member %q %s", key, rule)
	}
}

// join takes over the error of a reader for a part.
func (r *reader) join(part *reader) {
	if r.err == nil {
		r.err = part.err
	}
}

func (r *reader) text(key string) string {
	v, _ := r.doc.get(key)
	if v.kind != jsonscan.String {
		r.fail(key, "is not a string")
	}
	return v.text
}

// optional reads a string or null; null is empty.
func (r *reader) optional(key string) string {
	if v, there := r.doc.get(key); there && v.kind == jsonscan.Null {
		return ""
	}
	return r.text(key)
}

func (r *reader) integer(key string) int64 {
	v, _ := r.doc.get(key)
	if v.kind != jsonscan.Number {
		r.fail(key, "is not an integer")
	}
	return v.number
}

// count reads an integer that is not negative.
func (r *reader) count(key string) int64 {
	n := r.integer(key)
	if n < 0 {
		r.fail(key, "is negative")
	}
	return n
}

// amount reads an unsigned number of 64 bits from a decimal string.
func (r *reader) amount(key string) uint64 {
	s := r.text(key)
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || s != strconv.FormatUint(n, 10) {
		r.fail(key, "is not a decimal number")
	}
	return n
}

func (r *reader) flag(key string) bool {
	v, _ := r.doc.get(key)
	if v.kind != jsonscan.True && v.kind != jsonscan.False {
		r.fail(key, "is not true or false")
	}
	return v.kind == jsonscan.True
}

func (r *reader) bytes(key string, size int) []byte {
	raw, ok := unhex(r.text(key), size)
	if !ok {
		r.fail(key, fmt.Sprintf("is not %d bytes in hexadecimal, in small letters", size))
		return make([]byte, size)
	}
	return raw
}

func (r *reader) object(key string) *reader {
	v, _ := r.doc.get(key)
	if v.kind != jsonscan.Object {
		r.fail(key, "is not an object")
	}
	return &reader{doc: v.parts}
}

func (r *reader) objects(key string) []reader {
	v, _ := r.doc.get(key)
	if v.kind != jsonscan.Array {
		r.fail(key, "is not an array")
	}
	out := make([]reader, 0, len(v.parts))
	for _, e := range v.parts {
		if e.kind != jsonscan.Object {
			r.fail(key, "holds something else than objects")
		}
		out = append(out, reader{doc: e.parts})
	}
	return out
}
