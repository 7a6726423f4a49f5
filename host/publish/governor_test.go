package publish

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/code"
	"cocoon/contracts/registry"
)

// governed is a root that a governor owns: one proposer, two approvers of whom both are needed, one revoker.
type governed struct {
	*paced
	root, governor *address.Address
}

func newGoverned(t *testing.T) *governed {
	t.Helper()
	p := newChain(t)
	at := func(name string) *address.Address { return p.wallet(t, V5R1, signerOf(t, name)).Address }
	founder := at("founder")
	g := &governed{paced: p, root: p.deployRoot(t, rootStorage(founder))}
	approvers := []*address.Address{at("approver1"), at("approver2")}
	slices.SortFunc(approvers, func(a, b *address.Address) int { return slices.Compare(a.Data(), b.Data()) })
	in := must[bind.Instance](t)(bind.NewGovernor(code.Governor(), g.root, founder, bind.Rules{
		Threshold: 2, DelayAdd: 3600, DelayUpgrade: 7200, Proposers: []*address.Address{at("proposer")},
		Approvers: approvers, Revokers: []*address.Address{at("revoker")},
	}))
	g.governor = in.Address
	p.fund(t, in.Address, "1", &tlb.StateInit{Code: in.Code, Data: in.Data})
	g.tell(t, "founder", g.root, &bind.RootChangeOwner{Owner: in.Address})
	return g
}

// tell sends a message from a key's wallet and waits for its effect.
func (g *governed) tell(t *testing.T, name string, to *address.Address, m bind.Message) {
	t.Helper()
	site := must[*Site](t)(Look(t.Context(), g, g.now))
	p := must[*Principal](t)(site.As(t.Context(), must[*Wallet](t)(NewWallet(V5R1, signerOf(t, name), registry.Localnet))))
	body := must[*cell.Cell](t)(bind.Encode(m))
	orders := []Order{{What: "tell", To: to, Value: governorValue, Body: body}}
	must[[]Arrival](t)(site.Deliver(t.Context(), p, orders, &chain.MemoryOutbox{}))
}

func TestAGovernorsRootIsChangedByProposals(t *testing.T) {
	g := newGoverned(t)
	e := worker(2)
	job := g.job(g.root, signerOf(t, "proposer"), e)
	if _, err := job.Run(t.Context(), g); !errors.Is(err, ErrNoManifest) {
		t.Errorf("without a manifest: %v", err)
	}
	job.Entries[0].Manifest = hashOf(9)
	dry, err := job.Run(t.Context(), g)
	if err != nil || len(dry.Proposals) != 1 {
		t.Fatalf("rehearsal: %v, %d proposals", err, len(dry.Proposals))
	}
	job.Send = true
	out, err := job.Run(t.Context(), g)
	if err != nil || len(out.Proposals) != 1 || out.Valid || len(out.Arrivals) != 1 {
		t.Fatalf("proposing: %v, %d proposals, valid %t", err, len(out.Proposals), out.Valid)
	}
	if d := must[OutcomeDoc](t)(out.Document()); d.Proposals[0].Needed != 2 || d.Proposals[0].ID != 1 {
		t.Errorf("document %+v", d.Proposals)
	}
	if has(t, g, 2) {
		t.Error("a proposal alone changed the root")
	}
	p := out.Proposals[0]
	for _, name := range []string{"approver1", "approver2"} {
		g.tell(t, name, g.governor, &bind.GovernorApprove{Proposal: p.ID, BodyHash: bind.Hash(p.Body.Hash())})
	}
	if err := g.Travel(2 * time.Hour); err != nil {
		t.Fatal(err)
	}
	must0(t, g.Step())
	g.tell(t, "founder", g.governor, &bind.GovernorExecute{Proposal: p.ID})
	must0(t, g.Steps(2))
	if !has(t, g, 2) {
		t.Fatal("the executed proposal did not reach the root")
	}
	revoke := g.job(g.root, signerOf(t, "proposer"), worker(2))
	revoke.Delete, revoke.Send = true, true
	if _, err := revoke.Run(t.Context(), g); !errors.Is(err, ErrNoRights) {
		t.Errorf("a proposer revokes: %v", err)
	}
	revoke.Signer = signerOf(t, "revoker")
	if out, err = revoke.Run(t.Context(), g); err != nil || !out.Valid || has(t, g, 2) {
		t.Errorf("revoking: %v", err)
	}
}

func TestStrangersCannotPropose(t *testing.T) {
	g := newGoverned(t)
	e := worker(2)
	e.Manifest = hashOf(9)
	if _, err := g.job(g.root, signerOf(t, "stranger"), e).Run(t.Context(), g); !errors.Is(err, ErrNoRights) {
		t.Errorf("a stranger: %v", err)
	}
	out, err := g.job(g.root, nil, e).Run(t.Context(), g)
	if err != nil || len(out.Orders) != 1 || !out.Orders[0].To.Equals(g.governor) {
		t.Errorf("unsigned: %v", err)
	}
	site := must[*Site](t)(Look(t.Context(), g, g.now))
	plain := &registry.Snapshot{Root: g.root, RootStorage: bind.RootStorage{Owner: g.root}}
	if _, err := site.Governor(t.Context(), plain); !errors.Is(err, ErrNoRights) {
		t.Errorf("a root without governor: %v", err)
	}
}

func has(t *testing.T, g *governed, b byte) bool {
	t.Helper()
	return must[*registry.Snapshot](t)(registry.Read(t.Context(), g, g.root)).Has(registry.Workers, hashOf(b))
}
