package router

import (
	"bytes"
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"

	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/contracts/wire"
	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls/pow"
	"cocoon/measure/simtd"
)

// Bounds of a configuration, those of the reference where it has them (attestation.md section 14.1).
const (
	firstPort, lastPort = 1024, 65535
	maxPorts            = 64
	maxPolicies         = 64
	maxThreads          = 1024
)

// Kind is what a port does with a connection.
type Kind string

// The kinds, with their names in the configuration file.
const (
	// SOCKS5 lets a local program choose where to go.
	SOCKS5 Kind = "socks5"
	// Forward leads a local program to one peer.
	Forward Kind = "forward"
	// Reverse leads peers to a service inside.
	Reverse Kind = "reverse"
)

// Reply is when a local program hears that its SOCKS connection stands.
type Reply string

// The moments of a reply.
const (
	// Early replies when TCP stands, as the reference does: a later failure is an end of stream.
	Early Reply = "early"
	// Late replies when the peer was admitted, and says why if it was not.
	Late Reply = "late"
)

// Profile is which RA-TLS wire profiles are spoken (attestation.md section 15).
type Profile string

// The profiles.
const (
	// V1 is the reference's.
	V1 Profile = "v1"
	// V2 refuses peers that do not speak it.
	V2 Profile = "v2"
	// Auto offers v2 and accepts v1.
	Auto Profile = "auto"
)

// Destination is where a forward or reverse port leads.
type Destination struct {
	// Host is a name or an IP address, without brackets.
	Host string
	Port uint16
}

// String is host:port, with an IPv6 address in brackets.
func (d Destination) String() string {
	if a, err := netip.ParseAddr(d.Host); err == nil && a.Is6() {
		return "[" + d.Host + "]:" + strconv.Itoa(int(d.Port))
	}
	return d.Host + ":" + strconv.Itoa(int(d.Port))
}

// Port is one listener.
type Port struct {
	// Listen is the port number. SOCKS5 and Forward listen on 127.0.0.1, Reverse on all addresses.
	Listen uint16
	// Host narrows a reverse port to one address of this machine; empty is the kind's own.
	Host string
	Kind Kind
	// Policy names the policy that peers are judged by.
	Policy string
	// Destination is unused by SOCKS5.
	Destination Destination
	// PolicyFromUser lets a SOCKS user name choose the policy.
	PolicyFromUser bool
	// Serialize writes the attestation preamble to the local side.
	Serialize bool
	// Difficulty is what a reverse port asks of clients while calm, MaxDifficulty what the others solve at most.
	Difficulty, MaxDifficulty int
	Reply                     Reply
	Fresh                     Fresh
	// Limits are complete: a configuration file's are filled up from the router's.
	Limits Limits
}

// Collateral says where collateral comes from.
type Collateral struct {
	// PCCSURL is the base of a caching service, such as the host's relay.
	PCCSURL string
	// StoreDir keeps verified originals over restarts. Bundle is a file or a folder of files of offline collateral.
	StoreDir, Bundle string
	// Refresh is true unless the file says that nothing is ever asked for again.
	Refresh bool
}

// Simulated is what a local network's router knows of software TDX (attestation.md section 16).
type Simulated struct {
	// Device is where the machine's own simulated quotes come from, in the form of simtd.ParseAddress; empty means that
	// it has none.
	Device string
	// Root is the PEM text of the root certificate of simulated platforms.
	Root string
}

// Certificate is the root.
func (s *Simulated) Certificate() (*x509.Certificate, error) {
	block, rest := pem.Decode([]byte(s.Root))
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return nil, errors.New("not exactly one certificate in PEM")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	id, err := dcap.RootIDOf(c)
	if err == nil && id == dcap.IntelRootID() {
		err = errors.New("this is Intel's root: it simulates nothing")
	}
	return c, err
}

// Claims are what this machine says of itself in certificates of profile v2.
type Claims struct {
	Role      policy.Role
	NetworkID int32
}

// Config is everything a router is told. Parse and ParseFile make one.
type Config struct {
	// CertBase is the path of a certificate and its key in the reference's files, <base>_cert.pem and <base>_key.pem.
	// Empty means an identity of the process's own.
	CertBase string
	// Threads bounds the processors used; 0 leaves the choice to the runtime. Verbosity is the reference's -v.
	Threads, Verbosity int
	Policies           []PolicySpec
	Ports              []Port
	Collateral         Collateral
	// Limits are the file's, which its ports inherit and Router.Dial goes by. Zeros mean the defaults.
	Limits Limits
	// ImageSource says where TDX policies that list no image find them; empty means that there must be none of those.
	ImageSource policy.ImageSource
	// Root is the root contract that the process follows for policies whose source is the chain; nil where the process has
	// one already, or none. RootLists are the lists of images that peers may be on; all of a router's policies share them.
	Root      *follow.Section
	RootLists []registry.List
	Preamble  wire.Generation
	Profile   Profile
	// Fresh is for Router.Dial; ports have their own.
	Fresh Fresh
	// Local is true for the router of a local network, the only one that may admit evidence that proves nothing.
	// Simulated is nil outside of those.
	Local     bool
	Simulated *Simulated
	// Claims are nil where certificates of profile v1 alone are made.
	Claims *Claims
	// Metrics is the address that serves Prometheus text; empty serves none.
	Metrics string
}

// publicNetwork tells whether the id, TON's global id, is of the main or the test network. No local configuration may
// speak for those (attestation.md section 16.4).
func publicNetwork(id int32) bool { return id == -239 || id == -3 }

// problem is one broken rule and where it is.
type problem struct {
	path string
	err  error
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// hostRule is a host name: labels of letters, digits, hyphens and underscores.
var hostRule = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?(\.[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*\.?$`)

// allDigits is a last label that would make a name look like an address with a typing error.
var allDigits = regexp.MustCompile(`(^|\.)[0-9]+\.?$`)

const maxHostName = 253

func checkHost(host string) error {
	if a, err := netip.ParseAddr(host); err == nil {
		if a.Zone() != "" {
			return fmt.Errorf("host %q has a zone", host)
		}
		return nil
	}
	if len(host) > maxHostName || !hostRule.MatchString(host) || allDigits.MatchString(host) {
		return fmt.Errorf("host %q is neither a host name nor an IP address", host)
	}
	return nil
}

// Validate returns every broken rule, each with its path.
func (c *Config) Validate() error {
	rules := c.global()
	taken := map[uint16]int{}
	for i := range c.Ports {
		p := &c.Ports[i]
		at := fmt.Sprintf("ports[%d]", i)
		for _, r := range p.problems() {
			rules = append(rules, problem{at + "." + r.path, r.err})
		}
		if first, twice := taken[p.Listen]; twice {
			rules = append(rules, problem{at + ".port", fmt.Errorf("%d is also ports[%d]", p.Listen, first)})
		}
		taken[p.Listen] = i
	}
	var errs []error
	for _, r := range rules {
		errs = append(errs, fmt.Errorf("%s: %w", r.path, r.err))
	}
	if _, err := c.policies(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *Config) global() []problem {
	var out []problem
	add := func(ok bool, path, format string, args ...any) {
		if !ok {
			out = append(out, problem{path, fmt.Errorf(format, args...)})
		}
	}
	add(len(c.Ports) <= maxPorts, "ports", "%d ports, at most %d", len(c.Ports), maxPorts)
	add(len(c.Policies) <= maxPolicies, "policies", "%d policies, at most %d", len(c.Policies), maxPolicies)
	for _, l := range c.Limits.problems() {
		add(false, "limits."+l.path, "%w", l.err)
	}
	add(c.Threads >= 0 && c.Threads <= maxThreads, "threads", "%d is not in 0..%d", c.Threads, maxThreads)
	add(slices.Contains([]Profile{V1, V2, Auto}, c.Profile), "profile", "%q is none of v1, v2, auto", c.Profile)
	out = append(out, c.freshProblems()...)
	if c.Simulated != nil {
		add(c.Local, "simulated", "only a local network has simulated platforms: %s is missing", `"network": "local"`)
		_, err := c.Simulated.Certificate()
		add(err == nil, "simulated.root", "%w", err)
		if c.Simulated.Device != "" {
			_, err := simtd.ParseAddress(c.Simulated.Device)
			add(err == nil, "simulated.device", "%w", err)
		}
	}
	// Claims name the chain's newest block, and this process does not follow the chain; a local network has none.
	add(c.Claims == nil || c.Local, "claims", "only a local network's router makes them by itself: %s is missing", `"network": "local"`)
	add(c.Claims == nil || !publicNetwork(c.Claims.NetworkID), "claims.network_id", "a public network is not local")
	add(c.Root == nil || len(c.RootLists) > 0, "root_lists", "name the lists that peers' images may be on: proxy, worker")
	add(c.Root == nil || !c.Local || !publicNetwork(int32(c.Root.Network)), "root.network", "a public network is not local")
	if c.Metrics != "" {
		_, err := netip.ParseAddrPort(c.Metrics)
		add(err == nil, "metrics", "%q is not an IP address and a port, such as 127.0.0.1:9000", c.Metrics)
	}
	return out
}

func (p *Port) problems() []problem {
	var out []problem
	add := func(ok bool, path, format string, args ...any) {
		if !ok {
			out = append(out, problem{path, fmt.Errorf(format, args...)})
		}
	}
	add(p.Listen >= firstPort, "port", "%d is not in %d..%d", p.Listen, firstPort, lastPort)
	_, hostErr := netip.ParseAddr(p.Host)
	add(p.Host == "" || hostErr == nil, "host", "%q is no IP address", p.Host)
	add(p.Host == "" || p.Kind == Reverse, "host", "only a reverse port listens elsewhere than on 127.0.0.1")
	add(slices.Contains([]Kind{SOCKS5, Forward, Reverse}, p.Kind), "type", "%q is none of socks5, forward, reverse", p.Kind)
	if p.Kind == SOCKS5 {
		add(p.Destination == Destination{}, "destination_host", "%s is fixed, but the program says where a socks5 port leads", p.Destination)
	} else {
		err := checkHost(p.Destination.Host)
		add(err == nil, "destination_host", "%w", err)
		add(p.Destination.Port >= firstPort, "destination_port", "%d is not in %d..%d", p.Destination.Port, firstPort, lastPort)
		add(!p.PolicyFromUser, "allow_policy_from_username", "only a socks5 port has users")
	}
	add(p.Reply == Early || p.Reply == Late, "socks_reply", "%q is none of early, late", p.Reply)
	for name, d := range map[string]int{"max_pow_difficulty": p.MaxDifficulty, "pow_difficulty": p.Difficulty} {
		add(d >= 0 && d <= pow.MaxDifficulty, name, "%d is not in 0..%d", d, pow.MaxDifficulty)
	}
	for _, l := range p.Limits.problems() {
		add(false, "limits."+l.path, "%w", l.err)
	}
	slices.SortStableFunc(out, func(a, b problem) int { return cmp.Compare(a.path, b.path) })
	return out
}
