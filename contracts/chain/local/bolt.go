package local

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/local/blocks"
)

// Layout of the file. Integers are big endian, so that keys sort; workchains are stored as their low byte.
const (
	fileName = "chain.db"
	// formatVersion changes when a reader of before would misread the file.
	formatVersion = 1
	lockTimeout   = 3 * time.Second

	bucketMeta   = "meta"   // "version" -> u32, "top" -> u32, "time" -> u32, "zero 0", "zero -1" -> BOC
	bucketBlocks = "blocks" // workchain, seqno u32 -> u32 length of signatures, signatures, BOC
	bucketStates = "states" // workchain, seqno u32 -> BOC
	bucketKnown  = "known"  // masterchain seqno u32 -> shard seqno u32
	bucketTxs    = "txs"    // workchain, account, lt u64 -> seqno u32, hash
	bucketMarks  = "marks"  // name -> masterchain seqno u32
)

// boltStore keeps a chain in one file.
type boltStore struct{ db *bolt.DB }

func openBolt(o Options) (*boltStore, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the chain's directory: %w", err)
	}
	name := filepath.Join(o.Dir, fileName)
	db, err := bolt.Open(name, 0o600, &bolt.Options{Timeout: lockTimeout, NoSync: o.Volatile, NoFreelistSync: true})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("opening %s: another process has it open", name)
	}
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", name, err)
	}
	s := &boltStore{db: db}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening %s: %w", name, err), db.Close())
	}
	return s, nil
}

func (s *boltStore) prepare() error {
	return s.db.Update(func(tx *bolt.Tx) error {
		for _, b := range []string{bucketMeta, bucketBlocks, bucketStates, bucketKnown, bucketTxs, bucketMarks} {
			if _, err := tx.CreateBucketIfNotExists([]byte(b)); err != nil {
				return err
			}
		}
		meta := tx.Bucket([]byte(bucketMeta))
		switch v := getUint32(meta, "version"); v {
		case formatVersion:
			return nil
		case 0:
			return meta.Put([]byte("version"), be32(formatVersion))
		default:
			return fmt.Errorf("format version %d, this program knows %d: use another directory", v, formatVersion)
		}
	})
}

func be32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

func getUint32(b *bolt.Bucket, key string) uint32 { return toUint32(b.Get([]byte(key))) }

func toUint32(v []byte) uint32 {
	if len(v) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(v)
}

func blockName(workchain int32, seqno uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{byte(workchain)}, seqno) //nolint:gosec // -1 or 0, two's complement
}

func txName(workchain int32, a account, lt uint64) []byte {
	return binary.BigEndian.AppendUint64(append([]byte{byte(workchain)}, a[:]...), lt) //nolint:gosec // -1 or 0, two's complement
}

func zeroName(workchain int32) []byte { return fmt.Appendf(nil, "zero %d", workchain) }

func (s *boltStore) genesis() (out *genesisRecord, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		meta := tx.Bucket([]byte(bucketMeta))
		master := meta.Get(zeroName(blocks.Masterchain))
		if master == nil {
			return nil
		}
		out = &genesisRecord{
			time: getUint32(meta, "time"), master: bytes.Clone(master), shard: bytes.Clone(meta.Get(zeroName(blocks.Basechain))),
		}
		return nil
	})
	return out, err
}

func (s *boltStore) found(g genesisRecord) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		meta := tx.Bucket([]byte(bucketMeta))
		return errors.Join(
			meta.Put([]byte("time"), be32(g.time)),
			meta.Put(zeroName(blocks.Basechain), g.shard),
			meta.Put(zeroName(blocks.Masterchain), g.master))
	})
}

func (s *boltStore) top() (seqno uint32, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		seqno = getUint32(tx.Bucket([]byte(bucketMeta)), "top")
		return nil
	})
	return seqno, err
}

func (s *boltStore) block(workchain int32, seqno uint32) (boc, signatures []byte, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		v := tx.Bucket([]byte(bucketBlocks)).Get(blockName(workchain, seqno))
		if v == nil {
			return nil
		}
		if len(v) < 4 || int64(len(v)-4) < int64(toUint32(v[:4])) {
			return fmt.Errorf("stored block %d of workchain %d is damaged", seqno, workchain)
		}
		n := toUint32(v[:4])
		signatures, boc = bytes.Clone(v[4:4+n]), bytes.Clone(v[4+n:])
		return nil
	})
	return boc, signatures, err
}

func (s *boltStore) stateBefore(workchain int32, seqno uint32) (at uint32, boc []byte, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		c := tx.Bucket([]byte(bucketStates)).Cursor()
		k, v := c.Seek(blockName(workchain, seqno))
		if want := blockName(workchain, seqno); !bytes.Equal(k, want) {
			k, v = c.Prev()
		}
		if len(k) == 5 && k[0] == byte(workchain) { //nolint:gosec // -1 or 0, two's complement
			at, boc = toUint32(k[1:]), bytes.Clone(v)
		}
		return nil
	})
	return at, boc, err
}

func (s *boltStore) shardOf(master uint32) (shard uint32, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		shard = toUint32(tx.Bucket([]byte(bucketKnown)).Get(be32(master)))
		return nil
	})
	return shard, err
}

func (s *boltStore) transaction(workchain int32, a account, lt uint64) (seqno uint32, hash chain.Hash, err error) {
	err = s.db.View(func(tx *bolt.Tx) error {
		v := tx.Bucket([]byte(bucketTxs)).Get(txName(workchain, a, lt))
		if len(v) == 4+len(hash) {
			seqno, hash = toUint32(v[:4]), chain.Hash(v[4:])
		}
		return nil
	})
	return seqno, hash, err
}

func (s *boltStore) append(t tickRecord) error {
	return s.db.Update(func(tx *bolt.Tx) error {
		if t.shard != nil {
			if err := put(tx, *t.shard); err != nil {
				return err
			}
		}
		return errors.Join(put(tx, t.master),
			tx.Bucket([]byte(bucketKnown)).Put(be32(t.master.seqno), be32(t.known)),
			tx.Bucket([]byte(bucketMeta)).Put([]byte("top"), be32(t.master.seqno)))
	})
}

func put(tx *bolt.Tx, b blockRecord) error {
	v := append(be32(uint32(len(b.signatures))), b.signatures...) //nolint:gosec // at most 100 signatures
	if err := tx.Bucket([]byte(bucketBlocks)).Put(blockName(b.workchain, b.seqno), append(v, b.boc...)); err != nil {
		return err
	}
	if b.state != nil {
		if err := tx.Bucket([]byte(bucketStates)).Put(blockName(b.workchain, b.seqno), b.state); err != nil {
			return err
		}
	}
	txs := tx.Bucket([]byte(bucketTxs))
	for _, t := range b.txs {
		if err := txs.Put(txName(b.workchain, t.account, t.lt), append(be32(b.seqno), t.hash[:]...)); err != nil {
			return err
		}
	}
	return nil
}

func (s *boltStore) rewind(master uint32) error {
	shard, err := s.shardOf(master)
	if err != nil {
		return err
	}
	return s.db.Update(func(tx *bolt.Tx) error {
		after := func(k []byte) bool {
			if len(k) < 5 {
				return false
			}
			if k[0] == 0 {
				return toUint32(k[1:5]) > shard
			}
			return toUint32(k[1:5]) > master
		}
		above := func(v []byte) bool { return toUint32(v) > master }
		return errors.Join(
			sweep(tx, bucketBlocks, func(k, _ []byte) bool { return after(k) }),
			sweep(tx, bucketStates, func(k, _ []byte) bool { return after(k) }),
			sweep(tx, bucketTxs, func(k, v []byte) bool { return len(v) >= 4 && after(append([]byte{k[0]}, v[:4]...)) }),
			sweep(tx, bucketKnown, func(k, _ []byte) bool { return above(k) }),
			sweep(tx, bucketMarks, func(_, v []byte) bool { return above(v) }),
			tx.Bucket([]byte(bucketMeta)).Put([]byte("top"), be32(master)))
	})
}

// sweep deletes what a rule names.
func sweep(tx *bolt.Tx, bucket string, gone func(k, v []byte) bool) error {
	b := tx.Bucket([]byte(bucket))
	var keys [][]byte
	err := b.ForEach(func(k, v []byte) error {
		if gone(k, v) {
			keys = append(keys, bytes.Clone(k))
		}
		return nil
	})
	for _, k := range keys {
		err = errors.Join(err, b.Delete(k))
	}
	return err
}

func (s *boltStore) mark(name string, seqno uint32) error {
	return s.db.Update(func(tx *bolt.Tx) error { return tx.Bucket([]byte(bucketMarks)).Put([]byte(name), be32(seqno)) })
}

func (s *boltStore) marked() (map[string]uint32, error) {
	out := map[string]uint32{}
	err := s.db.View(func(tx *bolt.Tx) error {
		return tx.Bucket([]byte(bucketMarks)).ForEach(func(k, v []byte) error {
			out[string(k)] = toUint32(v)
			return nil
		})
	})
	return out, err
}

func (s *boltStore) close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("closing the chain's file: %w", err)
	}
	return nil
}
