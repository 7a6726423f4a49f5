package meter

import "math/bits"

// set is a set of choices by their numbers, of which there are few.
type set struct {
	low  uint64 // those below 64
	high map[int64]struct{}
}

// add takes a number that is not negative, and says whether it is new.
func (s *set) add(i int64) bool {
	before := s.size()
	switch {
	case i < 64:
		s.low |= 1 << i
	case s.high == nil:
		s.high = map[int64]struct{}{i: {}}
	default:
		s.high[i] = struct{}{}
	}
	return s.size() > before
}

func (s *set) size() int64 { return int64(bits.OnesCount64(s.low) + len(s.high)) }
