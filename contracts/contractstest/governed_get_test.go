package contractstest_test

import (
	"fmt"
	"math/big"
	"testing"

	"cocoon/contracts/bind"
	"cocoon/contracts/contractstest"
)

// TestGovernorGet: the get methods say what the storage says.
func TestGovernorGet(t *testing.T) {
	g, hash := newCabinet(t), bind.Hash{7}
	id, err := g.propose("proposer", addition(bind.ListModels, hash), provenance())
	g.do(err)
	g.do(g.approve(id, "approver2"))
	values, err := g.Get(g.at.Address, "get_governor_data")
	g.do(err)
	data, err := bind.ParseGovernorData(values)
	g.do(err)
	s, err := g.state()
	g.do(err)
	same(t, "owner", g.NameOf(data.Owner), "owner")
	same(t, "root", g.NameOf(data.Root), "root")
	data.Owner, data.Root = nil, nil
	same(t, "data", data, bind.GovernorData{
		Threshold: 2, DelayAdd: addDelay, DelayUpgrade: upgradeDelay, LastProposal: s.LastProposal, LastEvent: s.LastEvent,
	})
	values, err = g.Get(g.at.Address, "get_proposal", new(big.Int).SetUint64(id))
	g.do(err)
	p, _ := s.Proposal(id)
	got := fmt.Sprint(values[0], values[2], values[3], values[4], values[5], values[6])
	want := fmt.Sprint(uint8(p.Kind), p.MadeAt, p.NotBefore, p.Expires, s.Votes(p), new(big.Int).SetBytes(p.Body.Hash()))
	same(t, "proposal", got, want)
	if _, err := g.Get(g.at.Address, "get_proposal", big.NewInt(99)); err == nil {
		t.Error("an unknown proposal is there")
	}
	values, err = g.Get(g.at.Address, "get_entry", big.NewInt(int64(bind.ListModels)), big.NewInt(5))
	g.do(err)
	e, builders, err := bind.ParseEntryData(bind.Hash{5}, values)
	g.do(err)
	if e.State != bind.EntryAbsent || builders != 0 {
		t.Errorf("an unknown hash is %s", e.State)
	}
}

// TestFarmGet: the get methods say what the storage says.
func TestFarmGet(t *testing.T) {
	m := newMarket(t)
	m.register()
	m.join("boss", "node", 7)
	get := func(method string, args ...*big.Int) []any {
		t.Helper()
		values, err := m.Get(m.list.Address, method, args...)
		if err != nil {
			t.Fatal(err)
		}
		return values
	}
	key := func(name string) *big.Int {
		h := contractstest.PublicKeyOf(contractstest.KeyOf(name))
		return new(big.Int).SetBytes(h[:])
	}
	farm := get("get_farm", big.NewInt(7))
	same(t, "key and version", fmt.Sprint(farm[2], farm[3]), fmt.Sprint(key("farm"), 1))
	same(t, "price", fmt.Sprint(get("get_price", big.NewInt(7), big.NewInt(2))...), fmt.Sprint(uint64(perGiB)))
	same(t, "price of what is not offered", fmt.Sprint(get("get_price", big.NewInt(7), big.NewInt(9))...), "0")
	same(t, "node", fmt.Sprint(get("get_node", key("node"))...), "-1 7")
	same(t, "no node", fmt.Sprint(get("get_node", key("spare"))...), "0 0")
	if _, err := m.Get(m.list.Address, "get_farm", big.NewInt(8)); err == nil {
		t.Error("an unknown farm is there")
	}
}
