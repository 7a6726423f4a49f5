package lite

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/ton"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
)

// Account implements chain.Access.
func (c *Client) Account(ctx context.Context, at chain.Block, addr *address.Address) (a *chain.Account, err error) {
	if addr == nil || len(addr.Data()) != len(chain.Hash{}) {
		return nil, fmt.Errorf("reading account: %w: address %s", chain.ErrMalformed, addr)
	}
	err = c.each(ctx, func(ctx context.Context, s *session) error {
		a, err = s.account(ctx, at, addr)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading account %s at block %d: %w", addr, at.Seqno, err)
	}
	return a, nil
}

func (s *session) account(ctx context.Context, at chain.Block, addr *address.Address) (*chain.Account, error) {
	id := idOf(at)
	resp, err := query[ton.AccountState](ctx, s, ton.GetAccountState{ID: id, Account: ton.AccountID{Workchain: addr.Workchain(), ID: addr.Data()}})
	if err != nil {
		return nil, err
	}
	if resp.ID == nil || !resp.ID.Equals(id) {
		return nil, fmt.Errorf("%w: the answer is about another block", chain.ErrProof)
	}
	entry, err := provenEntry(resp, id, addr)
	if err != nil {
		return nil, proofError(err)
	}
	if entry == nil {
		if resp.State != nil {
			return nil, fmt.Errorf("%w: a state for an account that the proof says is absent", chain.ErrProof)
		}
		return chain.AbsentAccount(at, addr), nil
	}
	if resp.State == nil || chain.Hash(resp.State.Hash()) != chain.Hash(entry.Account.Hash(0)) {
		return nil, fmt.Errorf("%w: the state is not the proven one", chain.ErrProof)
	}
	return chain.ParseAccount(at, addr, resp.State, chain.Cursor{LT: entry.LastTransLT, Hash: chain.Hash(entry.LastTransHash)})
}

// provenEntry is the account's entry in the shard's state, nil when that proves that there is none.
//
// The library takes every failure to find the account for its absence, also a path that was cut out of the proof, so
// that a server could hide an account. Here only a dictionary that ends without the key proves absence.
func provenEntry(resp ton.AccountState, master *ton.BlockIDExt, addr *address.Address) (*tlb.ShardAccount, error) {
	block := master
	if addr.Workchain() != masterchain {
		if resp.Shard == nil {
			return nil, errors.New("no shard block")
		}
		if err := ton.CheckShardInMasterProofForAccount(master, resp.ShardProof, resp.Shard, addr); err != nil {
			return nil, err
		}
		block = resp.Shard
	}
	st, err := ton.CheckBlockShardStateProof(resp.Proof, block.RootHash)
	if err != nil {
		return nil, err
	}
	if st.Accounts.ShardAccounts == nil {
		return nil, errors.New("no accounts in the proof")
	}
	key := cell.BeginCell()
	if err := key.StoreSlice(addr.Data(), 256); err != nil {
		return nil, err
	}
	v, err := st.Accounts.ShardAccounts.LoadValue(key.EndCell())
	if errors.Is(err, cell.ErrNoSuchKeyInDict) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the path to the account is not in the proof: %w", err)
	}
	var entry tlb.ShardAccount
	if err := tlb.LoadFromCell(&entry, v); err != nil {
		return nil, err
	}
	return &entry, nil
}

// Config implements chain.Access. The whole configuration is fetched, once per key block.
func (c *Client) Config(ctx context.Context, at chain.Block, ids ...int32) (*chain.Config, error) {
	config := c.configs.get(at.KeySeqno)
	if config == nil || at.KeySeqno == 0 {
		err := c.each(ctx, func(ctx context.Context, s *session) (err error) {
			config, err = s.config(ctx, at)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("reading the configuration at block %d: %w", at.Seqno, err)
		}
		if at.KeySeqno != 0 {
			c.configs.put(at.KeySeqno, config)
		}
	}
	for _, id := range ids {
		if _, err := config.Param(id); err != nil {
			return nil, err
		}
	}
	return config, nil
}

func (s *session) config(ctx context.Context, at chain.Block) (*chain.Config, error) {
	bc, err := s.api.GetBlockchainConfig(ctx, idOf(at))
	if err != nil {
		return nil, proofError(err)
	}
	if bc.Root == nil {
		return nil, fmt.Errorf("%w: an empty configuration", chain.ErrProof)
	}
	return chain.NewConfig(bc.Root), nil
}

// maxConfigs is how many configurations stay in memory.
const maxConfigs = 4

// configCache keeps configurations by the key block that set them. The zero value is ready.
type configCache struct {
	mu   sync.Mutex
	keys []uint32
	held map[uint32]*chain.Config
}

func (c *configCache) get(key uint32) *chain.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held[key]
}

func (c *configCache) put(key uint32, config *chain.Config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = map[uint32]*chain.Config{}
	}
	if c.held[key] == nil {
		c.keys = append(c.keys, key)
	}
	c.held[key] = config
	if len(c.keys) > maxConfigs {
		delete(c.held, c.keys[0])
		c.keys = c.keys[1:]
	}
}

// RunGet implements chain.Access: the method runs here, on the proven state, where the options have a virtual machine.
func (c *Client) RunGet(ctx context.Context, at chain.Block, addr *address.Address, method string, args ...any) ([]any, error) {
	if c.opts.Execute == nil {
		return nil, fmt.Errorf("running get method %s of %s: %w", method, addr, chain.ErrNoMachine)
	}
	a, err := c.Account(ctx, at, addr)
	if err != nil {
		return nil, err
	}
	config, err := c.Config(ctx, at)
	if err != nil {
		return nil, err
	}
	return c.opts.Execute(a, config, method, args...)
}
