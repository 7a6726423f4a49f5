package blocks

import (
	"encoding/hex"
	"fmt"
	"math/big"

	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
)

// Addresses of the masterchain's own contracts. They need not exist.
const (
	configAddress  = "5555555555555555555555555555555555555555555555555555555555555555"
	electorAddress = "3333333333333333333333333333333333333333333333333333333333333333"
)

// fixedParams are parameters with one cell of plain bits, as the main network had them in 2026; block.tlb gives their
// layout. No rewards for blocks and no burnt fees: all money stays countable.
var fixedParams = []struct { //nolint:gochecknoglobals // a table
	id   int64
	bits string
}{
	{0, configAddress},
	{1, electorAddress},
	{2, "0000000000000000000000000000000000000000000000000000000000000000"}, // minter: none
	{14, "6B00"},                             // block rewards: none
	{15, "00010000000080000000200000008000"}, // elections
	{16, "01900064004B"},                     // numbers of validators
	{22, "5DC3000200000008000000100000C300030D40000F4240002625A0C3000003E80000138800002710"}, // block limits of the masterchain
	{23, "5DC3000400000010000000200000C3001E84800098968001312D00C3000003E80000138800002710"}, // of the basechain
	// gas: flat limit and price, price, limit, special limit, credit, block limit, freeze and delete due limits
	{20, "D1000000000000006400000000000F4240DE000000002710000000000000000F424000000000042C1D80000000000000271000000000002625A00000000005F5E100000000003B9ACA00"},
	{21, "D100000000000000640000000000009C40DE000000000190000000000000000F424000000000000F4240000000000000271000000000009896800000000005F5E100000000003B9ACA00"},
	// forwarding: lump, bit and cell price, shares of the first and next validators
	{24, "EA000000000098968000000000271000000000000F424000000001800055555555"},
	{25, "EA0000000000061A800000000001900000000000009C4000000001800055555555"},
	{28, "C201000000FA000000FA000003E800000017"},                                       // sessions: masterchain validators shuffled
	{29, "D90103000007D000003E800000000300000008000000040020000000200000000500002710"}, // consensus
}

// Prices of storage (parameter 18) in 2^-16 nanoTON per second: bit and cell, masterchain bit and cell.
const (
	bitPrice, cellPrice     = 1, 500
	mcBitPrice, mcCellPrice = 1000, 500_000
)

// required are the parameters that a configuration must always contain (parameter 9); critical (10) is the same list.
var required = []int64{0, 1, 9, 10, 12, 14, 15, 16, 17, 18, 20, 21, 22, 23, 24, 25, 28, 34} //nolint:gochecknoglobals // a table

// Capabilities that a local network's blocks have: bodies in bounces, version in headers, short dequeue records.
const Capabilities = 4 | 8 | 32

// ConfigSpec says what differs between local networks' configurations.
type ConfigSpec struct {
	GlobalVersion uint32
	Validators    *Validators
	// ZeroRoot and ZeroFile are the hashes of the basechain's zero state.
	ZeroRoot, ZeroFile chain.Hash
	// Special are masterchain accounts that run at every block's begin and end when their state asks for it.
	Special []chain.Hash
}

// Config builds a configuration.
func Config(spec ConfigSpec) (*cell.Cell, error) {
	d := cell.NewDict(32)
	set := func(id int64, c *cell.Cell, err error) error {
		if err == nil {
			err = SetParam(d, id, c)
		}
		if err != nil {
			return fmt.Errorf("building configuration parameter %d: %w", id, err)
		}
		return nil
	}
	for _, f := range fixedParams {
		raw, err := hex.DecodeString(f.bits)
		if err == nil {
			var c *cell.Cell
			c, err = pack().bytes(raw).cell()
			err = set(f.id, c, err)
		}
		if err != nil {
			return nil, err
		}
	}
	computed := []struct {
		id    int64
		build func() (*cell.Cell, error)
	}{
		{chain.ParamGlobalVersion, func() (*cell.Cell, error) { return VersionParam(spec.GlobalVersion) }},
		{9, func() (*cell.Cell, error) { return intSet(required) }},
		{10, func() (*cell.Cell, error) { return intSet(required) }},
		{11, votingParam},
		{12, func() (*cell.Cell, error) { return workchains(spec) }},
		{17, stakes},
		{18, storagePrices},
		{chain.ParamGlobalID, func() (*cell.Cell, error) { return pack().int32(GlobalID).cell() }},
		{31, func() (*cell.Cell, error) { return specialAccounts(spec.Special) }},
		{chain.ParamValidators, spec.Validators.Cell},
	}
	for _, p := range computed {
		c, err := p.build()
		if err := set(p.id, c, err); err != nil {
			return nil, err
		}
	}
	return d.AsCell(), nil
}

// SetParam puts a parameter into a configuration dictionary.
func SetParam(d *cell.Dictionary, id int64, c *cell.Cell) error {
	v, err := pack().ref(c).cell()
	if err != nil {
		return err
	}
	return d.SetIntKey(big.NewInt(id), v)
}

// VersionParam is parameter 8: capabilities#c4.
func VersionParam(version uint32) (*cell.Cell, error) {
	return pack().uint(tagSoftware, 8).uint(uint64(version), 32).uint(Capabilities, 64).cell()
}

// intSet is Hashmap 32 True, not empty.
func intSet(ids []int64) (*cell.Cell, error) {
	d := cell.NewDict(32)
	for _, id := range ids {
		if err := d.SetIntKey(big.NewInt(id), cell.BeginCell().EndCell()); err != nil {
			return nil, err
		}
	}
	return d.AsCell(), nil
}

// votingParam is cfg_vote_setup#91 with the same cfg_vote_cfg#36 for ordinary and critical proposals.
func votingParam() (*cell.Cell, error) {
	rules := func() *packer {
		return pack().uint(0x36, 8).uint(2, 8).uint(6, 8).uint(2, 8).uint(5, 8). // rounds and wins
												uint(1_000_000, 32).uint(10_000_000, 32).uint(1, 32).uint(500, 32) // seconds to vote, prices
	}
	return pack().uint(0x91, 8).sub(rules()).sub(rules()).cell()
}

// stakes are the validators' limits: least and most of one, least of all together, greatest ratio in 2^-16.
func stakes() (*cell.Cell, error) {
	ton := func(n int64) *big.Int { return new(big.Int).Mul(big.NewInt(n), big.NewInt(1_000_000_000)) }
	return pack().coins(ton(300_000)).coins(ton(10_000_000)).coins(ton(75_000_000)).uint(3<<16, 32).cell()
}

// workchains is HashmapE 32 WorkchainDescr with the basechain, which never splits: workchain#a6, wfmt_basic#1.
func workchains(spec ConfigSpec) (*cell.Cell, error) {
	descr, err := pack().uint(0xa6, 8).uint(0, 32).uint(0, 8).uint(0, 8).uint(0, 8). // enabled_since, splits
												bit(true).bit(true).bit(true).uint(0, 13). // basic, active, accept_msgs, flags
												hash(spec.ZeroRoot).hash(spec.ZeroFile).uint(0, 32).
												uint(1, 4).int32(-1).uint(0, 64).cell()
	if err != nil {
		return nil, err
	}
	d := cell.NewDict(32)
	if err := d.SetIntKey(big.NewInt(int64(Basechain)), descr); err != nil {
		return nil, err
	}
	return pack().maybe(d.AsCell()).cell()
}

// storagePrices is Hashmap 32 StoragePrices with one entry from the beginning of time.
func storagePrices() (*cell.Cell, error) {
	v, err := pack().uint(0xcc, 8).uint(0, 32).uint(bitPrice, 64).uint(cellPrice, 64).uint(mcBitPrice, 64).uint(mcCellPrice, 64).cell()
	if err != nil {
		return nil, err
	}
	d := cell.NewDict(32)
	if err := d.SetIntKey(new(big.Int), v); err != nil {
		return nil, err
	}
	return d.AsCell(), nil
}

// specialAccounts is HashmapE 256 True.
func specialAccounts(addrs []chain.Hash) (*cell.Cell, error) {
	d := cell.NewDict(256)
	for _, a := range addrs {
		key, err := pack().hash(a).cell()
		if err != nil {
			return nil, err
		}
		if err := d.Set(key, cell.BeginCell().EndCell()); err != nil {
			return nil, err
		}
	}
	return pack().maybe(d.AsCell()).cell()
}

// ConfigAddress is the account of the configuration contract, parameter 0.
func ConfigAddress() chain.Hash {
	var h chain.Hash
	_ = h.UnmarshalText([]byte(configAddress)) // a constant of the right length
	return h
}
