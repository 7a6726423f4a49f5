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

// Derived gives the contracts of a proxy's offer as they follow from the root contract.
type Derived interface {
	Contracts(proxyOwner, wallet string, key [32]byte) (proxySC, clientSC string, err error)
}

// RootAccount is a payment channel whose contracts are compared with those that the root contract gives: a proxy that names
// others would be paid, or would count, elsewhere (protocol.md section 4.1).
type RootAccount struct {
	SecretAccount
	Root Derived
}

// Check implements upstream.Account.
func (a RootAccount) Check(ctx context.Context, o upstream.Offer) error {
	if err := a.SecretAccount.Check(ctx, o); err != nil {
		return err
	}
	proxy, client, err := a.Root.Contracts(o.ProxyOwner, a.Wallet, o.ProxyKey)
	if err != nil {
		return fmt.Errorf("its contracts cannot be derived: %w", err)
	}
	for _, c := range []struct{ what, said, is string }{{"its own contract", o.ProxySC, proxy}, {"the channel's contract", o.ClientSC, client}} {
		if c.said != c.is {
			return fmt.Errorf("it names %s %.80q, and the root contract gives %s", c.what, c.said, c.is)
		}
	}
	return nil
}
