package device

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/mdlayher/vsock"

	"cocoon/measure/simtd"
	"cocoon/measure/tdx"
)

const (
	// registerDeadline bounds questions that come without a context; the host answers them from memory.
	registerDeadline = 15 * time.Second
	// redialWait is between two tries to reach a host that does not listen yet.
	redialWait = 200 * time.Millisecond
	// tcpDialLimit bounds one try over TCP.
	tcpDialLimit = 5 * time.Second
)

// Dialer opens a channel to the software TDX.
type Dialer func(ctx context.Context) (io.ReadWriteCloser, error)

// Simulated is the source of a machine without TDX: the software TDX of its host.
type Simulated struct {
	dial Dialer
	// turn is held by who uses channel and conn.
	turn    chan struct{}
	channel io.ReadWriteCloser
	conn    *simtd.Conn
}

// NewSimulated makes the source at an address. It dials when it is asked something.
func NewSimulated(a simtd.Address) *Simulated { return DialSimulated(dialer(a)) }

// DialSimulated makes a source that opens its channel itself.
func DialSimulated(dial Dialer) *Simulated {
	return &Simulated{dial: dial, turn: make(chan struct{}, 1)}
}

// Quote makes a simulated quote over the report data.
func (s *Simulated) Quote(ctx context.Context, reportData [tdx.ReportDataSize]byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, quoteDeadline)
	defer cancel()
	data, err := s.ask(ctx, simtd.Request{Method: simtd.GetQuote, ReportData: reportData[:]})
	if err != nil {
		return nil, fmt.Errorf("making simulated quote: %w", err)
	}
	return checkQuote(data, reportData)
}

// Report makes a simulated TDREPORT over the report data.
func (s *Simulated) Report(ctx context.Context, reportData [tdx.ReportDataSize]byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, registerDeadline)
	defer cancel()
	data, err := s.ask(ctx, simtd.Request{Method: simtd.GetReport, ReportData: reportData[:]})
	if err != nil {
		return nil, fmt.Errorf("making simulated report: %w", err)
	}
	return checkReport(data, reportData)
}

// EventLog is the log of the simulated firmware.
func (s *Simulated) EventLog(ctx context.Context) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, registerDeadline)
	defer cancel()
	return s.ask(ctx, simtd.Request{Method: simtd.EventLog})
}

// SealKey is the key of 32 bytes that belongs to the label and to the registers as they are now.
func (s *Simulated) SealKey(ctx context.Context, label string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, registerDeadline)
	defer cancel()
	return s.ask(ctx, simtd.Request{Method: simtd.SealKey, Label: label})
}

// Read returns a register.
func (s *Simulated) Read(r tdx.Register) (tdx.Digest, error) {
	ctx, cancel := context.WithTimeout(context.Background(), registerDeadline)
	defer cancel()
	data, err := s.ask(ctx, simtd.Request{Method: simtd.ReadMR, Register: &r})
	switch {
	case err != nil:
		return tdx.Digest{}, fmt.Errorf("reading simulated %s: %w", r, err)
	case len(data) != tdx.DigestSize:
		return tdx.Digest{}, fmt.Errorf("reading simulated %s: %d bytes, want %d", r, len(data), tdx.DigestSize)
	}
	return tdx.Digest(data), nil
}

// Extend replaces an RTMR by SHA384(register ‖ digest). After an error it is unknown whether the register was extended;
// who must know reads it, as rtmr.Log does.
func (s *Simulated) Extend(r tdx.Register, digest tdx.Digest) error {
	ctx, cancel := context.WithTimeout(context.Background(), registerDeadline)
	defer cancel()
	if _, err := s.ask(ctx, simtd.Request{Method: simtd.ExtendRTMR, Register: &r, Digest: &digest}); err != nil {
		return fmt.Errorf("extending simulated %s: %w", r, err)
	}
	return nil
}

// Reset makes the registers what they were after the firmware ran: a test machine calls it once, when it boots over a
// channel that an earlier boot used.
func (s *Simulated) Reset(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, registerDeadline)
	defer cancel()
	_, err := s.ask(ctx, simtd.Request{Method: simtd.Reset})
	return err
}

// Close closes the channel.
func (s *Simulated) Close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	return s.drop()
}

// ask puts one question. A channel that failed is closed, and the next question opens another.
func (s *Simulated) ask(ctx context.Context, r simtd.Request) ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the channel to software TDX: %w", ctx.Err())
	}
	if err := s.open(ctx); err != nil {
		return nil, err
	}
	channel := s.channel
	stop := context.AfterFunc(ctx, func() { _ = channel.Close() }) // ends the wait for an answer
	data, err := s.conn.Call(r)
	stopped := stop()
	if err != nil && !stopped {
		err = errors.Join(ctx.Err(), err)
	}
	if !stopped || err != nil && !errors.Is(err, simtd.ErrRefused) {
		return data, errors.Join(err, s.drop())
	}
	return data, err
}

// open dials until the host answers or ctx ends: the guest may be faster than its host.
func (s *Simulated) open(ctx context.Context) error {
	for s.channel == nil {
		channel, err := s.dial(ctx)
		if err == nil {
			var first [8]byte
			if _, err := rand.Read(first[:]); err != nil {
				return errors.Join(err, channel.Close())
			}
			// Half the range is left for counting, the top bit for JSON readers with signed numbers.
			s.channel, s.conn = channel, simtd.NewConn(channel, binary.LittleEndian.Uint64(first[:])>>2)
			return nil
		}
		timer := time.NewTimer(redialWait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("reaching software TDX: %w", errors.Join(ctx.Err(), err))
		case <-timer.C:
		}
	}
	return nil
}

func (s *Simulated) drop() error {
	if s.channel == nil {
		return nil
	}
	err := s.channel.Close()
	s.channel, s.conn = nil, nil
	if errors.Is(err, os.ErrClosed) || errors.Is(err, net.ErrClosed) {
		return nil // the end of a context closed it before
	}
	return err
}

// dialer opens a channel to an address.
func dialer(a simtd.Address) Dialer {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		switch a.Network {
		case simtd.Unix:
			return (&net.Dialer{}).DialContext(ctx, "unix", a.Path)
		case simtd.TCP:
			return (&net.Dialer{Timeout: tcpDialLimit}).DialContext(ctx, "tcp", a.Host)
		case simtd.VSock:
			return vsock.Dial(a.CID, a.Number, nil)
		case simtd.Port:
			path, err := portNode("/", a.Path)
			if err != nil {
				return nil, err
			}
			return os.OpenFile(path, os.O_RDWR, 0)
		}
		return nil, fmt.Errorf("network %q is unknown", a.Network)
	}
}
