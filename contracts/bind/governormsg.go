package bind

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// The governor's operation codes: CRC-32 of "cocoon.governor.<name>" (contracts.md section 5).
const (
	OpGovernorPropose     Op = 0xc488dc97
	OpGovernorApprove     Op = 0x7d27d67b
	OpGovernorExecute     Op = 0x06191c29
	OpGovernorCancel      Op = 0x95c55dee
	OpGovernorRevoke      Op = 0xd327392e
	OpGovernorDeprecate   Op = 0xc09bfcf1
	OpGovernorDrain       Op = 0xe3904edc
	OpGovernorAttest      Op = 0x44d002df
	OpGovernorOfferOwner  Op = 0x4f57972b
	OpGovernorAcceptOwner Op = 0x410727c5
	OpGovernorEvent       Op = 0xe4b8375a
)

func governorOperations() []Operation {
	return []Operation{
		{OpGovernorPropose, "governor_propose", ContractGovernor, func() Message { return new(GovernorPropose) }},
		{OpGovernorApprove, "governor_approve", ContractGovernor, func() Message { return new(GovernorApprove) }},
		{OpGovernorExecute, "governor_execute", ContractGovernor, func() Message { return new(GovernorExecute) }},
		{OpGovernorCancel, "governor_cancel", ContractGovernor, func() Message { return new(GovernorCancel) }},
		{OpGovernorRevoke, "governor_revoke", ContractGovernor, func() Message { return new(GovernorRevoke) }},
		{OpGovernorDeprecate, "governor_deprecate", ContractGovernor, func() Message { return new(GovernorDeprecate) }},
		{OpGovernorDrain, "governor_drain", ContractGovernor, func() Message { return new(GovernorDrain) }},
		{OpGovernorAttest, "governor_attest", ContractGovernor, func() Message { return new(GovernorAttest) }},
		{OpGovernorOfferOwner, "governor_offer_owner", ContractGovernor, func() Message { return new(GovernorOfferOwner) }},
		{OpGovernorAcceptOwner, "governor_accept_owner", ContractGovernor, func() Message { return new(GovernorAcceptOwner) }},
		{OpGovernorEvent, "governor_event", ContractGovernor, nil}, // leaves the chain: ParseGovernorEvent
	}
}

// GovernorPropose asks for a change; ProposeChange makes it from the root's message.
type GovernorPropose struct {
	QueryID uint64
	Kind    ProposalKind
	Body    *cell.Cell
}

// Op is the operation code.
func (*GovernorPropose) Op() Op { return OpGovernorPropose }

func (m *GovernorPropose) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	number64(c, "kind", 8, &m.Kind)
	c.raw("body", &m.Body)
}

// GovernorApprove is an approver's vote for exactly this body.
type GovernorApprove struct {
	QueryID  uint64
	Proposal uint64
	BodyHash Hash
}

// Op is the operation code.
func (*GovernorApprove) Op() Op { return OpGovernorApprove }

func (m *GovernorApprove) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	number64(c, "proposal", 64, &m.Proposal)
	c.hash("body_hash", &m.BodyHash)
}

// GovernorExecute carries out a proposal that is approved and old enough; anyone may send it.
type GovernorExecute struct{ QueryID, Proposal uint64 }

// Op is the operation code.
func (*GovernorExecute) Op() Op { return OpGovernorExecute }

func (m *GovernorExecute) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	number64(c, "proposal", 64, &m.Proposal)
}

// GovernorCancel drops a proposal.
type GovernorCancel GovernorExecute

// Op is the operation code.
func (*GovernorCancel) Op() Op { return OpGovernorCancel }

func (m *GovernorCancel) fields(c *codec) { (*GovernorExecute)(m).fields(c) }

// GovernorRevoke takes a hash out of the root at once, for ever.
type GovernorRevoke struct {
	QueryID uint64
	List    HashList
	Hash    Hash
	Reason  uint8
}

// Op is the operation code.
func (*GovernorRevoke) Op() Op { return OpGovernorRevoke }

func (m *GovernorRevoke) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	number64(c, "list", 2, &m.List)
	c.hash("hash", &m.Hash)
	number64(c, "reason", 8, &m.Reason)
}

// GovernorDeprecate announces the end of an active hash.
type GovernorDeprecate struct {
	QueryID uint64
	List    HashList
	Hash    Hash
	DrainAt uint32 // Unix time
}

// Op is the operation code.
func (*GovernorDeprecate) Op() Op { return OpGovernorDeprecate }

func (m *GovernorDeprecate) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	number64(c, "list", 2, &m.List)
	c.hash("hash", &m.Hash)
	number64(c, "drain_at", 32, &m.DrainAt)
}

// GovernorDrain takes a deprecated hash out of the root after its date; anyone may send it.
type GovernorDrain struct {
	QueryID uint64
	List    HashList
	Hash    Hash
}

// Op is the operation code.
func (*GovernorDrain) Op() Op { return OpGovernorDrain }

func (m *GovernorDrain) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	number64(c, "list", 2, &m.List)
	c.hash("hash", &m.Hash)
}

// GovernorAttest brings a builder's signature over AttestPayload; anyone may send it.
type GovernorAttest struct {
	QueryID   uint64
	List      HashList
	Hash, Key Hash
	Signature [ed25519.SignatureSize]byte
}

// Op is the operation code.
func (*GovernorAttest) Op() Op { return OpGovernorAttest }

func (m *GovernorAttest) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	number64(c, "list", 2, &m.List)
	c.hash("hash", &m.Hash)
	c.hash("key", &m.Key)
	c.sub("signature", (*signatureCell)(&m.Signature))
}

// signatureCell is a signature that does not fit beside other fields.
type signatureCell [ed25519.SignatureSize]byte

func (s *signatureCell) fields(c *codec) { c.bytes("signature", s[:]) }

// AttestPayload is what a builder signs: this image has this manifest, which the builder has reproduced.
type AttestPayload struct {
	List               HashList
	Hash, ManifestHash Hash
}

func (p *AttestPayload) fields(c *codec) {
	c.constant("op", 32, uint64(OpGovernorAttest))
	number64(c, "list", 2, &p.List)
	c.hash("hash", &p.Hash)
	c.hash("manifest_hash", &p.ManifestHash)
}

// Attest signs for a builder.
func Attest(key ed25519.PrivateKey, queryID uint64, p AttestPayload) (GovernorAttest, error) {
	s, err := Sign(key, queryID, nil, &p)
	if err != nil {
		return GovernorAttest{}, err
	}
	return GovernorAttest{
		QueryID: queryID, List: p.List, Hash: p.Hash, Key: Hash(key[ed25519.SeedSize:]), Signature: s.Signature,
	}, nil
}

// GovernorOfferOwner offers the governor or the root to another owner, by the owner.
type GovernorOfferOwner struct {
	QueryID uint64
	Target  OfferTarget
	To      *address.Address
}

// Op is the operation code.
func (*GovernorOfferOwner) Op() Op { return OpGovernorOfferOwner }

func (m *GovernorOfferOwner) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	number64(c, "target", 8, &m.Target)
	c.addr("to", &m.To)
}

// GovernorAcceptOwner accepts the offer.
type GovernorAcceptOwner query

// Op is the operation code.
func (*GovernorAcceptOwner) Op() Op { return OpGovernorAcceptOwner }

func (m *GovernorAcceptOwner) fields(c *codec) { (*query)(m).fields(c) }

// EventKind says what happened.
type EventKind uint8

// Kinds of events.
const (
	EventProposed EventKind = iota + 1
	EventApproved
	EventExecuted
	EventCancelled
	EventRevoked
	EventDeprecated
	EventDrained
	EventAttested
	EventOffered
	EventAccepted
	EventRefused // by the root: everything is as it was before
)

// String is the event's name.
func (k EventKind) String() string {
	names := [...]string{"", "proposed", "approved", "executed", "cancelled", "revoked", "deprecated", "drained", "attested", "offered", "accepted", "refused"}
	if k > 0 && int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("event %d", uint8(k))
}

// GovernorEvent is what a governor says about a change, in a message that leaves the chain.
type GovernorEvent struct {
	Seqno    uint64
	Kind     EventKind
	Actor    *address.Address
	List     HashList
	Hash     Hash // of the entry; of a proposal's body, or of the address offered, when List is ListNone
	Old, New EntryState
	At       uint32 // Unix time

	Proposal     uint64       // 0 for none
	ProposalKind ProposalKind // of an offer: its target
	Entry        *Entry       // as it is after the event; nil when there is none
}

// ParseGovernorEvent reads the body of an event.
func ParseGovernorEvent(from *cell.Cell) (GovernorEvent, error) {
	var e GovernorEvent
	if err := decode(from, &e); err != nil {
		return GovernorEvent{}, fmt.Errorf("reading event: %w", err)
	}
	return e, nil
}

// Cell writes the body.
func (e GovernorEvent) Cell() (*cell.Cell, error) {
	out, err := encode(&e)
	if err != nil {
		return nil, fmt.Errorf("writing event: %w", err)
	}
	return out, nil
}

func (e *GovernorEvent) fields(c *codec) {
	c.constant("op", 32, uint64(OpGovernorEvent))
	number64(c, "event_seqno", 64, &e.Seqno)
	number64(c, "kind", 8, &e.Kind)
	c.addr("actor", &e.Actor)
	number64(c, "list", 2, &e.List)
	c.hash("hash", &e.Hash)
	number64(c, "old", 3, &e.Old)
	number64(c, "new", 3, &e.New)
	number64(c, "at", 32, &e.At)
	c.sub("details", (*eventDetails)(e))
	if c.err == nil && (e.Entry == nil) != (e.New == EntryAbsent) {
		c.fail("details", errors.New("an entry without a state, or a state without an entry"))
	}
}

type eventDetails GovernorEvent

func (e *eventDetails) fields(c *codec) {
	number64(c, "proposal", 64, &e.Proposal)
	number64(c, "proposal_kind", 8, &e.ProposalKind)
	var entry *entryCell
	if e.Entry != nil {
		entry = (*entryCell)(e.Entry)
	}
	maybe(c, "entry", &entry)
	if c.reading() && entry != nil {
		e.Entry = (*Entry)(entry)
		e.Entry.Hash = e.Hash
	}
}
