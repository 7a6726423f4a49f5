package router

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"cocoon/contracts/registry"
	"cocoon/contracts/registry/follow"
	"cocoon/measure/policy"
	"cocoon/measure/ratls/pow"
	"cocoon/measure/strictjson"
)

// Example is the configuration that -g prints.
//
//go:embed example.json
var Example string

// localNetwork is the word that makes a network local.
const localNetwork = "local"

// maxFile bounds a configuration file: 64 ports, and policies with a thousand hashes each.
const maxFile = 4 << 20

// document is the configuration file (attestation.md section 14.2). Pointers tell absent from zero.
type document struct {
	CertBase   string              `json:"cert_base_name"`
	Threads    int                 `json:"threads"`
	Policies   []policyDocument    `json:"policies"`
	Ports      []portDocument      `json:"ports"`
	Limits     *limitsDocument     `json:"limits"`
	Collateral *collateralDocument `json:"collateral"`
	// Network is "local", or absent; Simulated belongs to a local one.
	Network   string             `json:"network"`
	Simulated *simulatedDocument `json:"simulated"`
	Claims    *claimsDocument    `json:"claims"`
	Profile   *Profile           `json:"profile"`
	Fresh     *Fresh             `json:"fresh"`
	// Root says which root contract lists the images of policies whose source is the chain, RootLists which of its lists.
	Root      json.RawMessage `json:"root"`
	RootLists []string        `json:"root_lists"`

	root  *follow.Section
	lists []registry.List
}

type claimsDocument struct {
	Role      role  `json:"role"`
	NetworkID int32 `json:"network_id"`
}

// role is written as the policies write it.
type role policy.Role

// UnmarshalJSON reads the role's name.
func (r *role) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("role %s is not a name", data)
	}
	v, err := policy.ParseRole(text)
	*r = role(v)
	return err
}

type simulatedDocument struct {
	Device string `json:"device"`
	Root   string `json:"root"`
}

type policyDocument struct {
	Name        string          `json:"name"`
	Type        string          `json:"type"`
	Description string          `json:"description"`
	Rules       json.RawMessage `json:"tdx_config"`
}

type portDocument struct {
	Port            uint16          `json:"port"`
	Host            string          `json:"host"`
	Kind            Kind            `json:"type"`
	Policy          string          `json:"policy_name"`
	DestinationHost string          `json:"destination_host"`
	DestinationPort uint16          `json:"destination_port"`
	PolicyFromUser  bool            `json:"allow_policy_from_username"`
	Serialize       *bool           `json:"serialize_info"`
	Difficulty      *int            `json:"pow_difficulty"`
	MaxDifficulty   *int            `json:"max_pow_difficulty"`
	Reply           *Reply          `json:"socks_reply"`
	Fresh           *Fresh          `json:"fresh"`
	Limits          *limitsDocument `json:"limits"`
}

type limitsDocument struct {
	SOCKS             duration       `json:"socks"`
	Dial              duration       `json:"dial"`
	InnerDial         duration       `json:"inner_dial"`
	Proof             duration       `json:"pow"`
	Solve             duration       `json:"pow_max_cpu"`
	Handshake         duration       `json:"handshake"`
	ClientHandshake   duration       `json:"client_handshake"`
	Preamble          duration       `json:"preamble"`
	Drain             duration       `json:"drain"`
	Pending           int            `json:"pending"`
	PendingPerSource  int            `json:"pending_per_source"`
	Sessions          int            `json:"connections"`
	SessionsPerSource int            `json:"connections_per_source"`
	Exempt            []netip.Prefix `json:"exempt"`
}

type collateralDocument struct {
	PCCSURL  string `json:"pccs_url"`
	StoreDir string `json:"store_dir"`
	Bundle   string `json:"bundle"`
	Refresh  *bool  `json:"refresh"`
}

// duration is written like "10s".
type duration time.Duration

// UnmarshalJSON reads the text form.
func (d *duration) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("duration %s is not a string like \"10s\"", data)
	}
	v, err := time.ParseDuration(text)
	if err != nil {
		return fmt.Errorf("duration %q is not like \"10s\"", text)
	}
	if v <= 0 { // zero would inherit
		return fmt.Errorf("duration %q is not above zero", text)
	}
	*d = duration(v)
	return nil
}

func (l *limitsDocument) limits() Limits {
	if l == nil {
		return Limits{}
	}
	return Limits{
		SOCKS: time.Duration(l.SOCKS), Dial: time.Duration(l.Dial), InnerDial: time.Duration(l.InnerDial),
		Proof: time.Duration(l.Proof), Solve: time.Duration(l.Solve), Handshake: time.Duration(l.Handshake),
		ClientHandshake: time.Duration(l.ClientHandshake), Preamble: time.Duration(l.Preamble), Drain: time.Duration(l.Drain),
		Pending: l.Pending, PendingPerSource: l.PendingPerSource,
		Sessions: l.Sessions, SessionsPerSource: l.SessionsPerSource, Exempt: l.Exempt,
	}
}

// globals are the values that ports inherit.
type globals struct {
	serialize                 bool
	difficulty, maxDifficulty int
	reply                     Reply
	fresh                     Fresh
	limits                    Limits
}

func defaultGlobals() globals {
	return globals{difficulty: pow.DefaultDifficulty, maxDifficulty: pow.DefaultAccepted, reply: Early, limits: DefaultLimits()}
}

// port is a port that sets nothing of its own.
func (g *globals) port(number uint16, kind Kind) Port {
	return Port{
		Listen: number, Kind: kind, Serialize: g.serialize, Difficulty: g.difficulty, MaxDifficulty: g.maxDifficulty,
		Reply: g.reply, Fresh: g.fresh, Limits: g.limits,
	}
}

func (d *portDocument) port(g *globals) Port {
	p := g.port(d.Port, d.Kind)
	p.Host, p.Policy, p.PolicyFromUser = d.Host, d.Policy, d.PolicyFromUser
	p.Destination = Destination{Host: d.DestinationHost, Port: d.DestinationPort}
	override(&p.Serialize, d.Serialize)
	override(&p.Difficulty, d.Difficulty)
	override(&p.MaxDifficulty, d.MaxDifficulty)
	override(&p.Reply, d.Reply)
	override(&p.Fresh, d.Fresh)
	p.Limits = d.Limits.limits().over(g.limits)
	return p
}

func override[T any](dst, src *T) {
	if src != nil {
		*dst = *src
	}
}

// decodeFile reads the document. The result still lacks the command line's values.
func decodeFile(data []byte) (*document, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("%d bytes, at most %d", len(data), maxFile)
	}
	var d document
	if err := strictjson.Decode(data, &d); err != nil {
		return nil, err
	}
	var errs []error
	if d.Network != "" && d.Network != localNetwork {
		errs = append(errs, fmt.Errorf("network: %q is not %q; leave the key out for a public network", d.Network, localNetwork))
	}
	for i, p := range d.Policies {
		if p.Name == "" {
			errs = append(errs, fmt.Errorf("policies[%d].name: missing", i))
		}
		if p.Type == "" {
			errs = append(errs, fmt.Errorf("policies[%d].type: missing", i))
		}
	}
	for i := range d.Ports {
		if d.Ports[i].Policy == "" {
			errs = append(errs, fmt.Errorf("ports[%d].policy_name: missing", i))
		}
	}
	return &d, errors.Join(append(errs, d.readRoot())...)
}

// readRoot reads what says where the chain is.
func (d *document) readRoot() (err error) {
	if d.Root != nil {
		d.root, err = follow.ParseSection(d.Root)
	}
	for i, name := range d.RootLists {
		l, listErr := registry.ParseList(name)
		if listErr == nil && l == registry.Models {
			listErr = errors.New("model hashes are no images: write proxy, worker")
		}
		if listErr != nil {
			err = errors.Join(err, fmt.Errorf("root_lists[%d]: %w", i, listErr))
			continue
		}
		d.lists = append(d.lists, l)
	}
	return err
}

// apply puts the document's values into c, where ports inherit what they leave out from g.
func (d *document) apply(c *Config, g *globals) {
	c.CertBase, c.Threads, c.Local = d.CertBase, d.Threads, d.Network == localNetwork
	c.Root, c.RootLists = d.root, d.lists
	if d.Simulated != nil {
		c.Simulated = &Simulated{Device: d.Simulated.Device, Root: d.Simulated.Root}
	}
	if d.Claims != nil {
		c.Claims = &Claims{Role: policy.Role(d.Claims.Role), NetworkID: d.Claims.NetworkID}
	}
	override(&c.Profile, d.Profile)
	override(&c.Fresh, d.Fresh)
	c.Limits, g.fresh = d.Limits.limits(), c.Fresh
	g.limits = c.Limits.over(g.limits)
	for i := range d.Policies {
		p := &d.Policies[i]
		c.Policies = append(c.Policies, PolicySpec{
			Name: p.Name, Type: p.Type, Description: p.Description, Rules: p.Rules, Origin: fmt.Sprintf("policies[%d] of the file", i),
		})
	}
	for i := range d.Ports {
		c.Ports = append(c.Ports, d.Ports[i].port(g))
	}
	if d.Collateral != nil {
		c.Collateral = Collateral{PCCSURL: d.Collateral.PCCSURL, StoreDir: d.Collateral.StoreDir, Bundle: d.Collateral.Bundle, Refresh: true}
		override(&c.Collateral.Refresh, d.Collateral.Refresh)
	}
}
