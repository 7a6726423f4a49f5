package launch

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"cocoon/measure/eventlog"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

// logged turns a prediction into the log that a TD would keep.
func logged(p *Prediction) *eventlog.Log {
	log := &eventlog.Log{Kind: eventlog.TD, Algorithms: []eventlog.Algorithm{eventlog.SHA384}}
	for _, e := range p.Events {
		log.Events = append(log.Events, logEvent(e))
	}
	return log
}

func logEvent(e Event) eventlog.Event {
	return eventlog.Event{
		Index: uint32(e.Register), Type: e.Type,
		Digests: []eventlog.Digest{{Algorithm: eventlog.SHA384, Value: slices.Clone(e.Digest[:])}},
	}
}

func quoted(p *Prediction) *tdx.Measurements {
	r := p.Registers()
	return &tdx.Measurements{MRTD: p.MRTD, RTMR: [4]tdx.Digest{r.RTMR0, r.RTMR1, r.RTMR2}}
}

func diff(t *testing.T, p *Prediction, log *eventlog.Log, quote *tdx.Measurements) map[tdx.Register]Finding {
	t.Helper()
	report, err := Diff(p, log, quote)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[tdx.Register]Finding)
	for _, f := range report.Findings {
		out[f.Register] = f
		if f.Why == "" {
			t.Errorf("%s: no reason", f.Register)
		}
	}
	if len(out) != 4 {
		t.Fatalf("%d findings", len(out))
	}
	return out
}

func TestTheMachineOfThePredictionIsEqual(t *testing.T) {
	t.Parallel()
	p := newSubject(t).predict(t)
	for name, test := range map[string]struct {
		log   *eventlog.Log
		quote *tdx.Measurements
		mrtd  Verdict
	}{
		"log and quote": {logged(p), quoted(p), Equal},
		"quote":         {nil, quoted(p), Equal},
		"log":           {logged(p), nil, Unknown},
	} {
		found := diff(t, p, test.log, test.quote)
		for _, r := range []tdx.Register{tdx.RTMR0, tdx.RTMR1, tdx.RTMR2} {
			if found[r].Verdict != Equal {
				t.Errorf("%s: %s is %s: %s", name, r, found[r].Verdict, found[r].Why)
			}
		}
		if found[tdx.MRTD].Verdict != test.mrtd {
			t.Errorf("%s: MRTD is %s, want %s", name, found[tdx.MRTD].Verdict, test.mrtd)
		}
	}
}

func TestDiffNamesTheFirstDifferentEventAndItsInputs(t *testing.T) {
	t.Parallel()
	p := newSubject(t).predict(t)
	position := func(r tdx.Register, description string) int {
		return slices.IndexFunc(p.Of(r), func(e Event) bool { return e.Description == description })
	}
	for name, test := range map[string]struct {
		change   func(s *subject)
		register tdx.Register
		event    string
		input    Input
	}{
		"ram":     {func(s *subject) { s.machine.MemoryMiB = 8192 }, tdx.RTMR0, "TD HOB", InputRAM},
		"kernel":  {func(s *subject) { s.boot("other.", "quiet", "init") }, tdx.RTMR1, "UKI", InputUKI},
		"cmdline": {func(s *subject) { s.boot("kernel", "debug", "init") }, tdx.RTMR2, ".cmdline content", InputCmdline},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSubject(t)
			test.change(s)
			seen := s.predict(t)
			f := diff(t, p, logged(seen), quoted(seen))[test.register]
			want := position(test.register, test.event)
			if f.Verdict != Differs || f.Position == nil || *f.Position != want || !slices.Contains(f.Inputs, test.input) {
				t.Errorf("finding %+v, want event %d moved by %s", f, want, test.input)
			}
			if !strings.Contains(f.Expected, test.event) || !strings.Contains(f.Why, string(test.input)) {
				t.Errorf("expected %q, why %q", f.Expected, f.Why)
			}
			blind := diff(t, p, nil, quoted(seen))[test.register]
			if blind.Verdict != Differs || blind.Position != nil || !slices.Contains(blind.Inputs, test.input) {
				t.Errorf("without a log: %+v", blind)
			}
		})
	}
}

func TestMissingAddedAndUnloggedEventsAreTold(t *testing.T) {
	t.Parallel()
	p := newSubject(t).predict(t)
	two := p.Of(tdx.RTMR2)
	short, long, swapped := logged(p), logged(p), logged(p)
	short.Events = short.Events[:len(short.Events)-1]
	extra := event(tdx.RTMR2, eventlog.IPL, "x", []byte("x"))
	long.Events = append(long.Events, logEvent(extra))
	first := slices.IndexFunc(swapped.Events, func(e eventlog.Event) bool { return e.Index == uint32(tdx.RTMR1) })
	swapped.Events[first], swapped.Events[first+1] = swapped.Events[first+1], swapped.Events[first]
	late := quoted(p)
	late.RTMR[2] = late.RTMR[2].Extend(extra.Digest)
	wrongFirmware := quoted(p)
	wrongFirmware.MRTD[0] ^= 1
	for name, test := range map[string]struct {
		log      *eventlog.Log
		quote    *tdx.Measurements
		register tdx.Register
		at       int
		says     string
	}{
		"log too short":  {short, nil, tdx.RTMR2, len(two) - 1, "log ends before"},
		"log too long":   {long, nil, tdx.RTMR2, len(two), "behind the last predicted"},
		"other order":    {swapped, nil, tdx.RTMR1, 0, "another kind of event"},
		"after the log":  {logged(p), late, tdx.RTMR2, len(two), "extended behind the log"},
		"other firmware": {logged(p), wrongFirmware, tdx.MRTD, -1, "another firmware"},
	} {
		f := diff(t, p, test.log, test.quote)[test.register]
		if f.Verdict != Differs || !strings.Contains(f.Why, test.says) {
			t.Errorf("%s: %+v", name, f)
		}
		if test.at >= 0 && (f.Position == nil || *f.Position != test.at) {
			t.Errorf("%s: position %v, want %d", name, f.Position, test.at)
		}
	}
}

func TestAConstantEventThatDiffersBlamesTheFirmwareGeneration(t *testing.T) {
	t.Parallel()
	p := newSubject(t).predict(t)
	log := logged(p)
	i := slices.IndexFunc(log.Events, func(e eventlog.Event) bool { return e.Type == eventlog.EFIAction })
	log.Events[i].Digests[0].Value[0] ^= 1
	if f := diff(t, p, log, nil)[tdx.RTMR1]; !strings.Contains(f.Why, "constant event") || len(f.Inputs) != 0 {
		t.Errorf("finding %+v", f)
	}
}

func TestAllowedVariantsAreNamed(t *testing.T) {
	t.Parallel()
	s := newSubject(t)
	s.machine, s.img.Form, s.img.partitions = testMachine(t, "test-disk"), BootDisk, []byte("table")
	p := s.predict(t)
	retry := &Prediction{MRTD: p.MRTD, Events: slices.Concat(p.Of(tdx.RTMR0), p.Variants[0].Events, p.Of(tdx.RTMR2))}
	for name, f := range map[string]Finding{
		"quote":         diff(t, p, nil, quoted(retry))[tdx.RTMR1],
		"log":           diff(t, p, logged(retry), nil)[tdx.RTMR1],
		"log and quote": diff(t, p, logged(retry), quoted(retry))[tdx.RTMR1],
	} {
		if f.Verdict != Allowed || f.Variant != p.Variants[0].Name {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestTPMLogsAreComparedInRTMR1AndRTMR2(t *testing.T) {
	t.Parallel()
	raw := golden.Vector(t, "measure/tcglog/uki-kernel-q11.1-ovmf2026.08.bin.gz")
	log, err := eventlog.Parse(raw, eventlog.TPM)
	if err != nil {
		t.Fatal(err)
	}
	found := diff(t, newSubject(t).predict(t), log, nil)
	if found[tdx.RTMR0].Verdict != Unknown {
		t.Errorf("RTMR0 is %s", found[tdx.RTMR0].Verdict)
	}
	if f := found[tdx.RTMR1]; f.Verdict != Differs || *f.Position != 0 || !slices.Contains(f.Inputs, InputUKI) {
		t.Errorf("another UKI: %+v", f)
	}
}

func TestDiffNeedsEvidenceItCanRead(t *testing.T) {
	t.Parallel()
	p := newSubject(t).predict(t)
	if _, err := Diff(p, nil, nil); err == nil {
		t.Error("nothing is accepted as evidence")
	}
	if _, err := Diff(p, &eventlog.Log{Algorithms: []eventlog.Algorithm{eventlog.SHA1}}, nil); !errors.Is(err, eventlog.ErrNoBank) {
		t.Errorf("a SHA-1 log: %v", err)
	}
}
