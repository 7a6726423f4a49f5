package bind

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/xssnick/tonutils-go/address"
	"github.com/xssnick/tonutils-go/tvm/cell"
)

// stateInitBits is the StateInit of code and data alone: no split depth, not special, code, data, no library
// (contracts.md section 1.7).
const stateInitBits, stateInitLen = 0b00110, 5

// StateInit is the cell that deploys a contract; its hash is the address.
func StateInit(code, data *cell.Cell) (*cell.Cell, error) {
	if code == nil || data == nil {
		return nil, errors.New("writing state init: no code or no data")
	}
	b := cell.BeginCell()
	err := errors.Join(b.StoreUInt(stateInitBits, stateInitLen), b.StoreRef(code), b.StoreRef(data))
	if err != nil {
		return nil, fmt.Errorf("writing state init: %w", err)
	}
	return b.EndCell(), nil
}

// Address is where code and data deploy to, in workchain 0.
func Address(code, data *cell.Cell) (*address.Address, error) {
	init, err := StateInit(code, data)
	if err != nil {
		return nil, err
	}
	return address.NewAddress(0, 0, init.Hash()), nil
}

// AddressOf is Address by hashes and depths alone, which is all that a cell's hash needs of its children: for code that is
// not at hand.
func AddressOf(codeHash Hash, codeDepth uint16, dataHash Hash, dataDepth uint16) *address.Address {
	// Representation of a cell: two descriptors, data with completion bit, depths and hashes of the references.
	repr := []byte{2, 1, stateInitBits<<3 | 1<<2}
	repr = binary.BigEndian.AppendUint16(repr, codeDepth)
	repr = binary.BigEndian.AppendUint16(repr, dataDepth)
	repr = append(append(repr, codeHash[:]...), dataHash[:]...)
	sum := sha256.Sum256(repr)
	return address.NewAddress(0, 0, sum[:])
}

// Instance is a contract before its deployment: its code, initial data and the address that follows from them.
type Instance struct {
	Code, Data *cell.Cell
	Address    *address.Address
}

func newInstance(what string, code *cell.Cell, data *cell.Cell, err error) (Instance, error) {
	if err != nil {
		return Instance{}, fmt.Errorf("deriving %s: %w", what, err)
	}
	if code == nil {
		return Instance{}, fmt.Errorf("deriving %s: the parameters hold no code for it; take them from the root", what)
	}
	at, err := Address(code, data)
	if err != nil {
		return Instance{}, fmt.Errorf("deriving %s: %w", what, err)
	}
	return Instance{Code: code, Data: data, Address: at}, nil
}

// NewProxy is the proxy contract of an owner and a machine key under a root with these parameters, which must hold all
// codes.
func NewProxy(p Params, root, owner *address.Address, key Hash) (Instance, error) {
	data, err := ProxyStorage{Owner: owner, ProxyKey: key, Root: root, Params: p.With(ProxyCodes)}.Cell()
	return newInstance("proxy", p.Proxy, data, err)
}

// NewClient is the client contract of a wallet (never a person's address) at a proxy contract.
func NewClient(p Params, proxy, wallet *address.Address, key Hash) (Instance, error) {
	data, err := ClientStorage{
		Stake: p.MinClientStake, Owner: wallet, Proxy: proxy, ProxyKey: key, Params: p.With(NoCodes),
	}.Cell()
	return newInstance("client", p.Client, data, err)
}

// NewWorker is the worker contract of a person at a proxy contract.
func NewWorker(p Params, proxy, owner *address.Address, key Hash) (Instance, error) {
	data, err := WorkerStorage{Owner: owner, Proxy: proxy, ProxyKey: key, Params: p.With(NoCodes)}.Cell()
	return newInstance("worker", p.Worker, data, err)
}

// NewWallet is the machine's wallet: the machine holds the key, the owner may withdraw and block.
func NewWallet(code *cell.Cell, key ed25519.PublicKey, owner *address.Address) (Instance, error) {
	if len(key) != ed25519.PublicKeySize {
		return Instance{}, fmt.Errorf("deriving wallet: a public key of %d bytes", len(key))
	}
	data, err := WalletStorage{PublicKey: Hash(key), Owner: owner}.Cell()
	return newInstance("wallet", code, data, err)
}
