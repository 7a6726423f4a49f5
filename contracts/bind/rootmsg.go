package bind

import (
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// hashBody are the fields of the six operations that add or delete a hash.
type hashBody struct {
	QueryID uint64
	Hash    Hash
}

func (m *hashBody) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.hash("hash", &m.Hash)
}

// RootHash adds a hash to a list of the root or deletes it: Change says which.
type RootHash struct {
	Change  Op // OpRootAddWorkerType, OpRootDelWorkerType, and the same of proxies and models
	QueryID uint64
	Hash    Hash
}

// Op is the operation code.
func (m *RootHash) Op() Op { return m.Change }

func (m *RootHash) fields(c *codec) {
	h := hashBody{m.QueryID, m.Hash}
	h.fields(c)
	m.QueryID, m.Hash = h.QueryID, h.Hash
}

// RootRegisterProxy adds a proxy under the next number.
type RootRegisterProxy struct {
	QueryID uint64
	Addr    NetAddr // in the body, not in a reference
}

// Op is the operation code.
func (*RootRegisterProxy) Op() Op { return OpRootRegisterProxy }

func (m *RootRegisterProxy) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	m.Addr.fields(c)
}

// RootUnregisterProxy removes a proxy.
type RootUnregisterProxy struct {
	QueryID uint64
	Seqno   uint32
}

// Op is the operation code.
func (*RootUnregisterProxy) Op() Op { return OpRootUnregisterProxy }

func (m *RootUnregisterProxy) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	number64(c, "seqno", 32, &m.Seqno)
}

// RootUpdateProxy replaces a proxy's addresses.
type RootUpdateProxy struct {
	QueryID uint64
	Seqno   uint32
	Addr    NetAddr
}

// Op is the operation code.
func (*RootUpdateProxy) Op() Op { return OpRootUpdateProxy }

func (m *RootUpdateProxy) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	number64(c, "seqno", 32, &m.Seqno)
	m.Addr.fields(c)
}

// RootChangePrice replaces price and worker's fee; like every change of parameters it redeploys all contracts.
type RootChangePrice struct {
	QueryID                  uint64
	PricePerToken, WorkerFee Nano
}

// Op is the operation code.
func (*RootChangePrice) Op() Op { return OpRootChangePrice }

func (m *RootChangePrice) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.amount("price", &m.PricePerToken)
	c.amount("fee", &m.WorkerFee)
}

// RootChangeParams replaces price, fee, delays and stakes.
type RootChangeParams struct {
	QueryID                       uint64
	PricePerToken, WorkerFee      Nano
	ProxyDelay, ClientDelay       uint32 // seconds
	MinProxyStake, MinClientStake Nano
}

// Op is the operation code.
func (*RootChangeParams) Op() Op { return OpRootChangeParams }

func (m *RootChangeParams) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.amount("price", &m.PricePerToken)
	c.amount("fee", &m.WorkerFee)
	number64(c, "proxy_delay", 32, &m.ProxyDelay)
	number64(c, "client_delay", 32, &m.ClientDelay)
	c.amount("min_proxy_stake", &m.MinProxyStake)
	c.amount("min_client_stake", &m.MinClientStake)
}

// RootUpgradeContracts replaces the codes that the parameters hold.
type RootUpgradeContracts struct {
	QueryID               uint64
	Proxy, Worker, Client *cell.Cell
}

// Op is the operation code.
func (*RootUpgradeContracts) Op() Op { return OpRootUpgradeContracts }

func (m *RootUpgradeContracts) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.raw("proxy_code", &m.Proxy)
	c.raw("worker_code", &m.Worker)
	c.raw("client_code", &m.Client)
}

// RootUpgrade replaces the root's own code.
type RootUpgrade struct {
	QueryID uint64
	Code    *cell.Cell
}

// Op is the operation code.
func (*RootUpgrade) Op() Op { return OpRootUpgrade }

func (m *RootUpgrade) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.raw("code", &m.Code)
}

// RootUpgradeFull replaces the root's code and data.
type RootUpgradeFull struct {
	QueryID    uint64
	Data, Code *cell.Cell
}

// Op is the operation code.
func (*RootUpgradeFull) Op() Op { return OpRootUpgradeFull }

func (m *RootUpgradeFull) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.raw("data", &m.Data)
	c.raw("code", &m.Code)
}

// RootReset clears the lists of hashes and proxies.
type RootReset query

// Op is the operation code.
func (*RootReset) Op() Op { return OpRootReset }

func (m *RootReset) fields(c *codec) { (*query)(m).fields(c) }

// RootChangeOwner hands the root over.
type RootChangeOwner struct {
	QueryID uint64
	Owner   *address.Address
}

// Op is the operation code.
func (*RootChangeOwner) Op() Op { return OpRootChangeOwner }

func (m *RootChangeOwner) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.addr("owner", &m.Owner)
}

// RootChangeKeyManager replaces the key manager; its keys stay.
type RootChangeKeyManager struct {
	QueryID   uint64
	PublicKey Hash
	ImageHash Hash
	Addr      NetAddr // at most 50 bytes fit into the body
}

// Op is the operation code.
func (*RootChangeKeyManager) Op() Op { return OpRootChangeKeyManager }

func (m *RootChangeKeyManager) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.hash("public_key", &m.PublicKey)
	c.hash("image_hash", &m.ImageHash)
	m.Addr.fields(c)
}

// RootAddPublicKeySigned adds a key that the key manager signed.
type RootAddPublicKeySigned struct{ Signed }

// Op is the operation code.
func (*RootAddPublicKeySigned) Op() Op { return OpRootAddPublicKeySigned }

// RootAddPublicKey adds a key, by the owner.
type RootAddPublicKey struct {
	QueryID uint64
	Key     ManagedKey
}

// Op is the operation code.
func (*RootAddPublicKey) Op() Op { return OpRootAddPublicKey }

func (m *RootAddPublicKey) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	m.Key.key(c)
	m.Key.value(c)
}

// KeyPayload is what the key manager signs to add a key.
type KeyPayload struct {
	QueryID uint64
	Key     ManagedKey
}

func (p *KeyPayload) fields(c *codec) {
	c.constant("op", 32, uint64(OpRootAddPublicKeySigned))
	number64(c, "query_id", 64, &p.QueryID)
	p.Key.key(c)
	p.Key.value(c)
}

// ParseKeyPayload reads what the key manager signs.
func ParseKeyPayload(from *cell.Cell) (KeyPayload, error) {
	return parsePayload[KeyPayload]("key payload", from)
}

// RootData is the result of get_cocoon_data.
type RootData struct {
	Version, LastSeqno, ParamsVersion, UniqueID uint32
	IsTest                                      bool
	PricePerToken, WorkerFee                    Nano
	MinProxyStake, MinClientStake               Nano
	Owner                                       *address.Address
}

// ParseRootData reads the result stack of get_cocoon_data.
func ParseRootData(result []any) (RootData, error) {
	var d RootData
	s := stack{values: result}
	d.Version, d.LastSeqno = s.word(), s.word()
	d.ParamsVersion, d.UniqueID = s.word(), s.word()
	d.IsTest = s.truth()
	d.PricePerToken, d.WorkerFee = s.amount(), s.amount()
	d.MinProxyStake, d.MinClientStake = s.amount(), s.amount()
	d.Owner = s.addr()
	return d, s.end("get_cocoon_data")
}

// RootParams is the result of get_cur_params.
type RootParams struct {
	ParamsVersion, UniqueID               uint32
	IsTest                                bool
	PricePerToken, WorkerFee              Nano
	CachedMultiplier, ReasoningMultiplier uint32 // the method leaves out the other two
	ProxyDelay, ClientDelay               uint32 // seconds
	MinProxyStake, MinClientStake         Nano
	ProxyCode, WorkerCode, ClientCode     Hash // of the codes
}

// ParseRootParams reads the result stack of get_cur_params.
func ParseRootParams(result []any) (RootParams, error) {
	var p RootParams
	s := stack{values: result}
	p.ParamsVersion, p.UniqueID = s.word(), s.word()
	p.IsTest = s.truth()
	p.PricePerToken, p.WorkerFee = s.amount(), s.amount()
	p.CachedMultiplier, p.ReasoningMultiplier = s.word(), s.word()
	p.ProxyDelay, p.ClientDelay = s.word(), s.word()
	p.MinProxyStake, p.MinClientStake = s.amount(), s.amount()
	p.ProxyCode, p.WorkerCode, p.ClientCode = s.hash(), s.hash(), s.hash()
	return p, s.end("get_cur_params")
}

// ParseTruth reads the result stack of a get method that answers yes or no, like worker_hash_is_valid.
func ParseTruth(method string, result []any) (bool, error) {
	s := stack{values: result}
	v := s.truth()
	return v, s.end(method)
}

// ParseNumber reads the result stack of a get method that answers one number of 32 bits, like seqno.
func ParseNumber(method string, result []any) (uint32, error) {
	s := stack{values: result}
	v := s.word()
	return v, s.end(method)
}
