// Package chainnode runs the local chain of a network: blocks at a steady pace, liteservers, the global configuration
// file that clients begin with, and a control interface for tests and people.
//
// It owns the pace, the files and the control interface's requests; the chain and its liteservers are contracts/chain's.
// It trusts whoever can reach the control interface, which listens on loopback only and refuses what a web page could
// send. A Node serves requests concurrently. It refuses control addresses that are not loopback, requests with members
// it does not know, and time that goes back.
package chainnode

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"time"

	"cocoon/contracts/chain/local"
)

// Defaults and limits of Config.
const (
	DefaultPeriod      = time.Second
	DefaultLiteservers = 2
	// window is how many blocks stay in memory, half a megabyte each with their states; older ones are on disk.
	window = 64
	// MinPeriod keeps an idle network from using a whole core.
	MinPeriod      = 10 * time.Millisecond
	maxPeriod      = time.Hour
	maxLiteservers = 8
	// ConfigName is the global configuration's file in Dir.
	ConfigName = "global.json"
)

// Config of a node.
type Config struct {
	// Dir keeps the chain and global.json.
	Dir string
	// Seed derives every key of the network.
	Seed [32]byte
	// Period is the time between blocks; 0 makes blocks only on request.
	Period time.Duration
	// Paused begins without making blocks, as after a pause.
	Paused bool
	// Deterministic: block times advance by a second with every block, whatever the clock says.
	Deterministic bool
	// GlobalVersion of a new chain; 0 is the default.
	GlobalVersion uint32
	// Listen is the address of the first liteserver, IPv4. Port 0 takes free ports; the others follow the first's.
	Listen      netip.AddrPort
	Liteservers int
	// Control is the address of the control interface, on loopback.
	Control netip.AddrPort
	// Now is the clock.
	Now func() time.Time
	Log *slog.Logger
}

// Validate tells everything that is wrong.
func (c Config) Validate() error {
	last := int(c.Listen.Port()) + c.Liteservers - 1
	rules := []struct {
		bad  bool
		text string
	}{
		{c.Dir == "", "dir: missing"},
		{c.Period != 0 && (c.Period < MinPeriod || c.Period > maxPeriod), fmt.Sprintf("period: %s is not 0 or %s to %s", c.Period, MinPeriod, maxPeriod)},
		{!c.Listen.IsValid() || !c.Listen.Addr().Is4(), fmt.Sprintf("listen: %s is no IPv4 address and port", c.Listen)},
		{c.Liteservers < 1 || c.Liteservers > maxLiteservers, fmt.Sprintf("liteservers: %d is not 1 to %d", c.Liteservers, maxLiteservers)},
		{c.Listen.Port() != 0 && last > 65535, fmt.Sprintf("listen: port %d leaves no room for %d liteservers", c.Listen.Port(), c.Liteservers)},
		{!c.Control.IsValid() || !c.Control.Addr().IsLoopback(), fmt.Sprintf("control: %s is not on loopback", c.Control)},
		{c.GlobalVersion > 15, fmt.Sprintf("global version: %d is above 15", c.GlobalVersion)},
	}
	var errs []error
	for _, r := range rules {
		if r.bad {
			errs = append(errs, errors.New(r.text))
		}
	}
	return errors.Join(errs...)
}

func (c Config) chain() local.Options {
	return local.Options{
		Deterministic: c.Deterministic, Now: c.Now, Seed: c.Seed, GlobalVersion: c.GlobalVersion, Dir: c.Dir, Window: window, Log: c.Log,
	}
}

// ConfigPath is where the global configuration is written.
func (c Config) ConfigPath() string { return filepath.Join(c.Dir, ConfigName) }

// listens is where the i-th liteserver listens.
func (c Config) listens(i int) netip.AddrPort {
	if c.Listen.Port() == 0 {
		return c.Listen
	}
	return netip.AddrPortFrom(c.Listen.Addr(), c.Listen.Port()+uint16(i)) //nolint:gosec // validated
}
