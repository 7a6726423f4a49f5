package router

import (
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
)

// ErrPortsChanged says that a new configuration cannot take effect without a restart.
var ErrPortsChanged = errors.New("ports cannot change while the router runs")

// Reload replaces the policies by those of cfg and has every live session judged anew by Run; ports must be the same. On
// an error nothing has changed. What cfg changes besides, limits for example, is named in the log and does not take effect.
func (r *Router) Reload(cfg *Config) error {
	r.reload.Lock()
	defer r.reload.Unlock()
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("reloading policies: %w", err)
	}
	if cfg.Local != r.cfg.Local {
		return fmt.Errorf("reloading policies: the network cannot become local or public while the router runs")
	}
	if !sameRoot(cfg, &r.cfg) {
		return errors.New("reloading policies: the root and its lists cannot change while the router runs")
	}
	if len(cfg.Ports) != len(r.cfg.Ports) {
		return fmt.Errorf("reloading policies: %w: %d configured, %d in use", ErrPortsChanged, len(cfg.Ports), len(r.cfg.Ports))
	}
	for i := range cfg.Ports {
		if !samePort(&cfg.Ports[i], &r.cfg.Ports[i]) {
			return fmt.Errorf("reloading policies: %w: ports[%d], %d", ErrPortsChanged, i, cfg.Ports[i].Listen)
		}
	}
	if err := r.setPolicies(cfg); err != nil {
		return fmt.Errorf("reloading policies: %w", err)
	}
	if waits := waiting(cfg, &r.cfg); len(waits) > 0 {
		r.deps.Log.Warn("Policies reloaded; what else has changed waits for a restart", slog.Any("keys", waits))
	} else {
		r.deps.Log.Info("Policies reloaded")
	}
	r.Notify("policy")
	return nil
}

// samePort compares what a reload cannot change.
func samePort(a, b *Port) bool {
	return a.Listen == b.Listen && a.Kind == b.Kind && a.Policy == b.Policy && a.Destination == b.Destination &&
		a.PolicyFromUser == b.PolicyFromUser && a.Serialize == b.Serialize
}

// sameRoot compares whom the chain's part of the policies is taken from.
func sameRoot(a, b *Config) bool {
	if a.Root == nil || b.Root == nil {
		return a.Root == b.Root
	}
	return a.Root.Network == b.Root.Network && a.Root.Address.Equals(b.Root.Address) && slices.Equal(a.RootLists, b.RootLists)
}

// waiting names the keys that differ and that a reload leaves as they are.
func waiting(a, b *Config) []string {
	parts := []struct {
		key  string
		a, b any
	}{
		{"cert_base_name", a.CertBase, b.CertBase},
		{"threads", a.Threads, b.Threads},
		{"verbosity", a.Verbosity, b.Verbosity},
		{"limits", a.Limits, b.Limits},
		{"collateral", a.Collateral, b.Collateral},
		{"preamble", a.Preamble, b.Preamble},
		{"profile", a.Profile, b.Profile},
		{"fresh", a.Fresh, b.Fresh},
		{"metrics", a.Metrics, b.Metrics},
		{"simulated", a.Simulated, b.Simulated},
		{"claims", a.Claims, b.Claims},
	}
	var out []string
	for _, p := range parts {
		if !reflect.DeepEqual(p.a, p.b) {
			out = append(out, p.key)
		}
	}
	for i := range min(len(a.Ports), len(b.Ports)) {
		if !reflect.DeepEqual(a.Ports[i], b.Ports[i]) {
			out = append(out, fmt.Sprintf("ports[%d]", i))
		}
	}
	return out
}
