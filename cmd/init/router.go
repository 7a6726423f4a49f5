package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"cocoon/cmd/internal/calm"
	"cocoon/cmd/internal/cli"
	"cocoon/guest/klog"
	"cocoon/guest/router"
	"cocoon/measure/bootfiles"
)

const (
	// imageFile says what image this is; there is none where the binary runs outside of one.
	imageFile = "/" + bootfiles.ImagePath
	// maxRouterFile bounds what is read of a configuration file; the parser's own bound is below it.
	maxRouterFile = 8 << 20
	// debugVerbosity is the reference's -v from which connections are logged one by one.
	debugVerbosity = 4
	// Most of a busy router's memory is connections that wait, which the collector would let double; and a router with
	// few of them would collect after every ten handshakes. So the heap may grow by a quarter of itself and of a ballast
	// that is never touched and takes no memory.
	routerGCPercent = 25
	routerBallast   = 24 << 20
)

// runRouter is `init router`: the reference's router by its own command line.
func runRouter(ctx context.Context, out io.Writer, args []string) (int, error) {
	cfg, err := router.Parse(args, readRouterFile)
	switch {
	case errors.Is(err, flag.ErrHelp):
		var text bytes.Buffer
		router.Usage(&text)
		return printed(out, text.String())
	case errors.Is(err, router.ErrExample):
		return printed(out, router.Example)
	case err != nil:
		return misused("router", err)
	case len(cfg.Ports) == 0:
		return misused("router", errors.New("no listener is configured: give -S, -F or -R, or -c with ports"))
	}
	local, err := mayBeLocal(imageFile)
	if err != nil {
		return exitError, err
	}
	level := new(slog.LevelVar)
	if cfg.Verbosity >= debugVerbosity {
		level.Set(slog.LevelDebug)
	}
	if cfg.Threads > 0 {
		runtime.GOMAXPROCS(cfg.Threads)
	}
	calm.Down()
	debug.SetGCPercent(routerGCPercent)
	ballast := make([]byte, routerBallast)
	defer runtime.KeepAlive(ballast)
	stop, cancel := signal.NotifyContext(ctx, unix.SIGTERM, unix.SIGINT)
	defer cancel()
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, unix.SIGHUP)
	defer signal.Stop(reload)
	p := &routerProcess{
		cfg: cfg, log: slog.New(klog.New(klog.Options{Console: os.Stderr, Level: level})), now: time.Now, allowLocal: local,
		openQuotes: openHardwareQuotes, reload: reload,
		reparse: func() (*router.Config, error) { return router.Parse(args, readRouterFile) },
	}
	return served(stop, p.run(stop))
}

// printed is the end of a command that was asked for a text.
func printed(out io.Writer, text string) (int, error) {
	if _, err := io.WriteString(out, text); err != nil {
		return exitError, err
	}
	return 0, nil
}

// readRouterFile reads a configuration file once, so that what is parsed is what was read.
func readRouterFile(path string) ([]byte, error) { return cli.ReadFile(path, maxRouterFile) }

// mayBeLocal tells whether the configuration may be a local network's. Within an image only the test variant's may,
// because a local network's router admits evidence that proves nothing (attestation.md section 16.4).
func mayBeLocal(path string) (bool, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading the image's description: %w", err)
	}
	image, err := bootfiles.ParseImage(data)
	if err != nil {
		return false, fmt.Errorf("reading the image's description: %w", err)
	}
	return image.Variant == bootfiles.Test, nil
}

const (
	// memoryTick is how often giveBack looks; less than quietBytes allocated since then is a quiet time, in which memory
	// is given back if worthBytes were allocated since the last time.
	memoryTick = 2 * time.Second
	quietBytes = 1 << 20
	worthBytes = 4 << 20
)

// giveBack returns memory to the machine when a busy time is over. The runtime would collect idle memory after two
// minutes only, and a guest's memory is measured out.
func giveBack(ctx context.Context) error {
	tick := time.NewTicker(memoryTick)
	defer tick.Stop()
	allocated := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	var last, given uint64
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		metrics.Read(allocated)
		now := allocated[0].Value.Uint64()
		if now-last < quietBytes && now-given > worthBytes {
			runtime.GC() // the next one, which FreeOSMemory does, finds the pools of buffers emptied
			debug.FreeOSMemory()
			given = now
		}
		last = now
	}
}

// run serves until ctx ends or something it needs breaks.
func (p *routerProcess) run(ctx context.Context) error {
	r, err := p.build(ctx)
	if err != nil {
		return err
	}
	defer p.close()
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.Run(ctx) })
	for _, background := range p.background {
		group.Go(func() error { return background(ctx) })
	}
	group.Go(func() error { return p.reloads(ctx, r) })
	group.Go(func() error { return giveBack(ctx) })
	return group.Wait()
}

// reloads replaces the policies at SIGHUP. A configuration that is no good changes nothing.
func (p *routerProcess) reloads(ctx context.Context, r *router.Router) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-p.reload:
		}
		cfg, err := p.reparse()
		if err == nil {
			err = r.Reload(cfg)
		}
		if err != nil {
			p.log.Error("Policies not reloaded", slog.Any("err", err))
		}
	}
}
