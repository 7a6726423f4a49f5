package contractstest_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/contracts/bind"
	"cocoon/contracts/contractstest"
)

var update = flag.Bool("update", false, "rewrite testdata/gas.golden")

// measured is one line of the gas table.
type measured struct {
	name      string
	reference uint64 // gas of a plain Tolk build of the same interface (contracts.md section 1.10); 0: not measured there
	gas       uint64
	minimum   bind.Nano // what the operation demands as value
	spent     bind.Nano // fees of all transactions on the path
}

// gasTable measures every hot operation and its far side on one chain.
func gasTable(tb testing.TB, version uint32) []measured {
	tb.Helper()
	p := play{newWorldOn(tb, newChain(tb, version), ourParams()), tb}
	alice, bob := p.addClient("alice"), p.addWorker("bob")
	var out []measured
	take := func(name, to string, op bind.Op, reference uint64) {
		tb.Helper()
		tx, err := p.Find(contractstest.Match{To: to, Op: &op})
		if err != nil {
			tb.Fatal(err)
		}
		if !tx.OK() {
			tb.Fatalf("%s did not work:\n%s", name, p.Tree())
		}
		var spent bind.Nano
		for _, tx := range p.Log {
			spent += tx.Fees
		}
		out = append(out, measured{name, reference, tx.Gas, ton / 10, spent})
	}
	p.do(p.IncreaseStake(5 * ton))
	take("increase proxy stake", "proxy", bind.OpProxyIncreaseStake, 0)
	p.do(p.TopUp(alice, 10*ton))
	take("client top-up, the pool's first", "client0", bind.OpClientTopUp, 7912)
	take("client top-up, the pool's first: proxy side", "proxy", bind.OpClientNote, 0)
	p.do(p.TopUp(alice, 10*ton))
	take("client top-up", "client0", bind.OpClientTopUp, 7912)
	take("client top-up: proxy side", "proxy", bind.OpClientNote, 9957)
	p.do(p.Charge(alice, 1000))
	take("client charge", "client0", bind.OpClientCharge, 11549)
	p.do(p.Payout(bob, 1000))
	take("worker payout", "worker0", bind.OpWorkerPayout, 7471)
	take("worker payout: proxy side", "proxy", bind.OpWorkerNote, 10511)
	p.do(p.Withdraw(alice))
	take("client withdraw", "client0", bind.OpClientWithdraw, 9016)
	take("client withdraw: proxy side", "proxy", bind.OpClientNote, 11506)
	p.do(p.Tell(p.Owner, p.Proxy, ton, &bind.ProxyPayout{QueryID: 1, Excess: p.Owner}))
	take("proxy payout", "proxy", bind.OpProxyPayout, 6845)
	closing := play{p.Clone(), tb}
	closing.do(closing.TopUp(alice, ton))
	save := p
	p = closing
	p.do(p.RequestRefund(alice))
	take("client close request with refund", "client0", bind.OpClientRequestRefund, 10077)
	p = save
	p.do(p.RequestRefund(alice))
	take("client close request", "client0", bind.OpClientRequestRefund, 10712)
	p.Now += p.Params.ClientDelay + 1
	p.do(p.RequestRefund(alice))
	take("client forced refund", "client0", bind.OpClientRequestRefund, 8962)
	take("client forced refund: proxy side", "proxy", bind.OpClientNote, 0)
	saved, err := bind.Encode(&bind.SaveState{QueryID: 1, Seqno: 1})
	p.do(err)
	p.do(p.Send(message(p.Owner, p.Proxy.Address, ton/20, saved)))
	take("save_state note", "proxy", bind.OpDoNotProcess, 1059)
	signed, err := bind.Sign(p.Key, 77, p.Owner, &bind.CommitPayload{QueryID: 77, Contract: p.Proxy.Address, Seqno: 1})
	p.do(err)
	p.do(p.Tell(p.Owner, p.Proxy, ton, &bind.ProxyCommit{Signed: signed}))
	take("commit", "proxy", bind.OpProxyCommit, 0)
	worst(p, take)
	return out
}

// worst adds the paths that only our contracts have: unpaid replies and retries.
func worst(p play, take func(name, to string, op bind.Op, reference uint64)) {
	bob := p.Workers[0]
	p.do(p.Payout(bob, 1_000_000))
	take("worker payout, mostly unpaid: proxy side", "proxy", bind.OpWorkerNote, 0)
	take("unpaid reply to a worker", "worker0", bind.OpWorkerUnpaid, 0)
	p.do(p.Tell(p.OwnerOf(bob), bob, ton, &bind.WorkerRetry{QueryID: 1, Excess: p.OwnerOf(bob)}))
	take("worker retry", "worker0", bind.OpWorkerRetry, 0)
	carol := p.addClient("carol")
	p.do(p.TopUp(carol, 2*ton))
	p.do(p.Payout(bob, 1_000_001))
	p.do(p.Tell(p.OwnerOf(bob), bob, ton, &bind.WorkerRetry{QueryID: 1, Excess: p.OwnerOf(bob)}))
	p.do(p.GrantRefund(carol, 0))
	take("client granted refund", "client1", bind.OpClientGrantRefund, 0)
	take("client granted refund, unpaid: proxy side", "proxy", bind.OpClientNote, 0)
	take("unpaid reply to a client", "client1", bind.OpClientUnpaid, 0)
	p.do(p.Tell(p.OwnerOf(carol), carol, ton, &bind.ClientClaim{QueryID: 1, Excess: p.OwnerOf(carol)}))
	take("client claim", "client1", bind.OpClientClaim, 0)
	p.do(p.CloseRequest())
	take("proxy close request", "proxy", bind.OpProxyCloseRequest, 0)
	p.Now += p.Params.ProxyDelay
	p.do(p.CloseComplete())
	take("proxy close complete", "proxy", bind.OpProxyCloseComplete, 0)
	p.do(p.LastPayout(bob, 1_000_001))
	take("worker last payout", "worker0", bind.OpWorkerLastPayout, 0)
}

// TestGas: the table of gas is the committed one; no operation needs more than a plain build without the safety, a charge
// stays below 11.6k, and every path costs less than two thirds of the value that it demands.
func TestGas(t *testing.T) {
	table := gasTable(t, 12)
	var text strings.Builder
	fmt.Fprintf(&text, "%-45s %9s %9s %12s\n", "operation", "gas", "reference", "path, TON")
	for _, m := range table {
		reference := "-"
		if m.reference != 0 {
			reference = fmt.Sprint(m.reference)
			if m.gas > m.reference {
				t.Errorf("%s needs %d gas, the reference %d", m.name, m.gas, m.reference)
			}
		}
		if m.spent*3 > m.minimum*2 {
			t.Errorf("%s costs %d over its path, the minimum of %d leaves no reserve of a half", m.name, m.spent, m.minimum)
		}
		fmt.Fprintf(&text, "%-45s %9d %9s %12.6f\n", m.name, m.gas, reference, float64(m.spent)/float64(ton))
	}
	charge := slices.IndexFunc(table, func(m measured) bool { return m.name == "client charge" })
	if table[charge].gas > 11600 {
		t.Errorf("a charge needs %d gas", table[charge].gas)
	}
	file := filepath.Join("testdata", "gas.golden")
	if *update {
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

// TestGlobalVersions: the contracts do the same under every global version that they support. Gas may only fall.
func TestGlobalVersions(t *testing.T) {
	base := gasTable(t, 12)
	for _, version := range []uint32{14, 15} {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			for i, m := range gasTable(t, version) {
				if m.gas > base[i].gas {
					t.Errorf("%s needs %d gas, under version 12 %d", m.name, m.gas, base[i].gas)
				}
			}
		})
	}
	t.Run("11 is too old", func(t *testing.T) {
		w, err := contractstest.NewWorld(newChain(t, 11), ourParams())
		if err != nil {
			t.Fatal(err)
		}
		if err := w.IncreaseStake(ton); err != nil {
			t.Fatal(err)
		}
		exit := 6 // invalid opcode
		if _, err := w.Find(contractstest.Match{To: "proxy", Exit: &exit}); err != nil {
			t.Error(err)
		}
	})
}
