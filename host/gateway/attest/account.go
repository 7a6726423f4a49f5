package attest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"cocoon/host/gateway/upstream"
)

// SecretAccount is a payment channel that exists already and is opened by its secret, without access to the chain.
type SecretAccount struct {
	// Wallet is the address of the wallet contract that pays.
	Wallet string
	Key    []byte
	// Proxies are the contracts of proxies that may be paid; empty accepts any.
	Proxies []string
}

// Owner implements upstream.Account.
func (a SecretAccount) Owner() string { return a.Wallet }

// Check implements upstream.Account.
func (a SecretAccount) Check(_ context.Context, o upstream.Offer) error {
	same := func(p string) bool { return upstream.RawAddress(p) == o.ProxySC }
	if len(a.Proxies) > 0 && !slices.ContainsFunc(a.Proxies, same) {
		return fmt.Errorf("its contract %.80q is none of those that may be paid", o.ProxySC)
	}
	return nil
}

// Secret implements upstream.Account.
func (a SecretAccount) Secret(hash [32]byte) ([]byte, bool) {
	return a.Key, sha256.Sum256(a.Key) == hash
}

// Register implements upstream.Account.
func (a SecretAccount) Register(context.Context, upstream.Offer, int64) error {
	return errors.New("the proxy does not know the secret of this wallet, and registering needs the chain; give the secret that the channel was opened with")
}
