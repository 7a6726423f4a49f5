package netcfg

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Netlink changes interfaces through rtnetlink.
type Netlink struct{}

// Ethernet lists interfaces that are devices with a hardware address, in index order: the loopback and tunnels that
// the kernel makes by itself are left out.
func (Netlink) Ethernet() ([]string, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, l := range links {
		a := l.Attrs()
		if l.Type() == "device" && a.Flags&net.FlagLoopback == 0 && len(a.HardwareAddr) > 0 {
			out = append(out, a.Name)
		}
	}
	return out, nil
}

// Up brings an interface up.
func (Netlink) Up(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(link)
}

// Apply gives an interface its address and routes. Link routes go first, because gateways may be reached through them.
func (Netlink) Apply(name string, l Lease) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	if err := netlink.AddrReplace(link, &netlink.Addr{IPNet: ipNet(l.Address)}); err != nil {
		return fmt.Errorf("setting address %s: %w", l.Address, err)
	}
	for _, onLink := range []bool{true, false} {
		for _, r := range l.Routes {
			if r.Gateway.IsValid() == onLink {
				continue
			}
			if err := netlink.RouteReplace(route(link.Attrs().Index, r)); err != nil {
				return fmt.Errorf("setting route %s via %s: %w", r.Dst, r.Gateway, err)
			}
		}
	}
	return nil
}

// Remove takes routes away, then the address.
func (Netlink) Remove(name string, l Lease) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	var errs []error
	for _, r := range l.Routes {
		if err := netlink.RouteDel(route(link.Attrs().Index, r)); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("removing route %s via %s: %w", r.Dst, r.Gateway, err))
		}
	}
	if l.Address.IsValid() {
		err := netlink.AddrDel(link, &netlink.Addr{IPNet: ipNet(l.Address)})
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			errs = append(errs, fmt.Errorf("removing address %s: %w", l.Address, err))
		}
	}
	return errors.Join(errs...)
}

func route(index int, r Route) *netlink.Route {
	out := &netlink.Route{LinkIndex: index, Dst: ipNet(r.Dst)}
	if r.Gateway.IsValid() {
		out.Gw = r.Gateway.AsSlice()
	} else {
		out.Scope = netlink.SCOPE_LINK
	}
	return out
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
