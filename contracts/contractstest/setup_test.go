package contractstest_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/code"
	"cocoon/contracts/contractstest"
	"cocoon/tests/golden"
)

const ton = contractstest.TON

// longRun says whether the expensive group of the chain's tests was asked for.
func longRun() bool { return slices.Contains(strings.Split(os.Getenv("COCOON_TEST"), ","), "chain") }

func newChain(tb testing.TB, version uint32) *contractstest.Chain {
	tb.Helper()
	c, err := contractstest.New(version)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func newWorld(tb testing.TB, p bind.Params) *contractstest.World {
	tb.Helper()
	return newWorldOn(tb, newChain(tb, 12), p)
}

func newWorldOn(tb testing.TB, c *contractstest.Chain, p bind.Params) *contractstest.World {
	tb.Helper()
	w, err := contractstest.NewWorld(c, p)
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

func ourParams() bind.Params {
	return contractstest.DefaultParams(4, code.Proxy(), code.Worker(), code.Client())
}

// liveParams hold the code that the existing network runs, from its root.
func liveParams(tb testing.TB) bind.Params {
	tb.Helper()
	var v struct {
		BOC string `json:"boc_hex"`
	}
	golden.JSON(tb, "contracts/mainnet_root.json", &v)
	data, err := cell.FromBOC(golden.Hex(tb, v.BOC))
	if err != nil {
		tb.Fatal(err)
	}
	root, err := bind.ParseRoot(data)
	if err != nil {
		tb.Fatal(err)
	}
	return contractstest.DefaultParams(4, root.Params.Proxy, root.Params.Worker, root.Params.Client)
}

// play checks the steps of a scenario: each must run, and the books must balance after it.
type play struct {
	*contractstest.World
	t testing.TB
}

func newPlay(tb testing.TB, p bind.Params) play {
	tb.Helper()
	return play{newWorld(tb, p), tb}
}

func (p play) do(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.Check(); err != nil {
		p.t.Fatalf("%v\n%s", err, p.Tree())
	}
}

func (p play) addClient(owner string) bind.Instance {
	p.t.Helper()
	in, err := p.AddClient(owner)
	p.do(err)
	return in
}

func (p play) addWorker(owner string) bind.Instance {
	p.t.Helper()
	in, err := p.AddWorker(owner)
	p.do(err)
	return in
}

// exit expects the code's exit at a contract in the last run.
func (p play) exit(to string, want int) {
	p.t.Helper()
	if _, err := p.Find(contractstest.Match{To: to, Exit: &want}); err != nil {
		p.t.Error(err)
	}
}

// gets expects what an actor received in the last run as payments, without excesses.
func (p play) gets(who string, want bind.Nano) {
	p.t.Helper()
	var sum bind.Nano
	for _, tx := range p.Log {
		if tx.To == who && tx.Received && tx.HasOp && tx.Op == bind.OpPayout {
			sum += tx.Value
		}
	}
	if sum != want {
		p.t.Errorf("%s was paid %d, want %d\n%s", who, sum, want, p.Tree())
	}
}

func (p play) client(in bind.Instance) bind.ClientStorage {
	p.t.Helper()
	s, err := p.ClientState(in)
	p.do(err)
	return s
}

func (p play) worker(in bind.Instance) bind.WorkerStorage {
	p.t.Helper()
	s, err := p.WorkerState(in)
	p.do(err)
	return s
}

func (p play) proxy() bind.ProxyStorage {
	p.t.Helper()
	s, err := p.ProxyState()
	p.do(err)
	return s
}

func same[T comparable](tb testing.TB, what string, got, want T) {
	tb.Helper()
	if got != want {
		tb.Errorf("%s is %v, want %v", what, got, want)
	}
}

func message(from, to *address.Address, value bind.Nano, body *cell.Cell) contractstest.Message {
	return contractstest.Message{From: from, To: to, Value: value, Body: body}
}
