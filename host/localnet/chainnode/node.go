package chainnode

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"github.com/xssnick/tonutils-go/tlb"
	"golang.org/x/sync/errgroup"

	"cocoon/contracts/chain/local"
	"cocoon/contracts/chain/local/adnl"
)

// Deadlines of the control interface.
const (
	headerTimeout   = 5 * time.Second
	requestTimeout  = 2 * time.Minute // a request may ask for many blocks
	shutdownTimeout = 5 * time.Second
)

// Node is a running local chain. Make one with New, run it with Run, and Close it.
type Node struct {
	config  Config
	chain   *local.Chain
	servers []*adnl.Server
	control net.Listener

	mu     sync.Mutex
	paused bool
	period time.Duration
	other  *local.Chain // second half of a split brain, served by the last liteserver
	wake   chan struct{}
}

// New opens the chain, starts the liteservers and writes the global configuration.
func New(ctx context.Context, c Config) (*Node, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("making chain node: %w", err)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	n := &Node{config: c, paused: c.Paused || c.Period == 0, period: c.Period, wake: make(chan struct{}, 1)}
	if err := n.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("making chain node: %w", err), n.Close())
	}
	return n, nil
}

func (n *Node) start(ctx context.Context) (err error) {
	if n.chain, err = local.NewChain(n.config.chain()); err != nil {
		return err
	}
	var ends []adnl.Endpoint
	for i := range n.config.Liteservers {
		seed := n.config.Seed
		seed[31] ^= byte(i)
		s, err := adnl.Start(ctx, n.chain, adnl.Options{Listen: n.config.listens(i).String(), Seed: seed, Now: n.config.Now, Log: n.config.Log})
		if err != nil {
			return err
		}
		n.servers = append(n.servers, s)
		ends = append(ends, adnl.Endpoint{Addr: s.Addr(), Key: s.Key()})
	}
	global, err := adnl.GlobalConfig(n.chain, ends...)
	if err != nil {
		return err
	}
	if err := renameio.WriteFile(n.config.ConfigPath(), global, 0o644); err != nil {
		return fmt.Errorf("writing the global configuration: %w", err)
	}
	if n.control, err = (&net.ListenConfig{}).Listen(ctx, "tcp", n.config.Control.String()); err != nil {
		return fmt.Errorf("opening the control interface: %w", err)
	}
	return nil
}

// Genesis pays messages that no account sends, in blocks that are made now: what a network finds when it begins. It is for
// the time before Run.
func (n *Node) Genesis(messages ...*tlb.InternalMessage) error {
	for _, m := range messages {
		if err := n.chain.Pay(m); err != nil {
			return fmt.Errorf("beginning the chain: %w", err)
		}
	}
	const settled = 2 // paid in one, proven by the next
	if err := n.chain.Steps(settled); err != nil {
		return fmt.Errorf("beginning the chain: %w", err)
	}
	return nil
}

// Run makes blocks and answers the control interface until the context ends.
func (n *Node) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	server := &http.Server{
		Handler: n.handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	g.Go(func() error { return n.produce(ctx) })
	g.Go(func() error {
		if err := server.Serve(n.control); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serving the control interface: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		return server.Shutdown(late)
	})
	return g.Wait()
}

// produce makes blocks at the pace that is set.
func (n *Node) produce(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.wake: // the pace has changed
		case <-timer.C:
			if err := n.tick(); err != nil {
				return err
			}
		}
		timer.Reset(n.next())
	}
}

// idle is how long a paused node sleeps; a change of the pace wakes it.
const idle = time.Hour

func (n *Node) next() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.paused || n.period == 0 {
		return idle
	}
	return n.period
}

func (n *Node) tick() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.paused {
		return nil
	}
	return n.step(1)
}

// step makes blocks on both halves of the network.
func (n *Node) step(count int) error {
	if err := n.chain.Steps(count); err != nil {
		return err
	}
	if n.other != nil {
		return n.other.Steps(count)
	}
	return nil
}

func (n *Node) changed() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// Close stops the liteservers and closes the chain.
func (n *Node) Close() error {
	var errs []error
	if n.control != nil {
		if err := n.control.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	for _, s := range n.servers {
		errs = append(errs, s.Close())
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.other != nil {
		errs = append(errs, n.other.Close())
	}
	if n.chain != nil {
		errs = append(errs, n.chain.Close())
	}
	return errors.Join(errs...)
}

// Description says what runs and where.
type Description struct {
	GlobalConfig string       `json:"global_config"`
	GlobalID     int32        `json:"global_id"`
	Control      string       `json:"control"`
	Liteservers  []Liteserver `json:"liteservers"`
	Faucet       string       `json:"faucet,omitempty"`
	Seqno        uint32       `json:"seqno"`
	ZeroState    string       `json:"zero_state,omitempty"`
	KeyBlock     string       `json:"key_block,omitempty"`
}

// Liteserver is an address and the key by which clients know the server.
type Liteserver struct {
	Addr string `json:"addr"`
	Key  string `json:"key,omitempty"` // hexadecimal
}

// Describe tells what would run; ports and keys are known only when it does.
func (c Config) Describe() Description {
	d := Description{GlobalConfig: c.ConfigPath(), GlobalID: local.GlobalID, Control: "http://" + c.Control.String()}
	for i := range c.Liteservers {
		d.Liteservers = append(d.Liteservers, Liteserver{Addr: c.listens(i).String()})
	}
	return d
}

// Describe tells what runs.
func (n *Node) Describe() (Description, error) {
	d := Description{
		GlobalConfig: n.config.ConfigPath(), GlobalID: local.GlobalID, Control: "http://" + n.control.Addr().String(),
		Faucet: n.chain.Faucet().StringRaw(), Seqno: n.chain.Newest(),
	}
	for _, s := range n.servers {
		d.Liteservers = append(d.Liteservers, Liteserver{Addr: s.Addr().String(), Key: hex.EncodeToString(s.Key())})
	}
	for seqno, into := range []*string{&d.ZeroState, &d.KeyBlock} {
		h, err := n.chain.RootHash(uint32(seqno))
		if err != nil {
			return d, err
		}
		*into = h.String()
	}
	return d, nil
}
