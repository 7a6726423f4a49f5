package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"cocoon/guest/boot"
	"cocoon/guest/device"
	"cocoon/measure/simtd"
	"cocoon/measure/tdx"
)

// simulationPort is the virtio-serial port behind which a test's host offers PID 1 its software TDX. A port has one user
// at a time: the router has another, which its configuration names.
const simulationPort = "org.cocoon.simtdx"

// quoter makes quotes.
type quoter interface {
	Quote(ctx context.Context, reportData [tdx.ReportDataSize]byte) ([]byte, error)
}

// evidence is where this machine's quotes come from.
type evidence struct {
	// hardware opens the kernel's interface; search finds the host's software TDX, or nil.
	hardware func() (quoter, error)
	search   func() (boot.Simulation, error)
	// simulation is what the td stage found.
	simulation boot.Simulation
}

func newEvidence() *evidence {
	return &evidence{hardware: func() (quoter, error) { return device.OpenQuotes() }, search: searchPort}
}

func searchPort() (boot.Simulation, error) {
	found, err := device.HasPort(simulationPort)
	if err != nil || !found {
		return nil, err
	}
	address, err := simtd.ParseAddress(string(simtd.Port) + ":" + simulationPort)
	if err != nil {
		return nil, err
	}
	return device.NewSimulated(address), nil
}

// findSimulation finds the host's software TDX. The boot asks in test images alone.
func (e *evidence) findSimulation() (_ boot.Simulation, err error) {
	e.simulation, err = e.search()
	return e.simulation, err
}

// identify is the hook of the identity stage: a quote can be had, and it says what this boot has measured. It is the
// same way that the certificates of the services take.
func (e *evidence) identify(ctx context.Context, st *boot.State) error {
	if st.Software {
		return &boot.SkipError{Reason: "there is no TD and no software TDX: nothing can be quoted"}
	}
	source, err := e.source(st)
	if err != nil {
		return err
	}
	var data [tdx.ReportDataSize]byte
	if _, err := rand.Read(data[:]); err != nil {
		return err
	}
	raw, err := source.Quote(ctx, data)
	if err != nil {
		return err
	}
	quote, err := tdx.ParseQuote(raw)
	if err != nil {
		return fmt.Errorf("reading this machine's own quote: %w", err)
	}
	if quote.TD == nil || quote.TD.ReportData != data {
		return errors.New("the quote is not about this machine, or not about what was asked")
	}
	value, err := st.Registers.Value()
	if err != nil {
		return err
	}
	if got := quote.TD.RTMR[3]; got != value {
		return fmt.Errorf("the quote has RTMR3 %s, this boot measured %s", got, value)
	}
	st.Detail("image_hash", tdx.ImageHash(&quote.TD.Measurements).String())
	st.Detail("mrtd", quote.TD.MRTD.String())
	st.Detail("quote_bytes", len(raw))
	return nil
}

func (e *evidence) source(st *boot.State) (quoter, error) {
	if !st.Simulated {
		return e.hardware()
	}
	source, ok := e.simulation.(quoter)
	if !ok {
		return nil, errors.New("the software TDX makes no quotes")
	}
	return source, nil
}
