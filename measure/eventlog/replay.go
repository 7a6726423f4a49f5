package eventlog

import (
	"errors"
	"fmt"
	"slices"

	"cocoon/measure/tdx"
)

// ErrNoBank says that a log has no digests of the wanted algorithm.
var ErrNoBank = errors.New("no such bank")

// The event that says from which locality the TPM was started; it changes PCR 0's first value (TCG PC Client Platform
// Firmware Profile, TCG_EfiStartupLocalityEvent).
const startupLocality = "StartupLocality\x00"

// Replay extends every event into registers that start at zero and returns those that were extended, by index.
// NO_ACTION events extend nothing.
func (l *Log) Replay(a Algorithm) (map[uint32][]byte, error) {
	if !slices.Contains(l.Algorithms, a) {
		return nil, fmt.Errorf("replaying event log: %w: log has %v, not %s", ErrNoBank, l.Algorithms, a)
	}
	registers := make(map[uint32][]byte)
	for i := range l.Events {
		e := &l.Events[i]
		if e.Type == NoAction {
			l.startup(registers, e, a)
			continue
		}
		value, err := extend(registers[e.Index], e, a)
		if err != nil {
			return nil, fmt.Errorf("replaying event log: event %d: %w", i, err)
		}
		registers[e.Index] = value
	}
	return registers, nil
}

// startup applies the locality event, which comes before anything is extended into PCR 0.
func (l *Log) startup(registers map[uint32][]byte, e *Event, a Algorithm) {
	if l.Kind != TPM || registers[0] != nil || len(e.Data) != len(startupLocality)+1 ||
		string(e.Data[:len(startupLocality)]) != startupLocality {
		return
	}
	value := make([]byte, a.size())
	if len(value) > 0 {
		value[len(value)-1] = e.Data[len(startupLocality)]
		registers[0] = value
	}
}

func extend(register []byte, e *Event, a Algorithm) ([]byte, error) {
	h, ok := a.hash()
	if !ok {
		return nil, fmt.Errorf("%w: %s is not computed here", ErrNoBank, a)
	}
	digest := e.Digest(a)
	if digest == nil {
		return nil, fmt.Errorf("%w: the event has no %s digest", ErrNoBank, a)
	}
	if register == nil {
		register = make([]byte, h.Size())
	}
	h.Write(register)
	h.Write(digest)
	return h.Sum(nil), nil
}

// RTMRs replays a TD log into RTMR0..RTMR3.
func (l *Log) RTMRs() ([4]tdx.Digest, error) {
	var rtmrs [4]tdx.Digest
	if l.Kind != TD {
		return rtmrs, errors.New("replaying event log: a TPM log has PCRs, not RTMRs; see TDView")
	}
	registers, err := l.Replay(SHA384)
	if err != nil {
		return rtmrs, err
	}
	if registers[0] != nil {
		return rtmrs, errors.New("replaying event log: an event extends MRTD, which no event can")
	}
	for i := range rtmrs {
		copy(rtmrs[i][:], registers[uint32(tdx.RTMR0)+uint32(i)])
	}
	return rtmrs, nil
}

// Result compares one register of a log with its quoted value.
type Result struct {
	Register tdx.Register `json:"register"`
	// Events is the number of events of the register.
	Events int `json:"events"`
	// Replayed is the log's value, Quoted the quote's.
	Replayed tdx.Digest `json:"replayed"`
	Quoted   tdx.Digest `json:"quoted"`
	// Matched is how many events lead to the quoted value; -1 when no prefix of the log does.
	Matched int `json:"matched"`
}

// OK reports that log and quote agree on the register.
func (r Result) OK() bool { return r.Replayed == r.Quoted }

// String says what the comparison found.
func (r Result) String() string {
	switch {
	case r.OK():
		return fmt.Sprintf("%s matches after %d events", r.Register, r.Events)
	case r.Matched >= 0:
		return fmt.Sprintf("%s differs: the quote was made after event %d of %d, the rest was never extended or came later",
			r.Register, r.Matched, r.Events)
	}
	return fmt.Sprintf("%s differs after the last event (%d): events after the end of the log, or missing or altered events",
		r.Register, r.Events)
}

// Compare replays a TD log and compares it with quoted registers, one by one: a log can match in some and, because
// the kernel may extend after the log ends, not in others.
func (l *Log) Compare(quoted [4]tdx.Digest) ([]Result, error) {
	replayed, err := l.RTMRs()
	if err != nil {
		return nil, err
	}
	results := make([]Result, 0, len(quoted))
	for i, q := range quoted {
		r := Result{Register: tdx.RTMR0 + tdx.Register(i), Replayed: replayed[i], Quoted: q, Matched: -1}
		events := l.Register(uint32(r.Register))
		r.Events = len(events)
		var value tdx.Digest
		for n := 0; ; n++ {
			if value == q {
				r.Matched = n
			}
			if n == len(events) {
				break
			}
			value = value.Extend(tdx.Digest(events[n].Digest(SHA384)))
		}
		results = append(results, r)
	}
	return results, nil
}

// Register lists the events that extend one register, in order.
func (l *Log) Register(index uint32) []*Event {
	var events []*Event
	for i := range l.Events {
		if e := &l.Events[i]; e.Index == index && e.Type != NoAction {
			events = append(events, e)
		}
	}
	return events
}
