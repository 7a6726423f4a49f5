package measuretest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"cocoon/measure/simtd"
	"cocoon/measure/tdx"
)

const (
	// maxGuests bounds the channels that are served at once.
	maxGuests = 64
	// writeDeadline is how long a guest may take to receive an answer.
	writeDeadline = 30 * time.Second
)

// Answer carries out one request of a guest.
func (t *TD) Answer(ctx context.Context, r simtd.Request) simtd.Response {
	data, err := t.answer(ctx, &r)
	if err != nil {
		return simtd.Response{ID: r.ID, Error: err.Error()}
	}
	return simtd.Response{ID: r.ID, Data: data}
}

func (t *TD) answer(ctx context.Context, r *simtd.Request) ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	switch r.Method {
	case simtd.GetReport:
		return t.Report([tdx.ReportDataSize]byte(r.ReportData)), nil
	case simtd.GetQuote:
		return t.Quote(ctx, [tdx.ReportDataSize]byte(r.ReportData))
	case simtd.ExtendRTMR:
		return nil, t.Extend(*r.Register, *r.Digest)
	case simtd.ReadMR:
		d, err := t.Read(*r.Register)
		return d[:], err
	case simtd.EventLog:
		return t.EventLog()
	case simtd.SealKey:
		return t.SealKey(r.Label)
	case simtd.Reset:
		t.Reset()
		return nil, nil
	}
	return nil, fmt.Errorf("method %q is unknown", r.Method)
}

// ServeConn answers a guest's requests until the guest goes, sends something malformed, or ctx ends; the channel is
// closed then. A guest that goes between two requests, and the end of ctx, are no errors.
func (t *TD) ServeConn(ctx context.Context, channel io.ReadWriteCloser) error {
	stop := context.AfterFunc(ctx, func() { _ = channel.Close() })
	defer func() {
		if stop() {
			_ = channel.Close()
		}
	}()
	for {
		var r simtd.Request
		err := simtd.Read(channel, &r)
		if err == nil {
			answer := t.Answer(ctx, r)
			// Not every channel has deadlines, but each can be closed.
			late := time.AfterFunc(writeDeadline, func() { _ = channel.Close() })
			err = simtd.Write(channel, answer)
			late.Stop()
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), ctx.Err() != nil:
			return nil
		default:
			return fmt.Errorf("serving software TDX: %w", err)
		}
	}
}

// Serve answers guests that connect to the listener until ctx ends, and then waits for their sessions. It closes the
// listener.
func (t *TD) Serve(ctx context.Context, l net.Listener, log *slog.Logger) error {
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	var sessions errgroup.Group
	sessions.SetLimit(maxGuests)
	for {
		conn, err := l.Accept()
		if err != nil {
			_ = sessions.Wait() // sessions log their own errors
			_ = l.Close()
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("accepting guests of software TDX: %w", err)
		}
		started := sessions.TryGo(func() error {
			if err := t.ServeConn(ctx, conn); err != nil {
				log.Warn("Guest's channel ended", slog.String("peer", conn.RemoteAddr().String()), slog.Any("err", err))
			}
			return nil
		})
		if !started {
			log.Warn("Too many guests", slog.Int("limit", maxGuests))
			_ = conn.Close()
		}
	}
}
