package receipt

import (
	"encoding/hex"
	"strconv"
	"strings"

	"cocoon/contracts/api/jsonscan"
)

// form goes through a document in the canonical order, member by member: it writes the members, or reads what was written
// like that. One description of a document serves both ways, so that what is signed and what is read cannot drift apart.
//
// A reader takes nothing but the canonical form without escapes, in which every byte follows from what is read. Any other
// document is odd, which is no verdict: the general reader then says what it is.
type form struct {
	buf     []byte // what was written so far, or the document that is read
	reading bool
	// doc is the document that is read, which the texts are parts of, and at how far it was read.
	doc string
	at  int
	odd bool
}

// giveUp makes the document odd: nothing that follows finds anything.
func (f *form) giveUp() { f.odd, f.at = true, len(f.buf) }

// ended says that a document was read to its last byte.
func (f *form) ended() bool { return !f.odd && f.at == len(f.buf) }

// place is how far the document was written or read.
func (f *form) place() int {
	if f.reading {
		return f.at
	}
	return len(f.buf)
}

// mark is what always stands the same: punctuation, keys, and texts that do not change.
func (f *form) mark(s string) {
	switch {
	case !f.reading:
		f.buf = append(f.buf, s...)
	case strings.HasPrefix(f.doc[f.at:], s):
		f.at += len(s)
	default:
		f.giveUp()
	}
}

// optional is a mark that may be absent, with what follows it. The writer says whether it is there; the reader looks.
func (f *form) optional(s string, there bool) bool {
	if f.reading {
		there = strings.HasPrefix(f.doc[f.at:], s)
	}
	if there {
		f.mark(s)
	}
	return there
}

// text is a string behind its mark.
func (f *form) text(lead string, s *string) {
	f.mark(lead)
	if !f.reading {
		f.buf = appendString(f.buf, *s)
		return
	}
	if f.peek() != '"' {
		f.giveUp()
		return
	}
	from := f.at + 1
	f.at = from + jsonscan.Plain(f.buf[from:])
	if f.peek() != '"' {
		f.giveUp()
		return
	}
	*s = f.doc[from:f.at]
	f.at++
}

// peek is the next byte of the document, 0 behind its end.
func (f *form) peek() byte {
	if f.at < len(f.buf) {
		return f.buf[f.at]
	}
	return 0
}

// nullable is a text that is null where it is empty.
func (f *form) nullable(lead string, s *string) {
	f.mark(lead)
	if !f.optional("null", *s == "") {
		f.text("", s)
	}
}

// count is a number that is not negative.
func (f *form) count(lead string, n *int64) {
	f.mark(lead)
	if f.reading {
		*n = int64(f.digits(maxInteger)) //nolint:gosec // at most maxInteger
		return
	}
	f.buf = strconv.AppendInt(f.buf, *n, 10)
}

// amount is a number of 64 bits, written as text.
func (f *form) amount(lead string, n *uint64) {
	f.mark(lead)
	f.mark(`"`)
	if f.reading {
		*n = f.digits(1<<64 - 1)
	} else {
		f.buf = strconv.AppendUint(f.buf, *n, 10)
	}
	f.mark(`"`)
}

// digits reads a number without leading zeros.
func (f *form) digits(most uint64) uint64 {
	from, n := f.at, uint64(0)
	for ; f.peek()-'0' <= 9; f.at++ {
		d := uint64(f.peek() - '0')
		if n > (most-d)/10 {
			f.giveUp()
			return 0
		}
		n = 10*n + d
	}
	if f.at == from || f.buf[from] == '0' && f.at > from+1 {
		f.giveUp()
	}
	return n
}

// flag is true or false.
func (f *form) flag(lead string, b *bool) {
	f.mark(lead)
	if *b = f.optional("true", *b); !*b {
		f.mark("false")
	}
}

// hex is a number of bytes in hexadecimal.
func (f *form) hex(lead string, b *[]byte, size int) {
	if !f.reading {
		f.mark(lead)
		f.buf = append(hex.AppendEncode(append(f.buf, '"'), *b), '"')
		return
	}
	var s string
	f.text(lead, &s)
	raw, ok := unhex(s, size)
	if !ok {
		f.giveUp()
	}
	*b = raw
}

// unhex reads so many bytes in hexadecimal. Capitals are none: nothing that is signed or a signature has a second spelling
// (inference.md section 10.1).
func unhex(s string, size int) (raw []byte, ok bool) {
	if len(s) != hex.EncodedLen(size) || strings.ContainsAny(s, "ABCDEF") {
		return nil, false
	}
	raw, err := hex.DecodeString(s)
	return raw, err == nil
}
