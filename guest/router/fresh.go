package router

import (
	"errors"
	"fmt"
	"slices"

	"cocoon/measure/ratls"
)

// Fresh says whether both sides send a quote of this very connection after the handshake and before any data. It is for the
// few long-lived links between proxies and workers: each side's quote takes a second or more (attestation.md section 15).
type Fresh uint8

// The answers.
const (
	// FreshOff never does.
	FreshOff Fresh = iota
	// FreshOffered does with peers who offer it, too.
	FreshOffered
	// FreshRequired admits nobody without.
	FreshRequired
)

// ParseFresh reads off, offer or require.
func ParseFresh(text string) (Fresh, error) {
	if i := slices.Index([]string{FreshOff: "off", FreshOffered: "offer", FreshRequired: "require"}, text); i >= 0 {
		return Fresh(i), nil //nolint:gosec // one of three
	}
	return FreshOff, fmt.Errorf("fresh: %q is none of off, offer, require", text)
}

// UnmarshalText reads the file's word.
func (f *Fresh) UnmarshalText(text []byte) (err error) {
	*f, err = ParseFresh(string(text))
	return err
}

// freshest is what the ports and the process itself ask for at most.
func (c *Config) freshest() Fresh {
	out := c.Fresh
	for i := range c.Ports {
		out = max(out, c.Ports[i].Fresh)
	}
	return out
}

// freshProblems are the broken rules that come with fresh quotes: they belong to profile v2, whose certificates this process makes by itself.
func (c *Config) freshProblems() []problem {
	if c.freshest() == FreshOff {
		return nil
	}
	var out []problem
	for _, rule := range []struct {
		ok   bool
		text string
	}{
		{c.Profile != V1, "fresh quotes belong to profile v2: write auto or v2 as profile"},
		{c.Claims != nil, "fresh quotes need a certificate of profile v2, and the section claims that it is made of is missing"},
		{c.CertBase == "", "fresh quotes need a process that makes its own: leave cert_base_name out"},
	} {
		if !rule.ok {
			out = append(out, problem{"fresh", errors.New(rule.text)})
		}
	}
	return out
}

// useQuoter shares the machine's quotes between the endpoints. A machine without any offers none; to require them from
// others alone would admit nobody.
func (r *Router) useQuoter(q ratls.Quoter) error {
	want := r.cfg.freshest()
	switch {
	case want == FreshOff:
	case q != nil:
		r.quoter = ratls.LimitQuoter(q)
	case want == FreshRequired:
		return errors.New("fresh quotes are required, and this machine makes none: no TDX here")
	default:
		r.deps.Log.Warn("No TDX here: fresh quotes are not offered")
	}
	return nil
}

// freshen has an endpoint exchange fresh quotes. What begins a stream with them cannot leave crypto/tls.
func (r *Router) freshen(e *ratls.Endpoint, f Fresh) {
	if f == FreshOff || r.quoter == nil {
		return
	}
	e.Fresh, e.FreshRequired, e.Detachable = r.quoter, f == FreshRequired, false
}
