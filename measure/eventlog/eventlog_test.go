package eventlog_test

import (
	"bytes"
	"crypto"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-eventlog/register"
	"github.com/google/go-eventlog/tcg"

	"cocoon/measure/eventlog"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

// mr presents a replayed register to the oracle.
type mr struct {
	index  int
	digest []byte
}

func (m mr) Idx() int             { return m.index }
func (m mr) Dgst() []byte         { return m.digest }
func (m mr) DgstAlg() crypto.Hash { return crypto.SHA384 }

var _ register.MR = mr{}

// oracleAgrees replays raw with the other implementation against our values.
func oracleAgrees(t *testing.T, raw []byte, log *eventlog.Log) {
	t.Helper()
	registers, err := log.Replay(eventlog.SHA384)
	if err != nil {
		t.Fatal(err)
	}
	var mrs []register.MR
	extended := 0
	for index := range uint32(24) {
		if value, ok := registers[index]; ok {
			mrs = append(mrs, mr{int(index), value})
			extended += len(log.Register(index))
		}
	}
	events, err := tcg.ParseAndReplay(raw, mrs, tcg.ParseOpts{AllowPadding: true})
	if err != nil {
		t.Fatalf("oracle refuses our registers: %v", err)
	}
	if len(events) < extended {
		t.Errorf("oracle replayed %d events, we %d", len(events), extended)
	}
}

func TestTPMLogsReplayToTheirPCRs(t *testing.T) {
	for _, v := range logVectors(t) {
		t.Run(v.File, func(t *testing.T) {
			raw := golden.Vector(t, "measure/"+v.File)
			log := parse(t, raw, eventlog.TPM)
			registers, err := log.Replay(eventlog.SHA384)
			if err != nil {
				t.Fatal(err)
			}
			for pcr, want := range v.PCRs {
				if !bytes.Equal(registers[pcr], want[:]) {
					t.Errorf("PCR %d is %x, want %s", pcr, registers[pcr], want)
				}
			}
			if len(v.PCRs) < 5 {
				t.Errorf("only %d PCRs in the vector", len(v.PCRs))
			}
			if got := len(log.Events); got != v.Events && got+1 != v.Events {
				t.Errorf("%d events, want %d", got, v.Events)
			}
			if bad := log.Recompute(); len(bad) != 0 {
				t.Errorf("digests that do not follow from their data: %+v", bad)
			}
			oracleAgrees(t, raw, log)
		})
	}
}

func TestTDViewMatchesVectors(t *testing.T) {
	for _, v := range logVectors(t) {
		t.Run(v.File, func(t *testing.T) {
			view, err := parse(t, golden.Vector(t, "measure/"+v.File), eventlog.TPM).TDView()
			if err != nil {
				t.Fatal(err)
			}
			rtmrs, err := view.RTMRs()
			if err != nil {
				t.Fatal(err)
			}
			if rtmrs[1] != v.View.RTMR1 || rtmrs[2] != v.View.RTMR2 {
				t.Errorf("RTMR1 %s, want %s; RTMR2 %s, want %s", rtmrs[1], v.View.RTMR1, rtmrs[2], v.View.RTMR2)
			}
			for register, want := range map[tdx.Register][]viewEvent{tdx.RTMR1: v.View.Events1, tdx.RTMR2: v.View.Events2} {
				got := view.Register(uint32(register))
				if len(got) != len(want) {
					t.Errorf("%s has %d events, want %d", register, len(got), len(want))
					continue
				}
				for i, w := range want {
					e := got[i]
					if e.Type.String() != w.Type || !bytes.Equal(e.Digest(eventlog.SHA384), w.SHA384[:]) {
						t.Errorf("%s event %d is %s %x, want %s %s", register, i, e.Type, e.Digest(eventlog.SHA384), w.Type, w.SHA384)
					}
					if w.Text != "" && !strings.Contains(e.Describe(), strings.TrimRight(w.Text, "\x00")) {
						t.Errorf("%s event %d reads %q, want %q", register, i, e.Describe(), w.Text)
					}
				}
			}
			if _, err := view.TDView(); err == nil {
				t.Error("a TD log was viewed as a TPM's")
			}
		})
	}
}

func TestHardwareLogMatchesItsQuote(t *testing.T) {
	table, err := eventlog.ParseTable(golden.Vector(t, "attestation/ccel_table.dat"))
	if err != nil {
		t.Fatal(err)
	}
	raw := golden.Vector(t, "attestation/ccel_data.dat.gz")
	if table.LogLength != uint64(len(raw)) || table.LogAddress == 0 {
		t.Errorf("table announces %d bytes at %#x, the log buffer has %d", table.LogLength, table.LogAddress, len(raw))
	}
	log, body := hardwareLog(t)
	if len(log.Events) != 43 || log.Size != 18101 {
		t.Errorf("%d events in %d bytes, want 43 in 18101", len(log.Events), log.Size)
	}
	results, err := log.Compare(body.RTMR)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{16, 7, 20, 0} {
		if r := results[i]; !r.OK() || r.Events != want || r.Matched != want {
			t.Errorf("%s, want %d events", r, want)
		}
	}
	if bad := log.Recompute(); len(bad) != 0 {
		t.Errorf("digests that do not follow from their data: %+v", bad)
	}
	oracleAgrees(t, raw, log)
}

// Every single-event change shows in exactly the register it belongs to.
func TestCompareNamesTheRegisterThatDiffers(t *testing.T) {
	log, body := hardwareLog(t)
	check := func(t *testing.T, changed *eventlog.Log, register tdx.Register, matched int, text string) {
		t.Helper()
		results, err := changed.Compare(body.RTMR)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.OK() == (r.Register == register) {
				t.Errorf("%s: ok is %t", r, r.OK())
			}
			if r.Register == register && (r.Matched != matched || !strings.Contains(r.String(), text)) {
				t.Errorf("%q with %d matched, want %q and %d", r, r.Matched, text, matched)
			}
		}
	}
	t.Run("log is shorter than what was extended", func(t *testing.T) {
		short := *log
		short.Events = log.Events[:len(log.Events)-1]
		last := tdx.Register(log.Events[len(log.Events)-1].Index)
		check(t, &short, last, -1, "differs after the last event")
	})
	t.Run("log is longer", func(t *testing.T) {
		long := *log
		extra := *log.Register(uint32(tdx.RTMR2))[0]
		long.Events = append(append([]eventlog.Event(nil), log.Events...), extra)
		check(t, &long, tdx.RTMR2, 20, "after event 20 of 21")
	})
	t.Run("every event once", func(t *testing.T) {
		for i := range log.Events {
			if log.Events[i].Type == eventlog.NoAction {
				continue
			}
			changed := *log
			changed.Events = append([]eventlog.Event(nil), log.Events...)
			e := &changed.Events[i]
			value := bytes.Clone(e.Digest(eventlog.SHA384))
			value[0] ^= 1
			e.Digests = []eventlog.Digest{{Algorithm: eventlog.SHA384, Value: value}}
			check(t, &changed, tdx.Register(e.Index), -1, "differs")
			differences, err := eventlog.Diff(log, &changed)
			if err != nil || len(differences) != 1 || differences[0].B != e {
				t.Errorf("event %d: diff is %v (%v)", i, differences, err)
			}
		}
	})
}

func TestDiffNamesTheFirstDifference(t *testing.T) {
	read := func(name string) *eventlog.Log {
		return parse(t, golden.Vector(t, "measure/tcglog/"+name+".bin.gz"), eventlog.TPM)
	}
	plain, appended := read("uki-kernel-q11.1-ovmf2026.08"), read("uki-kernel-append-q11.1-ovmf2026.08")
	if d, err := eventlog.Diff(plain, plain); err != nil || len(d) != 0 {
		t.Errorf("a log differs from itself: %v (%v)", d, err)
	}
	differences, err := eventlog.Diff(plain, appended)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[uint32]bool)
	for _, d := range differences {
		if seen[d.Index] {
			t.Errorf("register %d is reported twice", d.Index)
		}
		seen[d.Index] = true
		if d.String() == "" {
			t.Error("a difference has no text")
		}
	}
	// The host's command line replaces the image's: the boot stub's PCRs differ, the image's PCR does not.
	if !seen[9] || !seen[12] || seen[4] {
		t.Errorf("differing registers are %v, want 9 and 12 and not 4", seen)
	}
	patched, clean := read("kernel-initrd-q7.2-ovmf2026.08"), read("kernel-initrd-q10.0-ovmf2026.08")
	differences, err = eventlog.Diff(patched, clean)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		if d.Index == 4 && d.A.Type != eventlog.BootServicesApplication {
			t.Errorf("PCR 4 differs first in %s, want the kernel", d)
		}
	}
	hardware, _ := hardwareLog(t)
	if _, err := eventlog.Diff(hardware, plain); err == nil {
		t.Error("a TD's log was compared with a TPM's")
	}
}

func TestAlteredDataIsFlagged(t *testing.T) {
	log, _ := hardwareLog(t)
	flagged := 0
	for i := range log.Events {
		e := log.Events[i]
		if _, known, _ := e.Measured(); !known || len(e.Data) == 0 {
			continue
		}
		changed := *log
		changed.Events = append([]eventlog.Event(nil), log.Events...)
		changed.Events[i].Data = bytes.Clone(e.Data)
		changed.Events[i].Data[len(e.Data)-1] ^= 1
		bad := changed.Recompute()
		if len(bad) != 1 || bad[0].Event != i || bad[0].Reason == "" {
			t.Errorf("event %d (%s): flagged %+v", i, e.Type, bad)
		}
		flagged++
	}
	if flagged < 10 {
		t.Errorf("only %d events of the log can be recomputed", flagged)
	}
}

func TestLogsWithoutSHA384SaySo(t *testing.T) {
	for name, alg := range map[string]struct {
		id   byte
		size int
	}{"SHA-256": {0x0b, 32}, "SHA-512": {0x0d, 64}, "SM3": {0x12, 32}} {
		t.Run(name, func(t *testing.T) {
			b := builder{algs: []eventlog.Algorithm{eventlog.Algorithm(alg.id)}, sizes: []int{alg.size}}
			log := parse(t, b.log(b.event(1, 4, []byte{0, 0, 0, 0})), eventlog.TD)
			if _, err := log.RTMRs(); !errors.Is(err, eventlog.ErrNoBank) || !strings.Contains(err.Error(), name) {
				t.Errorf("got %v, want an error that names the bank", err)
			}
			_, err := log.Replay(log.Algorithms[0])
			if (err == nil) != (name != "SM3") {
				t.Errorf("replay of %s: %v", name, err)
			}
		})
	}
}
