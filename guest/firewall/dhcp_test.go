package firewall

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"

	"cocoon/guest/netcfg"
)

// dhcpd is a DHCP server that knows one address and notes how it was asked.
type dhcpd struct {
	mu    sync.Mutex
	asked []string
	nak   bool
}

func (d *dhcpd) handle(conn net.PacketConn, peer net.Addr, m *dhcpv4.DHCPv4) {
	kinds := map[dhcpv4.MessageType]dhcpv4.MessageType{
		dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeRequest: dhcpv4.MessageTypeAck,
	}
	d.mu.Lock()
	kind, how := kinds[m.MessageType()], "from nowhere"
	if d.nak && kind == dhcpv4.MessageTypeAck {
		kind = dhcpv4.MessageTypeNak
	}
	to := &net.UDPAddr{IP: net.IPv4bcast, Port: dhcpClient}
	if m.ClientIPAddr.Equal(net.ParseIP(guest4)) {
		how, to.IP = "by "+m.ClientIPAddr.String(), m.ClientIPAddr
		if from, ok := peer.(*net.UDPAddr); ok && from.IP.Equal(m.ClientIPAddr) {
			how += " itself"
		}
	}
	d.asked = append(d.asked, m.MessageType().String()+" "+how)
	d.mu.Unlock()
	answer, err := dhcpv4.NewReplyFromRequest(m,
		dhcpv4.WithMessageType(kind), dhcpv4.WithYourIP(net.ParseIP(guest4)), dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(net.ParseIP(host4))), dhcpv4.WithRouter(net.ParseIP(host4)), dhcpv4.WithLeaseTime(600))
	if err != nil {
		return
	}
	_, _ = conn.WriteTo(answer.ToBytes(), to)
}

// serve runs the server at the host's end of the cable until the test ends.
func (d *dhcpd) serve(t *testing.T, host *place) {
	t.Helper()
	var server *server4.Server
	err := host.do(func() (err error) {
		server, err = server4.NewServer("cable", &net.UDPAddr{Port: dhcpServer}, d.handle)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = server.Serve() // until it is closed
		close(ended)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
}

func TestLeasesAreTakenAndExtendedBehindTheRules(t *testing.T) {
	guest, host, _ := joined(t)
	d := new(dhcpd)
	d.serve(t, host)
	ctx, cancel := context.WithTimeout(context.Background(), 4*answerLimit)
	defer cancel()
	var client netcfg.Client
	var lease netcfg.Lease
	ask := func(what string, question func() error) {
		t.Helper()
		if err := guest.do(question); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if lease.Address.String() != guest4+"/24" || lease.Server != netip.MustParseAddr(host4) || lease.Times.Expire != 10*time.Minute {
			t.Errorf("%s: %+v", what, lease)
		}
	}
	ask("acquire", func() (err error) { lease, err = client.Acquire(ctx, "eth0"); return err })
	ask("renew", func() (err error) { lease, err = client.Extend(ctx, "eth0", lease, false); return err })
	ask("rebind", func() (err error) { lease, err = client.Extend(ctx, "eth0", lease, true); return err })
	d.mu.Lock()
	d.nak = true
	d.mu.Unlock()
	for _, everyone := range []bool{false, true} {
		err := guest.do(func() error { _, err := client.Extend(ctx, "eth0", lease, everyone); return err })
		if !errors.Is(err, netcfg.ErrRefused) {
			t.Errorf("a refusal reads %v", err)
		}
	}
	want := []string{
		"DISCOVER from nowhere", "REQUEST from nowhere", "REQUEST by " + guest4 + " itself", "REQUEST by " + guest4,
		"REQUEST by " + guest4 + " itself", "REQUEST by " + guest4,
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.asked) != len(want) {
		t.Fatalf("asked %q", d.asked)
	}
	for i := range want {
		if d.asked[i] != want[i] {
			t.Errorf("question %d: %q, want %q", i+1, d.asked[i], want[i])
		}
	}
}
