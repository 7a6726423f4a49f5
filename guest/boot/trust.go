package boot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"cocoon/guest/rtmr"
	"cocoon/measure/bootfiles"
	"cocoon/measure/spec"
)

const (
	// AttestationLog holds one line per message extended into RTMR3 (measure.md section 9.2).
	AttestationLog = "/run/cocoon/tdx-attestation.log"
	// diskWait is how long a disk may take to appear (image.md section 6.3).
	diskWait = 5 * time.Second
)

// runTD decides where measurements go. Only the test variant may do without a TD, and then says so in every status.
func runTD(ctx context.Context, st *State) error {
	if err := st.refuseTPM(); err != nil {
		return err
	}
	present, err := st.deps.TD.Present()
	if err != nil {
		return fmt.Errorf("looking for the TD's registers: %w", err)
	}
	st.Detail("present", present)
	bank, err := st.bank(ctx, present)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(st.path(AttestationLog), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("opening the attestation log: %w", err)
	}
	st.Registers = rtmr.NewLog(bank, f)
	value, err := st.Registers.Value()
	if err != nil {
		return err
	}
	if !value.IsZero() {
		return fmt.Errorf("RTMR3 is %s before this init's first message: something else has measured into it", value)
	}
	return nil
}

// refuseTPM keeps measurements in one place: with a TPM the stub and the firmware measure there instead of into RTMRs.
func (st *State) refuseTPM() error {
	entries, err := os.ReadDir(st.path("/sys/class/tpm"))
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("looking for a TPM: %w", err)
	case len(entries) > 0:
		return fmt.Errorf("the machine has a TPM (%s), which diverts measurements from the TD; start it without one", entries[0].Name())
	}
	return nil
}

func (st *State) bank(ctx context.Context, present bool) (rtmr.Bank, error) {
	if !present {
		if st.Image.Variant != bootfiles.Test {
			return nil, errors.New("this machine is not a TD: the tdx_guest driver shows no measurement registers; start the VM as a TDX guest")
		}
		return st.imitation(ctx)
	}
	attributes, err := st.deps.TD.Attributes()
	if err != nil {
		return nil, fmt.Errorf("reading the TD's attributes: %w", err)
	}
	st.Detail("attributes", fmt.Sprintf("%#016x", uint64(attributes)))
	if attributes.Debug() && st.Image.Variant == bootfiles.Production {
		return nil, errors.New("this is a debug TD: the host can read its memory; start it without the debug attribute")
	}
	return st.deps.TD.Bank(), nil
}

// imitation is what a test image measures into without a TD: the software TDX of its host, or registers in memory.
func (st *State) imitation(ctx context.Context) (rtmr.Bank, error) {
	sim, err := st.deps.Simulated()
	if err != nil {
		return nil, fmt.Errorf("looking for the host's software TDX: %w", err)
	}
	if sim == nil {
		st.Software = true
		st.Detail("software", true)
		st.Log.Warn("NOT A TD: measurements are kept in software and prove nothing")
		return new(rtmr.Software), nil
	}
	st.Simulated = true
	st.Detail("simulated", true)
	st.Log.Warn("NOT A TD: measurements and quotes are the host's imitation and prove nothing")
	if err := sim.Reset(ctx); err != nil {
		return nil, fmt.Errorf("resetting the host's software TDX: %w", err)
	}
	return sim, nil
}

// runDebugMarker makes the two marks of a debug image agree and measures it.
func runDebugMarker(_ context.Context, st *State) error {
	word, variant := st.debugWord(), st.Image.Variant == bootfiles.Debug
	st.Detail("debug", variant)
	if word != variant {
		return fmt.Errorf("the command line has the word %s: %t; %s says variant %s: the two must agree",
			bootfiles.DebugWord, word, bootfiles.ImagePath, st.Image.Variant)
	}
	if !variant {
		return nil
	}
	st.Log.Warn("DEBUG IMAGE: its hash is never published", slog.String("image", st.Image.Name))
	_, err := st.Extend(spec.DebugMessage)
	return err
}
