// Package month_test lets a whole network live a month: a root, two generations of a proxy with their clients and
// workers, and everybody's wallets, from the first registration to the last closing.
//
// It owns the scenario, a ledger kept by arithmetic on what was signed and sent, and books of every account's proven
// transactions. It trusts nothing that the network says without a proof: all states, get methods and histories come
// through a liteserver under full proof checking, and every message goes the way of the product's; only the clock, the
// faucet and block production are the local chain's own. It runs in one goroutine beside a sender that waits, and
// refuses a network in which a single nanoTON is missing.
package month_test

import (
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"

	"go.uber.org/goleak"

	"cocoon/contracts/bind"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Exit codes that the month runs into (contracts.md section 1.8).
const (
	exitOld    = 1000
	exitClosed = 1006
	exitLocked = 1011
)

const (
	lastDay   = 30
	outage    = 20 // the proxy's machine is silent from this day
	comeback  = 24
	lastUsage = 25
)

// event is what happens on a day besides its routine, which runs first.
type event struct {
	day  int
	what string
	do   func(*life)
}

func events() []event {
	return []event{
		{0, "first proxy", (*life).begin},
		{3, "old charge is refused", (*life).replay},
		{4, "carol withdraws", func(l *life) { l.withdraw(l.now, l.now.clients[1]) }},
		{7, "revenue to the owner", func(l *life) { l.takeRevenue(l.now, l.people[2]) }},
		{11, "new price, second proxy", (*life).changePrice},
		{12, "closing is too early", func(l *life) {
			l.refused("an early close_complete", l.machine, l.closing(l.old, bind.OpProxyCloseComplete), exitLocked)
		}},
		{13, "first proxy closed", func(l *life) { l.closeComplete(l.old) }},
		{15, "its surplus swept", (*life).sweepFirst},
		{18, "revenue to the owner", func(l *life) { l.takeRevenue(l.now, l.operator) }},
		{outage, "outage, carol asks", (*life).goSilent},
		{21, "refund forced from stake", (*life).forceRefund},
		{22, "stake refilled, rest claimed", (*life).claim},
		{comeback, "proxy returns", (*life).comeBack},
		{26, "second proxy closes", func(l *life) { l.windDown(l.now) }},
		{28, "second proxy closed", func(l *life) { l.closeComplete(l.now) }},
		{lastDay, "surplus and wallet emptied", (*life).end},
	}
}

// TestMonth: whatever happens to a network in a month, every proven state is what arithmetic says, and all accounts and
// fees together are what was minted.
func TestMonth(t *testing.T) {
	l := newLife(t)
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, err := fmt.Fprintln(w, "day\tblock\ttransactions\tclients\tpool\tliabilities\tstake\trevenue\tworkers got\tfees\twhat\t")
	check(t, err)
	plan := events()
	for d := 0; d <= lastDay; d++ {
		l.morning(d)
		l.routine(d)
		var what []string
		for ; len(plan) > 0 && plan[0].day == d; plan = plan[1:] {
			plan[0].do(l)
			what = append(what, plan[0].what)
		}
		l.check()
		l.row(w, d, strings.Join(what, ", "))
		if t.Failed() {
			break
		}
	}
	check(t, w.Flush())
	t.Logf("all amounts in TON\n%s", table.String())
	same(t, "events that did not happen", len(plan), 0)
}

// row prints a day.
func (l *life) row(w *tabwriter.Writer, d int, what string) {
	l.t.Helper()
	g := l.now
	var clients, workers bind.Nano
	for _, c := range g.clients {
		clients += c.balance
	}
	for _, who := range l.people[2:] {
		for _, of := range []*generation{l.old, l.now} {
			if of != nil {
				workers += l.books.paid(of.proxy.Address, who.in.Address)
			}
		}
	}
	pool := l.books.find(g.proxy.Address).coins
	amounts := make([]string, 0, 7)
	for _, n := range []bind.Nano{clients, bind.Nano(pool), g.liabilities, g.collateral, g.revenue, workers, l.books.fees} {
		amounts = append(amounts, fmt.Sprintf("%d.%04d", n/ton, n%ton/(ton/10000)))
	}
	_, err := fmt.Fprintf(w, "%d\t%d\t%d\t%s\t%s\t\n", d, l.head().Seqno, l.books.count, strings.Join(amounts, "\t"), what)
	check(l.t, err)
}

// routine is an ordinary day: clients use, the machine commits and charges, workers cash out now and then, and a client
// tops up by one stake when less than half of it is left.
func (l *life) routine(d int) {
	l.t.Helper()
	g := l.now
	if d == 0 || d > lastUsage || (d >= outage && d < comeback) {
		return
	}
	for i, c := range g.clients {
		if c.state == bind.Open {
			c.used += 1900 - 400*uint64(i) + uint64(d*73%300)
		}
	}
	l.charge(g)
	for i, w := range g.workers {
		if d%(2+i) == 0 && w.served > w.paid {
			l.payOut(g, w)
		}
	}
	for _, c := range g.clients {
		if c.state == bind.Open && c.balance < c.stake/2 {
			l.topUp(g, c, c.stake)
		}
	}
}

// begin opens a generation: everybody registers, clients pay in.
func (l *life) begin() {
	l.t.Helper()
	l.now = l.open()
	for _, c := range l.now.clients {
		l.register(l.now, c)
	}
	l.topUp(l.now, l.now.clients[0], 20*ton)
	l.firstTopUp(l.now, l.now.clients[1], 40*ton)
}

// replay: a charge that was executed takes nothing a second time, whoever sends it.
func (l *life) replay() {
	l.t.Helper()
	c := l.now.clients[0]
	again := l.ask(c.in.Address, forClient, &bind.ClientCharge{Signed: l.tokens(bind.OpClientCharge, c.in, c.charged, l.people[3])})
	l.refused("an old charge", l.people[3], again, exitOld)
}

// changePrice moves the network to new parameters, which are another proxy, other clients and other workers.
func (l *life) changePrice() {
	l.t.Helper()
	l.send(l.steward, l.ask(l.root.Address, forRoot, &bind.RootChangePrice{QueryID: l.nextQuery(), PricePerToken: 1_200_000, WorkerFee: 1_100_000}))
	p := l.params()
	same(l.t, "version of the parameters", p.ParamsVersion, l.now.params.ParamsVersion+1)
	same(l.t, "price", p.PricePerToken, 1_200_000)
	l.old = l.now
	l.begin()
	if l.old.proxy.Address.Equals(l.now.proxy.Address) {
		l.t.Fatal("the new parameters have not changed the proxy's address")
	}
	l.windDown(l.old)
}

// windDown ends a generation in the order of contracts.md section 6; closing completes after the delay.
func (l *life) windDown(g *generation) {
	l.t.Helper()
	l.commit(g)
	l.closeRequest(g)
	for _, c := range g.clients {
		if c.state != bind.Closed {
			l.grant(g, c)
		}
	}
	for _, w := range g.workers {
		l.lastPayOut(g, w)
	}
}

func (l *life) sweepFirst() {
	l.t.Helper()
	if got := l.sweep(l.old); got > slack {
		l.t.Errorf("the first proxy had a surplus of %d", got)
	}
}

// goSilent: the machine serves a last few tokens, charges nobody and is gone. One client wants its money.
func (l *life) goSilent() {
	l.t.Helper()
	g := l.now
	g.clients[0].used += 700
	g.clients[1].used += 500
	carol := g.clients[1]
	receipt := l.send(carol.wallet, l.requestRefund(carol))
	g.refund(carol, carol.balance-carol.stake)
	carol.state = bind.Closing
	carol.unlockAt = g.params.ClientDelay + unix(receipt)
	l.refused("a refund before the delay", carol.wallet, l.requestRefund(carol), exitLocked)
}

// forceRefund: the stake does not cover the client's balance; the rest stays the client's.
func (l *life) forceRefund() {
	l.t.Helper()
	g, carol := l.now, l.now.clients[1]
	l.send(carol.wallet, l.requestRefund(carol))
	g.force(carol)
	same(l.t, "stake after the forced refund", g.collateral, 0)
	same(l.t, "rest after the forced refund", carol.balance, carol.stake-g.params.MinProxyStake)
	l.refused("a refund after closing", carol.wallet, l.requestRefund(carol), exitClosed)
}

// claim: the owner needs no machine to refill the stake, and the client's rest may be asked for by anyone.
func (l *life) claim() {
	l.t.Helper()
	g, carol := l.now, l.now.clients[1]
	l.stake(g, 3*ton)
	anyone := l.people[3]
	l.send(anyone, l.ask(carol.in.Address, forClient, &bind.ClientClaim{QueryID: l.nextQuery(), Excess: anyone.in.Address}))
	g.force(carol)
	same(l.t, "rest after the claim", carol.balance, 2*ton)
}

// comeBack: the machine charges what it had served before the outage and grants the rest from the pool.
func (l *life) comeBack() {
	l.t.Helper()
	l.stake(l.now, l.now.params.MinProxyStake)
	l.grant(l.now, l.now.clients[1])
}

// end: what forced refunds left in the pool is the owner's after another delay, and so is the machine's wallet.
func (l *life) end() {
	l.t.Helper()
	forced := 13 * ton
	if got := l.sweep(l.now); got < forced || got > forced+slack {
		l.t.Errorf("the second proxy had a surplus of %d, forced refunds took %d from the stake", got, forced)
	}
	before := l.account(l.head(), l.machine.in.Address).Balance.Uint64()
	l.send(l.operator, l.ask(l.machine.in.Address, forRoot, &bind.Text{Command: 'w'}))
	at := l.check()
	left := l.account(at, l.machine.in.Address).Balance.Uint64()
	if got := l.books.paid(l.machine.in.Address, l.operator.in.Address); left > uint64(ton)/100 || uint64(got) < before {
		l.t.Errorf("of the %d in the machine's wallet the owner got %d, %d are left", before, got, left)
	}
	root, err := bind.ParseRoot(l.account(at, l.root.Address).Data)
	check(l.t, err)
	same(l.t, "changes of the root", root.Version, 3)
	same(l.t, "proxies in the root", root.LastSeqno, 2)
	for _, g := range []*generation{l.old, l.now} {
		same(l.t, "state at the end", g.state, bind.Closed)
		same(l.t, "liabilities at the end", g.liabilities, 0)
	}
}
