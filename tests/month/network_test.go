package month_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/chain/lite"
	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/adnl"
	"cocoon/contracts/chain/machine"
	"cocoon/contracts/code"
)

const (
	ton bind.Nano = 1e9
	day           = 24 * time.Hour
	// validFor is how long an external message is valid (contracts.md section 3.6).
	validFor = 90 * time.Second
	// payFees: the sender's wallet pays for sending, so that the value arrives whole.
	payFees uint8 = 1
	// patience ends a wait for a transaction, in real time.
	patience = time.Minute
)

func check(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func same[T comparable](tb testing.TB, what string, got, want T) {
	tb.Helper()
	if got != want {
		tb.Errorf("%s: %v, want %v", what, got, want)
	}
}

func nano(c tlb.Coins) bind.Nano { return bind.Nano(c.Nano().Uint64()) }

// network is a local chain whose clock the test moves, and a client that sees it only through a liteserver, with proofs.
type network struct {
	t      *testing.T
	chain  *local.Chain
	client *lite.Client
	// witness is the library's own client, beside ours.
	witness *witness
	start   time.Time
	query   uint64
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	c, err := local.NewChain(local.Options{Deterministic: true})
	check(t, err)
	t.Cleanup(func() { check(t, c.Close()) })
	n := &network{t: t, chain: c}
	server, err := adnl.Start(t.Context(), c, adnl.Options{Listen: "127.0.0.1:0", Seed: [32]byte{4}, Now: n.now})
	check(t, err)
	t.Cleanup(func() { check(t, server.Close()) })
	config, err := adnl.GlobalConfig(c, adnl.Endpoint{Addr: server.Addr(), Key: server.Key()})
	check(t, err)
	parsed, err := lite.ParseGlobalConfig(config)
	check(t, err)
	n.client, err = lite.New(t.Context(), lite.Options{Servers: parsed.Servers, Trusted: parsed.Init, OneServer: true, Execute: machine.Execute, Now: n.now})
	check(t, err)
	t.Cleanup(n.client.Close)
	n.witness = newWitness(t, config)
	n.start = n.now().Truncate(day).Add(day)
	return n
}

// now is the simulated time that clocks of server and client tell: the newest block's.
func (n *network) now() time.Time {
	head, err := n.chain.Head(context.Background())
	if err != nil {
		return time.Time{}
	}
	return head.Time
}

// morning moves time to the beginning of a day.
func (n *network) morning(d int) {
	n.t.Helper()
	check(n.t, n.chain.SetTime(n.start.Add(time.Duration(d)*day)))
	check(n.t, n.chain.Step())
}

func (n *network) head() chain.Block {
	n.t.Helper()
	head, err := n.client.Head(n.t.Context())
	check(n.t, err)
	return head
}

func (n *network) account(at chain.Block, addr *address.Address) *chain.Account {
	n.t.Helper()
	a, err := n.client.Account(n.t.Context(), at, addr)
	check(n.t, err)
	return a
}

// get runs a get method on proven state.
func (n *network) get(at chain.Block, addr *address.Address, method string) []any {
	n.t.Helper()
	out, err := n.client.RunGet(n.t.Context(), at, addr, method)
	check(n.t, err)
	return out
}

func (n *network) nextQuery() uint64 {
	n.query++
	return n.query
}

// wallet is somebody who sends: a key, its wallet contract, and the messages that are on their way.
type wallet struct {
	name   string
	key    ed25519.PrivateKey
	in     bind.Instance
	sender *chain.Sender
}

// person is an address that belongs to a name and never appears on the chain.
func person(name string) *address.Address {
	h := sha256.Sum256([]byte(name))
	return address.NewAddress(0, 0, h[:])
}

func keyOf(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte("key of " + name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func publicKey(k ed25519.PrivateKey) bind.Hash { return bind.Hash(k[ed25519.SeedSize:]) }

// newWallet deploys a wallet with money from the faucet. An owner may take everything out of it.
func (n *network) newWallet(name string, owner *address.Address, coins bind.Nano) *wallet {
	n.t.Helper()
	key := keyOf(name)
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		n.t.Fatal("not an ed25519 key")
	}
	in, err := bind.NewWallet(code.Wallet(), public, owner)
	check(n.t, err)
	n.deploy(in, coins)
	return &wallet{name: name, key: key, in: in, sender: chain.NewSender(n.client, &chain.MemoryOutbox{})}
}

// deploy makes a contract with money from the faucet.
func (n *network) deploy(in bind.Instance, coins bind.Nano) {
	n.t.Helper()
	check(n.t, n.chain.Pay(letter{to: in.Address, value: coins, init: &in}.message()))
	check(n.t, n.chain.Step())
}

// letter is an internal message that a wallet is asked to send.
type letter struct {
	to    *address.Address
	value bind.Nano
	body  *cell.Cell
	init  *bind.Instance
}

func (l letter) message() *tlb.InternalMessage {
	m := &tlb.InternalMessage{
		IHRDisabled: true, Bounce: l.init == nil, DstAddr: l.to, Amount: tlb.FromNanoTONU(uint64(l.value)), Body: l.body,
	}
	if l.body == nil {
		m.Body = cell.BeginCell().EndCell()
	}
	if l.init != nil {
		m.StateInit = &tlb.StateInit{Code: l.init.Code, Data: l.init.Data}
	}
	return m
}

// ask is a letter that carries a message of the bindings.
func (n *network) ask(to *address.Address, value bind.Nano, m bind.Message) letter {
	n.t.Helper()
	body, err := bind.Encode(m)
	check(n.t, err)
	return letter{to: to, value: value, body: body}
}

// send signs a batch under the wallet's proven seqno and returns once the transaction that sent it is proven.
func (n *network) send(w *wallet, letters ...letter) chain.Receipt {
	n.t.Helper()
	head := n.head()
	data, err := bind.ParseWalletStorage(n.account(head, w.in.Address).Data)
	check(n.t, err)
	until := head.Time.Add(validFor)
	external := bind.WalletExternal{ValidUntil: uint32(until.Unix()), Seqno: data.Seqno}
	for _, l := range letters {
		m, err := tlb.ToCell(l.message())
		check(n.t, err)
		external.Batch = append(external.Batch, bind.Outgoing{Mode: payFees, Message: m})
	}
	body, err := external.Sign(w.key)
	check(n.t, err)
	m, err := tlb.ToCell(&tlb.ExternalMessage{DstAddr: w.in.Address, Body: body})
	check(n.t, err)
	receipt, err := n.confirm(w, chain.Message{Cell: m, Seqno: data.Seqno, ValidUntil: until})
	check(n.t, err)
	out, err := receipt.Transaction.Out()
	check(n.t, err)
	if receipt.Transaction.Aborted() || len(out) != len(letters) {
		n.t.Fatalf("%s sent %d of %d messages", w.name, len(out), len(letters))
	}
	return receipt
}

// confirm lets the sender wait for its transaction while this side makes a block for each message that arrives.
func (n *network) confirm(w *wallet, m chain.Message) (chain.Receipt, error) {
	ctx, cancel := context.WithTimeout(n.t.Context(), patience)
	defer cancel()
	type answer struct {
		receipt chain.Receipt
		err     error
	}
	done := make(chan answer, 1)
	go func() {
		r, err := w.sender.Send(ctx, m)
		done <- answer{r, err}
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	var stepped error
	for {
		select {
		case a := <-done:
			return a.receipt, errors.Join(a.err, stepped)
		case <-tick.C:
			if n.chain.MempoolSize() == 0 || stepped != nil {
				continue
			}
			if stepped = n.chain.Step(); stepped != nil {
				cancel()
			}
		}
	}
}

// exit is the exit code of an account's newest transaction, by its proven history.
func (n *network) exit(addr *address.Address) int32 {
	n.t.Helper()
	txs, err := n.client.Past(n.t.Context(), addr, n.account(n.head(), addr).Last, 1)
	check(n.t, err)
	code, ran := txs[0].Exit()
	if !ran {
		n.t.Fatalf("the newest transaction of %s ran no code", addr)
	}
	return code
}

// refused sends a letter that its receiver must refuse with an exit code.
func (n *network) refused(what string, w *wallet, l letter, exit int32) {
	n.t.Helper()
	n.send(w, l)
	same(n.t, fmt.Sprintf("exit code of %s", what), n.exit(l.to), exit)
}
