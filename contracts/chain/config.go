package chain

import (
	"fmt"
	"math/big"
	"sync"

	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// MinGlobalVersion is the oldest network our contracts run on: the compiler's output and rich bounce need it
// (contracts.md sections 8 and 11).
const MinGlobalVersion = 12

// Configuration parameters that this package reads (block.tlb, ConfigParam).
const (
	ParamGlobalVersion = 8  // GlobalVersion: capabilities#c4 version:uint32 capabilities:uint64
	ParamGlobalID      = 19 // global_id:int32
	ParamValidators    = 34 // the validators that sign blocks
	versionTag         = 0xc4
)

// Config is a blockchain configuration: Hashmap 32 ^Cell.
type Config struct {
	root *cell.Cell

	once   sync.Once
	made   any
	failed error
}

// NewConfig wraps the root of a configuration dictionary.
func NewConfig(root *cell.Cell) *Config { return &Config{root: root} }

// Root of the dictionary.
func (c *Config) Root() *cell.Cell { return c.root }

// Param is one parameter's cell.
func (c *Config) Param(id int32) (_ *cell.Cell, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("reading configuration parameter %d: %w: %v", id, ErrMalformed, p)
		}
	}()
	v, err := c.root.AsDict(32).LoadValueByIntKey(big.NewInt(int64(id)))
	if err != nil {
		return nil, fmt.Errorf("reading configuration parameter %d: %w: %w", id, ErrMalformed, err)
	}
	ref, err := v.LoadRefCell()
	if err != nil {
		return nil, fmt.Errorf("reading configuration parameter %d: %w: %w", id, ErrMalformed, err)
	}
	return ref, nil
}

// GlobalVersion is parameter 8: the version of block and virtual machine rules, and the capability bits.
func (c *Config) GlobalVersion() (version uint32, capabilities uint64, err error) {
	p, err := c.Param(ParamGlobalVersion)
	if err != nil {
		return 0, 0, err
	}
	var v tlb.GlobalVersion
	if err := parse(&v, p); err != nil {
		return 0, 0, fmt.Errorf("reading the global version: %w", err)
	}
	return v.Version, v.Capabilities, nil
}

// RequireGlobalVersion refuses a network that our contracts cannot run on.
func (c *Config) RequireGlobalVersion() error {
	version, _, err := c.GlobalVersion()
	if err != nil {
		return err
	}
	if version < MinGlobalVersion {
		return fmt.Errorf("checking configuration parameter %d: %w: it is %d, the contracts need %d or higher",
			ParamGlobalVersion, ErrGlobalVersion, version, MinGlobalVersion)
	}
	return nil
}

// Once keeps what a package makes of the configuration: the first caller's is everybody's.
func (c *Config) Once(derive func(root *cell.Cell) (any, error)) (any, error) {
	c.once.Do(func() { c.made, c.failed = derive(c.root) })
	return c.made, c.failed
}
