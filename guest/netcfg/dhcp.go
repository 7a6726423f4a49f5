package netcfg

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
)

const (
	// answerWait is how long the first question waits for its answer; each repetition waits twice as long, and the
	// caller's deadline bounds them all.
	answerWait = 3 * time.Second
	questions  = 10
	// linkWait is how long a link may take to come up, linkPoll how often it is looked at.
	linkWait = 5 * time.Second
	linkPoll = 20 * time.Millisecond
)

// Client is the DHCPv4 client of one machine (RFC 2131). What it learns is applied by Configure and the keeper, not
// here, so that one place writes addresses and the resolver file.
type Client struct{}

// Acquire asks for a new lease by broadcast, from a link that needs no address yet.
func (Client) Acquire(ctx context.Context, ifname string) (Lease, error) {
	link, err := awaitLink(ctx, ifname)
	if err != nil {
		return Lease{}, err
	}
	client, err := broadcaster(link.Attrs().Name, link.Attrs().HardwareAddr)
	if err != nil {
		return Lease{}, err
	}
	defer func() { _ = client.Close() }()
	lease, err := client.Request(ctx, asking())
	if err != nil {
		return Lease{}, fmt.Errorf("asking for a lease: %w", err)
	}
	return leaseOf(lease.ACK)
}

// Extend asks for more time: by unicast the server that gave the lease, or by broadcast everyone.
func (Client) Extend(ctx context.Context, ifname string, l Lease, everyone bool) (Lease, error) {
	link, err := netlink.LinkByName(ifname)
	if err != nil {
		return Lease{}, fmt.Errorf("finding interface: %w", err)
	}
	hw := link.Attrs().HardwareAddr
	dial, to := broadcaster, nclient4.DefaultServers
	if !everyone {
		dial = unicaster(l.Address.Addr())
		to = &net.UDPAddr{IP: l.Server.AsSlice(), Port: nclient4.ServerPort}
	}
	client, err := dial(ifname, hw)
	if err != nil {
		return Lease{}, err
	}
	defer func() { _ = client.Close() }()
	// RFC 2131 table 5: the address goes into ciaddr, server identifier and requested address stay out.
	request, err := dhcpv4.New(
		dhcpv4.WithHwAddr(hw), dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
		dhcpv4.WithClientIP(l.Address.Addr().AsSlice()), asking(),
	)
	if err != nil {
		return Lease{}, fmt.Errorf("making a request: %w", err)
	}
	answer, err := client.SendAndRead(ctx, to, request, nclient4.IsMessageType(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak))
	if err != nil {
		return Lease{}, fmt.Errorf("asking for more time: %w", err)
	}
	return extended(l, answer)
}

// extended reads the answer to a request for more time.
func extended(old Lease, answer *dhcpv4.DHCPv4) (Lease, error) {
	if answer.MessageType() == dhcpv4.MessageTypeNak {
		return Lease{}, ErrRefused
	}
	l, err := leaseOf(answer)
	switch {
	case err != nil:
		return Lease{}, err
	case l.Address.Addr() != old.Address.Addr():
		return Lease{}, fmt.Errorf("asked for %s, the answer is about %s", old.Address.Addr(), l.Address.Addr())
	case !l.Server.IsValid():
		l.Server = old.Server
	}
	return l, nil
}

// asking lists the options that leaseOf reads.
func asking() dhcpv4.Modifier {
	return dhcpv4.WithRequestedOptions(
		dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer, dhcpv4.OptionClasslessStaticRoute,
		dhcpv4.OptionIPAddressLeaseTime, dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue,
	)
}

// awaitLink waits until the interface can send.
func awaitLink(ctx context.Context, ifname string) (netlink.Link, error) {
	ctx, cancel := context.WithTimeout(ctx, linkWait)
	defer cancel()
	tick := time.NewTicker(linkPoll)
	defer tick.Stop()
	for {
		link, err := netlink.LinkByName(ifname)
		if err != nil {
			return nil, fmt.Errorf("finding interface: %w", err)
		}
		if s := link.Attrs().OperState; s == netlink.OperUp || s == netlink.OperUnknown {
			return link, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the link of %s did not come up within %s", ifname, linkWait)
		case <-tick.C:
		}
	}
}

// dialer opens a client on an interface.
type dialer = func(ifname string, hw net.HardwareAddr) (*nclient4.Client, error)

// broadcaster speaks through a packet socket: it works without an address and under the packet filter.
func broadcaster(ifname string, hw net.HardwareAddr) (*nclient4.Client, error) {
	conn, err := nclient4.NewRawUDPConn(ifname, nclient4.ClientPort)
	if err != nil {
		return nil, fmt.Errorf("opening a packet socket on %s: %w", ifname, err)
	}
	raw, ok := conn.(*nclient4.BroadcastRawUDPConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("the DHCP library's socket is a %T, which cannot be checked", conn), conn.Close())
	}
	raw.PacketConn = checkedConn{raw.PacketConn}
	return newClient(raw, hw)
}

// unicaster speaks from the leased address through the kernel's UDP.
func unicaster(from netip.Addr) dialer {
	return func(_ string, hw net.HardwareAddr) (*nclient4.Client, error) {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: from.AsSlice(), Port: nclient4.ClientPort})
		if err != nil {
			return nil, fmt.Errorf("opening a socket on %s: %w", from, err)
		}
		return newClient(conn, hw)
	}
}

func newClient(conn net.PacketConn, hw net.HardwareAddr) (*nclient4.Client, error) {
	client, err := nclient4.NewWithConn(conn, hw, nclient4.WithTimeout(answerWait), nclient4.WithRetry(questions))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the DHCP client: %w", err), conn.Close())
	}
	return client, nil
}
