package registry

import (
	"errors"
	"fmt"
	"strconv"

	"cocoon/contracts/chain"
)

// Global ids of networks (block.tlb, configuration parameter 19).
const (
	Mainnet  Network = -239
	Testnet  Network = -3
	Localnet Network = -217 // contracts.md section 10.1
)

// ErrNetwork is wrapped when a root is on another network than it says or than the caller expects.
var ErrNetwork = errors.New("wrong network")

// Network is a blockchain's global id.
type Network int32

// String is the network's name, or its id.
func (n Network) String() string {
	switch n {
	case Mainnet:
		return "mainnet"
	case Testnet:
		return "testnet"
	case Localnet:
		return "localnet"
	default:
		return strconv.Itoa(int(n))
	}
}

// ParseNetwork reads a network's name or global id.
func ParseNetwork(text string) (Network, error) {
	for _, n := range []Network{Mainnet, Testnet, Localnet} {
		if n.String() == text {
			return n, nil
		}
	}
	id, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("network %q is neither mainnet, testnet, localnet nor a global id", text)
	}
	return Network(id), nil
}

// NetworkOf reads a configuration's global id.
func NetworkOf(c *chain.Config) (Network, error) {
	param, err := c.Param(chain.ParamGlobalID)
	if err != nil {
		return 0, fmt.Errorf("reading the network's global id: %w", err)
	}
	s, err := param.BeginParse()
	if err != nil {
		return 0, fmt.Errorf("reading the network's global id: %w", err)
	}
	id, err := s.LoadInt(32)
	if err != nil {
		return 0, fmt.Errorf("reading the network's global id: %w", err)
	}
	return Network(id), nil //nolint:gosec // 32 bits were read
}

// CheckNetwork refuses a root whose test mark does not fit the network that it was found on: signed messages carry no
// network, so a test root's keys must be worth nothing on the main network, and the other way round (contracts.md section
// 2.2).
func (s *Snapshot) CheckNetwork(n Network) error {
	switch {
	case n == Mainnet && s.Params.IsTest:
		return fmt.Errorf("%w: root %s calls itself a test root and is on %s", ErrNetwork, s.Root, n)
	case n != Mainnet && !s.Params.IsTest:
		return fmt.Errorf("%w: root %s does not call itself a test root and is on %s", ErrNetwork, s.Root, n)
	}
	return nil
}
