package dcap

import (
	"bytes"
	"errors"
	"fmt"
	"time"
)

// The DER tags of certificates beside those of Intel's extension (X.690 section 8).
const (
	tagBitString       = 0x03
	tagUTF8String      = 0x0c
	tagPrintableString = 0x13
	tagUTCTime         = 0x17
	tagGeneralizedTime = 0x18
	tagSet             = 0x31
	tagImplicit0       = 0x80
	tagImplicit6       = 0x86
	tagExplicit0       = 0xa0
	tagExplicit3       = 0xa3

	// derTrue is the only form of BOOLEAN TRUE.
	derTrue = "\x01\x01\xff"
)

// fieldsDER takes the fields of a structure in their order and keeps the first error; after it every field is empty.
type fieldsDER struct {
	name string
	rest der
	err  error
}

func fieldsOfDER(name string, raw []byte) *fieldsDER { return &fieldsDER{name: name, rest: raw} }

func (f *fieldsDER) fail(name string, err error) {
	if f.err == nil {
		f.err = fmt.Errorf("%s: %w", name, err)
	}
	f.rest = nil
}

// value is the content of the next field.
func (f *fieldsDER) value(name string, tag byte) der {
	if f.err != nil {
		return nil
	}
	v, err := f.rest.next(tag)
	if err != nil {
		f.fail(name, err)
		return nil
	}
	return v
}

// inside is the next field as a structure of its own; it starts with the error that there is.
func (f *fieldsDER) inside(name string, tag byte) *fieldsDER {
	v := f.value(name, tag)
	return &fieldsDER{name: name, rest: v, err: f.err}
}

// whole is the next field with its tag and length.
func (f *fieldsDER) whole(name string, tag byte) []byte {
	before := f.rest
	f.value(name, tag)
	return before[:len(before)-len(f.rest)]
}

// take steps over exact bytes if they come next.
func (f *fieldsDER) take(exact string) bool {
	rest, ok := bytes.CutPrefix(f.rest, []byte(exact))
	f.rest = rest
	return ok
}

// exactly steps over bytes that must come next.
func (f *fieldsDER) exactly(exact, otherwise string) {
	if f.err == nil && !f.take(exact) {
		f.fail(f.name, errors.New(otherwise))
	}
}

// bytes takes n bytes that have no tag of their own.
func (f *fieldsDER) bytes(n int) der {
	if len(f.rest) < n {
		f.fail(f.name, errDERShort)
		return nil
	}
	out := f.rest[:n:n]
	f.rest = f.rest[n:]
	return out
}

// end says that there must be nothing more.
func (f *fieldsDER) end() {
	if n := len(f.rest); n > 0 {
		f.fail(f.name, fmt.Errorf("%d bytes too many", n))
	}
}

// bits is a bit string of whole bytes.
func (f *fieldsDER) bits(name string) der {
	v := f.value(name, tagBitString)
	if f.err == nil && (len(v) == 0 || v[0] != 0) {
		f.fail(name, errors.New("not of whole bytes"))
		return nil
	}
	return v[min(len(v), 1):]
}

// serial is the magnitude of a serial number, which is not negative.
func (f *fieldsDER) serial() der {
	v := f.value("serial number", tagInteger)
	switch {
	case f.err != nil:
		return nil
	case len(v) == 0 || len(v) > maxSerial || v[0]&0x80 != 0 || len(v) > 1 && v[0] == 0 && v[1]&0x80 == 0:
		f.fail("serial number", fmt.Errorf("%x is negative, not minimal, or longer than 20 bytes", []byte(v)))
		return nil
	case v[0] == 0:
		return v[1:]
	}
	return v
}

// time is an instant in UTC, to the second (RFC 5280 section 4.1.2.5).
func (f *fieldsDER) time() time.Time {
	if f.err != nil {
		return time.Time{}
	}
	tag, v, err := f.rest.element()
	if err != nil {
		f.fail("time", err)
		return time.Time{}
	}
	t, ok := readTime(tag, v)
	if !ok {
		f.fail("time", fmt.Errorf("tag %#02x and %.20q, want a time in UTC", tag, v))
	}
	return t
}

// readTime reads YYMMDDhhmmssZ, of the years 1950 to 2049, or YYYYMMDDhhmmssZ.
func readTime(tag byte, text []byte) (time.Time, bool) {
	digits, ended := bytes.CutSuffix(text, []byte{'Z'})
	var year int
	switch {
	case ended && tag == tagUTCTime && len(digits) == 12:
		if year = 1900; digits[0] < '5' {
			year = 2000
		}
	case ended && tag == tagGeneralizedTime && len(digits) == 14:
		year, digits = 100*pair(digits), digits[2:]
	default:
		return time.Time{}, false
	}
	var n [6]int // year, month, day, hour, minute, second
	for i := range n {
		if n[i] = pair(digits[2*i:]); n[i] < 0 {
			return time.Time{}, false
		}
	}
	n[0] += year
	t := time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], 0, time.UTC)
	// What does not exist, like February 30, became something else.
	again := [...]int{t.Year(), int(t.Month()), t.Day(), t.Hour(), t.Minute(), t.Second()}
	return t, n == again && n[0] > 0
}

// pair is the number of two digits, or negative.
func pair(text []byte) int {
	if !isDigit(text[0]) || !isDigit(text[1]) {
		return -1
	}
	return 10*int(text[0]-'0') + int(text[1]-'0')
}
