package ratls

import (
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// bounded runs work on a connection so that it ends when ctx does.
func bounded(ctx context.Context, c net.Conn, work func() error) error {
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return err
		}
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = c.SetDeadline(time.Unix(1, 0)) // long past: what is blocked returns
	})
	err := work()
	if !stop() {
		<-ended
	}
	if reset := c.SetDeadline(time.Time{}); err == nil {
		err = reset
	}
	return err
}

// turn is a lock that is waited for no longer than a context lasts.
type turn chan struct{}

func newTurn() turn { return make(turn, 1) }

func (t turn) take(ctx context.Context) error {
	select {
	case t <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (t turn) give() { <-t }

func isEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}
