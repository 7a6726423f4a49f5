package simtdx

import (
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/measuretest"
	"cocoon/measure/simtd"
)

// maxChannels bounds the guest's ways in.
const maxChannels = 16

// Config says what to run. Seed, Now and at least one of Guests and PCS are needed.
type Config struct {
	// Seed decides every key; Machine tells the platforms of one seed apart.
	Seed    [measuretest.SeedSize]byte
	Machine uint32
	// Now is when the collateral is asked for: it is valid for 30 days from an hour earlier.
	Now time.Time
	// Prediction says what the TD's firmware and loader measured; nil means made-up measurements.
	Prediction *Prediction
	// Faults are names of measuretest.Faults.
	Faults []string
	// Guests are the addresses to serve the guest at. A port is a serial port's host end: a character device, or the
	// socket that QEMU listens at.
	Guests []simtd.Address
	// PCS is where to serve the provisioning service, host:port; empty means nowhere.
	PCS string
	Log *slog.Logger
}

// ParseSeed reads 64 hexadecimal digits. A seed of zeroes is refused: it is what forgetting one gives.
func ParseSeed(text string) (seed [measuretest.SeedSize]byte, err error) {
	raw, err := hex.DecodeString(text)
	switch {
	case err != nil:
		return seed, fmt.Errorf("reading seed: %w", err)
	case len(raw) != len(seed):
		return seed, fmt.Errorf("reading seed: %d bytes, want %d", len(raw), len(seed))
	}
	copy(seed[:], raw)
	if seed == [measuretest.SeedSize]byte{} {
		return seed, errors.New("reading seed: it is zero")
	}
	return seed, nil
}

// Validate lists everything that is wrong with a configuration.
func (c *Config) Validate() error {
	var problems []error
	for _, rule := range []struct {
		broken bool
		text   string
	}{
		{c.Seed == [measuretest.SeedSize]byte{}, "seed: none is given, so the root would be everybody's"},
		{c.Now.IsZero(), "now: the collateral needs a date"},
		{len(c.Guests) == 0 && c.PCS == "", "guests, pcs: nothing to serve"},
		{len(c.Guests) > maxChannels, fmt.Sprintf("guests: %d addresses, at most %d", len(c.Guests), maxChannels)},
		{c.Log == nil, "log: none is given"},
	} {
		if rule.broken {
			problems = append(problems, errors.New(rule.text))
		}
	}
	if c.PCS != "" {
		if _, _, err := net.SplitHostPort(c.PCS); err != nil {
			problems = append(problems, fmt.Errorf("pcs: %w", err))
		}
	}
	if _, err := c.faults(); err != nil {
		problems = append(problems, fmt.Errorf("faults: %w", err))
	}
	return errors.Join(problems...)
}

func (c *Config) faults() ([]measuretest.Fault, error) {
	out := make([]measuretest.Fault, 0, len(c.Faults))
	for _, name := range c.Faults {
		f, err := measuretest.FindFault(name)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
	}
	return out, nil
}

// FaultNames lists the faults with their effects, in order.
func FaultNames() [][2]string {
	faults := measuretest.Faults()
	out := make([][2]string, 0, len(faults))
	for _, f := range faults {
		out = append(out, [2]string{f.Name, f.Effect})
	}
	return out
}

// platform makes the platform and its provisioning service.
func (c *Config) platform() (*measuretest.Platform, *measuretest.Service, error) {
	faults, err := c.faults()
	if err != nil {
		return nil, nil, err
	}
	o := measuretest.Options{Seed: c.Seed, Machine: c.Machine, Now: c.Now}
	if c.Prediction != nil {
		if o.TD, err = c.Prediction.td(); err != nil {
			return nil, nil, err
		}
	}
	service := measuretest.NewService()
	measuretest.Inject(&o, service, faults)
	p, err := measuretest.NewPlatform(o)
	if err != nil {
		return nil, nil, err
	}
	service.Add(p)
	return p, service, nil
}

// describe says what a platform is.
func (c *Config) describe(p *measuretest.Platform) (Description, error) {
	bundle, err := p.Bundle()
	if err != nil {
		return Description{}, err
	}
	collateral, err := dcap.Open(bundle, p.Roots(), c.Now)
	if err != nil {
		return Description{}, err
	}
	m := p.Measurements()
	d := Description{
		Simulated: true, Machine: c.Machine, RootID: p.RootID(), Root: rootPEM(p), FMSPC: collateral.FMSPC(),
		MRTD: m.MRTD, RTMR0: m.RTMR[0], RTMR1: m.RTMR[1], RTMR2: m.RTMR[2],
		Faults: slices.Clone(c.Faults), CollateralExpires: collateral.Expires().UTC(), Bundle: bundle,
	}
	if d.Faults == nil {
		d.Faults = []string{}
	}
	if c.Prediction != nil {
		d.Shape, d.ImageHash = c.Prediction.Shape, c.Prediction.ImageHash
	}
	return d, nil
}
