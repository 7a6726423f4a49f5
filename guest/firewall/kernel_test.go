package firewall

import (
	"errors"
	"net"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	guest4, host4 = "10.93.0.2", "10.93.0.1"
	guest6, host6 = "fd93::2", "fd93::1"
	// answerLimit is how long an answer may take on a busy machine; silence is how long a dropped packet is waited for.
	answerLimit = 5 * time.Second
	silence     = 250 * time.Millisecond
)

// place is a network namespace with a thread in it.
type place struct {
	jobs chan func()
	ns   int
}

// newPlace starts a thread in a new network namespace; thread and namespace end with the test.
func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{jobs: make(chan func())}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its goroutine
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			p.ns, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		}
		started <- err
		for job := range p.jobs {
			job()
		}
	}()
	if err := <-started; err != nil {
		t.Skipf("no network namespace: %v", err)
	}
	t.Cleanup(func() {
		close(p.jobs)
		_ = unix.Close(p.ns)
	})
	return p
}

// do runs a function in the namespace and returns its error.
func (p *place) do(job func() error) error {
	done := make(chan error)
	p.jobs <- func() { done <- job() }
	return <-done
}

func up(name string, addrs ...string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			return err
		}
		if addr.IP.To4() == nil {
			addr.Flags = unix.IFA_F_NODAD
		}
		if err := netlink.AddrAdd(link, addr); err != nil {
			return err
		}
	}
	return netlink.LinkSetUp(link)
}

// joined are a guest with the firewall on and a host, with a cable between them.
func joined(t *testing.T) (guest, host *place, f *Firewall) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	guest, host = newPlace(t), newPlace(t)
	f = New(nil)
	err := guest.do(func() error {
		if err := f.Apply(); err != nil {
			return err
		}
		cable := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "cable", PeerNamespace: netlink.NsFd(host.ns)}
		return errors.Join(netlink.LinkAdd(cable), up("lo"), up("eth0", guest4+"/24", guest6+"/64"))
	})
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Skipf("this kernel has no nf_tables or no veth: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := host.do(func() error { return errors.Join(up("lo"), up("cable", host4+"/24", host6+"/64")) }); err != nil {
		t.Fatal(err)
	}
	return guest, host, f
}

// listen accepts and closes connections until the test ends.
func (p *place) listen(t *testing.T, port int) {
	t.Helper()
	err := p.do(func() error {
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port))
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_ = c.Close()
			}
		}()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// reaches dials, and says whether somebody answered.
func (p *place) reaches(ip string, port int, limit time.Duration) bool {
	return p.do(func() error {
		c, err := net.DialTimeout("tcp", net.JoinHostPort(ip, strconv.Itoa(port)), limit)
		if err == nil {
			_ = c.Close()
		}
		return err
	}) == nil
}

func TestOnlyAnOpenedPortIsReachedFromOutside(t *testing.T) {
	guest, host, f := joined(t)
	const router, other = 8443, 9000
	guest.listen(t, router)
	guest.listen(t, other)
	for _, ip := range []string{guest4, guest6} {
		if host.reaches(ip, router, silence) {
			t.Errorf("%s: reached before the port was opened", ip)
		}
	}
	if err := guest.do(func() error { return f.Open(router) }); err != nil {
		t.Fatal(err)
	}
	for _, ip := range []string{guest4, guest6} { // the latter needs neighbour discovery let in
		if !host.reaches(ip, router, answerLimit) {
			t.Errorf("%s: the opened port does not answer", ip)
		}
		if host.reaches(ip, other, silence) {
			t.Errorf("%s: a port that nobody opened answers", ip)
		}
	}
}

func TestTheGuestReachesTheOutsideAndItself(t *testing.T) {
	guest, host, _ := joined(t)
	host.listen(t, 80)
	guest.listen(t, 81)
	for _, tc := range []struct {
		ip   string
		port int
	}{{host4, 80}, {host6, 80}, {"127.0.0.1", 81}, {"::1", 81}, {guest4, 81}} {
		if !guest.reaches(tc.ip, tc.port, answerLimit) {
			t.Errorf("%s port %d does not answer", tc.ip, tc.port)
		}
	}
}

func TestOfDatagramsOnlyAnswersOfADHCPServerComeIn(t *testing.T) {
	guest, host, _ := joined(t)
	tests := map[string]struct {
		from, to int
		want     bool
	}{
		"answer":               {dhcpServer, dhcpClient, true},
		"not a server":         {1067, dhcpClient, false},
		"server, other socket": {dhcpServer, 1068, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var sink *net.UDPConn
			err := guest.do(func() (err error) {
				sink, err = net.ListenUDP("udp4", &net.UDPAddr{Port: tc.to})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = sink.Close() }()
			err = host.do(func() error {
				c, err := net.DialUDP("udp4", &net.UDPAddr{Port: tc.from}, &net.UDPAddr{IP: net.ParseIP(guest4), Port: tc.to})
				if err != nil {
					return err
				}
				_, err = c.Write([]byte("x"))
				return errors.Join(err, c.Close())
			})
			if err != nil {
				t.Fatal(err)
			}
			wait := silence
			if tc.want {
				wait = answerLimit
			}
			if err := sink.SetReadDeadline(time.Now().Add(wait)); err != nil {
				t.Fatal(err)
			}
			n, err := sink.Read(make([]byte, 8))
			if got := n > 0 && err == nil; got != tc.want {
				t.Errorf("arrived: %t, %v", got, err)
			}
		})
	}
}

func TestApplyingTwiceClosesThePortsAgain(t *testing.T) {
	guest, host, f := joined(t)
	guest.listen(t, 8443)
	if err := guest.do(func() error { return errors.Join(f.Open(8443), f.Apply()) }); err != nil {
		t.Fatal(err)
	}
	if host.reaches(guest4, 8443, silence) {
		t.Error("a port of the replaced table is still open")
	}
}
