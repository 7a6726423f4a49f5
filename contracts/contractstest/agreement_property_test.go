package contractstest_test

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/contractstest"
)

// TestAgreementInvariants runs random sequences of messages by everybody, honest and hostile, with time between them. The
// invariants of contracts.md section 13.2 hold after every message, and the formulas of package bind give what the
// contract's get method gives.
func TestAgreementInvariants(t *testing.T) {
	count := 300
	if longRun() {
		count = 20_000
	}
	seen := &tally{counts: map[string]int{}}
	runSeeds(t, count, func() (func(uint64) error, error) {
		template, err := newDeal(newChain(t, 12), func(terms *bind.AgreementTerms) { terms.MaxHourly = 0 })
		return func(seed uint64) error { return runDeal(template, seed, seen) }, err
	})
	seen.require(t, "created to closed", "priced to closed", "accepted to closed", "funded to closed", "active to closed", "grace to closed", "grace to active", "active to active", "funded to active", "closed to closed")
}

// tally counts what random sequences came to, so that a test which never gets anywhere fails.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func (c *tally) add(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[what]++
}

func (c *tally) require(t *testing.T, all ...string) {
	t.Helper()
	for _, what := range all {
		if c.counts[what] == 0 {
			t.Errorf("no sequence came to %q: %v", what, c.counts)
		}
	}
}

// runSeeds runs sequences on both cores, each on a copy of what setup made.
func runSeeds(t *testing.T, count int, setup func() (func(uint64) error, error)) {
	t.Helper()
	const lanes = 2
	failures := make(chan error, lanes)
	var wg sync.WaitGroup
	for lane := range lanes {
		run, err := setup()
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			for seed := lane; seed < count; seed += lanes {
				if err := run(uint64(seed)); err != nil {
					failures <- fmt.Errorf("sequence %d: %w", seed, err)
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

// noBounce is what no fee leaves enough of to bounce.
const noBounce bind.Nano = 1_000_000

// dealRun is one random run and the books of an independent reader.
type dealRun struct {
	*deal
	rng      *rand.Rand
	steps    []string
	last     bind.AgreementStorage
	reported bool      // a report of success by the node's key was sent
	toFarmer bind.Nano // paid to the farmer
	toUser   bind.Nano // paid to the user
	ended    uint32    // when it was closed
	old      []bind.Message
	seen     *tally
}

func runDeal(template *deal, seed uint64, seen *tally) error {
	d := template.clone()
	r := &dealRun{deal: d, seen: seen, rng: rand.New(rand.NewPCG(seed, 13))}
	err := r.run()
	if err != nil {
		return fmt.Errorf("%w\nsteps:\n%s\n%s", err, strings.Join(r.steps, "\n"), d.Tree())
	}
	return nil
}

func (r *dealRun) run() error {
	if err := r.prelude(); err != nil {
		return err
	}
	for range 8 + r.rng.IntN(20) {
		if err := r.step(); err != nil {
			return err
		}
	}
	return nil
}

// prelude brings most sequences to where random steps seldom come.
func (r *dealRun) prelude() error {
	if r.rng.IntN(3) > 0 {
		r.hourly = []bind.Nano{1, 7, 3599, 3600, dealHourly, 1 + bind.Nano(r.rng.Uint64N(uint64(10*ton)))}[r.rng.IntN(6)]
		to := bind.AgreementState(1 + r.rng.IntN(int(bind.AgreementActive)))
		if err := r.reach(to); err != nil {
			return err
		}
		r.reported = to == bind.AgreementActive
		r.steps = append(r.steps, fmt.Sprintf("%s at %d per hour", to, r.hourly))
	}
	var err error
	r.last, err = r.state()
	return err
}

// step waits a while, or sends one message.
func (r *dealRun) step() error {
	if r.rng.IntN(3) == 0 {
		r.wait()
		return r.checkFormulas(r.last)
	}
	from := []*address.Address{r.user, r.farmer, r.stranger, r.registry}[r.rng.IntN(4)]
	m, err := r.next(&from)
	if err != nil {
		return err
	}
	body, err := bind.Encode(m)
	if err != nil {
		return err
	}
	value := ton/2 + bind.Nano(r.rng.Uint64N(uint64(ton)))
	f, funds := m.(*bind.AgreementFund)
	if funds {
		value += f.Amount
	}
	switch r.rng.IntN(12) {
	case 0:
		value = []bind.Nano{1, ton/10 - 1, ton / 10, ton / 5}[r.rng.IntN(4)]
	case 1:
		body = r.damage(body)
	}
	r.steps = append(r.steps, fmt.Sprintf("%d: %s by %s with %d", r.Now, m.Op(), r.NameOf(from), value))
	before := r.Balance(r.at.Address)
	if err := r.Send(contractstest.Message{From: from, To: r.at.Address, Value: value, Body: body}); err != nil {
		return err
	}
	if len(r.old) < 8 {
		r.old = append(r.old, m)
	}
	return r.checkAfter(before, value)
}

// wait moves the time to somewhere interesting.
func (r *dealRun) wait() {
	var to uint64
	deadline, _ := r.last.Deadline()
	expires, _ := r.last.ExpiresAt()
	switch r.rng.IntN(5) {
	case 0:
		to = uint64(r.Now) + r.rng.Uint64N(60)
	case 1:
		to = uint64(r.Now) + r.rng.Uint64N(7200)
	case 2:
		to = deadline + r.rng.Uint64N(3) - 1
	case 3:
		to = expires + r.rng.Uint64N(3) - 1
	default:
		to = uint64(r.Now) + r.rng.Uint64N(dealHours*3600)
	}
	if to > uint64(r.Now) && to < uint64(contractstest.Start)+3*365*86400 {
		r.Now = uint32(to)
		r.steps = append(r.steps, fmt.Sprintf("%d", r.Now))
	}
}

// next is a random operation, more often one that the state allows.
func (r *dealRun) next(from **address.Address) (bind.Message, error) {
	if len(r.old) > 0 && r.rng.IntN(10) == 0 {
		return r.old[r.rng.IntN(len(r.old))], nil // a replay, by anybody
	}
	ops := []bind.Op{
		bind.OpAgreementPrice, bind.OpAgreementAccept, bind.OpAgreementAcceptSigned, bind.OpAgreementFund, bind.OpAgreementReport,
		bind.OpAgreementWithdraw, bind.OpAgreementCancel, bind.OpAgreementExpire, bind.OpAgreementUpdateNodeKey,
	}
	op := ops[r.rng.IntN(len(ops))]
	if r.rng.IntN(4) > 0 {
		likely := map[bind.AgreementState][]bind.Op{
			bind.AgreementCreated:  {bind.OpAgreementPrice},
			bind.AgreementPriced:   {bind.OpAgreementAccept, bind.OpAgreementAcceptSigned, bind.OpAgreementFund},
			bind.AgreementAccepted: {bind.OpAgreementFund},
			bind.AgreementFunded:   {bind.OpAgreementReport, bind.OpAgreementReport, bind.OpAgreementFund},
			bind.AgreementActive:   {bind.OpAgreementWithdraw, bind.OpAgreementWithdraw, bind.OpAgreementFund, bind.OpAgreementExpire},
		}[r.last.State]
		if len(likely) > 0 {
			op = likely[r.rng.IntN(len(likely))]
		}
		if op == bind.OpAgreementAccept {
			*from = r.farmer
		}
	}
	m, err := r.message(op)
	if err != nil {
		return nil, err
	}
	return r.vary(m)
}

// vary changes what a hostile or careless sender would change.
func (r *dealRun) vary(m bind.Message) (bind.Message, error) {
	keys := []ed25519.PrivateKey{r.source, r.farm, r.node}
	switch m := m.(type) {
	case *bind.AgreementFund:
		m.Amount = []bind.Nano{0, 1, ton, 5 * ton, dealHours * r.hourly, 1000 * ton, bind.Nano(r.rng.Uint64N(uint64(50 * ton)))}[r.rng.IntN(7)]
		m.Excess = r.excess(m.Excess)
	case *bind.AgreementWithdraw:
		m.Excess = r.excess(m.Excess)
	case *bind.AgreementCancel:
		m.Excess = r.excess(m.Excess)
	case *bind.AgreementPrice:
		p, err := r.pricePayload()
		if err != nil {
			return nil, err
		}
		p.Hourly = []bind.Nano{1, 7, 3599, 3600, r.hourly, 1<<63 - 1, bind.Nano(r.rng.Uint64N(uint64(10 * ton)))}[r.rng.IntN(7)]
		key := r.source
		if r.rng.IntN(5) == 0 {
			key = keys[r.rng.IntN(3)]
		}
		m.Signed, err = bind.Sign(key, r.query(), r.excess(r.stranger), &p)
		return m, err
	case *bind.AgreementReport:
		key, p := r.node, bind.ReportPayload{Agreement: r.at.Address, Result: bind.Deployed, DeployedAt: r.rng.Uint32()}
		if r.rng.IntN(4) == 0 {
			key = keys[r.rng.IntN(3)]
		}
		if r.rng.IntN(4) == 0 {
			p.Result = bind.DeployResult(r.rng.IntN(3))
		}
		if r.rng.IntN(8) == 0 {
			p.Agreement = r.user
		}
		var err error
		m.Signed, err = bind.Sign(key, r.query(), r.excess(r.stranger), &p)
		r.reported = r.reported || (key.Equal(r.node) && p.Result == bind.Deployed && p.Agreement.Equals(r.at.Address))
		return m, err
	}
	return m, nil
}

func (r *dealRun) excess(to *address.Address) *address.Address {
	switch r.rng.IntN(10) {
	case 0:
		return address.NewAddress(0, 5, make([]byte, 32))
	case 1:
		return address.NewAddress(0, 255, r.user.Data()) // masterchain: payable
	}
	return to
}

// damage takes bits from the end of a body, or adds some.
func (r *dealRun) damage(body *cell.Cell) *cell.Cell {
	if r.rng.IntN(2) == 0 || body.BitsSize() < 40 {
		return body.ToBuilder().MustStoreUInt(1, 1).EndCell()
	}
	s := body.MustBeginParse()
	bits := s.BitsLeft() - 1 - uint(r.rng.IntN(30))
	return cell.BeginCell().MustStoreSlice(s.MustLoadSlice(bits), bits).EndCell()
}

// checkAfter holds the invariants to what one message did.
func (r *dealRun) checkAfter(before, value bind.Nano) error {
	if err := r.Check(); err != nil {
		return err
	}
	now, err := r.state()
	if err != nil {
		return err
	}
	was := r.last
	r.last = now
	r.seen.add(fmt.Sprintf("%s to %s", was.StateAt(r.Now), now.StateAt(r.Now)))
	farmer, user := r.paid("farmer"), r.paid("user")
	r.toFarmer += farmer
	r.toUser += user
	if was.State != bind.AgreementClosed && now.State == bind.AgreementClosed {
		r.ended = r.Now
	}
	liability := now.Deposit - now.Paid
	balance := r.Balance(r.at.Address)
	kept := before + (now.Deposit - was.Deposit) // what may stay at most
	if value < noBounce {
		kept += value // too little to be sent back
	}
	if now.Deposit > was.Deposit {
		kept = max(kept, liability+bind.AgreementReserve)
	}
	wasTerms, err := was.Terms.Cell()
	if err != nil {
		return err
	}
	terms, err := now.Terms.Cell()
	if err != nil {
		return err
	}
	for _, rule := range []struct {
		name   string
		broken bool
	}{
		{"terms never change", terms.HashKey() != wasTerms.HashKey()},
		{"the state never goes back", now.State < was.State},
		{"the deposit never shrinks", now.Deposit < was.Deposit},
		{"paid is monotone", now.Paid < was.Paid},
		{"paid is what the farmer got", now.Paid != r.toFarmer},
		{"paid is earned", now.State == bind.AgreementActive && now.Paid > now.Earned(r.Now)},
		{"no message earns anything", was.State == bind.AgreementActive && now.State == bind.AgreementActive && now.Earned(r.Now) != was.Earned(r.Now)},
		{"an open agreement is solvent", now.State != bind.AgreementClosed && balance < liability},
		{"only the node starts it", now.StartedAt != 0 && !r.reported},
		{"no pay before it runs", now.StartedAt == 0 && r.toFarmer != 0},
		{"the user is paid at the end only", now.State != bind.AgreementClosed && r.toUser != 0},
		{"the user gets the rest", now.State == bind.AgreementClosed && r.toUser < now.Deposit-now.Paid},
		{"closed is closed", was.State == bind.AgreementClosed && (farmer != 0 || user != 0 || now.Deposit != was.Deposit)},
		{"the price is fixed", was.Hourly != 0 && now.Hourly != was.Hourly},
		{"the change goes back", balance > kept},
		{"the farmer has exactly the earned at close", was.State == bind.AgreementActive && now.State == bind.AgreementClosed && now.Paid != was.Earned(r.ended)},
	} {
		if rule.broken {
			return fmt.Errorf("%s: before %+v\nafter %+v\nfarmer %d, user %d, balance %d, before %d", rule.name, was, now, r.toFarmer, r.toUser, balance, before)
		}
	}
	return r.checkFormulas(now)
}

// checkFormulas compares the get method with package bind.
func (r *dealRun) checkFormulas(s bind.AgreementStorage) error {
	got, err := r.Get(r.at.Address, "get_agreement_data")
	if err != nil {
		return err
	}
	data, err := bind.ParseAgreementData(got)
	if err != nil {
		return err
	}
	expires, _ := s.ExpiresAt()
	if data.Earned != s.Earned(r.Now) || data.ExpiresAt != expires || data.State != s.StateAt(r.Now) || data.NodeKey != s.Key() {
		return fmt.Errorf("at %d the contract says %+v; computed: earned %d, expires %d, %s", r.Now, data, s.Earned(r.Now), expires, s.StateAt(r.Now))
	}
	return nil
}
