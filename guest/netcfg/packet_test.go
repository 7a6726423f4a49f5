package netcfg

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// datagram is an IPv4 packet with a UDP header to port 68 and a payload. length is its total length field.
func datagram(length uint16, payload []byte) []byte {
	p := make([]byte, minIPv4Header+udpHeader, 64+len(payload))
	p[0], p[2], p[3], p[9] = 0x45, byte(length>>8), byte(length), protocolUDP
	p[21], p[23] = nclient4.ServerPort, nclient4.ClientPort
	p = append(p, payload...)
	return append(p, make([]byte, max(0, 46-len(p)))...) // a frame's padding
}

func TestOnlyWholeDatagramsReachTheLibrary(t *testing.T) {
	change := func(at int, b byte) []byte {
		p := datagram(32, []byte("data"))
		p[at] = b
		return p
	}
	tests := map[string]struct {
		packet []byte
		want   bool
	}{
		"whole":                      {datagram(32, []byte("data")), true},
		"no payload":                 {datagram(28, nil), true},
		"UDP header in the padding":  {datagram(20, nil), false},
		"half a UDP header":          {datagram(24, nil), false},
		"longer than the frame":      {datagram(500, nil), false},
		"options cover the datagram": {change(0, 0x4f), false},
		"header of four bytes":       {change(0, 0x41), false},
		"IPv6":                       {change(0, 0x65), false},
		"TCP":                        {change(9, 6), false},
		"empty":                      {nil, false},
		"cut":                        {datagram(32, nil)[:19], false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := holdsUDP(tc.packet); got != tc.want {
				t.Errorf("got %t", got)
			}
		})
	}
}

// tape is a socket that gives its packets, one after the other, and then an error.
type tape struct {
	net.PacketConn
	packets [][]byte
}

var errTapeEnd = errors.New("end of tape")

func (s *tape) ReadFrom(b []byte) (int, net.Addr, error) {
	if len(s.packets) == 0 {
		return 0, nil, errTapeEnd
	}
	n := copy(b, s.packets[0])
	s.packets = s.packets[1:]
	return n, nil, nil
}

// through reads what the library makes of packets behind the check.
func through(packets ...[]byte) ([]byte, error) {
	conn := nclient4.NewBroadcastUDPConn(checkedConn{&tape{packets: packets}}, &net.UDPAddr{Port: nclient4.ClientPort})
	buf := make([]byte, nclient4.MaxMessageSize)
	n, _, err := conn.ReadFrom(buf)
	return buf[:n], err
}

func TestALyingLengthDoesNotStopTheClient(t *testing.T) {
	got, err := through(datagram(20, nil), datagram(32, []byte("data")))
	if err != nil || string(got) != "data" {
		t.Errorf("%q, %v", got, err)
	}
}

func FuzzPackets(f *testing.F) {
	for _, p := range [][]byte{nil, datagram(20, nil), datagram(28, nil), datagram(32, []byte("data")), datagram(24, nil), bytes.Repeat([]byte{0x45}, 60)} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		got, err := through(p)
		if err == nil && len(got) > len(p) {
			t.Errorf("%d bytes out of %d", len(got), len(p))
		}
		if err != nil && !errors.Is(err, errTapeEnd) {
			t.Errorf("err = %v", err)
		}
	})
}

func TestAnswersToARequestForMoreTime(t *testing.T) {
	old := hourly("10.0.2.15/24")
	answer := func(kind dhcpv4.MessageType, ip string, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
		return packet(t, ip, append(mods, dhcpv4.WithMessageType(kind), dhcpv4.WithLeaseTime(600))...)
	}
	if _, err := extended(old, answer(dhcpv4.MessageTypeNak, "0.0.0.0")); !errors.Is(err, ErrRefused) {
		t.Errorf("NAK: %v", err)
	}
	if _, err := extended(old, answer(dhcpv4.MessageTypeAck, "10.0.2.99")); err == nil {
		t.Error("an answer about another address is taken")
	}
	if _, err := extended(old, answer(dhcpv4.MessageTypeAck, "0.0.0.0")); err == nil {
		t.Error("an answer without an address is taken")
	}
	got, err := extended(old, answer(dhcpv4.MessageTypeAck, "10.0.2.15"))
	if err != nil || got.Server != old.Server || got.Times.Expire != 10*time.Minute {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheClientNamesUnknownInterfaces(t *testing.T) {
	if _, err := (Client{}).Acquire(context.Background(), "nosuchif0"); err == nil {
		t.Error("got a lease")
	}
	for _, everyone := range []bool{true, false} {
		if _, err := (Client{}).Extend(context.Background(), "nosuchif0", hourly("10.0.2.15/24"), everyone); err == nil {
			t.Error("got more time")
		}
	}
	if _, err := broadcaster("nosuchif0", nil); err == nil {
		t.Error("opened a socket")
	}
}
