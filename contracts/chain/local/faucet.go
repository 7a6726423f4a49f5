package local

import (
	"crypto/ed25519"
	"fmt"
	"math"
	"math/big"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/ton/wallet"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
)

// faucet is the wallet, of version 3, that holds all money at first. Its money reaches others only through its own
// signed messages and real transactions, so that money is conserved on the whole chain.
type faucet struct {
	key  ed25519.PrivateKey
	init *tlb.StateInit
	addr *address.Address
}

// faucetMode pays fees from the faucet's balance and skips what cannot be sent (send modes 1 and 2).
const faucetMode = 1 + 2

func newFaucet(seed [32]byte) (*faucet, error) {
	k := derive(seed, "faucet")
	f := &faucet{key: ed25519.NewKeyFromSeed(k[:])}
	pub, _ := f.key.Public().(ed25519.PublicKey) // documented to be of this type
	var err error
	if f.init, err = wallet.GetStateInit(pub, wallet.V3R2, wallet.DefaultSubwallet); err != nil {
		return nil, fmt.Errorf("making the faucet: %w", err)
	}
	f.addr = f.init.CalcAddress(0)
	return f, nil
}

// transfer is the signed external message with one internal message. It never expires: block times may be anything.
func (f *faucet) transfer(seqno uint32, m *tlb.InternalMessage) (*cell.Cell, error) {
	inner, err := tlb.ToCell(m)
	if err != nil {
		return nil, err
	}
	b := cell.BeginCell()
	for _, v := range []uint32{wallet.DefaultSubwallet, math.MaxUint32, seqno} { // subwallet_id, valid_until, seqno
		if err := b.StoreUInt(uint64(v), 32); err != nil {
			return nil, err
		}
	}
	if err := b.StoreUInt(faucetMode, 8); err != nil {
		return nil, err
	}
	if err := b.StoreRef(inner); err != nil {
		return nil, err
	}
	payload := b.EndCell()
	body := cell.BeginCell()
	if err := body.StoreSlice(payload.Sign(f.key), 8*ed25519.SignatureSize); err != nil {
		return nil, err
	}
	if err := body.StoreBuilder(payload.ToBuilder()); err != nil {
		return nil, err
	}
	return tlb.ToCell(&tlb.ExternalMessage{DstAddr: f.addr, Body: body.EndCell()})
}

// Faucet is the address that Fund's money comes from.
func (c *Chain) Faucet() *address.Address { return c.genesis.faucet.addr }

// Fund sends faucet money with the next block; amount in nanoTON, body may be nil. The message does not bounce.
func (c *Chain) Fund(to *address.Address, amount *big.Int, body *cell.Cell) error {
	if body == nil {
		body = cell.BeginCell().EndCell()
	}
	return c.Pay(&tlb.InternalMessage{IHRDisabled: true, DstAddr: to, Amount: tlb.FromNanoTON(amount), Body: body})
}

// Pay sends an internal message from the faucet with the next block: money, body, and a state to deploy.
func (c *Chain) Pay(m *tlb.InternalMessage) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	if err := c.pay(m); err != nil {
		return fmt.Errorf("paying %s from the faucet: %w", m.DstAddr, err)
	}
	return nil
}

func (c *Chain) pay(m *tlb.InternalMessage) error {
	seqno, err := c.faucetSeqno()
	if err != nil {
		return err
	}
	msg, err := c.genesis.faucet.transfer(seqno, m)
	if err != nil {
		return err
	}
	e, err := parseExternal(msg)
	if err != nil {
		return err
	}
	e.keep = true
	c.pool.waiting = append(c.pool.waiting, e) // past the limits and faults for strangers' messages
	return nil
}

// faucetSeqno is the next message's: the account's plus the waiting ones.
func (c *Chain) faucetSeqno() (uint32, error) {
	a, err := c.account(describeBlock(c.head.Master.Block), c.Faucet())
	if err != nil {
		return 0, err
	}
	if a.Status != chain.Active {
		return 0, fmt.Errorf("the faucet is %s", a.Status)
	}
	s, err := a.Data.BeginParse()
	if err != nil {
		return 0, err
	}
	seqno, err := s.LoadUInt(32)
	if err != nil {
		return 0, err
	}
	for _, w := range c.pool.waiting {
		if w.dst.Equals(c.Faucet()) {
			seqno++
		}
	}
	return uint32(seqno), nil //nolint:gosec // 32 bits, and a few
}
