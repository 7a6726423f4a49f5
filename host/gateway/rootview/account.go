package rootview

import (
	"errors"
	"fmt"

	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/bind"
)

// Contracts are a proxy's contract and the client's contract with it in their raw form, as they follow from the root's
// parameters, the proxy's owner and key, and the wallet that pays (protocol.md section 4.1: both sides recompute them).
func (v *View) Contracts(proxyOwner, wallet string, key [32]byte) (proxySC, clientSC string, err error) {
	s, err := v.root.Snapshot()
	if err != nil {
		return "", "", err
	}
	owner, err := parse("proxy's owner", proxyOwner)
	if err != nil {
		return "", "", err
	}
	payer, err := parse("wallet", wallet)
	if err != nil {
		return "", "", err
	}
	proxy, err := bind.NewProxy(s.Params, s.Root, owner, key)
	if err != nil {
		return "", "", fmt.Errorf("root %s: %w", s.Root, err)
	}
	client, err := bind.NewClient(s.Params, proxy.Address, payer, key)
	if err != nil {
		return "", "", fmt.Errorf("root %s: %w", s.Root, err)
	}
	return proxy.Address.StringRaw(), client.Address.StringRaw(), nil
}

func parse(what, text string) (*address.Address, error) {
	a, err := address.ParseAddr(text)
	if err != nil {
		a, err = address.ParseRawAddr(text)
	}
	if err != nil {
		return nil, fmt.Errorf("the %s %.80q is no address", what, text)
	}
	if a.Type() != address.StdAddress {
		return nil, errors.New("the " + what + " is no standard address")
	}
	return a, nil
}
