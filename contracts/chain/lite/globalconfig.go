package lite

import (
	"crypto/ed25519"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"

	"cocoon/contracts/chain"
)

// Limits of a global configuration. The main network's has about 60 KB, most of it for peers that we do not use.
const (
	maxGlobalConfig = 4 << 20
	maxListedPeers  = 4096
)

// Network is what a client needs of a global configuration.
type Network struct {
	Servers []Server
	// Init is the file's init_block. It is only as trustworthy as the file.
	Init KeyBlock
}

// LoadGlobalConfig is ParseGlobalConfig of a file.
func LoadGlobalConfig(path string) (*Network, error) {
	data, err := readFile(path, maxGlobalConfig)
	if err != nil {
		return nil, fmt.Errorf("reading global configuration: %w", err)
	}
	n, err := ParseGlobalConfig(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return n, nil
}

// readFile reads a file to one byte behind its bound, whatever its size is said to be: who parses it says that it is too long.
func readFile(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // read side
	return io.ReadAll(io.LimitReader(f, most+1))
}

// ParseGlobalConfig reads a network's global configuration (the file that "tonlib" tools take). Members that we do not
// use are ignored: the format belongs to others. Liteservers that cannot be dialled are an error, not left out.
func ParseGlobalConfig(data []byte) (*Network, error) {
	n, err := parseGlobalConfig(data)
	if err != nil {
		return nil, fmt.Errorf("reading global configuration: %w: %w", chain.ErrMalformed, err)
	}
	return n, nil
}

type globalConfig struct {
	Type        string       `json:"@type"`
	Liteservers []liteserver `json:"liteservers"`
	Validator   struct {
		Init initBlock `json:"init_block"`
	} `json:"validator"`
}

type liteserver struct {
	IP   int64 `json:"ip"`
	Port int64 `json:"port"`
	ID   struct {
		Key []byte `json:"key"`
	} `json:"id"`
}

type initBlock struct {
	Workchain int32  `json:"workchain"`
	Shard     int64  `json:"shard"`
	Seqno     int64  `json:"seqno"`
	RootHash  []byte `json:"root_hash"`
	FileHash  []byte `json:"file_hash"`
}

func parseGlobalConfig(data []byte) (*Network, error) {
	if len(data) > maxGlobalConfig {
		return nil, fmt.Errorf("%d bytes, at most %d", len(data), maxGlobalConfig)
	}
	var g globalConfig
	if err := json.Unmarshal(data, &g); err != nil {
		return nil, err
	}
	if g.Type != "config.global" {
		return nil, fmt.Errorf("@type is %q, want config.global", g.Type)
	}
	if len(g.Liteservers) > maxListedPeers {
		return nil, fmt.Errorf("%d liteservers, at most %d", len(g.Liteservers), maxListedPeers)
	}
	out := &Network{}
	for i, l := range g.Liteservers {
		s, err := l.parse()
		if err != nil {
			return nil, fmt.Errorf("liteservers[%d].%w", i, err)
		}
		out.Servers = append(out.Servers, s)
	}
	var err error
	if out.Init, err = g.Validator.Init.parse(); err != nil {
		return nil, fmt.Errorf("validator.init_block%w", err)
	}
	return out, nil
}

// parse reads an address that the format writes as a signed or unsigned number.
func (l liteserver) parse() (Server, error) {
	switch {
	case l.IP < math.MinInt32 || l.IP > math.MaxUint32:
		return Server{}, fmt.Errorf("ip: %d is no IPv4 address", l.IP)
	case l.Port < 1 || l.Port > math.MaxUint16:
		return Server{}, fmt.Errorf("port: %d is not 1 to 65535", l.Port)
	case len(l.ID.Key) != ed25519.PublicKeySize:
		return Server{}, fmt.Errorf("id.key: %d bytes, want %d", len(l.ID.Key), ed25519.PublicKeySize)
	}
	var ip [4]byte
	binary.BigEndian.PutUint32(ip[:], uint32(l.IP&math.MaxUint32))
	return Server{Addr: netip.AddrPortFrom(netip.AddrFrom4(ip), uint16(l.Port)), Key: l.ID.Key}, nil
}

func (b initBlock) parse() (KeyBlock, error) {
	switch {
	case b.Workchain != masterchain || b.Shard != shard:
		return KeyBlock{}, fmt.Errorf(": workchain %d, shard %d is not the masterchain", b.Workchain, b.Shard)
	case b.Seqno < 0 || b.Seqno > math.MaxUint32:
		return KeyBlock{}, fmt.Errorf(".seqno: %d is no block number", b.Seqno)
	case len(b.RootHash) != len(chain.Hash{}) || len(b.FileHash) != len(chain.Hash{}):
		return KeyBlock{}, errors.New(": hashes need 32 bytes")
	}
	return KeyBlock{Seqno: uint32(b.Seqno), RootHash: chain.Hash(b.RootHash), FileHash: chain.Hash(b.FileHash)}, nil
}
