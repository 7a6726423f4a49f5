package rootfs

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

const (
	// maxPatternParts bounds the components of one pattern; ours have at most 8.
	maxPatternParts = 32
	// anyDepth is the component that stands for zero or more path components.
	anyDepth = "**"
)

// Pattern is a compiled path pattern of a recipe: slash-separated components, each in the syntax of path.Match, and
// the component ** for any number of components, also none. Matching time is bounded by pattern length times path
// length.
type Pattern struct {
	text  string
	parts []string
}

// CompilePattern checks a pattern. A leading slash is allowed, because mkosi writes image paths that way.
func CompilePattern(text string) (Pattern, error) {
	trimmed := strings.TrimPrefix(text, "/")
	if trimmed == "" {
		return Pattern{}, fmt.Errorf("pattern %q is empty", text)
	}
	parts := strings.Split(trimmed, "/")
	if len(parts) > maxPatternParts {
		return Pattern{}, fmt.Errorf("pattern %q has %d components, at most %d", text, len(parts), maxPatternParts)
	}
	for _, part := range parts {
		if part == "" || part == "." || part == ".." {
			return Pattern{}, fmt.Errorf("pattern %q has the component %q", text, part)
		}
		if _, err := path.Match(part, "x"); errors.Is(err, path.ErrBadPattern) {
			return Pattern{}, fmt.Errorf("pattern %q: component %q: %w", text, part, err)
		}
	}
	return Pattern{text: text, parts: parts}, nil
}

// String is the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Match reports whether the pattern matches the whole of name, a cleaned path of a tree.
func (p Pattern) Match(name string) bool {
	return matchParts(p.parts, strings.Split(name, "/"))
}

// Covers reports whether the pattern matches name or one of the directories above it.
func (p Pattern) Covers(name string) bool {
	parts := strings.Split(name, "/")
	for n := 1; n <= len(parts); n++ {
		if matchParts(p.parts, parts[:n]) {
			return true
		}
	}
	return false
}

// matchParts is wildcard matching with one point to return to: the latest ** swallows one more component whenever
// the rest does not fit, which is enough because an earlier ** could not do better.
func matchParts(pattern, name []string) bool {
	p, n := 0, 0
	star, resume := -1, 0
	for n < len(name) {
		if p < len(pattern) && pattern[p] == anyDepth {
			star, resume = p, n
			p++
			continue
		}
		if p < len(pattern) && matchOne(pattern[p], name[n]) {
			p++
			n++
			continue
		}
		if star < 0 {
			return false
		}
		resume++
		p, n = star+1, resume
	}
	for p < len(pattern) && pattern[p] == anyDepth {
		p++
	}
	return p == len(pattern)
}

func matchOne(pattern, name string) bool {
	ok, err := path.Match(pattern, name)
	return err == nil && ok // the pattern was checked when it was compiled
}

// compilePatterns compiles a list, naming the index of the first bad one.
func compilePatterns(texts []string) ([]Pattern, error) {
	out := make([]Pattern, 0, len(texts))
	for i, text := range texts {
		p, err := CompilePattern(text)
		if err != nil {
			return nil, fmt.Errorf("[%d]: %w", i, err)
		}
		out = append(out, p)
	}
	return out, nil
}
