package network

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/bind"
	"cocoon/contracts/code"
	"cocoon/contracts/registry"
	"cocoon/host/localnet/chainnode"
	"cocoon/host/publish"
)

// The network's terms: those of the reference's test network, with a price that can be told from that of no chain.
const (
	rootStructure  = 4
	chainPrice     = 20
	chainFee       = 19
	unitMultiplier = 10_000 // 1.0
	cachedShare    = 1_000  // 0.1
	leastStake     = 1_000_000_000
	// blockTime is the chain's pace, rootEvery how often roles look at it.
	blockTime = 500 * time.Millisecond
	rootEvery = "500ms"
	// OwnerKey is the file, below the folder, of the key that owns the root contract.
	OwnerKey = "owner.key"
)

// chainPart is the network's own chain.
type chainPart struct {
	about   Chain
	address *address.Address
	config  string // the global configuration's file
}

// Chain says where a network's chain is.
type Chain struct {
	// Root is the root contract, GlobalConfig the file that clients of the chain begin with, Control the address at which
	// the chain can be paused, funded, and broken.
	Root         string `json:"root_contract"`
	GlobalConfig string `json:"global_config"`
	Control      string `json:"control"`
	// OwnerKey is the file of the root's owner: it may publish hashes and prices.
	OwnerKey string `json:"owner_key"`
}

// startChain makes a chain whose root contract lists this network's images, model and proxies. It begins anew with every
// start, as the simulated platform does.
func (n *Network) startChain(ctx context.Context) error {
	if !n.cfg.Chain {
		return nil
	}
	dir := filepath.Join(n.cfg.Dir, "chain")
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("clearing the chain: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("clearing the chain: %w", err)
	}
	here := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	c := chainnode.Config{
		Dir: dir, Seed: n.cfg.Seed, Period: blockTime, Listen: here, Liteservers: chainnode.DefaultLiteservers, Control: here, Now: n.cfg.Now, Log: n.cfg.Log,
	}
	node, err := chainnode.New(ctx, c)
	if err != nil {
		return err
	}
	n.closers = append(n.closers, node.Close)
	n.chain = &chainPart{config: c.ConfigPath()}
	if err := n.genesis(node); err != nil {
		return err
	}
	d, err := node.Describe()
	if err != nil {
		return err
	}
	n.chain.about = Chain{Root: n.chain.address.String(), GlobalConfig: c.ConfigPath(), Control: d.Control, OwnerKey: filepath.Join(n.cfg.Dir, OwnerKey)}
	n.parts.start(ctx, "chain", node.Run)
	return nil
}

// genesis funds the owner and deploys the root.
func (n *Network) genesis(node *chainnode.Node) error {
	secret, err := hkdf.Key(sha256.New, n.cfg.Seed[:], nil, "root owner", sha256.Size)
	if err != nil {
		return err
	}
	text := []byte(hex.EncodeToString(secret) + "\n")
	signer, err := publish.ParseSigner(text)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(n.cfg.Dir, OwnerKey), text, 0o600); err != nil {
		return fmt.Errorf("writing the owner's key: %w", err)
	}
	owner, err := publish.NewWallet(publish.V5R1, signer, registry.Localnet)
	if err != nil {
		return err
	}
	root, err := n.rootStorage(owner.Address)
	if err != nil {
		return err
	}
	data, err := root.Cell()
	if err != nil {
		return err
	}
	if n.chain.address, err = bind.Address(code.Root(), data); err != nil {
		return err
	}
	return node.Genesis(
		&tlb.InternalMessage{IHRDisabled: true, DstAddr: owner.Address, Amount: tlb.MustFromTON("1000"), Body: cell.BeginCell().EndCell()},
		&tlb.InternalMessage{
			IHRDisabled: true, DstAddr: n.chain.address, Amount: tlb.MustFromTON("1"), Body: cell.BeginCell().EndCell(),
			StateInit: &tlb.StateInit{Code: code.Root(), Data: data},
		},
	)
}

// rootStorage is what the root says of this network.
func (n *Network) rootStorage(owner *address.Address) (*bind.RootStorage, error) {
	hash := func(text string) (out []bind.Hash, err error) {
		raw, err := hex.DecodeString(text)
		if err != nil || len(raw) != len(bind.Hash{}) {
			return nil, fmt.Errorf("image hash %q is none", text)
		}
		return []bind.Hash{bind.Hash(raw)}, nil
	}
	_, model := n.cfg.model()
	out := &bind.RootStorage{
		Owner: owner, ModelHashes: []bind.Hash{sha256.Sum256([]byte(model))}, KeyManager: &bind.KeyManager{},
		Params: bind.Params{
			StructVersion: rootStructure, ParamsVersion: 1, UniqueID: 1, IsTest: true, PricePerToken: chainPrice, WorkerFee: chainFee,
			PromptMultiplier: unitMultiplier, CachedMultiplier: cachedShare, CompletionMultiplier: unitMultiplier, ReasoningMultiplier: unitMultiplier,
			MinProxyStake: leastStake, MinClientStake: leastStake, Proxy: code.Proxy(), Worker: code.Worker(), Client: code.Client(),
		},
	}
	var err error
	if out.ProxyHashes, err = hash(n.sim.proxyImage); err != nil {
		return nil, err
	}
	if out.WorkerHashes, err = hash(n.sim.workerImage); err != nil {
		return nil, err
	}
	for _, r := range n.roles {
		if r.kind == proxyKind {
			out.LastSeqno++
			out.Proxies = append(out.Proxies, bind.RegisteredProxy{Seqno: out.LastSeqno, Addr: bind.NetAddr(local(r.workers) + " " + local(r.clients))})
		}
	}
	return out, nil
}

// section is the object root of a role's configuration.
func (c *chainPart) section(dir string) object {
	return object{
		"address": c.address.StringRaw(), "network": registry.Localnet.String(), "config": c.config, "every": rootEvery, "state_dir": dir,
		"one_liteserver": true,
	}
}
