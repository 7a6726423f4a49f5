package netcfg

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
)

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
		"times and server": {
			packet: packet(t, "10.0.2.15", dhcpv4.WithServerIP(net.ParseIP("10.0.2.2")), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP("10.0.2.2"))), dhcpv4.WithLeaseTime(86400)),
			want: Lease{
				Address: netip.MustParsePrefix("10.0.2.15/32"), Server: netip.MustParseAddr("10.0.2.2"),
				Times: Times{12 * time.Hour, 21 * time.Hour, 24 * time.Hour},
			},
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
		if !l.Address.IsValid() || !l.Address.Addr().Is4() || len(l.DNS) > maxDNS || len(l.Routes) > maxRoutes || !l.Times.ordered() {
			t.Errorf("lease %+v", l)
		}
		for _, r := range l.Routes {
			if !r.Dst.IsValid() || !r.Dst.Addr().Is4() {
				t.Errorf("route %+v", r)
			}
		}
	})
}

// ordered says whether the times are either absent or in their order and far enough apart.
func (t Times) ordered() bool {
	return t == Times{} || (t.Renew >= minLease/2 && t.Renew < t.Rebind && t.Rebind < t.Expire)
}

func TestTimesOfALease(t *testing.T) {
	option := func(code dhcpv4.OptionCode, seconds uint32) dhcpv4.Modifier {
		return dhcpv4.WithOption(dhcpv4.OptGeneric(code, binary.BigEndian.AppendUint32(nil, seconds)))
	}
	of := func(lease, renew, rebind uint32) []dhcpv4.Modifier {
		return []dhcpv4.Modifier{
			option(dhcpv4.OptionIPAddressLeaseTime, lease), option(dhcpv4.OptionRenewTimeValue, renew), option(dhcpv4.OptionRebindingTimeValue, rebind),
		}
	}
	tests := map[string]struct {
		options []dhcpv4.Modifier
		want    Times
	}{
		"absent":           {nil, Times{}},
		"infinite":         {of(0xffffffff, 1, 2), Times{}},
		"given":            {of(3600, 600, 1200), Times{10 * time.Minute, 20 * time.Minute, time.Hour}},
		"defaults":         {[]dhcpv4.Modifier{option(dhcpv4.OptionIPAddressLeaseTime, 3600)}, Times{30 * time.Minute, 52*time.Minute + 30*time.Second, time.Hour}},
		"T2 before T1":     {of(3600, 1200, 600), Times{30 * time.Minute, 52*time.Minute + 30*time.Second, time.Hour}},
		"T2 after the end": {of(3600, 1200, 7200), Times{30 * time.Minute, 52*time.Minute + 30*time.Second, time.Hour}},
		"renew at once":    {of(3600, 0, 0), Times{30 * time.Minute, 52*time.Minute + 30*time.Second, time.Hour}},
		"a second":         {of(1, 0, 0), Times{time.Minute, 105 * time.Second, 2 * time.Minute}},
		"nothing":          {of(0, 0, 0), Times{time.Minute, 105 * time.Second, 2 * time.Minute}},
		"a cut lease time": {[]dhcpv4.Modifier{dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionIPAddressLeaseTime, []byte{1}))}, Times{}},
		"nearly for ever":  {of(0xfffffffe, 0xfffffff0, 0xfffffff1), Times{0xfffffff0 * time.Second, 0xfffffff1 * time.Second, 0xfffffffe * time.Second}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got := timesOf(packet(t, "10.0.2.15", tc.options...))
			if got != tc.want || !got.ordered() {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}
