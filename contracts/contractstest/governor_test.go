package contractstest_test

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/code"
	"cocoon/contracts/contractstest"
)

// council is a root, its governor and everybody with a role.
type council struct {
	*contractstest.Chain
	root, at bind.Instance
	queryID  uint64
	events   []bind.GovernorEvent // all since the beginning
}

const (
	addDelay     = 24 * 3600
	upgradeDelay = 72 * 3600
)

// newCouncil is a governor with two proposers, three approvers of whom two are needed, and one revoker; the root is its
// own after a founder has handed it over.
func newCouncil(c *contractstest.Chain) (*council, error) {
	g := &council{Chain: c}
	params := ourParams()
	data, err := bind.RootStorage{
		Owner: c.Actor("founder"), Version: 1, Params: params, WorkerHashes: []bind.Hash{{0xee}}, KeyManager: &bind.KeyManager{},
	}.Cell()
	if err != nil {
		return nil, err
	}
	at, err := bind.Address(code.Root(), data)
	if err != nil {
		return nil, err
	}
	g.root = bind.Instance{Code: code.Root(), Data: data, Address: at}
	if g.at, err = bind.NewGovernor(code.Governor(), at, c.Actor("owner"), g.rules()); err != nil {
		return nil, err
	}
	c.Name(g.root.Address, "root")
	c.Name(g.at.Address, "governor")
	founder := c.Actor("founder")
	for _, in := range []*bind.Instance{&g.root, &g.at} {
		if err := c.Send(contractstest.Message{From: founder, To: in.Address, Value: ton / 5, NoBounce: true, Init: in}); err != nil {
			return nil, err
		}
	}
	return g, g.send(founder, g.root.Address, ton, &bind.RootChangeOwner{Owner: g.at.Address})
}

func (g *council) rules() bind.Rules {
	actors := func(names ...string) []*address.Address {
		var out []*address.Address
		for _, n := range names {
			out = append(out, g.Actor(n))
		}
		slices.SortFunc(out, func(a, b *address.Address) int { return slices.Compare(a.Data(), b.Data()) })
		return out
	}
	return bind.Rules{
		Threshold: 2, DelayAdd: addDelay, DelayUpgrade: upgradeDelay,
		Proposers: actors("proposer", "proposer2"), Approvers: actors("approver1", "approver2", "approver3"), Revokers: actors("revoker"),
		Builders: []bind.Hash{contractstest.PublicKeyOf(contractstest.KeyOf("builder"))},
	}
}

func (g *council) clone() *council {
	out := *g
	out.Chain, out.events = g.Clone(), slices.Clone(g.events)
	return &out
}

func (g *council) query() uint64 {
	g.queryID++
	return g.queryID
}

// send delivers a message and collects the events.
func (g *council) send(from, to *address.Address, value bind.Nano, m bind.Message) error {
	body, err := bind.Encode(m)
	if err != nil {
		return err
	}
	if err := g.Send(contractstest.Message{From: from, To: to, Value: value, Body: body}); err != nil {
		return err
	}
	return errors.Join(g.collect(), g.Check())
}

func (g *council) collect() error {
	for _, e := range g.Emitted {
		event, err := bind.ParseGovernorEvent(e.Body)
		if err != nil {
			return err
		}
		g.events = append(g.events, event)
	}
	g.Emitted = nil
	return nil
}

// tell sends the governor a message of an actor.
func (g *council) tell(from string, m bind.Message) error {
	return g.send(g.Actor(from), g.at.Address, ton/2, m)
}

func (g *council) state() (bind.GovernorStorage, error) {
	return bind.ParseGovernorStorage(g.Data(g.at.Address))
}

func (g *council) rootState() (bind.RootStorage, error) {
	return bind.ParseRoot(g.Data(g.root.Address))
}

// inRoot says whether the root's list has a hash.
func (g *council) inRoot(list bind.HashList, hash bind.Hash) (bool, error) {
	r, err := g.rootState()
	if err != nil {
		return false, err
	}
	return slices.Contains(map[bind.HashList][]bind.Hash{
		bind.ListProxies: r.ProxyHashes, bind.ListWorkers: r.WorkerHashes, bind.ListModels: r.ModelHashes,
	}[list], hash), nil
}

// propose sends a proposal and returns its id.
func (g *council) propose(from string, change bind.Message, p bind.Provenance) (uint64, error) {
	m, err := bind.ProposeChange(g.query(), change, p)
	if err != nil {
		return 0, err
	}
	if err := g.tell(from, &m); err != nil {
		return 0, err
	}
	s, err := g.state()
	return s.LastProposal, err
}

func (g *council) approve(id uint64, by ...string) error {
	for _, name := range by {
		s, err := g.state()
		if err != nil {
			return err
		}
		p, ok := s.Proposal(id)
		if !ok {
			return fmt.Errorf("no proposal %d", id)
		}
		vote := p.Approve(g.query())
		if err := g.tell(name, &vote); err != nil {
			return err
		}
	}
	return nil
}

// carry proposes a change, has it approved, waits and executes it.
func (g *council) carry(change bind.Message, p bind.Provenance) error {
	id, err := g.propose("proposer", change, p)
	if err != nil {
		return err
	}
	if err := g.approve(id, "approver1", "approver2"); err != nil {
		return err
	}
	s, err := g.state()
	if err != nil {
		return err
	}
	proposal, _ := s.Proposal(id)
	g.Now = max(g.Now, proposal.NotBefore)
	return g.tell("stranger", &bind.GovernorExecute{QueryID: g.query(), Proposal: id})
}

// cabinet is a council in a test.
type cabinet struct {
	*council
	t testing.TB
}

func newCabinet(tb testing.TB) cabinet {
	tb.Helper()
	g, err := newCouncil(newChain(tb, 12))
	if err != nil {
		tb.Fatal(err)
	}
	return cabinet{g, tb}
}

func (g cabinet) do(err error) {
	g.t.Helper()
	if err != nil {
		g.t.Fatalf("%v\n%s", err, g.Tree())
	}
}

func (g cabinet) exit(to string, want int) {
	g.t.Helper()
	if _, err := g.Find(contractstest.Match{To: to, Exit: &want}); err != nil {
		g.t.Error(err)
	}
}

// stands expects an entry's state and what the root has.
func (g cabinet) stands(list bind.HashList, hash bind.Hash, want bind.EntryState, inRoot bool) bind.Entry {
	g.t.Helper()
	s, err := g.state()
	g.do(err)
	e, _ := s.Lists.Find(list, hash)
	if e.State != want {
		g.t.Errorf("%s %x is %s, want %s\n%s", list, hash[:2], e.State, want, g.Tree())
	}
	got, err := g.inRoot(list, hash)
	g.do(err)
	if got != inRoot {
		g.t.Errorf("root has %s %x: %v, want %v\n%s", list, hash[:2], got, inRoot, g.Tree())
	}
	if len(s.Lists.Pending) != 0 {
		g.t.Errorf("the root has not answered %+v", s.Lists.Pending)
	}
	return e
}

var adds = map[bind.HashList]bind.Op{bind.ListProxies: bind.OpRootAddProxyType, bind.ListWorkers: bind.OpRootAddWorkerType, bind.ListModels: bind.OpRootAddModelType}

func addition(list bind.HashList, hash bind.Hash) *bind.RootHash {
	return &bind.RootHash{Change: adds[list], Hash: hash}
}

func provenance() bind.Provenance {
	return bind.Provenance{ManifestHash: bind.Hash{0xaa}, SourceHash: bind.Hash{0xbb}}
}

// TestGovernorLifeOfAHash: announced, active after approvals and delay, deprecated, drained; the root has it exactly while
// it is active or deprecated, and every step is an event.
func TestGovernorLifeOfAHash(t *testing.T) {
	for list := range bind.ListNone {
		t.Run(list.String(), func(t *testing.T) {
			g, hash := newCabinet(t), bind.Hash{7}
			id, err := g.propose("proposer", addition(list, hash), provenance())
			g.do(err)
			e := g.stands(list, hash, bind.EntryAnnounced, false)
			same(t, "effective from", e.EffectiveFrom, g.Now+addDelay)
			g.do(g.approve(id, "approver1"))
			g.do(g.tell("stranger", &bind.GovernorExecute{Proposal: id}))
			g.exit("governor", bind.ExitRole)
			g.do(g.approve(id, "approver3"))
			g.Now += addDelay - 1
			g.do(g.tell("stranger", &bind.GovernorExecute{Proposal: id}))
			g.exit("governor", bind.ExitTimelock)
			g.stands(list, hash, bind.EntryAnnounced, false)
			g.Now++
			g.do(g.tell("stranger", &bind.GovernorExecute{Proposal: id}))
			g.exit("root", 0)
			g.stands(list, hash, bind.EntryActive, true)
			g.do(g.tell("stranger", &bind.GovernorExecute{Proposal: id}))
			g.exit("governor", bind.ExitProposal)

			g.do(g.tell("proposer", &bind.GovernorDeprecate{List: list, Hash: hash, DrainAt: g.Now + 100}))
			g.stands(list, hash, bind.EntryDeprecated, true)
			g.Now += 99
			g.do(g.tell("stranger", &bind.GovernorDrain{List: list, Hash: hash}))
			g.exit("governor", bind.ExitTimelock)
			g.Now++
			g.do(g.tell("stranger", &bind.GovernorDrain{List: list, Hash: hash}))
			e = g.stands(list, hash, bind.EntryRevoked, false)
			same(t, "revoked at", e.RevokedAt, g.Now)
			var kinds []string
			for _, e := range g.events {
				kinds = append(kinds, e.Kind.String())
			}
			if diff := cmp.Diff([]string{"proposed", "approved", "approved", "executed", "deprecated", "drained"}, kinds); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

// TestGovernorRevokesAtOnce: a revocation needs no approval and no time, deletes in the root in the same chain of
// transactions, is final, and works for a hash that the root had before it was governed.
func TestGovernorRevokesAtOnce(t *testing.T) {
	g, hash := newCabinet(t), bind.Hash{7}
	g.do(g.carry(addition(bind.ListWorkers, hash), provenance()))
	g.stands(bind.ListWorkers, hash, bind.EntryActive, true)
	g.do(g.tell("revoker", &bind.GovernorRevoke{List: bind.ListWorkers, Hash: hash, Reason: 3}))
	e := g.stands(bind.ListWorkers, hash, bind.EntryRevoked, false)
	same(t, "reason", e.Reason, 3)
	same(t, "manifest", e.ManifestHash, bind.Hash{0xaa})
	if _, err := g.propose("proposer", addition(bind.ListWorkers, hash), provenance()); err != nil {
		t.Fatal(err)
	}
	g.exit("governor", bind.ExitState)
	g.do(g.tell("owner", &bind.GovernorRevoke{List: bind.ListWorkers, Hash: hash}))
	g.exit("governor", bind.ExitState)

	old := bind.Hash{0xee}
	g.stands(bind.ListWorkers, old, bind.EntryAbsent, true)
	g.do(g.tell("owner", &bind.GovernorRevoke{List: bind.ListWorkers, Hash: old, Reason: 1}))
	g.stands(bind.ListWorkers, old, bind.EntryRevoked, false)
}

// TestGovernorRevokesWhatIsAnnounced: then the proposal cannot be executed.
func TestGovernorRevokesWhatIsAnnounced(t *testing.T) {
	g, hash := newCabinet(t), bind.Hash{7}
	id, err := g.propose("proposer", addition(bind.ListProxies, hash), provenance())
	g.do(err)
	g.do(g.approve(id, "approver1", "approver2"))
	g.do(g.tell("revoker", &bind.GovernorRevoke{List: bind.ListProxies, Hash: hash}))
	g.Now += addDelay
	g.do(g.tell("stranger", &bind.GovernorExecute{Proposal: id}))
	g.exit("governor", bind.ExitState)
	g.do(g.tell("revoker", &bind.GovernorCancel{Proposal: id}))
	g.stands(bind.ListProxies, hash, bind.EntryRevoked, false)
}

// changes are one message of each kind that a governor sends to its root.
func changes() map[string]bind.Message {
	return map[string]bind.Message{
		"price":             &bind.RootChangePrice{PricePerToken: 100, WorkerFee: 90},
		"params":            &bind.RootChangeParams{PricePerToken: 100, WorkerFee: 90, ProxyDelay: 1, ClientDelay: 2, MinProxyStake: 3, MinClientStake: 4},
		"upgrade contracts": &bind.RootUpgradeContracts{Proxy: code.Proxy(), Worker: code.Worker(), Client: code.Client()},
		"upgrade root":      &bind.RootUpgrade{Code: code.Wallet()},
		"register proxy":    &bind.RootRegisterProxy{Addr: "1.2.3.4:5"},
		"key manager":       &bind.RootChangeKeyManager{PublicKey: bind.Hash{1}, ImageHash: bind.Hash{2}, Addr: "1.2.3.4:6"},
		"public key":        &bind.RootAddPublicKey{Key: bind.ManagedKey{Key: bind.Hash{3}, Type: 1, ExpireAt: contractstest.Start * 2}},
	}
}

// TestGovernorKinds: every kind of proposal becomes the root's operation after its delay and not a second before, and
// reads back as the message that was proposed.
func TestGovernorKinds(t *testing.T) {
	delays := map[string]uint32{"register proxy": 0, "upgrade contracts": upgradeDelay, "upgrade root": upgradeDelay, "key manager": upgradeDelay}
	for name, change := range changes() {
		t.Run(name, func(t *testing.T) {
			g := newCabinet(t)
			start := g.Now
			id, err := g.propose("proposer2", change, bind.Provenance{})
			g.do(err)
			s, err := g.state()
			g.do(err)
			p, ok := s.Proposal(id)
			if !ok {
				t.Fatalf("no proposal\n%s", g.Tree())
			}
			same(t, "kind", p.Kind.String(), name)
			back, err := p.Change(0)
			g.do(err)
			same(t, "proposed", encoded(t, back), encoded(t, change))
			delay, ok := delays[name]
			if !ok {
				delay = addDelay
			}
			same(t, "delay", p.NotBefore-start, delay)
			g.do(g.approve(id, "approver1", "approver2"))
			if delay > 0 {
				g.Now = start + delay - 1
				g.do(g.tell("stranger", &bind.GovernorExecute{Proposal: id}))
				g.exit("governor", bind.ExitTimelock)
			}
			g.Now = start + delay
			before, err := g.rootState()
			g.do(err)
			g.do(g.tell("stranger", &bind.GovernorExecute{Proposal: id}))
			g.exit("root", 0)
			if name != "upgrade root" {
				after, err := g.rootState()
				g.do(err)
				same(t, "version", after.Version, before.Version+1)
			}
		})
	}
	t.Run("proxies", func(t *testing.T) {
		g := newCabinet(t)
		g.do(g.carry(&bind.RootRegisterProxy{Addr: "1.2.3.4:5"}, bind.Provenance{}))
		g.do(g.carry(&bind.RootUpdateProxy{Seqno: 1, Addr: "1.2.3.4:6"}, bind.Provenance{}))
		r, err := g.rootState()
		g.do(err)
		same(t, "address", r.Proxies[0].Addr, "1.2.3.4:6")
		g.do(g.carry(&bind.RootUnregisterProxy{Seqno: 1}, bind.Provenance{}))
		r, err = g.rootState()
		g.do(err)
		same(t, "proxies", len(r.Proxies), 0)
	})
}

func encoded(tb testing.TB, m bind.Message) [32]byte {
	tb.Helper()
	c, err := bind.Encode(m)
	if err != nil {
		tb.Fatal(err)
	}
	return c.HashKey()
}

// TestGovernorRootRefuses: what the root refuses is as before, the proposal included, and an event says so.
func TestGovernorRootRefuses(t *testing.T) {
	g, hash := newCabinet(t), bind.Hash{7}
	// A proxy that does not exist: the root's exit 2000.
	id, err := g.propose("proposer", &bind.RootUnregisterProxy{Seqno: 9}, bind.Provenance{})
	g.do(err)
	g.do(g.approve(id, "approver1", "approver2"))
	before, err := g.state()
	g.do(err)
	g.do(g.tell("stranger", &bind.GovernorExecute{Proposal: id}))
	g.exit("root", 2000)
	after, err := g.state()
	g.do(err)
	before.LastEvent += 2
	if diff := cmp.Diff(before, after, cellsAndAddresses()); diff != "" {
		t.Errorf("after a refusal (-want +got):\n%s", diff)
	}
	same(t, "last event", g.events[len(g.events)-1].Kind, bind.EventRefused)

	// A governor whose root is no longer its own.
	g.do(g.carry(addition(bind.ListModels, hash), provenance()))
	g.moveRoot("founder")
	g.do(g.tell("revoker", &bind.GovernorRevoke{List: bind.ListModels, Hash: hash}))
	g.exit("root", 1010)
	g.stands(bind.ListModels, hash, bind.EntryActive, true)
}

// TestGovernorRootRefusesTwice: when the root refuses an addition and the revocation that overtook its answer, the hash is
// announced again as before both; when it refuses only the first, the hash stays revoked.
func TestGovernorRootRefusesTwice(t *testing.T) {
	post := func(g cabinet, from string, m bind.Message) {
		t.Helper()
		body, err := bind.Encode(m)
		g.do(err)
		g.do(g.Post(contractstest.Message{From: g.Actor(from), To: g.at.Address, Value: ton / 2, Body: body}))
		_, err = g.Step(len(g.Pending()) - 1)
		g.do(err)
	}
	for name, both := range map[string]bool{"both": true, "the addition only": false} {
		t.Run(name, func(t *testing.T) {
			g, hash := newCabinet(t), bind.Hash{7}
			g.moveRoot("founder")
			id, err := g.propose("proposer", addition(bind.ListWorkers, hash), provenance())
			g.do(err)
			g.do(g.approve(id, "approver1", "approver2"))
			g.Now += addDelay
			before, err := g.state()
			g.do(err)
			g.Clear()
			post(g, "stranger", &bind.GovernorExecute{Proposal: id})
			post(g, "revoker", &bind.GovernorRevoke{List: bind.ListWorkers, Hash: hash})
			if !both {
				// The root refuses the addition, and has the governor for its owner again before the deletion comes.
				_, err := g.Step(0)
				g.do(err)
				body, err := bind.Encode(&bind.RootChangeOwner{Owner: g.at.Address})
				g.do(err)
				g.do(g.Post(contractstest.Message{From: g.Actor("founder"), To: g.root.Address, Value: ton, Body: body}))
				_, err = g.Step(len(g.Pending()) - 1)
				g.do(err)
			}
			g.do(g.Run())
			g.do(g.collect())
			g.do(g.Check())
			if !both {
				g.stands(bind.ListWorkers, hash, bind.EntryRevoked, false)
				return
			}
			g.stands(bind.ListWorkers, hash, bind.EntryAnnounced, false)
			after, err := g.state()
			g.do(err)
			before.LastEvent = after.LastEvent
			if diff := cmp.Diff(before, after, cellsAndAddresses()); diff != "" {
				t.Errorf("after two refusals (-want +got):\n%s", diff)
			}
		})
	}
}

// moveRoot hands the root to an actor.
func (g cabinet) moveRoot(to string) {
	g.t.Helper()
	g.do(g.tell("owner", &bind.GovernorOfferOwner{Target: bind.OfferRoot, To: g.Actor(to)}))
	g.Now += upgradeDelay
	g.do(g.tell(to, &bind.GovernorAcceptOwner{}))
	g.exit("root", 0)
}

// TestGovernorOwner: the owner can always move the root after the delay, whoever objects, and hand on its own role the
// same way; nobody else can, and not earlier.
func TestGovernorOwner(t *testing.T) {
	for _, target := range []bind.OfferTarget{bind.OfferGovernor, bind.OfferRoot} {
		g := newCabinet(t)
		g.do(g.tell("revoker", &bind.GovernorOfferOwner{Target: target, To: g.Actor("revoker")}))
		g.exit("governor", bind.ExitRole)
		g.do(g.tell("heir", &bind.GovernorAcceptOwner{}))
		g.exit("governor", bind.ExitState)
		g.do(g.send(g.Actor("owner"), g.at.Address, ton, &bind.GovernorOfferOwner{Target: target, To: address.NewAddress(0, 5, make([]byte, 32))}))
		g.exit("governor", 1018)
		g.do(g.tell("owner", &bind.GovernorOfferOwner{Target: 2, To: g.Actor("heir")}))
		g.exit("governor", 1004)
		g.do(g.tell("owner", &bind.GovernorOfferOwner{Target: target, To: g.Actor("heir")}))
		g.Now += upgradeDelay - 1
		g.do(g.tell("heir", &bind.GovernorAcceptOwner{}))
		g.exit("governor", bind.ExitTimelock)
		g.Now++
		g.do(g.tell("owner", &bind.GovernorAcceptOwner{}))
		g.exit("governor", bind.ExitRole)
		g.do(g.tell("heir", &bind.GovernorAcceptOwner{}))
		g.exit("governor", 0)
		s, err := g.state()
		g.do(err)
		r, err := g.rootState()
		g.do(err)
		governor, root := "owner", "governor"
		if target == bind.OfferGovernor {
			governor = "heir"
		} else {
			root = "heir"
		}
		same(t, "the governor's owner", g.NameOf(s.Owner), governor)
		same(t, "the root's owner", g.NameOf(r.Owner), root)
		if s.Offer != nil || len(s.Lists.Pending) != 0 {
			t.Errorf("left over: %+v, %+v", s.Offer, s.Lists.Pending)
		}
	}
}

// TestGovernorRules: the owner changes them alone but not at once, and no revoker can stop that; a proposer needs
// approvals; votes of members who left do not count.
func TestGovernorRules(t *testing.T) {
	g := newCabinet(t)
	next := g.rules()
	next.Revokers, next.Approvers, next.Threshold = nil, next.Approvers[:2], 2
	m, err := bind.ProposeRules(g.query(), next)
	g.do(err)
	g.do(g.tell("owner", &m))
	g.do(g.tell("revoker", &bind.GovernorCancel{Proposal: 1}))
	g.exit("governor", bind.ExitRole)

	// A vote of each approver for a price, before one of them leaves.
	id, err := g.propose("proposer", &bind.RootChangePrice{PricePerToken: 5, WorkerFee: 4}, bind.Provenance{})
	g.do(err)
	gone := g.rules().Approvers[2]
	g.do(g.approve(id, g.NameOf(gone), g.NameOf(next.Approvers[0])))
	g.Now += upgradeDelay
	g.do(g.tell("stranger", &bind.GovernorExecute{Proposal: 1}))
	s, err := g.state()
	g.do(err)
	if diff := cmp.Diff(next, s.Rules, cellsAndAddresses()); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
	g.do(g.tell("stranger", &bind.GovernorExecute{Proposal: id}))
	g.exit("governor", bind.ExitRole)
	g.do(g.approve(id, g.NameOf(next.Approvers[1])))
	g.do(g.tell("stranger", &bind.GovernorExecute{Proposal: id}))
	g.exit("root", 0)

	// By a proposer it takes votes.
	m, err = bind.ProposeRules(g.query(), g.rules())
	g.do(err)
	g.do(g.tell("proposer", &m))
	g.Now += upgradeDelay
	g.do(g.tell("proposer", &bind.GovernorExecute{Proposal: 3}))
	g.exit("governor", bind.ExitRole)

	for name, bad := range map[string]bind.Rules{
		"no threshold":     {Approvers: next.Approvers},
		"too few":          {Threshold: 3, Approvers: next.Approvers},
		"too long a delay": {Threshold: 1, Approvers: next.Approvers, DelayAdd: 30*86400 + 1},
	} {
		if bad.Validate() == nil {
			t.Errorf("%s: accepted", name)
		}
		body := encodeRules(t, bad)
		g.do(g.tell("owner", &bind.GovernorPropose{Kind: bind.KindRules, Body: body}))
		g.exit("governor", 1004)
	}
}

// encodeRules writes rules that package bind would not propose.
func encodeRules(tb testing.TB, r bind.Rules) *cell.Cell {
	tb.Helper()
	c, err := bind.GovernorStorage{Root: r.Approvers[0], Owner: r.Approvers[0], Rules: r}.Cell()
	if err != nil {
		tb.Fatal(err)
	}
	return c.MustPeekRef(0)
}

// TestGovernorAttest: a listed builder's signature over the manifest counts once.
func TestGovernorAttest(t *testing.T) {
	g, hash := newCabinet(t), bind.Hash{7}
	attest := func(key string, p bind.AttestPayload) {
		t.Helper()
		m, err := bind.Attest(contractstest.KeyOf(key), g.query(), p)
		g.do(err)
		g.do(g.tell("stranger", &m))
	}
	good := bind.AttestPayload{List: bind.ListWorkers, Hash: hash, ManifestHash: bind.Hash{0xaa}}
	attest("builder", good)
	g.exit("governor", bind.ExitState)
	_, err := g.propose("proposer", addition(bind.ListWorkers, hash), provenance())
	g.do(err)
	attest("stranger", good)
	g.exit("governor", bind.ExitRole)
	attest("builder", bind.AttestPayload{List: bind.ListWorkers, Hash: hash, ManifestHash: bind.Hash{0xab}})
	g.exit("governor", 1007)
	attest("builder", good)
	g.exit("governor", 0)
	e := g.stands(bind.ListWorkers, hash, bind.EntryAnnounced, false)
	same(t, "builders", len(e.Builders), 1)
	attest("builder", good)
	g.exit("governor", bind.ExitApproved)
	got, err := g.Get(g.at.Address, "get_entry", big.NewInt(int64(bind.ListWorkers)), new(big.Int).SetBytes(hash[:]))
	g.do(err)
	data, builders, err := bind.ParseEntryData(hash, got)
	g.do(err)
	e.Builders, e.Proposal = nil, 0
	same(t, "builders by get method", builders, 1)
	if diff := cmp.Diff(e, data); diff != "" {
		t.Errorf("entry by get method (-storage +get):\n%s", diff)
	}
}

func cellsAndAddresses() cmp.Options {
	return cmp.Options{
		cmp.Comparer(func(a, b *address.Address) bool { return a == b || (a != nil && b != nil && a.Equals(b)) }),
		cmp.Comparer(func(a, b *cell.Cell) bool { return a == b || (a != nil && b != nil && a.HashKey() == b.HashKey()) }),
	}
}

// governorStates are where a hash and its proposal can stand.
func governorStates(tb testing.TB) map[string]*council {
	tb.Helper()
	out := map[string]*council{}
	keep := func(name string, g cabinet) { out[name] = g.clone() }
	g, hash := newCabinet(tb), bind.Hash{7}
	keep("absent", g)
	id, err := g.propose("proposer", addition(bind.ListWorkers, hash), provenance())
	g.do(err)
	keep("announced", g)
	g.do(g.approve(id, "approver1", "approver2"))
	keep("approved", g)
	g.Now += addDelay
	keep("ready", g)
	expired := cabinet{g.clone(), tb}
	expired.Now += bind.ProposalLife + 1
	keep("expired", expired)
	g.do(g.tell("stranger", &bind.GovernorExecute{Proposal: id}))
	keep("active", g)
	g.do(g.tell("proposer", &bind.GovernorDeprecate{List: bind.ListWorkers, Hash: hash, DrainAt: g.Now + 10}))
	keep("deprecated", g)
	g.Now += 10
	keep("drainable", g)
	g.do(g.tell("stranger", &bind.GovernorDrain{List: bind.ListWorkers, Hash: hash}))
	keep("revoked", g)
	return out
}

// TestGovernorOperations: every operation in every state by every role gives the exit code of the specification; a refused
// one changes nothing and sends no event.
func TestGovernorOperations(t *testing.T) {
	hash := bind.Hash{7}
	const role, early, unknown, twice, state = bind.ExitRole, bind.ExitTimelock, bind.ExitProposal, bind.ExitApproved, bind.ExitState
	row := func(order ...int) map[string]int {
		names := []string{"absent", "announced", "approved", "ready", "expired", "active", "deprecated", "drainable", "revoked"}
		out := map[string]int{}
		for i, n := range names {
			out[n] = order[min(i, len(order)-1)]
		}
		return out
	}
	everyone := []string{"owner", "proposer", "approver1", "approver3", "revoker", "stranger"}
	propose, err := bind.ProposeChange(1, addition(bind.ListWorkers, hash), provenance())
	if err != nil {
		t.Fatal(err)
	}
	body := bind.Hash(propose.Body.Hash())
	attest, err := bind.Attest(contractstest.KeyOf("builder"), 1, bind.AttestPayload{List: bind.ListWorkers, Hash: hash, ManifestHash: bind.Hash{0xaa}})
	if err != nil {
		t.Fatal(err)
	}
	table := []struct {
		message bind.Message
		others  map[string]int // who has no role for it
		roles   map[string]map[string]int
	}{
		{&propose, row(role), map[string]map[string]int{"proposer": row(0, state)}},
		{&bind.GovernorApprove{Proposal: 1, BodyHash: body}, row(role), map[string]map[string]int{
			"approver1": row(unknown, 0, twice, twice, unknown), "approver3": row(unknown, 0, 0, 0, unknown),
		}},
		{&bind.GovernorApprove{Proposal: 1, BodyHash: hash}, row(role), map[string]map[string]int{"approver1": row(unknown), "approver3": row(unknown)}},
		{&bind.GovernorExecute{Proposal: 1}, row(unknown, role, early, 0, unknown), nil},
		{&bind.GovernorCancel{Proposal: 1}, row(unknown, role, role, role, 0, unknown), map[string]map[string]int{
			"owner": row(unknown, 0, 0, 0, 0, unknown), "proposer": row(unknown, 0, 0, 0, 0, unknown), "revoker": row(unknown, 0, 0, 0, 0, unknown),
		}},
		{&bind.GovernorRevoke{List: bind.ListWorkers, Hash: hash}, row(role), map[string]map[string]int{
			"owner": row(0, 0, 0, 0, 0, 0, 0, 0, state), "revoker": row(0, 0, 0, 0, 0, 0, 0, 0, state),
		}},
		{&bind.GovernorRevoke{List: bind.ListNone, Hash: hash}, row(1004), nil},
		{&bind.GovernorDeprecate{List: bind.ListWorkers, Hash: hash, DrainAt: 2 * contractstest.Start}, row(role), map[string]map[string]int{
			"proposer": row(state, state, state, state, state, 0, state),
		}},
		{&bind.GovernorDrain{List: bind.ListWorkers, Hash: hash}, row(state, state, state, state, state, state, early, 0, state), nil},
		{&attest, row(state, 0, 0, 0, 0, 0, 0, 0, state), nil},
		{&bind.GovernorOfferOwner{To: g0(t)}, row(role), map[string]map[string]int{"owner": row(0)}},
		{&bind.GovernorAcceptOwner{}, row(state), nil},
		{&bind.ClientTopUp{Excess: g0(t)}, row(1012), nil},
	}
	for where, template := range governorStates(t) {
		for _, r := range table {
			for _, who := range everyone {
				want := r.others[where]
				if own, ok := r.roles[who]; ok {
					want = own[where]
				}
				t.Run(fmt.Sprintf("%s by %s when %s", r.message.Op(), who, where), func(t *testing.T) {
					g := cabinet{template.clone(), t}
					before, events := g.Data(g.at.Address).HashKey(), len(g.events)
					g.do(g.tell(who, r.message))
					g.exit("governor", want)
					if changed := g.Data(g.at.Address).HashKey() != before; changed != (want == 0) {
						t.Errorf("storage changed: %v", changed)
					}
					if sent := len(g.events) > events; sent != (want == 0) {
						t.Errorf("event sent: %v", sent)
					}
				})
			}
		}
	}
}

func g0(tb testing.TB) *address.Address {
	tb.Helper()
	return newChain(tb, 12).Actor("heir")
}

// TestGovernorFormat: what is not well formed, and what brings too little, is refused before it is looked at.
func TestGovernorFormat(t *testing.T) {
	g, hash := newCabinet(t), bind.Hash{7}
	empty := cell.BeginCell().EndCell()
	wide := cell.BeginCell().MustStoreSlice(make([]byte, 120), 928).EndCell()
	addBody := func(p bind.Provenance, list bind.HashList) *cell.Cell {
		b := cell.BeginCell().MustStoreUInt(uint64(list), 2).MustStoreSlice(hash[:], 256).MustStoreSlice(p.ManifestHash[:], 256)
		return b.MustStoreSlice(p.SourceHash[:], 256).MustStoreUInt(uint64(p.EffectiveFrom), 32).EndCell()
	}
	far := provenance()
	far.EffectiveFrom = g.Now + addDelay + 366*86400 + 1
	for name, c := range map[string]struct {
		from  string
		value bind.Nano
		m     bind.Message
		want  int
	}{
		"unknown kind":             {"proposer", ton, &bind.GovernorPropose{Kind: 12, Body: empty}, 1004},
		"kind zero":                {"proposer", ton, &bind.GovernorPropose{Kind: 0, Body: empty}, 1004},
		"body too wide":            {"proposer", ton, &bind.GovernorPropose{Kind: bind.KindPrice, Body: wide}, 1004},
		"addition too short":       {"proposer", ton, &bind.GovernorPropose{Kind: bind.KindAdd, Body: empty}, 9},
		"addition without origin":  {"proposer", ton, &bind.GovernorPropose{Kind: bind.KindAdd, Body: addBody(bind.Provenance{}, bind.ListModels)}, 1004},
		"addition to no list":      {"proposer", ton, &bind.GovernorPropose{Kind: bind.KindAdd, Body: addBody(provenance(), bind.ListNone)}, 1004},
		"addition too far ahead":   {"proposer", ton, &bind.GovernorPropose{Kind: bind.KindAdd, Body: addBody(far, bind.ListModels)}, 1004},
		"propose without value":    {"proposer", ton/10 - 1, &bind.GovernorPropose{Kind: bind.KindPrice, Body: empty}, 1003},
		"revoke without value":     {"revoker", ton/5 - 1, &bind.GovernorRevoke{List: bind.ListModels, Hash: hash}, 1003},
		"revoke with just enough":  {"revoker", ton / 5, &bind.GovernorRevoke{List: bind.ListModels, Hash: hash}, 0},
		"deprecate into the past":  {"proposer", ton, &bind.GovernorDeprecate{List: bind.ListModels, Hash: bind.Hash{8}, DrainAt: 1}, 1004},
		"execute of an unknown id": {"proposer", ton, &bind.GovernorExecute{Proposal: 99}, bind.ExitProposal},
	} {
		t.Run(name, func(t *testing.T) {
			g := newCabinet(t)
			g.do(g.carry(addition(bind.ListModels, bind.Hash{8}), provenance()))
			g.do(g.send(g.Actor(c.from), g.at.Address, c.value, c.m))
			g.exit("governor", c.want)
		})
	}
}

// TestGovernorExcess: the change of every message comes back to whoever sent it, also by way of the root and after a
// refusal.
func TestGovernorExcess(t *testing.T) {
	g, hash := newCabinet(t), bind.Hash{7}
	held := g.Balance(g.at.Address)
	check := func(who string, m bind.Message) {
		t.Helper()
		before := g.Balance(g.Actor(who))
		g.do(g.tell(who, m))
		var fees bind.Nano
		for _, tx := range g.Log {
			fees += tx.Fees
		}
		got := g.Balance(g.Actor(who)) - before
		if lost := ton/2 - got; lost > 4*ton/100 {
			t.Errorf("%s by %s cost %d, fees %d\n%s", m.Op(), who, lost, fees, g.Tree())
		}
		if left := g.Balance(g.at.Address); left > held+ton/1000 || left+ton/1000 < held {
			t.Errorf("%s: the governor holds %d, before %d", m.Op(), left, held)
		}
	}
	m, err := bind.ProposeChange(1, addition(bind.ListWorkers, hash), provenance())
	g.do(err)
	check("proposer", &m)
	s, err := g.state()
	g.do(err)
	vote := s.Proposals[0].Approve(2)
	check("approver1", &vote)
	check("approver2", &vote)
	g.Now += addDelay
	check("stranger", &bind.GovernorExecute{Proposal: 1})
	check("revoker", &bind.GovernorRevoke{List: bind.ListWorkers, Hash: hash})
	id, err := g.propose("proposer", &bind.RootUnregisterProxy{Seqno: 9}, bind.Provenance{})
	g.do(err)
	g.do(g.approve(id, "approver1", "approver2"))
	check("stranger", &bind.GovernorExecute{Proposal: id})
	g.exit("root", 2000)
}
