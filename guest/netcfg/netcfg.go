// Package netcfg brings the guest's network up: the packet filter first, then the loopback, then the first Ethernet
// interface by DHCPv4 or from the static values of the runtime section, then resolv.conf (image.md section 15). A lease
// that ends is kept alive in the background until power-off.
//
// It owns addresses, routes and the resolver file of PID 1's network namespace. It trusts nothing it hears: the
// runtime section and DHCP answers come from the host, they give connectivity and no more, and every name or address
// in them is checked before it is written. Configure is called once; the task it hands to Background runs beside
// everything else and is the only one that touches the interface afterwards. It refuses IPv6 router advertisements,
// leases without an address, waiting without a deadline, and any interface before the packet filter is applied.
package netcfg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

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

var (
	// ErrNoInterface means that the machine has no Ethernet interface.
	ErrNoInterface = errors.New("no network interface")
	// ErrRefused means that a DHCP server took an address back.
	ErrRefused = errors.New("the server refuses the address")

	errNoFilter = errors.New("no packet filter is given: the network stays down")
)

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
	// Server is the DHCP server that gave the lease.
	Server netip.Addr
	// Times is when the lease is to be renewed; the zero value means that it never ends.
	Times Times
}

// Times are the ages of a lease at which its holder has to act (RFC 2131 section 4.4.5).
type Times struct {
	// Renew is T1, when its server is asked; Rebind is T2, when every server is.
	Renew, Rebind time.Duration
	// Expire is when the address must no longer be used.
	Expire time.Duration
}

// Links changes the kernel's interfaces; Netlink is the real one.
type Links interface {
	// Ethernet lists the names of Ethernet interfaces, in index order.
	Ethernet() ([]string, error)
	// Up brings an interface up.
	Up(name string) error
	// Apply gives an interface its address and routes.
	Apply(name string, l Lease) error
	// Remove takes routes and, if it is valid, the address away; what is not there is no error.
	Remove(name string, l Lease) error
}

// DHCP asks DHCPv4 servers; Client is the real one. Answers are checked, but they are the host's words.
type DHCP interface {
	// Acquire asks for a new lease until ctx ends.
	Acquire(ctx context.Context, ifname string) (Lease, error)
	// Extend asks for a lease to go on: the server that gave it or, with everyone, any server on the link. ErrRefused
	// means that the address must no longer be used.
	Extend(ctx context.Context, ifname string, l Lease, everyone bool) (Lease, error)
}

// Configurer brings the network up.
type Configurer struct {
	Links Links
	DHCP  DHCP
	// Filter applies the packet filter; there is no network without one.
	Filter func() error
	// Background runs a task until power-off. It is asked to keep a lease that ends.
	Background func(name string, run func(ctx context.Context) error)
	Log        *slog.Logger
	Now        func() time.Time
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

// Configure applies the packet filter, then brings the loopback interface up and, unless the mode is none, the first
// Ethernet interface.
func (c Configurer) Configure(ctx context.Context, n config.Network) (Report, error) {
	if c.Filter == nil {
		return Report{}, errNoFilter
	}
	if err := c.Filter(); err != nil {
		return Report{}, fmt.Errorf("applying the packet filter: %w", err)
	}
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
	if lease.Times.Expire > 0 {
		c.Background(keeperTask, newKeeper(c, ifname, n, lease).Run)
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
		lease, err = c.DHCP.Acquire(ctx, ifname)
	}
	if err == nil {
		lease, err = withResolvers(lease, n)
	}
	if err != nil {
		return Lease{}, fmt.Errorf("configuring %s by %s: %w", ifname, n.Mode, err)
	}
	return lease, nil
}

// withResolvers replaces the lease's resolvers by the operator's, if there are any.
func withResolvers(l Lease, n config.Network) (Lease, error) {
	if len(n.DNS) == 0 {
		return l, nil
	}
	var err error
	l.DNS, err = addresses(n.DNS)
	return l, err
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
