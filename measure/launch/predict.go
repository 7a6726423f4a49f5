package launch

import (
	"errors"
	"fmt"
	"slices"

	"cocoon/measure/launch/qtest"
	"cocoon/measure/tdx"
)

// Prediction is what TDX will measure: the whole value of MRTD, and RTMR0..2 event by event in extend order.
type Prediction struct {
	MRTD   tdx.Digest `json:"mrtd"`
	Events []Event    `json:"events"`
	// Variants are further sequences that are explicitly allowed.
	Variants []Variant `json:"variants"`
}

// Variant is an allowed alternative for one register.
type Variant struct {
	Name     string       `json:"name"`
	Why      string       `json:"why"`
	Register tdx.Register `json:"register"`
	Value    tdx.Digest   `json:"value"`
	// Events replace all events of the register.
	Events []Event `json:"events"`
}

// Registers holds RTMR0..RTMR2 of a prediction. RTMR3 belongs to the spec and to run time: see measure/spec.
type Registers struct {
	RTMR0 tdx.Digest `json:"rtmr0"`
	RTMR1 tdx.Digest `json:"rtmr1"`
	RTMR2 tdx.Digest `json:"rtmr2"`
}

// Registers replays the events.
func (p *Prediction) Registers() Registers {
	return Registers{RTMR0: p.value(tdx.RTMR0), RTMR1: p.value(tdx.RTMR1), RTMR2: p.value(tdx.RTMR2)}
}

// Measurements are the fields of the TD's quote. The owner and configuration fields are zero, as our command line
// leaves them; rtmr3 follows from the spec (measure/spec).
func (p *Prediction) Measurements(rtmr3 tdx.Digest) *tdx.Measurements {
	r := p.Registers()
	return &tdx.Measurements{MRTD: p.MRTD, RTMR: [4]tdx.Digest{r.RTMR0, r.RTMR1, r.RTMR2, rtmr3}}
}

// ImageHash is what the root contract lists, for the final value of RTMR3.
func (p *Prediction) ImageHash(rtmr3 tdx.Digest) (tdx.Hash, error) {
	return tdx.PublishableHash(p.Measurements(rtmr3))
}

func (p *Prediction) value(r tdx.Register) tdx.Digest { return replay(p.Of(r)) }

// Of lists the events of one register.
func (p *Prediction) Of(r tdx.Register) []Event {
	var out []Event
	for _, e := range p.Events {
		if e.Register == r {
			out = append(out, e)
		}
	}
	return out
}

func replay(events []Event) tdx.Digest {
	var d tdx.Digest
	for _, e := range events {
		d = d.Extend(e.Digest)
	}
	return d
}

// Predict lists what the firmware, image and machine will extend, given what the machine's QEMU offers over fw_cfg.
func Predict(fw *Firmware, img *Image, m *Machine, offered *qtest.FwCfg) (*Prediction, error) {
	if err := m.Validate(); err != nil {
		return nil, fmt.Errorf("predicting: machine: %w", err)
	}
	switch {
	case fw.Profile.Name != m.Firmware:
		return nil, fmt.Errorf("predicting: the machine is made for firmware %s, the file is %s", m.Firmware, fw.Profile.Name)
	case img.Form != m.Boot:
		return nil, fmt.Errorf("predicting: the machine boots from %s, the image is given as %s", m.Boot, img.Form)
	case offered == nil:
		return nil, errors.New("predicting: nothing was read from QEMU")
	}
	p := &Prediction{MRTD: fw.MRTD(), Variants: []Variant{}}
	rtmr0, err := predictRTMR0(fw, m, offered)
	if err != nil {
		return nil, fmt.Errorf("predicting RTMR0: %w", err)
	}
	rtmr1, err := img.rtmr1(fw.Profile, m, offered)
	if err != nil {
		return nil, fmt.Errorf("predicting RTMR1: %w", err)
	}
	rtmr2, err := img.rtmr2(fw.Profile)
	if err != nil {
		return nil, fmt.Errorf("predicting RTMR2: %w", err)
	}
	p.Events = slices.Concat(rtmr0, rtmr1, rtmr2)
	if m.Boot == BootDisk {
		p.Variants = append(p.Variants, exitRetry(rtmr1))
	}
	return p, nil
}

// exitRetry is the sequence in which the first ExitBootServices fails because the memory map changed under the
// kernel. It was seen with some disks and never with -kernel, so only disk boots may show it.
func exitRetry(rtmr1 []Event) Variant {
	last := len(rtmr1) - 1
	events := slices.Concat(rtmr1[:last], []Event{action(actionExitFailed), action(actionExit)}, rtmr1[last:])
	return Variant{
		Name: "exit-boot-services-retry", Why: "the first ExitBootServices failed and the kernel tried again",
		Register: tdx.RTMR1, Value: replay(events), Events: events,
	}
}
