package netcfg

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/vishvananda/netlink"

	"cocoon/guest/config"
)

// links notes what is done to the interfaces.
type links struct {
	names   []string
	calls   []string
	applied Lease
	fail    string
}

var errLink = errors.New("link error")

func (l *links) Ethernet() ([]string, error) { return l.names, nil }

func (l *links) Up(name string) error {
	l.calls = append(l.calls, "up "+name)
	if l.fail == "up "+name {
		return errLink
	}
	return nil
}

func (l *links) Apply(name string, lease Lease) error {
	l.calls = append(l.calls, "apply "+name)
	l.applied = lease
	if l.fail == "apply "+name {
		return errLink
	}
	return nil
}

func guestRoot(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"etc", "proc/sys/net/ipv6/conf/eth0"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root, "proc/sys/net/ipv6/conf/eth0/accept_ra"), []byte("1"), 0o600); err != nil {
		t.Fatal(err)
	}
	return root
}

func read(t *testing.T, root, name string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func leased(l Lease, err error) func(context.Context, string) (Lease, error) {
	return func(context.Context, string) (Lease, error) { return l, err }
}

func TestStaticConfiguration(t *testing.T) {
	l := &links{names: []string{"eth0", "eth1"}}
	root := guestRoot(t)
	c := Configurer{Links: l, Acquire: leased(Lease{}, errors.New("DHCP was asked")), Root: root}
	report, err := c.Configure(context.Background(), config.Network{
		Mode: config.Static, Address: "10.0.0.5/24", Gateway: "10.0.0.1", DNS: []string{"1.1.1.1", "fd00::1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Report{Mode: "static", Interface: "eth0", Address: "10.0.0.5/24", DNS: []string{"1.1.1.1", "fd00::1"}}, report); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"up lo", "up eth0", "apply eth0"}, l.calls); diff != "" {
		t.Error(diff)
	}
	want := []Route{{Dst: netip.MustParsePrefix("0.0.0.0/0"), Gateway: netip.MustParseAddr("10.0.0.1")}}
	if diff := cmp.Diff(want, l.applied.Routes, cmp.Comparer(func(a, b Route) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	if got := read(t, root, "etc/resolv.conf"); got != "nameserver 1.1.1.1\nnameserver fd00::1\n" {
		t.Errorf("resolv.conf = %q", got)
	}
	if got := read(t, root, "proc/sys/net/ipv6/conf/eth0/accept_ra"); got != "0" {
		t.Errorf("accept_ra = %q", got)
	}
}

func TestTheOperatorsResolversReplaceTheLeases(t *testing.T) {
	lease := Lease{Address: netip.MustParsePrefix("10.0.2.15/24"), DNS: []netip.Addr{netip.MustParseAddr("10.0.2.3")}}
	tests := map[string]struct {
		dns  []string
		want string
	}{
		"lease":    {nil, "nameserver 10.0.2.3\n"},
		"operator": {[]string{"1.1.1.1", "1.0.0.1", "8.8.8.8", "9.9.9.9"}, "nameserver 1.1.1.1\nnameserver 1.0.0.1\nnameserver 8.8.8.8\n"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			root := guestRoot(t)
			c := Configurer{Links: &links{names: []string{"eth0"}}, Acquire: leased(lease, nil), Root: root}
			if _, err := c.Configure(context.Background(), config.Network{Mode: config.DHCP, DNS: tc.dns}); err != nil {
				t.Fatal(err)
			}
			if got := read(t, root, "etc/resolv.conf"); got != tc.want {
				t.Errorf("resolv.conf = %q", got)
			}
		})
	}
}

func TestNoNetworkBringsOnlyLoopbackUp(t *testing.T) {
	l := &links{}
	report, err := Configurer{Links: l, Root: t.TempDir()}.Configure(context.Background(), config.Network{Mode: config.NoNetwork})
	if err != nil || report.Interface != "" || !cmp.Equal(l.calls, []string{"up lo"}) {
		t.Errorf("%+v, %v, %v", report, err, l.calls)
	}
}

func TestFailuresNameTheirStep(t *testing.T) {
	good := Lease{Address: netip.MustParsePrefix("10.0.2.15/24")}
	tests := map[string]struct {
		links *links
		lease error
		want  error
		text  string
	}{
		"no interface": {links: &links{}, want: ErrNoInterface, text: "attach"},
		"loopback":     {links: &links{names: []string{"eth0"}, fail: "up lo"}, want: errLink, text: "bringing lo up"},
		"link":         {links: &links{names: []string{"eth0"}, fail: "up eth0"}, want: errLink, text: "bringing eth0 up"},
		"lease":        {links: &links{names: []string{"eth0"}}, lease: context.DeadlineExceeded, want: context.DeadlineExceeded, text: "eth0 by dhcp"},
		"address":      {links: &links{names: []string{"eth0"}, fail: "apply eth0"}, want: errLink, text: "configuring eth0"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := Configurer{Links: tc.links, Acquire: leased(good, tc.lease), Root: guestRoot(t)}
			_, err := c.Configure(context.Background(), config.Network{Mode: config.DHCP})
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("err = %v", err)
			}
		})
	}
}

func packet(t *testing.T, ip string, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	t.Helper()
	p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithYourIP(net.ParseIP(ip))}, mods...)...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func mask(a, b, c, d byte) dhcpv4.Modifier { return dhcpv4.WithNetmask(net.IPv4Mask(a, b, c, d)) }

func classless(routes ...*dhcpv4.Route) dhcpv4.Modifier {
	return dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(routes...))
}

func cidr(t *testing.T, s string) *net.IPNet {
	t.Helper()
	_, n, err := net.ParseCIDR(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestLeaseOf(t *testing.T) {
	tests := map[string]struct {
		packet *dhcpv4.DHCPv4
		want   Lease
		err    string
	}{
		"ordinary": {
			packet: packet(t, "10.0.2.15", mask(255, 255, 255, 0), dhcpv4.WithRouter(net.ParseIP("10.0.2.2")), dhcpv4.WithDNS(net.ParseIP("10.0.2.3"))),
			want: Lease{
				Address: netip.MustParsePrefix("10.0.2.15/24"), DNS: []netip.Addr{netip.MustParseAddr("10.0.2.3")},
				Routes: []Route{{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.0.2.2")}},
			},
		},
		"no mask":  {packet: packet(t, "10.0.2.15"), want: Lease{Address: netip.MustParsePrefix("10.0.2.15/32")}},
		"odd mask": {packet: packet(t, "10.0.2.15", mask(255, 0, 255, 0)), err: "mask"},
		"classless routes replace the router": {
			packet: packet(t, "10.128.0.9", mask(255, 255, 255, 255), dhcpv4.WithRouter(net.ParseIP("10.9.9.9")),
				classless(&dhcpv4.Route{Dest: cidr(t, "10.128.0.1/32"), Router: net.IPv4zero}, &dhcpv4.Route{Dest: cidr(t, "0.0.0.0/0"), Router: net.ParseIP("10.128.0.1")})),
			want: Lease{Address: netip.MustParsePrefix("10.128.0.9/32"), Routes: []Route{
				{Dst: netip.MustParsePrefix("10.128.0.1/32")}, {netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.128.0.1")},
			}},
		},
		"hostile resolvers": {
			packet: packet(t, "10.0.2.15", dhcpv4.WithDNS(net.IPv4zero, net.ParseIP("224.0.0.1"), net.ParseIP("255.255.255.255"), net.ParseIP("10.0.2.3"))),
			want:   Lease{Address: netip.MustParsePrefix("10.0.2.15/32"), DNS: []netip.Addr{netip.MustParseAddr("10.0.2.3")}},
		},
		"no address":        {packet: packet(t, "0.0.0.0"), err: "address"},
		"multicast address": {packet: packet(t, "224.0.0.1"), err: "address"},
		"broadcast address": {packet: packet(t, "255.255.255.255"), err: "address"},
		"no packet":         {err: "not a DHCPv4"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := leaseOf(tc.packet)
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("err = %v, want one about %q", err, tc.err)
				}
				return
			}
			same := cmp.Options{cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}
			if diff := cmp.Diff(tc.want, got, same); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func FuzzLeaseOf(f *testing.F) {
	for _, p := range []string{"", "\x02\x01\x06\x00", strings.Repeat("\x00", 240), strings.Repeat("\xff", 300)} {
		f.Add([]byte(p))
	}
	if p, err := dhcpv4.New(dhcpv4.WithYourIP(net.IPv4(10, 0, 0, 1)), classless(&dhcpv4.Route{Dest: &net.IPNet{IP: net.IPv4zero.To4(), Mask: net.CIDRMask(0, 32)}, Router: net.IPv4(10, 0, 0, 2)})); err == nil {
		f.Add(p.ToBytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := dhcpv4.FromBytes(data)
		if err != nil {
			return
		}
		l, err := leaseOf(p)
		if err != nil {
			return
		}
		if !l.Address.IsValid() || !l.Address.Addr().Is4() || len(l.DNS) > maxDNS || len(l.Routes) > maxRoutes {
			t.Errorf("lease %+v", l)
		}
		for _, r := range l.Routes {
			if !r.Dst.IsValid() || !r.Dst.Addr().Is4() {
				t.Errorf("route %+v", r)
			}
		}
	})
}

func TestRoutesKeepTheirScope(t *testing.T) {
	onLink := route(7, Route{Dst: netip.MustParsePrefix("10.0.0.1/32")})
	if onLink.Scope != netlink.SCOPE_LINK || onLink.Gw != nil || onLink.LinkIndex != 7 || onLink.Dst.String() != "10.0.0.1/32" {
		t.Errorf("%+v", onLink)
	}
	via := route(7, Route{Dst: netip.MustParsePrefix("::/0"), Gateway: netip.MustParseAddr("fd00::1")})
	if via.Scope != netlink.SCOPE_UNIVERSE || via.Gw.String() != "fd00::1" || via.Dst.String() != "::/0" {
		t.Errorf("%+v", via)
	}
}

func TestNetlinkNamesUnknownInterfaces(t *testing.T) {
	if err := (Netlink{}).Up("nosuchif0"); err == nil {
		t.Error("brought an unknown interface up")
	}
	if err := (Netlink{}).Apply("nosuchif0", Lease{}); err == nil {
		t.Error("configured an unknown interface")
	}
	names, err := (Netlink{}).Ethernet()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if n == "lo" {
			t.Error("the loopback counts as Ethernet")
		}
	}
}
