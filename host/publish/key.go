package publish

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/ton/wallet"

	"cocoon/contracts/bind"
)

const (
	// MaxKeyFile bounds a file with a key: 24 words have less than 300 bytes.
	MaxKeyFile = 4096
	keyWords   = 24
)

// Signer signs for one key. Printing it shows the public half only.
type Signer struct{ key ed25519.PrivateKey }

// ParseSigner reads a key: a mnemonic of 24 words, or the 64 hexadecimal digits of a seed. Errors quote nothing of it.
func ParseSigner(text []byte) (*Signer, error) {
	words := strings.Fields(string(text))
	switch len(words) {
	case 1:
		seed, err := hex.DecodeString(words[0])
		if err != nil || len(seed) != ed25519.SeedSize {
			return nil, errors.New("reading key: one word that is not the 64 hexadecimal digits of a seed")
		}
		return &Signer{ed25519.NewKeyFromSeed(seed)}, nil
	case keyWords:
		key, err := wallet.SeedToPrivateKeyWithOptions(words)
		if err != nil {
			return nil, errors.New("reading key: the 24 words are no mnemonic: one of them is misspelt, or their order is wrong")
		}
		return &Signer{key}, nil
	}
	return nil, fmt.Errorf("reading key: %d words: neither a mnemonic of %d nor a seed of 64 hexadecimal digits", len(words), keyWords)
}

// NewMnemonic makes a new key as 24 words.
func NewMnemonic() string { return strings.Join(wallet.NewSeed(), " ") }

// Public half of the key.
func (s *Signer) Public() ed25519.PublicKey { return ed25519.PublicKey(s.key[ed25519.SeedSize:]) }

// String is the public key in hexadecimal digits.
func (s *Signer) String() string { return hex.EncodeToString(s.Public()) }

// GoString keeps the key out of %#v.
func (s *Signer) GoString() string { return "publish.Signer(" + s.String() + ")" }

func (s *Signer) sign(message []byte) []byte { return ed25519.Sign(s.key, message) }

// SignPayload signs what an operation authorises, for keys that contracts know: a farm's, a node's, a price source's.
func (s *Signer) SignPayload(queryID uint64, excess *address.Address, payload bind.SignedPayload) (bind.Signed, error) {
	return bind.Sign(s.key, queryID, excess, payload)
}
