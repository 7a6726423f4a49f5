package upstream

import (
	"context"
	"errors"
	"time"
)

// Ways to leave a session whose end nobody noticed as a failure.
var (
	errRenewed = errors.New("the session is made anew, because what it rests on has changed")
	errRetired = errors.New("the proxy is not among those that are used any more")
)

// leaving says why a session is left.
type leaving uint8

const (
	staying leaving = iota
	// renew makes another session with the same proxy, retire makes none.
	renew
	retire
)

// leave ends the session once what it carries has ended.
func (l *Link) leave(why leaving) {
	l.mu.Lock()
	l.left = max(l.left, why)
	l.mu.Unlock()
	l.wake()
}

// wake has whoever runs the link look what there is to do.
func (l *Link) wake() {
	select {
	case l.told <- struct{}{}:
	default: // it will look anyway
	}
}

func (l *Link) leaves() leaving {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.left
}

// departure is why the session is left; nil when it is not.
func (l *Link) departure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.left {
	case retire:
		return errRetired
	case renew:
		l.left = staying
		return errRenewed
	default:
		return nil
	}
}

// depart ends the session, once it was told to, when nothing is under way on it any more.
func (v *live) depart(ctx context.Context) error {
	const look = 10 * time.Millisecond
	l, err := v.link, error(nil)
	for err == nil {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-l.told:
		}
		err = l.departure()
	}
	l.update(func(s *Status) { s.State, s.Reason = Draining, err.Error() })
	patience := time.NewTimer(l.cfg.Drain)
	defer patience.Stop()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for v.running() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-patience.C:
			return err
		case <-tick.C:
		}
	}
	return err
}
