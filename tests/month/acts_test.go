package month_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/code"
)

// Values that runners attach (contracts.md section 1.10).
const (
	deployProxy  = 3 * ton / 10
	deployWorker = 3 * ton / 10
	deployClient = 8 * ton / 10
	forClient    = 7 * ton / 10
	forRegister  = ton
	forWorker    = 5 * ton / 10
	forProxy     = ton
	forRoot      = ton / 5
)

// life is the network with everybody who lives in it.
type life struct {
	*network
	t     *testing.T
	books *books
	root  bind.Instance

	steward  *wallet // owns the root
	operator *wallet // owns the proxies
	machine  *wallet // sends what the proxy's machine decides
	key      ed25519.PrivateKey
	people   []*wallet // two clients, then two workers
	old, now *generation
}

func newLife(t *testing.T) *life {
	t.Helper()
	n := newNetwork(t)
	l := &life{network: n, t: t, books: newBooks(n), key: keyOf("proxy machine")}
	l.steward = l.join("steward", person("steward's safe"), 10*ton)
	l.operator = l.join("operator", person("operator's safe"), 100*ton)
	l.machine = l.join("machine", l.operator.in.Address, 40*ton)
	for _, name := range []string{"alice", "carol"} {
		l.people = append(l.people, l.join(name, person(name), 200*ton))
	}
	for _, name := range []string{"bob", "dave"} {
		l.people = append(l.people, l.join(name, person(name), 10*ton))
	}
	l.deployRoot()
	return l
}

// join gives somebody a wallet with money, and opens its account in the books.
func (l *life) join(name string, owner *address.Address, coins bind.Nano) *wallet {
	l.t.Helper()
	w := l.newWallet(name, owner, coins)
	l.books.open(name, w.in.Address)
	return w
}

func (l *life) deployRoot() {
	l.t.Helper()
	data, err := bind.RootStorage{
		Owner: l.steward.in.Address, KeyManager: &bind.KeyManager{},
		Params: bind.Params{
			StructVersion: 4, ParamsVersion: 1, UniqueID: 30, IsTest: true, PricePerToken: 1_000_000, WorkerFee: 950_000,
			PromptMultiplier: 10000, CachedMultiplier: 1000, CompletionMultiplier: 80000, ReasoningMultiplier: 80000,
			ProxyDelay: 86400, ClientDelay: 43200, MinProxyStake: 10 * ton, MinClientStake: 15 * ton,
			Proxy: code.Proxy(), Worker: code.Worker(), Client: code.Client(),
		},
	}.Cell()
	check(l.t, err)
	l.root = bind.Instance{Code: code.Root(), Data: data}
	l.root.Address, err = bind.Address(code.Root(), data)
	check(l.t, err)
	l.books.open("root", l.root.Address)
	l.deploy(l.root, ton)
}

// params are what the root says, proven.
func (l *life) params() bind.Params {
	l.t.Helper()
	root, err := bind.ParseRoot(l.account(l.head(), l.root.Address).Data)
	check(l.t, err)
	return root.Params
}

// open deploys a proxy with the root's parameters and registers it.
func (l *life) open() *generation {
	l.t.Helper()
	p := l.params()
	proxy, err := bind.NewProxy(p, l.root.Address, l.operator.in.Address, publicKey(l.key))
	check(l.t, err)
	g := &generation{ledger: &ledger{price: p.PricePerToken, fee: p.WorkerFee}, params: p, proxy: proxy}
	l.books.open(fmt.Sprintf("proxy%d", p.ParamsVersion), proxy.Address)
	l.send(l.operator, letter{to: proxy.Address, value: deployProxy, init: &proxy})
	l.stake(g, p.MinProxyStake)
	l.send(l.steward, l.ask(l.root.Address, forRoot, &bind.RootRegisterProxy{
		QueryID: l.nextQuery(), Addr: bind.NetAddr(fmt.Sprintf("10.0.0.%d:5222 10.0.0.%d:8888", p.ParamsVersion, p.ParamsVersion)),
	}))
	for _, who := range l.people[:2] {
		g.clients = append(g.clients, l.openClient(g, who))
	}
	for _, who := range l.people[2:] {
		in, err := bind.NewWorker(p, proxy.Address, who.in.Address, publicKey(l.key))
		check(l.t, err)
		l.books.open(fmt.Sprintf("%s's contract %d", who.name, p.ParamsVersion), in.Address)
		l.send(who, letter{to: in.Address, value: deployWorker, init: &in})
		g.workers = append(g.workers, &worker{wallet: who, in: in})
	}
	l.commit(g)
	return g
}

func (l *life) openClient(g *generation, who *wallet) *client {
	l.t.Helper()
	in, err := bind.NewClient(g.params, g.proxy.Address, who.in.Address, publicKey(l.key))
	check(l.t, err)
	l.books.open(fmt.Sprintf("%s's contract %d", who.name, g.params.ParamsVersion), in.Address)
	l.send(who, letter{to: in.Address, value: deployClient, init: &in})
	return &client{wallet: who, in: in, stake: g.params.MinClientStake}
}

// register proves to the proxy that the client controls its wallet, by a note on chain ("long" authentication).
func (l *life) register(g *generation, c *client) {
	l.t.Helper()
	nonce := l.nextQuery() << 32
	l.send(c.wallet, l.ask(c.in.Address, forRegister, &bind.ClientRegister{QueryID: l.nextQuery(), Nonce: nonce, Excess: c.wallet.in.Address}))
	proxy := l.books.find(g.proxy.Address)
	l.books.follow(proxy, l.account(l.head(), g.proxy.Address).Last)
	same(l.t, "the note that the proxy reads", l.books.notes[nonce], note{
		proxy: g.proxy.Address.StringRaw(), client: c.in.Address.StringRaw(), owner: c.wallet.in.Address.StringRaw(),
	})
}

func (l *life) stake(g *generation, amount bind.Nano) {
	l.t.Helper()
	l.send(l.operator, l.ask(g.proxy.Address, amount+forWorker, &bind.ProxyIncreaseStake{QueryID: l.nextQuery(), Amount: amount, Excess: l.operator.in.Address}))
	g.collateral += amount
}

func (l *life) topUp(g *generation, c *client, amount bind.Nano) {
	l.t.Helper()
	l.send(c.wallet, l.ask(c.in.Address, amount+forClient, &bind.ClientTopUp{QueryID: l.nextQuery(), Amount: amount, Excess: c.wallet.in.Address}))
	g.topUp(c, amount)
}

// firstTopUp is a top-up that also sets the secret for "short" authentication.
func (l *life) firstTopUp(g *generation, c *client, amount bind.Nano) {
	l.t.Helper()
	secret := bind.Hash(sha256.Sum256([]byte("secret of " + c.wallet.name)))
	l.send(c.wallet, l.ask(c.in.Address, amount+forClient, &bind.ClientChangeSecretAndTopUp{
		QueryID: l.nextQuery(), Amount: amount, SecretHash: secret, Excess: c.wallet.in.Address,
	}))
	c.secret = secret
	g.topUp(c, amount)
}

// tokens is a counter signed by the machine.
func (l *life) tokens(op bind.Op, in bind.Instance, tokens uint64, excess *wallet) bind.Signed {
	l.t.Helper()
	q := l.nextQuery()
	s, err := bind.Sign(l.key, q, excess.in.Address, &bind.TokensPayload{Op: op, QueryID: q, Tokens: tokens, Contract: in.Address})
	check(l.t, err)
	return s
}

// committed is the next step of the tip, as the machine signs it.
func (l *life) committed(g *generation) letter {
	l.t.Helper()
	q := l.nextQuery()
	next := bind.Hash(sha256.Sum256(fmt.Appendf(g.tip[:], "journal %d", g.commits+1)))
	s, err := bind.Sign(l.key, q, l.machine.in.Address, &bind.CommitPayload{
		QueryID: q, Contract: g.proxy.Address, Seqno: g.commits + 1, PrevHash: g.tip, NewHash: next, SessionHash: bind.Hash{1}, ReputationRoot: bind.Hash{2},
	})
	check(l.t, err)
	g.commits, g.tip = g.commits+1, next
	return l.ask(g.proxy.Address, forProxy, &bind.ProxyCommit{Signed: s})
}

func (l *life) commit(g *generation) {
	l.t.Helper()
	l.send(l.machine, l.committed(g))
}

// charge commits and then charges every open client that used something.
func (l *life) charge(g *generation) {
	l.t.Helper()
	batch := []letter{l.committed(g)}
	for _, c := range g.clients {
		if c.state == bind.Closed || c.used == c.charged {
			continue
		}
		batch = append(batch, l.ask(c.in.Address, forClient, &bind.ClientCharge{Signed: l.tokens(bind.OpClientCharge, c.in, c.used, l.machine)}))
		check(l.t, g.collect(c))
	}
	l.send(l.machine, batch...)
}

// payOut: the worker submits what the machine signed for it.
func (l *life) payOut(g *generation, w *worker) {
	l.t.Helper()
	l.send(w.wallet, l.ask(w.in.Address, forWorker, &bind.WorkerPayout{Signed: l.tokens(bind.OpWorkerPayout, w.in, w.served, w.wallet)}))
	g.settle(w)
}

// lastPayOut is sent by the machine and closes the worker's contract.
func (l *life) lastPayOut(g *generation, w *worker) {
	l.t.Helper()
	l.send(l.machine, l.ask(w.in.Address, forClient, &bind.WorkerLastPayout{Signed: l.tokens(bind.OpWorkerLastPayout, w.in, w.served, l.machine)}))
	g.settle(w)
	w.state = bind.Closed
}

// grant charges the last tokens and refunds everything else.
func (l *life) grant(g *generation, c *client) {
	l.t.Helper()
	l.send(l.machine, l.ask(c.in.Address, forClient, &bind.ClientGrantRefund{Signed: l.tokens(bind.OpClientGrantRefund, c.in, c.used, l.machine)}))
	check(l.t, g.collect(c))
	g.refund(c, c.balance)
	c.state = bind.Closed
}

// withdraw takes a client's balance above the stake.
func (l *life) withdraw(g *generation, c *client) {
	l.t.Helper()
	l.send(c.wallet, l.ask(c.in.Address, forClient, &bind.ClientWithdraw{QueryID: l.nextQuery(), Excess: c.wallet.in.Address}))
	g.refund(c, c.balance-c.stake)
}

func (l *life) requestRefund(c *client) letter {
	l.t.Helper()
	return l.ask(c.in.Address, forClient, &bind.ClientRequestRefund{QueryID: l.nextQuery(), Excess: c.wallet.in.Address})
}

// takeRevenue pays the owner what the proxy has earned; anyone may ask for it.
func (l *life) takeRevenue(g *generation, asks *wallet) {
	l.t.Helper()
	l.send(asks, l.ask(g.proxy.Address, ton/5, &bind.ProxyPayout{QueryID: l.nextQuery(), Excess: asks.in.Address}))
	g.payOwner(g.revenue)
	g.revenue = 0
}

// closing is a step of closing that the machine signs.
func (l *life) closing(g *generation, op bind.Op) letter {
	l.t.Helper()
	q := l.nextQuery()
	s, err := bind.Sign(l.key, q, l.machine.in.Address, &bind.ClosePayload{Op: op, QueryID: q, Contract: g.proxy.Address})
	check(l.t, err)
	if op == bind.OpProxyCloseRequest {
		return l.ask(g.proxy.Address, forProxy, &bind.ProxyCloseRequest{Signed: s})
	}
	return l.ask(g.proxy.Address, forProxy, &bind.ProxyCloseComplete{Signed: s})
}

func (l *life) closeRequest(g *generation) {
	l.t.Helper()
	receipt := l.send(l.machine, l.closing(g, bind.OpProxyCloseRequest))
	g.state, g.unlockAt = bind.Closing, g.params.ProxyDelay+unix(receipt)
}

func (l *life) closeComplete(g *generation) {
	l.t.Helper()
	l.send(l.machine, l.closing(g, bind.OpProxyCloseComplete))
	g.complete()
}

// sweep pays what nobody is owed to the closed proxy's owner: everything above the reserve, less the rent until now.
func (l *life) sweep(g *generation) bind.Nano {
	l.t.Helper()
	before := bind.Nano(l.account(l.head(), g.proxy.Address).Balance.Uint64())
	l.send(l.operator, l.ask(g.proxy.Address, forWorker, &bind.ProxySweepSurplus{QueryID: l.nextQuery(), Excess: l.operator.in.Address}))
	proxy := l.books.find(g.proxy.Address)
	l.books.follow(proxy, l.account(l.head(), g.proxy.Address).Last)
	surplus := before - proxy.rent - g.liabilities - reserve
	g.payOwner(surplus)
	return surplus
}

// unix is the time of the block that executed a message, and what followed from it.
func unix(r chain.Receipt) uint32 {
	return uint32(r.Transaction.Time.Unix())
}

// check holds every proven state against the ledgers and the books.
func (l *life) check() chain.Block {
	l.t.Helper()
	at := l.head()
	l.books.balance(at)
	l.witness.agree(at, l.books.accounts)
	for _, g := range []*generation{l.old, l.now} {
		if g != nil {
			g.compare(l.network, l.books, at, l.operator)
		}
	}
	return at
}
