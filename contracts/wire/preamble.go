package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// Preamble frame, attestation.md section 7.
const (
	// maxPreamble bounds the body, for readers and writers, as in the reference.
	maxPreamble = 16536
	// minPreamble is below every preamble and above the first frame of a stream without one (12 bytes).
	minPreamble = 100
	// frameHead is the length in front of the body: u32, little-endian.
	frameHead = 4
	// maxAddressText bounds the text of an IP address; the longest has 45 bytes.
	maxAddressText = 45

	// The first word of the body: 0 and 1 are Dec 2025 without and with a report, 2 is Apr 2026.
	wordNone, wordSome, wordApr = 0, 1, 2
	// The second word: which report follows. 1 means SGX in Dec 2025 and SEV-SNP in Apr 2026.
	variantTDX, variantOther = 0, 1
)

var (
	// ErrPreamble marks every refusal of a preamble's bytes.
	ErrPreamble = errors.New("attestation preamble")
	// ErrNoPreamble is the refusal of a stream that begins with something else: the router runs without --serialize-info.
	ErrNoPreamble = fmt.Errorf("%w: the stream begins with something shorter than any preamble (does the router run with --serialize-info?)", ErrPreamble)
)

// Generation is which of the reference's two layouts a preamble has.
type Generation uint8

// The generations. The live network runs Apr2026, and it is what the zero value means.
const (
	Apr2026 Generation = iota
	Dec2025
)

// String is the word of the router's --preamble.
func (g Generation) String() string {
	switch g {
	case Apr2026:
		return "apr"
	case Dec2025:
		return "dec"
	default:
		return fmt.Sprintf("generation %d", uint8(g))
	}
}

// ParseGeneration reads the word of the router's --preamble.
func ParseGeneration(word string) (Generation, error) {
	for _, g := range []Generation{Apr2026, Dec2025} {
		if word == g.String() {
			return g, nil
		}
	}
	return 0, fmt.Errorf("preamble %q is none of apr, dec", word)
}

// TDXReport is what a preamble tells of a TDX peer.
type TDXReport struct {
	MRTD, MRConfigID, MROwner, MROwnerConfig [48]byte
	RTMR                                     [4][48]byte
	ReportData                               [64]byte
	// CollateralRoot is the key id of the root the peer's quote chains to; zero when no quote was verified. The reader
	// must compare it with the roots it allows: this is what keeps a simulated quote out behind a careless router.
	CollateralRoot [48]byte
}

// SGXReport is what a Dec 2025 preamble tells of an SGX peer.
type SGXReport struct {
	MRENCLAVE      [32]byte
	ReportData     [64]byte
	CollateralRoot [48]byte
}

// SEVReport is what an Apr 2026 preamble tells of a SEV-SNP peer. Nothing here verifies such a peer.
type SEVReport struct {
	Measurement [48]byte
	ReportData  [64]byte
}

// Preamble says who the peer of the stream that follows is. At most one report is set; none means that the peer is not
// attested, which both generations write as zeros and no caller here ever sees as a report.
//
// It is not authenticated: whoever can reach the inner port can write one.
type Preamble struct {
	TDX *TDXReport
	SGX *SGXReport
	SEV *SEVReport
	// PeerKey is the peer's Ed25519 key.
	PeerKey [32]byte
	// Source is where the stream began, Destination where it leads: remote peer and inner service behind a reverse
	// listener, local app and remote peer before a forward one.
	Source, Destination netip.AddrPort
}

// Attested tells a peer with a report from one without.
func (p *Preamble) Attested() bool { return p.TDX != nil || p.SGX != nil || p.SEV != nil }

// Append appends the frame, length included, in the layout of generation g.
func (p *Preamble) Append(dst []byte, g Generation) ([]byte, error) {
	start := len(dst)
	dst = append(dst, make([]byte, frameHead)...)
	dst, err := p.appendReport(dst, g)
	if err != nil {
		return nil, fmt.Errorf("writing %w: %w", ErrPreamble, err)
	}
	dst = AppendBytes(dst, p.PeerKey[:])
	for _, end := range []netip.AddrPort{p.Source, p.Destination} {
		if !end.Addr().IsValid() {
			return nil, fmt.Errorf("writing %w: source %v, destination %v: an address is missing", ErrPreamble, p.Source, p.Destination)
		}
		dst = AppendBytes(dst, end.Addr().WithZone("").String())
		dst = AppendInt(dst, int32(end.Port()))
	}
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-frameHead)) //nolint:gosec // at most a few hundred bytes
	return dst, nil
}

// check lists what generation g cannot say.
func (p *Preamble) check(g Generation) error {
	for _, rule := range []struct {
		broken bool
		what   string
	}{
		{g != Apr2026 && g != Dec2025, g.String() + " is unknown"},
		{!p.one(), "more than one report is set"},
		{p.TDX != nil && *p.TDX == (TDXReport{}), "a report of zeros means a peer that is not attested: set none"},
		{g == Apr2026 && p.SGX != nil, "apr has no SGX report"},
		{g == Dec2025 && p.SEV != nil, "dec has no SEV-SNP report"},
	} {
		if rule.broken {
			return errors.New(rule.what)
		}
	}
	return nil
}

func (p *Preamble) appendReport(dst []byte, g Generation) ([]byte, error) {
	if err := p.check(g); err != nil {
		return nil, err
	}
	switch {
	case g == Apr2026:
		dst = AppendInt(dst, wordApr)
	case p.Attested():
		dst = AppendInt(dst, wordSome)
	default:
		return append(AppendInt(dst, wordNone), make([]byte, 48)...), nil
	}
	switch {
	case p.SGX != nil:
		dst = AppendInt(dst, variantOther)
		dst = append(append(dst, p.SGX.MRENCLAVE[:]...), p.SGX.ReportData[:]...)
		return append(dst, p.SGX.CollateralRoot[:]...), nil
	case p.SEV != nil:
		dst = AppendInt(dst, variantOther)
		return append(append(dst, p.SEV.Measurement[:]...), p.SEV.ReportData[:]...), nil
	case p.TDX == nil:
		return (&TDXReport{}).append(AppendInt(dst, variantTDX)), nil
	default:
		return p.TDX.append(AppendInt(dst, variantTDX)), nil
	}
}

func (p *Preamble) one() bool {
	n := 0
	for _, set := range []bool{p.TDX != nil, p.SGX != nil, p.SEV != nil} {
		if set {
			n++
		}
	}
	return n <= 1
}

// fields lists the report in wire order.
func (r *TDXReport) fields() [][]byte {
	return [][]byte{
		r.MRTD[:], r.MRConfigID[:], r.MROwner[:], r.MROwnerConfig[:],
		r.RTMR[0][:], r.RTMR[1][:], r.RTMR[2][:], r.RTMR[3][:], r.ReportData[:], r.CollateralRoot[:],
	}
}

func (r *TDXReport) append(dst []byte) []byte {
	for _, f := range r.fields() {
		dst = append(dst, f...)
	}
	return dst
}

// ReadPreamble reads one frame and not a byte more. The caller sets the deadline (10 s) on what r reads from.
func ReadPreamble(r io.Reader) (*Preamble, Generation, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, 0, fmt.Errorf("reading %w: length: %w", ErrPreamble, err)
	}
	n := binary.LittleEndian.Uint32(head[:])
	switch {
	case n < minPreamble:
		return nil, 0, fmt.Errorf("reading %w: %d bytes announced", ErrNoPreamble, n)
	case n > maxPreamble:
		return nil, 0, fmt.Errorf("reading %w: %d bytes announced, at most %d", ErrPreamble, n, maxPreamble)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return nil, 0, fmt.Errorf("reading %w: body of %d bytes: %w", ErrPreamble, n, err)
	}
	return ParsePreamble(body)
}

// ParsePreamble parses a body, without the length in front of it, of either generation.
func ParsePreamble(body []byte) (*Preamble, Generation, error) {
	c := NewCursor(body)
	p := new(Preamble)
	g := p.readReport(c)
	if key := c.Bytes(len(p.PeerKey)); c.Err() == nil && len(key) != len(p.PeerKey) {
		c.Fail("peer key of %d bytes, want %d", len(key), len(p.PeerKey))
	} else {
		copy(p.PeerKey[:], key)
	}
	p.Source = readEndpoint(c, "source")
	p.Destination = readEndpoint(c, "destination")
	if err := c.End(); err != nil {
		return nil, 0, fmt.Errorf("parsing %w: %w", ErrPreamble, err)
	}
	return p, g, nil
}

func (p *Preamble) readReport(c *Cursor) Generation {
	switch first := c.Int(); first {
	case wordNone:
		var root [48]byte
		if c.Fill(root[:]); root != [48]byte{} {
			c.Fail("a collateral root without a report")
		}
		return Dec2025
	case wordSome:
		p.readVariant(c, Dec2025)
		return Dec2025
	case wordApr:
		p.readVariant(c, Apr2026)
	default:
		c.Fail("first word %d is none of 0, 1, 2", first)
	}
	return Apr2026
}

func (p *Preamble) readVariant(c *Cursor, g Generation) {
	switch variant := c.Int(); {
	case variant == variantTDX:
		p.TDX = new(TDXReport)
		for _, f := range p.TDX.fields() {
			c.Fill(f)
		}
		p.dropZeros(c, g)
	case variant == variantOther && g == Dec2025:
		p.SGX = new(SGXReport)
		c.Fill(p.SGX.MRENCLAVE[:])
		c.Fill(p.SGX.ReportData[:])
		c.Fill(p.SGX.CollateralRoot[:])
	case variant == variantOther:
		p.SEV = new(SEVReport)
		c.Fill(p.SEV.Measurement[:])
		c.Fill(p.SEV.ReportData[:])
	default:
		c.Fail("report variant %d is none of 0, 1", variant)
	}
}

// dropZeros turns the report of zeros, which is how Apr 2026 writes a peer without attestation, into none. Dec 2025 has
// a word for that, so there it is an error.
func (p *Preamble) dropZeros(c *Cursor, g Generation) {
	rest := *p.TDX
	rest.CollateralRoot = [48]byte{}
	switch {
	case rest != TDXReport{}:
	case g == Dec2025 || p.TDX.CollateralRoot != [48]byte{}:
		c.Fail("a report of zeros")
	default:
		p.TDX = nil
	}
}

func readEndpoint(c *Cursor, which string) netip.AddrPort {
	text, port := c.String(maxAddressText), c.Int()
	if c.Err() != nil {
		return netip.AddrPort{}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil || addr.Zone() != "" {
		c.Fail("%s %q is not an IP address", which, text)
		return netip.AddrPort{}
	}
	if port < 0 || port > 65535 {
		c.Fail("%s port %d is not in 0..65535", which, port)
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr, uint16(port))
}
