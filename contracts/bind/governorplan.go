package bind

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// Limits of a governor, as its contract checks them (contracts.md section 5).
const (
	maxMembers  = 16
	maxBuilders = 32
	maxDelay    = 30 * 86400
	// ProposalLife is how long a proposal can be executed, in seconds from its NotBefore.
	ProposalLife = 14 * 86400
)

// ProposalKind says what a proposal changes.
type ProposalKind uint8

// Kinds of proposals. There is none for the root's reset, upgrade_full and change_owner.
const (
	KindAdd ProposalKind = iota + 1
	KindPrice
	KindParams
	KindUpgradeContracts
	KindUpgradeRoot
	KindRegisterProxy
	KindUpdateProxy
	KindUnregisterProxy
	KindRules
	KindKeyManager
	KindPublicKey
)

// kindRow is what a kind is called and which operation of the root it becomes.
type kindRow struct {
	name string
	op   Op // 0: made by the governor itself
}

func (k ProposalKind) row() (kindRow, bool) {
	rows := [...]kindRow{
		{"add", 0},
		{"price", OpRootChangePrice},
		{"params", OpRootChangeParams},
		{"upgrade contracts", OpRootUpgradeContracts},
		{"upgrade root", OpRootUpgrade},
		{"register proxy", OpRootRegisterProxy},
		{"update proxy", OpRootUpdateProxy},
		{"unregister proxy", OpRootUnregisterProxy},
		{"rules", 0},
		{"key manager", OpRootChangeKeyManager},
		{"public key", OpRootAddPublicKey},
	}
	if k == 0 || int(k) > len(rows) {
		return kindRow{}, false
	}
	return rows[k-1], true
}

// String is the kind's name.
func (k ProposalKind) String() string {
	if row, ok := k.row(); ok {
		return row.name
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Delay is how long a proposal of a kind waits under these rules, in seconds.
func (r Rules) Delay(k ProposalKind) uint32 {
	switch k {
	case KindRegisterProxy, KindUpdateProxy, KindUnregisterProxy:
		return 0
	case KindAdd, KindPrice, KindParams, KindPublicKey:
		return r.DelayAdd
	default:
		return r.DelayUpgrade
	}
}

// Validate refuses rules that the contract refuses.
func (r Rules) Validate() error {
	var errs []error
	for name, n := range map[string]int{"proposers": len(r.Proposers), "approvers": len(r.Approvers), "revokers": len(r.Revokers)} {
		if n > maxMembers {
			errs = append(errs, fmt.Errorf("checking rules: %d %s, at most %d", n, name, maxMembers))
		}
	}
	if len(r.Builders) > maxBuilders {
		errs = append(errs, fmt.Errorf("checking rules: %d builders, at most %d", len(r.Builders), maxBuilders))
	}
	if r.Threshold == 0 || int(r.Threshold) > len(r.Approvers) {
		errs = append(errs, fmt.Errorf("checking rules: %d approvals of %d approvers", r.Threshold, len(r.Approvers)))
	}
	if max(r.DelayAdd, r.DelayUpgrade) > maxDelay {
		errs = append(errs, fmt.Errorf("checking rules: a delay of more than %d seconds", maxDelay))
	}
	slices.SortFunc(errs, func(a, b error) int { return bytes.Compare([]byte(a.Error()), []byte(b.Error())) })
	return errors.Join(errs...)
}

// Addition is the body of a proposal to add a hash.
type Addition struct {
	List                     HashList
	Hash                     Hash
	ManifestHash, SourceHash Hash   // the manifest's is required
	EffectiveFrom            uint32 // Unix time before which it does not become active; 0 for none
}

func (a *Addition) fields(c *codec) {
	number64(c, "list", 2, &a.List)
	c.hash("hash", &a.Hash)
	c.hash("manifest_hash", &a.ManifestHash)
	c.hash("source_hash", &a.SourceHash)
	number64(c, "effective_from", 32, &a.EffectiveFrom)
}

// Provenance is what a governor wants to know about a hash before it is added.
type Provenance struct {
	ManifestHash, SourceHash Hash
	EffectiveFrom            uint32 // Unix time
}

// errNoProposal is wrapped when a root's message has no kind of proposal.
var errNoProposal = errors.New("a governor has no such proposal")

// ProposeChange is the proposal that makes a governor send the root this message; where it comes from is asked for
// additions only.
func ProposeChange(queryID uint64, change Message, from Provenance) (GovernorPropose, error) {
	m, err := proposeChange(queryID, change, from)
	if err != nil {
		return GovernorPropose{}, fmt.Errorf("proposing %s: %w", change.Op(), err)
	}
	return m, nil
}

func proposeChange(queryID uint64, change Message, from Provenance) (GovernorPropose, error) {
	if h, ok := change.(*RootHash); ok {
		list, ok := map[Op]HashList{OpRootAddProxyType: ListProxies, OpRootAddWorkerType: ListWorkers, OpRootAddModelType: ListModels}[h.Change]
		if !ok {
			return GovernorPropose{}, fmt.Errorf("%w: revoke or deprecate the hash", errNoProposal)
		}
		if from.ManifestHash == (Hash{}) {
			return GovernorPropose{}, errors.New("no manifest hash")
		}
		body, err := encode(&Addition{list, h.Hash, from.ManifestHash, from.SourceHash, from.EffectiveFrom})
		return GovernorPropose{queryID, KindAdd, body}, err
	}
	for kind := KindAdd; kind <= KindPublicKey; kind++ {
		if row, _ := kind.row(); row.op != 0 && row.op == change.Op() {
			body, err := tailOf(change)
			return GovernorPropose{queryID, kind, body}, err
		}
	}
	return GovernorPropose{}, fmt.Errorf("%w: the owner can move the root to a wallet first", errNoProposal)
}

// tailOf is a message body without operation and query id.
func tailOf(m Message) (*cell.Cell, error) {
	body, err := Encode(m)
	if err != nil {
		return nil, err
	}
	in, err := body.BeginParse()
	if err != nil {
		return nil, err
	}
	if _, err := in.LoadSlice(32 + 64); err != nil {
		return nil, err
	}
	return in.ToCell()
}

// ProposeRules is the proposal of new rules.
func ProposeRules(queryID uint64, r Rules) (GovernorPropose, error) {
	if err := r.Validate(); err != nil {
		return GovernorPropose{}, fmt.Errorf("proposing rules: %w", err)
	}
	body, err := encode(&r)
	if err != nil {
		return GovernorPropose{}, fmt.Errorf("proposing rules: %w", err)
	}
	return GovernorPropose{queryID, KindRules, body}, nil
}

// Addition reads the body of a proposal to add a hash.
func (p Proposal) Addition() (Addition, error) {
	var a Addition
	if p.Kind != KindAdd {
		return Addition{}, fmt.Errorf("reading proposal %d: %s, not an addition", p.ID, p.Kind)
	}
	if err := decode(p.Body, &a); err != nil {
		return Addition{}, fmt.Errorf("reading proposal %d: %w", p.ID, err)
	}
	return a, nil
}

// NewRules reads the body of a proposal of rules.
func (p Proposal) NewRules() (Rules, error) {
	var r Rules
	if p.Kind != KindRules {
		return Rules{}, fmt.Errorf("reading proposal %d: %s, not rules", p.ID, p.Kind)
	}
	if err := decode(p.Body, &r); err != nil {
		return Rules{}, fmt.Errorf("reading proposal %d: %w", p.ID, err)
	}
	return r, nil
}

// Change is the message that the root gets when a proposal is executed; nil when it gets none.
func (p Proposal) Change(queryID uint64) (Message, error) {
	if p.Kind == KindRules {
		return nil, nil //nolint:nilnil // documented: rules are the governor's own
	}
	if p.Kind == KindAdd {
		a, err := p.Addition()
		if err != nil {
			return nil, err
		}
		op := map[HashList]Op{ListProxies: OpRootAddProxyType, ListWorkers: OpRootAddWorkerType, ListModels: OpRootAddModelType}[a.List]
		return &RootHash{Change: op, QueryID: queryID, Hash: a.Hash}, nil
	}
	row, ok := p.Kind.row()
	if !ok || p.Body == nil {
		return nil, fmt.Errorf("reading proposal %d: %s", p.ID, p.Kind)
	}
	out := cell.BeginCell()
	err := errors.Join(out.StoreUInt(uint64(row.op), 32), out.StoreUInt(queryID, 64), out.StoreBuilder(p.Body.ToBuilder()))
	if err != nil {
		return nil, fmt.Errorf("reading proposal %d: %w", p.ID, err)
	}
	m, err := Decode(ContractRoot, out.EndCell())
	if err != nil {
		return nil, fmt.Errorf("reading proposal %d: %w", p.ID, err)
	}
	return m, nil
}

// Approve is the vote for a proposal as it was read.
func (p Proposal) Approve(queryID uint64) GovernorApprove {
	return GovernorApprove{QueryID: queryID, Proposal: p.ID, BodyHash: Hash(p.Body.Hash())}
}

// Proposal is an open proposal by its id.
func (s GovernorStorage) Proposal(id uint64) (Proposal, bool) {
	for _, p := range s.Proposals {
		if p.ID == id {
			return p, true
		}
	}
	return Proposal{}, false
}

// Votes counts the approvals that are valid under the rules of now.
func (s GovernorStorage) Votes(p Proposal) int {
	n := 0
	for _, a := range p.Approvals {
		if slices.ContainsFunc(s.Rules.Approvers, func(b *address.Address) bool { return b.Equals(a) }) {
			n++
		}
	}
	return n
}

// The exit codes with which a governor refuses (contracts.md section 5).
const (
	ExitRole     = 1050
	ExitTimelock = 1051
	ExitProposal = 1052
	ExitApproved = 1053
	ExitState    = 1054
)

// NotYetError says why a proposal cannot be executed.
type NotYetError struct {
	Proposal uint64
	Exit     int // of the contract
	Why      string
}

// Error names the proposal and what is missing.
func (e *NotYetError) Error() string {
	return fmt.Sprintf("executing proposal %d: %s", e.Proposal, e.Why)
}

// Execute is the message that carries out a proposal at a time, or the *NotYetError that the contract would answer.
func (s GovernorStorage) Execute(queryID, id uint64, now uint32) (GovernorExecute, error) {
	p, ok := s.Proposal(id)
	switch {
	case !ok:
		return GovernorExecute{}, &NotYetError{id, ExitProposal, "it is unknown"}
	case now > p.Expires:
		return GovernorExecute{}, &NotYetError{id, ExitProposal, fmt.Sprintf("it expired at %d: cancel it and propose again", p.Expires)}
	}
	votes, owners := s.Votes(p), p.Kind == KindRules && p.By.Equals(s.Owner)
	switch {
	case !owners && votes < int(s.Rules.Threshold):
		return GovernorExecute{}, &NotYetError{id, ExitRole, fmt.Sprintf("%d of %d approvals", votes, s.Rules.Threshold)}
	case now < p.NotBefore:
		return GovernorExecute{}, &NotYetError{id, ExitTimelock, fmt.Sprintf("it waits until %d", p.NotBefore)}
	case p.Kind == KindAdd:
		a, err := p.Addition()
		if err != nil {
			return GovernorExecute{}, err
		}
		if e, ok := s.Lists.Find(a.List, a.Hash); !ok || e.State != EntryAnnounced || e.Proposal != id {
			return GovernorExecute{}, &NotYetError{id, ExitState, fmt.Sprintf("the hash is %s", e.State)}
		}
	}
	return GovernorExecute{QueryID: queryID, Proposal: id}, nil
}
