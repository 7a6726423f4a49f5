package worker

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cocoon/contracts/chain"
	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/contracts/wire/session"
	"cocoon/contracts/wire/tl"
)

// TestAWorkerThatIsDelistedWaitsAndComesBack: the proxies are told, new requests are refused, and when the root lists the
// model again it goes on over the same connection.
func TestAWorkerThatIsDelistedWaitsAndComesBack(t *testing.T) {
	var missing atomic.Pointer[registry.NotListedError]
	k := newKit(t, func(_ *Config, d *Deps) {
		d.Eligible = func() error {
			if m := missing.Load(); m != nil {
				return m
			}
			return nil
		}
	})
	p := k.connect(5)
	missing.Store(&registry.NotListedError{List: registry.Models, What: testModel, Version: 6})
	k.w.RootChanged()
	for notice[*tl.WorkerEnabledDisabled](t, p).Disabled != 1 {
	}
	if a := p.run(1, call{body: chat(false, "x")}); a.code != int32(session.CodeNotReady) {
		t.Errorf("%d %s", a.code, a.text)
	}
	if s := k.w.Status(); s.State != "not eligible" || s.Reason != "model "+testModel+" not in root version 6" || s.Code != "model_hash_not_listed" {
		t.Errorf("%+v", s)
	}
	missing.Store(nil)
	k.w.RootChanged()
	for notice[*tl.WorkerEnabledDisabled](t, p).Disabled != 0 {
	}
	if a := p.run(2, call{body: chat(false, "x")}); a.code != 0 {
		t.Errorf("%d %s", a.code, a.text)
	}
}

// TestAProxyThatIsDelistedLosesItsConnection: the worker judges by what the root says now, not when it connected.
func TestAProxyThatIsDelistedLosesItsConnection(t *testing.T) {
	var delisted atomic.Bool
	k := newKit(t, func(_ *Config, d *Deps) {
		d.CheckPeer = func(Peer) error {
			if delisted.Load() {
				return errors.New("image hash 01 not in root version 2")
			}
			return nil
		}
	})
	p := k.connect(5)
	k.w.RootChanged()
	if a := p.run(1, call{body: chat(false, "x")}); a.code != 0 {
		t.Fatalf("%d %s", a.code, a.text)
	}
	delisted.Store(true)
	k.w.RootChanged()
	p.wait()
	k.until("says why", func() bool { return strings.Contains(k.log.String(), "image hash 01 not in root version 2") })
}

// TestAQueryKeepsThePriceThatItCameAt: what is counted for a peer of the reference is counted by one price.
func TestAQueryKeepsThePriceThatItCameAt(t *testing.T) {
	var dear atomic.Bool
	k := newKit(t, func(_ *Config, d *Deps) {
		d.Prices = func() Prices {
			p := Plain(20)
			if dear.Load() {
				p.Multipliers.Prompt, p.Multipliers.Completion = 90_000, 90_000
			}
			return p
		}
	})
	p := k.connect(4)
	asked := k.engine.Requests.Load()
	id := p.query(1, call{body: chat(true, "fault:slow-head")})
	k.until("asked", func() bool { return k.engine.Requests.Load() > asked })
	dear.Store(true)
	before := p.collect(id).final.TokensUsed
	after := p.run(2, call{body: chat(true, "fault:slow-head")}).final.TokensUsed
	if before.TotalTokensUsed == 0 || after.TotalTokensUsed != 9*before.TotalTokensUsed {
		t.Errorf("under way %+v, later %+v", before, after)
	}
}

func TestReasonsHaveNames(t *testing.T) {
	for want, err := range map[string]error{
		"image_hash_not_listed": &registry.NotListedError{List: registry.Workers},
		"model_hash_not_listed": fmt.Errorf("root: %w", &registry.NotListedError{List: registry.Models}),
		string(follow.Stale):    fmt.Errorf("root: %w", chain.ErrStaleHead),
		string(follow.Unread):   registry.ErrNoSnapshot,
	} {
		k := newKit(t, func(_ *Config, d *Deps) {
			d.Eligible = func() error { return err }
			d.Sync = func() follow.State { return follow.State{Age: time.Minute} }
		})
		if s := k.w.Status(); s.Code != want || s.Chain == nil || s.Chain.Age != time.Minute {
			t.Errorf("%v: %+v", err, s)
		}
		k.stop()
	}
}

// TestAPublicationIsActedOnAtOnce: a worker that waits to be listed does not wait for its next look.
func TestAPublicationIsActedOnAtOnce(t *testing.T) {
	var listed atomic.Bool
	k := newKit(t, func(_ *Config, d *Deps) {
		d.Eligible = func() error {
			if !listed.Load() {
				return &registry.NotListedError{List: registry.Workers}
			}
			return nil
		}
	})
	k.until("waits", func() bool { return k.w.Status().State == "not eligible" && k.w.Status().Engine })
	began := time.Now()
	listed.Store(true)
	k.w.RootChanged()
	k.connect(5)
	if took := time.Since(began); took > recheck/2 {
		t.Errorf("connected %s after the publication", took)
	}
}
