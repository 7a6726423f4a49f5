package receipts

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/receipt"
)

func newChecker(p *party) *Checker { return NewChecker(p, func() time.Time { return t0 }) }

func TestAProxyMayNotAskForMoreThanItsReceiptsSay(t *testing.T) {
	p := newParty()
	c := newChecker(p)
	asked := func(tokens int64) receipt.Class {
		t.Helper()
		return receipt.ClassOf(c.Asked("0:c", "0:p", tokens))
	}
	if got := asked(1 << 40); got != "" {
		t.Errorf("before the first receipt: %s", got)
	}
	if _, err := c.Check(t.Context(), p, p.claim(t, 1, 10, nil)); err != nil {
		t.Fatal(err)
	}
	for tokens, want := range map[int64]receipt.Class{0: "", 9: "", 10: "", 11: Overcharged, -1: ""} {
		if got := asked(tokens); got != want {
			t.Errorf("%d tokens: %q, want %q", tokens, got, want)
		}
	}
	c.Unsettled("0:c", "0:p")
	if got := asked(500); got != "" {
		t.Errorf("a request without a receipt may have cost that: %s", got)
	}
	if _, err := c.Check(t.Context(), p, p.claim(t, 3, 40, nil)); err != nil {
		t.Fatal(err)
	}
	if asked(40) != "" || asked(41) != Overcharged {
		t.Errorf("after the next receipt: %q, %q", asked(40), asked(41))
	}
	c.Unsettled("0:other", "0:p") // nothing is known of that channel
}

func TestTheLedgerGoesOnOverARestart(t *testing.T) {
	p := newParty()
	one, two := p.claim(t, 1, 10, nil), p.claim(t, 2, 21, nil)
	c := newChecker(p)
	for _, r := range []Record{
		{Class: ClassOK, Receipt: one.Receipt},
		{Class: "overcharged", Receipt: p.claim(t, 9, 900, nil).Receipt},
		{Class: ClassOK, Receipt: []byte("{")},
		{Class: ClassOK, Receipt: []byte(`{"event_log":[{"type":"cocoon.channel","tokens_total":"x"}]}`)},
		{Class: ClassOK, Receipt: []byte(`{}`)},
	} {
		c.Recall(r)
	}
	if _, err := c.Check(t.Context(), p, two); receipt.ClassOf(err) != Overcharged {
		t.Errorf("the entry after the one of the last run: %v", err)
	}
	if _, err := c.Check(t.Context(), p, one); receipt.ClassOf(err) != LedgerBroken {
		t.Errorf("the entry of the last run again: %v", err)
	}
	if err := c.Asked("0:c", "0:p", 11); receipt.ClassOf(err) != Overcharged {
		t.Errorf("more than the last run's receipt: %v", err)
	}
}

// lateParty knows the price of a version only after it was told to look.
type lateParty struct {
	*party
	known bool
	err   error
}

func (l *lateParty) Terms(config, params int64) (receipt.Terms, bool) {
	if !l.known {
		return receipt.Terms{}, false
	}
	return l.party.Terms(config, params)
}

func (l *lateParty) Catch(_ context.Context, config, params int64) error {
	if config == 3 && l.err == nil {
		l.known = true
	}
	_ = params
	return l.err
}

func TestAReceiptMayBeAheadOfWhatIsKnownOfTheRoot(t *testing.T) {
	p := newParty()
	if _, err := NewChecker(&lateParty{party: p}, func() time.Time { return t0 }).Check(t.Context(), p, p.claim(t, 1, 10, nil)); err != nil {
		t.Error(err)
	}
	blind := &lateParty{party: p, err: errors.New("no liteserver answers")}
	_, err := NewChecker(blind, func() time.Time { return t0 }).Check(t.Context(), p, p.claim(t, 1, 10, nil))
	if receipt.ClassOf(err) != receipt.PriceMismatch || !strings.Contains(err.Error(), "no liteserver answers") {
		t.Errorf("error %v", err)
	}
}

func FuzzRecall(f *testing.F) {
	p := newParty()
	for _, seed := range []string{
		`{}`, `{"event_log":[]}`, `{"event_log":[{"type":"usage.metered","billed_total":-1},{"type":"cocoon.channel","ledger_seq":-5,"tokens_total":"18446744073709551615"}]}`,
		`{"workload_keyset_digest":"x","event_log":[{"type":"cocoon.channel","client_sc":"a","proxy_sc":"b","ledger_seq":9223372036854775807,"tokens_total":"1"}]}`, `[`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		c := newChecker(p)
		for range 2 {
			c.Recall(Record{Class: ClassOK, Receipt: doc})
		}
		for key, l := range c.ledger {
			for _, book := range l.books {
				if len(book) != 1 {
					t.Errorf("%q holds %d entries of one receipt", key, len(book))
				}
			}
		}
	})
}

func TestVerdictsOnDocumentsAreGivenAnewWhenTheRootChanges(t *testing.T) {
	p := newParty()
	c := newChecker(p)
	if _, err := c.Check(t.Context(), p, p.claim(t, 1, 10, nil)); err != nil {
		t.Fatal(err)
	}
	p.worker = errors.New("image hash is not in the root contract")
	if _, err := c.Check(t.Context(), p, p.claim(t, 2, 20, nil)); err != nil {
		t.Fatalf("nothing was said to have changed: %v", err)
	}
	c.Rejudge()
	if _, err := c.Check(t.Context(), p, p.claim(t, 3, 30, nil)); receipt.ClassOf(err) != receipt.SessionUnknown || !strings.Contains(err.Error(), "not in the root") {
		t.Errorf("a worker that is not listed any more: %v", err)
	}
	p.worker = nil
	if _, err := c.Check(t.Context(), p, p.claim(t, 3, 30, nil)); err != nil {
		t.Errorf("it is listed again: %v", err)
	}
}
