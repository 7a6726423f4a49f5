package receipts

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt"
)

// party is a proxy with its documents, and what the evidence says of them.
type party struct {
	key              ed25519.PrivateKey
	session          string
	noReport         bool
	quote, worker    error
	spki             string
	asked, askedSess int
	mangle           func(report map[string]any)
}

func newParty() *party {
	return &party{
		key: ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), spki: "spki",
		session: `{"api_version":"aci/1","channel_binding":[{"origin":"x","spki_sha256":"ws","type":"tls_spki_sha256"}],"claims":{},` +
			`"established_at":1,"evidence":{"data":"","digest":""},"expires_at":4102444800,"identity":{"engine":"e","image_hash":"ih","model_id":"m","owner":"o","worker_sc":"0:77"}}`,
	}
}

func (p *party) rawKeyset() []byte {
	return receipt.NewKeyset(receipt.Subject("0:p"), t0.Add(time.Hour), "k", ed25519.PublicKey(p.key[32:]), []string{"spki"})
}

func (p *party) digest(tb testing.TB) string {
	tb.Helper()
	k, err := receipt.ParseKeyset(p.rawKeyset())
	if err != nil {
		tb.Fatal(err)
	}
	return k.Digest()
}

func (p *party) Attestation(ctx context.Context, _ *[32]byte) ([]byte, error) {
	p.asked++
	if _, bounded := ctx.Deadline(); !bounded {
		return nil, errors.New("a question without an end")
	}
	if p.noReport {
		return nil, errors.New("none")
	}
	k, err := receipt.ParseKeyset(p.rawKeyset())
	if err != nil {
		return nil, err
	}
	report := map[string]any{
		"workload_keyset_digest": k.Digest(),
		"attestation":            map[string]any{"workload_keyset": json.RawMessage(p.rawKeyset()), "evidence": map[string]any{"quote": "aa"}},
	}
	if p.mangle != nil {
		p.mangle(report)
	}
	return json.Marshal(report)
}

func (p *party) Session(context.Context, [32]byte) ([]byte, error) {
	p.askedSess++
	return []byte(p.session), nil
}

func (p *party) Keyset(context.Context, []byte, [32]byte) error { return p.quote }
func (p *party) Worker(context.Context, *receipt.Session) error { return p.worker }
func (p *party) Terms(config, _ int64) (receipt.Terms, bool) {
	return receipt.Terms{Price: 20, Multipliers: pricing.Multipliers{Prompt: 10000, Cached: 10000, Completion: 10000, Reasoning: 10000}}, config == 3
}

// claim is a good receipt at a place of the ledger, after change.
func (p *party) claim(tb testing.TB, seq int64, total uint64, change func(r *receipt.Receipt)) Claim {
	tb.Helper()
	s, err := receipt.ParseSession([]byte(newParty().session))
	if err != nil {
		tb.Fatal(err)
	}
	request, response := []byte("ask"), []byte("answer")
	r := &receipt.Receipt{
		ID: strings.Repeat("1", 64), Model: "m", KeysetDigest: p.digest(tb), Endpoint: "/v1/x", ServedAt: t0.Unix(),
		RequestHash: receipt.SHA256(request), ForwardedHash: receipt.SHA256(request), ResponseHash: receipt.SHA256(response),
		Verified: receipt.Verified{OK: true, Model: "m", SessionID: s.ID}, Worker: &receipt.Worker{SC: "0:77", SPKI: "ws", Image: "ih", Engine: "e"},
		Usage: receipt.Usage{
			Source: "engine", Tokens: pricing.Tokens{Prompt: 4, Completion: 6}, Coefficient: 1000, Reserved: 100, Price: 20, ConfigVersion: 3,
			Multipliers: pricing.Multipliers{Prompt: 10000, Cached: 10000, Completion: 10000, Reasoning: 10000},
		},
		Channel: receipt.Channel{ProxySC: "0:p", ClientSC: "0:c", ProxyKey: ed25519.PublicKey(p.key[32:]), LedgerSeq: seq, Total: total},
		Outcome: receipt.Outcome{Status: receipt.Complete, HTTPStatus: 200, Bytes: int64(len(response))},
	}
	r.Usage.Meter()
	if change != nil {
		change(r)
	}
	return Claim{Receipt: r.Sign("k", p.key), Request: request, Response: response, SPKI: p.spki, ClientSC: "0:c", ProxySC: "0:p"}
}

func TestVerdicts(t *testing.T) {
	for name, tc := range map[string]struct {
		spoil  func(p *party)
		change func(r *receipt.Receipt)
		claim  func(c *Claim)
		want   receipt.Class
		why    string
	}{
		"good":             {},
		"other quote":      {spoil: func(p *party) { p.quote = errors.New("old TCB") }, want: receipt.KeysetMismatch, why: "old TCB"},
		"no report":        {spoil: func(p *party) { p.noReport = true }, want: receipt.KeysetMismatch, why: "none"},
		"other connection": {spoil: func(p *party) { p.spki = "else" }, want: receipt.KeysetMismatch, why: "connection"},
		"report lies": {spoil: func(p *party) {
			p.mangle = func(r map[string]any) { r["workload_keyset_digest"] = "sha256:00" }
		}, want: receipt.KeysetMismatch, why: "it names keyset"},
		"quote is no hex": {spoil: func(p *party) {
			p.mangle = func(r map[string]any) {
				r["attestation"] = map[string]any{"workload_keyset": json.RawMessage(p.rawKeyset()), "evidence": map[string]any{"quote": "xx"}}
			}
		}, want: receipt.KeysetMismatch, why: "quote"},
		"no such session":      {spoil: func(p *party) { p.session = "" }, want: receipt.SessionUnknown, why: "does not know"},
		"another session":      {spoil: func(p *party) { p.session = strings.Replace(p.session, `"o"`, `"q"`, 1) }, want: receipt.SessionUnknown, why: "another session"},
		"malformed session":    {spoil: func(p *party) { p.session = "{" }, want: receipt.SessionUnknown, why: "reading session"},
		"worker refused":       {spoil: func(p *party) { p.worker = errors.New("bad image") }, want: receipt.SessionUnknown, why: "bad image"},
		"session id":           {change: func(r *receipt.Receipt) { r.Verified.SessionID = "zz" }, want: receipt.SessionUnknown, why: "64 hexadecimal"},
		"price version":        {change: func(r *receipt.Receipt) { r.Usage.ConfigVersion = 4 }, want: receipt.PriceMismatch},
		"multipliers":          {change: func(r *receipt.Receipt) { r.Usage.Multipliers.Completion *= 2; r.Usage.Meter() }, want: receipt.PriceMismatch, why: "multipliers"},
		"dear worker":          {claim: func(c *Claim) { c.MaxCoefficient = 999 }, want: receipt.PriceMismatch, why: "accepted 999"},
		"worker dear enough":   {claim: func(c *Claim) { c.MaxCoefficient, c.Whole, c.Model = 1000, true, "m" }},
		"another model asked":  {claim: func(c *Claim) { c.Model = "n" }, want: receipt.WorkerMismatch, why: "was asked for"},
		"another model served": {change: func(r *receipt.Receipt) { r.Model = "n" }, want: receipt.WorkerMismatch, why: "the worker serves"},
		"said to be cut short": {
			change: func(r *receipt.Receipt) { r.Outcome.Status, r.Outcome.Bytes = receipt.Cancelled, 100 }, claim: func(c *Claim) { c.Whole = true }, want: receipt.ResponseHash,
		},
		"other bytes":   {claim: func(c *Claim) { c.Response = []byte("anther") }, want: receipt.ResponseHash},
		"other channel": {claim: func(c *Claim) { c.ProxySC = "0:x" }, want: receipt.ChannelMismatch},
		"not JSON":      {claim: func(c *Claim) { c.Receipt = []byte("{") }, want: receipt.Malformed},
		"nothing":       {claim: func(c *Claim) { c.Receipt = nil }, want: receipt.Malformed},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParty()
			if tc.spoil != nil {
				tc.spoil(p)
			}
			c := p.claim(t, 1, 10, tc.change)
			if tc.claim != nil {
				tc.claim(&c)
			}
			checker := NewChecker(p, func() time.Time { return t0 })
			r, err := checker.Check(t.Context(), p, c)
			if got := receipt.ClassOf(err); got != tc.want || err != nil && !strings.Contains(err.Error(), tc.why) {
				t.Fatalf("got %v, want %s", err, tc.want)
			}
			if tc.want == "" && (r == nil || len(checker.Sessions()) != 1 || string(checker.Session(r.Verified.SessionID)) != p.session) {
				t.Error("the session is not remembered")
			}
		})
	}
}

func TestDocumentsAreAskedForOnce(t *testing.T) {
	p := newParty()
	c := NewChecker(p, func() time.Time { return t0 })
	for i := range 5 {
		if _, err := c.Check(t.Context(), p, p.claim(t, int64(i), uint64(10*i+10), nil)); err != nil {
			t.Fatal(err)
		}
	}
	if p.asked != 1 || p.askedSess != 1 {
		t.Errorf("asked %d and %d times", p.asked, p.askedSess)
	}
}

// silent is a proxy that does not say what its sessions are until it may.
type silent struct {
	*party
	asked, may chan struct{}
}

func (s *silent) Session(ctx context.Context, id [32]byte) ([]byte, error) {
	close(s.asked)
	select {
	case <-s.may:
		return s.party.Session(ctx, id)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TestASilentProxyDelaysItselfAlone: the verdict on another proxy's receipt does not wait for it, who misses the same document
// does, without asking again, and who gives up has a reason.
func TestASilentProxyDelaysItselfAlone(t *testing.T) {
	p := newParty()
	c := NewChecker(p, func() time.Time { return t0 })
	claims := []Claim{p.claim(t, 1, 10, nil), p.claim(t, 2, 20, nil)}
	s := &silent{party: newParty(), asked: make(chan struct{}), may: make(chan struct{})}
	verdicts := make(chan error, len(claims))
	for _, claim := range claims {
		go func() {
			_, err := c.Check(t.Context(), s, claim)
			verdicts <- err
		}()
	}
	<-s.asked
	other := newParty()
	other.session = strings.Replace(other.session, `"o"`, `"other"`, 1)
	session, err := receipt.ParseSession([]byte(other.session))
	if err != nil {
		t.Fatal(err)
	}
	cited := p.claim(t, 3, 30, func(r *receipt.Receipt) { r.Verified.SessionID = session.ID })
	if _, err := c.Check(t.Context(), other, cited); err != nil {
		t.Errorf("another's receipt: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Check(ctx, s, p.claim(t, 4, 40, nil)); receipt.ClassOf(err) != receipt.SessionUnknown || !strings.Contains(err.Error(), "waiting for") {
		t.Errorf("who gives up: %v", err)
	}
	close(s.may)
	for range claims {
		if err := <-verdicts; err != nil {
			t.Error(err)
		}
	}
	if s.askedSess != 1 || len(c.asking) != 0 {
		t.Errorf("asked %d times, %d questions are left", s.askedSess, len(c.asking))
	}
}

// tardy is Evidence that learns of a version when it is asked to.
type tardy struct {
	*party
	asked int
	knows bool
	err   error
}

func (l *tardy) Terms(config, params int64) (receipt.Terms, bool) {
	t, ok := l.party.Terms(config, params)
	return t, ok && l.knows
}

func (l *tardy) Catch(ctx context.Context, config, _ int64) error {
	l.asked++
	l.knows = config == 3
	if _, bounded := ctx.Deadline(); !bounded {
		return errors.New("a question without an end")
	}
	return l.err
}

// TestNewVersionsAreAskedForOnce: a receipt that is ahead of the view of the root has it read once more, in bounded time;
// what cannot be learnt is the verdict's reason.
func TestNewVersionsAreAskedForOnce(t *testing.T) {
	l := &tardy{party: newParty()}
	c := NewChecker(l, func() time.Time { return t0 })
	for i := range 3 {
		if _, err := c.Check(t.Context(), l, l.claim(t, int64(i), uint64(10*i+10), nil)); err != nil {
			t.Fatal(err)
		}
	}
	if l.asked != 1 {
		t.Errorf("asked %d times", l.asked)
	}
	l.err = errors.New("no liteserver")
	_, err := c.Check(t.Context(), l, l.claim(t, 4, 50, func(r *receipt.Receipt) { r.Usage.ConfigVersion = 4 }))
	if receipt.ClassOf(err) != receipt.PriceMismatch || !strings.Contains(err.Error(), "no liteserver") || l.asked != 2 {
		t.Errorf("%v after %d questions", err, l.asked)
	}
}

func TestTheLedgerOfAChannelRisesByWhatIsBilled(t *testing.T) {
	type place struct {
		seq   int64
		total uint64
	}
	for name, tc := range map[string]struct {
		places []place
		want   receipt.Class
	}{
		"in order":       {[]place{{1, 10}, {2, 20}, {3, 30}}, ""},
		"with gaps":      {[]place{{1, 10}, {5, 90}}, ""},
		"out of order":   {[]place{{3, 30}, {1, 10}, {2, 20}}, ""},
		"overcharged":    {[]place{{1, 10}, {2, 21}}, Overcharged},
		"found late":     {[]place{{1, 10}, {3, 40}, {2, 20}}, Overcharged},
		"seen before":    {[]place{{1, 10}, {1, 10}}, LedgerBroken},
		"falls":          {[]place{{1, 10}, {2, 5}}, LedgerBroken},
		"rises too slow": {[]place{{1, 10}, {2, 15}}, LedgerBroken},
	} {
		t.Run(name, func(t *testing.T) {
			p := newParty()
			c := NewChecker(p, func() time.Time { return t0 })
			var last error
			for _, at := range tc.places {
				_, last = c.Check(t.Context(), p, p.claim(t, at.seq, at.total, nil))
			}
			if got := receipt.ClassOf(last); got != tc.want {
				t.Errorf("got %v", last)
			}
		})
	}
	t.Run("what is remembered is bounded", func(t *testing.T) {
		p := newParty()
		c := NewChecker(p, func() time.Time { return t0 })
		for i := range int64(maxNeighbours + 50) {
			if err := c.follow(&receipt.Receipt{Channel: receipt.Channel{LedgerSeq: i}}); err != nil {
				t.Fatal(err)
			}
		}
		for _, l := range c.ledger {
			for _, book := range l.books {
				if len(book) != maxNeighbours {
					t.Errorf("%d entries", len(book))
				}
			}
		}
	})
}

func FuzzReport(f *testing.F) {
	p := newParty()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	raw, err := p.Attestation(ctx, nil)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range [][]byte{raw, []byte("{}"), []byte(`{"attestation":{"workload_keyset":{}}}`), []byte("["), nil, []byte(hex.EncodeToString(raw))} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		k, _, err := ReadReport(data)
		if err == nil && !strings.Contains(string(data), k.Digest()) && !strings.Contains(string(data), `\u`) {
			t.Errorf("a keyset that the report does not name: %s", k.Digest())
		}
		_ = receipt.Read(data).Cites()
	})
}
