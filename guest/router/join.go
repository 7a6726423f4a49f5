package router

import "fmt"

// join makes the configuration of the file and the command line.
func (l *cli) join(read func(path string) ([]byte, error)) (*Config, error) {
	g := defaultGlobals()
	g.serialize, g.difficulty, g.maxDifficulty, g.reply, g.fresh = l.serialize, l.difficulty, l.maxDifficulty, l.reply, l.fresh
	c := &Config{
		Verbosity: l.verbosity, ImageSource: l.source, Preamble: l.preamble,
		Profile: l.profile, Fresh: l.fresh, Metrics: l.metrics, Collateral: Collateral{Refresh: true},
	}
	if l.file != "" {
		data, err := read(l.file)
		if err != nil {
			return nil, fmt.Errorf("reading configuration: %w", err)
		}
		d, err := decodeFile(data)
		if err != nil {
			return nil, fmt.Errorf("reading configuration %s: %w", l.file, err)
		}
		if l.set["profile"] {
			d.Profile = nil
		}
		if l.set["fresh"] {
			d.Fresh = nil
		}
		d.apply(c, &g)
	}
	l.overlay(c, &g)
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("checking configuration: %w", err)
	}
	return c, nil
}

// overlay puts the command line's values over the file's.
func (l *cli) overlay(c *Config, g *globals) {
	if l.set["C"] {
		c.CertBase = l.certBase
	}
	if l.set["t"] {
		c.Threads = l.threads
	}
	if l.set["collateral"] {
		c.Collateral.Bundle = l.collateral
	}
	c.Policies = append(c.Policies, l.policies...)
	if len(l.ports) == 0 {
		return
	}
	c.Ports = nil // the command line's ports replace the file's
	for _, a := range l.ports {
		p := g.port(a.listen, a.kind)
		p.Policy, p.Destination = a.policy, a.destination
		c.Ports = append(c.Ports, p)
	}
}
