package collateral

import (
	"cocoon/measure/ratls/pcs"
	"cocoon/measure/ratls/pcs/sources"
)

// Config is sources.Config.
type Config = sources.Config

// Open is sources.Open.
func Open(cfg Config) (*pcs.Cache, *sources.Store, error) { return sources.Open(cfg) }
