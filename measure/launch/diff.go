package launch

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"cocoon/measure/eventlog"
	"cocoon/measure/tdx"
)

// Verdict says how a register compares.
type Verdict string

// The verdicts.
const (
	Equal   Verdict = "equal"
	Allowed Verdict = "allowed-variant" // one of the prediction's variants
	Differs Verdict = "differs"
	Unknown Verdict = "unknown" // neither log nor quote says anything about the register
)

// Report compares a prediction with evidence, register by register.
type Report struct {
	Findings []Finding `json:"findings"`
}

// OK reports that nothing differs.
func (r Report) OK() bool {
	return !slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Verdict == Differs })
}

// Finding is the comparison of one register.
type Finding struct {
	Register tdx.Register `json:"register"`
	Verdict  Verdict      `json:"verdict"`
	// Predicted and Quoted are values; Quoted is absent without a quote.
	Predicted tdx.Digest  `json:"predicted"`
	Quoted    *tdx.Digest `json:"quoted,omitempty"`
	// Variant names the allowed alternative that was seen.
	Variant string `json:"variant,omitempty"`
	// Position is the first differing event, from 0; Expected and Found say what stands there. They are absent when
	// no event can be named.
	Position *int   `json:"position,omitempty"`
	Expected string `json:"expected,omitempty"`
	Found    string `json:"found,omitempty"`
	// Inputs is what could have moved the event, or the register if no event is known.
	Inputs []Input `json:"inputs,omitempty"`
	Why    string  `json:"why"`
}

// Diff compares a prediction with an event log, a quote's registers, or both; either may be nil. The log may be a
// TD's or a TPM's; a TPM's says nothing about RTMR0. It is a claim of the host: only what also leads to the quoted
// value is certain. RTMR3 follows from the spec and is not compared here.
func Diff(p *Prediction, log *eventlog.Log, quoted *tdx.Measurements) (Report, error) {
	if log == nil && quoted == nil {
		return Report{}, errors.New("comparing: neither an event log nor a quote is given")
	}
	first := tdx.RTMR0
	if log != nil && log.Kind == eventlog.TPM {
		view, err := log.TDView()
		if err != nil {
			return Report{}, fmt.Errorf("comparing: %w", err)
		}
		log, first = view, tdx.RTMR1
	}
	if log != nil && !slices.Contains(log.Algorithms, eventlog.SHA384) {
		return Report{}, fmt.Errorf("comparing: %w: the log has no SHA-384 digests", eventlog.ErrNoBank)
	}
	report := Report{Findings: []Finding{p.diffMRTD(quoted)}}
	for r := tdx.RTMR0; r <= tdx.RTMR2; r++ {
		f := Finding{Register: r, Verdict: Unknown, Predicted: p.value(r), Why: "nothing is known about this register"}
		if quoted != nil {
			f = p.diffQuoted(r, quoted.RTMR[r-tdx.RTMR0])
		}
		if log != nil && r >= first {
			f = p.diffLogged(f, log.Register(uint32(r)))
		}
		report.Findings = append(report.Findings, f)
	}
	return report, nil
}

func (p *Prediction) diffMRTD(quoted *tdx.Measurements) Finding {
	f := Finding{Register: tdx.MRTD, Verdict: Unknown, Predicted: p.MRTD, Why: "logs do not cover MRTD"}
	if quoted == nil {
		return f
	}
	f.Quoted = &quoted.MRTD
	if quoted.MRTD == p.MRTD {
		f.Verdict, f.Why = Equal, "the quote has the predicted value"
		return f
	}
	f.Verdict, f.Inputs = Differs, mrtdInputs()
	f.Why = "another firmware, another section list, or another order of adding and extending pages"
	return f
}

// diffQuoted compares one register's value with the prediction and its variants.
func (p *Prediction) diffQuoted(r tdx.Register, quoted tdx.Digest) Finding {
	f := Finding{Register: r, Predicted: p.value(r), Quoted: &quoted}
	if quoted == f.Predicted {
		f.Verdict, f.Why = Equal, "the quote has the predicted value"
		return f
	}
	for _, v := range p.Variants {
		if v.Register == r && v.Value == quoted {
			f.Verdict, f.Variant, f.Why = Allowed, v.Name, v.Why
			return f
		}
	}
	f.Verdict, f.Inputs = Differs, p.inputsOf(r)
	f.Why = "the quote has another value; an event log would tell which event differs"
	return f
}

func (p *Prediction) inputsOf(r tdx.Register) []Input {
	var out []Input
	for _, e := range p.Of(r) {
		for _, in := range e.Inputs {
			if !slices.Contains(out, in) {
				out = append(out, in)
			}
		}
	}
	return out
}

// diffLogged adds what the log says to a finding.
func (p *Prediction) diffLogged(f Finding, logged []*eventlog.Event) Finding {
	want := p.Of(f.Register)
	at := firstDifference(want, logged)
	if at < 0 {
		return f.agrees("", logged)
	}
	for _, v := range p.Variants {
		if v.Register == f.Register && firstDifference(v.Events, logged) < 0 {
			return f.agrees(v.Name, logged)
		}
	}
	f.Verdict, f.Variant, f.Position = Differs, "", &at
	var predicted *Event
	if at < len(want) {
		predicted = &want[at]
	}
	f.Expected, f.Found, f.Inputs = describePredicted(predicted), describeLogged(logged, at), nil
	switch {
	case predicted == nil:
		f.Why = "the log has events behind the last predicted one"
	case at >= len(logged):
		f.Why, f.Inputs = "the log ends before this event", predicted.Inputs
	case logged[at].Type != predicted.Type:
		f.Why = "another kind of event: one was added, is missing, or changed places"
	case len(predicted.Inputs) == 0:
		f.Why = "a constant event differs: another firmware generation, or another sequence of events"
	default:
		f.Inputs = predicted.Inputs
		f.Why = "one of these inputs is not the predicted one: " + joinInputs(predicted.Inputs)
	}
	return f
}

// agrees is the finding when the log's events are predicted ones. The quote still has the last word.
func (f Finding) agrees(variant string, logged []*eventlog.Event) Finding {
	if f.Verdict == Differs {
		f.Why = "the log shows only predicted events, but the quote has another value: events were extended behind the log, or the log is not this TD's"
		f.Inputs = nil
		at := len(logged)
		f.Position, f.Expected, f.Found = &at, "end of log", "unlogged events"
		return f
	}
	f.Verdict, f.Variant, f.Why = Equal, variant, "every event is the predicted one"
	if variant != "" {
		f.Verdict, f.Why = Allowed, "the log shows the allowed variant "+variant
	}
	return f
}

// firstDifference is the position of the first event in which two sequences differ, or -1.
func firstDifference(want []Event, logged []*eventlog.Event) int {
	for i := range max(len(want), len(logged)) {
		if i >= len(want) || i >= len(logged) || logged[i].Type != want[i].Type ||
			string(logged[i].Digest(eventlog.SHA384)) != string(want[i].Digest[:]) {
			return i
		}
	}
	return -1
}

func describePredicted(e *Event) string {
	if e == nil {
		return "end of log"
	}
	return fmt.Sprintf("%s %s %s", e.Type, e.Description, e.Digest)
}

func describeLogged(logged []*eventlog.Event, at int) string {
	if at >= len(logged) {
		return "end of log"
	}
	e := logged[at]
	return fmt.Sprintf("%s %s %x", e.Type, e.Describe(), e.Digest(eventlog.SHA384))
}

func joinInputs(inputs []Input) string {
	words := make([]string, len(inputs))
	for i, in := range inputs {
		words[i] = string(in)
	}
	return strings.Join(words, ", ")
}
