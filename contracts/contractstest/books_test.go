package contractstest_test

import (
	"errors"
	"fmt"

	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/contractstest"
)

// books follow every transaction of a world from outside and hold the contracts to the invariants of contracts.md
// section 2.3, at every step, with what is in flight counted.
type books struct {
	w      *contractstest.World
	honest bool // the machine signs payouts for charged money only

	proxy   bind.ProxyStorage
	clients []bind.ClientStorage
	workers []bind.WorkerStorage

	credited, deducted, refunded []bind.Nano // by client
	paid                         []bind.Nano // to workers' owners
	stakeIn, stakeOut, forced    bind.Nano
	revenueOut, deposits         bind.Nano
	ownerPaid                    bind.Nano // to the proxy's owner
	replies                      map[string]bind.Nano
	flows                        flows
}

// flows are the amounts in flight, by the contract that they concern.
type flows struct {
	deposits, returning bind.Nano
	owedClient          []bind.Nano // refund requests, bounced ones, unpaid replies
	payClient           []bind.Nano // payments on their way
	owedWorker, payWork []bind.Nano
	owedRevenue         bind.Nano
	payOwner            bind.Nano
}

// dust is what rounding of rent and a contract's own coins may differ by.
const dust = ton / 20

func newBooks(w *contractstest.World, honest bool) (*books, error) {
	nc, nw := len(w.Clients), len(w.Workers)
	b := &books{
		w: w, honest: honest, clients: make([]bind.ClientStorage, nc), workers: make([]bind.WorkerStorage, nw),
		credited: make([]bind.Nano, nc), deducted: make([]bind.Nano, nc), refunded: make([]bind.Nano, nc), paid: make([]bind.Nano, nw),
		replies: map[string]bind.Nano{},
	}
	var err error
	for i, c := range w.Clients {
		if b.clients[i], err = w.ClientState(c); err != nil {
			return nil, err
		}
	}
	for i, c := range w.Workers {
		if b.workers[i], err = w.WorkerState(c); err != nil {
			return nil, err
		}
	}
	b.proxy, err = w.ProxyState()
	return b, err
}

// follow books the last transaction and checks everything.
func (b *books) follow() error {
	tx := b.w.Log[len(b.w.Log)-1]
	if err := b.record(tx); err != nil {
		return fmt.Errorf("after %s: %w", tx, err)
	}
	if err := errors.Join(b.inFlight(), checkPhases(tx), b.checkAccounts(), b.checkPool(), b.checkCoins()); err != nil {
		return fmt.Errorf("after %s: %w", tx, err)
	}
	return nil
}

// checkPhases: what a contract of ours was sent by another never runs out of gas and never fails in its actions.
func checkPhases(tx contractstest.Transaction) error {
	if tx.Action != 0 {
		return fmt.Errorf("actions failed with %d", tx.Action)
	}
	if tx.Parent >= 0 && (tx.Exit == -14 || tx.Exit == 13) {
		return errors.New("out of gas on a path")
	}
	return nil
}

func (b *books) record(tx contractstest.Transaction) error {
	if tx.Received {
		b.recordPayment(tx)
		return nil
	}
	if tx.To == "proxy" {
		return b.recordProxy(tx)
	}
	for i, c := range b.w.Clients {
		if b.w.NameOf(c.Address) == tx.To {
			return b.recordClient(i, tx)
		}
	}
	for i, c := range b.w.Workers {
		if b.w.NameOf(c.Address) == tx.To {
			return b.recordWorker(i, tx)
		}
	}
	return nil
}

func (b *books) recordPayment(tx contractstest.Transaction) {
	if tx.Op != bind.OpPayout || tx.From != "proxy" {
		return
	}
	if b.w.NameOf(b.w.Owner) == tx.To {
		b.ownerPaid += tx.Value
	}
	for i, c := range b.w.Clients {
		if b.w.NameOf(b.w.OwnerOf(c)) == tx.To {
			b.refunded[i] += tx.Value
		}
	}
	for i, c := range b.w.Workers {
		if b.w.NameOf(b.w.OwnerOf(c)) == tx.To {
			b.paid[i] += tx.Value
		}
	}
}

func (b *books) recordClient(i int, tx contractstest.Transaction) error {
	old := b.clients[i]
	now, err := b.w.ClientState(b.w.Clients[i])
	if err != nil {
		return err
	}
	b.clients[i] = now
	if now.State < old.State || now.TokensUsed < old.TokensUsed || now.Stake < old.Stake {
		return fmt.Errorf("client %d went back: %v %d %d -> %v %d %d", i, old.State, old.TokensUsed, old.Stake, now.State, now.TokensUsed, now.Stake)
	}
	b.replies[tx.To] += reply(tx)
	price := uint64(b.w.Params.PricePerToken)
	switch {
	case !tx.OK():
	case tx.Op == bind.OpClientCharge:
		b.deducted[i] += old.Balance - now.Balance
		if uint64(old.Balance-now.Balance) > (now.TokensUsed-old.TokensUsed)*price {
			return fmt.Errorf("client %d was charged more than the price of its tokens", i)
		}
	case tx.Op == bind.OpClientGrantRefund:
		b.deducted[i] += min(old.Balance, bind.Nano((now.TokensUsed-old.TokensUsed)*price))
	case tx.Op == bind.OpClientTopUp || tx.Op == bind.OpClientChangeSecretAndTopUp:
		b.credited[i] += now.Balance - old.Balance
	case tx.Bounced && now.Balance < old.Balance:
		b.credited[i] -= old.Balance - now.Balance
	}
	return nil
}

// reply is the value of a message that leaves coins in a client or worker contract: a reply, a gift, or one that failed
// and was too small to come back.
func reply(tx contractstest.Transaction) bind.Nano {
	if tx.Aborted && tx.Out == 0 {
		return tx.Value
	}
	if tx.Op == bind.OpClientUnpaid || tx.Op == bind.OpWorkerUnpaid || !tx.HasOp || tx.Op == bind.OpDoNotProcess {
		return tx.Value
	}
	return 0
}

func (b *books) recordWorker(i int, tx contractstest.Transaction) error {
	old := b.workers[i]
	now, err := b.w.WorkerState(b.w.Workers[i])
	if err != nil {
		return err
	}
	b.workers[i] = now
	b.replies[tx.To] += reply(tx)
	if now.State < old.State || now.Tokens < old.Tokens {
		return fmt.Errorf("worker %d went back: %v %d -> %v %d", i, old.State, old.Tokens, now.State, now.Tokens)
	}
	return nil
}

func (b *books) recordProxy(tx contractstest.Transaction) error {
	old := b.proxy
	now, err := b.w.ProxyState()
	if err != nil {
		return err
	}
	b.proxy = now
	if now.State < old.State {
		return fmt.Errorf("proxy went back from %v to %v", old.State, now.State)
	}
	if err := checkTip(old, now, tx); err != nil {
		return err
	}
	if !tx.OK() {
		return nil
	}
	switch {
	case now.State == bind.Closed && old.State != bind.Closed:
		b.stakeOut += old.Stake
		b.revenueOut += old.Balance
	case tx.Op == bind.OpProxyIncreaseStake:
		b.stakeIn += now.Stake - old.Stake
	case tx.Op == bind.OpClientNote:
		b.forced += old.Stake - now.Stake
		if ext := liabilities(now); ext > liabilities(old) {
			b.deposits += ext - liabilities(old)
		}
	case tx.Op == bind.OpProxyClose || tx.Op == bind.OpText:
		b.stakeOut += old.Stake - now.Stake
		b.revenueOut += old.Balance - min(old.Balance, now.Balance)
	case tx.Op == bind.OpProxyPayout || tx.Op == bind.OpProxySweepSurplus:
		b.revenueOut += old.Balance - now.Balance
	}
	return nil
}

func liabilities(s bind.ProxyStorage) bind.Nano {
	if s.Ext == nil {
		return 0
	}
	return s.Ext.Liabilities
}

// checkTip: the commit's number counts up by one, by a commit, or the tip stays.
func checkTip(old, now bind.ProxyStorage, tx contractstest.Transaction) error {
	var was, is bind.CommitTip
	if old.Ext != nil {
		was = old.Ext.Commit
	}
	if now.Ext != nil {
		is = now.Ext.Commit
	}
	if was == is {
		return nil
	}
	if tx.Op != bind.OpProxyCommit || is.Seqno != was.Seqno+1 {
		return fmt.Errorf("the tip went from %d to %d", was.Seqno, is.Seqno)
	}
	return nil
}

// inFlight sorts what waits for delivery.
func (b *books) inFlight() error {
	nc, nw := len(b.w.Clients), len(b.w.Workers)
	b.flows = flows{owedClient: make([]bind.Nano, nc), payClient: make([]bind.Nano, nc), owedWorker: make([]bind.Nano, nw), payWork: make([]bind.Nano, nw)}
	for _, m := range b.w.Pending() {
		if err := b.inFlightOne(m); err != nil {
			return err
		}
	}
	return nil
}

func (b *books) inFlightOne(m *tlb.InternalMessage) error {
	fromProxy := m.SrcAddr.Equals(b.w.Proxy.Address)
	if fromProxy && m.DstAddr.Equals(b.w.Owner) && isPayout(m) {
		b.flows.payOwner += bind.Nano(m.Amount.Nano().Uint64())
	}
	for i, c := range b.w.Clients {
		owner := b.w.OwnerOf(c)
		switch {
		case fromProxy && m.DstAddr.Equals(owner):
			if isPayout(m) {
				b.flows.payClient[i] += bind.Nano(m.Amount.Nano().Uint64())
			}
		case m.SrcAddr.Equals(c.Address) && m.DstAddr.Equals(b.w.Proxy.Address), fromProxy && m.DstAddr.Equals(c.Address):
			return b.clientFlow(i, m)
		}
	}
	for i, c := range b.w.Workers {
		owner := b.w.OwnerOf(c)
		switch {
		case fromProxy && m.DstAddr.Equals(owner):
			if isPayout(m) {
				b.flows.payWork[i] += bind.Nano(m.Amount.Nano().Uint64())
			}
		case m.SrcAddr.Equals(c.Address) && m.DstAddr.Equals(b.w.Proxy.Address), fromProxy && m.DstAddr.Equals(c.Address):
			return b.workerFlow(i, m)
		}
	}
	return nil
}

func isPayout(m *tlb.InternalMessage) bool {
	return m.Body != nil && m.Body.BitsSize() >= 32 && m.Body.MustBeginParse().MustLoadUInt(32) == uint64(bind.OpPayout)
}

// original is the body of a message, or of the one that bounced, which a rich bounce carries whole.
func original(m *tlb.InternalMessage) (*cell.Cell, error) {
	if !m.Bounced {
		return m.Body, nil
	}
	s := m.Body.MustBeginParse()
	if s.MustLoadUInt(32) != 0xfffffffe {
		return nil, errors.New("a bounce without the full body")
	}
	return s.LoadRefCell()
}

func (b *books) clientFlow(i int, m *tlb.InternalMessage) error {
	body, err := original(m)
	if err != nil {
		return err
	}
	if m.SrcAddr.Equals(b.w.Proxy.Address) && !m.Bounced {
		got, err := bind.Decode(bind.ContractClient, body)
		if err != nil {
			return err
		}
		if u, ok := got.(*bind.ClientUnpaid); ok {
			b.flows.owedClient[i] += u.Amount
		}
		return nil
	}
	got, err := bind.Decode(bind.ContractProxy, body)
	if err != nil {
		return err
	}
	note, ok := got.(*bind.ClientNote)
	if !ok {
		return fmt.Errorf("a client sent %T", got)
	}
	switch p := note.Payload.(type) {
	case *bind.NoteTopUp:
		if m.Bounced {
			b.flows.returning += p.Amount
		} else {
			b.flows.deposits += p.Amount
		}
	case *bind.NoteRefundGranted:
		b.flows.owedClient[i] += p.Amount
	case *bind.NoteRefundForce:
		b.flows.owedClient[i] += p.Amount
	}
	return nil
}

func (b *books) workerFlow(i int, m *tlb.InternalMessage) error {
	body, err := original(m)
	if err != nil {
		return err
	}
	if m.SrcAddr.Equals(b.w.Proxy.Address) && !m.Bounced {
		got, err := bind.Decode(bind.ContractWorker, body)
		if err != nil {
			return err
		}
		if u, ok := got.(*bind.WorkerUnpaid); ok {
			b.flows.owedWorker[i] += u.WorkerPart
			b.flows.owedRevenue += u.ProxyPart
		}
		return nil
	}
	got, err := bind.Decode(bind.ContractProxy, body)
	if err != nil {
		return err
	}
	if note, ok := got.(*bind.WorkerNote); ok && note.Payload != nil {
		p, ok := note.Payload.(*bind.NotePayout)
		if !ok {
			return fmt.Errorf("a worker asked with %T", note.Payload)
		}
		b.flows.owedWorker[i] += p.WorkerPart
		b.flows.owedRevenue += p.ProxyPart
	}
	return nil
}

// checkAccounts: every nano that was credited, earned or staked is somewhere, exactly once.
func (b *books) checkAccounts() error {
	for i, c := range b.clients {
		if got := c.Balance + b.deducted[i] + b.refunded[i] + b.flows.owedClient[i] + b.flows.payClient[i]; got != b.credited[i] {
			return fmt.Errorf("client %d: credited %d, found %d (balance %d, deducted %d, refunded %d, owed %d)",
				i, b.credited[i], got, c.Balance, b.deducted[i], b.refunded[i], b.flows.owedClient[i])
		}
	}
	revenue := b.proxy.Balance + b.revenueOut + b.flows.owedRevenue
	var earned bind.Nano
	for i, c := range b.workers {
		part := unpaid(c)
		revenue += part.UnpaidProxy
		earned += bind.Nano(c.Tokens) * (b.w.Params.PricePerToken - b.w.Params.WorkerFee)
		want := bind.Nano(c.Tokens) * b.w.Params.WorkerFee
		if got := b.paid[i] + part.UnpaidWorker + b.flows.owedWorker[i] + b.flows.payWork[i]; got != want {
			return fmt.Errorf("worker %d: earned %d, found %d (paid %d, booked %d, owed %d)", i, want, got, b.paid[i], part.UnpaidWorker, b.flows.owedWorker[i])
		}
	}
	if revenue != earned {
		return fmt.Errorf("revenue: earned %d, found %d", earned, revenue)
	}
	if got := b.proxy.Stake + b.stakeOut + b.forced; got != b.stakeIn {
		return fmt.Errorf("stake: paid in %d, found %d", b.stakeIn, got)
	}
	return nil
}

func unpaid(s bind.WorkerStorage) bind.WorkerExt {
	if s.Ext == nil {
		return bind.WorkerExt{}
	}
	return *s.Ext
}

// checkPool: an honest machine's pool covers everything it owes; a hostile one can take the clients' money only by
// signing, never the owner's.
func (b *books) checkPool() error {
	coins := b.w.Balance(b.w.Proxy.Address)
	owner := b.proxy.Stake + b.proxy.Balance
	if coins+dust < owner {
		return fmt.Errorf("pool of %d does not cover stake and revenue %d", coins, owner)
	}
	have, out := coins, b.ownerPaid+b.flows.payOwner
	for i := range b.clients {
		out += b.refunded[i] + b.flows.payClient[i]
	}
	for i := range b.workers {
		out += b.paid[i] + b.flows.payWork[i]
	}
	if in := b.deposits + b.stakeIn; have+out+2*dust < in+3*ton/10 {
		return fmt.Errorf("pool of %d: of what came in, %d, only %d went out", have, in, out)
	}
	if !b.honest {
		return nil
	}
	need := owner + b.flows.owedRevenue
	for i, c := range b.clients {
		need += c.Balance + b.flows.owedClient[i]
	}
	for i, c := range b.workers {
		need += unpaid(c).UnpaidWorker + unpaid(c).UnpaidProxy + b.flows.owedWorker[i]
	}
	if with := coins + b.flows.deposits + b.flows.returning; with < need {
		return fmt.Errorf("pool of %d with deposits in flight does not cover %d", with, need)
	}
	return nil
}

// checkCoins: nothing gets stuck in a client or worker contract beyond what it was deployed with and what replies left,
// and a closed one keeps enough to live.
func (b *books) checkCoins() error {
	for i, c := range b.w.Clients {
		coins, name := b.w.Balance(c.Address), b.w.NameOf(c.Address)
		if limit := 8*ton/10 + b.replies[name]; coins > limit {
			return fmt.Errorf("%s holds %d, at most %d explained", name, coins, limit)
		}
		if b.clients[i].State == bind.Closed && coins+dust < ton/10 {
			return fmt.Errorf("closed %s holds %d", name, coins)
		}
	}
	for i, c := range b.w.Workers {
		coins, name := b.w.Balance(c.Address), b.w.NameOf(c.Address)
		if limit := 3*ton/10 + b.replies[name]; coins > limit {
			return fmt.Errorf("%s holds %d, at most %d explained", name, coins, limit)
		}
		if b.workers[i].State == bind.Closed && coins+dust < ton/10 {
			return fmt.Errorf("closed %s holds %d", name, coins)
		}
	}
	return nil
}
