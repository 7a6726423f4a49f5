package local

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tlb"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
)

// genesis is what a network begins with.
type genesis struct {
	time          uint32
	config        *cell.Cell
	validators    *blocks.Validators
	faucet        *faucet
	shard, master *cell.Cell // zero states
}

// derive makes an independent key seed from the network's seed.
func derive(seed [32]byte, use string) [32]byte {
	return sha256.Sum256(append(seed[:], "cocoon localnet "+use...))
}

func newGenesis(o Options) (*genesis, error) {
	g := &genesis{time: uint32(o.GenesisTime.Unix())} //nolint:gosec // validated
	var err error
	if g.faucet, err = newFaucet(o.Seed); err != nil {
		return nil, err
	}
	if g.validators, err = blocks.NewValidators(o.Seed, 0, o.Validators); err != nil {
		return nil, err
	}
	accounts := append([]GenesisAccount{{Code: g.faucet.init.Code, Data: g.faucet.init.Data, Balance: Supply()}}, o.Genesis...)
	total := new(big.Int)
	for _, a := range accounts {
		total.Add(total, a.Balance)
	}
	if g.shard, err = zeroState(blocks.Basechain, g.time, accounts, nil); err != nil {
		return nil, err
	}
	if g.config, err = configOf(o, g); err != nil {
		return nil, err
	}
	hashes, err := blocks.ShardHashes(nil)
	if err != nil {
		return nil, err
	}
	history, err := blocks.NewHistory()
	if err != nil {
		return nil, err
	}
	extra, err := blocks.MasterExtra{
		Shards: hashes, ConfigAddr: blocks.ConfigAddress(), Config: g.config, Validators: g.validators.Short,
		History: history, AfterKey: true, Global: total,
	}.Cell()
	if err != nil {
		return nil, err
	}
	g.master, err = zeroState(blocks.Masterchain, g.time, accounts, extra)
	return g, err
}

// configOf is the built-in configuration or the given one with what must be this network's.
func configOf(o Options, g *genesis) (*cell.Cell, error) {
	ref := stateRef(g.shard)
	if o.Config == nil {
		return blocks.Config(blocks.ConfigSpec{
			GlobalVersion: o.GlobalVersion, Validators: g.validators, ZeroRoot: ref.RootHash, ZeroFile: ref.FileHash, Special: o.Special,
		})
	}
	d := o.Config.AsDict(32).Copy()
	set, err := g.validators.Cell()
	if err != nil {
		return nil, err
	}
	id := cell.BeginCell()
	if err := id.StoreInt(blocks.GlobalID, 32); err != nil {
		return nil, err
	}
	err = errors.Join(blocks.SetParam(d, chain.ParamValidators, set), blocks.SetParam(d, chain.ParamGlobalID, id.EndCell()))
	return d.AsCell(), err
}

func zeroState(workchain int32, now uint32, accounts []GenesisAccount, extra *cell.Cell) (*cell.Cell, error) {
	dict, err := tlb.NewShardAccountsAugDict()
	if err != nil {
		return nil, err
	}
	for i, a := range accounts {
		if a.Workchain != workchain {
			continue
		}
		if err := addAccount(dict, a, now); err != nil {
			return nil, fmt.Errorf("packing genesis account %d: %w", i, err)
		}
	}
	balance, err := accountsBalance(dict)
	if err != nil {
		return nil, err
	}
	list, err := dict.ToCell()
	if err != nil {
		return nil, err
	}
	empty, err := tlb.NewOutMsgQueueAugDict()
	if err != nil {
		return nil, err
	}
	queueCell, err := empty.ToCell()
	if err != nil {
		return nil, err
	}
	queue, err := blocks.QueueInfo(queueCell, nil)
	if err != nil {
		return nil, err
	}
	return blocks.State{
		Workchain: workchain, Time: now, Queue: queue, Accounts: list, Balance: balance, ValidatorFees: new(big.Int), Extra: extra,
	}.Cell()
}

// addAccount puts an active account into a zero state. Its storage was counted when it was made, as TON counts it: once
// per distinct cell of the state.
func addAccount(d *tlb.ShardAccountsAugDict, a GenesisAccount, now uint32) error {
	init := &tlb.StateInit{Code: a.Code, Data: a.Data}
	if a.Tick || a.Tock {
		init.TickTock = &tlb.TickTock{Tick: a.Tick, Tock: a.Tock}
	}
	ic, err := tlb.ToCell(init)
	if err != nil {
		return err
	}
	id := chain.Hash(ic.Hash())
	if a.Address != nil {
		id = *a.Address
	}
	storage := tlb.AccountStorage{Status: tlb.AccountStatusActive, Balance: tlb.FromNanoTON(a.Balance), StateInit: init}
	sc, err := tlb.ToCell(storage)
	if err != nil {
		return err
	}
	cells, bits := measure(sc)
	st := tlb.AccountState{
		IsValid: true, Address: address.NewAddress(0, byte(a.Workchain), id[:]), //nolint:gosec // -1 or 0, two's complement
		StorageInfo: tlb.StorageInfo{
			StorageUsed:  tlb.StorageUsed{CellsUsed: new(big.Int).SetUint64(cells), BitsUsed: new(big.Int).SetUint64(bits)},
			StorageExtra: tlb.StorageExtraNone{}, LastPaid: now,
		},
		AccountStorage: storage,
	}
	c, err := tlb.ToCell(&st)
	if err != nil {
		return err
	}
	v, err := tlb.ToCell(&tlb.ShardAccount{Account: c, LastTransHash: make([]byte, 32)})
	if err != nil {
		return err
	}
	key, err := hashKey(id)
	if err != nil {
		return err
	}
	return d.Set(key, v)
}

// measure counts distinct cells and their bits.
func measure(root *cell.Cell) (cells, bits uint64) {
	seen := map[string]bool{}
	var walk func(*cell.Cell)
	walk = func(c *cell.Cell) {
		if h := string(c.Hash()); !seen[h] {
			seen[h] = true
			cells, bits = cells+1, bits+uint64(c.BitsSize())
			for i := range int(c.RefsNum()) {
				if r, err := c.PeekRef(i); err == nil {
					walk(r)
				}
			}
		}
	}
	walk(root)
	return cells, bits
}

// stateRef names a zero state: its file is its plain BOC.
func stateRef(state *cell.Cell) blocks.Ref {
	return blocks.Ref{RootHash: chain.Hash(state.Hash()), FileHash: sha256.Sum256(state.ToBOC())}
}

// tick is the zero states in the form of blocks without a block.
func (g *genesis) tick() Tick {
	of := func(wc int32, state *cell.Cell) *Produced {
		return &Produced{Block: &blocks.Block{Header: blocks.Header{Workchain: wc, Time: g.time, Key: true}, Ref: stateRef(state)}, State: state}
	}
	return Tick{Master: of(blocks.Masterchain, g.master), Shard: of(blocks.Basechain, g.shard)}
}

// genesisRecord is a genesis on disk.
type genesisRecord struct {
	time          uint32
	shard, master []byte // BOCs of the zero states
}

func (g *genesis) record() genesisRecord {
	return genesisRecord{time: g.time, shard: g.shard.ToBOC(), master: g.master.ToBOC()}
}

// loadGenesis rebuilds a genesis. Seed and number of validators must be the ones it was made with.
func loadGenesis(o Options, r genesisRecord) (*genesis, error) {
	g := &genesis{time: r.time}
	var err error
	if g.faucet, err = newFaucet(o.Seed); err != nil {
		return nil, err
	}
	if g.validators, err = blocks.NewValidators(o.Seed, 0, o.Validators); err != nil {
		return nil, err
	}
	if g.shard, err = cell.FromBOC(r.shard); err != nil {
		return nil, fmt.Errorf("reading zero state: %w", err)
	}
	if g.master, err = cell.FromBOC(r.master); err != nil {
		return nil, fmt.Errorf("reading zero state: %w", err)
	}
	st, err := blocks.ParseState(g.master)
	if err != nil {
		return nil, err
	}
	view, err := blocks.ParseMaster(st.Extra)
	if err != nil {
		return nil, err
	}
	g.config = view.Config
	return g, g.checkKeys()
}

// checkKeys refuses a chain that was made with another seed.
func (g *genesis) checkKeys() error {
	have, err := chain.NewConfig(g.config).Param(chain.ParamValidators)
	if err != nil {
		return err
	}
	want, err := g.validators.Cell()
	if err != nil {
		return err
	}
	if chain.Hash(have.Hash()) != chain.Hash(want.Hash()) {
		return errors.New("the stored chain was made with another seed or number of validators: use those, or another directory")
	}
	return nil
}
