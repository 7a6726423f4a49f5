package dcap

import (
	"errors"
	"fmt"
)

// The DER tags that Intel's extension uses (X.690 section 8).
const (
	tagInteger     = 0x02
	tagOctetString = 0x04
	tagOID         = 0x06
	tagEnumerated  = 0x0a
	tagSequence    = 0x30
)

// maxDERLength bounds the length bytes of an element: nothing here has 64 KiB.
const maxDERLength = 2

var errDERShort = errors.New("element ends behind its surroundings")

// der takes DER elements off its front. Lengths must be definite and minimal.
type der []byte

// next is the next element's value, which must have the given tag.
func (d *der) next(tag byte) (der, error) {
	got, value, err := d.element()
	if err != nil {
		return nil, err
	}
	if got != tag {
		return nil, fmt.Errorf("element has tag %#02x, want %#02x", got, tag)
	}
	return value, nil
}

func (d *der) element() (tag byte, value der, err error) {
	in := *d
	if len(in) < 2 {
		return 0, nil, errDERShort
	}
	tag, length := in[0], int(in[1])
	in = in[2:]
	if length >= 0x80 {
		size := length - 0x80
		if size == 0 || size > maxDERLength || len(in) < size {
			return 0, nil, fmt.Errorf("length of %d bytes", size)
		}
		length = 0
		for _, b := range in[:size] {
			length = length<<8 | int(b)
		}
		if length < 0x80 || (size == 2 && length < 0x100) {
			return 0, nil, errors.New("length is not minimal")
		}
		in = in[size:]
	}
	if length > len(in) {
		return 0, nil, errDERShort
	}
	*d = in[length:]
	return tag, in[:length:length], nil
}

// number is a non-negative DER integer's value, at most limit.
func (d der) number(limit uint32) (uint32, error) {
	switch {
	case len(d) == 0 || len(d) > 4:
		return 0, fmt.Errorf("integer has %d bytes", len(d))
	case d[0]&0x80 != 0:
		return 0, errors.New("integer is negative")
	case len(d) > 1 && d[0] == 0 && d[1]&0x80 == 0:
		return 0, errors.New("integer is not minimal")
	}
	var v uint32
	for _, b := range d {
		v = v<<8 | uint32(b)
	}
	if v > limit {
		return 0, fmt.Errorf("integer is %d, at most %d", v, limit)
	}
	return v, nil
}
