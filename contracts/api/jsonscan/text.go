package jsonscan

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// str checks the string that begins at i. What is beyond ASCII is looked at once the end is known.
func (s *scanner) str(i int) (int, error) {
	start, beyond := i, uint64(0)
	s.escaped = false
	i++
	for {
		n, wide := plain(s.data[i:])
		i, beyond = i+n, beyond|wide
		if i >= len(s.data) {
			return start, s.fail(start, "a string is not closed")
		}
		switch s.data[i] {
		case '"':
			if beyond&high != 0 && !utf8.Valid(s.data[start:i]) {
				return s.notUTF8(start)
			}
			return i + 1, nil
		case '\\':
			next, err := s.escape(i)
			if err != nil {
				return i, err
			}
			i, s.escaped = next, true
		default:
			return i, s.fail(i, "a control character inside a string")
		}
	}
}

// notUTF8 names the first byte from i on that is not UTF-8.
func (s *scanner) notUTF8(i int) (int, error) {
	for {
		r, size := utf8.DecodeRune(s.data[i:])
		if r == utf8.RuneError && size <= 1 {
			return i, s.fail(i, "bytes that are not UTF-8")
		}
		i += size
	}
}

// low and high are the lowest and the highest bit of each byte of a word.
const low, high = 0x0101010101010101, 0x8080808080808080

// block is how many bytes of a long string are looked at together.
const block = 32

// plain counts the bytes at the start of data before the first quote, backslash or control character; wide has a high bit
// if a byte before it, or just behind, is beyond ASCII.
func plain(data []byte) (n int, wide uint64) {
	for len(data)-n >= 8 {
		if n > 0 && n%block == 0 && len(data)-n >= block {
			four := data[n : n+block]
			a, b := binary.LittleEndian.Uint64(four), binary.LittleEndian.Uint64(four[8:])
			c, d := binary.LittleEndian.Uint64(four[16:]), binary.LittleEndian.Uint64(four[24:])
			if (special(a)|special(b)|special(c)|special(d))&high == 0 {
				wide |= a | b | c | d
				n += block
				continue
			}
		}
		w := binary.LittleEndian.Uint64(data[n:])
		wide |= w
		if found := special(w) & high; found != 0 {
			return n + bits.TrailingZeros64(found)/8, wide
		}
		n += 8
	}
	for ; n < len(data); n++ {
		c := data[n]
		if c < ' ' || c == '"' || c == '\\' {
			break
		}
		wide |= uint64(c)
	}
	return n, wide
}

// Plain counts the bytes at the start of data that are ASCII and neither a quote, a backslash nor a control character: what
// stands in a string as it is read, in any encoder's form.
func Plain(data []byte) (n int) {
	for ; len(data)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(data[n:])
		if found := (special(w) | w) & high; found != 0 {
			return n + bits.TrailingZeros64(found)/8
		}
	}
	for ; n < len(data); n++ {
		if c := data[n]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			break
		}
	}
	return n
}

// special has the high bit of each byte that is a quote, a backslash or a control character, by the arithmetic of
// Mycroft's test for a zero byte, which is exact up to the first byte found. Other bits mean nothing.
func special(w uint64) uint64 {
	const swap = '"' ^ ' ' // a quote becomes the byte above the control characters, which stay below it
	return ((w ^ low*swap - low*(' '+1)) | (w ^ low*'\\' - low)) &^ w
}

// escape checks the escape sequence at i; a surrogate needs its partner.
func (s *scanner) escape(i int) (int, error) {
	if i+1 >= len(s.data) {
		return i, s.fail(i, "a string is not closed")
	}
	switch s.data[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2, nil
	case 'u':
	default:
		return i, s.fail(i, "an unknown escape sequence")
	}
	r, ok := hex4(s.data, i)
	if !ok {
		return i, s.fail(i, "an escape sequence without four hexadecimal digits")
	}
	if !utf16.IsSurrogate(r) {
		return i + 6, nil
	}
	if low, ok := hex4(s.data, i+6); !ok || utf16.DecodeRune(r, low) == utf8.RuneError {
		return i, s.fail(i, "a lone surrogate")
	}
	return i + 12, nil
}

// hex4 reads the escape at i, \u and four digits.
func hex4(data []byte, i int) (r rune, ok bool) {
	if len(data)-i < 6 || data[i] != '\\' || data[i+1] != 'u' {
		return 0, false
	}
	for _, c := range data[i+2 : i+6] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

// unquote decodes a checked string with its quotes; without escapes it shares the bytes.
func unquote(quoted []byte) []byte {
	inner := quoted[1 : len(quoted)-1 : len(quoted)-1]
	at := bytes.IndexByte(inner, '\\')
	if at < 0 {
		return inner
	}
	const letters, controls = "bfnrt", "\b\f\n\r\t"
	out := make([]byte, 0, len(inner))
	for at >= 0 {
		out = append(out, inner[:at]...)
		c, size := inner[at+1], 2
		if c == 'u' {
			r, _ := hex4(inner, at)
			size = 6
			if utf16.IsSurrogate(r) {
				second, _ := hex4(inner, at+size)
				r, size = utf16.DecodeRune(r, second), 12
			}
			out = utf8.AppendRune(out, r)
		} else {
			if i := strings.IndexByte(letters, c); i >= 0 {
				c = controls[i]
			}
			out = append(out, c)
		}
		inner = inner[at+size:]
		at = bytes.IndexByte(inner, '\\')
	}
	return append(out, inner...)
}
