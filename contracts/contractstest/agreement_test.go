package contractstest_test

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"testing"

	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/bind"
	"cocoon/contracts/code"
	"cocoon/contracts/contractstest"
)

// deal is a workload agreement with its parties on a chain of its own.
type deal struct {
	*contractstest.Chain
	terms                            bind.AgreementTerms
	at                               bind.Instance
	user, farmer, stranger, registry *address.Address
	source, farm, node               ed25519.PrivateKey
	hourly                           bind.Nano
	queryID                          uint64
}

const (
	dealHourly = 36 * ton / 10 // 0.001 TON per second
	dealHours  = 10
	dealGrace  = 7200
)

// newDeal deploys an agreement whose prices a key signs, with 0.15 TON.
func newDeal(c *contractstest.Chain, change func(*bind.AgreementTerms)) (*deal, error) {
	d := &deal{
		Chain: c, user: c.Actor("user"), farmer: c.Actor("farmer"), stranger: c.Actor("stranger"), registry: c.Actor("registry"),
		hourly: dealHourly,
		source: contractstest.KeyOf("source"), farm: contractstest.KeyOf("farm"), node: contractstest.KeyOf("node"),
	}
	d.terms = bind.AgreementTerms{
		User: d.user, NodeKey: contractstest.PublicKeyOf(d.node), AcceptBy: c.Now + 3600, DeployBy: c.Now + 7200, Grace: dealGrace,
		MinHours: dealHours, MaxHourly: dealHourly, PriceSource: bind.PriceSigned, Registry: d.registry, SourceKey: contractstest.PublicKeyOf(d.source),
		WorkloadHash: bind.Hash{1}, SizeGiB: 100, WorkloadKind: 2, Farm: 7, Nonce: 1,
	}
	if change != nil {
		change(&d.terms)
	}
	var err error
	if d.at, err = bind.NewAgreement(code.Agreement(), d.terms); err != nil {
		return nil, err
	}
	c.Name(d.at.Address, "agreement")
	return d, c.Send(contractstest.Message{From: d.user, To: d.at.Address, Value: 15 * ton / 100, NoBounce: true, Init: &d.at})
}

func (d *deal) clone() *deal {
	out := *d
	out.Chain = d.Clone()
	return &out
}

func (d *deal) query() uint64 {
	d.queryID++
	return d.queryID
}

func (d *deal) state() (bind.AgreementStorage, error) {
	return bind.ParseAgreementStorage(d.Data(d.at.Address))
}

func (d *deal) tell(from *address.Address, value bind.Nano, m bind.Message) error {
	body, err := bind.Encode(m)
	if err != nil {
		return err
	}
	if err := d.Send(contractstest.Message{From: from, To: d.at.Address, Value: value, Body: body}); err != nil {
		return err
	}
	return d.Check()
}

// pricePayload is a price that the agreement takes.
func (d *deal) pricePayload() (bind.PricePayload, error) {
	terms, err := d.terms.Cell()
	if err != nil {
		return bind.PricePayload{}, err
	}
	return bind.PricePayload{
		Agreement: d.at.Address, Farm: d.terms.Farm, Farmer: d.farmer, Hourly: d.hourly, ValidUntil: d.Now + 600, Version: 3,
		FarmKey: contractstest.PublicKeyOf(d.farm), TermsHash: bind.Hash(terms.Hash()),
	}, nil
}

// message is an operation as the parties send it when all is well.
func (d *deal) message(op bind.Op) (bind.Message, error) {
	q := d.query()
	switch op { //nolint:exhaustive // the operations of an agreement
	case bind.OpAgreementPrice:
		p, err := d.pricePayload()
		if err != nil {
			return nil, err
		}
		s, err := bind.Sign(d.source, q, d.stranger, &p)
		return &bind.AgreementPrice{Signed: s}, err
	case bind.OpAgreementAccept:
		return &bind.AgreementAccept{QueryID: q}, nil
	case bind.OpAgreementAcceptSigned:
		st, err := d.state()
		if err != nil {
			return nil, err
		}
		hash, err := st.Agreed()
		if err != nil {
			return nil, err
		}
		s, err := bind.Sign(d.farm, q, d.stranger, &bind.AcceptPayload{Agreement: d.at.Address, Agreed: hash, ValidUntil: d.Now + 600})
		return &bind.AgreementAcceptSigned{Signed: s}, err
	case bind.OpAgreementFund:
		return &bind.AgreementFund{QueryID: q, Amount: dealHours * d.hourly, Excess: d.stranger}, nil
	case bind.OpAgreementReport:
		s, err := bind.Sign(d.node, q, d.stranger, &bind.ReportPayload{Agreement: d.at.Address, Result: bind.Deployed, DeployedAt: d.Now, LogHash: bind.Hash{9}})
		return &bind.AgreementReport{Signed: s}, err
	case bind.OpAgreementWithdraw:
		return &bind.AgreementWithdraw{QueryID: q, Excess: d.stranger}, nil
	case bind.OpAgreementCancel:
		return &bind.AgreementCancel{QueryID: q, Excess: d.stranger}, nil
	case bind.OpAgreementExpire:
		return &bind.AgreementExpire{QueryID: q, Excess: d.stranger}, nil
	case bind.OpAgreementUpdateNodeKey:
		return &bind.AgreementUpdateNodeKey{QueryID: q, Farm: d.terms.Farm, Key: contractstest.PublicKeyOf(d.node), Excess: d.stranger}, nil
	}
	return nil, fmt.Errorf("%s is not an operation of an agreement", op)
}

// do sends an operation with plenty of value.
func (d *deal) do(from *address.Address, op bind.Op) error {
	m, err := d.message(op)
	if err != nil {
		return err
	}
	value := ton / 2
	if f, ok := m.(*bind.AgreementFund); ok {
		value += f.Amount
	}
	return d.tell(from, value, m)
}

// reach brings a fresh deal to a state, by strangers wherever anyone may act.
func (d *deal) reach(to bind.AgreementState) error {
	steps := []struct {
		from *address.Address
		op   bind.Op
	}{
		{d.stranger, bind.OpAgreementPrice},
		{d.farmer, bind.OpAgreementAccept},
		{d.stranger, bind.OpAgreementFund},
		{d.stranger, bind.OpAgreementReport},
	}
	for _, s := range steps[:min(int(to), len(steps))] {
		if err := d.do(s.from, s.op); err != nil {
			return err
		}
	}
	if to == bind.AgreementGrace {
		d.Now += dealHours*3600 + 1
	}
	if to == bind.AgreementClosed {
		d.Now += 1000
		return d.do(d.user, bind.OpAgreementCancel)
	}
	return nil
}

func reached(tb testing.TB, to bind.AgreementState) *deal {
	tb.Helper()
	d, err := newDeal(newChain(tb, 12), nil)
	if err == nil {
		err = d.reach(to)
	}
	if err != nil {
		tb.Fatal(err)
	}
	d.expect(tb, to)
	return d
}

func (d *deal) expect(tb testing.TB, want bind.AgreementState) bind.AgreementStorage {
	tb.Helper()
	s, err := d.state()
	if err != nil {
		tb.Fatal(err)
	}
	if got := s.StateAt(d.Now); got != want {
		tb.Fatalf("the agreement is %s, want %s\n%s", got, want, d.Tree())
	}
	return s
}

func (d *deal) exit(tb testing.TB, want int) {
	tb.Helper()
	if _, err := d.Find(contractstest.Match{To: "agreement", Exit: &want}); err != nil {
		tb.Error(err)
	}
}

// paid is what an actor received as payments in the last run, without excesses.
func (d *deal) paid(who string) bind.Nano {
	var sum bind.Nano
	for _, tx := range d.Log {
		if tx.To == who && tx.Received && tx.HasOp && tx.Op == bind.OpPayout {
			sum += tx.Value
		}
	}
	return sum
}

var agreementStates = []bind.AgreementState{
	bind.AgreementCreated, bind.AgreementPriced, bind.AgreementAccepted, bind.AgreementFunded, bind.AgreementActive,
	bind.AgreementGrace, bind.AgreementClosed,
}

// TestAgreementOperations: every operation in every state by every caller gives the exit code of the specification, and a
// refused one changes nothing.
func TestAgreementOperations(t *testing.T) {
	const wrong, owner, source, ahead = bind.ExitWrongState, 1010, bind.ExitPriceSource, bind.ExitDeadlineAhead
	all := func(code int, but map[bind.AgreementState]int) map[bind.AgreementState]int {
		out := map[bind.AgreementState]int{}
		for _, s := range agreementStates {
			out[s] = code
		}
		maps.Copy(out, but)
		return out
	}
	only := func(s bind.AgreementState, code int) map[bind.AgreementState]int {
		return all(wrong, map[bind.AgreementState]int{s: code})
	}
	notClosed := func(code int) map[bind.AgreementState]int {
		return all(code, map[bind.AgreementState]int{bind.AgreementClosed: wrong})
	}
	early := func(code int) map[bind.AgreementState]int {
		return all(code, map[bind.AgreementState]int{bind.AgreementActive: wrong, bind.AgreementGrace: wrong, bind.AgreementClosed: wrong})
	}
	running := map[bind.AgreementState]int{bind.AgreementActive: 0, bind.AgreementGrace: 0}
	type row = map[string]map[bind.AgreementState]int // by caller
	table := map[bind.Op]row{
		bind.OpAgreementPrice:         {"stranger": only(bind.AgreementCreated, 0), "user": only(bind.AgreementCreated, 0)},
		bind.OpAgreementAccept:        {"stranger": only(bind.AgreementPriced, owner), "user": only(bind.AgreementPriced, owner), "farmer": only(bind.AgreementPriced, 0)},
		bind.OpAgreementFund:          {"stranger": notClosed(0), "user": notClosed(0)},
		bind.OpAgreementReport:        {"stranger": only(bind.AgreementFunded, 0), "user": only(bind.AgreementFunded, 0)},
		bind.OpAgreementWithdraw:      {"stranger": all(wrong, running), "farmer": all(wrong, running), "user": all(wrong, running)},
		bind.OpAgreementCancel:        {"stranger": notClosed(owner), "farmer": notClosed(owner), "user": notClosed(0)},
		bind.OpAgreementExpire:        {"stranger": notClosed(ahead), "user": notClosed(ahead), "farmer": notClosed(ahead)},
		bind.OpAgreementUpdateNodeKey: {"stranger": early(source), "registry": early(source), "farmer": early(source)},
		bind.OpClientTopUp:            {"stranger": all(1012, nil), "user": all(1012, nil)},
	}
	templates := map[bind.AgreementState]*deal{}
	for _, s := range agreementStates {
		templates[s] = reached(t, s)
	}
	for op, callers := range table {
		for caller, exits := range callers {
			for state, want := range exits {
				t.Run(fmt.Sprintf("%s by %s when %s", op, caller, state), func(t *testing.T) {
					d := templates[state].clone()
					before := d.Data(d.at.Address).HashKey()
					var err error
					if op == bind.OpClientTopUp {
						err = d.tell(d.Actor(caller), ton, &bind.ClientTopUp{Excess: d.user})
					} else {
						err = d.do(d.Actor(caller), op)
					}
					if err != nil {
						t.Fatal(err)
					}
					d.exit(t, want)
					if want != 0 && d.Data(d.at.Address).HashKey() != before {
						t.Error("a refused message changed the storage")
					}
				})
			}
		}
	}
	// Accepting by signature needs the price that is signed for.
	for _, state := range agreementStates {
		d := templates[state].clone()
		if err := d.do(d.stranger, bind.OpAgreementAcceptSigned); err != nil {
			t.Fatal(err)
		}
		d.exit(t, only(bind.AgreementPriced, 0)[state])
	}
}

// TestAgreementRefusals: what is wrong with a message, and the exit code for it.
func TestAgreementRefusals(t *testing.T) {
	sign := func(d *deal, key ed25519.PrivateKey, p bind.SignedPayload) bind.Signed {
		s, err := bind.Sign(key, d.query(), d.stranger, p)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	price := func(change func(*deal, *bind.PricePayload)) func(*deal) bind.Message {
		return func(d *deal) bind.Message {
			p, err := d.pricePayload()
			if err != nil {
				t.Fatal(err)
			}
			change(d, &p)
			return &bind.AgreementPrice{Signed: sign(d, d.source, &p)}
		}
	}
	report := func(change func(*deal, *bind.ReportPayload)) func(*deal) bind.Message {
		return func(d *deal) bind.Message {
			p := bind.ReportPayload{Agreement: d.at.Address, Result: bind.Deployed}
			change(d, &p)
			return &bind.AgreementReport{Signed: sign(d, d.node, &p)}
		}
	}
	accept := func(change func(*deal, *bind.AcceptPayload)) func(*deal) bind.Message {
		return func(d *deal) bind.Message {
			s, err := d.state()
			if err != nil {
				t.Fatal(err)
			}
			hash, err := s.Agreed()
			if err != nil {
				t.Fatal(err)
			}
			p := bind.AcceptPayload{Agreement: d.at.Address, Agreed: hash, ValidUntil: d.Now}
			change(d, &p)
			return &bind.AgreementAcceptSigned{Signed: sign(d, d.farm, &p)}
		}
	}
	odd := address.NewAddress(0, 5, make([]byte, 32)) // no such workchain
	for name, c := range map[string]struct {
		state bind.AgreementState
		wait  uint32
		value bind.Nano
		make  func(*deal) bind.Message
		want  int
	}{
		"price of another key": {bind.AgreementCreated, 0, ton, func(d *deal) bind.Message {
			p, err := d.pricePayload()
			if err != nil {
				t.Fatal(err)
			}
			return &bind.AgreementPrice{Signed: sign(d, d.node, &p)}
		}, 1007},
		"price of another operation": {bind.AgreementCreated, 0, ton, func(d *deal) bind.Message {
			return &bind.AgreementPrice{Signed: sign(d, d.source, &bind.ReportPayload{Agreement: d.at.Address})}
		}, 1005},
		"price for another agreement":           {bind.AgreementCreated, 0, ton, price(func(d *deal, p *bind.PricePayload) { p.Agreement = d.user }), 1015},
		"price for another farm":                {bind.AgreementCreated, 0, ton, price(func(_ *deal, p *bind.PricePayload) { p.Farm++ }), bind.ExitPriceSource},
		"price for other terms":                 {bind.AgreementCreated, 0, ton, price(func(_ *deal, p *bind.PricePayload) { p.TermsHash[0]++ }), bind.ExitPriceSource},
		"price above the limit":                 {bind.AgreementCreated, 0, ton, price(func(_ *deal, p *bind.PricePayload) { p.Hourly++ }), bind.ExitPriceSource},
		"price of nothing":                      {bind.AgreementCreated, 0, ton, price(func(_ *deal, p *bind.PricePayload) { p.Hourly = 0 }), bind.ExitAmount},
		"price too late":                        {bind.AgreementCreated, 0, ton, price(func(d *deal, p *bind.PricePayload) { p.ValidUntil = d.Now - 1 }), bind.ExitDeadlinePassed},
		"price after accept_by":                 {bind.AgreementCreated, 3601, ton, price(func(*deal, *bind.PricePayload) {}), bind.ExitDeadlinePassed},
		"price at accept_by":                    {bind.AgreementCreated, 3600, ton, price(func(*deal, *bind.PricePayload) {}), 0},
		"price for a farmer who cannot be paid": {bind.AgreementCreated, 0, ton, price(func(_ *deal, p *bind.PricePayload) { p.Farmer = odd }), 1018},
		"accept by key for another price":       {bind.AgreementPriced, 0, ton, accept(func(_ *deal, p *bind.AcceptPayload) { p.Agreed[0]++ }), 1005},
		"accept by key for another agreement":   {bind.AgreementPriced, 0, ton, accept(func(d *deal, p *bind.AcceptPayload) { p.Agreement = d.user }), 1015},
		"accept by key too late":                {bind.AgreementPriced, 0, ton, accept(func(_ *deal, p *bind.AcceptPayload) { p.ValidUntil-- }), bind.ExitDeadlinePassed},
		"accept by key in time":                 {bind.AgreementPriced, 0, ton, accept(func(*deal, *bind.AcceptPayload) {}), 0},
		"accept after accept_by":                {bind.AgreementPriced, 3601, ton, accept(func(*deal, *bind.AcceptPayload) {}), bind.ExitDeadlinePassed},
		"report of another key": {bind.AgreementFunded, 0, ton, func(d *deal) bind.Message {
			return &bind.AgreementReport{Signed: sign(d, d.farm, &bind.ReportPayload{Agreement: d.at.Address, Result: bind.Deployed})}
		}, 1007},
		"report for another agreement": {bind.AgreementFunded, 0, ton, report(func(d *deal, p *bind.ReportPayload) { p.Agreement = d.user }), 1015},
		"report of an unknown result":  {bind.AgreementFunded, 0, ton, report(func(_ *deal, p *bind.ReportPayload) { p.Result = 2 }), 1005},
		"report after deploy_by":       {bind.AgreementFunded, 7201, ton, report(func(*deal, *bind.ReportPayload) {}), bind.ExitDeadlinePassed},
		"report at deploy_by":          {bind.AgreementFunded, 7200, ton, report(func(*deal, *bind.ReportPayload) {}), 0},
		"fund of nothing":              {bind.AgreementAccepted, 0, ton, func(d *deal) bind.Message { return &bind.AgreementFund{Excess: d.user} }, bind.ExitAmount},
		"fund without commission":      {bind.AgreementAccepted, 0, ton, func(d *deal) bind.Message { return &bind.AgreementFund{Amount: 9*ton/10 + 1, Excess: d.user} }, 1003},
		"fund with commission":         {bind.AgreementAccepted, 0, ton, func(d *deal) bind.Message { return &bind.AgreementFund{Amount: 9 * ton / 10, Excess: d.user} }, 0},
		"fund after deploy_by":         {bind.AgreementAccepted, 7201, ton, func(d *deal) bind.Message { return &bind.AgreementFund{Amount: 1, Excess: d.user} }, bind.ExitDeadlinePassed},
		"fund at the end of grace":     {bind.AgreementGrace, dealGrace - 1, ton, func(d *deal) bind.Message { return &bind.AgreementFund{Amount: 1, Excess: d.user} }, 0},
		"fund after grace":             {bind.AgreementGrace, dealGrace, ton, func(d *deal) bind.Message { return &bind.AgreementFund{Amount: 1, Excess: d.user} }, bind.ExitDeadlinePassed},
		"withdraw without value":       {bind.AgreementActive, 9, ton/10 - 1, func(d *deal) bind.Message { return &bind.AgreementWithdraw{Excess: d.user} }, 1003},
		"withdraw with just the value": {bind.AgreementActive, 9, ton / 10, func(d *deal) bind.Message { return &bind.AgreementWithdraw{Excess: d.user} }, 0},
		"withdraw, change unpayable":   {bind.AgreementActive, 9, ton, func(*deal) bind.Message { return &bind.AgreementWithdraw{Excess: odd} }, 1018},
		"expire before accept_by":      {bind.AgreementPriced, 3600, ton, func(d *deal) bind.Message { return &bind.AgreementExpire{Excess: d.user} }, bind.ExitDeadlineAhead},
		"expire after accept_by":       {bind.AgreementPriced, 3601, ton, func(d *deal) bind.Message { return &bind.AgreementExpire{Excess: d.user} }, 0},
		"expire before deploy_by":      {bind.AgreementFunded, 7200, ton, func(d *deal) bind.Message { return &bind.AgreementExpire{Excess: d.user} }, bind.ExitDeadlineAhead},
		"expire after deploy_by":       {bind.AgreementFunded, 7201, ton, func(d *deal) bind.Message { return &bind.AgreementExpire{Excess: d.user} }, 0},
		"expire in grace":              {bind.AgreementGrace, dealGrace - 1, ton, func(d *deal) bind.Message { return &bind.AgreementExpire{Excess: d.user} }, bind.ExitDeadlineAhead},
		"expire after grace":           {bind.AgreementGrace, dealGrace, ton, func(d *deal) bind.Message { return &bind.AgreementExpire{Excess: d.user} }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := reached(t, c.state)
			d.Now += c.wait
			if err := d.tell(d.user, c.value, c.make(d)); err != nil {
				t.Fatal(err)
			}
			d.exit(t, c.want)
		})
	}
}

// TestAgreementCancelSplitsExactly: a cancel at any time gives the farmer exactly what is earned and the user exactly the
// rest, whatever was withdrawn before.
func TestAgreementCancelSplitsExactly(t *testing.T) {
	const deposit = dealHours * dealHourly
	for _, seconds := range []uint32{0, 1, 2, 7, 3599, 3600, 12345, dealHours*3600 - 1, dealHours * 3600, dealHours*3600 + 1, dealHours*3600 + dealGrace} {
		for _, withdrawAfter := range []uint32{0, 5, 3601} {
			if withdrawAfter > seconds {
				continue
			}
			d := reached(t, bind.AgreementActive)
			earned := min(bind.Nano(seconds)*dealHourly/3600, deposit)
			d.Now += withdrawAfter
			if err := d.do(d.stranger, bind.OpAgreementWithdraw); err != nil {
				t.Fatal(err)
			}
			already := d.paid("farmer")
			same(t, "withdrawn", already, bind.Nano(withdrawAfter)*dealHourly/3600)
			d.Now += seconds - withdrawAfter
			before := d.expect(t, map[bool]bind.AgreementState{true: bind.AgreementGrace, false: bind.AgreementActive}[seconds > dealHours*3600])
			farmer, user := before.Split(d.Now)
			if err := d.do(d.user, bind.OpAgreementCancel); err != nil {
				t.Fatal(err)
			}
			same(t, "the farmer's part", already+d.paid("farmer"), earned)
			same(t, "the farmer's part as computed", d.paid("farmer"), farmer)
			same(t, "the user's part as computed", user, deposit-earned)
			// What was deployed above the reserve goes back to the user too, less the rent.
			if over := d.paid("user") - user; over > 5*ton/100 {
				t.Errorf("the user was paid %d, want %d and at most 0.05 TON of overpay", d.paid("user"), user)
			}
			d.expect(t, bind.AgreementClosed)
			if left := d.Balance(d.at.Address); left < bind.AgreementReserve-ton/1000 || left > bind.AgreementReserve {
				t.Errorf("%d is left in the agreement", left)
			}
		}
	}
}

// TestAgreementFailedDeployment: a node that reports failure ends the agreement and the user has everything back.
func TestAgreementFailedDeployment(t *testing.T) {
	d := reached(t, bind.AgreementFunded)
	s, err := bind.Sign(d.node, 1, d.stranger, &bind.ReportPayload{Agreement: d.at.Address, Result: bind.DeployFailed})
	if err == nil {
		err = d.tell(d.stranger, ton, &bind.AgreementReport{Signed: s})
	}
	if err != nil {
		t.Fatal(err)
	}
	d.expect(t, bind.AgreementClosed)
	same(t, "the farmer's part", d.paid("farmer"), 0)
	if d.paid("user") < dealHours*dealHourly {
		t.Errorf("the user has %d back of %d", d.paid("user"), dealHours*dealHourly)
	}
}

// TestAgreementGrace: in grace nothing is earned; a fund starts the clock again without the time in between.
func TestAgreementGrace(t *testing.T) {
	d := reached(t, bind.AgreementGrace)
	d.Now += 999 // one second of grace before
	full := d.expect(t, bind.AgreementGrace).Earned(d.Now)
	same(t, "earned when the deposit is used up", full, dealHours*dealHourly)
	if err := d.tell(d.stranger, 2*ton+dealHourly, &bind.AgreementFund{Amount: dealHourly, Excess: d.stranger}); err != nil {
		t.Fatal(err)
	}
	s := d.expect(t, bind.AgreementActive)
	same(t, "earned at the fund", s.Earned(d.Now), full)
	expires, _ := s.ExpiresAt()
	same(t, "expires", expires, uint64(d.Now)+3600)
	d.Now += 10
	same(t, "earned ten seconds later", s.Earned(d.Now), full+10*dealHourly/3600)
	if err := d.do(d.farmer, bind.OpAgreementWithdraw); err != nil {
		t.Fatal(err)
	}
	same(t, "withdrawn", d.paid("farmer"), full+10*dealHourly/3600)
}

// TestAgreementRent: an agreement that nobody touches for years can still pay all it owes.
func TestAgreementRent(t *testing.T) {
	d, err := newDeal(newChain(t, 12), func(terms *bind.AgreementTerms) { terms.MinHours = 1 })
	if err == nil {
		err = d.reach(bind.AgreementActive)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.Now += 4 * 365 * 86400
	if err := d.do(d.user, bind.OpAgreementExpire); err != nil {
		t.Fatal(err)
	}
	d.expect(t, bind.AgreementClosed)
	same(t, "the farmer's part", d.paid("farmer"), dealHours*dealHourly)
}

// TestAgreementForgery: a state deployed ready-made has another address than its terms.
func TestAgreementForgery(t *testing.T) {
	d := reached(t, bind.AgreementActive)
	s, err := d.state()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bind.OpenAgreement(code.Agreement(), d.at.Address, d.Data(d.at.Address)); err != nil {
		t.Error(err)
	}
	data, err := s.Cell()
	if err != nil {
		t.Fatal(err)
	}
	forged, err := bind.Address(code.Agreement(), data)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bind.OpenAgreement(code.Agreement(), forged, data); err == nil {
		t.Error("a forged state opens as an agreement")
	}
}

// TestAgreementStartsOver: a closed agreement stays closed when it is deployed again, and the old signatures do nothing.
func TestAgreementStartsOver(t *testing.T) {
	d := reached(t, bind.AgreementFunded)
	report, err := d.message(bind.OpAgreementReport)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.do(d.user, bind.OpAgreementCancel); err != nil {
		t.Fatal(err)
	}
	if err := d.Send(contractstest.Message{From: d.user, To: d.at.Address, Value: ton, NoBounce: true, Init: &d.at}); err != nil {
		t.Fatal(err)
	}
	d.expect(t, bind.AgreementClosed)
	if err := d.tell(d.stranger, ton, report); err != nil {
		t.Fatal(err)
	}
	d.exit(t, bind.ExitWrongState)
}

// TestAgreementGet: the get method says what the storage and the formulas here say.
func TestAgreementGet(t *testing.T) {
	for _, state := range agreementStates {
		d := reached(t, state)
		s := d.expect(t, state)
		got, err := d.Get(d.at.Address, "get_agreement_data")
		if err != nil {
			t.Fatal(err)
		}
		data, err := bind.ParseAgreementData(got)
		if err != nil {
			t.Fatal(err)
		}
		expires, _ := s.ExpiresAt()
		earned := s.Earned(d.Now)
		if data.State != state || data.Earned != earned || data.ExpiresAt != expires || data.Deposit != s.Deposit || !data.User.Equals(d.user) {
			t.Errorf("%s: get method says %+v, storage %+v, earned %d, expires %d", state, data, s, earned, expires)
		}
	}
}

// FuzzAgreementFormulas: whatever the numbers in its storage, the contract computes what package bind computes.
func FuzzAgreementFormulas(f *testing.F) {
	start := contractstest.Start
	f.Add(uint64(dealHourly), uint64(10*dealHourly), uint64(5), start, start+100, uint8(0))
	f.Add(uint64(1), uint64(1<<63-1), uint64(0), start, start*2, uint8(1))
	f.Add(uint64(1<<63-1), uint64(1<<63-1), uint64(0), start, start+3601, uint8(0))
	f.Add(uint64(3601), uint64(3599), uint64(3599), start, start+1, uint8(0))
	f.Add(uint64(7), uint64(0), uint64(0), uint32(1), uint32(1), uint8(2))
	d, err := newDeal(newChain(f, 12), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, hourly, deposit, paid uint64, started, now uint32, state uint8) {
		s := bind.AgreementStorage{
			State:  []bind.AgreementState{bind.AgreementActive, bind.AgreementActive, bind.AgreementClosed, bind.AgreementFunded}[state%4],
			Hourly: bind.Nano(hourly>>1) | 1, Deposit: bind.Nano(deposit >> 1), StartedAt: max(started, 1), Terms: d.terms,
		}
		if s.State == bind.AgreementFunded {
			s.StartedAt = 0
		}
		if s.Deposit > 0 && s.State != bind.AgreementFunded {
			s.Paid = min(bind.Nano(paid>>1), s.Deposit)
		}
		data, err := s.Cell()
		if err != nil {
			t.Fatal(err)
		}
		at, err := bind.Address(code.Agreement(), data)
		if err != nil {
			t.Fatal(err)
		}
		c := d.Clone()
		c.Now = max(now, s.StartedAt)
		in := bind.Instance{Code: code.Agreement(), Data: data, Address: at}
		if err := c.Send(contractstest.Message{From: d.user, To: at, Value: ton, NoBounce: true, Init: &in}); err != nil {
			t.Fatal(err)
		}
		got, err := c.Get(at, "get_agreement_data")
		if err != nil {
			t.Fatal(err)
		}
		contract, err := bind.ParseAgreementData(got)
		if err != nil {
			t.Fatal(err)
		}
		expires, _ := s.ExpiresAt()
		earned := s.Earned(c.Now)
		if s.State == bind.AgreementFunded {
			earned = 0
		}
		if contract.Earned != earned || contract.ExpiresAt != expires || contract.State != s.StateAt(c.Now) {
			t.Errorf("%+v at %d: the contract says %+v; computed: earned %d, expires %d, %s", s, c.Now, contract, earned, expires, s.StateAt(c.Now))
		}
	})
}
