package bind

import (
	"fmt"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// ClientStorage is the data of a client contract (contracts.md sections 1.4 and 3.2).
type ClientStorage struct {
	State      State
	Balance    Nano // prepaid and not charged
	Stake      Nano // what must stay while the client runs
	TokensUsed uint64
	UnlockAt   uint32 // Unix time, 0 while open
	SecretHash Hash   // sha256 of the secret
	Owner      *address.Address
	Proxy      *address.Address
	ProxyKey   Hash
	Params     Params // without codes
	// Ext is what our code appends, nil until a refund came back unpaid.
	Ext *ClientExt
}

// ClientExt is the appended part of a client's storage.
type ClientExt struct {
	Claimed Nano // what came back as unpaid so far, for audit
}

// ParseClientStorage reads a client's data cell.
func ParseClientStorage(from *cell.Cell) (ClientStorage, error) {
	var s ClientStorage
	if err := decode(from, &s); err != nil {
		return ClientStorage{}, fmt.Errorf("reading client storage: %w", err)
	}
	return s, nil
}

// Cell writes the data cell.
func (s ClientStorage) Cell() (*cell.Cell, error) {
	out, err := encode(&s)
	if err != nil {
		return nil, fmt.Errorf("writing client storage: %w", err)
	}
	return out, nil
}

func (s *ClientStorage) fields(c *codec) {
	number64(c, "state", 2, &s.State)
	c.amount("balance", &s.Balance)
	c.amount("stake", &s.Stake)
	c.counter("tokens_used", &s.TokensUsed)
	number64(c, "unlock_ts", 32, &s.UnlockAt)
	c.hash("secret_hash", &s.SecretHash)
	c.sub("constants", (*clientConstants)(s))
	c.sub("params", &s.Params)
	s.Ext = appended(c, s.Ext)
}

type clientConstants ClientStorage

func (s *clientConstants) fields(c *codec) {
	c.addr("owner", &s.Owner)
	c.addr("proxy", &s.Proxy)
	c.hash("proxy_public_key", &s.ProxyKey)
}

func (e *ClientExt) fields(c *codec) {
	c.constant("ext_version", 8, extVersion)
	c.amount("claimed", &e.Claimed)
}

// ClientTopUp pays into the balance; anyone may send it.
type ClientTopUp struct {
	QueryID uint64
	Amount  Nano
	Excess  *address.Address
}

// Op is the operation code.
func (*ClientTopUp) Op() Op { return OpClientTopUp }

func (m *ClientTopUp) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.amount("amount", &m.Amount)
	c.addr("send_excesses_to", &m.Excess)
}

// ClientChangeSecretAndTopUp pays in and replaces the secret's hash, by the owner.
type ClientChangeSecretAndTopUp struct {
	QueryID    uint64
	Amount     Nano
	SecretHash Hash
	Excess     *address.Address
}

// Op is the operation code.
func (*ClientChangeSecretAndTopUp) Op() Op { return OpClientChangeSecretAndTopUp }

func (m *ClientChangeSecretAndTopUp) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.amount("amount", &m.Amount)
	c.hash("secret_hash", &m.SecretHash)
	c.addr("send_excesses_to", &m.Excess)
}

// ClientRegister proves to the proxy that the sender controls the owner's wallet.
type ClientRegister struct {
	QueryID, Nonce uint64
	Excess         *address.Address
}

// Op is the operation code.
func (*ClientRegister) Op() Op { return OpClientRegister }

func (m *ClientRegister) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	number64(c, "nonce", 64, &m.Nonce)
	c.addr("send_excesses_to", &m.Excess)
}

// ClientChangeSecret replaces the secret's hash, by the owner.
type ClientChangeSecret struct {
	QueryID    uint64
	SecretHash Hash
	Excess     *address.Address
}

// Op is the operation code.
func (*ClientChangeSecret) Op() Op { return OpClientChangeSecret }

func (m *ClientChangeSecret) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.hash("secret_hash", &m.SecretHash)
	c.addr("send_excesses_to", &m.Excess)
}

// ClientIncreaseStake raises the stake, by the owner; no money moves.
type ClientIncreaseStake struct {
	QueryID  uint64
	NewStake Nano
	Excess   *address.Address
}

// Op is the operation code.
func (*ClientIncreaseStake) Op() Op { return OpClientIncreaseStake }

func (m *ClientIncreaseStake) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.amount("new_stake", &m.NewStake)
	c.addr("send_excesses_to", &m.Excess)
}

// ClientWithdraw refunds the balance above the stake, by the owner.
type ClientWithdraw request

// Op is the operation code.
func (*ClientWithdraw) Op() Op { return OpClientWithdraw }

func (m *ClientWithdraw) fields(c *codec) { (*request)(m).fields(c) }

// ClientRequestRefund starts closing and, after the delay, completes it with a forced refund, by the owner.
type ClientRequestRefund request

// Op is the operation code.
func (*ClientRequestRefund) Op() Op { return OpClientRequestRefund }

func (m *ClientRequestRefund) fields(c *codec) { (*request)(m).fields(c) }

// ClientClaim asks again for the balance of a closed contract; anyone may send it.
type ClientClaim request

// Op is the operation code.
func (*ClientClaim) Op() Op { return OpClientClaim }

func (m *ClientClaim) fields(c *codec) { (*request)(m).fields(c) }

// ClientCharge takes the price of the tokens used since the last charge, by the machine's key.
type ClientCharge struct{ Signed }

// Op is the operation code.
func (*ClientCharge) Op() Op { return OpClientCharge }

// ClientGrantRefund charges the last tokens, closes the contract and refunds its balance, by the machine's key.
type ClientGrantRefund struct{ Signed }

// Op is the operation code.
func (*ClientGrantRefund) Op() Op { return OpClientGrantRefund }

// ClientUnpaid is the proxy's reply: so much of a refund could not be paid.
type ClientUnpaid struct {
	QueryID uint64
	Amount  Nano
}

// Op is the operation code.
func (*ClientUnpaid) Op() Op { return OpClientUnpaid }

func (m *ClientUnpaid) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.amount("amount", &m.Amount)
}

// ClientSweep pays coins that are stuck in the contract to the owner.
type ClientSweep query

// Op is the operation code.
func (*ClientSweep) Op() Op { return OpClientSweep }

func (m *ClientSweep) fields(c *codec) { (*query)(m).fields(c) }

// ClientNote is what a client contract tells its proxy: its state, and with a payload what it asks for.
type ClientNote struct {
	QueryID    uint64
	Owner      *address.Address
	State      State
	Balance    Nano
	Stake      Nano
	TokensUsed uint64
	SecretHash Hash
	Payload    Message // nil, *NoteTopUp, *NoteRegister, *NoteRefundGranted or *NoteRefundForce
}

// Op is the operation code.
func (*ClientNote) Op() Op { return OpClientNote }

func (m *ClientNote) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.addr("owner", &m.Owner)
	c.sub("state_data", (*clientState)(m))
	c.payload(&m.Payload, ContractClientPayload)
}

type clientState ClientNote

func (m *clientState) fields(c *codec) {
	number64(c, "state", 2, &m.State)
	c.amount("balance", &m.Balance)
	c.amount("stake", &m.Stake)
	c.counter("tokens_used", &m.TokensUsed)
	c.hash("secret_hash", &m.SecretHash)
}

// coinsExcess are the fields of three payloads.
type coinsExcess struct {
	Amount Nano
	Excess *address.Address
}

func (m *coinsExcess) fields(c *codec) {
	c.amount("amount", &m.Amount)
	c.addr("send_excesses_to", &m.Excess)
}

// NoteTopUp is the payload that brings a deposit to the pool.
type NoteTopUp coinsExcess

// Op is the operation code.
func (*NoteTopUp) Op() Op { return OpNoteTopUp }

func (m *NoteTopUp) fields(c *codec) { (*coinsExcess)(m).fields(c) }

// NoteRefundGranted is the payload that asks for a refund from the pool.
type NoteRefundGranted coinsExcess

// Op is the operation code.
func (*NoteRefundGranted) Op() Op { return OpNoteRefundGranted }

func (m *NoteRefundGranted) fields(c *codec) { (*coinsExcess)(m).fields(c) }

// NoteRefundForce is the payload that asks for a refund from the proxy's stake.
type NoteRefundForce coinsExcess

// Op is the operation code.
func (*NoteRefundForce) Op() Op { return OpNoteRefundForce }

func (m *NoteRefundForce) fields(c *codec) { (*coinsExcess)(m).fields(c) }

// NoteRegister is the payload of a registration.
type NoteRegister struct{ Nonce uint64 }

// Op is the operation code.
func (*NoteRegister) Op() Op { return OpNoteRegister }

func (m *NoteRegister) fields(c *codec) { number64(c, "nonce", 64, &m.Nonce) }

// ClientData is the result of get_cocoon_client_data.
type ClientData struct {
	Owner, Proxy   *address.Address
	ProxyKey       Hash
	State          State
	Balance, Stake Nano
	TokensUsed     uint64
	UnlockAt       uint32
	SecretHash     Hash
}

// ParseClientData reads the result stack of get_cocoon_client_data.
func ParseClientData(result []any) (ClientData, error) {
	var d ClientData
	s := stack{values: result}
	d.Owner, d.Proxy, d.ProxyKey = s.addr(), s.addr(), s.hash()
	d.State = s.state()
	d.Balance, d.Stake, d.TokensUsed = s.amount(), s.amount(), s.counter()
	d.UnlockAt, d.SecretHash = s.word(), s.hash()
	return d, s.end("get_cocoon_client_data")
}
