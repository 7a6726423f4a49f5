package contractstest_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/contracts/bind"
	"cocoon/contracts/code"
	"cocoon/contracts/contractstest"
)

// governedGas measures the operations of governor, agreement and registry, and their far sides.
func governedGas(tb testing.TB, version uint32) []measured {
	tb.Helper()
	var out []measured
	take := func(c *contractstest.Chain, name, to string, minimum bind.Nano) {
		tb.Helper()
		good := true
		tx, err := c.Find(contractstest.Match{To: to, OK: &good})
		if err != nil {
			tb.Fatal(err)
		}
		var spent bind.Nano
		for _, tx := range c.Log {
			spent += tx.Fees
		}
		out = append(out, measured{name, 0, tx.Gas, minimum, spent})
	}
	governorGas(tb, version, take)
	dealGas(tb, version, take)
	return out
}

type taker func(c *contractstest.Chain, name, to string, minimum bind.Nano)

func governorGas(tb testing.TB, version uint32, take taker) {
	tb.Helper()
	council, err := newCouncil(newChain(tb, version))
	if err != nil {
		tb.Fatal(err)
	}
	g := cabinet{council, tb}
	// Lists of a size that a network reaches after years, and as many members as there may be.
	for n := range byte(24) {
		g.do(g.carry(addition(bind.ListWorkers, bind.Hash{n, 1}), provenance()))
	}
	hash := bind.Hash{7, 7}
	id, err := g.propose("proposer", addition(bind.ListWorkers, hash), provenance())
	g.do(err)
	take(g.Chain, "governor propose an addition", "governor", ton/10)
	g.do(g.approve(id, "approver1"))
	take(g.Chain, "governor approve", "governor", ton/10)
	g.do(g.approve(id, "approver2"))
	attest, err := bind.Attest(contractstest.KeyOf("builder"), 1, bind.AttestPayload{List: bind.ListWorkers, Hash: hash, ManifestHash: bind.Hash{0xaa}})
	g.do(err)
	g.do(g.tell("stranger", &attest))
	take(g.Chain, "governor attest", "governor", ton/10)
	g.Now += addDelay
	g.do(g.tell("stranger", &bind.GovernorExecute{Proposal: id}))
	take(g.Chain, "governor execute an addition", "governor", ton/5)
	take(g.Chain, "governor execute an addition: root", "root", ton/5)
	g.do(g.tell("proposer", &bind.GovernorDeprecate{List: bind.ListWorkers, Hash: hash, DrainAt: g.Now}))
	take(g.Chain, "governor deprecate", "governor", ton/10)
	g.do(g.tell("stranger", &bind.GovernorDrain{List: bind.ListWorkers, Hash: hash}))
	take(g.Chain, "governor drain", "governor", ton/5)
	g.do(g.tell("revoker", &bind.GovernorRevoke{List: bind.ListWorkers, Hash: bind.Hash{3, 1}, Reason: 1}))
	take(g.Chain, "governor revoke", "governor", ton/5)
	take(g.Chain, "governor revoke: root", "root", ton/5)
	id, err = g.propose("proposer", &bind.RootUnregisterProxy{Seqno: 9}, bind.Provenance{})
	g.do(err)
	g.do(g.approve(id, "approver1", "approver2"))
	g.do(g.tell("stranger", &bind.GovernorExecute{Proposal: id}))
	take(g.Chain, "governor execute, refused by the root", "governor", ton/5)
	g.do(g.carry(&bind.RootUpgradeContracts{Proxy: code.Proxy(), Worker: code.Worker(), Client: code.Client()}, bind.Provenance{}))
	take(g.Chain, "governor execute an upgrade of all contracts", "governor", ton/5)
	rules := g.rules()
	for n := range 16 {
		rules.Revokers = append(rules.Revokers[:min(n, len(rules.Revokers))], g.Actor(fmt.Sprint("member", n)))
	}
	rules.Approvers, rules.Proposers = rules.Revokers, rules.Revokers
	for n := range byte(31) {
		rules.Builders = append(rules.Builders, bind.Hash{n, 9})
	}
	m, err := bind.ProposeRules(1, rules)
	g.do(err)
	g.do(g.tell("owner", &m))
	take(g.Chain, "governor propose the largest rules", "governor", ton/10)
	g.moveRoot("heir")
	take(g.Chain, "governor move the root", "governor", ton/5)
}

func dealGas(tb testing.TB, version uint32, take taker) {
	tb.Helper()
	d, err := newDeal(newChain(tb, version), nil)
	if err != nil {
		tb.Fatal(err)
	}
	for _, op := range []bind.Op{bind.OpAgreementPrice, bind.OpAgreementAcceptSigned, bind.OpAgreementFund, bind.OpAgreementReport} {
		if err := d.do(d.stranger, op); err != nil {
			tb.Fatal(err)
		}
		take(d.Chain, strings.ReplaceAll(op.String(), "_", " "), "agreement", ton/10)
	}
	d.Now += 100
	if err := d.do(d.stranger, bind.OpAgreementWithdraw); err != nil {
		tb.Fatal(err)
	}
	take(d.Chain, "agreement withdraw", "agreement", ton/10)
	d.Now += dealHours * 3600
	if err := d.do(d.stranger, bind.OpAgreementFund); err != nil {
		tb.Fatal(err)
	}
	take(d.Chain, "agreement fund in grace", "agreement", ton/10)
	d.Now += 100
	if err := d.do(d.user, bind.OpAgreementCancel); err != nil {
		tb.Fatal(err)
	}
	take(d.Chain, "agreement cancel", "agreement", ton/10)
	m := newMarket(tb)
	m.register()
	take(m.Chain, "farm register", "farms", ton/10)
	m.join("boss", "node", 7)
	take(m.Chain, "farm set node", "farms", ton/10)
	m.quote(nil, m.at.Address)
	take(m.Chain, "farm quote", "farms", ton/5)
	take(m.Chain, "farm quote: agreement", "agreement", ton/5)
}

// TestGovernedGas: the table is the committed one, and every path costs less than two thirds of the value that it demands.
func TestGovernedGas(t *testing.T) {
	var text strings.Builder
	fmt.Fprintf(&text, "%-45s %9s %12s\n", "operation", "gas", "path, TON")
	for _, m := range governedGas(t, 12) {
		if m.spent*3 > m.minimum*2 {
			t.Errorf("%s costs %d over its path, the minimum of %d leaves no reserve of a half", m.name, m.spent, m.minimum)
		}
		fmt.Fprintf(&text, "%-45s %9d %12.6f\n", m.name, m.gas, float64(m.spent)/float64(ton))
	}
	file := filepath.Join("testdata", "governed_gas.golden")
	if flag.Lookup("update").Value.String() == "true" {
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("gas has changed (-committed +measured); review and run with -update:\n%s", diff)
	}
}

// TestGovernedGlobalVersions: the same under every global version that is supported; gas may only fall.
func TestGovernedGlobalVersions(t *testing.T) {
	base := governedGas(t, 12)
	for _, version := range []uint32{14, 15} {
		for i, m := range governedGas(t, version) {
			if m.gas > base[i].gas {
				t.Errorf("%s needs %d gas under version %d, under version 12 %d", m.name, m.gas, version, base[i].gas)
			}
		}
	}
}
