package contractstest_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/code"
	"cocoon/contracts/contractstest"
)

// market is a registry with one farm, its node, and an agreement that asks the registry for its price.
type market struct {
	*deal
	t    testing.TB
	list bind.Instance
}

const perGiB = dealHourly / 100

func newMarket(tb testing.TB) *market {
	tb.Helper()
	c := newChain(tb, 12)
	list, err := bind.NewFarmRegistry(code.Farm(), 7)
	if err != nil {
		tb.Fatal(err)
	}
	c.Name(list.Address, "farms")
	if err := c.Send(contractstest.Message{From: c.Actor("anyone"), To: list.Address, Value: ton / 10, NoBounce: true, Init: &list}); err != nil {
		tb.Fatal(err)
	}
	d, err := newDeal(c, func(terms *bind.AgreementTerms) {
		terms.PriceSource, terms.Registry, terms.SourceKey = bind.PriceOfRegistry, list.Address, bind.Hash{}
	})
	if err != nil {
		tb.Fatal(err)
	}
	return &market{d, tb, list}
}

func (m *market) terms() bind.FarmTerms {
	return bind.FarmTerms{Payout: m.farmer, Key: contractstest.PublicKeyOf(m.farm), Prices: []bind.WorkloadPrice{{Kind: 1, Nano: 5}, {Kind: 2, Nano: perGiB}}}
}

// ask sends the registry a message.
func (m *market) ask(from string, value bind.Nano, msg bind.Message) {
	m.t.Helper()
	body, err := bind.Encode(msg)
	if err == nil {
		err = m.Send(contractstest.Message{From: m.Actor(from), To: m.list.Address, Value: value, Body: body})
	}
	if err == nil {
		err = m.Check()
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *market) expect(to string, want int) {
	m.t.Helper()
	if _, err := m.Find(contractstest.Match{To: to, Exit: &want}); err != nil {
		m.t.Error(err)
	}
}

func (m *market) registry() bind.FarmStorage {
	m.t.Helper()
	s, err := bind.ParseFarmStorage(m.Data(m.list.Address))
	if err != nil {
		m.t.Fatal(err)
	}
	return s
}

func (m *market) register() {
	m.t.Helper()
	m.ask("boss", 2*ton, &bind.FarmRegister{Excess: m.user, FarmTerms: m.terms()})
	m.expect("farms", 0)
}

func (m *market) join(from, node string, farm uint64) {
	m.t.Helper()
	msg, err := bind.JoinFarm(contractstest.KeyOf(node), m.query(), m.user, bind.NodePayload{Registry: m.list.Address, Farm: farm})
	if err != nil {
		m.t.Fatal(err)
	}
	m.ask(from, ton, &msg)
}

func (m *market) quote(change func(*bind.AgreementTerms), to *address.Address) {
	m.t.Helper()
	terms := m.deal.terms
	if change != nil {
		change(&terms)
	}
	c, err := terms.Cell()
	if err != nil {
		m.t.Fatal(err)
	}
	m.ask("stranger", ton, &bind.FarmQuote{QueryID: 4, Farm: terms.Farm, Excess: m.stranger, Agreement: to, Terms: c})
}

// TestFarmGivesThePrice: from registration to an agreement that runs, with a node replaced before it does.
func TestFarmGivesThePrice(t *testing.T) {
	m := newMarket(t)
	m.register()
	m.join("boss", "node", 7)
	m.expect("farms", 0)
	m.join("boss", "spare", 7)
	want := bind.FarmStorage{
		NextFarm: 8,
		Farms:    []bind.Farm{{ID: 7, Owner: m.Actor("boss"), Payout: m.farmer, Key: contractstest.PublicKeyOf(m.farm), Version: 1, Prices: m.terms().Prices}},
		Nodes:    []bind.FarmNode{{Key: contractstest.PublicKeyOf(contractstest.KeyOf("spare")), Farm: 7}, {Key: contractstest.PublicKeyOf(m.node), Farm: 7}},
	}
	if diff := cmp.Diff(want, m.registry(), cellsAndAddresses(), cmp.Transformer("set", func(n []bind.FarmNode) map[bind.FarmNode]bool {
		out := map[bind.FarmNode]bool{}
		for _, x := range n {
			out[x] = true
		}
		return out
	})); diff != "" {
		t.Errorf("registry (-want +got):\n%s", diff)
	}
	// Terms of another size are not the agreement's.
	m.quote(func(terms *bind.AgreementTerms) { terms.SizeGiB = 1 }, m.at.Address)
	m.expect("agreement", bind.ExitPriceSource)
	m.quote(nil, m.at.Address)
	m.expect("agreement", 0)
	s, err := m.state()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "state", s.State, bind.AgreementPriced)
	same(t, "hourly", s.Hourly, dealHourly)
	same(t, "farmer", m.NameOf(s.Price.Farmer), "farmer")

	m.ask("boss", ton, &bind.FarmRekey{Farm: 7, Excess: m.user, Agreement: m.at.Address, Key: contractstest.PublicKeyOf(contractstest.KeyOf("spare"))})
	m.expect("agreement", 0)
	m.node = contractstest.KeyOf("spare")
	for _, op := range []bind.Op{bind.OpAgreementAcceptSigned, bind.OpAgreementFund, bind.OpAgreementReport} {
		if err := m.do(m.stranger, op); err != nil {
			t.Fatal(err)
		}
		m.expect("agreement", 0)
	}
	s, err = m.state()
	if err != nil {
		t.Fatal(err)
	}
	same(t, "state", s.State, bind.AgreementActive)
	same(t, "node key", s.Key(), contractstest.PublicKeyOf(m.node))
	m.ask("boss", ton, &bind.FarmRekey{Farm: 7, Excess: m.user, Agreement: m.at.Address, Key: contractstest.PublicKeyOf(contractstest.KeyOf("node"))})
	m.expect("agreement", bind.ExitWrongState)
}

// TestFarmRefusals: what the registry refuses, and with which exit.
func TestFarmRefusals(t *testing.T) {
	price := func(n bind.Nano) bind.FarmTerms {
		return bind.FarmTerms{Prices: []bind.WorkloadPrice{{Kind: 1, Nano: n}}}
	}
	key := func(name string) bind.Hash { return contractstest.PublicKeyOf(contractstest.KeyOf(name)) }
	odd := address.NewAddress(0, 5, make([]byte, 32))
	for name, c := range map[string]struct {
		from  string
		value bind.Nano
		make  func(*market) bind.Message
		want  int
	}{
		"register without the deposit": {"boss", ton + ton/10 - 1, func(m *market) bind.Message { return &bind.FarmRegister{Excess: m.user, FarmTerms: m.terms()} }, 1003},
		"register with just enough":    {"boss", ton + ton/10, func(m *market) bind.Message { return &bind.FarmRegister{Excess: m.user, FarmTerms: m.terms()} }, 0},
		"register a price of nothing": {"boss", 2 * ton, func(m *market) bind.Message {
			f := price(0)
			f.Payout = m.user
			return &bind.FarmRegister{Excess: m.user, FarmTerms: f}
		}, bind.ExitAmount},
		"register an unpayable payout": {"boss", 2 * ton, func(m *market) bind.Message {
			f := price(1)
			f.Payout = odd
			return &bind.FarmRegister{Excess: m.user, FarmTerms: f}
		}, 1018},
		"register, change unpayable": {"boss", 2 * ton, func(m *market) bind.Message { return &bind.FarmRegister{Excess: odd, FarmTerms: m.terms()} }, 1018},
		"prices by a stranger": {"stranger", ton, func(m *market) bind.Message {
			return &bind.FarmSetPrices{Farm: 7, Excess: m.user, FarmTerms: m.terms()}
		}, 1010},
		"prices of no farm": {"boss", ton, func(m *market) bind.Message {
			return &bind.FarmSetPrices{Farm: 8, Excess: m.user, FarmTerms: m.terms()}
		}, bind.ExitPriceSource},
		"prices by the owner": {"boss", ton, func(m *market) bind.Message {
			return &bind.FarmSetPrices{Farm: 7, Excess: m.user, FarmTerms: m.terms()}
		}, 0},
		"remove by a stranger":    {"stranger", ton, func(m *market) bind.Message { return &bind.FarmRemoveNode{Farm: 7, Excess: m.user, Key: key("node")} }, 1010},
		"remove of no node":       {"boss", ton, func(m *market) bind.Message { return &bind.FarmRemoveNode{Farm: 7, Excess: m.user, Key: key("spare")} }, bind.ExitPriceSource},
		"remove by the owner":     {"boss", ton, func(m *market) bind.Message { return &bind.FarmRemoveNode{Farm: 7, Excess: m.user, Key: key("node")} }, 0},
		"offer by a stranger":     {"stranger", ton, func(m *market) bind.Message { return &bind.FarmOfferOwner{Farm: 7, Excess: m.user, To: m.stranger} }, 1010},
		"accept without an offer": {"stranger", ton, func(m *market) bind.Message { return &bind.FarmAcceptOwner{Farm: 7, Excess: m.user} }, bind.ExitWrongState},
		"rekey by a stranger": {"stranger", ton, func(m *market) bind.Message {
			return &bind.FarmRekey{Farm: 7, Excess: m.user, Agreement: m.at.Address, Key: key("node")}
		}, 1010},
		"rekey to no node": {"boss", ton, func(m *market) bind.Message {
			return &bind.FarmRekey{Farm: 7, Excess: m.user, Agreement: m.at.Address, Key: key("spare")}
		}, bind.ExitPriceSource},
		"rekey without value": {"boss", ton/5 - 1, func(m *market) bind.Message {
			return &bind.FarmRekey{Farm: 7, Excess: m.user, Agreement: m.at.Address, Key: key("node")}
		}, 1003},
		"another operation": {"boss", ton, func(m *market) bind.Message { return &bind.ClientTopUp{Excess: m.user} }, 1012},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMarket(t)
			m.register()
			m.join("boss", "node", 7)
			before := m.Data(m.list.Address).HashKey()
			m.ask(c.from, c.value, c.make(m))
			m.expect("farms", c.want)
			if c.want != 0 && m.Data(m.list.Address).HashKey() != before {
				t.Error("a refused message changed the storage")
			}
		})
	}
}

// TestFarmNodes: a node joins by its own signature, for one farm, and its deposit comes back.
func TestFarmNodes(t *testing.T) {
	m := newMarket(t)
	m.register()
	m.ask("other boss", 2*ton, &bind.FarmRegister{Excess: m.user, FarmTerms: m.terms()})
	m.join("stranger", "node", 7)
	m.expect("farms", 1010)
	forged, err := bind.JoinFarm(contractstest.KeyOf("other"), 1, m.user, bind.NodePayload{Registry: m.list.Address, Farm: 8})
	if err != nil {
		t.Fatal(err)
	}
	forged.Key = contractstest.PublicKeyOf(m.node)
	m.ask("other boss", ton, &forged)
	m.expect("farms", 1007)
	held := m.Balance(m.list.Address)
	m.join("boss", "node", 7)
	m.expect("farms", 0)
	if got := m.Balance(m.list.Address) - held; got != bind.NodeDeposit {
		t.Errorf("a node's deposit is %d", got)
	}
	m.join("other boss", "node", 8)
	m.expect("farms", bind.ExitWrongState)
	m.quote(func(terms *bind.AgreementTerms) { terms.Farm = 8 }, m.at.Address)
	m.expect("farms", bind.ExitPriceSource)
	m.quote(func(terms *bind.AgreementTerms) { terms.WorkloadKind = 3 }, m.at.Address)
	m.expect("farms", bind.ExitPriceSource)
	m.ask("boss", ton, &bind.FarmRemoveNode{Farm: 7, Excess: m.user, Key: contractstest.PublicKeyOf(m.node)})
	m.expect("farms", 0)
	if got := m.Balance(m.list.Address); got > held || held-got > ton/1000 {
		t.Errorf("the registry holds %d, before the node %d", got, held)
	}
}

// TestFarmOwner: two steps hand a farm on.
func TestFarmOwner(t *testing.T) {
	m := newMarket(t)
	m.register()
	m.ask("boss", ton, &bind.FarmOfferOwner{Farm: 7, Excess: m.user, To: m.Actor("heir")})
	m.ask("stranger", ton, &bind.FarmAcceptOwner{Farm: 7, Excess: m.user})
	m.expect("farms", 1010)
	same(t, "owner", m.NameOf(m.registry().Farms[0].Owner), "boss")
	m.ask("heir", ton, &bind.FarmAcceptOwner{Farm: 7, Excess: m.user})
	m.expect("farms", 0)
	same(t, "owner", m.NameOf(m.registry().Farms[0].Owner), "heir")
	if m.registry().Farms[0].Offered != nil {
		t.Error("the offer is still there")
	}
}

// TestFarmBounce: what an agreement refuses costs the asker fees only, and leaves nothing in the registry.
func TestFarmBounce(t *testing.T) {
	m := newMarket(t)
	m.register()
	m.join("boss", "node", 7)
	for name, to := range map[string]*address.Address{"no contract there": address.NewAddress(0, 0, make([]byte, 32)), "refused": m.at.Address} {
		t.Run(name, func(t *testing.T) {
			held, purse := m.Balance(m.list.Address), m.Balance(m.stranger)
			if to.Equals(m.at.Address) {
				m.quote(nil, to)
				m.expect("agreement", 0)
				held, purse = m.Balance(m.list.Address), m.Balance(m.stranger)
			}
			m.quote(nil, to)
			if got := m.Balance(m.list.Address); got > held || held-got > ton/1000 {
				t.Errorf("the registry holds %d, before %d\n%s", got, held, m.Tree())
			}
			if to.Equals(m.at.Address) {
				m.expect("agreement", bind.ExitWrongState)
			}
			if got := m.Balance(m.stranger) - purse; got < ton-4*ton/100 {
				t.Errorf("the asker got %d back\n%s", got, m.Tree())
			}
		})
	}
}

// TestFarmBodies: damaged bodies by anybody neither change the registry nor keep money in it.
func TestFarmBodies(t *testing.T) {
	m := newMarket(t)
	m.register()
	m.join("boss", "node", 7)
	rng := rand.New(rand.NewPCG(3, 3))
	held, before := m.Balance(m.list.Address), m.Data(m.list.Address).HashKey()
	for _, op := range bind.Operations() {
		if op.Contract != bind.ContractFarm {
			continue
		}
		for range 20 {
			b := cell.BeginCell().MustStoreUInt(uint64(op.Op), 32).MustStoreUInt(1, 64)
			for range rng.IntN(7) {
				b.MustStoreUInt(rng.Uint64(), 64)
			}
			for range rng.IntN(3) {
				b.MustStoreRef(cell.BeginCell().MustStoreUInt(rng.Uint64(), 64).EndCell())
			}
			if err := m.Send(contractstest.Message{From: m.Actor("boss"), To: m.list.Address, Value: 2 * ton, Body: b.EndCell()}); err != nil {
				t.Fatal(err)
			}
			if m.Data(m.list.Address).HashKey() != before || m.Balance(m.list.Address) > held {
				t.Fatalf("a damaged %s was taken\n%s", op.Name, m.Tree())
			}
		}
	}
	got, err := m.Get(m.list.Address, "get_next_farm")
	if err != nil || fmt.Sprint(got[0]) != "8" {
		t.Errorf("next farm is %v, %v", got, err)
	}
}
