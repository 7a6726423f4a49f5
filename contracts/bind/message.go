package bind

import (
	"errors"
	"fmt"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// Op is the 32-bit code that a message body begins with.
type Op uint32

// String is the name in the table of operations, or the code.
func (o Op) String() string {
	for _, row := range Operations() {
		if row.Op == o {
			return row.Name
		}
	}
	return fmt.Sprintf("%08x", uint32(o))
}

// Message is a body or a payload of this package; outside packages cannot add one.
type Message interface {
	layout
	Op() Op
}

// Encode writes a message body, or a payload.
func Encode(m Message) (*cell.Cell, error) {
	out, err := encode(body{m})
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", m.Op(), err)
	}
	return out, nil
}

// body is a message behind its operation code.
type body struct{ Message }

func (b body) fields(c *codec) {
	c.constant("op", 32, uint64(b.Op()))
	b.Message.fields(c)
}

// ErrUnknownOp is wrapped when a body begins with no operation that the contract knows.
var ErrUnknownOp = errors.New("unknown operation")

// Decode reads a body as the given contract would. Operations that every contract knows are read for each of them.
func Decode(to Contract, from *cell.Cell) (Message, error) {
	m, err := decodeMessage(to, from)
	if err != nil {
		return nil, fmt.Errorf("reading message to %s: %w", to, err)
	}
	return m, nil
}

func decodeMessage(to Contract, from *cell.Cell) (Message, error) {
	c, err := open(from)
	if err != nil {
		return nil, err
	}
	op, err := c.in.PreloadUInt(32)
	if err != nil {
		return nil, fmt.Errorf("op: %w", err)
	}
	for _, row := range Operations() {
		if uint64(row.Op) == op && row.New != nil && (row.Contract == to || row.Contract == ContractAny || (row.Op == OpText && to == ContractWallet)) {
			m := row.New()
			body{m}.fields(c)
			if err := c.end(); err != nil {
				return nil, fmt.Errorf("%s: %w", row.Name, err)
			}
			return m, nil
		}
	}
	return nil, fmt.Errorf("%w %08x", ErrUnknownOp, op)
}

// payload is Maybe ^Cell with a message of one family in it.
func (c *codec) payload(m *Message, family Contract) {
	var inner *cell.Cell
	if !c.reading() && *m != nil && c.err == nil {
		made, err := Encode(*m)
		if err != nil {
			c.fail("payload", err)
			return
		}
		inner = made
	}
	c.maybeRaw("payload", &inner)
	if !c.reading() || c.err != nil || inner == nil {
		return
	}
	got, err := decodeMessage(family, inner)
	c.fail("payload", err)
	*m = got
}

// request is a body of a query id and the address that gets the excess.
type request struct {
	QueryID uint64
	Excess  *address.Address
}

func (m *request) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.addr("send_excesses_to", &m.Excess)
}

// query is a body of a query id alone.
type query struct{ QueryID uint64 }

func (m *query) fields(c *codec) { number64(c, "query_id", 64, &m.QueryID) }

// Excesses brings back what a message did not need.
type Excesses query

// Op is the operation code.
func (*Excesses) Op() Op { return OpExcesses }

func (m *Excesses) fields(c *codec) { (*query)(m).fields(c) }

// Payout brings money to an owner.
type Payout query

// Op is the operation code.
func (*Payout) Op() Op { return OpPayout }

func (m *Payout) fields(c *codec) { (*query)(m).fields(c) }

// SaveState is the reference's commit: a message that contracts do not process and that readers find in the proxy's
// transactions (contracts.md section 7).
type SaveState struct {
	QueryID    uint64
	Seqno      uint32 // below 2^31
	UniqueHash Hash
}

// Op is the operation code.
func (*SaveState) Op() Op { return OpDoNotProcess }

func (m *SaveState) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.constant("save_state", 32, uint64(OpSaveState))
	c.constant("seqno sign", 1, 0)
	number64(c, "seqno", 31, &m.Seqno)
	c.hash("unique_hash", &m.UniqueHash)
}
