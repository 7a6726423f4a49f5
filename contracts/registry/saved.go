package registry

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"time"

	"github.com/google/renameio/v2"
	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"

	"cocoon/contracts/chain"
)

const (
	savedSchema = "cocoon.root_snapshot/1"
	// maxSaved bounds the file: a root with a full list of hashes has about 300 KB.
	maxSaved = 4 << 20
)

// ErrSaved is wrapped when a saved snapshot is not one that Save wrote for this root.
var ErrSaved = errors.New("saved snapshot cannot be used")

// saved is a snapshot on disk. The lists are read from the cells again, never from a copy beside them.
type saved struct {
	Schema   string     `json:"schema"`
	Root     string     `json:"root"`
	Seqno    uint32     `json:"seqno"`
	RootHash chain.Hash `json:"root_hash"`
	FileHash chain.Hash `json:"file_hash"`
	Time     int64      `json:"time"`
	EndLT    uint64     `json:"end_lt"`
	KeySeqno uint32     `json:"key_seqno"`
	Code     []byte     `json:"code"`
	Data     []byte     `json:"data"`
}

// Save writes a snapshot to a file, whole or not at all, so that a restart without a chain can go on. The file holds no
// proof: who can write it decides whom the next process admits, so it belongs where the newest trusted block lies.
func (s *Snapshot) Save(path string) error {
	data, err := s.encode()
	if err == nil {
		err = renameio.WriteFile(path, data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("saving root %s: %w", s.Root, err)
	}
	return nil
}

func (s *Snapshot) encode() ([]byte, error) {
	b := s.Block
	data, err := json.Marshal(saved{
		Schema: savedSchema, Root: s.Root.StringRaw(), Seqno: b.Seqno, RootHash: b.RootHash, FileHash: b.FileHash, Time: b.Time.Unix(), EndLT: b.EndLT,
		KeySeqno: b.KeySeqno, Code: s.Account.Code.ToBOC(), Data: s.Account.Data.ToBOC(),
	})
	return append(data, '\n'), err
}

// Load reads a snapshot that Save wrote for a root; a missing file is fs.ErrNotExist.
func Load(path string, root *address.Address) (*Snapshot, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() || st.Size() > maxSaved {
		return nil, fmt.Errorf("loading %s: %w: %d bytes, at most %d", path, ErrSaved, st.Size(), maxSaved)
	}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("loading saved root: %w", err)
	}
	s, err := parseSaved(data, root)
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w: %w", path, ErrSaved, err)
	}
	return s, nil
}

// parseSaved is strict: a file that is not exactly what Save writes was not written by it.
func parseSaved(data []byte, root *address.Address) (*Snapshot, error) {
	if len(data) > maxSaved {
		return nil, fmt.Errorf("%d bytes, at most %d", len(data), maxSaved)
	}
	var f saved
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, err
	}
	if f.Schema != savedSchema || f.Root != root.StringRaw() || f.Seqno == 0 {
		return nil, fmt.Errorf("schema %q, root %q, block %d", f.Schema, f.Root, f.Seqno)
	}
	account, err := f.account(root)
	if err != nil {
		return nil, err
	}
	s, err := Parse(account)
	if err != nil {
		return nil, err
	}
	if again, err := s.encode(); err != nil || !bytes.Equal(again, data) {
		return nil, errors.New("the file is not in the form that it is written in")
	}
	return s, nil
}

func (f *saved) account(root *address.Address) (*chain.Account, error) {
	code, err := readBag(f.Code)
	if err != nil {
		return nil, fmt.Errorf("code: %w", err)
	}
	data, err := readBag(f.Data)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	return &chain.Account{
		Address: root, Status: chain.Active, Balance: new(big.Int), DuePayment: new(big.Int), Code: code, Data: data,
		Block: chain.Block{
			Seqno: f.Seqno, RootHash: f.RootHash, FileHash: f.FileHash, Time: time.Unix(f.Time, 0).UTC(), EndLT: f.EndLT, KeySeqno: f.KeySeqno,
		},
	}, nil
}

// readBag turns the library's panics into errors.
func readBag(raw []byte) (c *cell.Cell, err error) {
	defer func() {
		if p := recover(); p != nil {
			c, err = nil, fmt.Errorf("reading cells: %v", p)
		}
	}()
	return cell.FromBOC(raw)
}
