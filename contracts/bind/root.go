package bind

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// RootStorage is the data of a root of structure version 0 to 5 (contracts.md section 1.2). The structure's version is
// Params.StructVersion.
type RootStorage struct {
	Owner   *address.Address
	Version uint32 // counts changes

	ProxyHashes  []Hash // image hashes that may be proxies; ascending, like all lists here
	Proxies      []RegisteredProxy
	LastSeqno    uint32 // of the proxy registered last
	WorkerHashes []Hash
	ModelHashes  []Hash // sha256 of the full model string

	Params Params // with RootCodes

	KeyManager *KeyManager // from version 4 on
	Verified   *Verified   // from version 5 on
}

// RegisteredProxy is a proxy that runners may connect to.
type RegisteredProxy struct {
	Seqno uint32
	Addr  NetAddr
}

// KeyManager is the part of a root that hands out public keys.
type KeyManager struct {
	Keys      []ManagedKey
	PublicKey Hash
	ImageHash Hash
	Addr      NetAddr
}

// ManagedKey is a key that the key manager vouches for.
type ManagedKey struct {
	Key      Hash
	Type     uint8
	ExpireAt uint32 // Unix time
}

// Verified lists machine keys that were verified, by what they run.
type Verified struct {
	Proxies, Workers, KeyManagers []Hash
}

// ParseRoot reads a root's data cell.
func ParseRoot(from *cell.Cell) (RootStorage, error) {
	var s RootStorage
	if err := decode(from, &s); err != nil {
		return RootStorage{}, fmt.Errorf("reading root storage: %w", err)
	}
	return s, nil
}

// Cell writes the data cell.
func (s RootStorage) Cell() (*cell.Cell, error) {
	out, err := encode(&s)
	if err != nil {
		return nil, fmt.Errorf("writing root storage: %w", err)
	}
	return out, nil
}

func (s *RootStorage) fields(c *codec) {
	c.addr("owner", &s.Owner)
	number64(c, "version", 32, &s.Version)
	c.sub("data", (*rootData)(s))
	c.sub("params", &s.Params)
	since(c, "key_manager", s.Params.StructVersion >= 4, &s.KeyManager)
	since(c, "verified", s.Params.StructVersion >= 5, &s.Verified)
}

// since is a reference that the structure has from a version on.
func since[T any, P interface {
	*T
	layout
}](c *codec, field string, present bool, v *P) {
	if !present || c.err != nil {
		if *v != nil && !c.reading() {
			c.fail(field, errors.New("this structure version has none"))
		}
		return
	}
	if c.reading() {
		*v = new(T)
	}
	if *v == nil {
		c.fail(field, errors.New("missing"))
		return
	}
	c.sub(field, *v)
}

type rootData RootStorage

func (s *rootData) fields(c *codec) {
	hashSet(c, "proxy_hashes", &s.ProxyHashes)
	dict(c, "registered_proxies", 32, &s.Proxies)
	number64(c, "last_proxy_seqno", 32, &s.LastSeqno)
	hashSet(c, "worker_hashes", &s.WorkerHashes)
	hashSet(c, "model_hashes", &s.ModelHashes)
}

func (k *KeyManager) fields(c *codec) {
	dict(c, "keys", 256, &k.Keys)
	c.hash("public_key", &k.PublicKey)
	c.hash("image_hash", &k.ImageHash)
	k.Addr.fields(c)
}

func (v *Verified) fields(c *codec) {
	hashSet(c, "proxies", &v.Proxies)
	hashSet(c, "workers", &v.Workers)
	hashSet(c, "key_managers", &v.KeyManagers)
}

// entry is a row of a dictionary: its key, then its value.
type entry interface {
	key(c *codec)
	value(c *codec)
}

func (r *RegisteredProxy) key(c *codec)   { number64(c, "seqno", 32, &r.Seqno) }
func (r *RegisteredProxy) value(c *codec) { r.Addr.fields(c) }

func (k *ManagedKey) key(c *codec) { c.hash("key", &k.Key) }
func (k *ManagedKey) value(c *codec) {
	number64(c, "key_type", 8, &k.Type)
	number64(c, "expire_at", 32, &k.ExpireAt)
}

func (h *Hash) key(c *codec) { c.hash("hash", h) }
func (h *Hash) value(*codec) {}

func hashSet(c *codec, field string, v *[]Hash) { dict(c, field, 256, v) }

// dict is a HashmapE; its rows are in the order of their keys, and each key is there once.
func dict[T any, P interface {
	*T
	entry
}](c *codec, field string, keyBits uint, v *[]T) {
	if c.err != nil {
		return
	}
	if len(*v) > maxEntries {
		c.fail(field, fmt.Errorf("%d entries, at most %d", len(*v), maxEntries))
		return
	}
	var tree *cell.Cell
	if !c.reading() {
		made, err := writeDict[T, P](keyBits, *v)
		if err != nil {
			c.fail(field, err)
			return
		}
		tree = made
	}
	c.maybeRaw(field, &tree)
	if !c.reading() || c.err != nil || tree == nil {
		return
	}
	got, err := readDict[T, P](keyBits, tree)
	c.fail(field, err)
	*v = got
}

func writeDict[T any, P interface {
	*T
	entry
}](keyBits uint, rows []T) (*cell.Cell, error) {
	d := cell.NewDict(keyBits)
	for i := range rows {
		key, value := &codec{out: cell.BeginCell()}, &codec{out: cell.BeginCell()}
		P(&rows[i]).key(key)
		P(&rows[i]).value(value)
		if err := errors.Join(key.err, value.err); err != nil {
			return nil, err
		}
		added, err := d.SetWithMode(key.out.EndCell(), value.out.EndCell(), cell.DictSetModeAdd)
		if err != nil {
			return nil, err
		}
		if !added {
			return nil, errors.New("a key twice")
		}
	}
	return d.AsCell(), nil
}

func readDict[T any, P interface {
	*T
	entry
}](keyBits uint, tree *cell.Cell) ([]T, error) {
	if err := checkDictSize(tree); err != nil {
		return nil, err
	}
	all, err := tree.AsDict(keyBits).LoadAll()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b cell.DictKV) int {
		_, x, _ := a.Key.Copy().RestBits()
		_, y, _ := b.Key.Copy().RestBits()
		return bytes.Compare(x, y)
	})
	rows := make([]T, len(all))
	for i, kv := range all {
		key, value := &codec{in: kv.Key}, &codec{in: kv.Value}
		P(&rows[i]).key(key)
		P(&rows[i]).value(value)
		if err := errors.Join(key.end(), value.end()); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// checkDictSize counts the tree's cells before anything is unpacked: cells may be shared, so a small bag of cells can
// hold a tree of any size.
func checkDictSize(tree *cell.Cell) error {
	queue := []*cell.Cell{tree}
	for seen := 0; len(queue) > 0; seen++ {
		if seen > 2*maxEntries {
			return fmt.Errorf("more than %d entries", maxEntries)
		}
		at := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if at.GetType() != cell.OrdinaryCellType {
			return errors.New("a special cell in a dictionary")
		}
		for i := range int(at.RefsNum()) {
			child, err := at.PeekRef(i)
			if err != nil {
				return err
			}
			queue = append(queue, child)
		}
	}
	return nil
}
