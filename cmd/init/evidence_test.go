package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"cocoon/guest/boot"
	"cocoon/guest/klog"
	"cocoon/guest/rtmr"
	"cocoon/measure/measuretest"
	"cocoon/measure/tdx"
)

// simulatedTD is the software platform without a serial port between.
type simulatedTD struct {
	*measuretest.TD
	quote func(data [tdx.ReportDataSize]byte) ([]byte, error)
}

func (s simulatedTD) Reset(context.Context) error {
	s.TD.Reset()
	return nil
}

func (s simulatedTD) Quote(ctx context.Context, data [tdx.ReportDataSize]byte) ([]byte, error) {
	if s.quote != nil {
		return s.quote(data)
	}
	return s.TD.Quote(ctx, data)
}

// TestIdentityIsWhatWasMeasured: the stage passes only on a quote about this boot's registers and its own question.
func TestIdentityIsWhatWasMeasured(t *testing.T) {
	platform, err := measuretest.NewPlatform(measuretest.Options{Seed: [32]byte{1}, Now: time.Unix(1_795_000_000, 0)})
	if err != nil {
		t.Fatal(err)
	}
	td, err := platform.Launch(measuretest.TDOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var other [tdx.ReportDataSize]byte
	for name, tc := range map[string]struct {
		quote  func(data [tdx.ReportDataSize]byte) ([]byte, error)
		before func(st *boot.State)
		want   string
	}{
		"a quote of this boot": {},
		"no quote":             {quote: func([tdx.ReportDataSize]byte) ([]byte, error) { return nil, errors.New("service is gone") }, want: "service is gone"},
		"no quote at all":      {quote: func([tdx.ReportDataSize]byte) ([]byte, error) { return []byte("x"), nil }, want: "reading this machine's own quote"},
		"an older quote":       {quote: func([tdx.ReportDataSize]byte) ([]byte, error) { return td.Quote(t.Context(), other) }, want: "not about what was asked"},
		"other registers": {
			before: func(st *boot.State) { st.Registers = rtmr.NewLog(new(rtmr.Software), nil) }, want: "this boot measured 0000",
		},
	} {
		t.Run(name, func(t *testing.T) {
			td.Reset()
			e := &evidence{search: func() (boot.Simulation, error) { return simulatedTD{td, tc.quote}, nil }}
			bank, err := e.findSimulation()
			if err != nil {
				t.Fatal(err)
			}
			st := boot.NewState(&boot.Deps{Log: klog.New(klog.Options{})})
			st.Simulated, st.Registers = true, rtmr.NewLog(bank, &strings.Builder{})
			if _, err := st.Extend("cocoon:test"); err != nil {
				t.Fatal(err)
			}
			if tc.before != nil {
				tc.before(st)
			}
			err = e.identify(t.Context(), st)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("err = %v, want %q", err, tc.want)
			}
		})
	}
}

func TestWithoutAnythingThatQuotesIdentityIsSkipped(t *testing.T) {
	e := newEvidence()
	if sim, err := e.findSimulation(); sim != nil || err != nil {
		t.Errorf("%v, %v", sim, err)
	}
	st := boot.NewState(&boot.Deps{Log: klog.New(klog.Options{})})
	st.Software = true
	var skip *boot.SkipError
	if err := e.identify(t.Context(), st); !errors.As(err, &skip) {
		t.Errorf("err = %v", err)
	}
	st.Software = false
	e.hardware = func() (quoter, error) { return nil, errors.New("no configfs") }
	if err := e.identify(t.Context(), st); err == nil || !strings.Contains(err.Error(), "no configfs") {
		t.Errorf("err = %v", err)
	}
}
