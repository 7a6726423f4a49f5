package router

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	"cocoon/contracts/wire"
	"cocoon/measure/dcap"
	"cocoon/measure/ratls"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/tdx"
)

// preambleOf says who a peer is, for the service behind the router. source and destination are the ends of the whole
// way.
func preambleOf(p *ratls.Peer, source, destination netip.AddrPort) *wire.Preamble {
	out := &wire.Preamble{PeerKey: p.Key, Source: source, Destination: destination}
	switch {
	case p.Report != nil && p.Report.TD != nil:
		out.TDX = ReportOf(&p.Report.TD.Measurements)
		out.TDX.ReportData, out.TDX.CollateralRoot = p.Report.TD.ReportData, p.Root
	case p.Verdict.Fake: // zero registers and no root: the reference's form of evidence that proves nothing
		out.TDX = &wire.TDXReport{ReportData: cert.ReportData(p.Key)}
	}
	return out
}

// ReportOf is the registers of m in a preamble's form, without report data and root.
func ReportOf(m *tdx.Measurements) *wire.TDXReport {
	return &wire.TDXReport{
		MRTD: m.MRTD, MRConfigID: m.MRConfigID, MROwner: m.MROwner, MROwnerConfig: m.MROwnerConfig,
		RTMR: [4][48]byte{m.RTMR[0], m.RTMR[1], m.RTMR[2], m.RTMR[3]},
	}
}

// IntroducedImage is the image of the peer whom a router's preamble names, for a service that trusts quotes below roots. The
// error says why such a peer counts as one without attestation. The root is compared because the service cannot see the
// router's policies: a router that admits simulated platforms by mistake would speak for them (attestation.md section 7).
func IntroducedImage(p *wire.Preamble, roots []dcap.RootID) (tdx.Hash, error) {
	switch {
	case p.TDX == nil && p.Attested():
		return tdx.Hash{}, errors.New("the router tells of evidence of another kind than TDX")
	case p.TDX == nil:
		return tdx.Hash{}, errors.New("the router tells of no evidence")
	}
	hash, err := tdx.PublishableHash(measurementsOf(p.TDX)) // which refuses a report of zeros
	switch {
	case err != nil:
		return tdx.Hash{}, fmt.Errorf("the router tells of measurements that mean nothing: %w", err)
	case !slices.Contains(roots, dcap.RootID(p.TDX.CollateralRoot)):
		return tdx.Hash{}, fmt.Errorf("the router has verified its quote below the root %x, which is not trusted here", p.TDX.CollateralRoot)
	}
	return hash, nil
}

func measurementsOf(r *wire.TDXReport) *tdx.Measurements {
	return &tdx.Measurements{
		MRTD: r.MRTD, MRConfigID: r.MRConfigID, MROwner: r.MROwner, MROwnerConfig: r.MROwnerConfig,
		RTMR: [4]tdx.Digest{r.RTMR[0], r.RTMR[1], r.RTMR[2], r.RTMR[3]},
	}
}

// addressOf is the address of one end; what is not TCP has the unspecified one.
func addressOf(a net.Addr) netip.AddrPort {
	if tcp, ok := a.(*net.TCPAddr); ok {
		at := tcp.AddrPort()
		return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
}
