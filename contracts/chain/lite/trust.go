package lite

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/google/renameio/v2"
	"github.com/xssnick/tonutils-go/ton"

	"cocoon/contracts/chain"
)

// KeyBlock names a masterchain key block.
type KeyBlock struct {
	Seqno    uint32     `json:"seqno"`
	RootHash chain.Hash `json:"root_hash"`
	FileHash chain.Hash `json:"file_hash"`
}

func (k KeyBlock) id() *ton.BlockIDExt {
	return &ton.BlockIDExt{Workchain: masterchain, Shard: shard, SeqNo: k.Seqno, RootHash: bytes.Clone(k.RootHash[:]), FileHash: bytes.Clone(k.FileHash[:])}
}

func keyBlockOf(id *ton.BlockIDExt) KeyBlock {
	return KeyBlock{Seqno: id.SeqNo, RootHash: chain.Hash(id.RootHash), FileHash: chain.Hash(id.FileHash)}
}

func idOf(b chain.Block) *ton.BlockIDExt {
	return KeyBlock{Seqno: b.Seqno, RootHash: b.RootHash, FileHash: b.FileHash}.id()
}

// TrustStore keeps the newest key block that was proven, so that a server cannot take the client back behind it after a
// restart. Its content must be as trustworthy as the pinned block: a sealed store, or a file on the operator's disk.
type TrustStore interface {
	// Load returns nil when nothing was saved yet.
	Load() (*KeyBlock, error)
	Save(KeyBlock) error
}

// MemoryTrust is a TrustStore that a restart empties. The zero value is ready.
type MemoryTrust struct {
	mu    sync.Mutex
	saved *KeyBlock
}

// Load implements TrustStore.
func (m *MemoryTrust) Load() (*KeyBlock, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.saved, nil
}

// Save implements TrustStore.
func (m *MemoryTrust) Save(k KeyBlock) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.saved = &k
	return nil
}

const (
	trustSchema = "cocoon.trusted_block/1"
	// maxTrustFile bounds the file; it has about 250 bytes.
	maxTrustFile = 4096
)

// FileTrust is a TrustStore in one file, replaced atomically and durably.
type FileTrust struct{ Path string }

type trustFile struct {
	Schema string `json:"schema"`
	KeyBlock
}

// Load implements TrustStore.
func (f FileTrust) Load() (*KeyBlock, error) {
	data, err := readFile(f.Path, maxTrustFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading trusted block: %w", err)
	}
	k, err := parseTrust(data)
	if err != nil {
		return nil, fmt.Errorf("reading trusted block %s: %w", f.Path, err)
	}
	return &k, nil
}

// parseTrust is strict: a file that is not exactly what Save writes was not written by it.
func parseTrust(data []byte) (KeyBlock, error) {
	if len(data) > maxTrustFile {
		return KeyBlock{}, fmt.Errorf("%w: %d bytes, at most %d", chain.ErrMalformed, len(data), maxTrustFile)
	}
	var t trustFile
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return KeyBlock{}, fmt.Errorf("%w: %w", chain.ErrMalformed, err)
	}
	again, err := t.encode()
	if err != nil || !bytes.Equal(again, data) {
		return KeyBlock{}, fmt.Errorf("%w: the file is not in the form that it is written in", chain.ErrMalformed)
	}
	if t.Schema != trustSchema || t.Seqno == 0 {
		return KeyBlock{}, fmt.Errorf("%w: schema %q, block %d", chain.ErrMalformed, t.Schema, t.Seqno)
	}
	return t.KeyBlock, nil
}

func (t trustFile) encode() ([]byte, error) {
	data, err := json.Marshal(t)
	return append(data, '\n'), err
}

// Save implements TrustStore.
func (f FileTrust) Save(k KeyBlock) error {
	data, err := trustFile{Schema: trustSchema, KeyBlock: k}.encode()
	if err == nil {
		err = renameio.WriteFile(f.Path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("writing trusted block %s: %w", f.Path, err)
	}
	return nil
}
