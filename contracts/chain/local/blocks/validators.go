package blocks

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"math/big"

	"github.com/xssnick/tonutils-go/adnl/keys"
	"github.com/xssnick/tonutils-go/tl"
	"github.com/xssnick/tonutils-go/ton"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// Constructor tags of validator sets (block.tlb).
const (
	tagValidatorsExt = 0x12
	tagValidatorAddr = 0x73
	tagPublicKey     = 0x8e81278a
)

// Validators is the set of keys that signs a local network's blocks: one is enough, more make the same proofs longer.
type Validators struct {
	keys []ed25519.PrivateKey
	// Short is the set's hash as headers carry it.
	Short uint32
}

// NewValidators derives n keys from a seed. The epoch tells sets apart that the network used one after the other.
func NewValidators(seed [32]byte, epoch uint32, n int) (*Validators, error) {
	if n < 1 || n > 100 {
		return nil, fmt.Errorf("making validators: %d keys, want 1 to 100", n)
	}
	v := &Validators{}
	set := ton.ValidatorSetHashable{}
	for i := range n {
		k := sha256.Sum256(fmt.Appendf(seed[:], "validator %d %d", epoch, i))
		key := ed25519.NewKeyFromSeed(k[:])
		v.keys = append(v.keys, key)
		set.Validators = append(set.Validators, ton.ValidatorItemHashable{Key: public(key), Weight: 1, Addr: make([]byte, 32)})
	}
	raw, err := tl.Serialize(set, true)
	if err != nil {
		return nil, fmt.Errorf("hashing the validator set: %w", err)
	}
	v.Short = crc32.Checksum(raw, crc32.MakeTable(crc32.Castagnoli))
	return v, nil
}

func public(k ed25519.PrivateKey) ed25519.PublicKey {
	pub, _ := k.Public().(ed25519.PublicKey) // documented to be of this type
	return pub
}

// Cell is configuration parameter 34: validators_ext#12. The set never ends, so that time travel is free.
func (v *Validators) Cell() (*cell.Cell, error) {
	list := cell.NewDict(16)
	for i, k := range v.keys {
		c, err := pack().uint(tagValidatorAddr, 8).uint(tagPublicKey, 32).bytes(public(k)).uint(1, 64).bytes(make([]byte, 32)).
			named("validator")
		if err != nil {
			return nil, err
		}
		if err := list.SetIntKey(big.NewInt(int64(i)), c); err != nil {
			return nil, fmt.Errorf("packing validators: %w", err)
		}
	}
	n := uint64(len(v.keys))
	return pack().uint(tagValidatorsExt, 8).uint(0, 32).uint(math.MaxUint32, 32).uint(n, 16).uint(n, 16).uint(n, 64).
		maybe(list.AsCell()).named("validators")
}

// Sign signs a masterchain block with every key (ton.blockId).
func (v *Validators) Sign(r Ref) ([]ton.Signature, error) {
	msg, err := tl.Serialize(ton.BlockID{RootHash: r.RootHash[:], FileHash: r.FileHash[:]}, true)
	if err != nil {
		return nil, fmt.Errorf("signing block: %w", err)
	}
	out := make([]ton.Signature, 0, len(v.keys))
	for _, k := range v.keys {
		id, err := tl.Hash(keys.PublicKeyED25519{Key: public(k)})
		if err != nil {
			return nil, fmt.Errorf("signing block: %w", err)
		}
		out = append(out, ton.Signature{NodeIDShort: id, Signature: ed25519.Sign(k, msg)})
	}
	return out, nil
}

// sigSize is one signature on disk: node id and ed25519 signature.
const sigSize = 32 + ed25519.SignatureSize

// EncodeSignatures and DecodeSignatures store signatures.
func EncodeSignatures(sigs []ton.Signature) []byte {
	out := make([]byte, 0, len(sigs)*sigSize)
	for _, s := range sigs {
		out = append(append(out, s.NodeIDShort...), s.Signature...)
	}
	return out
}

// DecodeSignatures reads what EncodeSignatures wrote.
func DecodeSignatures(raw []byte) ([]ton.Signature, error) {
	if len(raw) == 0 || len(raw)%sigSize != 0 {
		return nil, errors.New("reading signatures: length is no multiple of a signature's")
	}
	var out []ton.Signature
	for ; len(raw) > 0; raw = raw[sigSize:] {
		out = append(out, ton.Signature{NodeIDShort: raw[:32], Signature: raw[32:sigSize]})
	}
	return out, nil
}
