package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cocoon/contracts/api/stats"
	"cocoon/contracts/chain"
	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/contracts/wire/tl"
)

// rooted is a proxy that checks its workers against a root that a test changes: one image, and models.
func rooted(models map[[32]byte]bool) option {
	return func(c *Config, d *Deps) {
		c.CheckWorkers = true
		if stub, ok := d.Chain.(*chainStub); ok {
			stub.WorkerImages, stub.Models = map[[32]byte]bool{{0xe5}: true}, models
		}
	}
}

// TestAnUnlistedModelWaitsUntilItIsPublished: its worker is connected, shown with the reason and given nothing.
func TestAnUnlistedModelWaitsUntilItIsPublished(t *testing.T) {
	inProxy(t, func(b *bench) {
		w := b.worker(5, serveWhole)
		c := b.client(5)
		c.send(run(1, chat))
		if r := c.collect(1); r.code == 0 || len(w.seen()) != 0 {
			t.Fatalf("an unlisted model is served: %+v", r)
		}
		reason := "not eligible: model " + model + " not in root version 1"
		if s := b.p.Status(); len(s.Workers) != 1 || s.Workers[0].Held != reason || s.Workers[0].Enabled {
			t.Errorf("shown as %+v", s.Workers)
		}
		raw, err := json.Marshal(b.p.JSONStats())
		if err != nil || !bytes.Contains(raw, []byte(reason)) {
			t.Errorf("%v, %s", err, raw)
		}
		if page := fmt.Sprintf("%+v", b.p.Page().Tables); !strings.Contains(page, reason) {
			t.Errorf("the page does not say why: %s", page)
		}
		before := b.p.allWorkers()[0].paper()
		b.chain.set(func() { b.chain.Models = map[[32]byte]bool{registry.ModelHash(model): true} })
		b.p.RootChanged()
		c.send(run(2, chat))
		if r := c.collect(2); r.code != 0 || len(w.seen()) != 1 {
			t.Fatalf("the published model is not served: %+v", r)
		}
		if _, err := b.verify(hear[*tl.ClientQueryReceipt](c.party).Receipt, chat, answer); err != nil {
			t.Errorf("receipt: %v", err)
		}
		if now := b.p.allWorkers()[0].paper(); now == before {
			t.Error("the session's document still says that nobody knows of the model")
		}
		b.chain.set(func() { b.chain.Models = nil })
		b.p.RootChanged()
		if err := <-b.ends; err == nil || !strings.Contains(err.Error(), "not in root version 1") || len(b.p.allWorkers()) != 0 {
			t.Errorf("a worker whose model was taken off the list: %v", err)
		}
	}, rooted(nil))
}

// TestAWorkerThatIsDisabledStaysSoWhenItsModelIsPublished: the root's word does not replace the worker's own.
func TestAWorkerThatIsDisabledStaysSoWhenItsModelIsPublished(t *testing.T) {
	inProxy(t, func(b *bench) {
		w := b.worker(5, serveWhole)
		w.send(&tl.WorkerEnabledDisabled{Disabled: 1})
		synctest.Wait()
		b.chain.set(func() { b.chain.Models = map[[32]byte]bool{registry.ModelHash(model): true} })
		b.p.RootChanged()
		if s := b.p.Status(); s.Workers[0].Enabled || s.Workers[0].Held != "" {
			t.Errorf("%+v", s.Workers[0])
		}
		w.send(&tl.WorkerEnabledDisabled{Disabled: 0})
		synctest.Wait()
		if s := b.p.Status(); !s.Workers[0].Enabled {
			t.Errorf("%+v", s.Workers[0])
		}
	}, rooted(nil))
}

// metered is what a receipt says about the price.
func metered(t *testing.T, raw []byte) (price string, config, params int64) {
	t.Helper()
	var doc struct {
		Events []struct {
			Type   string `json:"type"`
			Price  string `json:"price_per_token_nano"`
			Config int64  `json:"config_version"`
			Params int64  `json:"params_version"`
		} `json:"event_log"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		t.Fatal(err)
	}
	for _, e := range doc.Events {
		if e.Type == "usage.metered" {
			return e.Price, e.Config, e.Params
		}
	}
	t.Fatalf("no usage in %s", raw)
	return "", 0, 0
}

// TestARunningRequestKeepsThePriceThatItBeganWith: receipts name the versions that their price is from.
func TestARunningRequestKeepsThePriceThatItBeganWith(t *testing.T) {
	inProxy(t, func(b *bench) {
		goOn := make(chan struct{})
		b.worker(5, func(w *scriptWorker, o order) {
			<-goOn
			serveWhole(w, o)
		})
		c := b.client(5)
		c.send(run(1, chat))
		synctest.Wait()
		b.chain.set(func() {
			b.chain.root = func(r *Root) error { r.Version, r.ParamsVersion, r.Price = 8, 3, 50; return nil }
		})
		b.p.RootChanged()
		close(goOn)
		if r := c.collect(1); r.code != 0 {
			t.Fatalf("%+v", r)
		}
		if price, config, params := metered(t, hear[*tl.ClientQueryReceipt](c.party).Receipt); price != "1" || config != 1 || params != 1 {
			t.Errorf("the running request: price %s at %d, %d", price, config, params)
		}
		c.send(run(9, chat))
		if r := c.collect(9); r.code != 651 || !strings.Contains(r.text, "connect again") {
			t.Errorf("the old session under new parameters: %+v", r)
		}
		for range 2 { // its worker's and its own
			if err := <-b.ends; !errors.Is(err, errParameters) {
				t.Errorf("a session ended with %v", err)
			}
		}
		b.worker(5, serveWhole)
		c = b.client(5)
		c.send(run(2, chat))
		c.collect(2)
		if price, config, params := metered(t, hear[*tl.ClientQueryReceipt](c.party).Receipt); price != "50" || config != 8 || params != 3 {
			t.Errorf("the next request: price %s at %d, %d", price, config, params)
		}
	})
}

// TestAnOldRootIsRefusedByNameAndComesBack: what runs is finished, nothing new begins, and nothing has to be restarted.
func TestAnOldRootIsRefusedByNameAndComesBack(t *testing.T) {
	inProxy(t, func(b *bench) {
		goOn := make(chan struct{})
		b.worker(5, func(w *scriptWorker, o order) {
			<-goOn
			serveWhole(w, o)
		})
		c := b.client(5)
		c.send(run(1, chat))
		synctest.Wait()
		b.chain.set(func() {
			b.chain.root = func(*Root) error { return fmt.Errorf("%w: block 7 is 2h ago", chain.ErrStaleHead) }
		})
		c.send(run(2, chat))
		if r := c.collect(2); r.code != 651 || !strings.Contains(r.text, "block 7 is 2h ago") {
			t.Errorf("a new request: %+v", r)
		}
		if s := b.p.Status(); s.Ready || s.Code != string(follow.Stale) {
			t.Errorf("%+v", s)
		}
		close(goOn)
		if r := c.collect(1); r.code != 0 {
			t.Errorf("the running request: %+v", r)
		}
		b.chain.set(func() { b.chain.root = nil })
		c.send(run(3, chat))
		if r := c.collect(3); r.code != 0 {
			t.Errorf("after the chain came back: %+v", r)
		}
	})
}

// TestAProxyWhoseImageIsNotListedWaits is row 7 of protocol.md section 12.
func TestAProxyWhoseImageIsNotListedWaits(t *testing.T) {
	var own error
	inProxy(t, func(b *bench) {
		own = &registry.NotListedError{List: registry.Proxies, What: "abcd", Version: 4}
		p, leave := b.join(b.p.ServeClient, Peer{})
		defer leave()
		_, err := p.ask(&tl.ClientConnectToProxy{Params: clientParams(address(4), 0, 5), MinConfigVersion: 1})
		if code, text := failure(err); code != 651 || !strings.Contains(text, "not eligible: image hash abcd (proxy) not in root version 4") {
			t.Errorf("%v", err)
		}
		if s := b.p.Status(); s.Ready || s.Code != "image_hash_not_listed" {
			t.Errorf("%+v", s)
		}
		own = nil
		b.client(5)
	}, func(_ *Config, d *Deps) { d.Eligible = func() error { return own } })
}

func TestPagesShowTheAgeOfTheChain(t *testing.T) {
	for _, tc := range []struct {
		age   time.Duration
		want  stats.Health
		light follow.Light
	}{
		{5 * time.Second, stats.Good, follow.Green},
		{20 * time.Minute, stats.Degraded, follow.Amber},
		{2 * time.Hour, stats.Bad, follow.Red},
	} {
		inProxy(t, func(b *bench) {
			page, found := b.p.Page(), false
			for _, f := range page.Identity {
				found = found || f.Name == "Chain" && f.Health == tc.want && strings.Contains(f.Value, tc.age.String())
			}
			raw, err := json.Marshal(b.p.JSONStats())
			if !found || err != nil || !bytes.Contains(raw, []byte(`"root_age":"`+string(tc.light))) {
				t.Errorf("%s: %+v, %v", tc.age, page.Identity, err)
			}
		}, func(_ *Config, d *Deps) {
			d.Sync = func() follow.State {
				return follow.State{Known: true, Age: tc.age, Light: follow.LightOf(tc.age), Seqno: 3}
			}
		})
	}
}
