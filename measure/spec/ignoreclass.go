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
		return len(name) + 4, namedClass(name, c)
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

func namedClass(name string, c byte) bool {
	lower, upper, digit := 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9'
	graph := '!' <= c && c <= '~'
	switch name {
	case "alnum":
		return lower || upper || digit
	case "alpha":
		return lower || upper
	case "digit":
		return digit
	case "lower":
		return lower
	case "upper":
		return upper
	case "punct":
		return graph && !lower && !upper && !digit
	case "graph":
		return graph
	case "print":
		return graph || c == ' '
	case "space":
		return c == ' ' || '\t' <= c && c <= '\r'
	case "blank":
		return c == ' ' || c == '\t'
	case "cntrl":
		return c < ' ' || c == 0x7f
	case "xdigit":
		return digit || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
	}
	return false
}
