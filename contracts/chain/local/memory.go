package local

import (
	"maps"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
)

// memory is a store that ends with the process.
type memory struct {
	begun   *genesisRecord
	blocks  map[blockKey]blockRecord
	known   map[uint32]uint32
	txs     map[txKey]txPlace
	newest  uint32
	newestS uint32
	names   map[string]uint32
	states  map[int32][]uint32 // seqnos with a stored state, ascending
}

type txKey struct {
	workchain int32
	account   account
	lt        uint64
}

type txPlace struct {
	seqno uint32
	hash  chain.Hash
}

func newMemory() *memory {
	return &memory{
		blocks: map[blockKey]blockRecord{}, known: map[uint32]uint32{}, txs: map[txKey]txPlace{}, names: map[string]uint32{},
		states: map[int32][]uint32{},
	}
}

func (m *memory) genesis() (*genesisRecord, error) { return m.begun, nil }

func (m *memory) found(g genesisRecord) error {
	m.begun = &g
	return nil
}

func (m *memory) top() (uint32, error) { return m.newest, nil }

func (m *memory) block(workchain int32, seqno uint32) (boc, signatures []byte, err error) {
	b := m.blocks[blockKey{workchain, seqno}]
	return b.boc, b.signatures, nil
}

func (m *memory) stateBefore(workchain int32, seqno uint32) (uint32, []byte, error) {
	var at uint32
	for _, s := range m.states[workchain] {
		if s <= seqno {
			at = s
		}
	}
	return at, m.blocks[blockKey{workchain, at}].state, nil
}

func (m *memory) shardOf(master uint32) (uint32, error) { return m.known[master], nil }

func (m *memory) transaction(workchain int32, a account, lt uint64) (uint32, chain.Hash, error) {
	t := m.txs[txKey{workchain, a, lt}]
	return t.seqno, t.hash, nil
}

func (m *memory) append(t tickRecord) error {
	if t.shard != nil {
		m.put(*t.shard)
		m.newestS = t.shard.seqno
	}
	m.put(t.master)
	m.newest = t.master.seqno
	m.known[t.master.seqno] = t.known
	return nil
}

func (m *memory) put(b blockRecord) {
	if b.state != nil {
		m.states[b.workchain] = append(m.states[b.workchain], b.seqno)
	}
	for _, t := range b.txs {
		m.txs[txKey{b.workchain, t.account, t.lt}] = txPlace{b.seqno, t.hash}
	}
	m.blocks[blockKey{b.workchain, b.seqno}] = b
}

func (m *memory) rewind(master uint32) error {
	shard := m.known[master]
	m.drop(blocks.Masterchain, master, m.newest)
	m.drop(blocks.Basechain, shard, m.newestS)
	maps.DeleteFunc(m.known, func(seqno, _ uint32) bool { return seqno > master })
	maps.DeleteFunc(m.names, func(_ string, seqno uint32) bool { return seqno > master })
	m.newest, m.newestS = master, shard
	return nil
}

func (m *memory) drop(workchain int32, after, last uint32) {
	for s := after + 1; s <= last; s++ {
		k := blockKey{workchain, s}
		for _, t := range m.blocks[k].txs {
			delete(m.txs, txKey{workchain, t.account, t.lt})
		}
		delete(m.blocks, k)
	}
	kept := m.states[workchain][:0]
	for _, s := range m.states[workchain] {
		if s <= after {
			kept = append(kept, s)
		}
	}
	m.states[workchain] = kept
}

func (m *memory) mark(name string, seqno uint32) error {
	m.names[name] = seqno
	return nil
}

func (m *memory) marked() (map[string]uint32, error) { return maps.Clone(m.names), nil }

func (m *memory) close() error { return nil }
