// Package code embeds the compiled contracts and recognises code by its hash.
//
// It owns the bags of cells and the manifest that contracts/build wrote, and the table of code hashes: ours and those that
// the existing network runs. It trusts the embedded files, which a test compiles again. Everything is read-only and may be
// used concurrently. Our code is for deploying a root, for wallets and for recognising instances; proxies, clients and
// workers of a root always run the code that its parameters name. It recognises nothing by anything but the exact hash.
package code

import (
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/xssnick/tonutils-go/tvm/cell"
)

//go:embed *.boc manifest.json
var files embed.FS

// Root is the root's code.
func Root() *cell.Cell { return load("root") }

// Proxy is the proxy's code.
func Proxy() *cell.Cell { return load("proxy") }

// Client is the client's code.
func Client() *cell.Cell { return load("client") }

// Worker is the worker's code.
func Worker() *cell.Cell { return load("worker") }

// Wallet is the wallet's code.
func Wallet() *cell.Cell { return load("wallet") }

// Governor is the code of a root's governor.
func Governor() *cell.Cell { return load("governor") }

// Agreement is the code of a workload agreement.
func Agreement() *cell.Cell { return load("agreement") }

// Farm is the code of a registry of farms.
func Farm() *cell.Cell { return load("farm") }

// load reads an embedded bag of cells. It cannot fail for what is embedded; a test holds it to that.
func load(name string) *cell.Cell {
	boc, err := files.ReadFile(name + ".boc")
	if err != nil {
		return nil
	}
	c, err := cell.FromBOC(boc)
	if err != nil {
		return nil
	}
	return c
}

// Hash is the representation hash of code.
type Hash [32]byte

// Origin says whose code it is.
type Origin string

// Origins of recognised code.
const (
	// Ours is code of this repository: safe refunds and payouts, commits enforced on chain.
	Ours Origin = "ours"
	// Live is the code that the existing network runs: commits are notes only.
	Live Origin = "live"
)

// Identity is what a code hash stands for.
type Identity struct {
	Contract string // root, proxy, client, worker, wallet, governor, agreement or farm
	Origin   Origin
}

// Commits says whether contracts of this code enforce the order of commits (contracts.md section 7).
func (i Identity) Commits() bool { return i.Contract == "proxy" && i.Origin == Ours }

// Recognise says what code a hash stands for; false means unknown code.
func Recognise(h Hash) (Identity, bool) {
	live := map[string]string{ // contracts.md sections 1.2 and 1.6
		"279a4a96d50e93018f20fecac379712afd0052597cbe93fffec32be68c9787fd": "proxy",
		"b100aeadcb1b1cb9274172044c1c27b041748ef4d2bbb8fe0f5c4da4dae67a3c": "worker",
		"b81f091aee4e88708650755a859cfa436d2c968726b85b0569911bb734dd77d3": "client",
		"7a48f05ceef40f06cabbaa39c1c5a67b24e8bb59d8cf8a74e49988a5f44cf66a": "wallet",
	}
	text := hex.EncodeToString(h[:])
	if name, ok := live[text]; ok {
		return Identity{name, Live}, true
	}
	m, err := Manifest()
	if err != nil {
		return Identity{}, false
	}
	for _, e := range m {
		if e.CodeHash == text {
			return Identity{e.Contract, Ours}, true
		}
	}
	return Identity{}, false
}

// Entry is a contract of the manifest.
type Entry struct {
	Contract string `json:"contract"`
	Digest   string `json:"source_digest"` // sha256 over its sources
	CodeHash string `json:"code_hash"`     // hexadecimal
	Depth    uint16 `json:"depth"`
	Size     int    `json:"size"` // bytes of the bag of cells
}

// Manifest lists our contracts in the order of names.
func Manifest() ([]Entry, error) {
	data, err := files.ReadFile("manifest.json")
	if err != nil {
		return nil, fmt.Errorf("reading manifest of contracts: %w", err)
	}
	var m struct{ Contracts []Entry }
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("reading manifest of contracts: %w", err)
	}
	return m.Contracts, nil
}
