// Package rootview says what the root contract means for the role that this machine has: its prices, the images and models
// that it may serve or be served by, the proxies to connect to, the contracts at it, and whether it may serve at all.
//
// It owns the step from the root's own terms to those of guest/proxy and guest/worker, and the comparison of the machine's
// image with the root. It trusts contracts/registry/follow for what the root says and how old that may be. A View may be
// used concurrently and answers from memory. It refuses a root whose test mark is not the machine's, and to serve while the
// machine's own image or model is not listed: it then says what has to be published, waits, and goes on when it was.
package rootview

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/bind"
	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/guest/proxy"
	"cocoon/guest/worker"
)

// Config of a View.
type Config struct {
	Root *follow.Follower
	// Test is the machine's is_test.
	Test bool
	// Own is the list that the machine's own image has to be on.
	Own registry.List
	// Model is the full name of the model that the machine serves; empty for none.
	Model string
	// Owner is a proxy's operator and Key the key that it signs payments with: its contract and those at it follow from
	// them. A zero key derives none.
	Owner proxy.Address
	Key   [32]byte
}

// View is a root as one machine's role sees it.
type View struct {
	cfg   Config
	image atomic.Pointer[[32]byte]
	terms atomic.Pointer[terms]
}

// terms are a snapshot in the roles' types.
type terms struct {
	of    *registry.Snapshot
	proxy proxy.Root
	price worker.Prices

	mu      sync.Mutex
	derived map[party]proxy.Address
}

// party is somebody with a contract at a proxy.
type party struct {
	role  string
	owner proxy.Address
}

// maxDerived bounds the addresses that are remembered; deriving one again takes microseconds.
const maxDerived = 4096

// ErrTest is wrapped when the root's test mark is not the machine's.
var ErrTest = errors.New("is_test mismatch")

// New makes a view.
func New(c Config) (*View, error) {
	if c.Root == nil || c.Own != registry.Proxies && c.Own != registry.Workers {
		return nil, errors.New("viewing a root: it and the list of the machine's own image are needed")
	}
	return &View{cfg: c}, nil
}

// SetImage tells the hash that this machine attests. Before that, and where nothing attests it, it is not compared.
func (v *View) SetImage(image [32]byte) { v.image.Store(&image) }

// current is the newest snapshot in the roles' types.
func (v *View) current() (*terms, error) {
	s, err := v.cfg.Root.Snapshot()
	if err != nil {
		return nil, err
	}
	if last := v.terms.Load(); last != nil && last.of == s {
		return last, nil
	}
	if s.Params.IsTest != v.cfg.Test {
		return nil, fmt.Errorf("%w: %w: the root says %t, this machine's configuration %t", registry.ErrNetwork, ErrTest, s.Params.IsTest, v.cfg.Test)
	}
	t, err := s.Terms()
	if err != nil {
		return nil, err
	}
	made := &terms{of: s, price: worker.Prices{PerToken: t.Price, Multipliers: t.Multipliers}, proxy: proxy.Root{
		Version: t.ConfigVersion, ParamsVersion: t.ParamsVersion, Price: t.Price, WorkerFee: t.WorkerFee, Multipliers: t.Multipliers,
		WorkerImages: set(s, registry.Workers), Models: set(s, registry.Models),
	}}
	if v.cfg.Key != [32]byte{} {
		own, err := bind.NewProxy(s.Params, s.Root, cellAddress(v.cfg.Owner), v.cfg.Key)
		if err != nil {
			return nil, fmt.Errorf("root %s: %w", s.Root, err)
		}
		made.proxy.Contract, made.derived = roleAddress(own.Address), make(map[party]proxy.Address)
	}
	v.terms.Store(made)
	return made, nil
}

// Derive gives the contract that an owner has at this proxy, by the root's parameters of now. The roles are client, whose
// owner is a wallet, and worker.
func (v *View) Derive(role string, owner proxy.Address) (proxy.Address, error) {
	t, err := v.current()
	if err != nil {
		return proxy.Address{}, err
	}
	derive := map[string]func(bind.Params, *address.Address, *address.Address, bind.Hash) (bind.Instance, error){
		"client": bind.NewClient, "worker": bind.NewWorker,
	}[role]
	if derive == nil || v.cfg.Key == [32]byte{} {
		return proxy.Address{}, fmt.Errorf("deriving contract: there is none for the role %q", role)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if known, ok := t.derived[party{role, owner}]; ok {
		return known, nil
	}
	made, err := derive(t.of.Params, cellAddress(t.proxy.Contract), cellAddress(owner), v.cfg.Key)
	if err != nil {
		return proxy.Address{}, fmt.Errorf("root %s: %w", t.of.Root, err)
	}
	if len(t.derived) >= maxDerived {
		clear(t.derived)
	}
	t.derived[party{role, owner}] = roleAddress(made.Address)
	return t.derived[party{role, owner}], nil
}

func cellAddress(a proxy.Address) *address.Address {
	return address.NewAddress(0, byte(a.Workchain), a.Hash[:]) //nolint:gosec // a signed byte
}

func roleAddress(a *address.Address) proxy.Address {
	return proxy.Address{Workchain: int8(a.Workchain()), Hash: [32]byte(a.Data())} //nolint:gosec // of a standard address
}

func set(s *registry.Snapshot, l registry.List) map[[32]byte]bool {
	out := make(map[[32]byte]bool, len(s.Hashes(l)))
	for _, h := range s.Hashes(l) {
		out[h] = true
	}
	return out
}

// Proxy is the root for guest/proxy. The caller does not change its maps.
func (v *View) Proxy() (proxy.Root, error) {
	t, err := v.current()
	if err != nil {
		return proxy.Root{}, err
	}
	return t.proxy, nil
}

// Prices are those for guest/worker: of now, or the last that were known, or none.
func (v *View) Prices() worker.Prices {
	if t, err := v.current(); err == nil {
		return t.price
	}
	if last := v.terms.Load(); last != nil {
		return last.price
	}
	return worker.Plain(0)
}

// Eligible says why this machine may not serve. For what is not listed the error wraps a *registry.NotListedError and ends
// with what has to be published.
func (v *View) Eligible() error {
	t, err := v.current()
	if err != nil {
		return fmt.Errorf("root contract: %w", err)
	}
	if image := v.image.Load(); image != nil {
		err = t.of.CheckImage(v.cfg.Own, *image)
	}
	if err == nil && v.cfg.Model != "" {
		err = t.of.CheckModel(v.cfg.Model)
	}
	if missing, ok := errors.AsType[*registry.NotListedError](err); ok {
		return fmt.Errorf("%w; %s", missing, missing.Advice())
	}
	return err
}

// CheckProxy says whether a worker may be served by a proxy.
func (v *View) CheckProxy(p worker.Peer) error {
	t, err := v.current()
	switch {
	case err != nil:
		return fmt.Errorf("root contract: %w", err)
	case !p.Attested:
		return p.Unattested("the proxy")
	}
	return t.of.CheckImage(registry.Proxies, p.Image)
}

// Contracts are the addresses that a proxy states for itself and for a worker, as texts of any form.
type Contracts struct {
	ProxyOwner, Proxy string
	ProxyKey          [32]byte
	WorkerOwner       string
	Worker            string
}

// CheckContracts recomputes what a proxy states: addresses that do not follow from the root's parameters, the proxy's owner
// and key would have the worker count for somebody else (protocol.md section 5.1).
func (v *View) CheckContracts(c Contracts) error {
	t, err := v.current()
	if err != nil {
		return fmt.Errorf("root contract: %w", err)
	}
	var at [4]proxy.Address
	for i, text := range []string{c.ProxyOwner, c.Proxy, c.WorkerOwner, c.Worker} {
		if at[i], err = proxy.ParseAddress(text); err != nil {
			return fmt.Errorf("%s: %.80q is no address", [...]string{"proxy_owner_address", "proxy_sc_address", "worker_owner_address", "worker_sc_address"}[i], text)
		}
	}
	own, err := bind.NewProxy(t.of.Params, t.of.Root, cellAddress(at[0]), c.ProxyKey)
	if err != nil {
		return fmt.Errorf("root %s: %w", t.of.Root, err)
	}
	mine, err := bind.NewWorker(t.of.Params, own.Address, cellAddress(at[2]), c.ProxyKey)
	if err != nil {
		return fmt.Errorf("root %s: %w", t.of.Root, err)
	}
	for _, r := range []struct {
		what       string
		said, want proxy.Address
	}{
		{"its own contract", at[1], roleAddress(own.Address)},
		{"our contract", at[3], roleAddress(mine.Address)},
	} {
		if r.said != r.want {
			return fmt.Errorf("it names %s as %s, and by root version %d it is %s", r.said, r.what, t.of.Version, r.want)
		}
	}
	return nil
}

// Addresses are where registered proxies take workers.
func (v *View) Addresses() []string {
	t, err := v.current()
	if err != nil {
		return nil
	}
	registered := t.of.Registered()
	out := make([]string, 0, len(registered))
	for _, r := range registered {
		out = append(out, r.ForWorkers)
	}
	return out
}
