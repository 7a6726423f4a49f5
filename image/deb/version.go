package deb

import (
	"errors"
	"fmt"
	"strings"
)

// maxVersion bounds a version's text; Debian's longest are under 100 bytes.
const maxVersion = 256

// Version is a Debian package version (Debian Policy 5.6.12): [epoch:]upstream[-revision].
type Version struct {
	Epoch    string // digits without leading zeros, "" is 0
	Upstream string
	Revision string // "" sorts like "0"
}

// ParseVersion checks a version's form and splits it.
func ParseVersion(s string) (Version, error) {
	if s == "" || len(s) > maxVersion {
		return Version{}, fmt.Errorf("parsing version %.40q: %d bytes, want 1..%d", s, len(s), maxVersion)
	}
	var v Version
	rest := s
	if epoch, after, ok := strings.Cut(s, ":"); ok {
		if epoch == "" || strings.Trim(epoch, "0123456789") != "" {
			return Version{}, fmt.Errorf("parsing version %q: epoch %q is not a number", s, epoch)
		}
		v.Epoch, rest = strings.TrimLeft(epoch, "0"), after
	}
	v.Upstream = rest
	if i := strings.LastIndexByte(rest, '-'); i >= 0 {
		v.Upstream, v.Revision = rest[:i], rest[i+1:]
		if v.Revision == "" {
			return Version{}, fmt.Errorf("parsing version %q: the revision after \"-\" is empty", s)
		}
	}
	if err := errors.Join(checkVersionPart("upstream", v.Upstream, ".+-~:"), checkVersionPart("revision", v.Revision, "+.~")); err != nil {
		return Version{}, fmt.Errorf("parsing version %q: %w", s, err)
	}
	if v.Upstream == "" || !isDigit(v.Upstream[0]) {
		return Version{}, fmt.Errorf("parsing version %q: it does not start with a digit", s)
	}
	return v, nil
}

func checkVersionPart(part, s, punctuation string) error {
	for _, c := range []byte(s) {
		if !isDigit(c) && !isLetter(c) && !strings.ContainsRune(punctuation, rune(c)) {
			return fmt.Errorf("the %s part has the character %q", part, c)
		}
	}
	return nil
}

// Compare orders versions as dpkg does: -1, 0 or 1.
func (v Version) Compare(w Version) int {
	if c := compareNumbers(v.Epoch, w.Epoch); c != 0 {
		return c
	}
	if c := comparePart(v.Upstream, w.Upstream); c != 0 {
		return c
	}
	return comparePart(v.Revision, w.Revision)
}

// comparePart is Debian Policy 5.6.12's algorithm: alternate stretches without and with digits, the first by character
// order, the second by number.
func comparePart(a, b string) int {
	for a != "" || b != "" {
		var x, y string
		x, a = splitStretch(a, false)
		y, b = splitStretch(b, false)
		if c := compareText(x, y); c != 0 {
			return c
		}
		x, a = splitStretch(a, true)
		y, b = splitStretch(b, true)
		if c := compareNumbers(x, y); c != 0 {
			return c
		}
	}
	return 0
}

// splitStretch cuts the leading run of digits (or of everything else) off s.
func splitStretch(s string, digits bool) (head, tail string) {
	for i := range len(s) {
		if isDigit(s[i]) != digits {
			return s[:i], s[i:]
		}
	}
	return s, ""
}

func compareText(a, b string) int {
	for i := range max(len(a), len(b)) {
		if c := charOrder(a, i) - charOrder(b, i); c != 0 {
			return sign(c)
		}
	}
	return 0
}

// charOrder: "~" sorts before the end, the end before letters, letters before everything else.
func charOrder(s string, i int) int {
	switch {
	case i >= len(s):
		return 0
	case s[i] == '~':
		return -1
	case isLetter(s[i]):
		return int(s[i])
	}
	return int(s[i]) + 256
}

// compareNumbers compares digit strings of any length.
func compareNumbers(a, b string) int {
	a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	if len(a) != len(b) {
		return sign(len(a) - len(b))
	}
	return strings.Compare(a, b)
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
