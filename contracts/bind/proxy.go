package bind

import (
	"fmt"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// State is the life of a proxy, client or worker contract; it never goes back.
type State uint8

// Proxy and client know all three; a worker skips Closing.
const (
	Open State = iota
	Closing
	Closed
)

// String is the state's name.
func (s State) String() string {
	switch s {
	case Open:
		return "open"
	case Closing:
		return "closing"
	case Closed:
		return "closed"
	default:
		return fmt.Sprintf("state %d", uint8(s))
	}
}

// extVersion is the only version of the appended storage (contracts.md section 3.2).
const extVersion = 1

// ProxyStorage is the data of a proxy contract (contracts.md sections 1.3 and 3.2).
type ProxyStorage struct {
	Owner    *address.Address
	ProxyKey Hash // ed25519 key of the machine
	Root     *address.Address
	State    State
	Balance  Nano   // revenue that the owner may withdraw
	Stake    Nano   // the owner's collateral
	UnlockAt uint32 // Unix time, 0 while open
	Params   Params // with ProxyCodes
	// Ext is what our code appends, nil in fresh and in the reference's contracts.
	Ext *ProxyExt
}

// ProxyExt is the appended part of a proxy's storage.
type ProxyExt struct {
	Liabilities Nano   // deposits that are neither refunded nor paid to workers or the owner
	ChildParams Params // the parameters without codes, as clients and workers have them
	Commit      CommitTip
	ClosedAt    uint32 // Unix time, 0 before
}

// CommitTip is the last accepted commit (contracts.md section 7); Seqno 0 means none.
type CommitTip struct {
	Seqno                       uint32
	Hash                        Hash // head of the ledger's journal
	CommittedAt                 uint32
	SessionHash, ReputationRoot Hash
}

// ParseProxyStorage reads a proxy's data cell.
func ParseProxyStorage(from *cell.Cell) (ProxyStorage, error) {
	var s ProxyStorage
	if err := decode(from, &s); err != nil {
		return ProxyStorage{}, fmt.Errorf("reading proxy storage: %w", err)
	}
	return s, nil
}

// Cell writes the data cell.
func (s ProxyStorage) Cell() (*cell.Cell, error) {
	out, err := encode(&s)
	if err != nil {
		return nil, fmt.Errorf("writing proxy storage: %w", err)
	}
	return out, nil
}

func (s *ProxyStorage) fields(c *codec) {
	c.addr("owner", &s.Owner)
	c.hash("proxy_public_key", &s.ProxyKey)
	c.addr("root", &s.Root)
	number64(c, "state", 2, &s.State)
	c.amount("balance", &s.Balance)
	c.amount("stake", &s.Stake)
	number64(c, "unlock_ts", 32, &s.UnlockAt)
	c.sub("params", &s.Params)
	s.Ext = appended(c, s.Ext)
}

func (e *ProxyExt) fields(c *codec) {
	c.constant("ext_version", 8, extVersion)
	c.amount("liabilities", &e.Liabilities)
	c.sub("child_params", &e.ChildParams)
	number64(c, "commit_seqno", 32, &e.Commit.Seqno)
	c.hash("commit_hash", &e.Commit.Hash)
	number64(c, "committed_at", 32, &e.Commit.CommittedAt)
	c.sub("roots", (*commitRoots)(&e.Commit))
	number64(c, "closed_at", 32, &e.ClosedAt)
}

// commitRoots is the inner cell of a commit tip and of a commit's payload.
type commitRoots CommitTip

func (r *commitRoots) fields(c *codec) {
	c.hash("session_hash", &r.SessionHash)
	c.hash("reputation_root", &r.ReputationRoot)
}

// appended is what our code keeps after the reference's fields: nothing, or a set bit and a cell.
func appended[T any, P interface {
	*T
	layout
}](c *codec, v P) P {
	if c.err != nil || (c.reading() && c.in.BitsLeft() == 0 && c.in.RefsNum() == 0) || (!c.reading() && v == nil) {
		return v
	}
	c.constant("extension", 1, 1)
	if c.reading() {
		v = new(T)
	}
	c.sub("extension", v)
	return v
}

// NetAddr is a proxy's address list as the root keeps it: "host:port", or "worker_host:port client_host:port".
type NetAddr string

// maxNetAddr is what fits a dictionary leaf and the register message with room to spare (contracts.md section 1.2).
const maxNetAddr = 110

func (n *NetAddr) fields(c *codec) {
	c.constant("kind", 1, 0)
	size := uint8(min(len(*n), 255))
	if size > maxNetAddr && !c.reading() {
		c.fail("text", fmt.Errorf("%d bytes, at most %d", len(*n), maxNetAddr))
	}
	number64(c, "len", 7, &size)
	text := []byte(*n)
	if c.reading() {
		text = make([]byte, size)
	}
	c.bytes("text", text)
	*n = NetAddr(text)
}

// ProxyIncreaseStake adds to the owner's collateral; anyone may send it.
type ProxyIncreaseStake struct {
	QueryID uint64
	Amount  Nano
	Excess  *address.Address
}

// Op is the operation code.
func (*ProxyIncreaseStake) Op() Op { return OpProxyIncreaseStake }

func (m *ProxyIncreaseStake) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.amount("amount", &m.Amount)
	c.addr("send_excesses_to", &m.Excess)
}

// ProxyPayout pays the owner's revenue to the owner; anyone may send it.
type ProxyPayout request

// Op is the operation code.
func (*ProxyPayout) Op() Op { return OpProxyPayout }

func (m *ProxyPayout) fields(c *codec) { (*request)(m).fields(c) }

// ProxyClose starts closing, by the owner; after the delay and 30 days without a commit it completes.
type ProxyClose request

// Op is the operation code.
func (*ProxyClose) Op() Op { return OpProxyClose }

func (m *ProxyClose) fields(c *codec) { (*request)(m).fields(c) }

// ProxySweepSurplus pays what nobody is owed to the owner of a closed proxy.
type ProxySweepSurplus request

// Op is the operation code.
func (*ProxySweepSurplus) Op() Op { return OpProxySweepSurplus }

func (m *ProxySweepSurplus) fields(c *codec) { (*request)(m).fields(c) }

// ProxyCloseRequest starts closing, by the machine's key.
type ProxyCloseRequest struct{ Signed }

// Op is the operation code.
func (*ProxyCloseRequest) Op() Op { return OpProxyCloseRequest }

// ProxyCloseComplete completes closing, by the machine's key.
type ProxyCloseComplete struct{ Signed }

// Op is the operation code.
func (*ProxyCloseComplete) Op() Op { return OpProxyCloseComplete }

// ProxyCommit advances the commit tip, by the machine's key.
type ProxyCommit struct{ Signed }

// Op is the operation code.
func (*ProxyCommit) Op() Op { return OpProxyCommit }

// Text is a one-letter command of a contract's owner: 'c' and 'w' at a proxy, 'w', 'b' and 'u' at a wallet.
type Text struct{ Command byte }

// Op is the operation code.
func (*Text) Op() Op { return OpText }

func (m *Text) fields(c *codec) { number64(c, "command", 8, &m.Command) }

// ProxyData is the result of get_cocoon_proxy_data.
type ProxyData struct {
	Owner                         *address.Address
	ProxyKey                      Hash
	Root                          *address.Address
	State                         State
	Balance, Stake                Nano
	UnlockAt                      uint32
	PricePerToken, WorkerFee      Nano
	MinProxyStake, MinClientStake Nano
	ParamsVersion                 uint32
}

// ParseProxyData reads the result stack of get_cocoon_proxy_data.
func ParseProxyData(result []any) (ProxyData, error) {
	var d ProxyData
	s := stack{values: result}
	d.Owner, d.ProxyKey, d.Root = s.addr(), s.hash(), s.addr()
	d.State = s.state()
	d.Balance, d.Stake, d.UnlockAt = s.amount(), s.amount(), s.word()
	d.PricePerToken, d.WorkerFee = s.amount(), s.amount()
	d.MinProxyStake, d.MinClientStake = s.amount(), s.amount()
	d.ParamsVersion = s.word()
	return d, s.end("get_cocoon_proxy_data")
}

// ParseAmount reads the result stack of a get method that answers one amount, like get_liabilities or get_claimed.
func ParseAmount(method string, result []any) (Nano, error) {
	s := stack{values: result}
	v := s.amount()
	return v, s.end(method)
}

// ParseCommitTip reads the result stack of get_commit_tip.
func ParseCommitTip(result []any) (CommitTip, error) {
	var t CommitTip
	s := stack{values: result}
	t.Seqno, t.Hash = s.word(), s.hash()
	t.SessionHash, t.ReputationRoot = s.hash(), s.hash()
	t.CommittedAt = s.word()
	return t, s.end("get_commit_tip")
}
