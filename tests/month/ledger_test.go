package month_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
)

// reserve is what a closed contract keeps for rent (contracts.md section 3.3), slack what the others are deployed with
// above it and lose to rent.
const (
	reserve = ton / 10
	slack   = 3 * ton / 10
)

// ledger is what one proxy, its clients and its workers must say of themselves. It is kept by arithmetic on what was
// signed and sent, and never reads the chain.
type ledger struct {
	price, fee bind.Nano

	state                            bind.State
	unlockAt                         uint32
	revenue, collateral, liabilities bind.Nano
	commits                          uint32
	tip                              bind.Hash
	ownerGets                        bind.Nano // payments to the proxy's owner so far
	clients                          []*client
	workers                          []*worker
}

// client is a customer: what was used, and what the contract must hold.
type client struct {
	wallet *wallet
	in     bind.Instance
	used   uint64 // served, whether charged or not

	state          bind.State
	unlockAt       uint32
	balance, stake bind.Nano
	charged        uint64
	secret         bind.Hash
	refunded       bind.Nano // payments to the wallet so far
	claimed        bind.Nano // what came back as unpaid
}

// worker is a supplier: what was served and charged, and what the contract must hold.
type worker struct {
	wallet *wallet
	in     bind.Instance
	served uint64 // of it clients were charged for

	state bind.State
	paid  uint64
}

func (l *ledger) topUp(c *client, amount bind.Nano) {
	c.balance += amount
	l.liabilities += amount
}

// collect takes the price of what was used since the last charge, and credits the workers with it: 60 % to the first.
func (l *ledger) collect(c *client) error {
	tokens := c.used - c.charged
	cost := bind.Nano(tokens) * l.price
	if cost > c.balance {
		return fmt.Errorf("%s used %d nanoTON, %d are there: the proxy served too much", c.wallet.name, cost, c.balance)
	}
	c.balance -= cost
	c.charged = c.used
	first := tokens * 6 / 10
	l.workers[0].served += first
	l.workers[1].served += tokens - first
	return nil
}

// settle pays a worker for everything that was charged for.
func (l *ledger) settle(w *worker) {
	tokens := bind.Nano(w.served - w.paid)
	w.paid = w.served
	l.revenue += tokens * (l.price - l.fee)
	l.liabilities -= tokens * l.price
}

// refund pays from the pool.
func (l *ledger) refund(c *client, amount bind.Nano) {
	c.balance -= amount
	c.refunded += amount
	l.liabilities -= amount
}

// force pays a closed client from the stake; what is missing comes back to the client's balance.
func (l *ledger) force(c *client) {
	paid := min(c.balance, l.collateral)
	l.collateral -= paid
	l.refund(c, paid)
	c.state = bind.Closed
	c.claimed += c.balance
}

func (l *ledger) payOwner(amount bind.Nano) { l.ownerGets += amount }

// complete closes the proxy: its owner gets revenue and stake.
func (l *ledger) complete() {
	l.payOwner(l.revenue + l.collateral)
	l.revenue, l.collateral, l.state = 0, 0, bind.Closed
}

// uncollected is what clients hold and what was charged and not yet paid out: what the pool must still pay.
func (l *ledger) uncollected() bind.Nano {
	var sum bind.Nano
	for _, c := range l.clients {
		sum += c.balance
	}
	for _, w := range l.workers {
		sum += bind.Nano(w.served-w.paid) * l.price
	}
	return sum
}

// generation is a proxy with its clients and workers under one set of parameters, and its ledger.
type generation struct {
	*ledger
	params bind.Params
	proxy  bind.Instance
}

// compare holds proven states against the ledger.
func (g *generation) compare(n *network, b *books, at chain.Block, owner *wallet) {
	t := n.t
	t.Helper()
	account := n.account(at, g.proxy.Address)
	s, err := bind.ParseProxyStorage(account.Data)
	check(t, err)
	same(t, "proxy's state", s.State, g.state)
	same(t, "proxy's unlock time", s.UnlockAt, g.unlockAt)
	same(t, "revenue", s.Balance, g.revenue)
	same(t, "stake", s.Stake, g.collateral)
	if s.Ext == nil {
		t.Fatal("the proxy has no extension")
	}
	same(t, "liabilities", s.Ext.Liabilities, g.liabilities)
	same(t, "liabilities and what is uncollected", g.liabilities, g.uncollected())
	same(t, "commit's number", s.Ext.Commit.Seqno, g.commits)
	same(t, "commit's hash", s.Ext.Commit.Hash, g.tip)
	same(t, "payments to the proxy's owner", b.paid(g.proxy.Address, owner.in.Address), g.ownerGets)

	need := s.Stake + s.Balance
	for _, c := range g.clients {
		need += g.compareClient(n, b, at, c)
	}
	for _, w := range g.workers {
		need += g.compareWorker(n, b, at, w)
	}
	coins := bind.Nano(account.Balance.Uint64())
	if coins < need || coins < s.Stake+s.Balance+g.liabilities {
		t.Errorf("block %d: the pool of %d does not cover %d and liabilities of %d", at.Seqno, coins, need, g.liabilities)
	}
	g.methods(n, at)
}

func (g *generation) compareClient(n *network, b *books, at chain.Block, c *client) bind.Nano {
	n.t.Helper()
	account := n.account(at, c.in.Address)
	s, err := bind.ParseClientStorage(account.Data)
	check(n.t, err)
	want, err := bind.ParseClientStorage(c.in.Data)
	check(n.t, err)
	want.State, want.Balance, want.Stake, want.TokensUsed = c.state, c.balance, c.stake, c.charged
	want.UnlockAt, want.SecretHash = c.unlockAt, c.secret
	if c.claimed > 0 {
		want.Ext = &bind.ClientExt{Claimed: c.claimed}
	}
	diff(n.t, c.wallet.name, want, s)
	same(n.t, "refunds to "+c.wallet.name, b.paid(g.proxy.Address, c.wallet.in.Address), c.refunded)
	keeps(n.t, c.wallet.name, account, s.State)
	return s.Balance
}

func (g *generation) compareWorker(n *network, b *books, at chain.Block, w *worker) bind.Nano {
	n.t.Helper()
	account := n.account(at, w.in.Address)
	s, err := bind.ParseWorkerStorage(account.Data)
	check(n.t, err)
	want, err := bind.ParseWorkerStorage(w.in.Data)
	check(n.t, err)
	want.State, want.Tokens = w.state, w.paid
	if w.paid > 0 {
		want.Ext = s.Ext // amounts below
	}
	diff(n.t, w.wallet.name, want, s)
	same(n.t, "payments to "+w.wallet.name, b.paid(g.proxy.Address, w.wallet.in.Address), bind.Nano(w.paid)*g.fee)
	keeps(n.t, w.wallet.name, account, s.State)
	if s.Ext == nil {
		return 0
	}
	return s.Ext.UnpaidWorker + s.Ext.UnpaidProxy
}

// keeps: a closed contract keeps enough to live for years, and none keeps more than it was deployed with.
func keeps(t *testing.T, name string, account *chain.Account, s bind.State) {
	t.Helper()
	coins := bind.Nano(account.Balance.Uint64())
	if s == bind.Closed && coins < reserve*9/10 {
		t.Errorf("closed contract of %s holds %d", name, coins)
	}
	if coins > ton {
		t.Errorf("%d are stuck in the contract of %s", coins, name)
	}
}

// methods: what get methods say on the proven state is what the ledger says.
func (g *generation) methods(n *network, at chain.Block) {
	n.t.Helper()
	proxy, err := bind.ParseProxyData(n.get(at, g.proxy.Address, "get_cocoon_proxy_data"))
	check(n.t, err)
	same(n.t, "price", proxy.PricePerToken, g.price)
	same(n.t, "version of the parameters", proxy.ParamsVersion, g.params.ParamsVersion)
	same(n.t, "get_cocoon_proxy_data's balance", proxy.Balance, g.revenue)
	tip, err := bind.ParseCommitTip(n.get(at, g.proxy.Address, "get_commit_tip"))
	check(n.t, err)
	same(n.t, "get_commit_tip", tip.Hash, g.tip)
	for _, c := range g.clients {
		got, err := bind.ParseClientData(n.get(at, c.in.Address, "get_cocoon_client_data"))
		check(n.t, err)
		same(n.t, "get_cocoon_client_data's tokens", got.TokensUsed, c.charged)
	}
}

func diff[T any](t *testing.T, what string, want, got T) {
	t.Helper()
	opt := cmp.Comparer(func(a, b *address.Address) bool { return a == b || (a != nil && b != nil && a.Equals(b)) })
	if d := cmp.Diff(want, got, opt); d != "" {
		t.Errorf("%s (-want +got):\n%s", what, d)
	}
}
