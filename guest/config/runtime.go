package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"regexp"
)

const (
	// maxRuntime equals the section's limit on the disk (image.md section 14.1).
	maxRuntime   = 1 << 20
	maxDNS       = 4
	maxEndpoints = 8
	maxServers   = 8
	maxRequests  = 1 << 16
	maxGPUs      = 64
)

// Network modes.
const (
	DHCP   = "dhcp"
	Static = "static"
	// NoNetwork brings only the loopback interface up.
	NoNetwork = "none"
)

// Runtime is what the host chooses at each start: connectivity and labels. Everything in it is hostile input, and
// nothing that decides security takes it.
type Runtime struct {
	// Node is a label for logs.
	Node string `json:"node,omitempty"`
	// LogLevel is debug, info, warn or error; info when absent.
	LogLevel string `json:"log_level,omitempty"`
	// Network says how the first Ethernet interface gets its address.
	Network Network `json:"network"`
	// NTP lists time servers; none means that the clock is left alone.
	NTP []string `json:"ntp,omitempty"`
	// Endpoints are where untrusted relays are reached.
	Endpoints Endpoints `json:"endpoints"`
	// Engine is all that the host chooses about the engine; each value must lie within the measured bounds.
	Engine Engine `json:"engine"`
}

// Engine are the three settings of inference.md section 12. Zero chooses nothing.
type Engine struct {
	// MaxRequests is how many requests the engine works on at once.
	MaxRequests int `json:"max_requests,omitempty"`
	// GPUPercent is the share of a GPU's memory that it takes, in percent: canonical JSON has no fractions.
	GPUPercent int `json:"gpu_percent,omitempty"`
	// TensorParallel is the number of GPUs that share the model.
	TensorParallel int `json:"tp,omitempty"`
}

// Network is the interface's configuration.
type Network struct {
	// Mode is dhcp, static or none; dhcp when absent.
	Mode string `json:"mode,omitempty"`
	// Address is the interface address with its prefix length; static only.
	Address string `json:"address,omitempty"`
	// Gateway is the default route; static only, may be absent.
	Gateway string `json:"gateway,omitempty"`
	// DNS lists resolvers; with dhcp they replace the lease's.
	DNS []string `json:"dns,omitempty"`
}

// Endpoints lists relays as host:port. What they answer is verified by its users.
type Endpoints struct {
	Seal       []string `json:"seal,omitempty"`
	Collateral []string `json:"collateral,omitempty"`
}

var (
	labelRule    = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	hostRule     = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$|^[0-9a-fA-F:]{2,45}$`)
	endpointRule = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9a-fA-F:]{2,45}\]):([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$`)
)

// DefaultRuntime is used when the disk has no runtime section.
func DefaultRuntime() *Runtime { return &Runtime{Network: Network{Mode: DHCP}} }

// ParseRuntime reads the runtime document, fills the defaults and checks it.
func ParseRuntime(data []byte) (*Runtime, error) {
	r := new(Runtime)
	if err := decode("the runtime section", data, maxRuntime, r); err != nil {
		return nil, err
	}
	if r.Network.Mode == "" {
		r.Network.Mode = DHCP
	}
	return r, nil
}

// Level is the log level as slog knows it.
func (r *Runtime) Level() slog.Level {
	switch r.LogLevel {
	case "debug":
		return slog.LevelDebug
	case "warn":
		return slog.LevelWarn
	case "error":
		return slog.LevelError
	default:
		return slog.LevelInfo
	}
}

// Validate reports every broken rule with its path.
func (r *Runtime) Validate() error {
	rules := []rule{
		{"node", optional(r.Node, labelRule, 63)},
		{"log_level", oneOf(r.LogLevel, "", "debug", "info", "warn", "error")},
		{"ntp", between(len(r.NTP), 0, maxServers)},
		{"engine.max_requests", between(r.Engine.MaxRequests, 0, maxRequests)},
		{"engine.gpu_percent", between(r.Engine.GPUPercent, 0, 100)},
		{"engine.tp", between(r.Engine.TensorParallel, 0, maxGPUs)},
	}
	rules = append(rules, r.Network.rules()...)
	for i, s := range r.NTP {
		rules = append(rules, rule{fmt.Sprintf("ntp[%d]", i), matches(s, hostRule)})
	}
	rules = append(rules, endpoints("endpoints.seal", r.Endpoints.Seal)...)
	return findings(append(rules, endpoints("endpoints.collateral", r.Endpoints.Collateral)...))
}

func (n Network) rules() []rule {
	rules := []rule{
		{"network.mode", oneOf(n.Mode, "", DHCP, Static, NoNetwork)},
		{"network.dns", between(len(n.DNS), 0, maxDNS)},
	}
	for i, d := range n.DNS {
		rules = append(rules, rule{fmt.Sprintf("network.dns[%d]", i), address(d)})
	}
	if n.Mode != Static {
		return append(rules,
			rule{"network.address", only(n.Address == "", "set, but network.mode is not static")},
			rule{"network.gateway", only(n.Gateway == "", "set, but network.mode is not static")})
	}
	rules = append(rules, rule{"network.address", prefix(n.Address)})
	if n.Gateway != "" {
		rules = append(rules, rule{"network.gateway", errors.Join(address(n.Gateway), sameFamily(n.Address, n.Gateway))})
	}
	return rules
}

// sameFamily refuses a gateway of the other address family, which the kernel would refuse later without a path.
func sameFamily(addr, gateway string) error {
	p, prefixErr := netip.ParsePrefix(addr)
	g, gatewayErr := netip.ParseAddr(gateway)
	readable := prefixErr == nil && gatewayErr == nil // unreadable values have their own finding
	if readable && p.Addr().Is4() != g.Is4() {
		return fmt.Errorf("%q and the address %q are of different families", gateway, addr)
	}
	return nil
}

func endpoints(path string, values []string) []rule {
	rules := make([]rule, 0, 1+len(values))
	rules = append(rules, rule{path, between(len(values), 0, maxEndpoints)})
	for i, v := range values {
		rules = append(rules, rule{fmt.Sprintf("%s[%d]", path, i), endpoint(v)})
	}
	return rules
}
