package netcfg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/guest/config"
)

// script is a DHCP server whose answers are a function of the question's number; it notes when it was asked what.
type script struct {
	start   time.Time
	asked   []string
	acquire func(n int) (Lease, error)
	extend  func(n int) (Lease, error)
	n       int
}

func (s *script) note(ctx context.Context, what string) {
	s.n++
	deadline, ok := ctx.Deadline()
	if !ok {
		what += " without a deadline"
	}
	s.asked = append(s.asked, fmt.Sprintf("%s %s within %s", time.Since(s.start), what, time.Until(deadline)))
}

func (s *script) Acquire(ctx context.Context, ifname string) (Lease, error) {
	s.note(ctx, "acquire "+ifname)
	return s.acquire(s.n)
}

func (s *script) Extend(ctx context.Context, _ string, l Lease, everyone bool) (Lease, error) {
	who := "server " + l.Server.String()
	if everyone {
		who = "everyone"
	}
	s.note(ctx, "extend "+who)
	return s.extend(s.n)
}

// hourly is a lease of an hour.
func hourly(addr string) Lease {
	return Lease{
		Address: netip.MustParsePrefix(addr), Server: netip.MustParseAddr("10.0.2.2"),
		Routes: []Route{{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr("10.0.2.2")}},
		Times:  Times{Renew: 30 * time.Minute, Rebind: 50 * time.Minute, Expire: time.Hour},
	}
}

var errSilence = errors.New("no answer")

// keep runs a keeper of an hourly lease for a while and returns what it did to the interface and what it logged.
func keep(t *testing.T, s *script, wishes config.Network, d time.Duration) (*links, string, string) {
	t.Helper()
	root := guestRoot(t)
	l, out := new(links), new(bytes.Buffer)
	s.start = time.Now()
	c := configurer(l, s, root)
	c.Log = slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	if err := newKeeper(c, "eth0", wishes, hourly("10.0.2.15/24")).Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
	resolvers, err := os.ReadFile(filepath.Join(root, ResolvConf))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	return l, out.String(), string(resolvers)
}

func TestALeaseIsRenewedAtHalfOfItsTimeAndNothingElseHappens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{extend: func(int) (Lease, error) { return hourly("10.0.2.15/24"), nil }}
		l, log, resolvers := keep(t, s, config.Network{}, 70*time.Minute)
		want := []string{"30m0s extend server 10.0.2.2 within 30s", "1h0m0s extend server 10.0.2.2 within 30s"}
		if diff := cmp.Diff(want, s.asked); diff != "" {
			t.Error(diff)
		}
		if len(l.calls) != 0 || resolvers != "" || strings.Count(log, "Lease renewed") != 2 || strings.Contains(log, "Lease changed") {
			t.Errorf("%v %q\n%s", l.calls, resolvers, log)
		}
	})
}

func TestASilentServerIsAskedAgainThenEveryoneThenTheAddressIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{
			extend:  func(int) (Lease, error) { return Lease{}, errSilence },
			acquire: func(int) (Lease, error) { return hourly("10.0.2.77/24"), nil },
		}
		l, log, _ := keep(t, s, config.Network{}, 61*time.Minute)
		want := []string{ // half of what is left until T2 and then until the end, at least a minute, and once at each
			"30m0s extend server 10.0.2.2 within 30s", "40m0s extend server 10.0.2.2 within 30s", "45m0s extend server 10.0.2.2 within 30s",
			"47m30s extend server 10.0.2.2 within 30s", "48m45s extend server 10.0.2.2 within 30s", "49m45s extend server 10.0.2.2 within 30s",
			"50m0s extend everyone within 30s", "55m0s extend everyone within 30s", "57m30s extend everyone within 30s",
			"58m45s extend everyone within 30s", "59m45s extend everyone within 15s", "1h0m0s acquire eth0 within 1m0s",
		}
		if diff := cmp.Diff(want, s.asked); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"remove eth0", "apply eth0"}, l.calls); diff != "" {
			t.Error(diff)
		}
		if l.removed[0].Address != hourly("10.0.2.15/24").Address || l.applied.Address != hourly("10.0.2.77/24").Address {
			t.Errorf("removed %v, applied %v", l.removed, l.applied)
		}
		for _, line := range []string{"Lease not renewed", `msg="Lease lost" interface=eth0 address=10.0.2.15/24`, errSilence.Error(), `msg="Lease changed" interface=eth0 address=10.0.2.77/24`} {
			if !strings.Contains(log, line) {
				t.Errorf("%q is not in the log:\n%s", line, log)
			}
		}
	})
}

func TestARefusedAddressIsGivenUpAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{
			extend: func(int) (Lease, error) { return Lease{}, ErrRefused },
			acquire: func(n int) (Lease, error) {
				if n < 4 {
					return Lease{}, errSilence
				}
				return hourly("10.0.2.15/24"), nil
			},
		}
		l, log, _ := keep(t, s, config.Network{}, 31*time.Minute)
		want := []string{
			"30m0s extend server 10.0.2.2 within 30s", "30m0s acquire eth0 within 1m0s",
			"30m10s acquire eth0 within 50s", "30m30s acquire eth0 within 30s",
		}
		if diff := cmp.Diff(want, s.asked); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"remove eth0", "apply eth0"}, l.calls); diff != "" || !strings.Contains(log, ErrRefused.Error()) {
			t.Errorf("%s\n%s", diff, log)
		}
	})
}

func TestChangesAreAppliedAndOldRoutesTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		next := hourly("10.0.2.15/16")
		next.Routes = []Route{{Dst: netip.MustParsePrefix("10.8.0.0/16"), Gateway: netip.MustParseAddr("10.0.2.9")}}
		next.DNS = []netip.Addr{netip.MustParseAddr("10.0.2.3")}
		s := &script{extend: func(int) (Lease, error) { return next, nil }}
		l, log, resolvers := keep(t, s, config.Network{}, 40*time.Minute)
		if diff := cmp.Diff([]string{"apply eth0", "remove eth0"}, l.calls); diff != "" {
			t.Error(diff)
		}
		gone := l.removed[0]
		if gone.Address != hourly("10.0.2.15/24").Address || len(gone.Routes) != 1 || gone.Routes[0] != hourly("10.0.2.15/24").Routes[0] {
			t.Errorf("removed %+v", gone)
		}
		if resolvers != "nameserver 10.0.2.3\n" || !strings.Contains(log, "was=10.0.2.15/24") {
			t.Errorf("%q\n%s", resolvers, log)
		}
	})
}

func TestTheOperatorsResolversOutliveARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{extend: func(int) (Lease, error) {
			next := hourly("10.0.2.15/24")
			next.DNS = []netip.Addr{netip.MustParseAddr("10.66.66.66")}
			return next, nil
		}}
		_, _, resolvers := keep(t, s, config.Network{DNS: []string{"1.1.1.1"}}, 40*time.Minute)
		if resolvers != "nameserver 1.1.1.1\n" {
			t.Errorf("resolv.conf = %q", resolvers)
		}
	})
}

func TestAKeeperGoesOnAfterAFailureAndEndsWithAnEndlessLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &script{extend: func(int) (Lease, error) {
			l := hourly("10.0.2.16/24")
			l.Times = Times{}
			return l, nil
		}}
		l := &links{fail: "apply eth0"}
		c := configurer(l, s, guestRoot(t))
		k := newKeeper(c, "eth0", config.Network{}, hourly("10.0.2.15/24"))
		if err := k.Run(context.Background()); !errors.Is(err, errLink) {
			t.Errorf("err = %v", err)
		}
		l.fail = ""
		if err := k.Run(context.Background()); err != nil || !k.held || k.lease.Address.String() != "10.0.2.16/24" {
			t.Errorf("%v, holds %+v", err, k.lease)
		}
	})
}
