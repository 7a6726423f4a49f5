package netcfg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/u-root/u-root/pkg/dhclient"
	"github.com/vishvananda/netlink"
)

const (
	// dhcpTimeout is how long one DHCP attempt waits for an answer; attempts go on until the stage's deadline.
	dhcpTimeout = 3 * time.Second
	dhcpRetries = 10
	linkTimeout = 5 * time.Second
)

// AcquireDHCP asks for an IPv4 lease. The lease is applied by Configure, not by the library, so that one place writes
// addresses and the resolver file.
func AcquireDHCP(ctx context.Context, ifname string) (Lease, error) {
	link, err := netlink.LinkByName(ifname)
	if err != nil {
		return Lease{}, fmt.Errorf("finding interface: %w", err)
	}
	cfg := dhclient.Config{Timeout: dhcpTimeout, Retries: dhcpRetries}
	results := dhclient.SendRequests(ctx, []netlink.Link{link}, true, false, cfg, linkTimeout)
	select {
	case r, ok := <-results:
		switch {
		case !ok:
			return Lease{}, fmt.Errorf("the link did not come up within %s", linkTimeout)
		case r.Err != nil:
			return Lease{}, fmt.Errorf("asking for a lease: %w", r.Err)
		}
		packet, _ := r.Lease.Message()
		return leaseOf(packet)
	case <-ctx.Done():
		return Lease{}, fmt.Errorf("asking for a lease: %w", ctx.Err())
	}
}

// leaseOf takes address, routes and resolvers from an answer and nothing else of it: no boot file, no domain, no
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
	lease := Lease{Address: netip.PrefixFrom(addr, bits), Routes: routesOf(p)}
	for _, ip := range p.DNS() {
		if a, ok := hostAddr(ip); ok && len(lease.DNS) < maxDNS {
			lease.DNS = append(lease.DNS, a)
		}
	}
	return lease, nil
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
