// Package rootview is what a gateway takes from its network's root contract: which proxies there are, which images they may
// run, what a token costs, and which contracts a channel has (protocol.md section 4.1, inference.md section 10.5).
//
// It owns the step from the root's plain values to those of the gateway's rooms, the prices that were seen, and the watch
// over the age of what is known. It trusts the follow.Follower, which reads proven state, keeps the newest on disk, and
// stops answering when that is too old. A View is safe for concurrent use and answers from memory; Run owns its goroutines.
// It refuses to admit anybody by a root that is too old, and to derive contracts from texts that are no addresses.
package rootview

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"cocoon/contracts/receipt"
	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

const (
	// maxProxies bounds the registered proxies that are used, maxTerms the versions of the price that are remembered.
	maxProxies, maxTerms = 256, 64
	// look is how often it is looked whether the root has become too old, or can be used again.
	look = 5 * time.Second
	// grace is how long proxies have to see a new version before requests ask for it: they read the root every 30 to 60 s
	// (contracts.md section 5), and would refuse everything until then. maxVersions bounds those that wait.
	grace, maxVersions = 90 * time.Second, 64
)

// Changes are what happened to a root.
type Changes struct {
	// First says that nothing was known before; Params that the shared parameters changed, and with them every contract.
	First, Params bool
	// Usable says whether the root is young enough to admit anybody by.
	Usable bool
}

// View is a gateway's view of one root.
type View struct {
	root    *follow.Follower
	changed func(c Changes)
	look    time.Duration
	images  [2]atomic.Pointer[converted]

	mu    sync.Mutex
	terms []registry.Terms
	last  *registry.Snapshot
	// versions are those of the configuration with the time of the first block that they were seen in, oldest first.
	versions []dated
	// told is what was last said of the root's usability.
	told bool
}

// converted are a snapshot's hashes in the measure room's type.
type converted struct {
	of     *registry.Snapshot
	hashes []tdx.Hash
}

// dated is a version and when it was first seen, in the chain's time.
type dated struct {
	version uint32
	at      time.Time
}

// New makes a view. Changed, which may be nil, is told of every change while Run runs, from its goroutines.
func New(root *follow.Follower, changed func(c Changes)) (*View, error) {
	if root == nil {
		return nil, errors.New("viewing a root: no follower given")
	}
	if changed == nil {
		changed = func(Changes) {}
	}
	v := &View{root: root, changed: changed, look: look}
	if s := root.Watcher().Newest(); s != nil {
		v.note(s)
	}
	v.told = v.usable()
	root.OnChange(func(now *registry.Snapshot) { v.changed(v.note(now)) })
	return v, nil
}

// note remembers a snapshot's price and says what is new about it.
func (v *View) note(s *registry.Snapshot) Changes {
	v.mu.Lock()
	defer v.mu.Unlock()
	c := Changes{First: v.last == nil, Usable: true}
	c.Params = !c.First && v.last.Params.ParamsVersion != s.Params.ParamsVersion
	if n := len(v.versions); n == 0 || v.versions[n-1].version != s.Version {
		v.versions = append(v.versions, dated{s.Version, s.Block.Time})
		v.versions = v.versions[max(len(v.versions)-maxVersions, 0):]
	}
	v.last, v.told = s, true
	t, err := s.Terms()
	if err != nil {
		return c // a root with such prices has none that a receipt could have
	}
	v.terms = append(v.terms, t)
	v.terms = v.terms[max(len(v.terms)-maxTerms, 0):]
	return c
}

// Run follows the root until ctx ends. A chain that cannot be reached does not end it.
func (v *View) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		v.root.Start(ctx)
		return v.root.Run(ctx)
	})
	group.Go(func() error {
		v.watch(ctx)
		return nil
	})
	return group.Wait()
}

// watch tells of a root that became too old, or can be used again.
func (v *View) watch(ctx context.Context) {
	tick := time.NewTicker(v.look)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := v.usable()
		v.mu.Lock()
		news := now != v.told
		v.told = now
		v.mu.Unlock()
		if news {
			v.changed(Changes{Usable: now})
		}
	}
}

func (v *View) usable() bool {
	_, err := v.root.Snapshot()
	return err == nil
}

// State is how old the view is and what stands in the way of a newer one.
func (v *View) State() follow.State { return v.root.State() }

// Address is the root's.
func (v *View) Address() string { return v.root.Section().Address.String() }

// Proxies are the addresses for clients of the registered proxies, in the order of their registration, and none while
// nothing was read. The list outlives its age, because who is on it is judged by his evidence.
func (v *View) Proxies() []string {
	s := v.root.Watcher().Newest()
	if s == nil {
		return nil
	}
	var out []string
	for _, r := range s.Registered() {
		if !slices.Contains(out, r.ForClients) && len(out) < maxProxies {
			out = append(out, r.ForClients)
		}
	}
	return out
}

// ConfigVersion is the root's version that proxies must have seen; 0 while this view knows none. It is the newest one that
// they have had time to see, and at the start the one that this view begins with.
func (v *View) ConfigVersion() int32 {
	s := v.root.Watcher().Newest()
	if s == nil || s.Version > math.MaxInt32 {
		return 0
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for i, d := range slices.Backward(v.versions) {
		if i == 0 || s.Block.Time.Sub(d.at) >= grace {
			return int32(min(d.version, math.MaxInt32))
		}
	}
	return 0
}

// Terms are what tokens cost when the root had these versions, as far as this view has seen them. Any change of them
// changes the version of the parameters (contracts.md section 4), so that one decides.
func (v *View) Terms(_, params int64) (terms receipt.Terms, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, t := range slices.Backward(v.terms) {
		if int64(t.ParamsVersion) == params {
			return receipt.Terms{Price: t.Price, Multipliers: t.Multipliers}, true
		}
	}
	return receipt.Terms{}, false
}

// Catch reads the root once more when a receipt names versions that this view has not seen yet.
func (v *View) Catch(ctx context.Context, config, params int64) error {
	if _, ok := v.Terms(config, params); ok {
		return nil
	}
	if err := v.root.Refresh(ctx); err != nil {
		return fmt.Errorf("reading root at version %d: %w", config, err)
	}
	return nil
}

// Images are a list of the root, for policies whose image source is the chain.
func (v *View) Images(list registry.List) policy.Images { return images{v, list} }

// images implements policy.Images.
type images struct {
	view *View
	list registry.List
}

// Allowed implements policy.Images. The time is that of the block in which the list was proven.
func (i images) Allowed() ([]tdx.Hash, time.Time, error) {
	s, err := i.view.root.Snapshot()
	if err != nil {
		return nil, time.Time{}, err
	}
	slot := &i.view.images[0]
	if i.list == registry.Workers {
		slot = &i.view.images[1]
	}
	last := slot.Load()
	if last == nil || last.of != s {
		last = &converted{of: s}
		for _, h := range s.Hashes(i.list) {
			last.hashes = append(last.hashes, tdx.Hash(h))
		}
		slot.Store(last)
	}
	return last.hashes, s.Block.Time, nil
}

// Newest is the root as it was read last, however old; nil while it never was.
func (v *View) Newest() *registry.Snapshot { return v.root.Watcher().Newest() }
