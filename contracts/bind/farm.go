package bind

import (
	"crypto/ed25519"
	"fmt"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// The registry's operation codes: CRC-32 of "cocoon.farm.<name>" (contracts.md section 13).
const (
	OpFarmRegister    Op = 0xee064668
	OpFarmSetPrices   Op = 0x2a677af8
	OpFarmSetNode     Op = 0xa1470cb0
	OpFarmRemoveNode  Op = 0xb1aa8c3b
	OpFarmOfferOwner  Op = 0x6afe421b
	OpFarmAcceptOwner Op = 0x67fbbebc
	OpFarmQuote       Op = 0xe83b15d4
	OpFarmRekey       Op = 0xbf53ef18
)

const (
	// FarmDeposit stays in the registry and pays a farm's rent.
	FarmDeposit Nano = 1e9
	// NodeDeposit pays a node's rent and comes back when the node is removed.
	NodeDeposit Nano = 1e8
	// maxPrices bounds a farm's list.
	maxPrices = 16
)

func farmOperations() []Operation {
	return []Operation{
		{OpFarmRegister, "farm_register", ContractFarm, func() Message { return new(FarmRegister) }},
		{OpFarmSetPrices, "farm_set_prices", ContractFarm, func() Message { return new(FarmSetPrices) }},
		{OpFarmSetNode, "farm_set_node", ContractFarm, func() Message { return new(FarmSetNode) }},
		{OpFarmRemoveNode, "farm_remove_node", ContractFarm, func() Message { return new(FarmRemoveNode) }},
		{OpFarmOfferOwner, "farm_offer_owner", ContractFarm, func() Message { return new(FarmOfferOwner) }},
		{OpFarmAcceptOwner, "farm_accept_owner", ContractFarm, func() Message { return new(FarmAcceptOwner) }},
		{OpFarmQuote, "farm_quote", ContractFarm, func() Message { return new(FarmQuote) }},
		{OpFarmRekey, "farm_rekey", ContractFarm, func() Message { return new(FarmRekey) }},
	}
}

// FarmStorage is the data of a registry of farms.
type FarmStorage struct {
	NextFarm uint64 // id of the farm that registers next
	Farms    []Farm // ascending by id, like all lists here by their keys
	Nodes    []FarmNode
}

// Farm is who rents out nodes.
type Farm struct {
	ID            uint64
	Owner, Payout *address.Address
	Key           Hash             // ed25519 key that accepts agreements; zero for none
	Version       uint32           // counts changes of prices
	Offered       *address.Address // the next owner, nil for none
	Prices        []WorkloadPrice
}

// WorkloadPrice is the price of a kind of workload.
type WorkloadPrice struct {
	Kind uint8
	Nano Nano // per GiB and hour
}

// FarmNode says which farm a node belongs to.
type FarmNode struct {
	Key  Hash
	Farm uint64
}

// ParseFarmStorage reads a registry's data cell.
func ParseFarmStorage(from *cell.Cell) (FarmStorage, error) {
	var s FarmStorage
	if err := decode(from, &s); err != nil {
		return FarmStorage{}, fmt.Errorf("reading farm storage: %w", err)
	}
	return s, nil
}

// Cell writes the data cell.
func (s FarmStorage) Cell() (*cell.Cell, error) {
	out, err := encode(&s)
	if err != nil {
		return nil, fmt.Errorf("writing farm storage: %w", err)
	}
	return out, nil
}

// NewFarmRegistry is an empty registry; farms are numbered from a first id, which sets registries apart.
func NewFarmRegistry(code *cell.Cell, first uint64) (Instance, error) {
	data, err := FarmStorage{NextFarm: first}.Cell()
	return newInstance("farm registry", code, data, err)
}

func (s *FarmStorage) fields(c *codec) {
	number64(c, "next_farm", 64, &s.NextFarm)
	dict(c, "farms", 64, &s.Farms)
	dict(c, "nodes", 256, &s.Nodes)
}

func (f *Farm) key(c *codec)   { number64(c, "id", 64, &f.ID) }
func (f *Farm) value(c *codec) { c.sub("farm", (*farmCell)(f)) }

type farmCell Farm

func (f *farmCell) fields(c *codec) {
	c.addr("owner", &f.Owner)
	c.addr("payout", &f.Payout)
	c.hash("key", &f.Key)
	number64(c, "version", 32, &f.Version)
	var offered *addrCell
	if f.Offered != nil {
		offered = &addrCell{f.Offered}
	}
	maybe(c, "offered", &offered)
	if c.reading() && offered != nil {
		f.Offered = offered.at
	}
	dict(c, "prices", 8, &f.Prices)
}

// addrCell is an address alone in a cell.
type addrCell struct{ at *address.Address }

func (a *addrCell) fields(c *codec) { c.addr("address", &a.at) }

func (p *WorkloadPrice) key(c *codec)   { number64(c, "kind", 8, &p.Kind) }
func (p *WorkloadPrice) value(c *codec) { c.amount("price", &p.Nano) }

func (n *FarmNode) key(c *codec)   { c.hash("key", &n.Key) }
func (n *FarmNode) value(c *codec) { number64(c, "farm", 64, &n.Farm) }

// FarmTerms are what a farm asks for.
type FarmTerms struct {
	Payout *address.Address
	Key    Hash // ed25519 key that accepts agreements; zero for none
	Prices []WorkloadPrice
}

func (t *FarmTerms) fields(c *codec) {
	c.addr("payout", &t.Payout)
	c.hash("key", &t.Key)
	if len(t.Prices) > maxPrices {
		c.fail("prices", fmt.Errorf("%d prices, at most %d", len(t.Prices), maxPrices))
	}
	dict(c, "prices", 8, &t.Prices)
}

// FarmRegister adds a farm of the sender, for FarmDeposit.
type FarmRegister struct {
	QueryID uint64
	Excess  *address.Address
	FarmTerms
}

// Op is the operation code.
func (*FarmRegister) Op() Op { return OpFarmRegister }

func (m *FarmRegister) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	c.addr("send_excesses_to", &m.Excess)
	m.FarmTerms.fields(c)
}

// farmHead is what a message about one farm begins with.
type farmHead struct {
	QueryID uint64
	Farm    uint64
	Excess  *address.Address
}

func (m *farmHead) fields(c *codec) {
	number64(c, "query_id", 64, &m.QueryID)
	number64(c, "farm", 64, &m.Farm)
	c.addr("send_excesses_to", &m.Excess)
}

// FarmSetPrices replaces what a farm asks for, by its owner.
type FarmSetPrices struct {
	QueryID uint64
	Farm    uint64
	Excess  *address.Address
	FarmTerms
}

// Op is the operation code.
func (*FarmSetPrices) Op() Op { return OpFarmSetPrices }

func (m *FarmSetPrices) fields(c *codec) {
	h := farmHead{m.QueryID, m.Farm, m.Excess}
	h.fields(c)
	m.QueryID, m.Farm, m.Excess = h.QueryID, h.Farm, h.Excess
	m.FarmTerms.fields(c)
}

// FarmSetNode adds a node that has signed NodePayload, by the farm's owner, for NodeDeposit.
type FarmSetNode struct {
	QueryID   uint64
	Farm      uint64
	Excess    *address.Address
	Key       Hash
	Signature [ed25519.SignatureSize]byte
}

// Op is the operation code.
func (*FarmSetNode) Op() Op { return OpFarmSetNode }

func (m *FarmSetNode) fields(c *codec) {
	h := farmHead{m.QueryID, m.Farm, m.Excess}
	h.fields(c)
	m.QueryID, m.Farm, m.Excess = h.QueryID, h.Farm, h.Excess
	c.hash("key", &m.Key)
	c.sub("signature", (*signatureCell)(&m.Signature))
}

// NodePayload is what a node signs to join a farm.
type NodePayload struct {
	Registry *address.Address
	Farm     uint64
}

func (p *NodePayload) fields(c *codec) {
	c.constant("op", 32, uint64(OpFarmSetNode))
	c.addr("registry", &p.Registry)
	number64(c, "farm", 64, &p.Farm)
}

// JoinFarm signs for a node.
func JoinFarm(key ed25519.PrivateKey, queryID uint64, excess *address.Address, p NodePayload) (FarmSetNode, error) {
	s, err := Sign(key, queryID, excess, &p)
	if err != nil {
		return FarmSetNode{}, err
	}
	return FarmSetNode{
		QueryID: queryID, Farm: p.Farm, Excess: excess, Key: Hash(key[ed25519.SeedSize:]), Signature: s.Signature,
	}, nil
}

// FarmRemoveNode removes a node, by the farm's owner.
type FarmRemoveNode struct {
	QueryID uint64
	Farm    uint64
	Excess  *address.Address
	Key     Hash
}

// Op is the operation code.
func (*FarmRemoveNode) Op() Op { return OpFarmRemoveNode }

func (m *FarmRemoveNode) fields(c *codec) {
	h := farmHead{m.QueryID, m.Farm, m.Excess}
	h.fields(c)
	m.QueryID, m.Farm, m.Excess = h.QueryID, h.Farm, h.Excess
	c.hash("key", &m.Key)
}

// FarmOfferOwner offers a farm to another owner, by its owner.
type FarmOfferOwner struct {
	QueryID uint64
	Farm    uint64
	Excess  *address.Address
	To      *address.Address
}

// Op is the operation code.
func (*FarmOfferOwner) Op() Op { return OpFarmOfferOwner }

func (m *FarmOfferOwner) fields(c *codec) {
	h := farmHead{m.QueryID, m.Farm, m.Excess}
	h.fields(c)
	m.QueryID, m.Farm, m.Excess = h.QueryID, h.Farm, h.Excess
	c.addr("to", &m.To)
}

// FarmAcceptOwner takes a farm that was offered.
type FarmAcceptOwner farmHead

// Op is the operation code.
func (*FarmAcceptOwner) Op() Op { return OpFarmAcceptOwner }

func (m *FarmAcceptOwner) fields(c *codec) { (*farmHead)(m).fields(c) }

// FarmQuote makes the registry send an agreement its price; anyone may ask.
type FarmQuote struct {
	QueryID   uint64
	Farm      uint64
	Excess    *address.Address
	Agreement *address.Address
	Terms     *cell.Cell // AgreementTerms.Cell
}

// Op is the operation code.
func (*FarmQuote) Op() Op { return OpFarmQuote }

func (m *FarmQuote) fields(c *codec) {
	h := farmHead{m.QueryID, m.Farm, m.Excess}
	h.fields(c)
	m.QueryID, m.Farm, m.Excess = h.QueryID, h.Farm, h.Excess
	c.addr("agreement", &m.Agreement)
	c.raw("terms", &m.Terms)
}

// FarmRekey makes the registry name another node of the farm to an agreement, by the farm's owner.
type FarmRekey struct {
	QueryID   uint64
	Farm      uint64
	Excess    *address.Address
	Agreement *address.Address
	Key       Hash
}

// Op is the operation code.
func (*FarmRekey) Op() Op { return OpFarmRekey }

func (m *FarmRekey) fields(c *codec) {
	h := farmHead{m.QueryID, m.Farm, m.Excess}
	h.fields(c)
	m.QueryID, m.Farm, m.Excess = h.QueryID, h.Farm, h.Excess
	c.addr("agreement", &m.Agreement)
	c.hash("key", &m.Key)
}
