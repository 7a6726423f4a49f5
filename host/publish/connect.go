package publish

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"cocoon/contracts/chain/lite"
	"cocoon/contracts/chain/machine"
)

// Endpoint says how to reach a network.
type Endpoint struct {
	// GlobalConfig is the file with liteservers and the block that proofs begin with: as trustworthy as whoever gave it.
	GlobalConfig string
	// Trust is the file that keeps the newest proven key block; empty keeps it in memory.
	Trust string
	// OneServer allows a single liteserver.
	OneServer bool
	Now       func() time.Time
	Log       *slog.Logger
}

// Connect proves the newest block of a network. Close the client.
func Connect(ctx context.Context, e Endpoint) (*lite.Client, error) {
	network, err := lite.LoadGlobalConfig(e.GlobalConfig)
	if err != nil {
		return nil, fmt.Errorf("reading network configuration: %w", err)
	}
	o := lite.Options{
		Servers: network.Servers, Trusted: network.Init, OneServer: e.OneServer, Execute: machine.Execute, Now: e.Now, Log: e.Log,
	}
	if e.Trust != "" {
		o.Store = lite.FileTrust{Path: e.Trust}
	}
	return lite.New(ctx, o)
}
