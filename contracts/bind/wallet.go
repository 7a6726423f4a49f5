package bind

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// WalletStorage is the data of a machine's wallet (contracts.md section 1.6).
type WalletStorage struct {
	Seqno     uint32 // of the next external message
	Subwallet uint32 // 0
	PublicKey Hash   // of the machine
	Status    uint32 // WalletBlocked or 0
	Owner     *address.Address
}

// WalletBlocked is the status bit that stops external messages.
const WalletBlocked uint32 = 1

// ParseWalletStorage reads a wallet's data cell.
func ParseWalletStorage(from *cell.Cell) (WalletStorage, error) {
	var s WalletStorage
	if err := decode(from, &s); err != nil {
		return WalletStorage{}, fmt.Errorf("reading wallet storage: %w", err)
	}
	return s, nil
}

// Cell writes the data cell.
func (s WalletStorage) Cell() (*cell.Cell, error) {
	out, err := encode(&s)
	if err != nil {
		return nil, fmt.Errorf("writing wallet storage: %w", err)
	}
	return out, nil
}

func (s *WalletStorage) fields(c *codec) {
	number64(c, "seqno", 32, &s.Seqno)
	number64(c, "subwallet", 32, &s.Subwallet)
	c.hash("public_key", &s.PublicKey)
	number64(c, "status", 32, &s.Status)
	c.addr("owner", &s.Owner)
}

// WalletSend makes the wallet send a message, by the owner.
type WalletSend struct {
	QueryID uint64
	Mode    uint8
	Message *cell.Cell
}

// Op is the operation code.
func (*WalletSend) Op() Op { return OpWalletSend }

func (m *WalletSend) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	number64(c, "mode", 8, &m.Mode)
	c.raw("message", &m.Message)
}

const (
	// maxBatch is how many messages one external message carries: a cell has four references.
	maxBatch = 4
	// ModeIgnoreErrors keeps one message that cannot be sent from undoing the transaction; without it the reference
	// wallet's sequence number stays and anyone can replay the message (contracts.md section 2.1, A6).
	ModeIgnoreErrors uint8 = 2
)

// Outgoing is a message that the wallet is asked to send.
type Outgoing struct {
	Mode    uint8
	Message *cell.Cell
}

// WalletExternal is what the machine's key signs: a batch under a sequence number, until a time.
type WalletExternal struct {
	Subwallet  uint32
	ValidUntil uint32 // Unix time; 60 to 120 s ahead
	Seqno      uint32
	Batch      []Outgoing // at most four
}

func (m *WalletExternal) fields(c *codec) {
	number64(c, "subwallet", 32, &m.Subwallet)
	number64(c, "valid_until", 32, &m.ValidUntil)
	number64(c, "seqno", 32, &m.Seqno)
	if c.reading() && c.err == nil {
		m.Batch = make([]Outgoing, min(c.in.RefsNum(), maxBatch))
	}
	if len(m.Batch) > maxBatch {
		c.fail("batch", fmt.Errorf("%d messages, at most %d", len(m.Batch), maxBatch))
	}
	for i := range m.Batch {
		number64(c, "mode", 8, &m.Batch[i].Mode)
		c.raw("message", &m.Batch[i].Message)
	}
}

// Sign writes the body of the external message. Every mode gets ModeIgnoreErrors, for wallets of the reference's code.
func (m WalletExternal) Sign(key ed25519.PrivateKey) (*cell.Cell, error) {
	if len(key) != ed25519.PrivateKeySize {
		return nil, errors.New("signing external message: not an ed25519 key")
	}
	batch := make([]Outgoing, len(m.Batch))
	for i, o := range m.Batch {
		batch[i] = Outgoing{Mode: o.Mode | ModeIgnoreErrors, Message: o.Message}
	}
	m.Batch = batch
	inner, err := encode(&m)
	if err != nil {
		return nil, fmt.Errorf("signing external message: %w", err)
	}
	out := cell.BeginCell()
	err = errors.Join(out.StoreSlice(ed25519.Sign(key, inner.Hash()), 8*ed25519.SignatureSize), out.StoreBuilder(inner.ToBuilder()))
	if err != nil {
		return nil, fmt.Errorf("signing external message: %w", err)
	}
	return out.EndCell(), nil
}

// ParseWalletExternal reads the body of an external message and checks its signature.
func ParseWalletExternal(from *cell.Cell, key Hash) (WalletExternal, error) {
	var m WalletExternal
	c, err := open(from)
	if err != nil {
		return m, fmt.Errorf("reading external message: %w", err)
	}
	var sig [ed25519.SignatureSize]byte
	c.bytes("signature", sig[:])
	if c.err == nil {
		rest, err := c.in.ToCell()
		c.fail("signed part", err)
		if err == nil && !ed25519.Verify(key[:], rest.Hash(), sig[:]) {
			c.fail("signature", errors.New("not by this key"))
		}
	}
	m.fields(c)
	if err := c.end(); err != nil {
		return WalletExternal{}, fmt.Errorf("reading external message: %w", err)
	}
	return m, nil
}
