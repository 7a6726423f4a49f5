package netcfg

import (
	"encoding/binary"
	"net"
)

// Header lengths: RFC 791 section 3.1, RFC 768.
const (
	minIPv4Header = 20
	udpHeader     = 8
	protocolUDP   = 17
)

// checkedConn drops packets whose lengths contradict each other before the DHCP library sees them: it computes the
// length of the UDP payload from the IPv4 header alone, and a negative one would panic PID 1.
type checkedConn struct{ net.PacketConn }

// ReadFrom returns the next packet that holds a whole UDP header.
func (c checkedConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.PacketConn.ReadFrom(b)
		if err != nil || holdsUDP(b[:n]) {
			return n, from, err
		}
	}
}

// holdsUDP says whether an IPv4 packet, perhaps with the padding of a short Ethernet frame behind it, is a UDP
// datagram whose header lies inside of what the IPv4 header calls the packet.
func holdsUDP(p []byte) bool {
	if len(p) < minIPv4Header || p[0]>>4 != 4 || p[9] != protocolUDP {
		return false
	}
	header, total := int(p[0]&0x0f)*4, int(binary.BigEndian.Uint16(p[2:]))
	return header >= minIPv4Header && header+udpHeader <= total && total <= len(p)
}
