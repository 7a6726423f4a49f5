package receipts

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"cocoon/contracts/receipt"
	"cocoon/contracts/receipt/often"
)

const (
	// maxSessions and maxKeysets bound what is remembered; what was dropped is asked for again.
	maxSessions, maxKeysets = 4096, 64
	// askTimeout bounds the questions that one verdict may need.
	askTimeout = 60 * time.Second
)

// Evidence judges what documents cannot prove by themselves.
type Evidence interface {
	// Keyset judges a proxy's quote, which must carry the report data.
	Keyset(ctx context.Context, quote []byte, reportData [32]byte) error
	// Worker judges the quote of a worker's session.
	Worker(ctx context.Context, s *receipt.Session) error
	// Terms are the root contract's at a version of its configuration.
	Terms(config, params int64) (t receipt.Terms, ok bool)
}

// Late is Evidence that can learn of versions that it has not seen yet: a receipt may be ahead of the view of the root.
type Late interface {
	Catch(ctx context.Context, config, params int64) error
}

// Source is the proxy that a receipt came from.
type Source interface {
	Attestation(ctx context.Context, nonce *[32]byte) ([]byte, error)
	Session(ctx context.Context, id [32]byte) ([]byte, error)
}

// Claim is a receipt with what the gateway saw itself.
type Claim struct {
	Receipt, Request, Response []byte
	// Model is what was asked for; empty when that is not known.
	Model string
	// Whole says that the answer came to its end, and was not cut short by who asked.
	Whole bool
	// MaxCoefficient is the dearest worker that the request accepted; 0 when that is not known.
	MaxCoefficient int64
	// SPKI is that of the proxy's connection; empty when it had no attestation.
	SPKI              string
	ClientSC, ProxySC string
}

// Checker judges receipts and remembers the evidence.
type Checker struct {
	evidence Evidence
	now      func() time.Time
	signers  often.Cache

	mu sync.Mutex
	// asking has what is being asked for: many receipts miss the same document. A channel is closed when its question is over.
	asking map[receipt.Citations]chan struct{}
	keys   map[string]*receipt.Keyset
	met    map[string]*receipt.Session
	raw    map[string][]byte
	ledger map[string]*channel
}

// NewChecker makes a checker.
func NewChecker(e Evidence, now func() time.Time) *Checker {
	return &Checker{
		evidence: e, now: now, asking: make(map[receipt.Citations]chan struct{}), keys: make(map[string]*receipt.Keyset), met: make(map[string]*receipt.Session),
		raw: make(map[string][]byte), ledger: make(map[string]*channel),
	}
}

// Check judges a receipt; what it has to ask for takes at most a minute. The error is a *receipt.BrokenError; the receipt is nil when it could not be read that far.
func (c *Checker) Check(ctx context.Context, from Source, claim Claim) (*receipt.Receipt, error) {
	doc := receipt.Read(claim.Receipt)
	cites := doc.Cites()
	why, late := c.prepare(ctx, from, claim.SPKI, cites)
	c.mu.Lock()
	keysets := make(map[string]*receipt.Keyset, 1)
	if k := c.keys[cites.Keyset]; k != nil && bound(k, claim.SPKI) {
		keysets[cites.Keyset] = k
	}
	session := c.met[cites.Session]
	c.mu.Unlock()
	r, err := doc.Verify(receipt.Context{
		Request: claim.Request, Response: claim.Response, Whole: claim.Whole, Keysets: keysets, Terms: c.evidence.Terms,
		MaxCoefficient: claim.MaxCoefficient, ClientSC: claim.ClientSC, ProxySC: claim.ProxySC, Keys: &c.signers,
		Session: func(id string) *receipt.Session {
			if session != nil && session.ID == id {
				return session
			}
			return nil
		},
	})
	broken, ok := errors.AsType[*receipt.BrokenError](err)
	if ok && why != nil && (broken.Class == receipt.KeysetMismatch || broken.Class == receipt.SessionUnknown) {
		return r, &receipt.BrokenError{Class: broken.Class, Why: broken.Why + "; " + why.Error()}
	}
	if ok && late != nil && broken.Class == receipt.PriceMismatch {
		return r, &receipt.BrokenError{Class: broken.Class, Why: broken.Why + "; " + late.Error()}
	}
	if err == nil {
		err = served(r, claim.Model)
	}
	if err == nil {
		err = c.follow(r)
	}
	return r, err
}

// served compares the model that was asked for with the one that the worker has. A name without a commit asks for any.
func served(r *receipt.Receipt, model string) error {
	if model != "" && model != r.Model {
		return &receipt.BrokenError{Class: receipt.WorkerMismatch, Why: fmt.Sprintf("%.80q was asked for, and the receipt says %.80q", model, r.Model)}
	}
	has := r.Verified.Model
	if base, _, _ := strings.Cut(has, "@"); r.Verified.OK && r.Model != has && r.Model != base {
		return &receipt.BrokenError{Class: receipt.WorkerMismatch, Why: fmt.Sprintf("%.80q was asked for, and the worker serves %.80q", r.Model, has)}
	}
	return nil
}

// prepare asks for what the verdict needs and is not known yet: the proxy for its documents, the network for versions of
// the root. A usual receipt has nothing new.
func (c *Checker) prepare(ctx context.Context, from Source, spki string, cites receipt.Citations) (documents, versions error) {
	_, priced := c.evidence.Terms(cites.Config, cites.Params)
	late, can := c.evidence.(Late)
	known, behind := c.knows(cites), can && cites.Priced && !priced
	if known && !behind {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if !known {
		documents = c.learn(ctx, from, spki, cites)
	}
	if behind {
		versions = late.Catch(ctx, cites.Config, cites.Params)
	}
	return documents, versions
}

// bound says that a keyset names the key of the connection.
func bound(k *receipt.Keyset, spki string) bool {
	return spki == "" || slices.Contains(k.TLS, spki)
}

// learn asks the proxy for the documents that are missing.
func (c *Checker) learn(ctx context.Context, from Source, spki string, want receipt.Citations) error {
	return errors.Join(
		c.once(ctx, receipt.Citations{Keyset: want.Keyset}, func() error { return c.learnKeyset(ctx, from, spki) }),
		c.once(ctx, receipt.Citations{Session: want.Session}, func() error { return c.learnSession(ctx, from, want.Session) }),
	)
}

// once has one of those who miss a document ask for it. The others wait for the answer, and ask themselves only if it was
// none. Who misses another document does not wait: a proxy that answers slowly delays the verdicts on its own receipts.
func (c *Checker) once(ctx context.Context, want receipt.Citations, ask func() error) error {
	for {
		c.mu.Lock()
		if c.known(want) {
			c.mu.Unlock()
			return nil
		}
		busy := c.asking[want]
		if busy == nil {
			over := make(chan struct{})
			c.asking[want] = over
			c.mu.Unlock()
			defer func() {
				c.mu.Lock()
				defer c.mu.Unlock()
				delete(c.asking, want)
				close(over)
			}()
			return ask()
		}
		c.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return fmt.Errorf("waiting for the proxy's documents: %w", context.Cause(ctx))
		}
	}
}

func (c *Checker) knows(want receipt.Citations) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known(want)
}

// known is knows for who holds the lock.
func (c *Checker) known(want receipt.Citations) bool {
	return (want.Keyset == "" || c.keys[want.Keyset] != nil) && (want.Session == "" || c.met[want.Session] != nil)
}

// Report is what this package reads of an attestation report (inference.md section 10.2).
type Report struct {
	Digest      string `json:"workload_keyset_digest"`
	Attestation struct {
		Keyset   json.RawMessage `json:"workload_keyset"`
		Evidence struct {
			Quote string `json:"quote"`
		} `json:"evidence"`
	} `json:"attestation"`
}

// ReadReport reads a report and its keyset, and checks what the two say of each other.
func ReadReport(raw []byte) (*receipt.Keyset, []byte, error) {
	var doc Report
	if len(raw) > receipt.MaxDocument*2 {
		return nil, nil, fmt.Errorf("reading attestation report: %d bytes", len(raw))
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, nil, fmt.Errorf("reading attestation report: %w", err)
	}
	k, err := receipt.ParseKeyset(doc.Attestation.Keyset)
	if err != nil {
		return nil, nil, err
	}
	if k.Digest() != doc.Digest {
		return nil, nil, fmt.Errorf("reading attestation report: it names keyset %.80q and carries %s", doc.Digest, k.Digest())
	}
	quote, err := hex.DecodeString(doc.Attestation.Evidence.Quote)
	if err != nil {
		return nil, nil, fmt.Errorf("reading attestation report: quote: %w", err)
	}
	return k, quote, nil
}

func (c *Checker) learnKeyset(ctx context.Context, from Source, spki string) error {
	raw, err := from.Attestation(ctx, nil)
	if err != nil {
		return err
	}
	k, quote, err := ReadReport(raw)
	if err != nil {
		return err
	}
	if err := c.evidence.Keyset(ctx, quote, receipt.ReportData(k.Digest(), nil)); err != nil {
		return fmt.Errorf("judging the proxy's quote: %w", err)
	}
	if !bound(k, spki) {
		return errors.New("the keyset does not name the key of the proxy's connection")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.keys) >= maxKeysets {
		clear(c.keys)
	}
	c.keys[k.Digest()] = k
	return nil
}

func (c *Checker) learnSession(ctx context.Context, from Source, id string) error {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != 32 {
		return errors.New("the cited session id is not 64 hexadecimal digits")
	}
	doc, err := from.Session(ctx, [32]byte(raw))
	if err != nil {
		return err
	}
	if len(doc) == 0 {
		return errors.New("the proxy does not know the session that it cites")
	}
	s, err := receipt.ParseSession(doc)
	if err != nil {
		return err
	}
	if s.ID != id {
		return errors.New("the proxy sent another session than it cites")
	}
	if err := c.evidence.Worker(ctx, s); err != nil {
		return fmt.Errorf("judging the worker's quote: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.met) >= maxSessions {
		clear(c.met)
		clear(c.raw)
	}
	c.met[id], c.raw[id] = s, doc
	return nil
}

// Rejudge forgets the verdicts on keysets and sessions, because what they rest on has changed: the next receipt that cites
// one has it judged anew. Documents and ledgers stay.
func (c *Checker) Rejudge() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.keys)
	clear(c.met)
}

// Key is the key by which a keyset that was judged signs receipts; nil when either is not known.
func (c *Checker) Key(digest, id string) ed25519.PublicKey {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.keys[digest]; k != nil {
		return k.Receipt[id]
	}
	return nil
}

// Session is a session document that was judged; nil when it is not known.
func (c *Checker) Session(id string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.raw[id]
}

// Sessions lists what was judged, by id.
func (c *Checker) Sessions() []*receipt.Session {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]*receipt.Session, 0, len(c.met))
	for _, s := range c.met {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *receipt.Session) int {
		if a.ID < b.ID {
			return -1
		}
		return 1
	})
	return out
}

// Versions are those of the root contract that a receipt's price is from, as it says itself.
func Versions(raw []byte) (config, params int64, ok bool) {
	c := receipt.Read(raw).Cites()
	return c.Config, c.Params, c.Priced
}
