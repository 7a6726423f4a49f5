package bind

import (
	"fmt"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// HashList says which list of a root a hash belongs to.
type HashList uint8

// Lists of a root. ListNone is for events that are not about a hash.
const (
	ListProxies HashList = iota
	ListWorkers
	ListModels
	ListNone
)

// String is the list's name.
func (l HashList) String() string {
	names := [...]string{"proxy", "worker", "model", "none"}
	if int(l) < len(names) {
		return names[l]
	}
	return fmt.Sprintf("list %d", uint8(l))
}

// EntryState is where a hash stands (contracts.md section 5).
type EntryState uint8

// States of an entry. Only active and deprecated hashes are in the root.
const (
	EntryAbsent EntryState = iota
	EntryAnnounced
	EntryActive
	EntryDeprecated
	EntryRevoked
)

// String is the state's name.
func (s EntryState) String() string {
	names := [...]string{"absent", "announced", "active", "deprecated", "revoked"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// GovernorStorage is the data of a governor.
type GovernorStorage struct {
	Root, Owner  *address.Address
	LastProposal uint64 // id; ids count from 1
	LastEvent    uint64 // seqno; they count from 1
	Rules        Rules
	Lists        GovernorLists
	Proposals    []Proposal // ascending by id, like all lists here by their keys
	Offer        *Offer
}

// Rules say who may do what in a governor, and how long changes wait.
type Rules struct {
	Threshold                      uint8              // approvals that a proposal needs
	DelayAdd, DelayUpgrade         uint32             // seconds, at most 30 days
	Proposers, Approvers, Revokers []*address.Address // at most 16 each
	Builders                       []Hash             // ed25519 keys of who may attest, at most 32
}

// GovernorLists are the entries by what they are hashes of, and what the root was asked and has not answered.
type GovernorLists struct {
	Proxies, Workers, Models []Entry
	Pending                  []PendingChange
}

// Entry is a hash and its provenance.
type Entry struct {
	Hash                                       Hash
	State                                      EntryState
	AddedAt, EffectiveFrom, DrainAt, RevokedAt uint32 // Unix times
	Reason                                     uint8  // of the revocation; 0 for one that was drained
	ManifestHash, SourceHash                   Hash
	Proposal                                   uint64 // that announced it; 0 for a hash that the governor never added
	Builders                                   []Hash // keys that attested the manifest
}

// Proposal is a change that waits for approvals and time.
type Proposal struct {
	ID                         uint64
	Kind                       ProposalKind
	By                         *address.Address
	MadeAt, NotBefore, Expires uint32 // Unix times
	Approvals                  []*address.Address
	Body                       *cell.Cell // Addition, Rules, or the root's body after operation and query id
}

// Offer hands over the governor or the root.
type Offer struct {
	Target    OfferTarget
	To        *address.Address
	NotBefore uint32 // Unix time from which it may be accepted
}

// OfferTarget is what an offer hands over.
type OfferTarget uint8

// Targets of an offer.
const (
	OfferGovernor OfferTarget = iota
	OfferRoot
)

// PendingChange is what the root was asked and has not answered.
type PendingChange struct {
	QueryID       uint64           // of the message to the root
	Actor         *address.Address // gets what the root did not need
	List          HashList
	Hash          Hash
	Before, After *cell.Cell // the entry's cells, nil for absence
	Proposal      uint64     // 0: Undo is an offer
	Undo          *cell.Cell
}

// ParseGovernorStorage reads a governor's data cell.
func ParseGovernorStorage(from *cell.Cell) (GovernorStorage, error) {
	var s GovernorStorage
	if err := decode(from, &s); err != nil {
		return GovernorStorage{}, fmt.Errorf("reading governor storage: %w", err)
	}
	return s, nil
}

// Cell writes the data cell.
func (s GovernorStorage) Cell() (*cell.Cell, error) {
	out, err := encode(&s)
	if err != nil {
		return nil, fmt.Errorf("writing governor storage: %w", err)
	}
	return out, nil
}

// NewGovernor is the governor of a root: it governs once the root's owner is its address. Deploy it with 0.2 TON.
func NewGovernor(code *cell.Cell, root, owner *address.Address, rules Rules) (Instance, error) {
	if err := rules.Validate(); err != nil {
		return Instance{}, fmt.Errorf("deriving governor: %w", err)
	}
	data, err := GovernorStorage{Root: root, Owner: owner, Rules: rules}.Cell()
	return newInstance("governor", code, data, err)
}

func (s *GovernorStorage) fields(c *codec) {
	c.constant("version", 8, extVersion)
	c.addr("root", &s.Root)
	c.addr("owner", &s.Owner)
	number64(c, "last_proposal", 64, &s.LastProposal)
	number64(c, "last_event", 64, &s.LastEvent)
	c.sub("rules", &s.Rules)
	c.sub("lists", &s.Lists)
	dict(c, "proposals", 64, &s.Proposals)
	maybe(c, "offer", &s.Offer)
}

// maybe is Maybe ^Cell with a layout; nil is absence.
func maybe[T any, P interface {
	*T
	layout
}](c *codec, field string, v *P) {
	present := *v != nil
	c.boolean(field, &present)
	if !present || c.err != nil {
		return
	}
	if c.reading() {
		*v = new(T)
	}
	c.sub(field, *v)
}

func (r *Rules) fields(c *codec) {
	number64(c, "m", 8, &r.Threshold)
	number64(c, "delay_add", 32, &r.DelayAdd)
	number64(c, "delay_upgrade", 32, &r.DelayUpgrade)
	addrSet(c, "proposers", &r.Proposers)
	addrSet(c, "approvers", &r.Approvers)
	addrSet(c, "revokers", &r.Revokers)
	hashSet(c, "builders", &r.Builders)
}

func (l *GovernorLists) fields(c *codec) {
	dict(c, "proxies", 256, &l.Proxies)
	dict(c, "workers", 256, &l.Workers)
	dict(c, "models", 256, &l.Models)
	dict(c, "pending", 64, &l.Pending)
}

// member is an address in a set.
type member struct{ at *address.Address }

func (m *member) key(c *codec) { c.addr("member", &m.at) }
func (m *member) value(*codec) {}

// addrBits is the width of a plain address.
const addrBits = 267

func addrSet(c *codec, field string, v *[]*address.Address) {
	rows := make([]member, len(*v))
	for i, a := range *v {
		rows[i].at = a
	}
	dict(c, field, addrBits, &rows)
	if c.reading() && c.err == nil && len(rows) > 0 {
		*v = make([]*address.Address, len(rows))
		for i, r := range rows {
			(*v)[i] = r.at
		}
	}
}

func (e *Entry) key(c *codec)   { c.hash("hash", &e.Hash) }
func (e *Entry) value(c *codec) { c.sub("entry", (*entryCell)(e)) }

// entryCell is an entry without its hash, which is its key.
type entryCell Entry

func (e *entryCell) fields(c *codec) {
	number64(c, "state", 3, &e.State)
	if c.err == nil && e.State > EntryRevoked {
		c.fail("state", fmt.Errorf("%d, at most %d", e.State, EntryRevoked))
	}
	number64(c, "added_at", 32, &e.AddedAt)
	number64(c, "effective_from", 32, &e.EffectiveFrom)
	number64(c, "drain_at", 32, &e.DrainAt)
	number64(c, "revoked_at", 32, &e.RevokedAt)
	number64(c, "reason", 8, &e.Reason)
	count := uint16(min(len(e.Builders), maxEntries))
	number64(c, "builder_count", 16, &count)
	c.hash("manifest_hash", &e.ManifestHash)
	c.hash("source_hash", &e.SourceHash)
	number64(c, "proposal", 64, &e.Proposal)
	hashSet(c, "builders", &e.Builders)
	if c.err == nil && int(count) != len(e.Builders) {
		c.fail("builder_count", fmt.Errorf("%d, but %d keys", count, len(e.Builders)))
	}
}

func (p *Proposal) key(c *codec)   { number64(c, "id", 64, &p.ID) }
func (p *Proposal) value(c *codec) { c.sub("proposal", (*proposalCell)(p)) }

// proposalCell is a proposal without its id, which is its key.
type proposalCell Proposal

func (p *proposalCell) fields(c *codec) {
	number64(c, "kind", 8, &p.Kind)
	c.addr("by", &p.By)
	number64(c, "made_at", 32, &p.MadeAt)
	number64(c, "not_before", 32, &p.NotBefore)
	number64(c, "expires", 32, &p.Expires)
	addrSet(c, "approvals", &p.Approvals)
	c.raw("body", &p.Body)
}

func (o *Offer) fields(c *codec) {
	number64(c, "target", 8, &o.Target)
	c.addr("to", &o.To)
	number64(c, "not_before", 32, &o.NotBefore)
}

func (p *PendingChange) key(c *codec)   { number64(c, "query_id", 64, &p.QueryID) }
func (p *PendingChange) value(c *codec) { c.sub("pending", (*pendingCell)(p)) }

// pendingCell is a pending change without its key.
type pendingCell PendingChange

func (p *pendingCell) fields(c *codec) {
	c.addr("actor", &p.Actor)
	number64(c, "list", 2, &p.List)
	c.hash("hash", &p.Hash)
	c.maybeRaw("before", &p.Before)
	c.maybeRaw("after", &p.After)
	number64(c, "proposal", 64, &p.Proposal)
	c.maybeRaw("undo", &p.Undo)
}

// List are the entries of one list.
func (l GovernorLists) List(of HashList) []Entry {
	switch of {
	case ListProxies:
		return l.Proxies
	case ListWorkers:
		return l.Workers
	case ListModels:
		return l.Models
	case ListNone:
	}
	return nil
}

// Find is the entry of a hash; false means that the governor does not know it.
func (l GovernorLists) Find(of HashList, hash Hash) (Entry, bool) {
	for _, e := range l.List(of) {
		if e.Hash == hash {
			return e, true
		}
	}
	return Entry{}, false
}
