package contractstest

import (
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
)

// World is one proxy under one root, its owner and machine key, and the client and worker contracts that were added.
type World struct {
	*Chain
	Params bind.Params
	Root   *address.Address
	Owner  *address.Address // of the proxy
	Key    ed25519.PrivateKey
	Proxy  bind.Instance
	// Clients and Workers are contracts in the order in which they were added; Owners are by contract address.
	Clients, Workers []bind.Instance
	Owners           map[string]*address.Address

	queryID uint64
}

// DefaultParams are parameters for tests: price 0.001 TON, delays of hours, stakes 1 TON.
func DefaultParams(structVersion uint8, proxy, worker, client *cell.Cell) bind.Params {
	return bind.Params{
		StructVersion: structVersion, ParamsVersion: 1, UniqueID: 12345, IsTest: true,
		PricePerToken: 1_000_000, WorkerFee: 900_000,
		PromptMultiplier: 10000, CachedMultiplier: 10000, CompletionMultiplier: 10000, ReasoningMultiplier: 10000,
		ProxyDelay: 7200, ClientDelay: 3600, MinProxyStake: TON, MinClientStake: TON,
		Proxy: proxy, Worker: worker, Client: client,
	}
}

// NewWorld deploys a proxy with 0.3 TON, as the reference's runner does.
func NewWorld(c *Chain, p bind.Params) (*World, error) {
	w := &World{
		Chain: c, Params: p, Root: c.Actor("root"), Owner: c.Actor("proxy owner"),
		Key: KeyOf("machine"), Owners: map[string]*address.Address{},
	}
	var err error
	if w.Proxy, err = bind.NewProxy(p, w.Root, w.Owner, w.PublicKey()); err != nil {
		return nil, err
	}
	c.Name(w.Proxy.Address, "proxy")
	return w, c.Send(Message{From: w.Owner, To: w.Proxy.Address, Value: 3 * TON / 10, NoBounce: true, Init: &w.Proxy})
}

// KeyOf is a key that belongs to a name.
func KeyOf(name string) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	copy(seed, name)
	return ed25519.NewKeyFromSeed(seed)
}

// PublicKey is the machine's key.
func (w *World) PublicKey() bind.Hash { return PublicKeyOf(w.Key) }

// PublicKeyOf is the public half of a key.
func PublicKeyOf(k ed25519.PrivateKey) bind.Hash { return bind.Hash(k[ed25519.SeedSize:]) }

// AddClient deploys a client contract of an actor with 0.8 TON, as the reference's runner does.
func (w *World) AddClient(owner string) (bind.Instance, error) {
	at := w.Actor(owner)
	in, err := bind.NewClient(w.Params, w.Proxy.Address, at, w.PublicKey())
	if err != nil {
		return in, err
	}
	w.Name(in.Address, fmt.Sprintf("client%d", len(w.Clients)))
	w.Clients = append(w.Clients, in)
	w.Owners[in.Address.StringRaw()] = at
	return in, w.Send(Message{From: at, To: in.Address, Value: 8 * TON / 10, NoBounce: true, Init: &in})
}

// AddWorker deploys a worker contract of an actor with 0.3 TON, as the reference's runner does.
func (w *World) AddWorker(owner string) (bind.Instance, error) {
	at := w.Actor(owner)
	in, err := bind.NewWorker(w.Params, w.Proxy.Address, at, w.PublicKey())
	if err != nil {
		return in, err
	}
	w.Name(in.Address, fmt.Sprintf("worker%d", len(w.Workers)))
	w.Workers = append(w.Workers, in)
	w.Owners[in.Address.StringRaw()] = at
	return in, w.Send(Message{From: at, To: in.Address, Value: 3 * TON / 10, NoBounce: true, Init: &in})
}

// Clone is a copy that continues on its own.
func (w *World) Clone() *World {
	out := *w
	out.Chain = w.Chain.Clone()
	out.Owners = maps.Clone(w.Owners)
	out.Clients, out.Workers = slices.Clone(w.Clients), slices.Clone(w.Workers)
	return &out
}

// Query is a fresh query id.
func (w *World) Query() uint64 {
	w.queryID++
	return w.queryID
}

// Tell sends a message of the bindings from an actor to a contract.
func (w *World) Tell(from *address.Address, to bind.Instance, value bind.Nano, m bind.Message) error {
	body, err := bind.Encode(m)
	if err != nil {
		return err
	}
	return w.Send(Message{From: from, To: to.Address, Value: value, Body: body})
}

// Signed signs a counter for an operation of a client or a worker.
func (w *World) Signed(op bind.Op, to bind.Instance, tokens uint64, excess *address.Address) (bind.Signed, error) {
	q := w.Query()
	return bind.Sign(w.Key, q, excess, &bind.TokensPayload{Op: op, QueryID: q, Tokens: tokens, Contract: to.Address})
}

// SignedClose signs a closing step of the proxy.
func (w *World) SignedClose(op bind.Op, excess *address.Address) (bind.Signed, error) {
	q := w.Query()
	return bind.Sign(w.Key, q, excess, &bind.ClosePayload{Op: op, QueryID: q, Contract: w.Proxy.Address})
}

// Charge submits a charge by the proxy's owner.
func (w *World) Charge(client bind.Instance, tokens uint64) error {
	s, err := w.Signed(bind.OpClientCharge, client, tokens, w.Owner)
	if err != nil {
		return err
	}
	return w.Tell(w.Owner, client, 7*TON/10, &bind.ClientCharge{Signed: s})
}

// GrantRefund submits a refund by the proxy's owner.
func (w *World) GrantRefund(client bind.Instance, tokens uint64) error {
	s, err := w.Signed(bind.OpClientGrantRefund, client, tokens, w.Owner)
	if err != nil {
		return err
	}
	return w.Tell(w.Owner, client, 7*TON/10, &bind.ClientGrantRefund{Signed: s})
}

// Payout submits a payout by the worker's owner.
func (w *World) Payout(worker bind.Instance, tokens uint64) error {
	owner := w.Owners[worker.Address.StringRaw()]
	s, err := w.Signed(bind.OpWorkerPayout, worker, tokens, owner)
	if err != nil {
		return err
	}
	return w.Tell(owner, worker, 5*TON/10, &bind.WorkerPayout{Signed: s})
}

// LastPayout submits the last payout by the worker's owner.
func (w *World) LastPayout(worker bind.Instance, tokens uint64) error {
	owner := w.Owners[worker.Address.StringRaw()]
	s, err := w.Signed(bind.OpWorkerLastPayout, worker, tokens, owner)
	if err != nil {
		return err
	}
	return w.Tell(owner, worker, 5*TON/10, &bind.WorkerLastPayout{Signed: s})
}

// TopUp pays into a client's balance by its owner.
func (w *World) TopUp(client bind.Instance, sum bind.Nano) error {
	owner := w.Owners[client.Address.StringRaw()]
	return w.Tell(owner, client, sum+7*TON/10, &bind.ClientTopUp{QueryID: w.Query(), Amount: sum, Excess: owner})
}

// Withdraw asks for a client's balance above its stake.
func (w *World) Withdraw(client bind.Instance) error {
	owner := w.Owners[client.Address.StringRaw()]
	return w.Tell(owner, client, 7*TON/10, &bind.ClientWithdraw{QueryID: w.Query(), Excess: owner})
}

// RequestRefund starts or completes a client's closing.
func (w *World) RequestRefund(client bind.Instance) error {
	owner := w.Owners[client.Address.StringRaw()]
	return w.Tell(owner, client, 7*TON/10, &bind.ClientRequestRefund{QueryID: w.Query(), Excess: owner})
}

// IncreaseStake adds to the proxy's stake by its owner.
func (w *World) IncreaseStake(sum bind.Nano) error {
	return w.Tell(w.Owner, w.Proxy, sum+5*TON/10, &bind.ProxyIncreaseStake{QueryID: w.Query(), Amount: sum, Excess: w.Owner})
}

// CloseRequest starts the proxy's closing by its machine's key.
func (w *World) CloseRequest() error {
	s, err := w.SignedClose(bind.OpProxyCloseRequest, w.Owner)
	if err != nil {
		return err
	}
	return w.Tell(w.Owner, w.Proxy, TON, &bind.ProxyCloseRequest{Signed: s})
}

// CloseComplete completes the proxy's closing by its machine's key.
func (w *World) CloseComplete() error {
	s, err := w.SignedClose(bind.OpProxyCloseComplete, w.Owner)
	if err != nil {
		return err
	}
	return w.Tell(w.Owner, w.Proxy, TON, &bind.ProxyCloseComplete{Signed: s})
}

// ProxyState is the proxy's storage.
func (w *World) ProxyState() (bind.ProxyStorage, error) {
	return bind.ParseProxyStorage(w.Data(w.Proxy.Address))
}

// ClientState is a client's storage.
func (w *World) ClientState(client bind.Instance) (bind.ClientStorage, error) {
	return bind.ParseClientStorage(w.Data(client.Address))
}

// WorkerState is a worker's storage.
func (w *World) WorkerState(worker bind.Instance) (bind.WorkerStorage, error) {
	return bind.ParseWorkerStorage(w.Data(worker.Address))
}

// OwnerOf is the actor that owns a client or worker contract.
func (w *World) OwnerOf(in bind.Instance) *address.Address { return w.Owners[in.Address.StringRaw()] }
