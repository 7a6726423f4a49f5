package publish

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local"
	"cocoon/contracts/registry"
)

func worker(b byte) Entry { return Entry{List: registry.Workers, Hash: hashOf(b), Name: "worker-cpu"} }

// TestEveryOwnersWalletPublishes: whoever owns the root, its key gets the hash in, proven, and out again.
func TestEveryOwnersWalletPublishes(t *testing.T) {
	for name, setup := range map[string]func(t *testing.T, p *paced, s *Signer) *address.Address{
		"v4r2": func(t *testing.T, p *paced, s *Signer) *address.Address {
			t.Helper()
			return p.wallet(t, V4R2, s).Address
		},
		"v5r1": func(t *testing.T, p *paced, s *Signer) *address.Address {
			t.Helper()
			return p.wallet(t, V5R1, s).Address
		},
		"machine's key": func(t *testing.T, p *paced, s *Signer) *address.Address {
			t.Helper()
			return p.machine(t, s, must[*Wallet](t)(NewWallet(V4R2, signerOf(t, "person"), registry.Localnet)).Address).Address
		},
		"machine's owner": func(t *testing.T, p *paced, s *Signer) *address.Address {
			t.Helper()
			return p.machine(t, signerOf(t, "machine"), p.wallet(t, V5R1, s).Address).Address
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, s := newChain(t), signerOf(t, "owner")
			root := p.deployRoot(t, rootStorage(setup(t, p, s)))
			job := p.job(root, s, worker(2), worker(3), Entry{List: registry.Models, Hash: hashOf(4)},
				Entry{List: registry.Proxies, Hash: hashOf(5)}, Entry{List: registry.Proxies, Hash: hashOf(6)})
			dry, err := job.Run(t.Context(), p)
			if err != nil || dry.Valid || len(dry.Arrivals) != 0 || !dry.After.Has(registry.Workers, hashOf(3)) {
				t.Fatalf("rehearsal: %v", err)
			}
			if gas := dry.Rehearsal.Gas(); gas == 0 || gas > 200_000 {
				t.Errorf("%d gas", gas)
			}
			job.Send = true
			out, err := job.Run(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			if !out.Valid || len(out.Arrivals) != 5 {
				t.Fatalf("valid %t, %d arrivals", out.Valid, len(out.Arrivals))
			}
			now := must[*registry.Snapshot](t)(registry.Read(t.Context(), p, root))
			if !now.Has(registry.Workers, hashOf(2)) || !now.Has(registry.Proxies, hashOf(6)) || now.Version != 5 || !now.Equal(now) {
				t.Error("the root does not show what the receipt says")
			}
			job.Delete, job.Entries = true, []Entry{worker(2)}
			if out, err = job.Run(t.Context(), p); err != nil || !out.Valid {
				t.Fatalf("deleting: %v", err)
			}
			if must[*registry.Snapshot](t)(registry.Read(t.Context(), p, root)).Has(registry.Workers, hashOf(2)) {
				t.Error("the deleted hash is still there")
			}
			checkDocument(t, out)
		})
	}
}

func checkDocument(t *testing.T, o *Outcome) {
	t.Helper()
	d := must[OutcomeDoc](t)(o.Document())
	text := string(must[[]byte](t)(json.Marshal(d)))
	for _, want := range []string{`"valid":true`, `"action":"delete"`, `ton://transfer/`, `"exit_code":0`} {
		if !strings.Contains(text, want) {
			t.Errorf("the document does not have %s: %s", want, text)
		}
	}
}

func TestRefusals(t *testing.T) {
	p, s := newChain(t), signerOf(t, "owner")
	mine := p.wallet(t, V4R2, s)
	root := p.deployRoot(t, rootStorage(mine.Address))
	mainnetRoot := rootStorage(mine.Address)
	mainnetRoot.Params.IsTest = false
	foreign := p.deployRoot(t, mainnetRoot)
	poor := signerOf(t, "poor")
	poorRoot := p.deployRoot(t, rootStorage(must[*Wallet](t)(NewWallet(V4R2, poor, registry.Localnet)).Address))
	for name, tc := range map[string]struct {
		change func(*Job)
		late   time.Duration
		want   error
	}{
		"a hash that is there":   {func(j *Job) { j.Entries = []Entry{worker(2), worker(1)} }, 0, ErrPresent},
		"deleting an absent one": {func(j *Job) { j.Delete = true }, 0, ErrAbsent},
		"another's key":          {func(j *Job) { j.Signer = signerOf(t, "stranger") }, 0, ErrNoRights},
		"another network":        {func(j *Job) { j.Network = registry.Mainnet }, 0, registry.ErrNetwork},
		"a root of another":      {func(j *Job) { j.Root = foreign }, 0, registry.ErrNetwork},
		"no root":                {func(j *Job) { j.Root = mine.Address }, 0, registry.ErrNotRoot},
		"a stale head":           {func(*Job) {}, MaxHeadAge + time.Second, chain.ErrStaleHead},
		"a wallet without money": {func(j *Job) { j.Root, j.Signer = poorRoot, poor }, 0, ErrRehearsal},
	} {
		t.Run(name, func(t *testing.T) {
			at := &paced{Chain: p.Chain, late: tc.late}
			before := must[*registry.Snapshot](t)(registry.Read(t.Context(), p, root))
			job := at.job(root, s, worker(2))
			job.Send = true
			tc.change(job)
			if _, err := job.Run(t.Context(), at); !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
			if !must[*registry.Snapshot](t)(registry.Read(t.Context(), p, root)).Equal(before) {
				t.Error("a refused job changed the root")
			}
		})
	}
}

func TestPublishingTwiceIsRefused(t *testing.T) {
	p, s := newChain(t), signerOf(t, "owner")
	root := p.deployRoot(t, rootStorage(p.wallet(t, V5R1, s).Address))
	job := p.job(root, s, worker(2))
	job.Send = true
	if _, err := job.Run(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := job.Run(t.Context(), p); !errors.Is(err, ErrPresent) {
		t.Errorf("the second time: %v", err)
	}
}

func TestTestImagesStayOffTheMainNetwork(t *testing.T) {
	snap := &registry.Snapshot{RootStorage: rootStorage(address.NewAddress(0, 0, make([]byte, 32)))}
	snap.Root = snap.Owner
	e := worker(2)
	e.Variant = "test"
	if _, err := Diff(snap, []Entry{e}, true); err != nil {
		t.Errorf("on a test network: %v", err)
	}
	snap.Params.IsTest = false
	if _, err := Diff(snap, []Entry{e}, true); !errors.Is(err, ErrTestImage) {
		t.Errorf("on the main network: %v", err)
	}
}

func TestUnsignedMessagesAreRehearsedToo(t *testing.T) {
	p := newChain(t)
	owner := p.wallet(t, V4R2, signerOf(t, "owner"))
	root := p.deployRoot(t, rootStorage(owner.Address))
	job := p.job(root, nil, worker(2), worker(2))
	out, err := job.Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Orders) != 1 || !out.After.Has(registry.Workers, hashOf(2)) || out.Rehearsal.Steps[0].Op != bind.OpRootAddWorkerType {
		t.Errorf("%d orders, steps %v", len(out.Orders), out.Rehearsal.Steps)
	}
	job.Send = true
	if _, err := job.Run(t.Context(), p); err == nil {
		t.Error("unsigned messages were sent")
	}
}

func TestReadingTakesOlderHeadsThanSigning(t *testing.T) {
	p := newChain(t)
	for late, want := range map[time.Duration][2]bool{
		MaxHeadAge: {true, true}, MaxHeadAge + time.Second: {false, true}, registry.MaxAge: {false, true}, registry.MaxAge + time.Second: {false, false},
	} {
		p.late = late
		_, look := Look(t.Context(), p, p.now)
		_, view := View(t.Context(), p, p.now)
		if got := [2]bool{look == nil, view == nil}; got != want {
			t.Errorf("a head of %s: %v, want %v", late, got, want)
		}
	}
}

// TestWhatWasSentBeforeIsSettledFirst: a command that stopped between sending and seeing may have done the work already.
func TestWhatWasSentBeforeIsSettledFirst(t *testing.T) {
	p, s := newChain(t), signerOf(t, "owner")
	w := p.wallet(t, V4R2, s)
	root := p.deployRoot(t, rootStorage(w.Address))
	job := p.job(root, s, worker(2))
	job.Send = true
	external := must[*cell.Cell](t)(tlb.ToCell(&tlb.ExternalMessage{DstAddr: w.Address, Body: cell.BeginCell().EndCell()}))
	must0(t, job.Outbox.Save([]chain.Pending{{Account: w.Address.StringRaw(), BodyHash: chain.Hash{1}, ValidUntil: 1, Message: external.ToBOC()}}))
	if _, err := job.Run(t.Context(), p); err == nil || !strings.Contains(err.Error(), "look, then run again") {
		t.Errorf("with a message pending: %v", err)
	}
	if out, err := job.Run(t.Context(), p); err != nil || !out.Valid {
		t.Errorf("afterwards: %v", err)
	}
}

func TestALostMessageIsNotASuccess(t *testing.T) {
	p, s := newChain(t), signerOf(t, "owner")
	root := p.deployRoot(t, rootStorage(p.wallet(t, V4R2, s).Address))
	job := p.job(root, s, worker(2))
	job.Send = true
	p.SetExternals(local.Drop)
	if _, err := job.Run(t.Context(), p); !errors.Is(err, chain.ErrExpired) {
		t.Errorf("a dropped message: %v", err)
	}
	p.SetExternals(local.Deliver)
	if out, err := job.Run(t.Context(), p); err != nil || !out.Valid {
		t.Errorf("the next one: %v", err)
	}
}
