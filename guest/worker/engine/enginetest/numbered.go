package enginetest

import (
	"fmt"
	"hash/fnv"
	"time"
)

// NumberedTokens is how many tokens a numbered answer has.
const NumberedTokens = 100

// BriefTokens is how many tokens a brief one has.
const BriefTokens = 30

// numbered are streams whose tokens carry the tag of their request and their own number, so that one that is lost, repeated
// or in another's answer shows: all at once, paced, paced and brief, or broken somewhere in the middle.
func numbered(name string, q asked) (s script, ok bool) {
	const pace = time.Millisecond
	n := NumberedTokens
	switch name {
	case "numbered-burst", "numbered-cut":
	case "numbered-paced":
		s.gap = pace
	case "numbered-brief":
		s.gap, n = pace, BriefTokens
	default:
		return s, false
	}
	s.events = make([]string, 0, n+4)
	s.events = append(s.events, first)
	for i := range n {
		s.events = append(s.events, token(Numbered(q.tag, i), counts(5, i+1)))
	}
	s.events = append(s.events, finish, usageEvent(counts(5, n)), done)
	if name == "numbered-cut" {
		h := fnv.New32a()
		_, _ = h.Write([]byte(q.tag)) // a hash never fails
		s.events, s.end = s.events[:2+h.Sum32()%NumberedTokens], cut
	}
	return s, true
}

// Numbered is the text of one token of a numbered answer.
func Numbered(tag string, i int) string { return fmt.Sprintf("%s.%d ", tag, i) }
