package contractstest_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"sync"
	"testing"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/contractstest"
)

// TestInvariants runs random sequences of messages: honest and hostile ones, in every order that the network allows, with
// bounces, insolvency, closing and time. The invariants of contracts.md section 2.3 hold after every transaction. Half of
// the sequences have a machine whose key signs anything.
func TestInvariants(t *testing.T) {
	sequences := 300
	if longRun() {
		sequences = 100_000
		defer debug.SetGCPercent(debug.SetGCPercent(400)) // cells are small and short-lived
	}
	var templates []*contractstest.World // one for each global version that is supported
	for _, version := range []uint32{12, 14, 15} {
		templates = append(templates, fillTemplate(play{newWorldOn(t, newChain(t, version), ourParams()), t}))
	}
	var wg sync.WaitGroup
	lanes := 2
	failures := make(chan error, lanes)
	for lane := range lanes {
		mine := make([]*contractstest.World, len(templates))
		for i, w := range templates {
			mine[i] = w.Clone()
		}
		wg.Go(func() {
			for seed := lane; seed < sequences; seed += lanes {
				if err := runSequence(mine[seed%len(mine)], uint64(seed)); err != nil {
					failures <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failures)
	for err := range failures {
		t.Error(err)
	}
}

// fillTemplate adds two clients and two workers to a proxy.
func fillTemplate(p play) *contractstest.World {
	p.t.Helper()
	for _, name := range []string{"alice", "mallory"} {
		p.addClient(name)
	}
	for _, name := range []string{"bob", "eve"} {
		p.addWorker(name)
	}
	for _, name := range []string{"stranger", "masterchain"} {
		p.Actor(name)
	}
	return p.World
}

// sequence is one random run.
type sequence struct {
	*books
	rng    *rand.Rand
	steps  []string
	bodies []posted // signed bodies, for replay by anybody
	signed []uint64 // tokens signed for, by worker
	views  [2]view  // what two instances with one key believe to be the tip
}

type posted struct {
	to   *address.Address
	head *cell.Builder // operation and query id
	tail *cell.Builder // what follows the excess address
}

type view struct {
	seqno uint32
	hash  bind.Hash
}

func runSequence(template *contractstest.World, seed uint64) error {
	w := template.Clone()
	b, err := newBooks(w, seed%2 == 0)
	if err != nil {
		return err
	}
	s := &sequence{books: b, rng: rand.New(rand.NewPCG(seed, 4)), signed: make([]uint64, len(w.Workers))}
	if err := s.run(); err != nil {
		return fmt.Errorf("sequence %d (honest %v): %w\nsteps:\n%s\ntransactions:\n%s", seed, b.honest, err, strings.Join(s.steps, "\n"), w.Tree())
	}
	return nil
}

func (s *sequence) run() error {
	if err := s.prelude(); err != nil {
		return err
	}
	for range 6 + s.rng.IntN(14) {
		if err := s.act(); err != nil {
			return err
		}
		for range s.rng.IntN(5) {
			if err := s.deliver(); err != nil {
				return err
			}
		}
	}
	if err := s.drain(); err != nil {
		return err
	}
	return s.w.Check()
}

func (s *sequence) drain() error {
	for len(s.w.Lanes()) > 0 {
		if err := s.deliver(); err != nil {
			return err
		}
	}
	return nil
}

// prelude brings some sequences to where random steps seldom come: deposits, an insolvent pool, closing, closed and swept
// contracts. Each step is left out sometimes.
func (s *sequence) prelude() error {
	later := func(seconds uint32) func() error {
		return func() error { s.w.Now += seconds; return nil }
	}
	deposit := func() error { return s.valid(s.anyClient(), bind.OpClientTopUp, 1+s.rng.Uint64N(uint64(9*ton))) }
	stake := func() error { return s.valid(s.w.Proxy, bind.OpProxyIncreaseStake, s.rng.Uint64N(uint64(9*ton))) }
	refund := func() error { return s.valid(s.anyClient(), bind.OpClientRequestRefund) }
	pay := func() error { return s.payout(bind.OpWorkerPayout) }
	use := func() error { return s.charge(bind.OpClientCharge) }
	start := func() error { return s.closing(bind.OpProxyCloseRequest) }
	complete := func() error { return s.closing(bind.OpProxyCloseComplete) }
	surplus := func() error { return s.valid(s.w.Proxy, bind.OpProxySweepSurplus) }
	alone := func() error { return s.valid(s.w.Proxy, bind.OpProxyClose) }
	scripts := [][]func() error{
		nil,
		{deposit, stake, deposit, use, pay, pay},
		{deposit, stake, refund, later(3601), refund, refund},
		{deposit, deposit, refund, refund, start, later(7200), complete},
		{deposit, stake, use, pay, pay, start, refund, later(7200), complete, refund, later(7200), surplus},
		{deposit, pay, pay, start, later(7200), complete, later(7200), surplus},
		{deposit, stake, alone, later(40 * 86400), refund, later(3601), refund, alone, later(86400), alone},
	}
	for _, step := range scripts[s.rng.IntN(len(scripts))] {
		if s.rng.IntN(8) == 0 {
			continue
		}
		if err := step(); err != nil {
			return err
		}
		if s.rng.IntN(4) > 0 {
			if err := s.drain(); err != nil {
				return err
			}
		}
	}
	return nil
}

// valid posts an operation of the owner that is well formed and well paid.
func (s *sequence) valid(to bind.Instance, op bind.Op, sum ...uint64) error {
	b, value := head(op, s.w.Query()), ton/2
	if len(sum) > 0 {
		b.MustStoreCoins(sum[0])
		value += bind.Nano(sum[0])
	}
	owner := s.w.OwnerOf(to)
	if owner == nil {
		owner = s.w.Owner
	}
	return s.post(owner, to.Address, value, b.MustStoreAddr(owner))
}

// deliver steps one message that the network could deliver next.
func (s *sequence) deliver() error {
	lanes := s.w.Lanes()
	if len(lanes) == 0 {
		return nil
	}
	if _, err := s.w.Step(lanes[s.rng.IntN(len(lanes))]); err != nil {
		return err
	}
	return s.follow()
}

// act does one random thing.
func (s *sequence) act() error {
	actions := []struct {
		weight int
		name   string
		do     func() error
	}{
		{10, "top up", s.topUp},
		{3, "secret", s.secret},
		{5, "withdraw", func() error { return s.plain(s.anyClient(), bind.OpClientWithdraw) }},
		{7, "request refund", func() error { return s.plain(s.anyClient(), bind.OpClientRequestRefund) }},
		{4, "claim", func() error { return s.plain(s.anyClient(), bind.OpClientClaim) }},
		{2, "raise stake", func() error { return s.amounts(s.anyClient(), bind.OpClientIncreaseStake) }},
		{1, "client sweep", func() error { return s.plain(s.anyClient(), bind.OpClientSweep) }},
		{8, "charge", func() error { return s.charge(bind.OpClientCharge) }},
		{4, "grant refund", func() error { return s.charge(bind.OpClientGrantRefund) }},
		{8, "payout", func() error { return s.payout(bind.OpWorkerPayout) }},
		{2, "last payout", func() error { return s.payout(bind.OpWorkerLastPayout) }},
		{4, "retry", func() error { return s.plain(s.anyWorker(), bind.OpWorkerRetry) }},
		{1, "worker sweep", func() error { return s.plain(s.anyWorker(), bind.OpWorkerSweep) }},
		{5, "proxy stake", func() error { return s.amounts(s.w.Proxy, bind.OpProxyIncreaseStake) }},
		{3, "proxy payout", func() error { return s.plain(s.w.Proxy, bind.OpProxyPayout) }},
		{1, "proxy close", func() error { return s.plain(s.w.Proxy, bind.OpProxyClose) }},
		{2, "close request", func() error { return s.closing(bind.OpProxyCloseRequest) }},
		{3, "close complete", func() error { return s.closing(bind.OpProxyCloseComplete) }},
		{2, "sweep surplus", func() error { return s.plain(s.w.Proxy, bind.OpProxySweepSurplus) }},
		{3, "commit", s.commit},
		{5, "replay", s.replay},
		{4, "forge", s.forge},
		{3, "garbage", s.garbage},
		{8, "time", s.time},
	}
	total := 0
	for _, a := range actions {
		total += a.weight
	}
	at := s.rng.IntN(total)
	for _, a := range actions {
		if at -= a.weight; at < 0 {
			s.steps = append(s.steps, a.name)
			return a.do()
		}
	}
	return errors.New("no action drawn")
}

func (s *sequence) anyClient() bind.Instance { return s.w.Clients[s.rng.IntN(len(s.w.Clients))] }
func (s *sequence) anyWorker() bind.Instance { return s.w.Workers[s.rng.IntN(len(s.w.Workers))] }

// sender is the contract's owner mostly, or anybody else.
func (s *sequence) sender(to bind.Instance) *address.Address {
	if s.rng.IntN(8) == 0 {
		return s.w.Actor("stranger")
	}
	if owner := s.w.OwnerOf(to); owner != nil {
		return owner
	}
	return s.w.Owner
}

// excess appends an excess address: a payable one mostly, or one that an attacker would choose.
func (s *sequence) excess(b *cell.Builder) *cell.Builder {
	switch s.rng.IntN(40) {
	case 0:
		return b.MustStoreUInt(0, 2) // addr_none
	case 1:
		return b.MustStoreAddr(unpayable())
	case 2:
		return b.MustStoreUInt(0b110, 3).MustStoreUInt(256, 9).MustStoreUInt(0, 32).MustStoreSlice(make([]byte, 32), 256) // addr_var
	case 3:
		return b.MustStoreUInt(0b101, 3).MustStoreUInt(1, 5).MustStoreUInt(1, 1).MustStoreUInt(0, 8).MustStoreSlice(make([]byte, 32), 256) // anycast
	case 4:
		return b.MustStoreUInt(0b01, 2).MustStoreUInt(8, 9).MustStoreUInt(1, 8) // addr_extern
	case 5:
		return b.MustStoreAddr(masterchain())
	default:
		return b.MustStoreAddr(s.w.Actor("stranger"))
	}
}

// masterchain is an address there that is no special account.
func masterchain() *address.Address {
	at := make([]byte, 32)
	at[0] = 7
	return address.NewAddress(0, 255, at)
}

// amount is a sum of some TON mostly, or an edge of what can be written.
func (s *sequence) amount() *big.Int {
	switch s.rng.IntN(16) {
	case 0:
		return new(big.Int)
	case 1:
		return big.NewInt(1)
	case 2:
		return new(big.Int).SetUint64(1<<63 - 1)
	case 3:
		return new(big.Int).SetUint64(1 << 63)
	case 4:
		return new(big.Int).Lsh(big.NewInt(1), 100)
	default:
		return new(big.Int).SetUint64(s.rng.Uint64N(uint64(20 * ton)))
	}
}

// value is what an amount and the commission need, sometimes one less, sometimes more.
func (s *sequence) value(amount *big.Int) bind.Nano {
	base := ton / 10
	if amount.IsUint64() && amount.Uint64() < uint64(1000*ton) {
		base += bind.Nano(amount.Uint64())
	}
	switch s.rng.IntN(12) {
	case 0:
		return base - 1
	case 1:
		return base
	case 2:
		return base + 1
	case 3:
		return bind.Nano(s.rng.Uint64N(uint64(base)))
	default:
		return base + 6*ton/10
	}
}

func (s *sequence) post(from *address.Address, to *address.Address, value bind.Nano, body *cell.Builder) error {
	return s.w.Post(message(from, to, value, body.EndCell()))
}

func head(op bind.Op, query uint64) *cell.Builder {
	return cell.BeginCell().MustStoreUInt(uint64(op), 32).MustStoreUInt(query, 64)
}

// plain posts an operation without fields, or with the excess address alone.
func (s *sequence) plain(to bind.Instance, op bind.Op) error {
	b := head(op, s.w.Query())
	if op != bind.OpClientSweep && op != bind.OpWorkerSweep {
		b = s.excess(b)
	}
	return s.post(s.sender(to), to.Address, s.value(new(big.Int)), b)
}

// amounts posts an operation with an amount.
func (s *sequence) amounts(to bind.Instance, op bind.Op) error {
	sum := s.amount()
	b := s.excess(head(op, s.w.Query()).MustStoreBigCoins(sum))
	value := s.value(sum)
	if op == bind.OpClientIncreaseStake {
		value = s.value(new(big.Int))
	}
	return s.post(s.sender(to), to.Address, value, b)
}

func (s *sequence) topUp() error { return s.amounts(s.anyClient(), bind.OpClientTopUp) }

func (s *sequence) secret() error {
	to, sum := s.anyClient(), s.amount()
	switch s.rng.IntN(3) {
	case 0:
		return s.post(s.sender(to), to.Address, s.value(new(big.Int)), s.excess(head(bind.OpClientRegister, s.w.Query()).MustStoreUInt(s.rng.Uint64(), 64)))
	case 1:
		return s.post(s.sender(to), to.Address, s.value(new(big.Int)), s.excess(head(bind.OpClientChangeSecret, s.w.Query()).MustStoreUInt(1, 256)))
	default:
		b := head(bind.OpClientChangeSecretAndTopUp, s.w.Query()).MustStoreBigCoins(sum).MustStoreUInt(2, 256)
		return s.post(s.sender(to), to.Address, s.value(sum), s.excess(b))
	}
}

// sign posts a signed body and keeps it for replay.
func (s *sequence) sign(to bind.Instance, op bind.Op, payload *cell.Builder, query uint64) error {
	inner := payload.EndCell()
	tail := cell.BeginCell().MustStoreSlice(ed25519.Sign(s.w.Key, inner.Hash()), 512).MustStoreRef(inner)
	p := posted{to.Address, head(op, query), tail}
	s.bodies = append(s.bodies, p)
	return s.submit(p)
}

func (s *sequence) submit(p posted) error {
	body := s.excess(p.head.Copy()).MustStoreBuilder(p.tail)
	return s.post(s.w.Actor("stranger"), p.to, s.value(new(big.Int)), body)
}

func (s *sequence) tokens(to bind.Instance, op bind.Op, count uint64) error {
	query := s.w.Query()
	return s.sign(to, op, head(op, query).MustStoreUInt(count, 64).MustStoreAddr(to.Address), query)
}

// charge signs for some tokens more than the counter: what the balance covers, or anything from a hostile machine.
func (s *sequence) charge(op bind.Op) error {
	i := s.rng.IntN(len(s.w.Clients))
	st := s.clients[i]
	limit := uint64(st.Balance / s.w.Params.PricePerToken)
	if !s.honest && s.rng.IntN(3) == 0 {
		limit = 1 << s.rng.IntN(50)
	}
	return s.tokens(s.w.Clients[i], op, st.TokensUsed+s.rng.Uint64N(limit+1))
}

// payout signs for some tokens more than the last time. An honest machine signs for charged money only.
func (s *sequence) payout(op bind.Op) error {
	i := s.rng.IntN(len(s.w.Workers))
	room := uint64(1) << s.rng.IntN(20)
	if s.honest {
		var charged bind.Nano
		for _, d := range s.deducted {
			charged += d
		}
		room = uint64(charged / s.w.Params.PricePerToken)
		for _, tokens := range s.signed {
			room -= tokens
		}
	}
	s.signed[i] += s.rng.Uint64N(room + 1)
	return s.tokens(s.w.Workers[i], op, s.signed[i])
}

func (s *sequence) closing(op bind.Op) error {
	query := s.w.Query()
	return s.sign(s.w.Proxy, op, head(op, query).MustStoreAddr(s.w.Proxy.Address), query)
}

// commit is by one of two instances, from what it believes to be the tip; it learns the tip sometimes.
func (s *sequence) commit() error {
	v := &s.views[s.rng.IntN(2)]
	if s.rng.IntN(2) == 0 && s.proxy.Ext != nil {
		*v = view{s.proxy.Ext.Commit.Seqno, s.proxy.Ext.Commit.Hash}
	}
	var next bind.Hash
	for i := range next {
		next[i] = byte(s.rng.Uint32())
	}
	query := s.w.Query()
	roots := cell.BeginCell().MustStoreSlice(next[:], 256).MustStoreUInt(0, 256).EndCell()
	payload := head(bind.OpProxyCommit, query).MustStoreAddr(s.w.Proxy.Address).MustStoreUInt(uint64(v.seqno+1), 32).
		MustStoreSlice(v.hash[:], 256).MustStoreSlice(next[:], 256).MustStoreRef(roots)
	*v = view{v.seqno + 1, next}
	return s.sign(s.w.Proxy, bind.OpProxyCommit, payload, query)
}

// replay submits a signed body again, with another excess address, by anybody.
func (s *sequence) replay() error {
	if len(s.bodies) == 0 {
		return nil
	}
	return s.submit(s.bodies[s.rng.IntN(len(s.bodies))])
}

// forge sends what only contracts may send, from somebody else.
func (s *sequence) forge() error {
	stranger := s.w.Actor("stranger")
	sum := uint64(ton)
	switch s.rng.IntN(4) {
	case 0:
		return s.post(stranger, s.anyClient().Address, ton, head(bind.OpClientUnpaid, 1).MustStoreCoins(sum))
	case 1:
		return s.post(stranger, s.anyWorker().Address, ton, head(bind.OpWorkerUnpaid, 1).MustStoreCoins(sum).MustStoreCoins(sum))
	case 2:
		payload := cell.BeginCell().MustStoreUInt(uint64(bind.OpNoteRefundForce), 32).MustStoreCoins(sum).MustStoreAddr(stranger).EndCell()
		state := cell.BeginCell().MustStoreUInt(0, 2).MustStoreCoins(0).MustStoreCoins(0).MustStoreUInt(0, 64).MustStoreUInt(0, 256).EndCell()
		return s.post(stranger, s.w.Proxy.Address, ton, head(bind.OpClientNote, 1).MustStoreAddr(stranger).MustStoreRef(state).MustStoreMaybeRef(payload))
	default:
		payload := cell.BeginCell().MustStoreUInt(uint64(bind.OpNotePayout), 32).MustStoreCoins(sum).MustStoreCoins(sum).MustStoreAddr(stranger).EndCell()
		return s.post(stranger, s.w.Proxy.Address, ton, head(bind.OpWorkerNote, 1).MustStoreAddr(stranger).MustStoreUInt(0, 66).MustStoreMaybeRef(payload))
	}
}

// garbage sends a known operation with random bits, or nothing at all.
func (s *sequence) garbage() error {
	all := append([]bind.Instance{s.w.Proxy}, append(s.w.Clients, s.w.Workers...)...)
	to := all[s.rng.IntN(len(all))]
	ops := bind.Operations()
	b := cell.BeginCell()
	if s.rng.IntN(4) > 0 {
		b = head(ops[s.rng.IntN(len(ops))].Op, s.rng.Uint64())
	}
	for range s.rng.IntN(12) {
		b.MustStoreUInt(s.rng.Uint64(), 64)
	}
	if s.rng.IntN(2) == 0 {
		b.MustStoreRef(cell.BeginCell().MustStoreUInt(s.rng.Uint64(), 64).EndCell())
	}
	return s.post(s.sender(to), to.Address, s.value(new(big.Int)), b)
}

// time moves on: a little, to the edge of a lock, or far.
func (s *sequence) time() error {
	locks := []uint32{s.proxy.UnlockAt, s.clients[0].UnlockAt, s.clients[1].UnlockAt}
	at := locks[s.rng.IntN(len(locks))] + uint32(s.rng.IntN(3)) - 1
	if s.rng.IntN(2) == 0 || at < s.w.Now || at-s.w.Now > 40*86400 {
		at = s.w.Now + []uint32{1, 60, 3600, 86400, 31 * 86400}[s.rng.IntN(5)]
	}
	s.w.Now = at
	return nil
}
