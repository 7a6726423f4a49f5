package device_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mdlayher/vsock"
	"golang.org/x/sys/unix"

	"cocoon/guest/device"
	"cocoon/guest/rtmr"
	"cocoon/measure/measuretest"
	"cocoon/measure/simtd"
	"cocoon/measure/tdx"
)

// serve answers for the TD on a listener until the test ends.
func serve(t *testing.T, td *measuretest.TD, network, address string) net.Listener {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	accept(t, td, l)
	return l
}

func accept(t *testing.T, td *measuretest.TD, l net.Listener) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- td.Serve(ctx, l, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// terminal is a character device with two ends: what a serial port is to a guest and its host.
func terminal(t *testing.T) (host *os.File, guest string) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Skipf("no terminals here: %v", err)
	}
	raw, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	raw.Iflag, raw.Oflag, raw.Lflag = 0, 0, 0
	raw.Cflag = raw.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, raw); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "port"), fmt.Sprintf("/dev/pts/%d", n)
}

// serveVSock needs a kernel with the loopback transport, which containers rarely have.
func serveVSock(t *testing.T, td *measuretest.TD) simtd.Address {
	t.Helper()
	const port = 51234
	l, err := vsock.ListenContextID(vsock.Local, port, nil)
	if err != nil {
		t.Skipf("no vsock loopback here: %v", err)
	}
	conn, err := vsock.Dial(vsock.Local, port, nil)
	if err != nil {
		_ = l.Close()
		t.Skipf("no vsock loopback here: %v", err)
	}
	_ = conn.Close()
	accept(t, td, l)
	return simtd.Address{Network: simtd.VSock, CID: vsock.Local, Number: port}
}

func servePort(t *testing.T, td *measuretest.TD) simtd.Address {
	t.Helper()
	host, guest := terminal(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- td.ServeConn(ctx, host) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Logf("the session ended with the guest's end: %v", err)
		}
	})
	return simtd.Address{Network: simtd.Port, Path: guest}
}

// Everything that a guest asks, over every kind of channel: the registers as published for the sample spec (measure.md
// section 9.2), a quote and a report of them, the log, a seal key that changes with them, and a reboot.
func TestEveryChannelCarriesEveryQuestion(t *testing.T) {
	channels := map[string]func(t *testing.T, td *measuretest.TD) simtd.Address{
		"unix": func(t *testing.T, td *measuretest.TD) simtd.Address {
			t.Helper()
			path := filepath.Join(t.TempDir(), "s")
			serve(t, td, "unix", path)
			return simtd.Address{Network: simtd.Unix, Path: path}
		},
		"tcp": func(t *testing.T, td *measuretest.TD) simtd.Address {
			t.Helper()
			return simtd.Address{Network: simtd.TCP, Host: serve(t, td, "tcp", "127.0.0.1:0").Addr().String()}
		},
		"port":  servePort,
		"vsock": serveVSock,
	}
	for name, open := range channels {
		t.Run(name, func(t *testing.T) {
			p := platform(t)
			s := device.NewSimulated(open(t, p.TD))
			defer func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			}()
			sealed, err := s.SealKey(t.Context(), "disk_encryption")
			if err != nil || len(sealed) != 32 {
				t.Fatalf("seal key of %d bytes, %v", len(sealed), err)
			}
			extendSample(t, s)
			if later, err := s.SealKey(t.Context(), "disk_encryption"); err != nil || bytes.Equal(later, sealed) {
				t.Errorf("the seal key does not depend on RTMR3: %v", err)
			}
			quote, err := s.Quote(t.Context(), reportData(3))
			if err != nil {
				t.Fatal(err)
			}
			checkQuote(t, quote, reportData(3))
			report, err := s.Report(t.Context(), reportData(4))
			if err != nil || p.CheckReport(report) != nil {
				t.Errorf("report: %v, %v", err, p.CheckReport(report))
			}
			log, err := s.EventLog(t.Context())
			if want, _ := p.EventLog(); err != nil || !bytes.Equal(log, want) {
				t.Errorf("log of %d bytes, %v", len(log), err)
			}
			if err := s.Extend(tdx.MRTD, tdx.Digest{}); !errors.Is(err, simtd.ErrRefused) {
				t.Errorf("extending MRTD gave %v", err)
			}
			if err := s.Reset(t.Context()); err != nil {
				t.Fatal(err)
			}
			if v, err := s.Read(tdx.RTMR3); err != nil || !v.IsZero() {
				t.Errorf("RTMR3 after a reboot is %s, %v", v, err)
			}
		})
	}
}

func extendSample(t *testing.T, bank rtmr.Bank) {
	t.Helper()
	var value tdx.Digest
	log := rtmr.NewLog(bank, io.Discard)
	for _, m := range []string{"cocoon:spec.tree=0566cc9f43f0226f9afde745fc272252eeb7febc50a78af8f2e0820ea60c65d8", "cocoon:tdx_inited"} {
		var err error
		if value, err = log.Extend(m); err != nil {
			t.Fatal(err)
		}
	}
	const want = "be9f3898020cb7df9402494bfee15e8b584832506b5e9fc2638ff1652b219eceec1d187a490f9d910e7ce9d69d448610"
	if value.String() != want {
		t.Errorf("RTMR3 is %s, want %s", value, want)
	}
}

func TestQuestionsAtOnceTakeTurns(t *testing.T) {
	p := platform(t)
	s := device.NewSimulated(simtd.Address{Network: simtd.TCP, Host: serve(t, p.TD, "tcp", "127.0.0.1:0").Addr().String()})
	defer func() { _ = s.Close() }()
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			quote, err := s.Quote(t.Context(), reportData(byte(i)))
			if err != nil {
				t.Error(err)
				return
			}
			checkQuote(t, quote, reportData(byte(i)))
			if err := s.Extend(tdx.RTMR3, tdx.Sum([]byte("x"))); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	want := tdx.Digest{}
	for range 16 {
		want = want.Extend(tdx.Sum([]byte("x")))
	}
	if got, err := s.Read(tdx.RTMR3); err != nil || got != want {
		t.Errorf("RTMR3 is %s, %v", got, err)
	}
}

func TestAHostThatComesLaterIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := platform(t)
		tries := 0
		var served sync.WaitGroup
		s := device.DialSimulated(func(ctx context.Context) (io.ReadWriteCloser, error) {
			if tries++; tries < 20 {
				return nil, errors.New("connection refused")
			}
			guest, host := net.Pipe()
			served.Go(func() { _ = p.ServeConn(ctx, host) })
			return guest, nil
		})
		if _, err := s.Read(tdx.RTMR0); err != nil || tries != 20 {
			t.Errorf("after %d tries: %v", tries, err)
		}
		served.Wait() // the first question's context has ended, and its session with it
		if v, err := s.Read(tdx.RTMR0); err == nil {
			t.Errorf("a dead channel gave %s", v)
		}
		if _, err := s.Read(tdx.RTMR0); err != nil {
			t.Errorf("the next question after a dead channel: %v", err)
		}
		served.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestAnAbsentOrSilentHostIsGivenUp(t *testing.T) {
	dialers := map[string]device.Dialer{
		"absent": func(context.Context) (io.ReadWriteCloser, error) { return nil, errors.New("connection refused") },
		"silent": func(context.Context) (io.ReadWriteCloser, error) {
			guest, host := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, host) }()
			return guest, nil
		},
	}
	for name, dial := range dialers {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := device.DialSimulated(dial)
				start := time.Now()
				if _, err := s.Read(tdx.RTMR0); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 15*time.Second {
					t.Errorf("after %s: %v", time.Since(start), err)
				}
				start = time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if _, err := s.Quote(ctx, reportData(1)); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Minute {
					t.Errorf("after %s: %v", time.Since(start), err)
				}
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestAHostThatAnswersAnotherQuestionIsRefused(t *testing.T) {
	p := platform(t)
	tests := map[string]func(r simtd.Request) []byte{
		"quote over other data": func(simtd.Request) []byte { q, _ := p.Quote(context.Background(), reportData(2)); return q },
		"no quote":              func(simtd.Request) []byte { return []byte("quote") },
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			var served sync.WaitGroup
			s := device.DialSimulated(func(context.Context) (io.ReadWriteCloser, error) {
				guest, host := net.Pipe()
				served.Go(func() {
					var r simtd.Request
					for simtd.Read(host, &r) == nil {
						_ = simtd.Write(host, simtd.Response{ID: r.ID, Data: answer(r)})
					}
				})
				return guest, nil
			})
			if _, err := s.Quote(t.Context(), reportData(1)); err == nil {
				t.Error("the quote was accepted")
			}
			if _, err := s.Report(t.Context(), reportData(1)); err == nil {
				t.Error("the report was accepted")
			}
			if _, err := s.Read(tdx.RTMR0); err == nil {
				t.Error("the register was accepted")
			}
			_ = s.Close()
			served.Wait()
		})
	}
}

func TestNetworksThatThisMachineLacksAreErrors(t *testing.T) {
	for name, a := range map[string]simtd.Address{
		"no such port": {Network: simtd.Port, Path: filepath.Join(t.TempDir(), "vport0p1")},
		"unknown":      {Network: "udp"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		if _, err := device.NewSimulated(a).EventLog(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}
