package bind

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"hash/crc32"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/tests/golden"
)

// TestGovernedOperationTable: the codes of governor, agreement and registry are the CRC-32 of their names, and the vectors
// have those that were agreed on.
func TestGovernedOperationTable(t *testing.T) {
	vectors := map[string]string{}
	var v struct {
		Opcodes []struct{ Op, Name string }
	}
	golden.JSON(t, "contracts/opcodes.json", &v)
	for _, row := range v.Opcodes {
		vectors[row.Name] = row.Op
	}
	rows := slices.Concat(governorOperations(), agreementOperations(), farmOperations())
	for _, row := range rows {
		contract, name, _ := strings.Cut(row.Name, "_")
		name = strings.TrimPrefix(name, "signed_")
		sum := crc32.ChecksumIEEE([]byte("cocoon." + contract + "." + name))
		if uint32(row.Op) != sum {
			t.Errorf("%s is %08x, want the CRC-32 %08x", row.Name, uint32(row.Op), sum)
		}
		if want, ok := vectors[row.Name]; ok && fmt.Sprintf("%08x", uint32(row.Op)) != want {
			t.Errorf("%s is %08x, the vectors say %s", row.Name, uint32(row.Op), want)
		}
		if row.New != nil && row.New().Op() != row.Op {
			t.Errorf("%s makes a message of %s", row.Name, row.New().Op())
		}
		delete(vectors, row.Name)
	}
	for name := range vectors {
		if contract, _, _ := strings.Cut(name, "_"); slices.Contains([]string{"governor", "agreement", "farm"}, contract) {
			t.Errorf("%s is not in the table", name)
		}
	}
}

func governed(rng *rand.Rand) GovernorStorage {
	addrs := func(n int) []*address.Address {
		var out []*address.Address
		for i := range rng.IntN(n + 1) {
			out = append(out, anyAddr(byte(i)))
		}
		return out
	}
	hashes := func(n int) []Hash {
		var out []Hash
		for i := range rng.IntN(n + 1) {
			out = append(out, Hash{byte(i), 1})
		}
		return out
	}
	entries := func() []Entry {
		var out []Entry
		for _, h := range hashes(5) {
			out = append(out, Entry{
				Hash: h, State: EntryState(rng.IntN(5)), AddedAt: rng.Uint32(), EffectiveFrom: rng.Uint32(), DrainAt: rng.Uint32(),
				RevokedAt: rng.Uint32(), Reason: uint8(rng.IntN(256)), ManifestHash: Hash{3}, SourceHash: Hash{4}, Proposal: rng.Uint64(), Builders: hashes(3),
			})
		}
		return out
	}
	s := GovernorStorage{
		Root: anyAddr(1), Owner: anyAddr(2), LastProposal: rng.Uint64(), LastEvent: rng.Uint64(),
		Rules: Rules{Threshold: 2, DelayAdd: 1, DelayUpgrade: 2, Proposers: addrs(3), Approvers: addrs(5), Revokers: addrs(2), Builders: hashes(4)},
		Lists: GovernorLists{Proxies: entries(), Workers: entries(), Models: entries()},
	}
	for i := range rng.IntN(4) {
		s.Proposals = append(s.Proposals, Proposal{ID: uint64(i), Kind: KindPrice, By: anyAddr(1), MadeAt: 1, NotBefore: 2, Expires: 3, Approvals: addrs(4), Body: anyCell(9)})
		s.Lists.Pending = append(s.Lists.Pending, PendingChange{QueryID: uint64(i), Actor: anyAddr(3), List: ListNone, Undo: anyCell(3)})
	}
	if rng.IntN(2) == 0 {
		s.Offer = &Offer{Target: OfferRoot, To: anyAddr(9), NotBefore: 7}
	}
	return s
}

func agreementOf(rng *rand.Rand) AgreementStorage {
	s := AgreementStorage{
		State: AgreementState(rng.IntN(5)), Hourly: Nano(rng.Uint64N(1 << 40)), Deposit: Nano(rng.Uint64() >> 1), StartedAt: rng.Uint32(),
		Terms: AgreementTerms{User: anyAddr(1), NodeKey: Hash{2}, AcceptBy: 3, DeployBy: 4, Grace: 5, MinHours: 6, MaxHourly: 7, Registry: anyAddr(8), Farm: 9, Nonce: 10},
	}
	if rng.IntN(2) == 0 {
		s.NodeKey = &Hash{3}
		s.Price = &AcceptedPrice{Farmer: anyAddr(4), FarmKey: Hash{5}, Version: 6}
	}
	return s
}

func farms(rng *rand.Rand) FarmStorage {
	s := FarmStorage{NextFarm: rng.Uint64()}
	for i := range rng.IntN(4) {
		f := Farm{ID: uint64(i), Owner: anyAddr(1), Payout: anyAddr(2), Key: Hash{3}, Version: 4, Prices: []WorkloadPrice{{1, 2}, {3, 4}}}
		if i%2 == 0 {
			f.Offered = anyAddr(7)
		}
		s.Farms = append(s.Farms, f)
		s.Nodes = append(s.Nodes, FarmNode{Hash{byte(i)}, uint64(i)})
	}
	return s
}

// TestGovernedStorageRoundTrip: each storage reads back as it was written, and a bit more or less is refused.
func TestGovernedStorageRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	for range 50 {
		roundTrip(t, governed(rng), ParseGovernorStorage)
		roundTrip(t, agreementOf(rng), ParseAgreementStorage)
		roundTrip(t, farms(rng), ParseFarmStorage)
		roundTrip(t, GovernorEvent{
			Seqno: rng.Uint64(), Kind: EventRevoked, Actor: anyAddr(1), List: ListModels, Hash: Hash{1}, Old: EntryActive, New: EntryRevoked, At: 5,
			Entry: &Entry{Hash: Hash{1}, State: EntryRevoked},
		}, ParseGovernorEvent)
	}
}

// FuzzGovernedStorage: no cell crashes a parser, and what one reads is written back to the same cell.
func FuzzGovernedStorage(f *testing.F) {
	rng := rand.New(rand.NewPCG(6, 6))
	for range 3 {
		f.Add(seed(f, governed(rng)))
		f.Add(seed(f, agreementOf(rng)))
		f.Add(seed(f, farms(rng)))
	}
	f.Add(seed(f, GovernorEvent{Actor: anyAddr(1), New: EntryActive, Entry: &Entry{}}))
	f.Fuzz(func(t *testing.T, boc []byte) {
		c, err := cell.FromBOC(boc)
		if err != nil {
			return
		}
		if v, err := ParseGovernorStorage(c); err == nil {
			again(t, c, v)
		}
		if v, err := ParseAgreementStorage(c); err == nil {
			again(t, c, v)
		}
		if v, err := ParseFarmStorage(c); err == nil {
			again(t, c, v)
		}
		if v, err := ParseGovernorEvent(c); err == nil {
			again(t, c, v)
		}
	})
}

// FuzzGovernedMessage: no body crashes the decoder, and what it reads is written back to the same cell.
func FuzzGovernedMessage(f *testing.F) {
	for _, m := range []Message{
		&GovernorPropose{Kind: KindAdd, Body: anyCell(1)}, &GovernorAttest{Key: Hash{1}}, &GovernorOfferOwner{To: anyAddr(1)},
		&AgreementPrice{Signed{Excess: anyAddr(1), Payload: anyCell(2)}}, &AgreementFund{Amount: 7, Excess: anyAddr(1)},
		&AgreementUpdateNodeKey{Excess: anyAddr(1)}, &FarmQuote{Excess: anyAddr(1), Agreement: anyAddr(2), Terms: anyCell(3)},
		&FarmRegister{Excess: anyAddr(1), FarmTerms: FarmTerms{Payout: anyAddr(2), Prices: []WorkloadPrice{{1, 2}}}},
	} {
		body, err := Encode(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body.ToBOC())
	}
	f.Fuzz(func(t *testing.T, boc []byte) {
		c, err := cell.FromBOC(boc)
		if err != nil {
			return
		}
		for _, to := range []Contract{ContractGovernor, ContractAgreement, ContractFarm} {
			m, err := Decode(to, c)
			if err != nil {
				continue
			}
			back, err := Encode(m)
			if err != nil {
				t.Fatalf("what %s reads is not written: %v", to, err)
			}
			if back.HashKey() != c.HashKey() {
				t.Fatalf("%s read\n%s\nand wrote\n%s", to, c.Dump(), back.Dump())
			}
		}
	})
}

// TestGovernedPayloads: what is signed reads back, and only its own operation reads it.
func TestGovernedPayloads(t *testing.T) {
	key := testKey()
	price := PricePayload{Agreement: anyAddr(1), Farm: 2, Farmer: anyAddr(3), Hourly: 4, ValidUntil: 5, Version: 6, FarmKey: Hash{7}, TermsHash: Hash{8}}
	accept := AcceptPayload{Agreement: anyAddr(1), Agreed: Hash{2}, ValidUntil: 3}
	report := ReportPayload{Agreement: anyAddr(1), Result: Deployed, DeployedAt: 2, LogHash: Hash{3}}
	for name, p := range map[string]SignedPayload{"price": &price, "accept": &accept, "report": &report} {
		s, err := Sign(key, 1, anyAddr(9), p)
		if err != nil {
			t.Fatal(err)
		}
		if !s.Verify(Hash(key[ed25519.SeedSize:])) {
			t.Errorf("%s: the signature does not verify", name)
		}
		gotPrice, err1 := ParsePricePayload(s.Payload)
		gotAccept, err2 := ParseAcceptPayload(s.Payload)
		gotReport, err3 := ParseReportPayload(s.Payload)
		for reader, err := range map[string]error{"price": err1, "accept": err2, "report": err3} {
			if (err == nil) != (reader == name) {
				t.Errorf("%s as %s: %v", name, reader, err)
			}
		}
		want, got := map[string]any{"price": price, "accept": accept, "report": report}, map[string]any{"price": gotPrice, "accept": gotAccept, "report": gotReport}
		if diff := cmp.Diff(want[name], got[name], options()); diff != "" {
			t.Errorf("%s (-signed +read):\n%s", name, diff)
		}
	}
}

// TestProposals: a proposal exists for the root's changes that a governor may make, and reads back as the root's message.
func TestProposals(t *testing.T) {
	from := Provenance{ManifestHash: Hash{1}, SourceHash: Hash{2}, EffectiveFrom: 3}
	for name, c := range map[string]struct {
		change Message
		from   Provenance
		want   string // part of the error
	}{
		"add a proxy":          {&RootHash{Change: OpRootAddProxyType, Hash: Hash{5}}, from, ""},
		"add a worker":         {&RootHash{Change: OpRootAddWorkerType, Hash: Hash{5}}, from, ""},
		"add a model":          {&RootHash{Change: OpRootAddModelType, Hash: Hash{5}}, from, ""},
		"add without manifest": {&RootHash{Change: OpRootAddModelType, Hash: Hash{5}}, Provenance{}, "no manifest hash"},
		"delete":               {&RootHash{Change: OpRootDelModelType, Hash: Hash{5}}, from, "revoke or deprecate"},
		"price":                {&RootChangePrice{PricePerToken: 2, WorkerFee: 1}, from, ""},
		"proxy":                {&RootRegisterProxy{Addr: "1.2.3.4:5"}, from, ""},
		"reset":                {new(RootReset), from, "move the root"},
		"owner":                {&RootChangeOwner{Owner: anyAddr(1)}, from, "move the root"},
		"everything":           {&RootUpgradeFull{Data: anyCell(1), Code: anyCell(2)}, from, "move the root"},
		"another contract's":   {&ClientTopUp{Excess: anyAddr(1)}, from, "move the root"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := ProposeChange(7, c.change, c.from)
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want an error with %q", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			p := Proposal{ID: 1, Kind: m.Kind, Body: m.Body, By: anyAddr(1)}
			back, err := p.Change(0)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.change, back, options()); diff != "" {
				t.Errorf("(-change +proposed):\n%s", diff)
			}
			if vote := p.Approve(9); vote.BodyHash != Hash(m.Body.Hash()) || vote.Proposal != 1 {
				t.Errorf("the vote is %+v", vote)
			}
		})
	}
	rules := Rules{Threshold: 1, Approvers: []*address.Address{anyAddr(1)}, DelayAdd: 5}
	m, err := ProposeRules(1, rules)
	if err != nil {
		t.Fatal(err)
	}
	p := Proposal{Kind: m.Kind, Body: m.Body}
	got, err := p.NewRules()
	if diff := cmp.Diff(rules, got, options()); diff != "" || err != nil {
		t.Errorf("rules: %v\n%s", err, diff)
	}
	if change, err := p.Change(1); change != nil || err != nil {
		t.Errorf("rules become %v, %v", change, err)
	}
	if _, err := p.Addition(); err == nil {
		t.Error("rules read as an addition")
	}
	rules.Threshold = 2
	if _, err := ProposeRules(1, rules); err == nil {
		t.Error("rules that nobody can fulfil are proposed")
	}
}

// TestNotYet: a proposal that cannot be executed says what is missing and how the contract would refuse it.
func TestNotYet(t *testing.T) {
	base := GovernorStorage{
		Owner: anyAddr(9), Rules: Rules{Threshold: 1, Approvers: []*address.Address{anyAddr(1)}},
		Proposals: []Proposal{{ID: 1, Kind: KindPrice, By: anyAddr(2), NotBefore: 100, Expires: 200, Body: anyCell(1)}},
	}
	for name, c := range map[string]struct {
		change func(*Proposal)
		id     uint64
		now    uint32
		exit   int
		why    string
	}{
		"unknown":            {nil, 2, 100, ExitProposal, "unknown"},
		"expired":            {nil, 1, 201, ExitProposal, "propose again"},
		"no votes":           {nil, 1, 100, ExitRole, "0 of 1"},
		"vote of nobody":     {func(p *Proposal) { p.Approvals = []*address.Address{anyAddr(7)} }, 1, 100, ExitRole, "0 of 1"},
		"too early":          {func(p *Proposal) { p.Approvals = []*address.Address{anyAddr(1)} }, 1, 99, ExitTimelock, "until 100"},
		"ready":              {func(p *Proposal) { p.Approvals = []*address.Address{anyAddr(1)} }, 1, 200, 0, ""},
		"the owner's rules":  {func(p *Proposal) { p.Kind, p.By = KindRules, anyAddr(9) }, 1, 100, 0, ""},
		"a proposer's rules": {func(p *Proposal) { p.Kind = KindRules }, 1, 100, ExitRole, "0 of 1"},
	} {
		t.Run(name, func(t *testing.T) {
			s := base
			s.Proposals = slices.Clone(base.Proposals)
			if c.change != nil {
				c.change(&s.Proposals[0])
			}
			_, err := s.Execute(1, c.id, c.now)
			var notYet *NotYetError
			if c.exit == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.As(err, &notYet) || notYet.Exit != c.exit || !strings.Contains(err.Error(), c.why) {
				t.Errorf("got %v, want exit %d and %q", err, c.exit, c.why)
			}
		})
	}
}

// FuzzEarned: the formulas are those of unbounded arithmetic.
func FuzzEarned(f *testing.F) {
	f.Add(uint64(3600), uint64(36000), uint32(100), uint32(200))
	f.Add(uint64(1), uint64(maxAmount), uint32(1), uint32(1<<32-1))
	f.Add(uint64(maxAmount), uint64(maxAmount), uint32(1), uint32(1<<32-1))
	f.Add(uint64(7), uint64(6), uint32(5), uint32(5))
	f.Add(uint64(3599), uint64(1), uint32(5), uint32(7))
	f.Fuzz(func(t *testing.T, hourly, deposit uint64, started, now uint32) {
		s := AgreementStorage{State: AgreementActive, Hourly: Nano(hourly>>1) + 1, Deposit: Nano(deposit >> 1), StartedAt: max(1, started)}
		now = max(now, s.StartedAt)
		n := func(v uint64) *big.Int { return new(big.Int).SetUint64(v) }
		expires := n(uint64(s.Deposit))
		expires.Mul(expires, n(3600)).Div(expires, n(uint64(s.Hourly))).Add(expires, n(uint64(s.StartedAt)))
		until := n(uint64(now))
		if until.Cmp(expires) > 0 {
			until.Set(expires)
		}
		want := until.Sub(until, n(uint64(s.StartedAt)))
		want.Mul(want, n(uint64(s.Hourly))).Div(want, n(3600))
		if want.Cmp(n(uint64(s.Deposit))) > 0 {
			t.Fatal("earned more than the deposit before it is used up")
		}
		if got := s.Earned(now); uint64(got) != want.Uint64() {
			t.Errorf("%+v at %d: earned %d, want %s", s, now, got, want)
		}
		if got, _ := s.ExpiresAt(); expires.IsUint64() && got != expires.Uint64() {
			t.Errorf("%+v expires at %d, want %s", s, got, expires)
		}
		if farmer, user := s.Split(now); farmer+user != s.Deposit {
			t.Errorf("%+v splits into %d and %d", s, farmer, user)
		}
	})
}

// TestAgreementDeadlines: who waits for what, until when.
func TestAgreementDeadlines(t *testing.T) {
	terms := AgreementTerms{AcceptBy: 100, DeployBy: 200, Grace: 50, MinHours: 2}
	for name, c := range map[string]struct {
		s        AgreementStorage
		deadline uint64
		open     bool
		missing  Nano
	}{
		"created":          {AgreementStorage{State: AgreementCreated}, 100, true, 0},
		"priced":           {AgreementStorage{State: AgreementPriced, Hourly: 5}, 100, true, 10},
		"accepted":         {AgreementStorage{State: AgreementAccepted, Hourly: 5, Deposit: 4}, 200, true, 6},
		"funded":           {AgreementStorage{State: AgreementFunded, Hourly: 5, Deposit: 10}, 200, true, 0},
		"active":           {AgreementStorage{State: AgreementActive, Hourly: 3600, Deposit: 10, StartedAt: 1000}, 1060, true, 0},
		"closed":           {AgreementStorage{State: AgreementClosed}, 0, false, 0},
		"more than exists": {AgreementStorage{State: AgreementPriced, Hourly: maxAmount, Deposit: 1}, 100, true, maxAmount - 1},
	} {
		c.s.Terms = terms
		deadline, open := c.s.Deadline()
		if deadline != c.deadline || open != c.open || c.s.Missing() != c.missing {
			t.Errorf("%s: deadline %d, %v, missing %d; want %d, %v, %d", name, deadline, open, c.s.Missing(), c.deadline, c.open, c.missing)
		}
	}
}

// TestGovernedNames: every value that is printed has a name of its own, and an unknown one its number.
func TestGovernedNames(t *testing.T) {
	for n := range uint8(16) {
		for _, s := range []fmt.Stringer{HashList(n), EntryState(n), AgreementState(n), ProposalKind(n), EventKind(n)} {
			if s.String() == "" {
				t.Errorf("%T %d has no name", s, n)
			}
		}
	}
	for got, want := range map[string]string{
		EntryState(7).String(): "state 7", ProposalKind(12).String(): "kind 12", EventKind(0).String(): "event 0",
		ListModels.String(): "model", KindUpgradeRoot.String(): "upgrade root", EventRefused.String(): "refused", HashList(9).String(): "list 9",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestAudit: events replay to the storage and the root; the first that does not fit is named.
func TestAudit(t *testing.T) {
	entry := func(state EntryState) *Entry { return &Entry{Hash: Hash{1}, State: state, ManifestHash: Hash{2}} }
	event := func(n uint64, kind EventKind, old, next EntryState) GovernorEvent {
		e := GovernorEvent{Seqno: n, Kind: kind, Actor: anyAddr(1), List: ListWorkers, Hash: Hash{1}, Old: old, New: next, At: uint32(n)}
		if next != EntryAbsent {
			e.Entry = entry(next)
		}
		return e
	}
	good := []GovernorEvent{
		event(1, EventProposed, EntryAbsent, EntryAnnounced), event(2, EventAttested, EntryAnnounced, EntryAnnounced),
		event(3, EventExecuted, EntryAnnounced, EntryActive), event(4, EventDeprecated, EntryActive, EntryDeprecated),
	}
	storage := GovernorStorage{LastEvent: 4, Lists: GovernorLists{Workers: []Entry{*entry(EntryDeprecated)}}}
	root := RootStorage{WorkerHashes: []Hash{{1}, {9}}}
	older, err := storage.Audit(good, root)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(GovernorHashes{ListWorkers: {{9}}}, older); diff != "" {
		t.Errorf("hashes older than the governor (-want +got):\n%s", diff)
	}
	for name, c := range map[string]struct {
		change func(events []GovernorEvent, s *GovernorStorage, r *RootStorage) []GovernorEvent
		seqno  uint64
		why    string
	}{
		"an event is missing": {func(e []GovernorEvent, _ *GovernorStorage, _ *RootStorage) []GovernorEvent {
			return slices.Delete(e, 1, 2)
		}, 3, "number 2"},
		"the last is missing": {func(e []GovernorEvent, _ *GovernorStorage, _ *RootStorage) []GovernorEvent { return e[:3] }, 0, "3 events"},
		"time goes back":      {func(e []GovernorEvent, _ *GovernorStorage, _ *RootStorage) []GovernorEvent { e[2].At = 1; return e }, 3, "after one at 2"},
		"another old state": {func(e []GovernorEvent, _ *GovernorStorage, _ *RootStorage) []GovernorEvent {
			e[2].Old = EntryActive
			return e
		}, 3, "was announced"},
		"a leap": {func(e []GovernorEvent, _ *GovernorStorage, _ *RootStorage) []GovernorEvent {
			e[2] = event(3, EventExecuted, EntryAnnounced, EntryDeprecated)
			return e
		}, 3, "from announced to deprecated"},
		"another manifest": {func(e []GovernorEvent, s *GovernorStorage, _ *RootStorage) []GovernorEvent {
			s.Lists.Workers[0].ManifestHash[0]++
			return e
		}, 0, "not what the events give"},
		"the root lacks it": {func(e []GovernorEvent, _ *GovernorStorage, r *RootStorage) []GovernorEvent {
			r.WorkerHashes = nil
			return e
		}, 0, "in the root: false"},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := storage, root
			s.Lists.Workers = slices.Clone(storage.Lists.Workers)
			events := c.change(slices.Clone(good), &s, &r)
			_, err := s.Audit(events, r)
			var misfit *MisfitError
			if !errors.As(err, &misfit) || misfit.Seqno != c.seqno || !strings.Contains(err.Error(), c.why) {
				t.Errorf("got %v, want event %d and %q", err, c.seqno, c.why)
			}
		})
	}
}
