package publish

import (
	"context"
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
	"cocoon/contracts/code"
	"cocoon/contracts/registry"
)

// paced is a chain in process that makes a block whenever somebody waits for one.
type paced struct {
	*local.Chain
	late time.Duration // by how much the clock is ahead of the newest block
}

func (p *paced) Wait(context.Context, uint32) error { return p.Step() }

func (p *paced) now() time.Time {
	head, err := p.Head(context.Background())
	if err != nil {
		return time.Time{}
	}
	return head.Time.Add(p.late)
}

func seedOf(name string) string {
	return strings.Repeat("0", 64-2*len(name)) + hexText(name)
}

func hexText(s string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for _, c := range []byte(s) {
		b.WriteByte(digits[c>>4])
		b.WriteByte(digits[c&15])
	}
	return b.String()
}

func signerOf(t *testing.T, name string) *Signer {
	t.Helper()
	s, err := ParseSigner([]byte(seedOf(name) + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func hashOf(b byte) bind.Hash { return bind.Hash{0: 1, 31: b} }

func rootStorage(owner *address.Address) bind.RootStorage {
	return bind.RootStorage{
		Owner: owner, WorkerHashes: []bind.Hash{hashOf(1)},
		Params: bind.Params{
			StructVersion: 4, ParamsVersion: 1, UniqueID: 7, IsTest: true, PricePerToken: 20, WorkerFee: 19,
			PromptMultiplier: 10000, CachedMultiplier: 1000, CompletionMultiplier: 80000, ReasoningMultiplier: 80000,
			MinProxyStake: 1e9, MinClientStake: 1e9, ProxyDelay: 60, ClientDelay: 30,
			Proxy: code.Proxy(), Worker: code.Worker(), Client: code.Client(),
		},
		KeyManager: &bind.KeyManager{},
	}
}

func newChain(t *testing.T) *paced {
	t.Helper()
	c := must[*local.Chain](t)(local.NewChain(local.Options{Deterministic: true}))
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return &paced{Chain: c}
}

// fund gives an account money, and its code when init is set.
func (p *paced) fund(t *testing.T, to *address.Address, ton string, init *tlb.StateInit) {
	t.Helper()
	err := p.Pay(&tlb.InternalMessage{
		IHRDisabled: true, DstAddr: to, Amount: tlb.MustFromTON(ton), StateInit: init, Body: cell.BeginCell().EndCell(),
	})
	if err := errors.Join(err, p.Step(), p.Step()); err != nil {
		t.Fatal(err)
	}
}

// deployRoot deploys a root of an owner.
func (p *paced) deployRoot(t *testing.T, s bind.RootStorage) *address.Address {
	t.Helper()
	data := must[*cell.Cell](t)(s.Cell())
	at := must[*address.Address](t)(bind.Address(code.Root(), data))
	p.fund(t, at, "1", &tlb.StateInit{Code: code.Root(), Data: data})
	return at
}

// wallet is a funded wallet of a key.
func (p *paced) wallet(t *testing.T, k Kind, s *Signer) *Wallet {
	t.Helper()
	w := must[*Wallet](t)(NewWallet(k, s, registry.Localnet))
	p.fund(t, w.Address, "10", nil)
	return w
}

// machine is a deployed and funded machine's wallet.
func (p *paced) machine(t *testing.T, s *Signer, owner *address.Address) *Wallet {
	t.Helper()
	w := must[*Wallet](t)(NewMachineWallet(s, owner))
	p.fund(t, w.Address, "10", w.Init)
	return w
}

func (p *paced) job(root *address.Address, s *Signer, entries ...Entry) *Job {
	return &Job{Root: root, Entries: entries, Signer: s, Outbox: &chain.MemoryOutbox{}, Now: p.now}
}

func must0(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
