package router

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/policy"
	"cocoon/measure/ratls"
)

// talk is a stream of bytes sent already; what is answered is kept.
type talk struct {
	io.Reader
	answered bytes.Buffer
}

func (s *talk) Write(p []byte) (int, error) { return s.answered.Write(p) }

func isTDX(name string) bool { return name == "tdx" }

// TestNegotiate: the dialogue of the reference byte for byte, our additions, and an answer for every refusal that
// RFC 1928 has one for.
func TestNegotiate(t *testing.T) {
	const greeting, user = "050100", "05020002"
	const request = "050100010a000002" + "2ad8"
	name := func(s string) string { return fmt.Sprintf("%02x%x", len(s), s) }
	for label, tc := range map[string]struct {
		sent      string
		allowUser bool
		answered  string
		want      socksRequest
		err       string
	}{
		"the reference's runner":            {sent: greeting + request, answered: "0500", want: socksRequest{to: Destination{"10.0.0.2", 10968}}},
		"domain name":                       {sent: greeting + "05010003" + name("proxy.example.org") + "2af9", answered: "0500", want: socksRequest{to: Destination{"proxy.example.org", 11001}}},
		"address written as a name":         {sent: greeting + "05010003" + name("2001:db8::1") + "2af9", answered: "0500", want: socksRequest{to: Destination{"2001:db8::1", 11001}}},
		"IPv6":                              {sent: greeting + "0501000420010db80000000000000000000000012af9", answered: "0500", want: socksRequest{to: Destination{"2001:db8::1", 11001}}},
		"IPv4 in IPv6":                      {sent: greeting + "0501000400000000000000000000ffff0a0000022af9", answered: "0500", want: socksRequest{to: Destination{"10.0.0.2", 11001}}},
		"privileged port":                   {sent: greeting + "050100010a000002" + "01bb", answered: "0500", want: socksRequest{to: Destination{"10.0.0.2", 443}}},
		"user chooses the policy":           {sent: user + "01" + name("tdx") + name("whatever") + request, allowUser: true, answered: "05020100", want: socksRequest{"tdx", Destination{"10.0.0.2", 10968}}},
		"user without a password":           {sent: "050102" + "01" + name("tdx") + "00" + request, allowUser: true, answered: "05020100", want: socksRequest{"tdx", Destination{"10.0.0.2", 10968}}},
		"unknown user":                      {sent: user + "01" + name("tdz") + "00" + request, allowUser: true, answered: "05020101", err: `user name "tdz" is no policy`},
		"empty user":                        {sent: user + "010000" + request, allowUser: true, answered: "05020101", err: "is no policy"},
		"users are not asked for":           {sent: user + request, answered: "0500", want: socksRequest{to: Destination{"10.0.0.2", 10968}}},
		"only users, who are not asked for": {sent: "050102" + request, answered: "05ff", err: "no method"},
		"no method":                         {sent: "0500" + request, answered: "05ff", err: "no method"},
		"methods nobody knows":              {sent: "0502018105010001", answered: "05ff", err: "no method"},
		"SOCKS 4":                           {sent: "0401" + request, answered: "", err: "version 4"},
		"version within the request":        {sent: greeting + "04" + request[2:], answered: "0500", err: "version 4"},
		"user name of another version":      {sent: user + "05" + name("tdx") + "00", allowUser: true, answered: "0502", err: "user name version 5"},
		"BIND":                              {sent: greeting + "05020001" + request[8:], answered: "0500" + "05070001000000000000", err: "command 2"},
		"UDP":                               {sent: greeting + "05030001" + request[8:], answered: "0500" + "05070001000000000000", err: "command 3"},
		"unknown address type":              {sent: greeting + "05010002" + request[8:], answered: "0500" + "05080001000000000000", err: "address type 2"},
		"reserved byte":                     {sent: greeting + "05010101" + request[8:], answered: "0500" + "05010001000000000000", err: "reserved"},
		"port zero":                         {sent: greeting + "050100010a0000020000", answered: "0500" + "05010001000000000000", err: "port 0"},
		"empty name":                        {sent: greeting + "05010003" + "00" + "2af9", answered: "0500" + "05080001000000000000", err: "neither a host name"},
		"name with a space":                 {sent: greeting + "05010003" + name("a b") + "2af9", answered: "0500" + "05080001000000000000", err: "neither a host name"},
		"name with a zero":                  {sent: greeting + "05010003" + name("a\x00b") + "2af9", answered: "0500" + "05080001000000000000", err: "neither a host name"},
		"number for a name":                 {sent: greeting + "05010003" + name("2130706433") + "2af9", answered: "0500" + "05080001000000000000", err: "neither a host name"},
		"address with a zone":               {sent: greeting + "05010003" + name("fe80::1%eth0") + "2af9", answered: "0500" + "05080001000000000000", err: "zone"},
		"cut within the greeting":           {sent: "05", answered: "", err: "EOF"},
		"cut within the name":               {sent: greeting + "05010003" + "10" + "61", answered: "0500", err: "EOF"},
		"nothing":                           {sent: "", answered: "", err: "EOF"},
	} {
		t.Run(label, func(t *testing.T) {
			sent, err := hex.DecodeString(tc.sent)
			if err != nil {
				t.Fatal(err)
			}
			rest := bytes.NewReader(append(sent, "first bytes"...))
			stream := &talk{Reader: iotest.OneByteReader(rest)}
			if strings.Contains(tc.err, "EOF") {
				stream.Reader = bytes.NewReader(sent)
			}
			got, err := negotiate(stream, tc.allowUser, isTDX)
			if answered := hex.EncodeToString(stream.answered.Bytes()); answered != tc.answered {
				t.Errorf("answered %s, want %s", answered, tc.answered)
			}
			if tc.err != "" {
				if !errors.Is(err, errSOCKS) || !strings.Contains(err.Error(), tc.err) {
					t.Fatalf("error %v, want one with %q", err, tc.err)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Fatalf("%+v, %v, want %+v", got, err, tc.want)
			}
			if left, _ := io.ReadAll(rest); string(left) != "first bytes" {
				t.Errorf("left %q: a byte of the stream was taken", left)
			}
		})
	}
}

// TestReplies: granted carries the local address in the reference's form, or as IPv6.
func TestReplies(t *testing.T) {
	for local, want := range map[string]string{
		"10.0.2.15:40001":        "050000010a00020f9c41",
		"[::ffff:10.0.2.15]:258": "050000010a00020f0102",
		"[2001:db8::1]:11001":    "0500000420010db80000000000000000000000012af9",
	} {
		if got := hex.EncodeToString(replyMessage(replyGranted, netip.MustParseAddrPort(local))); got != want {
			t.Errorf("%s: %s, want %s", local, got, want)
		}
	}
}

// TestReplyTo: each way to fail has the reply that RFC 1928 gives it.
func TestReplyTo(t *testing.T) {
	for want, errs := range map[socksReply][]error{
		replyGranted:         {nil},
		replyNotAllowed:      {&ratls.Error{Stage: ratls.StageTLS, Code: policy.Image}, &ratls.Error{Stage: ratls.StageTLS, Code: "cert_signature"}},
		replyRefused:         {&net.OpError{Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}},
		replyNetUnreachable:  {&net.OpError{Err: os.NewSyscallError("connect", syscall.ENETUNREACH)}},
		replyHostUnreachable: {&net.DNSError{IsNotFound: true}, &net.OpError{Err: syscall.EHOSTUNREACH}},
		replyExpired:         {&ratls.Error{Stage: ratls.StageTLS, Code: ratls.CodeTimeout, Err: io.EOF}, &net.DNSError{IsTimeout: true}, syscall.ETIMEDOUT, os.ErrDeadlineExceeded, fmt.Errorf("a: %w", context.DeadlineExceeded)},
		replyFailure:         {&ratls.Error{Stage: ratls.StagePoW, Code: ratls.CodePoW}, io.ErrUnexpectedEOF, errors.New("anything")},
	} {
		for _, err := range errs {
			if got := replyTo(err); got != want {
				t.Errorf("%v: reply %d, want %d", err, got, want)
			}
		}
	}
}

// FuzzSOCKS: no bytes make the negotiation read beyond the request, write more than it may or accept what is no host.
func FuzzSOCKS(f *testing.F) {
	for _, s := range []string{
		"050100050100010a0000022ad8", "0502000201037464780005010003096c6f63616c686f73742af9", "0501000501000400000000000000000000000000000001" + "2af9",
		"05020002010001ff", "0501000503000100000000" + "0001", "04010001",
	} {
		b, _ := hex.DecodeString(s)
		f.Add(b, true)
	}
	f.Fuzz(func(t *testing.T, data []byte, allowUser bool) {
		stream := &talk{Reader: bytes.NewReader(data)}
		req, err := negotiate(stream, allowUser, isTDX)
		if stream.answered.Len() > 2+2+10 {
			t.Fatalf("answered %x", stream.answered.Bytes())
		}
		if err != nil {
			if !errors.Is(err, errSOCKS) || req != (socksRequest{}) {
				t.Fatalf("%+v, %v", req, err)
			}
			return
		}
		if req.to.Port == 0 || checkHost(req.to.Host) != nil || (req.user != "" && (!allowUser || req.user != "tdx")) {
			t.Fatalf("accepted %+v", req)
		}
		// The same request, asked again by a client, is read as the same.
		again, err := negotiate(&talk{Reader: bytes.NewReader(data)}, allowUser, isTDX)
		if err != nil || !cmp.Equal(req, again, cmp.AllowUnexported(socksRequest{})) {
			t.Fatalf("%+v then %+v, %v", req, again, err)
		}
	})
}
