package spec

import "strings"

// matchClass returns the width of the bracket expression at the start of pattern when it matches c, else 0. An
// unterminated expression matches nothing, as in git.
func matchClass(pattern string, c byte) int {
	i := 1
	negate := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if negate {
		i++
	}
	matched := false
	for first := true; i < len(pattern); first = false {
		if pattern[i] == ']' && !first {
			if matched != negate {
				return i + 1
			}
			return 0
		}
		width, hit := matchClassItem(pattern[i:], c)
		if width == 0 {
			return 0
		}
		matched = matched || hit
		i += width
	}
	return 0
}

// matchClassItem reads one item: a named class, a range or a byte. A width of 0 means a malformed item.
func matchClassItem(pattern string, c byte) (width int, hit bool) {
	if strings.HasPrefix(pattern, "[:") {
		name, _, ok := strings.Cut(pattern[2:], ":]")
		if !ok {
			return 1, c == '['
		}
		return len(name) + 4, strings.IndexByte(byteClasses()[name], c) >= 0
	}
	low, n := classByte(pattern)
	if n == 0 {
		return 0, false
	}
	rest := pattern[n:]
	if len(rest) < 2 || rest[0] != '-' || rest[1] == ']' {
		return n, c == low
	}
	high, m := classByte(rest[1:])
	if m == 0 {
		return 0, false
	}
	return n + 1 + m, low <= c && c <= high
}

// classByte reads one byte, possibly quoted.
func classByte(pattern string) (c byte, width int) {
	if pattern[0] != '\\' {
		return pattern[0], 1
	}
	if len(pattern) < 2 {
		return 0, 0
	}
	return pattern[1], 2
}

// byteClasses are the POSIX character classes in the C locale.
func byteClasses() map[string]string {
	const (
		digit = "0123456789"
		lower = "abcdefghijklmnopqrstuvwxyz"
		upper = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
		punct = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
		blank = " \t"
		cntrl = "\x00\x01\x02\x03\x04\x05\x06\a\b\t\n\v\f\r\x0e\x0f" +
			"\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f\x7f"
	)
	return map[string]string{
		"alnum": lower + upper + digit, "alpha": lower + upper, "digit": digit, "lower": lower, "upper": upper,
		"punct": punct, "graph": lower + upper + digit + punct, "print": lower + upper + digit + punct + " ",
		"space": blank + "\n\v\f\r", "blank": blank, "cntrl": cntrl, "xdigit": digit + "abcdefABCDEF",
	}
}
