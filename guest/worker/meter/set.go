package meter

import "math/bits"

// set is a set of choices by their numbers, of which there are few.
type set struct {
	low  uint64 // those below 64
	high map[int64]struct{}
}

// add takes a number that is not negative.
func (s *set) add(i int64) {
	if i < 64 {
		s.low |= 1 << i
		return
	}
	if s.high == nil {
		s.high = make(map[int64]struct{})
	}
	s.high[i] = struct{}{}
}

func (s *set) size() int64 { return int64(bits.OnesCount64(s.low) + len(s.high)) }
