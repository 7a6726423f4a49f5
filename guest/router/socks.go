package router

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"

	"cocoon/measure/policy"
	"cocoon/measure/ratls"
)

// SOCKS5: RFC 1928, and RFC 1929 for user names.
const (
	socksVersion    = 5
	userVersion     = 1
	methodNone      = 0x00
	methodUser      = 0x02
	methodRefused   = 0xff
	userAccepted    = 0x00
	userRefused     = 0x01
	commandConnect  = 1
	addressIPv4     = 1
	addressName     = 3
	addressIPv6     = 4
	maxSOCKSMessage = 4 + 1 + 255 + 2
)

// socksReply is the answer to a request, RFC 1928 section 6.
type socksReply byte

// The replies.
const (
	replyGranted         socksReply = 0
	replyFailure         socksReply = 1
	replyNotAllowed      socksReply = 2
	replyNetUnreachable  socksReply = 3
	replyHostUnreachable socksReply = 4
	replyRefused         socksReply = 5
	replyExpired         socksReply = 6
	replyCommand         socksReply = 7
	replyAddressType     socksReply = 8
)

// errSOCKS marks what is wrong with a local program's request; it was answered already.
var errSOCKS = errors.New("SOCKS request")

// socksRequest is what a local program asked for.
type socksRequest struct {
	// user is the user name; empty without one.
	user string
	// to is where to connect.
	to Destination
}

// negotiate reads a request and not a byte beyond it. What it refuses it has answered. allowUser offers user names, and
// known tells whether one names a policy.
func negotiate(rw io.ReadWriter, allowUser bool, known func(user string) bool) (socksRequest, error) {
	s := &socksStream{rw: rw}
	var req socksRequest
	switch s.method(allowUser) {
	case methodNone:
		s.write(socksVersion, methodNone)
	case methodUser:
		s.write(socksVersion, methodUser)
		req.user = s.user(known)
	default:
		s.write(socksVersion, methodRefused)
		s.fail("no method of those offered is acceptable")
	}
	req.to = s.request()
	if s.err != nil {
		return socksRequest{}, fmt.Errorf("reading %w: %w", errSOCKS, s.err)
	}
	return req, nil
}

// socksStream reads and answers; its first error stays, and nothing is written after it.
type socksStream struct {
	rw  io.ReadWriter
	buf [maxSOCKSMessage]byte
	err error
}

func (s *socksStream) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
	}
}

// read is the next n bytes, which stay valid until the next read.
func (s *socksStream) read(n int) []byte {
	b := s.buf[:n]
	if s.err == nil {
		_, s.err = io.ReadFull(s.rw, b)
	}
	if s.err != nil {
		clear(b)
	}
	return b
}

func (s *socksStream) write(b ...byte) {
	if s.err == nil {
		_, s.err = s.rw.Write(b)
	}
}

// refuse answers the request and ends the negotiation.
func (s *socksStream) refuse(r socksReply, format string, args ...any) Destination {
	if s.err == nil {
		s.write(replyMessage(r, netip.AddrPort{})...)
	}
	s.fail(format, args...)
	return Destination{}
}

func (s *socksStream) method(allowUser bool) byte {
	head := s.read(2)
	version, n := head[0], int(head[1])
	if s.err == nil && version != socksVersion {
		s.fail("version %d, want %d", version, socksVersion)
	}
	best := byte(methodRefused)
	for _, m := range s.read(n) {
		switch {
		case m == methodUser && allowUser:
			best = methodUser
		case m == methodNone && best != methodUser:
			best = methodNone
		}
	}
	return best
}

// user reads a user name, and a password that means nothing.
func (s *socksStream) user(known func(string) bool) string {
	head := s.read(2)
	version, n := head[0], int(head[1])
	if s.err == nil && version != userVersion {
		s.fail("user name version %d, want %d", version, userVersion)
	}
	name := string(s.read(n))
	s.read(int(s.read(1)[0]))
	if s.err != nil {
		return ""
	}
	if !known(name) {
		s.write(userVersion, userRefused)
		s.fail("user name %q is no policy", name)
		return ""
	}
	s.write(userVersion, userAccepted)
	return name
}

func (s *socksStream) request() Destination {
	head := s.read(4)
	version, command, reserved, kind := head[0], head[1], head[2], head[3]
	if s.err == nil && version != socksVersion {
		s.fail("version %d, want %d", version, socksVersion)
	}
	var to Destination
	switch kind {
	case addressIPv4:
		to.Host = netip.AddrFrom4([4]byte(s.read(4))).String()
	case addressIPv6:
		to.Host = netip.AddrFrom16([16]byte(s.read(16))).Unmap().String()
	case addressName:
		to.Host = string(s.read(int(s.read(1)[0])))
	default:
		return s.refuse(replyAddressType, "address type %d is none of 1, 3, 4", kind)
	}
	to.Port = binary.BigEndian.Uint16(s.read(2))
	switch {
	case s.err != nil:
		return Destination{}
	case command != commandConnect:
		return s.refuse(replyCommand, "command %d is not CONNECT", command)
	case reserved != 0:
		return s.refuse(replyFailure, "the reserved byte is %d", reserved)
	case to.Port == 0:
		return s.refuse(replyFailure, "port 0")
	}
	if err := checkHost(to.Host); err != nil {
		return s.refuse(replyAddressType, "%w", err)
	}
	return to
}

// replyMessage answers with the address that the connection has on this side; the zero address is written as 0.0.0.0:0.
func replyMessage(r socksReply, local netip.AddrPort) []byte {
	out := []byte{socksVersion, byte(r), 0}
	switch addr := local.Addr().Unmap(); {
	case addr.Is6():
		raw := addr.As16()
		out = append(append(out, addressIPv6), raw[:]...)
	case addr.Is4():
		raw := addr.As4()
		out = append(append(out, addressIPv4), raw[:]...)
	default:
		out = append(out, addressIPv4, 0, 0, 0, 0)
	}
	return binary.BigEndian.AppendUint16(out, local.Port())
}

// replyTo chooses the answer that tells a program why its connection failed.
func replyTo(err error) socksReply {
	if err == nil {
		return replyGranted
	}
	if e, ok := errors.AsType[*ratls.Error](err); ok {
		return replyToCode(e.Code)
	}
	dns, named := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return replyRefused
	case errors.Is(err, syscall.ENETUNREACH):
		return replyNetUnreachable
	case errors.Is(err, syscall.ETIMEDOUT), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), named && dns.IsTimeout:
		return replyExpired
	case named, errors.Is(err, syscall.EHOSTUNREACH):
		return replyHostUnreachable
	default:
		return replyFailure
	}
}

// replyToCode answers for a handshake. What is not about the circumstances is about the peer.
func replyToCode(code policy.Code) socksReply {
	switch code {
	case ratls.CodeTimeout:
		return replyExpired
	case ratls.CodePoW, ratls.CodeTLS, ratls.CodePeerRefused, ratls.CodePeerAborted, ratls.CodeCanceled, ratls.CodeFresh,
		ratls.CodeBusy, ratls.CodeCollateral, ratls.CodeCredentials, ratls.CodeInternal, ratls.CodeDial:
		return replyFailure
	default:
		return replyNotAllowed
	}
}
