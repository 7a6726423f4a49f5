package receipt

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"time"

	"cocoon/contracts/api/sse"
	"cocoon/contracts/pricing"
	"cocoon/contracts/receipt/often"
)

// Class names the rule that a receipt breaks (inference.md section 10.5, in the order of the checks).
type Class string

// The classes of broken receipts.
const (
	Malformed          Class = "malformed"
	VersionUnsupported Class = "version_unsupported"
	KeysetMismatch     Class = "keyset_mismatch"
	KeysetExpired      Class = "keyset_expired"
	UnknownKey         Class = "unknown_key"
	SignatureInvalid   Class = "signature_invalid"
	EventOrder         Class = "event_order"
	EventDuplicate     Class = "event_duplicate"
	EventMissing       Class = "event_missing"
	RequestHash        Class = "request_hash_mismatch"
	ResponseHash       Class = "response_hash_mismatch"
	UsageInconsistent  Class = "usage_inconsistent"
	CostMismatch       Class = "cost_mismatch"
	PriceMismatch      Class = "price_mismatch"
	OverReservation    Class = "over_reservation"
	ChannelMismatch    Class = "channel_mismatch"
	SessionUnknown     Class = "session_unknown"
	WorkerMismatch     Class = "worker_mismatch"
	StatementInvalid   Class = "worker_statement_invalid"
)

// BrokenError is the verdict on a receipt that must not be believed.
type BrokenError struct {
	Class Class
	Why   string
}

// Error names the class and what was found.
func (e *BrokenError) Error() string { return string(e.Class) + ": " + e.Why }

// ClassOf is the class of a verdict, empty for none.
func ClassOf(err error) Class {
	if e, ok := errors.AsType[*BrokenError](err); ok {
		return e.Class
	}
	return ""
}

func broken(c Class, format string, args ...any) error {
	return &BrokenError{Class: c, Why: fmt.Sprintf(format, args...)}
}

// Context is what the verifier knows for itself: its own bytes and contracts, and what others judged before.
type Context struct {
	// Request and Response are the bodies that the caller sent and received. For a request that was cancelled the response
	// may be a prefix of what the proxy emitted, unless Whole says that it came to its end.
	Request, Response []byte
	Whole             bool
	// Keysets are those that a verified quote has established, by digest.
	Keysets map[string]*Keyset
	// Session finds a session whose evidence was judged; nil result means unknown.
	Session func(id string) *Session
	// Terms are the root contract's at a version of its configuration.
	Terms func(configVersion, paramsVersion int64) (t Terms, ok bool)
	// MaxCoefficient is the dearest worker that the caller has accepted; 0 when that is not known.
	MaxCoefficient    int64
	ClientSC, ProxySC string
	// Keys remembers the keys that sign often; nil remembers none.
	Keys *often.Cache
}

// Terms are what tokens cost at a version of the root contract's configuration.
type Terms struct {
	Price       uint64 // nanoTON for an adjusted token
	Multipliers pricing.Multipliers
}

// Document is a receipt that was read and not yet verified.
type Document struct {
	page *page // where the document stands as this package writes it; otherwise:
	doc  object
	err  error
}

// Read reads a receipt. What is wrong with it is Verify's first finding.
func Read(raw []byte) *Document {
	if p := readPage(raw); p != nil {
		return &Document{page: p}
	}
	return readAny(raw)
}

// readAny reads a receipt in any form that JSON has. For what readPage reads, too, it comes to the same verdict.
func readAny(raw []byte) *Document {
	doc, err := parse(raw)
	return &Document{doc: doc, err: err}
}

// Citations are what a receipt refers to: the proxy's keyset, the worker's session, and the versions of the root contract
// that its price is from. Priced says that it has a price.
type Citations struct {
	Keyset, Session string
	Config, Params  int64
	Priced          bool
}

// Cites says what the receipt refers to. What cannot be read cites nothing.
func (d *Document) Cites() (c Citations) {
	if p := d.page; p != nil {
		return Citations{p.KeysetDigest, p.Verified.SessionID, p.Usage.ConfigVersion, p.Usage.ParamsVersion, true}
	}
	v, _ := d.doc.get("workload_keyset_digest")
	c.Keyset = v.text
	events, _ := d.doc.get("event_log")
	for _, e := range events.parts {
		switch kind, _ := e.parts.get("type"); kind.text {
		case eventVerified:
			id, _ := e.parts.get("session_id")
			c.Session = id.text
		case eventUsage:
			config, _ := e.parts.get("config_version")
			params, _ := e.parts.get("params_version")
			c.Config, c.Params, c.Priced = config.number, params.number, true
		}
	}
	return c
}

// Verify checks a receipt and returns it. The error is a *BrokenError of the first class that applies.
func Verify(raw []byte, ctx Context) (*Receipt, error) { return Read(raw).Verify(ctx) }

// Verify checks the receipt and returns it. The error is a *BrokenError of the first class that applies.
func (d *Document) Verify(ctx Context) (*Receipt, error) {
	if d.err != nil {
		return nil, broken(Malformed, "%v", d.err)
	}
	if err := d.checkSignature(ctx); err != nil {
		return nil, err
	}
	r, err := d.receipt()
	if err != nil {
		return nil, err
	}
	for _, check := range []func(*Receipt, Context) error{
		checkBodies, checkCounts, checkCost, checkPrice, checkReservation, checkChannel, checkSession, checkWorker, checkStatement,
	} {
		if err := check(r, ctx); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// receipt is what the document says. On a page all events stand in their order, and every member is of its type.
func (d *Document) receipt() (*Receipt, error) {
	if d.page != nil {
		return &d.page.Receipt, nil
	}
	events, err := sortEvents(d.doc)
	if err != nil {
		return nil, err
	}
	r, err := read(d.doc, events)
	if err != nil {
		return nil, broken(Malformed, "%v", err)
	}
	return r, nil
}

// seal is what a receipt is signed with.
type seal struct {
	version, keyset, key, signature string
	served                          int64
}

func (d *Document) seal() seal {
	if p := d.page; p != nil {
		return seal{apiVersion, p.KeysetDigest, p.keyID, p.signature, p.ServedAt}
	}
	text := func(key string) string {
		v, _ := d.doc.get(key)
		return v.text
	}
	served, _ := d.doc.get("served_at")
	return seal{text("api_version"), text("workload_keyset_digest"), text("key_id"), text("signature"), served.number}
}

// signed are the bytes that the signature is over: the canonical form without it. Those of a page go into memory.
func (d *Document) signed(memory []byte) []byte {
	if d.page != nil {
		return d.page.signed(memory)
	}
	return canonical(d.doc.without("signature"))
}

func (d *Document) checkSignature(ctx Context) error {
	s := d.seal()
	if s.version != apiVersion {
		return broken(VersionUnsupported, "api_version is %.20q; this program knows %s", s.version, apiVersion)
	}
	keyset, ok := ctx.Keysets[s.keyset]
	if !ok {
		return broken(KeysetMismatch, "no verified quote has established the keyset %.80q", s.keyset)
	}
	if time.Unix(s.served, 0).After(keyset.NotAfter) {
		return broken(KeysetExpired, "the keyset ended at %s, before the receipt", keyset.NotAfter.UTC().Format(time.RFC3339))
	}
	key, ok := keyset.Receipt[s.key]
	if !ok {
		return broken(UnknownKey, "the keyset has no receipt key %.40q", s.key)
	}
	var memory [roomy]byte
	signature, ok := unhex(s.signature, ed25519.SignatureSize)
	if !ok || !ctx.Keys.Verify(key, d.signed(memory[:0]), signature) {
		return broken(SignatureInvalid, "the signature of key %s does not fit the document", s.key)
	}
	return nil
}

// order are the known types as a receipt has them.
func order() [9]string {
	return [...]string{
		eventReceived, eventForwarded, eventVerified, eventWorker, eventReturned, eventUsage, eventStatement, eventChannel, eventOutcome,
	}
}

// events are a receipt's events of the known types, by their place in order.
type events [9]*reader

func (e *events) of(kind string) *reader {
	for i, name := range order() {
		if name == kind {
			return e[i]
		}
	}
	return nil
}

// sortEvents finds the events of the known types. Unknown types are ignored, as the draft says.
func sortEvents(doc object) (*events, error) {
	top := reader{doc: doc}
	list := top.objects("event_log")
	if top.err != nil {
		return nil, broken(Malformed, "%v", top.err)
	}
	names, found, last := order(), new(events), -1
	var double string
	for i := range list {
		v, _ := list[i].doc.get("type")
		kind := v.text
		n := slices.Index(names[:], kind)
		switch {
		case i == 0 && kind != eventReceived:
			return nil, broken(EventOrder, "the first event is not %s", eventReceived)
		case n < 0:
		case found[n] != nil:
			double = kind
		case n < last:
			return nil, broken(EventOrder, "%s stands behind a later event", kind)
		default:
			last, found[n] = n, &list[i]
		}
	}
	if double != "" {
		return nil, broken(EventDuplicate, "%s stands twice", double)
	}
	for _, kind := range []string{eventReceived, eventVerified, eventReturned, eventUsage, eventChannel, eventOutcome, eventWorker} {
		if kind == eventWorker && found.of(eventForwarded) == nil {
			continue
		}
		if found.of(kind) == nil {
			return nil, broken(EventMissing, "%s is missing", kind)
		}
	}
	return found, nil
}

func checkBodies(r *Receipt, ctx Context) error {
	if !isHash(r.RequestHash, ctx.Request) {
		return broken(RequestHash, "the request sent has %s, the receipt %s", SHA256(ctx.Request), r.RequestHash)
	}
	if int64(len(ctx.Response)) < r.Outcome.Bytes && r.Outcome.Status == Cancelled && !ctx.Whole {
		return nil // the caller left before the end; whoever saw all bytes has checked the hash
	}
	if int64(len(ctx.Response)) != r.Outcome.Bytes || !isHash(r.ResponseHash, ctx.Response) {
		return broken(ResponseHash, "the answer received has %d bytes and %s, the receipt %d and %s",
			len(ctx.Response), SHA256(ctx.Response), r.Outcome.Bytes, r.ResponseHash)
	}
	return nil
}

// sources are where counts may be from (inference.md section 7).
func sources() []string { return []string{"engine", "engine_partial", "counted", "none"} }

func checkCounts(r *Receipt, _ Context) error {
	u := r.Usage
	if u.Tokens.Cached > u.Tokens.Prompt || u.Tokens.Reasoning > u.Tokens.Completion {
		return broken(UsageInconsistent, "a part of the tokens exceeds its whole")
	}
	if want := pricing.Bill(u.Tokens, u.Coefficient, u.Multipliers); want != u.Billed {
		return broken(UsageInconsistent, "the counts bill %+v, the receipt says %+v", want, u.Billed)
	}
	if u.claimedTokens != u.Tokens.Prompt+u.Tokens.Completion || u.claimedTotal != u.Total() {
		return broken(UsageInconsistent, "the sums %d and %d are not those of their parts", u.claimedTokens, u.claimedTotal)
	}
	if u.Estimated != (u.Source == "counted") {
		return broken(UsageInconsistent, "source %s and estimated %t do not go together", u.Source, u.Estimated)
	}
	if !slices.Contains(sources(), u.Source) {
		return broken(UsageInconsistent, "counts are not from %.20q, but from one of %v", u.Source, sources())
	}
	if u.Tokens != (pricing.Tokens{}) && (u.Source == "none" || r.Worker == nil) {
		return broken(UsageInconsistent, "tokens without a source, or without a worker that was sent the request")
	}
	if u.Cut > 0 && u.Total() < u.Reserved {
		return broken(UsageInconsistent, "%d tokens were cut from a bill that is below the reservation of %d", u.Cut, u.Reserved)
	}
	return nil
}

func checkCost(r *Receipt, _ Context) error {
	total := r.Usage.Total()
	if high, cost := bits.Mul64(uint64(max(total, 0)), r.Usage.Price); total < 0 || high != 0 || cost != r.Usage.Cost {
		return broken(CostMismatch, "%d tokens at %d nanoTON do not cost %d", total, r.Usage.Price, r.Usage.Cost)
	}
	return nil
}

// checkPrice compares everything that makes tokens dear: the root contract's price and multipliers, and the worker's
// coefficient.
func checkPrice(r *Receipt, ctx Context) error {
	u := r.Usage
	switch terms, ok := ctx.Terms(u.ConfigVersion, u.ParamsVersion); {
	case !ok || terms.Price != u.Price:
		return broken(PriceMismatch, "%d nanoTON is not the root contract's price at version %d", u.Price, u.ConfigVersion)
	case terms.Multipliers != u.Multipliers:
		return broken(PriceMismatch, "the multipliers %+v are not the root contract's at version %d: %+v", u.Multipliers, u.ConfigVersion, terms.Multipliers)
	case ctx.MaxCoefficient > 0 && u.Coefficient > ctx.MaxCoefficient:
		return broken(PriceMismatch, "the worker's coefficient is %d, and the request accepted %d", u.Coefficient, ctx.MaxCoefficient)
	}
	return nil
}

func checkReservation(r *Receipt, _ Context) error {
	if r.Usage.Total() > r.Usage.Reserved {
		return broken(OverReservation, "%d tokens were billed, %d reserved", r.Usage.Total(), r.Usage.Reserved)
	}
	return nil
}

func checkChannel(r *Receipt, ctx Context) error {
	if r.Channel.ProxySC != ctx.ProxySC || r.Channel.ClientSC != ctx.ClientSC {
		return broken(ChannelMismatch, "the receipt is for the channel between %.70q and %.70q", r.Channel.ClientSC, r.Channel.ProxySC)
	}
	if of, ok := strings.CutPrefix(ctx.Keysets[r.KeysetDigest].Subject, subjectName); !ok || of != r.Channel.ProxySC {
		return broken(ChannelMismatch, "the keyset is that of %.100q, the channel's proxy is %.70q", ctx.Keysets[r.KeysetDigest].Subject, r.Channel.ProxySC)
	}
	return nil
}

// checkSession does not compare with the session's beginning: a clock that was set back in between is no lie.
func checkSession(r *Receipt, ctx Context) error {
	if !r.Verified.OK {
		return nil
	}
	s := ctx.Session(r.Verified.SessionID)
	switch {
	case s == nil:
		return broken(SessionUnknown, "no judged session has the id %.70q", r.Verified.SessionID)
	case time.Unix(r.ServedAt, 0).After(s.Until):
		return broken(SessionUnknown, "the session ended at %s, before the receipt", s.Until.UTC().Format(time.RFC3339))
	}
	return nil
}

// checkWorker compares who served with whom the session is about. Without a worker there is no answer but a refusal or a
// failure: nobody's statement would stand for its bytes.
func checkWorker(r *Receipt, ctx Context) error {
	if r.Worker == nil {
		if r.Outcome.Status == Complete {
			return broken(WorkerMismatch, "the answer is complete, and no worker was sent the request")
		}
		return nil
	}
	s := ctx.Session(r.Verified.SessionID)
	if s == nil {
		return broken(WorkerMismatch, "a worker served that no session stands for")
	}
	if w := r.Worker; w.SC != s.WorkerSC || w.SPKI != s.SPKI || w.Image != s.Image || w.Engine != s.Engine {
		return broken(WorkerMismatch, "the worker of the receipt is not the one of its session")
	}
	if r.Verified.Model != s.Model {
		return broken(WorkerMismatch, "the receipt says that %.80q was served, and the session's worker serves %.80q", r.Verified.Model, s.Model)
	}
	return nil
}

// checkStatement rebuilds what the worker signed. A worker whose session has a receipt key must have signed, unless it was lost.
func checkStatement(r *Receipt, ctx Context) error {
	if r.Worker == nil {
		return nil
	}
	s := ctx.Session(r.Verified.SessionID)
	if s.ReceiptKey == nil {
		return nil
	}
	st := r.Statement
	switch {
	case st == nil:
		return checkLost(r, ctx)
	case st.KeyID != s.ReceiptKeyID:
		return broken(StatementInvalid, "the worker's statement is of another key")
	}
	signed := WorkerStatement{
		RequestID: r.ID, RequestHash: r.ForwardedHash, ResponseHash: st.ResponseHash, Status: st.Status,
		ServedAt: st.Served, WorkerSC: s.WorkerSC, Tokens: r.Usage.Tokens,
	}
	if !ctx.Keys.Verify(s.ReceiptKey, signed.Bytes(), st.Signature) {
		return broken(StatementInvalid, "the worker signed something else")
	}
	if int64(len(ctx.Response)) < r.Outcome.Bytes {
		return nil
	}
	rest := ctx.Response
	for range min(st.ProxyPings, int64(len(rest)/len(sse.Ping))) {
		var ping bool
		if rest, ping = bytes.CutPrefix(rest, []byte(sse.Ping)); !ping {
			return broken(StatementInvalid, "the proxy's pings are not what the receipt says")
		}
	}
	known := len(rest) == len(ctx.Response) && st.ResponseHash == r.ResponseHash // by checkBodies
	if !known && !isHash(st.ResponseHash, rest) {
		return broken(StatementInvalid, "the worker answered with other bytes")
	}
	return nil
}
