package measuretest

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/eventlog"
	"cocoon/measure/tdx"
)

// TD attribute bits (TDX module ABI, ATTRIBUTES).
const (
	AttributeDebug         uint64 = 1 << 0
	AttributeSEPTVEDisable uint64 = 1 << 28
	AttributeMigratable    uint64 = 1 << 29
	AttributePKS           uint64 = 1 << 30
)

// What a TD of a Linux guest has, as in hardware quotes.
const (
	defaultAttributes = AttributeSEPTVEDisable
	defaultXFAM       = 0x602e7
)

// Options say which platform to make. The zero value of a field means its default; Now has none.
type Options struct {
	// Seed is what every key derives from. Platforms of one seed share the root and the authorities below it.
	Seed [SeedSize]byte
	// Machine numbers the platforms of one seed: each has its own PCK certificate, attestation key and PPID.
	Machine uint32
	// Now is when the collateral is asked for; it was issued an hour before and lasts 30 days.
	Now time.Time
	// FMSPC and PCEID name the platform's model; the default FMSPC is 50806f000000.
	FMSPC dcap.FMSPC
	PCEID [2]byte
	// ProcessorCA makes the Processor CA certify the platform instead of the Platform CA.
	ProcessorCA bool
	// Components and PCESVN are the platform's security versions.
	Components [componentsLen]byte
	PCESVN     uint16
	// TEETCBSVN is the TDX module's: entry 0 its security version, entry 1 its major version.
	TEETCBSVN [16]byte
	// TD is the domain that runs on the platform.
	TD TDOptions
	// EditCertificate changes a certificate before it is signed.
	EditCertificate func(role Role, template *x509.Certificate)
	// Quoting runs before each quote; it may wait and may fail.
	Quoting func(ctx context.Context) error
}

// TDOptions say which TD to launch.
type TDOptions struct {
	// Measurements are what the loader and the firmware have measured. If all of them are zero the TD has made-up ones.
	Measurements tdx.Measurements
	// Events are what the firmware logged. Without Measurements they give RTMR0..RTMR3, else they must agree with them.
	Events []Event
	// Attributes and XFAM are the TD's; the default attributes are SEPT_VE_DISABLE.
	Attributes, XFAM uint64
	// ServiceTD is the hash of bound service TDs, MRSERVICETD of a quote.
	ServiceTD tdx.Digest
}

// Event is one record of a TD's event log.
type Event struct {
	Register tdx.Register
	Type     eventlog.EventType
	Digest   tdx.Digest
	Data     []byte
}

func (o *Options) caName() string {
	if o.ProcessorCA {
		return "processor"
	}
	return "platform"
}

// machineLabel is the derivation label of something that each machine has one of.
func (o *Options) machineLabel(what string) string {
	return fmt.Sprintf("%s of machine %d", what, o.Machine)
}

func (o *Options) setDefaults() error {
	if o.Now.IsZero() {
		return errors.New("no time given: the collateral's dates come from Options.Now")
	}
	o.Now = o.Now.UTC().Truncate(time.Second)
	if o.FMSPC == (dcap.FMSPC{}) {
		o.FMSPC = dcap.FMSPC{0x50, 0x80, 0x6f}
	}
	if o.Components == [componentsLen]byte{} {
		o.Components = [componentsLen]byte{3, 3, 2, 2, 4, 1, 0, 5}
	}
	if o.PCESVN == 0 {
		o.PCESVN = 13
	}
	if o.TEETCBSVN == [16]byte{} {
		o.TEETCBSVN = [16]byte{7, 1, 3}
	}
	return nil
}

func (o *TDOptions) setDefaults() error {
	if o.Attributes == 0 {
		o.Attributes = defaultAttributes
	}
	if o.XFAM == 0 {
		o.XFAM = defaultXFAM
	}
	if o.Measurements.IsZero() {
		if len(o.Events) == 0 {
			o.Events = DefaultEvents()
		}
		o.Measurements.MRTD = tdx.Sum([]byte("simulated firmware"))
		o.Measurements.RTMR = replay(o.Events)
		return nil
	}
	if got := replay(o.Events); len(o.Events) > 0 && got != o.Measurements.RTMR {
		return fmt.Errorf("the events replay to %s, the measurements have %s", got, o.Measurements.RTMR)
	}
	return nil
}

// DefaultEvents is the log of a made-up boot: every register that firmware and loader extend has events.
func DefaultEvents() []Event {
	var out []Event
	for r := tdx.RTMR0; r <= tdx.RTMR2; r++ {
		for i := range 2 {
			data := fmt.Appendf(nil, "simulated boot event %d of %s", i, r)
			out = append(out, Event{Register: r, Type: eventlog.EFIAction, Digest: tdx.Sum(data), Data: data})
		}
		data := make([]byte, 4)
		out = append(out, Event{Register: r, Type: eventlog.Separator, Digest: tdx.Sum(data), Data: data})
	}
	return out
}

// replay gives the registers after the events; events of MRTD and of no register are skipped.
func replay(events []Event) (registers [4]tdx.Digest) {
	for _, e := range events {
		if e.Register < tdx.RTMR0 || e.Register > tdx.RTMR3 || e.Type == eventlog.NoAction {
			continue
		}
		r := &registers[e.Register-tdx.RTMR0]
		*r = r.Extend(e.Digest)
	}
	return registers
}
