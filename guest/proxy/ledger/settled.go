package ledger

import "cocoon/contracts/pricing"

// pageSize is how many settled requests lie in one piece of memory.
const pageSize = 1 << 10

// request names a request: ids are the clients' own, so one client's cannot block another's.
type request struct {
	client uint32 // number of the client's counter
	id     [32]byte
}

// settled remembers the requests that were settled last. They are many, and one is looked at again when somebody repeats
// himself: they lie in memory without pointers, in which the collector has nothing to search.
type settled struct {
	most  int
	index map[request]uint32 // places
	pages [][]record
	next  int // the place of the next one: of the oldest, once all are taken

	terms map[Charge]uint32 // places in kinds
	kinds []kind
	free  []uint32
}

// record is an Entry without what follows from the rest.
type record struct {
	request          request
	kind             uint32
	tokens           pricing.Tokens
	seq, reserved    int64
	total, committed int64
}

// kind is what many charges have in common: all but the request and its tokens.
type kind struct {
	charge Charge
	uses   int
}

func newSettled(most int) settled {
	return settled{most: most, index: make(map[request]uint32), terms: make(map[Charge]uint32)}
}

// at is a place that is taken or the next one.
func (s *settled) at(place int) *record { return &s.pages[place/pageSize][place%pageSize] }

// find is the entry of a request.
func (s *settled) find(key request) (e Entry, ok bool) {
	place, ok := s.index[key]
	if !ok {
		return Entry{}, false
	}
	r := s.at(int(place))
	c := s.kinds[r.kind].charge
	c.Request, c.Tokens = key.id, r.tokens
	e = bill(c, r.reserved)
	e.Seq, e.Total, e.Committed = r.seq, r.total, r.committed
	return e, true
}

// keep remembers an entry, in the place of the oldest when all are taken.
func (s *settled) keep(key request, e *Entry) {
	place := s.next
	s.next = (s.next + 1) % s.most
	if len(s.index) == s.most {
		old := s.at(place)
		delete(s.index, old.request)
		s.release(old.kind)
	} else if place/pageSize == len(s.pages) {
		s.pages = append(s.pages, make([]record, pageSize))
	}
	s.index[key] = uint32(place) //nolint:gosec // below most
	*s.at(place) = record{
		request: key, kind: s.share(e.Charge), tokens: e.Tokens, seq: e.Seq, reserved: e.Reserved, total: e.Total, committed: e.Committed,
	}
}

// share counts one more charge of a kind.
func (s *settled) share(c Charge) uint32 {
	c.Request, c.Tokens = [32]byte{}, pricing.Tokens{}
	place, ok := s.terms[c]
	switch {
	case ok:
	case len(s.free) > 0:
		place, s.free = s.free[len(s.free)-1], s.free[:len(s.free)-1]
	default:
		place = uint32(len(s.kinds)) //nolint:gosec // at most one of each record
		s.kinds = append(s.kinds, kind{})
	}
	if !ok {
		s.terms[c], s.kinds[place].charge = place, c
	}
	s.kinds[place].uses++
	return place
}

// release forgets a kind with its last charge: what it is about comes from clients and need not return.
func (s *settled) release(place uint32) {
	k := &s.kinds[place]
	if k.uses--; k.uses == 0 {
		delete(s.terms, k.charge)
		*k = kind{}
		s.free = append(s.free, place)
	}
}
