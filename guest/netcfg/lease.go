package netcfg

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// minLease is the shortest lease that is taken at its word.
const minLease = 2 * time.Minute

// leaseOf takes address, routes, resolvers and times from an answer and nothing else of it: no boot file, no domain, no
// host name.
func leaseOf(p *dhcpv4.DHCPv4) (Lease, error) {
	if p == nil {
		return Lease{}, errors.New("the answer is not a DHCPv4 packet")
	}
	addr, ok := hostAddr(p.YourIPAddr)
	if !ok || !addr.Is4() {
		return Lease{}, fmt.Errorf("the lease's address %s is not the address of one host", p.YourIPAddr)
	}
	bits, ok := maskBits(p.SubnetMask())
	if !ok {
		return Lease{}, fmt.Errorf("the lease's subnet mask %s is not contiguous", p.SubnetMask())
	}
	lease := Lease{Address: netip.PrefixFrom(addr, bits), Routes: routesOf(p), Times: timesOf(p)}
	lease.Server, _ = hostAddr(p.ServerIdentifier())
	for _, ip := range p.DNS() {
		if a, ok := hostAddr(ip); ok && len(lease.DNS) < maxDNS {
			lease.DNS = append(lease.DNS, a)
		}
	}
	return lease, nil
}

// timesOf reads when the lease ends and when to renew it. Times out of order are replaced by the defaults of RFC 2131
// section 4.4.5, and a lease of seconds counts as one of minLease, so that no server can keep the guest busy.
func timesOf(p *dhcpv4.DHCPv4) Times {
	const forever = 0xffffffff * time.Second // RFC 2131 section 3.3
	lease := p.IPAddressLeaseTime(forever)
	if lease >= forever {
		return Times{}
	}
	lease = max(lease, minLease)
	t := Times{Renew: p.IPAddressRenewalTime(lease / 2), Rebind: p.IPAddressRebindingTime(lease / 8 * 7), Expire: lease}
	if t.Renew < minLease/2 || t.Rebind <= t.Renew || t.Expire <= t.Rebind {
		t.Renew, t.Rebind = lease/2, lease/8*7
	}
	return t
}

// maskBits is the prefix length; without a mask the address stands alone.
func maskBits(mask net.IPMask) (int, bool) {
	if mask == nil {
		return 32, true
	}
	ones, size := mask.Size()
	return ones, size == 32
}

// routesOf prefers classless routes: RFC 3442 says that the router option is then ignored.
func routesOf(p *dhcpv4.DHCPv4) []Route {
	var out []Route
	classless := p.ClasslessStaticRoute()
	for _, r := range classless[:min(len(classless), maxRoutes)] {
		if r == nil || r.Dest == nil {
			continue
		}
		dst, ok := netip.AddrFromSlice(r.Dest.IP.To4())
		bits, okMask := maskBits(r.Dest.Mask)
		if !ok || !okMask {
			continue
		}
		gw, _ := netip.AddrFromSlice(r.Router.To4())
		if gw.IsUnspecified() {
			gw = netip.Addr{} // RFC 3442: router 0.0.0.0 means that the destination is on the link
		}
		out = append(out, Route{Dst: netip.PrefixFrom(dst, bits).Masked(), Gateway: gw})
	}
	if len(out) > 0 {
		return out
	}
	for _, ip := range p.Router() {
		if gw, ok := hostAddr(ip); ok && gw.Is4() {
			return []Route{{Dst: defaultRoute(gw), Gateway: gw}}
		}
	}
	return nil
}
