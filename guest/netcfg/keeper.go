package netcfg

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"cocoon/guest/config"
)

const (
	keeperTask = "dhcp"
	// extendLimit bounds one question for more time, acquireLimit one for a new lease.
	extendLimit  = 30 * time.Second
	acquireLimit = time.Minute
	// minPause is the least time between two questions for more time (RFC 2131 section 4.4.5).
	minPause = time.Minute
	// firstRetry is the pause after the first vain question for a new lease; it doubles up to maxRetry.
	firstRetry = 10 * time.Second
	maxRetry   = 5 * time.Minute
)

// keeper keeps one lease alive. Its fields belong to the goroutine in Run, so a Run after a failed one goes on where
// that stopped.
type keeper struct {
	Configurer
	ifname string
	wishes config.Network

	lease Lease
	since time.Time
	held  bool
}

func newKeeper(c Configurer, ifname string, n config.Network, l Lease) *keeper {
	return &keeper{Configurer: c, ifname: ifname, wishes: n, lease: l, since: c.Now(), held: true}
}

// Run renews the lease until ctx ends, or until a lease without an end is given. A lease that is lost is replaced.
func (k *keeper) Run(ctx context.Context) error {
	for ctx.Err() == nil && (!k.held || k.lease.Times.Expire > 0) {
		if err := k.step(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// step waits for the next change of the lease and makes the interface follow.
func (k *keeper) step(ctx context.Context) error {
	ask := k.acquire
	if k.held {
		ask = k.extend
	}
	next, err := ask(ctx)
	switch {
	case err == nil:
		return k.adopt(next)
	case k.held && ctx.Err() == nil:
		return k.lose(err)
	default:
		return err
	}
}

// extend waits for T1 and asks until somebody gives more time, the address is refused, or the lease is over.
func (k *keeper) extend(ctx context.Context) (Lease, error) {
	t := k.lease.Times
	last := errors.New("nobody was asked")
	for pause := t.Renew - k.age(); ; pause = k.pause() {
		if err := await(ctx, pause); err != nil {
			return Lease{}, err
		}
		left := t.Expire - k.age()
		if left <= 0 {
			return Lease{}, fmt.Errorf("the lease of %s is over: %w", t.Expire, last)
		}
		everyone := k.age() >= t.Rebind || !k.lease.Server.IsValid()
		ask, cancel := context.WithTimeout(ctx, min(extendLimit, left))
		next, err := k.DHCP.Extend(ask, k.ifname, k.lease, everyone)
		cancel()
		if err == nil || errors.Is(err, ErrRefused) {
			return next, err
		}
		last = err
		k.Log.Warn("Lease not renewed", slog.String("interface", k.ifname), slog.Bool("everyone", everyone), slog.String("err", err.Error()))
	}
}

func (k *keeper) age() time.Duration { return k.Now().Sub(k.since) }

// pause is half of what is left until T2, and after it until the end, but never short and never past that point.
func (k *keeper) pause() time.Duration {
	until := k.lease.Times.Rebind - k.age()
	if until <= 0 {
		until = k.lease.Times.Expire - k.age()
	}
	return min(max(until/2, minPause), until)
}

// lose takes a lost address off the interface: somebody else may have it next.
func (k *keeper) lose(cause error) error {
	k.Log.Error("Lease lost", slog.String("interface", k.ifname), slog.String("address", k.lease.Address.String()), slog.String("err", cause.Error()))
	k.held = false
	if err := k.Links.Remove(k.ifname, k.lease); err != nil {
		return fmt.Errorf("giving %s up: %w", k.lease.Address, err)
	}
	return nil
}

// acquire asks for a new lease until there is one; only the end of ctx ends it otherwise.
func (k *keeper) acquire(ctx context.Context) (Lease, error) {
	for pause := firstRetry; ; pause = min(2*pause, maxRetry) {
		ask, cancel := context.WithTimeout(ctx, acquireLimit)
		next, err := k.DHCP.Acquire(ask, k.ifname)
		cancel()
		if err == nil {
			return next, nil
		}
		k.Log.Warn("No new lease", slog.String("interface", k.ifname), slog.String("err", err.Error()))
		if err := await(ctx, pause); err != nil {
			return Lease{}, err
		}
	}
}

// adopt makes the interface what the new lease says, and says so when anything is different.
func (k *keeper) adopt(next Lease) error {
	next, err := withResolvers(next, k.wishes)
	if err != nil {
		return err
	}
	old, held := k.lease, k.held
	same := held && old.Address == next.Address && slices.Equal(old.Routes, next.Routes) && slices.Equal(old.DNS, next.DNS)
	log := k.Log.With(slog.String("interface", k.ifname), slog.String("address", next.Address.String()), slog.Duration("dur", next.Times.Expire))
	if same {
		log.Debug("Lease renewed")
		k.lease, k.since = next, k.Now()
		return nil
	}
	log.Info("Lease changed", slog.String("was", old.Address.String()), slog.Any("dns", texts(next.DNS)))
	if err := k.Links.Apply(k.ifname, next); err != nil {
		return fmt.Errorf("configuring %s: %w", k.ifname, err)
	}
	k.lease, k.since, k.held = next, k.Now(), true
	if held {
		if err := k.Links.Remove(k.ifname, stale(old, next)); err != nil {
			return fmt.Errorf("configuring %s: %w", k.ifname, err)
		}
	}
	return k.writeResolvers(next.DNS)
}

// stale is what of an old lease a new one does not have.
func stale(old, next Lease) Lease {
	var out Lease
	if old.Address != next.Address {
		out.Address = old.Address
	}
	for _, r := range old.Routes {
		if !slices.ContainsFunc(next.Routes, func(n Route) bool { return n.Dst == r.Dst }) { // the same destination is replaced
			out.Routes = append(out.Routes, r)
		}
	}
	return out
}

func await(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(max(d, 0))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
