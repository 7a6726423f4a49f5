// Package netcfg brings the guest's network up: loopback always, then the first Ethernet interface by DHCPv4 or from
// the static values of the runtime section, then resolv.conf (image.md section 15).
//
// It owns addresses, routes and the resolver file of PID 1's network namespace. It trusts nothing it hears: the
// runtime section and DHCP answers come from the host, they give connectivity and no more, and every name or address
// in them is checked before it is written. Configure is called once. It refuses IPv6 router advertisements, leases
// without an address, and waiting without a deadline. It opens and filters no port: default-deny inbound is a later
// step, until then no service may listen on an outside address before the router does.
package netcfg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"cocoon/guest/config"
)

const (
	// maxDNS is how many resolvers the C library uses (resolv.conf(5), MAXNS).
	maxDNS = 3
	// maxRoutes bounds the classless routes taken from a lease.
	maxRoutes = 16
	loopback  = "lo"
	// ResolvConf is read by services through a read-only bind.
	ResolvConf = "/etc/resolv.conf"
)

// ErrNoInterface means that the machine has no Ethernet interface.
var ErrNoInterface = errors.New("no network interface")

// Route is one route through the interface. A zero Gateway means that the destination is on the link.
type Route struct {
	Dst     netip.Prefix
	Gateway netip.Addr
}

// Lease is what the interface gets, whoever says so.
type Lease struct {
	Address netip.Prefix
	Routes  []Route
	DNS     []netip.Addr
}

// Links changes the kernel's interfaces; Netlink is the real one.
type Links interface {
	// Ethernet lists the names of Ethernet interfaces, in index order.
	Ethernet() ([]string, error)
	// Up brings an interface up.
	Up(name string) error
	// Apply gives an interface its address and routes.
	Apply(name string, l Lease) error
}

// Configurer brings the network up.
type Configurer struct {
	Links Links
	// Acquire asks a DHCPv4 server for a lease until ctx ends.
	Acquire func(ctx context.Context, ifname string) (Lease, error)
	// Root is put in front of the sysctl and resolver paths.
	Root string
}

// Report says what was configured, for the stage's status.
type Report struct {
	Mode      string
	Interface string
	Address   string
	DNS       []string
}

// Configure brings the loopback interface up and, unless the mode is none, the first Ethernet interface.
func (c Configurer) Configure(ctx context.Context, n config.Network) (Report, error) {
	if err := c.Links.Up(loopback); err != nil {
		return Report{}, fmt.Errorf("bringing %s up: %w", loopback, err)
	}
	if n.Mode == config.NoNetwork {
		return Report{Mode: n.Mode}, nil
	}
	ifname, err := c.first()
	if err != nil {
		return Report{}, err
	}
	if err := c.refuseAdvertisements(ifname); err != nil {
		return Report{}, err
	}
	if err := c.Links.Up(ifname); err != nil {
		return Report{}, fmt.Errorf("bringing %s up: %w", ifname, err)
	}
	lease, err := c.lease(ctx, ifname, n)
	if err != nil {
		return Report{}, err
	}
	if err := c.Links.Apply(ifname, lease); err != nil {
		return Report{}, fmt.Errorf("configuring %s: %w", ifname, err)
	}
	if err := c.writeResolvers(lease.DNS); err != nil {
		return Report{}, err
	}
	return Report{Mode: n.Mode, Interface: ifname, Address: lease.Address.String(), DNS: texts(lease.DNS)}, nil
}

func (c Configurer) first() (string, error) {
	names, err := c.Links.Ethernet()
	if err != nil {
		return "", fmt.Errorf("listing network interfaces: %w", err)
	}
	if len(names) == 0 {
		return "", fmt.Errorf("%w: attach a virtio-net device or set network.mode to none", ErrNoInterface)
	}
	return names[0], nil
}

// refuseAdvertisements turns IPv6 autoconfiguration off before the link comes up: anybody on the link can send it.
func (c Configurer) refuseAdvertisements(ifname string) error {
	for _, key := range []string{"accept_ra", "autoconf", "accept_redirects"} {
		path := filepath.Join(c.Root, "/proc/sys/net/ipv6/conf", ifname, key)
		if err := os.WriteFile(path, []byte("0"), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("setting %s of %s: %w", key, ifname, err)
		}
	}
	return nil
}

func (c Configurer) lease(ctx context.Context, ifname string, n config.Network) (Lease, error) {
	var lease Lease
	var err error
	if n.Mode == config.Static {
		lease, err = staticLease(n)
	} else {
		lease, err = c.Acquire(ctx, ifname)
	}
	if err != nil {
		return Lease{}, fmt.Errorf("configuring %s by %s: %w", ifname, n.Mode, err)
	}
	if len(n.DNS) > 0 { // the operator's resolvers replace the lease's
		if lease.DNS, err = addresses(n.DNS); err != nil {
			return Lease{}, err
		}
	}
	return lease, nil
}

func staticLease(n config.Network) (Lease, error) {
	addr, err := netip.ParsePrefix(n.Address)
	if err != nil {
		return Lease{}, fmt.Errorf("reading network.address: %w", err)
	}
	lease := Lease{Address: addr}
	if n.Gateway == "" {
		return lease, nil
	}
	gw, err := netip.ParseAddr(n.Gateway)
	if err != nil {
		return Lease{}, fmt.Errorf("reading network.gateway: %w", err)
	}
	lease.Routes = []Route{{Dst: defaultRoute(gw), Gateway: gw}}
	return lease, nil
}

func defaultRoute(gw netip.Addr) netip.Prefix {
	if gw.Is4() {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
	}
	return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
}

func (c Configurer) writeResolvers(dns []netip.Addr) error {
	var buf bytes.Buffer
	for _, a := range dns[:min(len(dns), maxDNS)] {
		buf.WriteString("nameserver " + a.String() + "\n")
	}
	path := filepath.Join(c.Root, ResolvConf)
	if err := os.WriteFile(path, buf.Bytes(), 0o644); err != nil {
		return fmt.Errorf("writing resolvers: %w", err)
	}
	return nil
}

func addresses(values []string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, v := range values {
		a, err := netip.ParseAddr(v)
		if err != nil {
			return nil, fmt.Errorf("reading network.dns: %w", err)
		}
		out = append(out, a)
	}
	return out, nil
}

func texts(addrs []netip.Addr) []string {
	out := make([]string, 0, len(addrs))
	for _, a := range addrs {
		out = append(out, a.String())
	}
	return out
}

// hostAddr converts a library's address and drops what cannot be one host.
func hostAddr(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	a = a.Unmap()
	return a, ok && !a.IsUnspecified() && !a.IsMulticast() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// String is for logs.
func (r Report) String() string {
	return strings.TrimSpace(r.Mode + " " + r.Interface + " " + r.Address)
}
