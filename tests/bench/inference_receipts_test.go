package bench

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt"
	"cocoon/contracts/receipt/often"
	"cocoon/host/gateway/receipts"
	"cocoon/tests/bench/load"
)

// cost is what a part of the work takes, in microseconds of processor time.
type cost struct {
	name string
	cost float64
}

// threadTime is the processor time of this thread.
func threadTime(t *testing.T) time.Duration {
	t.Helper()
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ts.Nano())
}

// takes is the processor time of one run of work, the best of several turns.
func takes(t *testing.T, work func()) float64 {
	t.Helper()
	const turns, runs = 5, 300
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	best := time.Duration(0)
	for range turns {
		began := threadTime(t)
		for range runs {
			work()
		}
		if took := threadTime(t) - began; best == 0 || took < best {
			best = took
		}
	}
	return float64(best.Nanoseconds()) / 1e3 / runs
}

// papers are everything that a receipt of a request of the loads here needs.
type papers struct {
	request, response []byte
	receipt           receipt.Receipt
	statement         receipt.WorkerStatement
	session           *receipt.Session
	keyset            *receipt.Keyset
	proxy, worker     ed25519.PrivateKey
	signature         []byte
	store             *receipts.Store
	signers, workers  often.Cache // the gateway's and the proxy's
	kept              int
}

func newPapers(t *testing.T) *papers {
	t.Helper()
	key := func(n byte) ed25519.PrivateKey {
		return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
	}
	public := func(k ed25519.PrivateKey) ed25519.PublicKey {
		p, ok := k.Public().(ed25519.PublicKey)
		if !ok {
			t.Fatal("no Ed25519 key")
		}
		return p
	}
	hex64 := strings.Repeat("ab", 32)
	p := &papers{
		request: bytes.Repeat([]byte("r"), prompt), response: load.Whole(), proxy: key(1), worker: key(2),
		session: &receipt.Session{WorkerSC: "0:" + hex64, Image: hex64, Model: benchModel, Engine: "fake", SPKI: hex64, ReceiptKeyID: "worker-key"},
	}
	p.session.ReceiptKey = public(p.worker)
	var err error
	until := time.Now().Add(time.Hour)
	p.session.Until = until
	if p.keyset, err = receipt.ParseKeyset(receipt.NewKeyset(receipt.Subject("0:"+hex64), until, "r-1", public(p.proxy), []string{hex64})); err != nil {
		t.Fatal(err)
	}
	multipliers := pricing.Multipliers{Prompt: 10_000, Cached: 10_000, Completion: 10_000, Reasoning: 10_000}
	use := receipt.Usage{
		Source: "engine", Tokens: pricing.Tokens{Prompt: 12, Completion: load.Tokens}, Coefficient: 1000, Multipliers: multipliers,
		Reserved: 3000, Price: 1, ConfigVersion: 1, ParamsVersion: 1,
	}
	use.Meter()
	now := time.Now().Unix()
	p.receipt = receipt.Receipt{
		ID: hex64, ChatID: "chatcmpl-1", Model: benchBase, KeysetDigest: p.keyset.Digest(), Endpoint: "/v1/chat/completions", ServedAt: now,
		Verified: receipt.Verified{OK: true, Required: true, Model: benchModel, SessionID: hex64},
		Worker:   &receipt.Worker{SC: p.session.WorkerSC, SPKI: hex64, Image: hex64, Engine: "fake"}, Usage: use,
		Statement: &receipt.Statement{KeyID: "worker-key", Served: now, Status: receipt.Complete},
		Channel:   receipt.Channel{ProxySC: "0:" + hex64, ClientSC: "0:" + hex64, ProxyKey: public(p.proxy), Test: true, LedgerSeq: 1, Total: 112},
		Outcome:   receipt.Outcome{Status: receipt.Complete, HTTPStatus: 200, FinishReason: "stop", Bytes: int64(len(p.response)), Duration: 1},
	}
	if p.store, err = receipts.Open(receipts.Config{Dir: t.TempDir(), Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	p.statement = receipt.WorkerStatement{RequestID: hex64, Status: receipt.Complete, ServedAt: now, WorkerSC: p.session.WorkerSC, Tokens: use.Tokens}
	return p
}

// state is the worker's part: two hashes and a signature.
func (p *papers) state() {
	p.statement.RequestHash, p.statement.ResponseHash = receipt.SHA256(p.request), receipt.SHA256(p.response)
	p.signature = ed25519.Sign(p.worker, p.statement.Bytes())
}

// believe is the check of the worker's signature, as the proxy makes it of one statement in verifiedOne once a worker has
// shown that it signs well (guest/proxy).
func (p *papers) believe() error {
	if !p.workers.Verify(p.session.ReceiptKey, p.statement.Bytes(), p.signature) {
		return fmt.Errorf("the worker's statement does not hold")
	}
	return nil
}

// verifiedOne is guest/proxy's.
const verifiedOne = 16

// attest is the proxy's part for every request: three hashes and its signature.
func (p *papers) attest() []byte {
	r := &p.receipt
	r.RequestHash, r.ForwardedHash, r.ResponseHash = receipt.SHA256(p.request), receipt.SHA256(p.request), receipt.SHA256(p.response)
	r.Statement.ResponseHash, r.Statement.Signature = r.ResponseHash, p.signature
	return r.Sign("r-1", p.proxy)
}

// check is the gateway's part: the whole verdict but for quotes.
func (p *papers) check(raw []byte) error {
	_, err := receipt.Verify(raw, receipt.Context{
		Request: p.request, Response: p.response, Keysets: map[string]*receipt.Keyset{p.keyset.Digest(): p.keyset},
		Session: func(string) *receipt.Session { return p.session },
		Terms: func(int64, int64) (receipt.Terms, bool) {
			return receipt.Terms{Price: 1, Multipliers: p.receipt.Usage.Multipliers}, true
		},
		Whole: true, MaxCoefficient: 1000, ClientSC: p.receipt.Channel.ClientSC, ProxySC: p.receipt.Channel.ProxySC, Keys: &p.signers,
	})
	return err
}

// keep is the gateway's last part: the receipt goes into the store. It is synced off the path, once a second.
func (p *papers) keep(raw []byte) error {
	const apart = 500 * time.Microsecond // of receipts under load
	p.kept++
	return p.store.Append(receipts.Record{
		Time: time.Unix(p.receipt.ServedAt, 0).Add(time.Duration(p.kept) * apart).UTC(), ID: p.receipt.ID, ChatID: p.receipt.ChatID, Model: p.receipt.Model,
		Key: "bench", Proxy: "127.0.0.1:1", Class: receipts.ClassOK, Status: string(receipt.Complete), Tokens: p.receipt.Usage.Total(),
		Cost: p.receipt.Usage.Cost, Receipt: raw,
	})
}

// receiptsCost is what receipts add to a request in the three roles, with the same functions on a document of this load:
// the roles spend that time inside theirs. The last row is the sum.
func receiptsCost(t *testing.T) []cost {
	t.Helper()
	p := newPapers(t)
	p.state()
	raw, err := p.attest(), p.believe()
	if err := errors.Join(err, p.check(raw)); err != nil {
		t.Fatal(err)
	}
	list := []cost{
		{"worker: two hashes, statement signed", takes(t, p.state)},
		{"proxy: three hashes, receipt signed", takes(t, func() { p.attest() })},
		{"proxy: one statement in sixteen checked", takes(t, func() { err = p.believe() }) / verifiedOne},
		{"gateway: receipt and statement checked, receipt kept", takes(t, func() {
			if err = p.check(raw); err == nil {
				err = p.keep(raw)
			}
		})},
	}
	if err := errors.Join(err, p.store.Close()); err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, c := range list {
		sum += c.cost
	}
	return append(list, cost{"all roles", sum})
}
