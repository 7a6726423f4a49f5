package netcfg

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"

	"cocoon/guest/config"
)

// links notes what is done to the interfaces.
type links struct {
	names   []string
	calls   []string
	applied Lease
	removed []Lease
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

func (l *links) Remove(name string, lease Lease) error {
	l.calls = append(l.calls, "remove "+name)
	l.removed = append(l.removed, lease)
	if l.fail == "remove "+name {
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

// server gives the same answer to whoever asks for a lease, and more time to nobody.
type server struct {
	lease Lease
	err   error
}

func (s server) Acquire(context.Context, string) (Lease, error) { return s.lease, s.err }

func (s server) Extend(context.Context, string, Lease, bool) (Lease, error) {
	return Lease{}, errors.New("not asked in this test")
}

// configurer fills what every test needs.
func configurer(l *links, s DHCP, root string) Configurer {
	return Configurer{
		Links: l, DHCP: s, Root: root, Now: time.Now, Log: slog.New(slog.DiscardHandler),
		Filter: func() error {
			l.calls = append(l.calls, "filter")
			return nil
		},
		Background: func(string, func(context.Context) error) { l.calls = append(l.calls, "background") },
	}
}

func TestStaticConfiguration(t *testing.T) {
	l := &links{names: []string{"eth0", "eth1"}}
	root := guestRoot(t)
	c := configurer(l, server{err: errors.New("DHCP was asked")}, root)
	report, err := c.Configure(context.Background(), config.Network{
		Mode: config.Static, Address: "10.0.0.5/24", Gateway: "10.0.0.1", DNS: []string{"1.1.1.1", "fd00::1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Report{Mode: "static", Interface: "eth0", Address: "10.0.0.5/24", DNS: []string{"1.1.1.1", "fd00::1"}}, report); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"filter", "up lo", "up eth0", "apply eth0"}, l.calls); diff != "" {
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
			c := configurer(&links{names: []string{"eth0"}}, server{lease: lease}, root)
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
	report, err := configurer(l, nil, t.TempDir()).Configure(context.Background(), config.Network{Mode: config.NoNetwork})
	if err != nil || report.Interface != "" || !cmp.Equal(l.calls, []string{"filter", "up lo"}) {
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
			c := configurer(tc.links, server{good, tc.lease}, guestRoot(t))
			_, err := c.Configure(context.Background(), config.Network{Mode: config.DHCP})
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.text) {
				t.Errorf("err = %v", err)
			}
		})
	}
}

func TestWithoutAPacketFilterNoInterfaceComesUp(t *testing.T) {
	for name, filter := range map[string]func() error{"none": nil, "fails": func() error { return errLink }} {
		t.Run(name, func(t *testing.T) {
			for _, mode := range []string{config.DHCP, config.NoNetwork} {
				l := &links{names: []string{"eth0"}}
				c := configurer(l, server{}, guestRoot(t))
				c.Filter = filter
				if _, err := c.Configure(context.Background(), config.Network{Mode: mode}); err == nil || len(l.calls) != 0 {
					t.Errorf("%s: %v, %v", mode, err, l.calls)
				}
			}
		})
	}
}

func TestOnlyALeaseThatEndsIsKept(t *testing.T) {
	for name, tc := range map[string]struct {
		times Times
		want  []string
	}{
		"ends":    {Times{time.Hour, 2 * time.Hour, 3 * time.Hour}, []string{"filter", "up lo", "up eth0", "apply eth0", "background"}},
		"forever": {Times{}, []string{"filter", "up lo", "up eth0", "apply eth0"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := &links{names: []string{"eth0"}}
			lease := Lease{Address: netip.MustParsePrefix("10.0.2.15/24"), Times: tc.times}
			_, err := configurer(l, server{lease: lease}, guestRoot(t)).Configure(context.Background(), config.Network{Mode: config.DHCP})
			if diff := cmp.Diff(tc.want, l.calls); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
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
	if err := (Netlink{}).Remove("nosuchif0", Lease{}); err == nil {
		t.Error("changed an unknown interface")
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
