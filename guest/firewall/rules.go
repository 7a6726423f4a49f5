package firewall

import (
	"fmt"
	"slices"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

const (
	// reg is the register that every load and compare of ours goes through.
	reg = 1
	// loopbackIndex is the loopback's interface index in every network namespace.
	loopbackIndex = 1
	// dhcpServer and dhcpClient are the ports of DHCPv4 (RFC 2131 section 4.1).
	dhcpServer, dhcpClient = 67, 68
	// neighbourSolicit and neighbourAdvert are ICMPv6 types (RFC 4861 section 4); routers' advertisements stay out.
	neighbourSolicit, neighbourAdvert = 135, 136
	// onLinkHops is the hop limit that only a sender on the link can give a packet (RFC 4861 section 7.1).
	onLinkHops = 255
	// hopLimitAt is the offset of the hop limit in an IPv6 header (RFC 8200 section 3).
	hopLimitAt = 7
)

// Rules lists what is let in, in the order the kernel looks at it.
func Rules() []Rule {
	return []Rule{
		{"iif lo accept", meta(expr.MetaKeyIIF, binaryutil.NativeEndian.PutUint32(loopbackIndex))},
		{"ct state established,related accept", tracked()},
		{
			fmt.Sprintf("meta nfproto ipv4 udp sport %d udp dport %d accept", dhcpServer, dhcpClient),
			slices.Concat(family(unix.NFPROTO_IPV4), protocol(unix.IPPROTO_UDP), port(0, dhcpServer), port(2, dhcpClient)),
		},
		{fmt.Sprintf("ip6 hoplimit %d icmpv6 type %d accept", onLinkHops, neighbourSolicit), neighbour(neighbourSolicit)},
		{fmt.Sprintf("ip6 hoplimit %d icmpv6 type %d accept", onLinkHops, neighbourAdvert), neighbour(neighbourAdvert)},
	}
}

// portRule lets TCP segments to a port in; later ones of a connection are accepted as established.
func portRule(number uint16) Rule {
	return Rule{fmt.Sprintf("tcp dport %d accept", number), slices.Concat(protocol(unix.IPPROTO_TCP), port(2, number))}
}

// meta compares a property of the packet that is not in it.
func meta(key expr.MetaKey, want []byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: key, Register: reg}, equal(want)}
}

func family(proto byte) []expr.Any   { return meta(expr.MetaKeyNFPROTO, []byte{proto}) }
func protocol(proto byte) []expr.Any { return meta(expr.MetaKeyL4PROTO, []byte{proto}) }

// port compares a port of the transport header: UDP and TCP have the source's at 0 and the destination's at 2.
func port(offset uint32, number uint16) []expr.Any {
	return field(expr.PayloadBaseTransportHeader, offset, binaryutil.BigEndian.PutUint16(number))
}

func neighbour(kind byte) []expr.Any {
	return slices.Concat(
		family(unix.NFPROTO_IPV6), protocol(unix.IPPROTO_ICMPV6),
		field(expr.PayloadBaseNetworkHeader, hopLimitAt, []byte{onLinkHops}),
		field(expr.PayloadBaseTransportHeader, 0, []byte{kind}),
	)
}

func field(base expr.PayloadBase, offset uint32, want []byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{DestRegister: reg, Base: base, Offset: offset, Len: uint32(len(want))}, //nolint:gosec // one or two bytes
		equal(want),
	}
}

// tracked matches packets of a connection that this guest began or already accepted, and errors about one.
func tracked() []expr.Any {
	const width = 4
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: reg},
		&expr.Bitwise{
			SourceRegister: reg, DestRegister: reg, Len: width,
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED),
			Xor:  make([]byte, width),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: make([]byte, width)},
	}
}

func equal(want []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: want} }
