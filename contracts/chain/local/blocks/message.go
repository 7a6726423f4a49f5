package blocks

import (
	"fmt"
	"math/big"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
)

// Constructor tags of InMsg and OutMsg (block.tlb), with their widths.
const (
	importExt    = 0b000  // msg_import_ext$000
	importImm    = 0b011  // msg_import_imm$011
	importFin    = 0b100  // msg_import_fin$100
	exportExt    = 0b000  // msg_export_ext$000
	exportNew    = 0b001  // msg_export_new$001
	exportImm    = 0b010  // msg_export_imm$010
	exportDeqImm = 0b100  // msg_export_deq_imm$100
	exportDeq    = 0b1101 // msg_export_deq_short$1101
	tagEnvelope  = 0x4    // msg_envelope#4
	wholeAddress = 96     // intermediate address, regular$0: all bits are the destination's
)

// Envelope wraps an internal message for its way.
type Envelope struct {
	Message *cell.Cell
	Dst     *address.Address
	// Fee is what is left of the forwarding fee: the importing block's validators get it.
	Fee *big.Int
	// LT of the message's creation.
	LT uint64
}

// Hash of the message, its key in descriptors.
func (e Envelope) Hash() chain.Hash { return chain.Hash(e.Message.Hash()) }

// Cell packs msg_envelope. There are no hops between shards: the next address is the destination.
func (e Envelope) Cell() (*cell.Cell, error) {
	return pack().uint(tagEnvelope, 4).uint(wholeAddress, 8).uint(wholeAddress, 8).coins(e.Fee).ref(e.Message).
		named("message envelope")
}

// QueueKey is the message's key in the out queue: destination workchain and prefix, message hash.
func (e Envelope) QueueKey() (*cell.Cell, error) {
	return pack().int32(e.Dst.Workchain()).bytes(e.Dst.Data()[:8]).hash(e.Hash()).named("queue key")
}

// Enqueued packs EnqueuedMsg.
func (e Envelope) Enqueued() (*cell.Cell, error) {
	c, err := e.Cell()
	if err != nil {
		return nil, err
	}
	return pack().uint(e.LT, 64).ref(c).named("queued message")
}

// ImportExternal is the InMsg of an external message.
func ImportExternal(message, tx *cell.Cell) (*cell.Cell, error) {
	return pack().uint(importExt, 3).ref(message).ref(tx).named("imported external message")
}

// ImportImmediate is the InMsg of a message that the same block created.
func ImportImmediate(e Envelope, tx *cell.Cell) (*cell.Cell, error) {
	return importEnvelope(importImm, e, tx)
}

// ImportFinal is the InMsg of a message from a queue.
func ImportFinal(e Envelope, tx *cell.Cell) (*cell.Cell, error) {
	return importEnvelope(importFin, e, tx)
}

func importEnvelope(tag uint64, e Envelope, tx *cell.Cell) (*cell.Cell, error) {
	env, err := e.Cell()
	if err != nil {
		return nil, err
	}
	return pack().uint(tag, 3).ref(env).ref(tx).coins(e.Fee).named("imported message")
}

// ExportExternal is the OutMsg of a message to the outside.
func ExportExternal(message, tx *cell.Cell) (*cell.Cell, error) {
	return pack().uint(exportExt, 3).ref(message).ref(tx).named("exported external message")
}

// ExportNew is the OutMsg of a message that stays in the queue; tx is the transaction that sent it.
func ExportNew(e Envelope, tx *cell.Cell) (*cell.Cell, error) {
	env, err := e.Cell()
	if err != nil {
		return nil, err
	}
	return pack().uint(exportNew, 3).ref(env).ref(tx).named("queued message")
}

// ExportImmediate is the OutMsg of a message that the same block imports.
func ExportImmediate(e Envelope, tx, imported *cell.Cell) (*cell.Cell, error) {
	env, err := e.Cell()
	if err != nil {
		return nil, err
	}
	return pack().uint(exportImm, 3).ref(env).ref(tx).ref(imported).named("immediate message")
}

// ExportDequeued is the OutMsg of a message that leaves the queue because this block imports it.
func ExportDequeued(e Envelope, imported *cell.Cell) (*cell.Cell, error) {
	env, err := e.Cell()
	if err != nil {
		return nil, err
	}
	return pack().uint(exportDeqImm, 3).ref(env).ref(imported).named("dequeued message")
}

// ExportDelivered is the OutMsg of a message that leaves the queue because the other workchain imported it; importLT is
// that block's end.
func ExportDelivered(e Envelope, importLT uint64) (*cell.Cell, error) {
	env, err := e.Cell()
	if err != nil {
		return nil, err
	}
	return pack().uint(exportDeq, 4).bytes(env.Hash()).int32(e.Dst.Workchain()).bytes(e.Dst.Data()[:8]).uint(importLT, 64).
		named("delivered message")
}

// AccountBlock packs what a block did to one account. txs is the inline dictionary of its transactions.
func AccountBlock(account []byte, txs *cell.Cell, before, after []byte) (*cell.Cell, error) {
	if len(account) != len(chain.Hash{}) {
		return nil, fmt.Errorf("packing account block: address of %d bytes", len(account))
	}
	return pack().uint(tagAccountBlock, 4).bytes(account).inline(txs).
		sub(pack().uint(tagHashUpdate, 8).bytes(before).bytes(after)).
		named("account block")
}

// QueueInfo packs OutMsgQueueInfo: the queue, how far the shard has processed its neighbours' queues, no extras.
// processed is nil when nothing was.
func QueueInfo(queue *cell.Cell, processed *Processed) (*cell.Cell, error) {
	d := cell.NewDict(96)
	if processed != nil {
		key, err := pack().uint(1<<63, 64).uint(uint64(processed.Master), 32).cell()
		if err != nil {
			return nil, err
		}
		value, err := pack().uint(processed.LT, 64).hash(processed.Hash).cell()
		if err != nil {
			return nil, err
		}
		if err := d.Set(key, value); err != nil {
			return nil, fmt.Errorf("packing processed messages: %w", err)
		}
	}
	return pack().inline(queue).maybe(d.AsCell()).bit(false).named("message queue")
}

// Processed is ProcessedUpto: every message up to this one was imported.
type Processed struct {
	Master uint32 // masterchain block whose queues were looked at
	LT     uint64
	Hash   chain.Hash
}
