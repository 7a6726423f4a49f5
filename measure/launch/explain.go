package launch

import (
	"slices"

	"cocoon/measure/tdx"
)

// Explanation is a prediction turned around: by register, and by input.
type Explanation struct {
	Registers []RegisterTree `json:"registers"`
	Inputs    []Effect       `json:"inputs"`
}

// RegisterTree is a register and what made it.
type RegisterTree struct {
	Register tdx.Register `json:"register"`
	Value    tdx.Digest   `json:"value"`
	// Events is empty for MRTD, which is built from the firmware's pages.
	Events []Event `json:"events"`
	Inputs []Input `json:"inputs"`
}

// Effect lists the events that an input moves.
type Effect struct {
	Input  Input         `json:"input"`
	Events []EffectEvent `json:"events"`
}

// EffectEvent names an event by its place.
type EffectEvent struct {
	Register    tdx.Register `json:"register"`
	Position    int          `json:"position"` // from 0, among the register's events
	Description string       `json:"description"`
}

// mrtdInputs is all that enters MRTD: the firmware's code and the list of its sections.
func mrtdInputs() []Input { return []Input{InputFirmwareCode, InputFirmwareMap} }

// Explain builds the views.
func (p *Prediction) Explain() Explanation {
	out := Explanation{Registers: []RegisterTree{{
		Register: tdx.MRTD, Value: p.MRTD, Events: []Event{}, Inputs: mrtdInputs(),
	}}}
	effects := make(map[Input][]EffectEvent)
	for _, in := range mrtdInputs() {
		effects[in] = append(effects[in], EffectEvent{Register: tdx.MRTD, Description: "firmware pages"})
	}
	for _, r := range []tdx.Register{tdx.RTMR0, tdx.RTMR1, tdx.RTMR2} {
		events := p.Of(r)
		tree := RegisterTree{Register: r, Value: replay(events), Events: events, Inputs: []Input{}}
		for i, e := range events {
			for _, in := range e.Inputs {
				effects[in] = append(effects[in], EffectEvent{Register: r, Position: i, Description: e.Description})
				if !slices.Contains(tree.Inputs, in) {
					tree.Inputs = append(tree.Inputs, in)
				}
			}
		}
		slices.Sort(tree.Inputs)
		out.Registers = append(out.Registers, tree)
	}
	for _, in := range Inputs() {
		if len(effects[in]) > 0 {
			out.Inputs = append(out.Inputs, Effect{Input: in, Events: effects[in]})
		}
	}
	return out
}
