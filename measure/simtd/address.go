package simtd

import (
	"fmt"
	"math"
	"path/filepath"
	"strconv"
	"strings"
)

// PortDir is where udev shows a guest its virtio-serial ports by name. A guest without udev finds the name in sysfs.
const PortDir = "/dev/virtio-ports"

// maxAddress bounds the text of an address: that of a socket path and some.
const maxAddress = 256

// Network is a kind of channel.
type Network string

// The kinds of channels.
const (
	// Unix is a socket path.
	Unix Network = "unix"
	// TCP is a host and a port.
	TCP Network = "tcp"
	// VSock is a context id and a port.
	VSock Network = "vsock"
	// Port is a virtio-serial port: for the guest its name or path, for the host the path of QEMU's end of it.
	Port Network = "port"
)

// Address is where the other side of a channel is.
type Address struct {
	Network Network
	// Path is a socket's or port's.
	Path string
	// Host is host:port of a TCP address.
	Host string
	// CID and Number are those of a vsock address.
	CID, Number uint32
}

// String writes what ParseAddress reads.
func (a Address) String() string {
	switch a.Network {
	case TCP:
		return string(a.Network) + ":" + a.Host
	case VSock:
		return fmt.Sprintf("%s:%d:%d", a.Network, a.CID, a.Number)
	case Unix, Port:
	}
	return string(a.Network) + ":" + a.Path
}

// ParseAddress reads unix:PATH, tcp:HOST:PORT, vsock:CID:PORT or port:NAME. A port's name without a slash is looked for
// below PortDir.
func ParseAddress(text string) (Address, error) {
	network, rest, ok := strings.Cut(text, ":")
	if !ok || rest == "" || len(text) > maxAddress || strings.ContainsAny(text, "\x00\n") {
		return Address{}, fmt.Errorf("address %q is none of unix:PATH, tcp:HOST:PORT, vsock:CID:PORT, port:NAME", text)
	}
	a := Address{Network: Network(network)}
	switch a.Network {
	case Unix:
		a.Path = rest
	case Port:
		a.Path = rest
		if !strings.Contains(rest, "/") {
			a.Path = filepath.Join(PortDir, rest)
		}
	case TCP:
		a.Host = rest
		if err := checkHost(rest); err != nil {
			return Address{}, fmt.Errorf("address %q: %w", text, err)
		}
	case VSock:
		if err := a.parseVSock(rest); err != nil {
			return Address{}, fmt.Errorf("address %q: %w", text, err)
		}
	default:
		return Address{}, fmt.Errorf("address %q: network %q is none of unix, tcp, vsock, port", text, network)
	}
	return a, nil
}

// checkHost checks host:port; a host with colons in it has brackets.
func checkHost(text string) error {
	i := strings.LastIndexByte(text, ':')
	if i <= 0 {
		return fmt.Errorf("%q is not HOST:PORT", text)
	}
	host, port := text[:i], text[i+1:]
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port %q is not a number up to 65535", port)
	}
	if strings.Contains(host, ":") && (!strings.HasPrefix(host, "[") || !strings.HasSuffix(host, "]")) {
		return fmt.Errorf("host %q has colons and no brackets", host)
	}
	return nil
}

func (a *Address) parseVSock(text string) error {
	cid, number, _ := strings.Cut(text, ":")
	for _, f := range []struct {
		name, text string
		out        *uint32
	}{{"context id", cid, &a.CID}, {"port", number, &a.Number}} {
		v, err := strconv.ParseUint(f.text, 10, 32)
		if err != nil || v == math.MaxUint32 { // VMADDR_CID_ANY and VMADDR_PORT_ANY
			return fmt.Errorf("%s %q is not a number below 4294967295", f.name, f.text)
		}
		*f.out = uint32(v)
	}
	return nil
}
