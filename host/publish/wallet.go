package publish

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/ton/wallet"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/code"
	"cocoon/contracts/registry"
)

// Kind is a wallet contract's kind.
type Kind string

// The wallets that can be signed for.
const (
	V4R2 Kind = "v4r2"
	V5R1 Kind = "v5r1"
	// Cocoon is a machine's wallet (contracts.md section 1.6): its machine's key signs, or its owner commands it.
	Cocoon Kind = "cocoon"
)

// ParseKind reads the kind of a person's wallet.
func ParseKind(name string) (Kind, error) {
	switch k := Kind(name); k {
	case V4R2, V5R1:
		return k, nil
	default:
		return "", fmt.Errorf("wallet kind %q is neither %s nor %s", name, V4R2, V5R1)
	}
}

const (
	// maxBatch is how many orders one external message carries: what a v4r2 and a machine's wallet take.
	maxBatch = 4
	// modeSeparateFees pays forwarding fees from the wallet, so that the value arrives whole (send mode 1).
	modeSeparateFees uint8 = 1
	// signedExternal begins the body of a v5 external message ("sign").
	signedExternal = 0x7369676e
	// actionSend is action_send_msg of block.tlb.
	actionSend = 0x0ec3c86d
)

// Wallet is a wallet contract with the key that signs for it.
type Wallet struct {
	Kind    Kind
	Address *address.Address
	// Init deploys it.
	Init *tlb.StateInit

	signer *Signer
	id     uint32 // subwallet, or the wallet id of v5
	seqno  uint32
}

// NewWallet is a person's wallet of a kind for a key on a network.
func NewWallet(k Kind, s *Signer, n registry.Network) (*Wallet, error) {
	var version wallet.VersionConfig = wallet.V4R2
	id, sub := uint32(wallet.DefaultSubwallet), uint32(wallet.DefaultSubwallet)
	if k == V5R1 {
		version = wallet.ConfigV5R1Final{NetworkGlobalID: int32(n)}
		id, sub = wallet.V5R1ID{NetworkGlobalID: int32(n)}.Serialized(), 0
	} else if k != V4R2 {
		return nil, fmt.Errorf("deriving wallet: %q is not a person's wallet", k)
	}
	init, err := wallet.GetStateInit(s.Public(), version, sub)
	if err != nil {
		return nil, fmt.Errorf("deriving wallet: %w", err)
	}
	return &Wallet{Kind: k, Address: init.CalcAddress(0), Init: init, signer: s, id: id}, nil
}

// NewMachineWallet is the machine's wallet for a key and an owner, with our code.
func NewMachineWallet(s *Signer, owner *address.Address) (*Wallet, error) {
	in, err := bind.NewWallet(code.Wallet(), s.Public(), owner)
	if err != nil {
		return nil, err
	}
	return &Wallet{Kind: Cocoon, Address: in.Address, Init: &tlb.StateInit{Code: in.Code, Data: in.Data}, signer: s}, nil
}

// KindOf recognises a wallet by its code.
func KindOf(c *cell.Cell) (Kind, bool) {
	if c == nil {
		return "", false
	}
	if id, ok := code.Recognise(code.Hash(c.Hash())); ok && id.Contract == "wallet" {
		return Cocoon, true
	}
	key := ed25519.PublicKey(make([]byte, ed25519.PublicKeySize))
	for kind, version := range map[Kind]wallet.VersionConfig{V4R2: wallet.V4R2, V5R1: wallet.ConfigV5R1Final{}} {
		if init, err := wallet.GetStateInit(key, version, 0); err == nil && bytes.Equal(init.Code.Hash(), c.Hash()) {
			return kind, true
		}
	}
	return "", false
}

// Order is an internal message that a wallet is asked to send.
type Order struct {
	// What says in a few words what the order does, for people.
	What  string
	To    *address.Address
	Value bind.Nano
	Body  *cell.Cell
	// Init deploys the receiver, nil when it exists. NoBounce lets the money stay where there is no contract yet.
	Init     *bind.Instance
	NoBounce bool
}

// message is the order from a sender; its wallet's contract fills in what is missing. Deployments do not bounce: before
// them there is nobody who could.
func (o Order) message(from *address.Address) *tlb.InternalMessage {
	m := &tlb.InternalMessage{
		IHRDisabled: true, Bounce: o.Init == nil && !o.NoBounce, SrcAddr: from, DstAddr: o.To,
		Amount: tlb.FromNanoTONU(uint64(o.Value)), Body: o.Body,
	}
	if o.Body == nil {
		m.Body = cell.BeginCell().EndCell()
	}
	if o.Init != nil {
		m.StateInit = &tlb.StateInit{Code: o.Init.Code, Data: o.Init.Data}
	}
	return m
}

// external signs orders as one external message.
func (w *Wallet) external(orders []Order, until time.Time, deployed bool) (*cell.Cell, error) {
	if len(orders) == 0 || len(orders) > maxBatch {
		return nil, fmt.Errorf("signing message: %d orders, want 1 to %d", len(orders), maxBatch)
	}
	out := make([]bind.Outgoing, len(orders))
	for i, o := range orders {
		inner, err := tlb.ToCell(o.message(nil))
		if err != nil {
			return nil, fmt.Errorf("writing message to %s: %w", o.To, err)
		}
		out[i] = bind.Outgoing{Mode: modeSeparateFees | bind.ModeIgnoreErrors, Message: inner}
	}
	body, err := w.body(out, uint32(until.Unix())) //nolint:gosec // TON's times are 32 bits wide
	if err != nil {
		return nil, fmt.Errorf("signing message: %w", err)
	}
	ext := &tlb.ExternalMessage{DstAddr: w.Address, Body: body}
	if !deployed {
		ext.StateInit = w.Init
	}
	msg, err := tlb.ToCell(ext)
	if err != nil {
		return nil, fmt.Errorf("signing message: %w", err)
	}
	return msg, nil
}

func (w *Wallet) body(out []bind.Outgoing, until uint32) (*cell.Cell, error) {
	switch w.Kind {
	case Cocoon:
		return bind.WalletExternal{Subwallet: w.id, ValidUntil: until, Seqno: w.seqno, Batch: out}.Sign(w.signer.key)
	case V5R1:
		return w.bodyV5(out, until)
	case V4R2:
		return w.bodyV4(out, until)
	default:
		return nil, fmt.Errorf("a wallet of kind %q", w.Kind)
	}
}

// head stores the fields that all wallets begin with.
func (w *Wallet) head(b *cell.Builder, until uint32) error {
	return errors.Join(b.StoreUInt(uint64(w.id), 32), b.StoreUInt(uint64(until), 32), b.StoreUInt(uint64(w.seqno), 32))
}

// bodyV4: signature, subwallet, valid_until, seqno, op 0, and mode and reference of each message.
func (w *Wallet) bodyV4(out []bind.Outgoing, until uint32) (*cell.Cell, error) {
	b := cell.BeginCell()
	err := errors.Join(w.head(b, until), b.StoreUInt(0, 8))
	for _, o := range out {
		err = errors.Join(err, b.StoreUInt(uint64(o.Mode), 8), b.StoreRef(o.Message))
	}
	if err != nil {
		return nil, err
	}
	signed := cell.BeginCell()
	err = errors.Join(signed.StoreSlice(w.signer.sign(b.EndCell().Hash()), 8*ed25519.SignatureSize), signed.StoreBuilder(b))
	return signed.EndCell(), err
}

// bodyV5: "sign", wallet id, valid_until, seqno, a list of send actions, no other actions, signature.
func (w *Wallet) bodyV5(out []bind.Outgoing, until uint32) (*cell.Cell, error) {
	list := cell.BeginCell().EndCell()
	for _, o := range out {
		b := cell.BeginCell()
		if err := errors.Join(b.StoreRef(list), b.StoreUInt(actionSend, 32), b.StoreUInt(uint64(o.Mode), 8), b.StoreRef(o.Message)); err != nil {
			return nil, err
		}
		list = b.EndCell()
	}
	b := cell.BeginCell()
	err := errors.Join(b.StoreUInt(signedExternal, 32), w.head(b, until), b.StoreUInt(1, 1), b.StoreRef(list), b.StoreUInt(0, 1))
	if err != nil {
		return nil, err
	}
	signature := w.signer.sign(b.EndCell().Hash())
	err = b.StoreSlice(signature, 8*ed25519.SignatureSize)
	return b.EndCell(), err
}
