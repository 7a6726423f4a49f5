package wire

import (
	"encoding/binary"
	"math"
)

// TL encoding, protocol.md section 3.
const (
	boolTrue  uint32 = 0x997275b5
	boolFalse uint32 = 0xbc799737

	// word is the alignment of every item.
	word = 4
	// shortMax is the longest string whose length is one byte; longMax the longest with a three-byte length.
	shortMax = 253
	longMax  = 1<<24 - 1
	// longMark and hugeMark announce a length of three and of seven bytes.
	longMark byte = 0xfe
	hugeMark byte = 0xff
	// hugeBytes is the width of the largest length.
	hugeBytes = 7
)

// AppendInt appends an int: four bytes, little-endian.
func AppendInt(dst []byte, v int32) []byte {
	return binary.LittleEndian.AppendUint32(dst, uint32(v)) //nolint:gosec // the same four bytes, signed or not
}

// AppendUint appends a constructor id or a flags word.
func AppendUint(dst []byte, v uint32) []byte { return binary.LittleEndian.AppendUint32(dst, v) }

// AppendLong appends a long: eight bytes, little-endian.
func AppendLong(dst []byte, v int64) []byte {
	return binary.LittleEndian.AppendUint64(dst, uint64(v)) //nolint:gosec // the same eight bytes, signed or not
}

// AppendDouble appends a double: IEEE 754, eight bytes, little-endian.
func AppendDouble(dst []byte, v float64) []byte {
	return binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
}

// AppendBool appends a boxed Bool.
func AppendBool(dst []byte, v bool) []byte {
	if v {
		return AppendUint(dst, boolTrue)
	}
	return AppendUint(dst, boolFalse)
}

// AppendBytes appends bytes or a string: the shortest length form, the content, zeros to a multiple of four.
func AppendBytes[T ~[]byte | ~string](dst []byte, v T) []byte {
	return AppendPadding(append(AppendLength(dst, len(v)), v...), len(v))
}

// AppendLength appends what precedes a content of n bytes, for who appends the content piece by piece.
func AppendLength(dst []byte, n int) []byte {
	switch {
	case n <= shortMax:
		return append(dst, byte(n)) //nolint:gosec // at most shortMax
	case n <= longMax:
		return append(dst, longMark, byte(n), byte(n>>8), byte(n>>16)) //nolint:gosec // the low bytes of a 24-bit number
	}
	dst = append(dst, hugeMark)
	for i := range hugeBytes {
		dst = append(dst, byte(n>>(8*i))) //nolint:gosec // one byte after the other
	}
	return dst
}

// AppendPadding appends what follows a content of n bytes.
func AppendPadding(dst []byte, n int) []byte {
	head := 1
	if n > shortMax {
		head = word // of every longer form
	}
	for range -(head + n) & (word - 1) {
		dst = append(dst, 0)
	}
	return dst
}

// BytesSize is how many bytes AppendBytes appends for a content of n bytes.
func BytesSize(n int) int {
	head := 1
	switch {
	case n > longMax:
		head += hugeBytes
	case n > shortMax:
		head += 3
	}
	return (head + n + word - 1) / word * word
}
