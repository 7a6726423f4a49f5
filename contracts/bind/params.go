package bind

import (
	"fmt"

	"github.com/xssnick/tonutils-go/tvm/cell"
)

// Codes says which codes a parameters cell keeps, by where it lies (contracts.md section 1.1).
type Codes uint8

// The parts of a mask, and the masks in use.
const (
	ProxyCode  Codes = 1
	WorkerCode Codes = 2
	ClientCode Codes = 4

	// NoCodes is the mask of worker and client, ProxyCodes that of the proxy, RootCodes that of the root.
	NoCodes    Codes = 0
	ProxyCodes       = WorkerCode | ClientCode
	RootCodes        = ProxyCode | WorkerCode | ClientCode
)

const (
	// unit is 1.0 as a price multiplier: they count in 1/10000.
	unit = 10000
	// defaultStake is the minimum stake where the structure has none (version 0): 1 TON.
	defaultStake Nano = 1e9
	// maxStructVersion is the newest root layout known (contracts.md section 1.2).
	maxStructVersion = 5
)

// Params are the parameters that all contracts of one root share. Any change of them gives every proxy, client and worker
// contract a new address.
type Params struct {
	StructVersion uint8  // 0 to 5; contracts accept 3 to 5
	ParamsVersion uint32 // counts changes
	UniqueID      uint32 // differs per root and network
	IsTest        bool
	PricePerToken Nano // per adjusted token, what clients pay
	WorkerFee     Nano // per adjusted token, the part for the worker

	// Multipliers in 1/10000.
	PromptMultiplier, CachedMultiplier, CompletionMultiplier, ReasoningMultiplier uint32
	// Delays in seconds between asking to close and closing.
	ProxyDelay, ClientDelay       uint32
	MinProxyStake, MinClientStake Nano

	// Proxy, Worker and Client are the codes, nil where the cell does not keep them.
	Proxy, Worker, Client *cell.Cell
}

// ParseParams reads a parameters cell of structure version 0 to 5. What old versions lack gets the value that readers
// assume: multipliers 1.0, stakes 1 TON.
func ParseParams(from *cell.Cell) (Params, error) {
	var p Params
	if err := decode(from, &p); err != nil {
		return Params{}, fmt.Errorf("reading parameters: %w", err)
	}
	return p, nil
}

// Cell writes the parameters with the codes they hold.
func (p Params) Cell() (*cell.Cell, error) {
	out, err := encode(&p)
	if err != nil {
		return nil, fmt.Errorf("writing parameters: %w", err)
	}
	return out, nil
}

// With is a copy that keeps only the codes of a mask, as in the cells of other contracts.
func (p Params) With(keep Codes) Params {
	if keep&ProxyCode == 0 {
		p.Proxy = nil
	}
	if keep&WorkerCode == 0 {
		p.Worker = nil
	}
	if keep&ClientCode == 0 {
		p.Client = nil
	}
	return p
}

func (p *Params) fields(c *codec) {
	number64(c, "struct_version", 8, &p.StructVersion)
	if c.err == nil && p.StructVersion > maxStructVersion {
		c.fail("struct_version", versionError(p.StructVersion))
	}
	number64(c, "params_version", 32, &p.ParamsVersion)
	number64(c, "unique_id", 32, &p.UniqueID)
	c.boolean("is_test", &p.IsTest)
	c.amount("price_per_token", &p.PricePerToken)
	c.amount("worker_fee_per_token", &p.WorkerFee)
	p.since(c, 3, "prompt_mult", &p.PromptMultiplier)
	p.since(c, 2, "cached_mult", &p.CachedMultiplier)
	p.since(c, 3, "completion_mult", &p.CompletionMultiplier)
	p.since(c, 2, "reasoning_mult", &p.ReasoningMultiplier)
	number64(c, "proxy_delay_before_close", 32, &p.ProxyDelay)
	number64(c, "client_delay_before_close", 32, &p.ClientDelay)
	if p.StructVersion >= 1 {
		c.amount("min_proxy_stake", &p.MinProxyStake)
		c.amount("min_client_stake", &p.MinClientStake)
	} else {
		p.MinProxyStake, p.MinClientStake = defaultStake, defaultStake
	}
	c.maybeRaw("proxy_code", &p.Proxy)
	c.maybeRaw("worker_code", &p.Worker)
	c.maybeRaw("client_code", &p.Client)
}

// since is a multiplier that the structure has from a version on.
func (p *Params) since(c *codec, version uint8, field string, v *uint32) {
	if p.StructVersion < version {
		*v = unit
		return
	}
	number64(c, field, 32, v)
}

func versionError(got uint8) error {
	return fmt.Errorf("struct version %d is newer than %d: use a release that knows it", got, maxStructVersion)
}
