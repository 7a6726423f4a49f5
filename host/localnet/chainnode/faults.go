package chainnode

import (
	"cocoon/contracts/chain/local"
)

// faultsRequest switches faults; what is left out stays as it is.
type faultsRequest struct {
	// Externals is deliver, drop, duplicate or reorder.
	Externals *string `json:"externals"`
	// DelayShard is for how many masterchain blocks the basechain stands still.
	DelayShard *uint32 `json:"delay_shard"`
	// Freeze shows clients the newest block of now for ever.
	Freeze *bool `json:"freeze"`
	// WrongProofs flips a bit in proofs of answers of this type; * for all, empty for none.
	WrongProofs *string `json:"wrong_proofs"`
	// Hide says of every account that it is absent.
	Hide *bool `json:"hide"`
	// SplitBrain lets the last liteserver answer from another future.
	SplitBrain *bool `json:"split_brain"`
	// Server limits freeze, wrong_proofs and hide to one liteserver, counted from 0.
	Server *int `json:"server"`
}

func (n *Node) doFaults(r faultsRequest) error {
	first, last := 0, len(n.servers)-1
	if r.Server != nil {
		if *r.Server < 0 || *r.Server > last {
			return bad("server: %d is not 0 to %d", *r.Server, last)
		}
		first, last = *r.Server, *r.Server
	}
	if r.DelayShard != nil && *r.DelayShard > maxDelay {
		return bad("delay_shard: %d is above %d", *r.DelayShard, maxDelay)
	}
	if r.Externals != nil {
		e, err := local.ParseExternals(*r.Externals)
		if err != nil {
			return bad("externals: %w", err)
		}
		n.chain.SetExternals(e)
	}
	if r.DelayShard != nil {
		n.chain.DelayShard(*r.DelayShard)
	}
	for _, s := range n.servers[first : last+1] {
		if r.Freeze != nil {
			s.Freeze(*r.Freeze)
		}
		if r.WrongProofs != nil {
			s.WrongProofs(*r.WrongProofs)
		}
		if r.Hide != nil {
			s.Hide(*r.Hide)
		}
	}
	if r.SplitBrain != nil {
		return n.split(*r.SplitBrain)
	}
	return nil
}

// split begins or ends a split brain.
func (n *Node) split(on bool) error {
	server := n.servers[len(n.servers)-1]
	switch {
	case on == (n.other != nil):
		return nil
	case on && len(n.servers) < 2:
		return bad("split_brain: needs two liteservers")
	case on:
		other, err := n.chain.Fork()
		if err != nil {
			return err
		}
		n.other = other
		server.Switch(other)
		return nil
	}
	server.Switch(n.chain)
	other := n.other
	n.other = nil
	return other.Close()
}

// configRequest makes the next masterchain block a key block.
type configRequest struct {
	GlobalVersion    *uint32 `json:"global_version"`
	RotateValidators bool    `json:"rotate_validators"`
}

func (n *Node) doConfig(r configRequest) error {
	if r.GlobalVersion != nil {
		if *r.GlobalVersion > 15 {
			return bad("global_version: %d is above 15, which the executor knows", *r.GlobalVersion)
		}
		if err := n.chain.SetGlobalVersion(*r.GlobalVersion); err != nil {
			return err
		}
	}
	if r.RotateValidators {
		return n.chain.RotateValidators()
	}
	return nil
}
