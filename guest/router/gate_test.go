package router

import (
	"net/netip"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func smallLimits() Limits {
	l := DefaultLimits()
	l.Pending, l.PendingPerSource, l.Sessions, l.SessionsPerSource = 6, 2, 10, 3
	l.Exempt = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}
	return l
}

// TestGateSources: a source has its own places; addresses of one IPv6 subscriber are one source; exempt networks and
// local programs are bounded only by the listener.
func TestGateSources(t *testing.T) {
	for name, tc := range map[string]struct {
		from  []string
		local bool
		want  int // admitted while all stay pending
		why   string
	}{
		"one IPv4 address":      {[]string{"192.0.2.1", "192.0.2.1", "192.0.2.1"}, false, 2, fullSource},
		"mapped is the same":    {[]string{"192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1"}, false, 2, fullSource},
		"two IPv4 addresses":    {[]string{"192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2"}, false, 4, ""},
		"one /64":               {[]string{"2001:db8::1", "2001:db8::2", "2001:db8::3"}, false, 2, fullSource},
		"two /64":               {[]string{"2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:0:1::2", "2001:db8:0:2::2"}, false, 4, ""},
		"zones do not multiply": {[]string{"fe80::1%a", "fe80::1%b", "fe80::1%c"}, false, 2, fullSource},
		"exempt":                {[]string{"10.1.2.3", "10.1.2.3", "10.1.2.3", "10.1.2.3", "10.1.2.3", "10.1.2.3", "10.1.2.3"}, false, 6, fullPending},
		"exempt IPv6":           {[]string{"fd00::1", "fd00::1", "fd00::1"}, false, 3, ""},
		"local":                 {[]string{"127.0.0.1", "127.0.0.1", "127.0.0.1"}, true, 3, ""},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGate(smallLimits(), tc.local)
			var held []*ticket
			last := ""
			for _, from := range tc.from {
				ticket, why := g.admit(netip.MustParseAddr(from))
				if (ticket == nil) != (why != "") {
					t.Fatalf("ticket %v with reason %q", ticket, why)
				}
				if last = why; ticket != nil {
					held = append(held, ticket)
				}
			}
			if len(held) != tc.want || last != tc.why {
				t.Errorf("admitted %d, then %q, want %d, %q", len(held), last, tc.want, tc.why)
			}
			for _, h := range held {
				h.done()
			}
			if g.sessions() != 0 || g.pending() != 0 || len(g.sources) != 0 {
				t.Errorf("%d places, %d sources left", g.sessions(), len(g.sources))
			}
		})
	}
}

// TestGateSessions: an established session frees its handshake's place and keeps its own.
func TestGateSessions(t *testing.T) {
	g := newGate(smallLimits(), false)
	from := netip.MustParseAddr("192.0.2.1")
	for i := range 3 {
		ticket, why := g.admit(from)
		if why != "" {
			t.Fatalf("session %d: %s", i, why)
		}
		ticket.established()
		defer ticket.done()
	}
	if _, why := g.admit(from); why != fullSource {
		t.Errorf("the fourth session of a source: %q, want %q", why, fullSource)
	}
	if g.pending() != 0 || g.sessions() != 3 {
		t.Errorf("%d pending, %d sessions", g.pending(), g.sessions())
	}
}

// TestGateNeverLoses: whatever the order of events, counts are those of the tickets held and limits hold.
func TestGateNeverLoses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := smallLimits()
		g := newGate(l, false)
		sources := []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "10.1.0.1", "192.0.2.3"}
		type holding struct {
			ticket *ticket
			source string
			live   bool
		}
		var held []*holding
		t.Repeat(map[string]func(*rapid.T){
			"admit": func(t *rapid.T) {
				source := rapid.SampledFrom(sources).Draw(t, "source")
				if ticket, _ := g.admit(netip.MustParseAddr(source)); ticket != nil {
					held = append(held, &holding{ticket: ticket, source: source})
				}
			},
			"establish": func(t *rapid.T) {
				if len(held) > 0 {
					h := rapid.SampledFrom(held).Draw(t, "ticket")
					h.ticket.established()
					h.live = true
				}
			},
			"done": func(t *rapid.T) {
				if len(held) > 0 {
					i := rapid.IntRange(0, len(held)-1).Draw(t, "index")
					held[i].ticket.done()
					held[i].ticket.done()
					held[i].ticket.established()
					held = append(held[:i], held[i+1:]...)
				}
			},
			"": func(t *rapid.T) {
				pending, per := 0, map[string]places{}
				for _, h := range held {
					p := per[h.source]
					p.sessions++
					if !h.live {
						pending++
						p.pending++
					}
					per[h.source] = p
				}
				if g.pending() != pending || g.sessions() != len(held) {
					t.Fatalf("%d pending, %d sessions, want %d, %d", g.pending(), g.sessions(), pending, len(held))
				}
				if pending > l.Pending || len(held) > l.Sessions {
					t.Fatalf("%d pending and %d sessions exceed the limits", pending, len(held))
				}
				counted := 0
				for source, p := range per {
					if source == "10.1.0.1" {
						continue
					}
					counted++
					if got := g.sources[sourceOf(netip.MustParseAddr(source))]; got == nil || *got != p || p.pending > l.PendingPerSource || p.sessions > l.SessionsPerSource {
						t.Fatalf("%s: %+v, want %+v within limits", source, got, p)
					}
				}
				if len(g.sources) != counted {
					t.Fatalf("%d sources remembered, %d hold places", len(g.sources), counted)
				}
			},
		})
	})
}

// TestGateConcurrent: counts survive contention.
func TestGateConcurrent(t *testing.T) {
	l := smallLimits()
	l.Pending, l.Sessions = 1000, 1000
	g := newGate(l, false)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			from := netip.AddrFrom4([4]byte{192, 0, 2, byte(i % 3)})
			for range 500 {
				if ticket, _ := g.admit(from); ticket != nil {
					ticket.established()
					ticket.done()
				}
			}
		})
	}
	all.Wait()
	if g.sessions() != 0 || g.pending() != 0 || len(g.sources) != 0 {
		t.Errorf("%d places, %d sources left", g.sessions(), len(g.sources))
	}
}
