package spec

import (
	"fmt"
	"slices"
	"strings"
)

// Limits of a .gitignore; real ones have a few dozen short lines.
const (
	maxIgnoreFile = 64 << 10
	maxIgnoreLine = 1024
)

// ignoreRule is one line of a .gitignore, by gitignore(5):
//   - a leading "!" re-includes; the last matching rule wins, and nothing below an ignored folder is looked at;
//   - a trailing "/" restricts the rule to folders;
//   - with another "/" in it the pattern is relative to its .gitignore's folder, without one it matches a name at any
//     depth below it;
//   - "*", "?" and "[...]" never match "/"; "**" as a whole component matches any number of components, at the end
//     at least one.
//
// Matching is by bytes and by case; a backslash quotes the next byte.
type ignoreRule struct {
	dir      string // folder of the .gitignore, "." at the top
	parts    []string
	negate   bool
	dirOnly  bool
	anchored bool
}

// parseIgnore reads a .gitignore.
func parseIgnore(dir string, data []byte) ([]ignoreRule, error) {
	var rules []ignoreRule
	for i, line := range strings.Split(strings.TrimPrefix(string(data), "\uFEFF"), "\n") {
		if len(line) > maxIgnoreLine {
			return nil, fmt.Errorf("line %d has %d bytes, at most %d", i+1, len(line), maxIgnoreLine)
		}
		if r, ok := parseIgnoreLine(dir, line); ok {
			rules = append(rules, r)
		}
	}
	return rules, nil
}

func parseIgnoreLine(dir, line string) (ignoreRule, bool) {
	line = trimTrailingSpaces(strings.TrimSuffix(line, "\r"))
	if line == "" || line[0] == '#' {
		return ignoreRule{}, false
	}
	r := ignoreRule{dir: dir}
	line, r.negate = strings.CutPrefix(line, "!")
	line, r.dirOnly = strings.CutSuffix(line, "/")
	r.anchored = strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	if line == "" {
		return ignoreRule{}, false
	}
	r.parts = strings.Split(line, "/")
	return r, true
}

// trimTrailingSpaces drops trailing spaces that are not quoted with a backslash.
func trimTrailingSpaces(line string) string {
	end := 0
	for i := 0; i < len(line); i++ {
		switch line[i] {
		case ' ':
		case '\\':
			i++ // the quoted byte stays, a space too
			end = min(i+1, len(line))
		default:
			end = i + 1
		}
	}
	return line[:end]
}

// ignored applies the rules in order; the last one that matches decides.
func ignored(rules []ignoreRule, name string, isDir bool) bool {
	for _, r := range slices.Backward(rules) {
		if r.match(name, isDir) {
			return !r.negate
		}
	}
	return false
}

func (r ignoreRule) match(name string, isDir bool) bool {
	if r.dirOnly && !isDir {
		return false
	}
	if r.dir != "." {
		name = strings.TrimPrefix(name, r.dir+"/")
	}
	if !r.anchored {
		return matchName(r.parts[0], name[strings.LastIndexByte(name, '/')+1:])
	}
	return matchPath(r.parts, strings.Split(name, "/"))
}

// matchPath matches components. reach[i] says whether the pattern so far matches the first i components of name, so
// the cost is the product of the two lengths whatever the pattern.
func matchPath(pattern, name []string) bool {
	reach := make([]bool, len(name)+1)
	reach[0] = true
	for k, part := range pattern {
		next := make([]bool, len(name)+1)
		for i := range reach {
			switch {
			case part != "**":
				next[i] = i > 0 && reach[i-1] && matchName(part, name[i-1])
			case k == len(pattern)-1:
				next[i] = i > 0 && (reach[i-1] || next[i-1])
			default:
				next[i] = reach[i] || i > 0 && next[i-1]
			}
		}
		reach = next
	}
	return reach[len(name)]
}

// matchName matches one component with "*", "?", "[...]" and "\". On a mismatch only the last "*" is widened, which
// is enough and bounds the work by len(pattern)*len(name).
func matchName(pattern, name string) bool {
	p, n := 0, 0
	star, starName := -1, 0
	for n < len(name) {
		if p < len(pattern) && pattern[p] == '*' {
			star, starName = p, n
			p++
			continue
		}
		if width := matchOne(pattern[p:], name[n]); width > 0 {
			p += width
			n++
			continue
		}
		if star < 0 {
			return false
		}
		starName++
		p, n = star+1, starName
	}
	return strings.Trim(pattern[p:], "*") == ""
}

// matchOne returns how many pattern bytes match c, 0 for none.
func matchOne(pattern string, c byte) int {
	switch {
	case pattern == "":
		return 0
	case pattern[0] == '?':
		return 1
	case pattern[0] == '[':
		return matchClass(pattern, c)
	case pattern[0] == '\\':
		if len(pattern) > 1 && pattern[1] == c {
			return 2
		}
		return 0
	case pattern[0] == c:
		return 1
	}
	return 0
}
