package eventlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

const (
	// maxLog bounds a log buffer; OVMF reserves 64 KiB, GCE 256 KiB.
	maxLog = 4 << 20
	// maxEvents bounds the records; the longest log seen has a few hundred.
	maxEvents = 1 << 16
	// maxAlgorithms bounds the banks of a log.
	maxAlgorithms = 8
	// maxDigest bounds the digest size of an unregistered algorithm.
	maxDigest = 128
)

// First record: an event in the old format (TCG PC Client Platform Firmware Profile, TCG_PCClientPCREvent) whose data
// is a TCG_EfiSpecIDEvent.
const (
	oldDigestSize   = 20
	specSignature   = "Spec ID Event03\x00"
	specVersionSize = 4 + 4 // u32 platform class, u8 minor, major, errata, uintn size
	endMarker       = 0xffffffff
)

var errTruncated = errors.New("the log ends inside it")

// Parse reads a crypto-agile log. The buffer may be longer than the log: an index of 0xffffffff, a record of zeroes or
// the end of the buffer ends it.
func Parse(data []byte, kind Kind) (*Log, error) {
	if len(data) > maxLog {
		return nil, fmt.Errorf("reading event log: %d bytes, at most %d", len(data), maxLog)
	}
	p := parser{data: data}
	sizes, err := p.header()
	if err != nil {
		return nil, fmt.Errorf("reading event log: first record: %w", err)
	}
	log := &Log{Kind: kind}
	for _, s := range sizes {
		log.Algorithms = append(log.Algorithms, s.algorithm)
	}
	for !p.atEnd() {
		if len(log.Events) == maxEvents {
			return nil, fmt.Errorf("reading event log: more than %d events", maxEvents)
		}
		e, err := p.event(kind, sizes)
		if err != nil {
			return nil, fmt.Errorf("reading event log: event %d at byte %d: %w", len(log.Events), e.Offset, err)
		}
		log.Events = append(log.Events, e)
	}
	log.Size = p.off
	return log, nil
}

type digestSize struct {
	algorithm Algorithm
	size      int
}

// parser is a cursor that returns errors instead of reading past the end.
type parser struct {
	data []byte
	off  int
}

func (p *parser) take(n int) ([]byte, error) {
	if n < 0 || n > len(p.data)-p.off { // negative where a u32 does not fit an int
		return nil, errTruncated
	}
	end := p.off + n
	out := p.data[p.off:end:end]
	p.off = end
	return out, nil
}

func (p *parser) u32() (uint32, error) {
	b, err := p.take(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (p *parser) u16() (uint16, error) {
	b, err := p.take(2)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint16(b), nil
}

// atEnd looks for an end marker: no byte left, 0xffffffff, or index and type both zero. A rest too short for those two
// fields is padding when it is uniform.
func (p *parser) atEnd() bool {
	rest := p.data[p.off:]
	head := rest[:min(8, len(rest))]
	if len(rest) >= 4 && binary.LittleEndian.Uint32(rest) == endMarker {
		return true
	}
	return len(bytes.Trim(head, "\x00")) == 0 || len(head) < 4 && len(bytes.Trim(head, "\xff")) == 0
}

func (p *parser) header() ([]digestSize, error) {
	if _, err := p.u32(); err != nil { // the index differs between VMMs and means nothing here
		return nil, err
	}
	kind, err := p.u32()
	if err != nil {
		return nil, err
	}
	if EventType(kind) != NoAction {
		return nil, fmt.Errorf("type is %s, want NO_ACTION: not a crypto-agile log", EventType(kind))
	}
	if _, err := p.take(oldDigestSize); err != nil {
		return nil, err
	}
	size, err := p.u32()
	if err != nil {
		return nil, err
	}
	data, err := p.take(int(size))
	if err != nil {
		return nil, err
	}
	return parseSpecID(data)
}

func parseSpecID(data []byte) ([]digestSize, error) {
	p := parser{data: data}
	signature, err := p.take(len(specSignature))
	if err != nil || string(signature) != specSignature {
		return nil, fmt.Errorf("signature is %.16q, want %q: not a crypto-agile log", data, specSignature)
	}
	if _, err := p.take(specVersionSize); err != nil {
		return nil, err
	}
	count, err := p.u32()
	if err != nil {
		return nil, err
	}
	if count == 0 || count > maxAlgorithms {
		return nil, fmt.Errorf("%d algorithms, want 1..%d", count, maxAlgorithms)
	}
	sizes := make([]digestSize, 0, count)
	for range count {
		s, err := p.digestSize()
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(sizes, func(o digestSize) bool { return o.algorithm == s.algorithm }) {
			return nil, fmt.Errorf("%s is announced twice", s.algorithm)
		}
		sizes = append(sizes, s)
	}
	vendor, err := p.take(1)
	if err != nil {
		return nil, err
	}
	if _, err := p.take(int(vendor[0])); err != nil {
		return nil, err
	}
	if rest := len(data) - p.off; rest != 0 {
		return nil, fmt.Errorf("%d bytes follow the vendor information", rest)
	}
	return sizes, nil
}

func (p *parser) digestSize() (digestSize, error) {
	algorithm, err := p.u16()
	if err != nil {
		return digestSize{}, err
	}
	size, err := p.u16()
	if err != nil {
		return digestSize{}, err
	}
	s := digestSize{algorithm: Algorithm(algorithm), size: int(size)}
	if want := s.algorithm.size(); want != 0 && s.size != want || s.size == 0 || s.size > maxDigest {
		return digestSize{}, fmt.Errorf("%s has %d-byte digests", s.algorithm, s.size)
	}
	return s, nil
}

func (p *parser) event(kind Kind, sizes []digestSize) (Event, error) {
	e := Event{Offset: p.off}
	var err error
	if e.Index, err = p.u32(); err != nil {
		return e, err
	}
	if e.Index > kind.maxIndex() {
		return e, fmt.Errorf("register index %d, at most %d", e.Index, kind.maxIndex())
	}
	eventType, err := p.u32()
	if err != nil {
		return e, err
	}
	e.Type = EventType(eventType)
	if e.Digests, err = p.digests(sizes); err != nil {
		return e, err
	}
	size, err := p.u32()
	if err != nil {
		return e, err
	}
	e.Data, err = p.take(int(size))
	return e, err
}

func (p *parser) digests(sizes []digestSize) ([]Digest, error) {
	count, err := p.u32()
	if err != nil {
		return nil, err
	}
	if int64(count) > int64(len(sizes)) {
		return nil, fmt.Errorf("%d digests in a log of %d algorithms", count, len(sizes))
	}
	digests := make([]Digest, 0, count)
	for range count {
		algorithm, err := p.u16()
		if err != nil {
			return nil, err
		}
		d := Digest{Algorithm: Algorithm(algorithm)}
		i := slices.IndexFunc(sizes, func(s digestSize) bool { return s.algorithm == d.Algorithm })
		if i < 0 {
			return nil, fmt.Errorf("%s was not announced", d.Algorithm)
		}
		if slices.ContainsFunc(digests, func(o Digest) bool { return o.Algorithm == d.Algorithm }) {
			return nil, fmt.Errorf("two %s digests", d.Algorithm)
		}
		if d.Value, err = p.take(sizes[i].size); err != nil {
			return nil, err
		}
		digests = append(digests, d)
	}
	return digests, nil
}
