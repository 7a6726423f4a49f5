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

func isEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, io.ErrClosedPipe)
}
