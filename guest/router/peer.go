package router

import (
	"net"
	"net/netip"

	"cocoon/contracts/wire"
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

// MeasurementsOf is the registers of a preamble's report, for whoever judges a peer behind a router. Its image hash is
// tdx.PublishableHash's to give: that refuses a report of zeros.
func MeasurementsOf(r *wire.TDXReport) *tdx.Measurements {
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
