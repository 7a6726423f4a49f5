package bind

import (
	"fmt"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// WorkerStorage is the data of a worker contract (contracts.md sections 1.5 and 3.2).
type WorkerStorage struct {
	Owner    *address.Address // the person, who is paid
	Proxy    *address.Address
	ProxyKey Hash
	State    State // Open or Closed
	Tokens   uint64
	Params   Params // without codes
	// Ext is what our code appends, nil until something came back unpaid.
	Ext *WorkerExt
}

// WorkerExt is the appended part of a worker's storage: money booked that the proxy owes.
type WorkerExt struct {
	UnpaidWorker, UnpaidProxy Nano
}

// ParseWorkerStorage reads a worker's data cell.
func ParseWorkerStorage(from *cell.Cell) (WorkerStorage, error) {
	var s WorkerStorage
	if err := decode(from, &s); err != nil {
		return WorkerStorage{}, fmt.Errorf("reading worker storage: %w", err)
	}
	return s, nil
}

// Cell writes the data cell.
func (s WorkerStorage) Cell() (*cell.Cell, error) {
	out, err := encode(&s)
	if err != nil {
		return nil, fmt.Errorf("writing worker storage: %w", err)
	}
	return out, nil
}

func (s *WorkerStorage) fields(c *codec) {
	c.addr("owner", &s.Owner)
	c.addr("proxy", &s.Proxy)
	c.hash("proxy_public_key", &s.ProxyKey)
	number64(c, "state", 2, &s.State)
	c.counter("tokens", &s.Tokens)
	c.sub("params", &s.Params)
	s.Ext = appended(c, s.Ext)
}

func (e *WorkerExt) fields(c *codec) {
	c.constant("ext_version", 8, extVersion)
	c.amount("unpaid_worker", &e.UnpaidWorker)
	c.amount("unpaid_proxy", &e.UnpaidProxy)
}

// WorkerPayout pays for the tokens served since the last payout, by the machine's key. Whoever holds one may submit it:
// show it to nobody before it is on chain.
type WorkerPayout struct{ Signed }

// Op is the operation code.
func (*WorkerPayout) Op() Op { return OpWorkerPayout }

// WorkerLastPayout pays the rest and closes the contract, by the machine's key.
type WorkerLastPayout struct{ Signed }

// Op is the operation code.
func (*WorkerLastPayout) Op() Op { return OpWorkerLastPayout }

// WorkerRegister tells the proxy of the worker, by the owner.
type WorkerRegister request

// Op is the operation code.
func (*WorkerRegister) Op() Op { return OpWorkerRegister }

func (m *WorkerRegister) fields(c *codec) { (*request)(m).fields(c) }

// WorkerUnpaid is the proxy's reply: so much of a payout could not be paid.
type WorkerUnpaid struct {
	QueryID               uint64
	WorkerPart, ProxyPart Nano
}

// Op is the operation code.
func (*WorkerUnpaid) Op() Op { return OpWorkerUnpaid }

func (m *WorkerUnpaid) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.amount("worker_part", &m.WorkerPart)
	c.amount("proxy_part", &m.ProxyPart)
}

// WorkerRetry asks again for what is booked as unpaid; anyone may send it.
type WorkerRetry request

// Op is the operation code.
func (*WorkerRetry) Op() Op { return OpWorkerRetry }

func (m *WorkerRetry) fields(c *codec) { (*request)(m).fields(c) }

// WorkerSweep pays coins that are stuck in the contract to the owner.
type WorkerSweep query

// Op is the operation code.
func (*WorkerSweep) Op() Op { return OpWorkerSweep }

func (m *WorkerSweep) fields(c *codec) { (*query)(m).fields(c) }

// WorkerNote is what a worker contract tells its proxy.
type WorkerNote struct {
	QueryID uint64
	Owner   *address.Address
	State   State
	Tokens  uint64
	Payload Message // nil or *NotePayout
}

// Op is the operation code.
func (*WorkerNote) Op() Op { return OpWorkerNote }

func (m *WorkerNote) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.addr("owner", &m.Owner)
	number64(c, "state", 2, &m.State)
	c.counter("tokens", &m.Tokens)
	c.payload(&m.Payload, ContractWorkerPayload)
}

// NotePayout is the payload that asks the pool for the worker's and the proxy owner's parts.
type NotePayout struct {
	WorkerPart, ProxyPart Nano
	Excess                *address.Address
}

// Op is the operation code.
func (*NotePayout) Op() Op { return OpNotePayout }

func (m *NotePayout) fields(c *codec) {
	c.amount("worker_part", &m.WorkerPart)
	c.amount("proxy_part", &m.ProxyPart)
	c.addr("send_excesses_to", &m.Excess)
}

// WorkerData is the result of get_cocoon_worker_data.
type WorkerData struct {
	Owner, Proxy *address.Address
	ProxyKey     Hash
	State        State
	Tokens       uint64
}

// ParseWorkerData reads the result stack of get_cocoon_worker_data.
func ParseWorkerData(result []any) (WorkerData, error) {
	var d WorkerData
	s := stack{values: result}
	d.Owner, d.Proxy, d.ProxyKey = s.addr(), s.addr(), s.hash()
	d.State, d.Tokens = s.state(), s.counter()
	return d, s.end("get_cocoon_worker_data")
}

// ParseUnpaid reads the result stack of get_unpaid.
func ParseUnpaid(result []any) (WorkerExt, error) {
	s := stack{values: result}
	e := WorkerExt{UnpaidWorker: s.amount(), UnpaidProxy: s.amount()}
	return e, s.end("get_unpaid")
}
