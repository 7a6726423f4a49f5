package publish

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/chain/machine"
	"cocoon/contracts/code"
)

// commandFee goes along with a command to a machine's wallet, for that wallet's gas and forwarding.
const commandFee bind.Nano = 5e7

// Principal is whom contracts see as the sender of orders, and the wallet that is signed for to get there: the same
// one, or the person's wallet that commands a machine's wallet.
type Principal struct {
	// Address is what a contract compares with its owner.
	Address *address.Address
	// Wallet is what the key signs for; nil when nobody signs here and the orders are for somebody else's wallet.
	Wallet *Wallet
	// Commands tells that Address is a machine's wallet, which Wallet commands.
	Commands bool

	account *chain.Account // the wallet's
}

// Unsigned is a principal that only writes orders down, for a wallet whose key is elsewhere.
func Unsigned(addr *address.Address) *Principal { return &Principal{Address: addr} }

// As is the principal that a key is through one of its own wallets.
func (s *Site) As(ctx context.Context, w *Wallet) (*Principal, error) {
	account, err := s.Account(ctx, w.Address)
	if err != nil {
		return nil, err
	}
	if account.Status == chain.Active {
		result, err := machine.Execute(account, s.Config, "seqno")
		if err != nil {
			return nil, fmt.Errorf("reading wallet %s: %w", w.Address, err)
		}
		if w.seqno, err = bind.ParseNumber("seqno", result); err != nil {
			return nil, fmt.Errorf("reading wallet %s: %w", w.Address, err)
		}
	}
	return &Principal{Address: w.Address, Wallet: w, account: account}, nil
}

// Principal finds how a key may act as an owner: the owner is one of its wallets, or a machine's wallet that the key
// signs for or whose owner it is. Anything else is ErrNoRights.
func (s *Site) Principal(ctx context.Context, owner *address.Address, signer *Signer) (*Principal, error) {
	var tried []string
	var own []*Wallet
	for _, kind := range []Kind{V5R1, V4R2} {
		w, err := NewWallet(kind, signer, s.ID)
		if err != nil {
			return nil, err
		}
		if w.Address.Equals(owner) {
			return s.As(ctx, w)
		}
		own = append(own, w)
		tried = append(tried, fmt.Sprintf("%s %s", kind, w.Address))
	}
	account, err := s.Account(ctx, owner)
	if err != nil {
		return nil, err
	}
	if account.Status == chain.Active {
		p, err := s.throughContract(ctx, account, signer, own)
		if p != nil || err != nil {
			return p, err
		}
	}
	return nil, fmt.Errorf("%w: the owner is %s (%s), the key's wallets are %s", ErrNoRights, owner, describe(account), strings.Join(tried, ", "))
}

// throughContract looks for a way through a contract that owns things for a person; nil when there is none.
func (s *Site) throughContract(ctx context.Context, owner *chain.Account, signer *Signer, own []*Wallet) (*Principal, error) {
	if kind, ok := KindOf(owner.Code); !ok || kind != Cocoon {
		return nil, nil //nolint:nilnil // no way is not an error yet
	}
	storage, err := bind.ParseWalletStorage(owner.Data)
	if err != nil {
		return nil, err
	}
	if bytes.Equal(storage.PublicKey[:], signer.Public()) {
		return s.As(ctx, &Wallet{
			Kind: Cocoon, Address: owner.Address, Init: &tlb.StateInit{Code: owner.Code, Data: owner.Data},
			signer: signer, id: storage.Subwallet,
		})
	}
	for _, w := range own {
		if w.Address.Equals(storage.Owner) {
			p, err := s.As(ctx, w)
			if err != nil {
				return nil, err
			}
			p.Address, p.Commands = owner.Address, true
			return p, nil
		}
	}
	return nil, nil //nolint:nilnil // no way is not an error yet
}

// describe says what an account is, for refusals.
func describe(a *chain.Account) string {
	if a.Status != chain.Active {
		return a.Status.String()
	}
	if kind, ok := KindOf(a.Code); ok {
		return "a wallet of kind " + string(kind)
	}
	if id, ok := code.Recognise(code.Hash(a.Code.Hash())); ok {
		return "a " + id.Contract + " contract"
	}
	return "a contract of unknown code"
}

// wrap turns orders of the principal into orders of the wallet that is signed for.
func (p *Principal) wrap(orders []Order) ([]Order, error) {
	if !p.Commands {
		return orders, nil
	}
	out := make([]Order, len(orders))
	for i, o := range orders {
		inner, err := tlb.ToCell(o.message(nil))
		if err != nil {
			return nil, fmt.Errorf("writing message to %s: %w", o.To, err)
		}
		body, err := bind.Encode(&bind.WalletSend{Mode: modeSeparateFees | bind.ModeIgnoreErrors, Message: inner})
		if err != nil {
			return nil, err
		}
		out[i] = Order{What: o.What, To: p.Address, Value: o.Value + commandFee, Body: body}
	}
	return out, nil
}

// sign makes the external message of a batch of orders.
func (p *Principal) sign(s *Site, orders []Order) (chain.Message, error) {
	wrapped, err := p.wrap(orders)
	if err != nil {
		return chain.Message{}, err
	}
	until := s.deadline()
	msg, err := p.Wallet.external(wrapped, until, p.account.Status == chain.Active)
	return chain.Message{Cell: msg, Seqno: p.Wallet.seqno, ValidUntil: until}, err
}

// bodyHash recognises an order's transaction at its receiver.
func (o Order) bodyHash() chain.Hash {
	if o.Body == nil {
		return chain.Hash(cell.BeginCell().EndCell().Hash())
	}
	return chain.Hash(o.Body.Hash())
}
