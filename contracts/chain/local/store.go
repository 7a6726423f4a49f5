package local

import (
	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
)

// store keeps a chain. The chain's lock guards it; append is atomic.
type store interface {
	founder
	reader
	writer
	marks
}

// founder keeps the zero states: genesis is nil in an empty store, found fills it.
type founder interface {
	genesis() (*genesisRecord, error)
	found(genesisRecord) error
}

// writer changes the stored chain. rewind forgets everything after a masterchain block.
type writer interface {
	append(tickRecord) error
	rewind(master uint32) error
	close() error
}

// reader finds what was stored. What is not there is nil or zero, not an error.
type reader interface {
	// top is the newest masterchain block, 0 when there is none.
	top() (uint32, error)
	block(workchain int32, seqno uint32) (boc, signatures []byte, err error)
	// stateBefore is the newest stored state not after a block.
	stateBefore(workchain int32, seqno uint32) (at uint32, boc []byte, err error)
	// shardOf is the shard block that a masterchain block knows.
	shardOf(master uint32) (uint32, error)
	// transaction is the block that contains an account's transaction, and its hash.
	transaction(workchain int32, a account, lt uint64) (seqno uint32, hash chain.Hash, err error)
}

// marks are named masterchain blocks to go back to.
type marks interface {
	mark(name string, seqno uint32) error
	marked() (map[string]uint32, error)
}

// tickRecord is what one step adds.
type tickRecord struct {
	master blockRecord
	shard  *blockRecord // nil when the shard stood still
	known  uint32       // the shard block that the masterchain block knows
}

// blockRecord is a block with its index entries; state is set when a snapshot is due.
type blockRecord struct {
	workchain       int32
	seqno           uint32
	boc, signatures []byte
	state           []byte
	txs             []txRecord
}

// record makes an outcome storable. The whole state is written every so many blocks.
func (o *outcome) record(every uint32) tickRecord {
	out := tickRecord{master: recordOf(o.tick.Master, every, o.txs[blocks.Masterchain]), known: o.tick.Shard.Ref.Seqno}
	if o.shardNew {
		r := recordOf(o.tick.Shard, every, o.txs[blocks.Basechain])
		out.shard = &r
	}
	return out
}

func recordOf(p *Produced, every uint32, txs []txRecord) blockRecord {
	r := blockRecord{workchain: p.Header.Workchain, seqno: p.Ref.Seqno, boc: p.BOC, signatures: p.Signatures, txs: txs}
	if r.seqno%every == 0 {
		r.state = p.State.ToBOC()
	}
	return r
}

func openStore(o Options) (store, error) {
	if o.Dir == "" {
		return newMemory(), nil
	}
	return openBolt(o)
}
