package measuretest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"cocoon/measure/tdx"
)

// TD is one trust domain on a platform. It is a quote provider and a bank of registers.
type TD struct {
	platform *Platform
	opts     TDOptions

	mu   sync.Mutex
	rtmr [4]tdx.Digest
}

// Launch starts a TD on the platform.
func (p *Platform) Launch(o TDOptions) (*TD, error) {
	if err := o.setDefaults(); err != nil {
		return nil, fmt.Errorf("launching simulated TD: %w", err)
	}
	o.Events = slices.Clone(o.Events)
	return &TD{platform: p, opts: o, rtmr: o.Measurements.RTMR}, nil
}

// Measurements are the TD's registers and configuration identifiers now.
func (t *TD) Measurements() tdx.Measurements {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.opts.Measurements
	m.RTMR = t.rtmr
	return m
}

// Read returns a register.
func (t *TD) Read(r tdx.Register) (tdx.Digest, error) {
	m := t.Measurements()
	return m.Register(r)
}

// Extend replaces an RTMR by SHA384(register ‖ digest).
func (t *TD) Extend(r tdx.Register, digest tdx.Digest) error {
	if r < tdx.RTMR0 || r > tdx.RTMR3 {
		return fmt.Errorf("register %s cannot be extended", r)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rtmr[r-tdx.RTMR0] = t.rtmr[r-tdx.RTMR0].Extend(digest)
	return nil
}

// Reset is a reboot: the registers are as the firmware leaves them.
func (t *TD) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rtmr = t.opts.Measurements.RTMR
}

// Quote is a quote of version 4 over the report data.
func (t *TD) Quote(ctx context.Context, reportData [tdx.ReportDataSize]byte) ([]byte, error) {
	return t.QuoteWith(ctx, Spec{ReportData: reportData})
}
