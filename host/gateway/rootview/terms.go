package rootview

import (
	"context"
	"errors"
	"fmt"

	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/bind"
	"cocoon/contracts/chain"
	"cocoon/contracts/registry"
)

// ErrVersion is wrapped when a root never had the versions that a receipt names, or its history does not reach back.
var ErrVersion = errors.New("the root's price at this version cannot be told")

// TermsAt are a root's terms when its configuration and its parameters had these versions. The newest parameters are read
// from the root itself; older ones follow from its history, played from the deployment.
func TermsAt(ctx context.Context, h chain.History, root *address.Address, config, params int64) (registry.Terms, error) {
	now, err := registry.Read(ctx, h, root)
	if err != nil {
		return registry.Terms{}, err
	}
	switch {
	case config > int64(now.Version) || params > int64(now.Params.ParamsVersion) || config < 0 || params < 0:
		return registry.Terms{}, fmt.Errorf("%w: version %d with parameters %d, and it is at %d with %d",
			ErrVersion, config, params, now.Version, now.Params.ParamsVersion)
	case params == int64(now.Params.ParamsVersion):
		t, err := now.Terms()
		t.ConfigVersion = int32(config) //nolint:gosec // at most the root's, which Terms bounds
		return t, err
	}
	r, err := registry.Audit(ctx, h, root)
	if err != nil {
		return registry.Terms{}, err
	}
	if !r.Complete {
		return registry.Terms{}, fmt.Errorf("%w: the liteservers do not know its history back to the deployment: ask an archive server", ErrVersion)
	}
	s, ok := play(r, config)
	if !ok || int64(s.Params.ParamsVersion) != params {
		return registry.Terms{}, fmt.Errorf("%w: at version %d its parameters were %d, not %d", ErrVersion, config, s.Params.ParamsVersion, params)
	}
	return (&registry.Snapshot{Root: root, RootStorage: s}).Terms()
}

// play is a root as of a version of its configuration, as far as its terms go.
func play(r *registry.Replay, config int64) (bind.RootStorage, bool) {
	s := *r.First
	for _, e := range r.Events {
		if int64(s.Version) == config {
			return s, true
		}
		if e.Applied {
			step(&s, e)
		}
	}
	return s, int64(s.Version) == config
}

// step does what an operation does to the terms (contracts.md section 4): every one counts the version but the upgrade of
// the code, and those of parameters count theirs.
func step(s *bind.RootStorage, e registry.Event) {
	if e.Op != bind.OpRootUpgrade {
		s.Version++
	}
	switch m := e.Message.(type) {
	case *bind.RootChangePrice:
		s.Params.PricePerToken, s.Params.WorkerFee = m.PricePerToken, m.WorkerFee
		s.Params.ParamsVersion++
	case *bind.RootChangeParams:
		s.Params.PricePerToken, s.Params.WorkerFee = m.PricePerToken, m.WorkerFee
		s.Params.ParamsVersion++
	case *bind.RootUpgradeContracts:
		s.Params.ParamsVersion++
	case *bind.RootUpgradeFull:
		if full, err := bind.ParseRoot(m.Data); err == nil {
			*s = full
		}
	default:
	}
}
