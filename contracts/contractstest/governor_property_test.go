package contractstest_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"cocoon/contracts/bind"
	"cocoon/contracts/contractstest"
)

// TestGovernorInvariants runs random sequences of messages by every role and by strangers, in every order of delivery that
// the network allows, with time between them. When the root has answered, it holds exactly the hashes that are active or
// deprecated; the events replay to the entries; nothing becomes active without votes and delay; and nobody loses more than
// fees.
func TestGovernorInvariants(t *testing.T) {
	count := 150
	if longRun() {
		count = 20_000
	}
	seen := &tally{counts: map[string]int{}}
	runSeeds(t, count, func() (func(uint64) error, error) {
		template, err := newCouncil(newChain(t, 12))
		if err == nil {
			for _, name := range roles {
				template.Actor(name)
			}
		}
		return func(seed uint64) error { return runCouncil(template, seed, seen) }, err
	})
	seen.require(t, "proposed", "approved", "executed", "cancelled", "revoked", "deprecated", "drained", "attested", "offered", "accepted", "refused")
}

var roles = []string{"owner", "proposer", "proposer2", "approver1", "approver2", "approver3", "revoker", "stranger", "heir"}

// councilRun is one random run.
type councilRun struct {
	*council
	rng   *rand.Rand
	steps []string
	seen  *tally
	moved bool // the root may have another owner
	votes map[uint64]map[string]bool
}

func runCouncil(template *council, seed uint64, seen *tally) error {
	g := template.clone()
	r := &councilRun{council: g, rng: rand.New(rand.NewPCG(seed, 5)), seen: seen, votes: map[uint64]map[string]bool{}}
	if err := r.run(); err != nil {
		return fmt.Errorf("%w\nsteps:\n%s\n%s", err, strings.Join(r.steps, "\n"), g.Tree())
	}
	return nil
}

func (r *councilRun) run() error {
	if err := r.prelude(); err != nil {
		return err
	}
	sent, messages := map[string]bind.Nano{}, 0
	for _, who := range roles {
		sent[who] = r.Balance(r.Actor(who))
	}
	for range 6 + r.rng.IntN(16) {
		if r.rng.IntN(4) == 0 {
			r.Now += []uint32{1, 60, 60, addDelay - 1, addDelay, upgradeDelay, bind.ProposalLife}[r.rng.IntN(7)]
			r.steps = append(r.steps, fmt.Sprint(r.Now))
		}
		who := roles[r.rng.IntN(len(roles))]
		m, err := r.message(&who)
		if err != nil {
			return err
		}
		body, err := bind.Encode(m)
		if err != nil {
			return err
		}
		value := ton/2 + bind.Nano(r.rng.Uint64N(uint64(ton)))
		if r.rng.IntN(12) == 0 {
			value = []bind.Nano{2_000_000, ton / 20, ton/10 - 1, ton / 10, ton/5 - 1, ton / 5}[r.rng.IntN(6)]
		}
		r.steps = append(r.steps, fmt.Sprintf("%s by %s with %d", m.Op(), who, value))
		if err := r.Post(contractstest.Message{From: r.Actor(who), To: r.at.Address, Value: value, Body: body}); err != nil {
			return err
		}
		sent[who] += value
		messages++
		for range r.rng.IntN(4) {
			if err := r.deliver(); err != nil {
				return err
			}
		}
	}
	for len(r.Lanes()) > 0 {
		if err := r.deliver(); err != nil {
			return err
		}
	}
	return r.settled(sent, messages)
}

// prelude brings some sequences to active and deprecated hashes, which random steps seldom do.
func (r *councilRun) prelude() error {
	for n := range byte(r.rng.IntN(3)) {
		hash := bind.Hash{n}
		if err := r.carry(addition(bind.ListProxies, hash), provenance()); err != nil {
			return err
		}
		if r.rng.IntN(2) == 0 {
			if err := r.tell("proposer", &bind.GovernorDeprecate{List: bind.ListProxies, Hash: hash, DrainAt: r.Now + uint32(r.rng.IntN(200))}); err != nil {
				return err
			}
		}
	}
	for _, e := range r.events {
		if err := r.follow(e); err != nil {
			return err
		}
	}
	return nil
}

func (r *councilRun) deliver() error {
	lanes := r.Lanes()
	if len(lanes) == 0 {
		return nil
	}
	if _, err := r.Step(lanes[r.rng.IntN(len(lanes))]); err != nil {
		return err
	}
	first := len(r.events)
	if err := r.collect(); err != nil {
		return err
	}
	for _, e := range r.events[first:] {
		r.seen.add(e.Kind.String())
		if err := r.follow(e); err != nil {
			return err
		}
	}
	return r.Check()
}

// follow checks who did what from the events alone.
func (r *councilRun) follow(e bind.GovernorEvent) error {
	who := r.NameOf(e.Actor)
	may := map[bind.EventKind][]string{
		bind.EventProposed: {"proposer", "proposer2", "owner"}, bind.EventApproved: {"approver1", "approver2", "approver3"},
		bind.EventCancelled: {"proposer", "proposer2", "owner", "revoker", who}, bind.EventRevoked: {"owner", "revoker"},
		bind.EventDeprecated: {"proposer", "proposer2"}, bind.EventOffered: {"owner"}, bind.EventAccepted: {"heir"},
	}
	if allowed := may[e.Kind]; allowed != nil && !slices.Contains(allowed, who) && who != "heir" {
		return fmt.Errorf("%s by %s", e.Kind, who)
	}
	switch e.Kind { //nolint:exhaustive // what the others may do is in the table above
	case bind.EventProposed:
		r.votes[e.Proposal] = map[string]bool{}
		if e.ProposalKind == bind.KindAdd && e.New != bind.EntryAnnounced {
			return fmt.Errorf("an addition was proposed and is %s", e.New)
		}
	case bind.EventApproved:
		if r.votes[e.Proposal][who] {
			return fmt.Errorf("%s voted twice for proposal %d", who, e.Proposal)
		}
		r.votes[e.Proposal][who] = true
	case bind.EventExecuted:
		if len(r.votes[e.Proposal]) < 2 && e.ProposalKind != bind.KindRules {
			return fmt.Errorf("proposal %d was executed with %d votes", e.Proposal, len(r.votes[e.Proposal]))
		}
		if e.ProposalKind == bind.KindAdd && (e.New != bind.EntryActive || e.At < e.Entry.AddedAt+addDelay) {
			return fmt.Errorf("an addition of %d was executed at %d and is %s", e.Entry.AddedAt, e.At, e.New)
		}
	case bind.EventAccepted:
		r.moved = r.moved || bind.OfferTarget(e.ProposalKind) == bind.OfferRoot
	case bind.EventRevoked, bind.EventDrained:
		if e.New != bind.EntryRevoked {
			return fmt.Errorf("%s, and it is %s", e.Kind, e.New)
		}
	}
	return nil
}

// settled compares events, governor and root when nothing is under way.
func (r *councilRun) settled(sent map[string]bind.Nano, messages int) error {
	s, err := r.state()
	if err != nil {
		return err
	}
	if len(s.Lists.Pending) != 0 {
		return fmt.Errorf("the root has answered everything, but %d are open", len(s.Lists.Pending))
	}
	root, err := r.rootState()
	if err != nil {
		return err
	}
	if r.moved {
		if _, err := bind.ReplayEvents(r.events); err != nil {
			return err
		}
	} else if _, err := s.Audit(r.events, root); err != nil {
		return err
	}
	for who, value := range sent {
		if lost := int64(value) - int64(r.Balance(r.Actor(who))); lost > int64(messages)*int64(4*ton/100) {
			return fmt.Errorf("%s lost %d with at most %d messages", who, lost, messages)
		}
	}
	return nil
}

// message is a random operation, with a leaning to those that make sense.
func (r *councilRun) message(who *string) (bind.Message, error) {
	s, err := r.state()
	if err != nil {
		return nil, err
	}
	list, hash := bind.HashList(r.rng.IntN(2)), bind.Hash{byte(r.rng.IntN(3))}
	id := s.LastProposal
	if id > 0 {
		id -= r.rng.Uint64N(min(id, 3))
	}
	p, known := s.Proposal(id)
	as := func(names ...string) {
		if r.rng.IntN(5) > 0 {
			*who = names[r.rng.IntN(len(names))]
		}
	}
	q := r.query()
	switch r.rng.IntN(16) {
	case 0, 1, 2:
		as("proposer", "proposer2")
		return r.proposal(q, list, hash)
	case 3, 4, 5, 6, 7:
		as("approver1", "approver2", "approver3")
		if known && r.rng.IntN(20) > 0 {
			m := p.Approve(q)
			return &m, nil
		}
		return &bind.GovernorApprove{QueryID: q, Proposal: id, BodyHash: hash}, nil
	case 8, 9:
		if known && r.rng.IntN(3) > 0 && p.NotBefore > r.Now {
			r.Now = p.NotBefore
		}
		return &bind.GovernorExecute{QueryID: q, Proposal: id}, nil
	case 10:
		as("proposer", "revoker", "owner", "stranger")
		return &bind.GovernorCancel{QueryID: q, Proposal: id}, nil
	case 11:
		as("revoker", "owner")
		return &bind.GovernorRevoke{QueryID: q, List: list, Hash: hash, Reason: uint8(r.rng.IntN(4))}, nil
	case 12:
		as("proposer")
		return &bind.GovernorDeprecate{QueryID: q, List: list, Hash: hash, DrainAt: r.Now + uint32(r.rng.IntN(100))}, nil
	case 13:
		return &bind.GovernorDrain{QueryID: q, List: list, Hash: hash}, nil
	case 14:
		m, err := bind.Attest(contractstest.KeyOf("builder"), q, bind.AttestPayload{List: list, Hash: hash, ManifestHash: bind.Hash{0xaa}})
		return &m, err
	default:
		if r.rng.IntN(2) == 0 {
			as("owner")
			return &bind.GovernorOfferOwner{QueryID: q, Target: bind.OfferTarget(r.rng.IntN(2)), To: r.Actor("heir")}, nil
		}
		as("heir")
		return &bind.GovernorAcceptOwner{QueryID: q}, nil
	}
}

func (r *councilRun) proposal(q uint64, list bind.HashList, hash bind.Hash) (bind.Message, error) {
	var change bind.Message = addition(list, hash)
	switch r.rng.IntN(8) {
	case 0:
		change = &bind.RootUnregisterProxy{Seqno: uint32(r.rng.IntN(3))} // often unknown to the root
	case 1:
		change = &bind.RootRegisterProxy{Addr: "1.2.3.4:5"}
	case 2:
		change = &bind.RootChangePrice{PricePerToken: 5, WorkerFee: bind.Nano(r.rng.IntN(10))} // a fee above the price is refused
	case 3:
		rules := r.rules()
		rules.Builders = append(rules.Builders, bind.Hash{1})
		slices.SortFunc(rules.Builders, func(a, b bind.Hash) int { return slices.Compare(a[:], b[:]) })
		m, err := bind.ProposeRules(q, rules)
		return &m, err
	}
	m, err := bind.ProposeChange(q, change, provenance())
	return &m, err
}

// TestExecuteSaysWhatTheContractSays: package bind's answer about a proposal is the contract's exit code.
func TestExecuteSaysWhatTheContractSays(t *testing.T) {
	for where, template := range governorStates(t) {
		for id := range uint64(3) {
			g := cabinet{template.clone(), t}
			s, err := g.state()
			g.do(err)
			want := 0
			m, err := s.Execute(1, id, g.Now)
			if err != nil {
				notYet, ok := err.(*bind.NotYetError) //nolint:errorlint // what Execute documents
				if !ok {
					t.Fatal(err)
				}
				want, m = notYet.Exit, bind.GovernorExecute{QueryID: 1, Proposal: id}
			}
			g.do(g.tell("stranger", &m))
			if want != 0 || id == 1 {
				t.Log(where, id, want)
			}
			g.exit("governor", want)
		}
	}
}
