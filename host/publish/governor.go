package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/code"
	"cocoon/contracts/registry"
)

// governorValue goes along with an operation on a governor, which passes a part on to the root; the rest comes back.
const governorValue bind.Nano = 5e8

// ErrNoManifest is for a hash without a manifest: a governor keeps the manifest of every hash.
var ErrNoManifest = errors.New("the governor wants the manifest's hash")

// governorOf reads the governor that owns a root; nil when its owner is none.
func (s *Site) governorOf(ctx context.Context, owner *address.Address) (*bind.GovernorStorage, error) {
	a, err := s.Account(ctx, owner)
	if err != nil || a.Status != chain.Active {
		return nil, err
	}
	if id, ok := code.Recognise(code.Hash(a.Code.Hash())); !ok || id.Contract != "governor" {
		return nil, nil //nolint:nilnil // another kind of owner is not an error
	}
	g, err := bind.ParseGovernorStorage(a.Data)
	if err != nil {
		return nil, err
	}
	return &g, nil
}

// Governor reads the governor of a root. It is an error when the root has none.
func (s *Site) Governor(ctx context.Context, root *registry.Snapshot) (*bind.GovernorStorage, error) {
	g, err := s.governorOf(ctx, root.Owner)
	if err == nil && g == nil {
		err = fmt.Errorf("root %s: %w: its owner %s is no governor", root.Root, ErrNoRights, root.Owner)
	}
	return g, err
}

// Member is the principal of a key that is one of a governor's members; without a key the first of them.
func (s *Site) Member(ctx context.Context, members []*address.Address, signer *Signer, role string) (*Principal, error) {
	if signer == nil {
		if len(members) == 0 {
			return nil, fmt.Errorf("%w: the governor has no %s", ErrNoRights, role)
		}
		return Unsigned(members[0]), nil
	}
	for _, m := range members {
		p, err := s.Principal(ctx, m, signer)
		if err == nil {
			return p, nil
		}
		if !errors.Is(err, ErrNoRights) {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: none of the key's wallets is a %s of the governor", ErrNoRights, role)
}

// govern makes the messages to a governor: proposals to add, revocations to delete.
func (j *Job) govern(ctx context.Context, o *Outcome) error {
	role, members := "proposer", o.Governor.Rules.Proposers
	if j.Delete {
		role, members = "revoker", slices.Concat(o.Governor.Rules.Revokers, []*address.Address{o.Governor.Owner})
	}
	var err error
	if o.Principal, err = o.Site.Member(ctx, members, j.Signer, role); err != nil {
		return err
	}
	query := uint64(j.Now().UnixNano())
	for i, c := range o.Changes {
		body, what, err := c.governed(query + uint64(i))
		if err != nil {
			return err
		}
		encoded, err := bind.Encode(body)
		if err != nil {
			return err
		}
		o.Orders = append(o.Orders, Order{What: fmt.Sprintf("%s %s hash %x", what, c.List, c.Hash), To: o.Before.Owner, Value: governorValue, Body: encoded})
	}
	return nil
}

// governed is what the governor is asked for.
func (c Change) governed(query uint64) (bind.Message, string, error) {
	if !c.Add {
		list := map[registry.List]bind.HashList{registry.Proxies: bind.ListProxies, registry.Workers: bind.ListWorkers, registry.Models: bind.ListModels}[c.List]
		return &bind.GovernorRevoke{QueryID: query, List: list, Hash: c.Hash}, "revoke", nil
	}
	if c.Manifest == (bind.Hash{}) {
		return nil, "", fmt.Errorf("%s hash %x: %w", c.List, c.Hash, ErrNoManifest)
	}
	p, err := bind.ProposeChange(query, c.Message(query), bind.Provenance{ManifestHash: c.Manifest})
	return &p, "propose to add", err
}

// proposed finds the proposals that the messages became, in a governor's state after them.
func (o *Outcome) proposed(account *chain.Account) error {
	g, err := bind.ParseGovernorStorage(account.Data)
	if err != nil {
		return err
	}
	o.Proposals = nil
	for _, c := range o.Changes {
		for _, p := range g.Proposals {
			a, err := p.Addition()
			if err == nil && p.ID > o.Governor.LastProposal && a.Hash == c.Hash && a.ManifestHash == c.Manifest {
				o.Proposals = append(o.Proposals, p)
			}
		}
	}
	if len(o.Proposals) != len(o.Changes) {
		return fmt.Errorf("%w: %d of %d proposals are in the governor's state", ErrRefused, len(o.Proposals), len(o.Changes))
	}
	return nil
}
