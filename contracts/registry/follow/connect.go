package follow

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/xssnick/tonutils-go/address"

	"cocoon/contracts/chain"
	"cocoon/contracts/chain/lite"
	"cocoon/contracts/registry"
)

// Chain is what following needs of a chain; *lite.Client has it.
type Chain interface {
	registry.Reader
	Config(ctx context.Context, at chain.Block, ids ...int32) (*chain.Config, error)
	Close()
}

// Files in the section's folder.
const (
	snapshotFile = "root.json"
	trustFile    = "trusted_block.json"
)

// connector makes the connection when it is first needed, and again until that succeeds: a process outlives a chain that
// is not there when it starts.
type connector struct {
	section *Section
	dial    func(ctx context.Context) (Chain, error)

	mu     sync.Mutex
	chain  Chain
	closed bool
}

// liteDialer connects to the liteservers of the section's file, which is read now: what it names was measured at the start.
func liteDialer(s *Section, now func() time.Time, log *slog.Logger) (func(ctx context.Context) (Chain, error), error) {
	network, err := lite.LoadGlobalConfig(s.Config)
	if err != nil {
		return nil, fmt.Errorf("root.config: %w", err)
	}
	o := lite.Options{Servers: network.Servers, Trusted: network.Init, OneServer: s.OneServer, Now: now, Log: log}
	if s.Trusted != nil {
		o.Trusted = *s.Trusted
	}
	if s.Dir != "" {
		o.Store = lite.FileTrust{Path: filepath.Join(s.Dir, trustFile)}
	}
	return func(ctx context.Context) (Chain, error) { return lite.New(ctx, o) }, nil
}

// connect returns the connection, made now when there is none. One refresh runs at a time, so nobody waits for the lock.
func (c *connector) connect(ctx context.Context) (Chain, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, chain.ErrUnavailable
	}
	if c.chain != nil {
		return c.chain, nil
	}
	made, err := c.dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connecting to the chain: %w", err)
	}
	c.chain = made
	return made, nil
}

func (c *connector) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.chain != nil {
		c.chain.Close()
	}
}

// Head implements registry.Reader.
func (c *connector) Head(ctx context.Context) (chain.Block, error) {
	to, err := c.connect(ctx)
	if err != nil {
		return chain.Block{}, err
	}
	return to.Head(ctx)
}

// Account implements registry.Reader. The network is checked against the configuration of the same block: a root of
// another network may have the same address.
func (c *connector) Account(ctx context.Context, at chain.Block, addr *address.Address) (*chain.Account, error) {
	to, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	config, err := to.Config(ctx, at, chain.ParamGlobalID)
	if err != nil {
		return nil, err
	}
	got, err := registry.NetworkOf(config)
	if err != nil {
		return nil, err
	}
	if got != c.section.Network {
		return nil, fmt.Errorf("%w: the liteservers are of %s, root.network is %s", registry.ErrNetwork, got, c.section.Network)
	}
	a, err := to.Account(ctx, at, addr)
	if err != nil {
		return nil, err
	}
	s, err := registry.Parse(a)
	if err != nil {
		return nil, err
	}
	return a, s.CheckNetwork(got)
}
