package adnl

import (
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"

	"github.com/xssnick/tonutils-go/ton"

	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/blocks"
)

// Endpoint is a liteserver as a global configuration names it.
type Endpoint struct {
	Addr netip.AddrPort
	Key  ed25519.PublicKey
}

// GlobalConfig is the JSON file by which clients find and trust a network: its zero state, the key block to begin
// proofs with, and its liteservers.
func GlobalConfig(c *local.Chain, servers ...Endpoint) ([]byte, error) {
	zero, err := c.BlockAt(blocks.Masterchain, 0, false)
	if err != nil {
		return nil, fmt.Errorf("writing the global configuration: %w", err)
	}
	key, err := c.BlockAt(blocks.Masterchain, 1, false)
	if err != nil {
		return nil, fmt.Errorf("writing the global configuration: %w", err)
	}
	out := globalConfig{
		Type: "config.global", DHT: dht{Type: "dht.config.global", K: 6, A: 3, Nodes: nodes{Type: "dht.nodes", Nodes: []struct{}{}}},
		Liteservers: []liteserver{},
		Validator: validator{
			Type: "validator.config.global", Zero: blockOf(zero.ID()), Init: blockOf(key.ID()), Hardforks: []blockID{},
		},
	}
	for _, s := range servers {
		ip := s.Addr.Addr().As4()
		out.Liteservers = append(out.Liteservers, liteserver{
			IP: int32(binary.BigEndian.Uint32(ip[:])), Port: s.Addr.Port(), //nolint:gosec // the format wants it signed
			ID: publicKey{Type: "pub.ed25519", Key: s.Key},
		})
	}
	raw, err := json.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the global configuration: %w", err)
	}
	return append(raw, '\n'), nil
}

func blockOf(id *ton.BlockIDExt) blockID {
	return blockID{Workchain: id.Workchain, Shard: id.Shard, Seqno: id.SeqNo, RootHash: id.RootHash, FileHash: id.FileHash}
}

type globalConfig struct {
	Type        string       `json:"@type"`
	DHT         dht          `json:"dht"`
	Liteservers []liteserver `json:"liteservers"`
	Validator   validator    `json:"validator"`
}

type dht struct {
	Type  string `json:"@type"`
	K     int    `json:"k"`
	A     int    `json:"a"`
	Nodes nodes  `json:"static_nodes"`
}

type nodes struct {
	Type  string     `json:"@type"`
	Nodes []struct{} `json:"nodes"`
}

type liteserver struct {
	IP   int32     `json:"ip"`
	Port uint16    `json:"port"`
	ID   publicKey `json:"id"`
}

type publicKey struct {
	Type string `json:"@type"`
	Key  []byte `json:"key"`
}

type validator struct {
	Type      string    `json:"@type"`
	Zero      blockID   `json:"zero_state"`
	Init      blockID   `json:"init_block"`
	Hardforks []blockID `json:"hardforks"`
}

type blockID struct {
	Workchain int32  `json:"workchain"`
	Shard     int64  `json:"shard"`
	Seqno     uint32 `json:"seqno"`
	RootHash  []byte `json:"root_hash"`
	FileHash  []byte `json:"file_hash"`
}
