package eventlog_test

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/google/go-eventlog/register"
	"github.com/google/go-eventlog/tcg"

	"cocoon/measure/eventlog"
	"cocoon/tests/golden"
)

// builder writes logs for tests.
type builder struct {
	algs  []eventlog.Algorithm
	sizes []int
}

func sha384() builder { return builder{[]eventlog.Algorithm{eventlog.SHA384}, []int{48}} }

func (b builder) header() []byte {
	le := binary.LittleEndian
	spec := append([]byte("Spec ID Event03\x00"), 0, 0, 0, 0, 0, 2, 0, 2)
	spec = le.AppendUint32(spec, uint32(len(b.algs)))
	for i, a := range b.algs {
		spec = le.AppendUint16(le.AppendUint16(spec, uint16(a)), uint16(b.sizes[i]))
	}
	spec = append(spec, 0)
	out := le.AppendUint32(le.AppendUint32(nil, 1), 3)
	out = le.AppendUint32(append(out, make([]byte, 20)...), uint32(len(spec)))
	return append(out, spec...)
}

func (b builder) event(index, kind uint32, data []byte) []byte {
	le := binary.LittleEndian
	out := le.AppendUint32(le.AppendUint32(nil, index), kind)
	out = le.AppendUint32(out, uint32(len(b.algs)))
	for i, a := range b.algs {
		out = append(le.AppendUint16(out, uint16(a)), bytes.Repeat([]byte{byte(index)}, b.sizes[i])...)
	}
	return append(le.AppendUint32(out, uint32(len(data))), data...)
}

func (b builder) log(events ...[]byte) []byte {
	return append(b.header(), bytes.Join(events, nil)...)
}

func TestEveryKindOfPaddingEndsTheLog(t *testing.T) {
	b := sha384()
	body := b.log(b.event(1, 4, []byte("data")), b.event(2, 5, nil))
	for name, padding := range map[string][]byte{
		"none": nil, "ones": bytes.Repeat([]byte{0xff}, 100), "zeroes": make([]byte, 100),
		"marker then anything": append([]byte{0xff, 0xff, 0xff, 0xff}, "rest"...),
		"three zeroes":         make([]byte, 3), "three ones": {0xff, 0xff, 0xff}, "seven zeroes": make([]byte, 7),
	} {
		t.Run(name, func(t *testing.T) {
			log := parse(t, append(bytes.Clone(body), padding...), eventlog.TD)
			if len(log.Events) != 2 || log.Size != len(body) {
				t.Errorf("%d events in %d bytes, want 2 in %d", len(log.Events), log.Size, len(body))
			}
			if e := log.Events[0]; string(e.Data) != "data" || e.Index != 1 || e.Type != eventlog.Separator {
				t.Errorf("first event is %+v", e)
			}
		})
	}
}

func TestMalformedLogsAreRejected(t *testing.T) {
	b := sha384()
	header := b.header()
	specAt := 32
	edit := func(off int, value byte) []byte {
		out := b.log(b.event(1, 4, nil))
		out[off] = value
		return out
	}
	twice := builder{[]eventlog.Algorithm{12, 12}, []int{48, 48}}
	tests := map[string]struct {
		data []byte
		want string
	}{
		"empty":                   {nil, "ends inside"},
		"not a crypto-agile log":  {edit(4, 4), "NO_ACTION"},
		"other signature":         {edit(specAt, 'X'), "Spec ID"},
		"header size":             {edit(28, 32), "first record"},
		"no algorithms":           {edit(specAt+24, 0), "0 algorithms"},
		"algorithm count":         {edit(specAt+24, 9), "9 algorithms"},
		"digest size":             {edit(specAt+30, 47), "47-byte"},
		"vendor size":             {edit(specAt+32, 1), "ends inside"},
		"algorithm twice":         {twice.header(), "announced twice"},
		"register of no TD":       {b.log(b.event(5, 4, nil)), "register index 5"},
		"digest count":            {edit(len(header)+8, 2), "2 digests"},
		"unannounced algorithm":   {edit(len(header)+12, 11), "not announced"},
		"data beyond the buffer":  {edit(len(header)+12+50, 200), "ends inside"},
		"huge data":               {edit(len(header)+12+53, 0xff), "ends inside"},
		"four bytes of a record":  {append(b.log(), 1, 0, 0, 0), "ends inside"},
		"three bytes of a record": {append(b.log(), 1, 0, 0), "ends inside"},
		"too large":               {make([]byte, 4<<20+1), "at most"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := eventlog.Parse(tc.data, eventlog.TD)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
	t.Run("digest twice in an event", func(t *testing.T) {
		two := builder{[]eventlog.Algorithm{11, 12}, []int{32, 48}}
		e := append(binary.LittleEndian.AppendUint32(nil, 1), 4, 0, 0, 0, 2, 0, 0, 0)
		for range 2 {
			e = append(append(e, 11, 0), make([]byte, 32)...)
		}
		_, err := eventlog.Parse(two.log(append(e, 0, 0, 0, 0)), eventlog.TD)
		if err == nil || !strings.Contains(err.Error(), "two SHA-256") {
			t.Errorf("got %v", err)
		}
	})
}

func TestStartupLocalityChangesPCR0(t *testing.T) {
	b := sha384()
	with := parse(t, b.log(b.event(0, 3, []byte("StartupLocality\x00\x03")), b.event(0, 8, []byte("v"))), eventlog.TPM)
	without := parse(t, b.log(b.event(0, 8, []byte("v"))), eventlog.TPM)
	one, err1 := with.Replay(eventlog.SHA384)
	two, err2 := without.Replay(eventlog.SHA384)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	if bytes.Equal(one[0], two[0]) {
		t.Error("PCR 0 does not depend on the startup locality")
	}
}

func TestMRTDIsNeverExtended(t *testing.T) {
	b := sha384()
	if _, err := parse(t, b.log(b.event(0, 4, []byte{1})), eventlog.TD).RTMRs(); err == nil {
		t.Error("a log that extends MRTD was replayed")
	}
	if _, err := parse(t, b.log(), eventlog.TPM).RTMRs(); err == nil {
		t.Error("a TPM log was replayed into RTMRs")
	}
}

func TestPCRsMapToRegisters(t *testing.T) {
	want := map[uint32]string{
		0: "MRTD", 1: "RTMR0", 2: "RTMR1", 6: "RTMR1", 7: "RTMR0", 8: "RTMR2", 15: "RTMR2", 16: "", 23: "",
	}
	for pcr, name := range want {
		r, err := eventlog.RegisterOf(pcr)
		if (err == nil) != (name != "") || err == nil && r.String() != name {
			t.Errorf("PCR %d maps to %s (%v), want %q", pcr, r, err, name)
		}
	}
}

func TestDescriptionsNameWhatTheEventClaims(t *testing.T) {
	variable := append(make([]byte, 16), 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 'd', 0, 'b', 0, 9)
	tests := map[string]struct {
		kind eventlog.EventType
		data string
		want string
	}{
		"separator":           {eventlog.Separator, "\x00\x00\x00\x00", "separator"},
		"error separator":     {eventlog.Separator, "\x01\x00\x00\x00", "separator 01000000"},
		"action":              {eventlog.EFIAction, "Exit Boot Services Invocation", "Exit Boot Services Invocation"},
		"fw_cfg":              {eventlog.PlatformConfigFlags, "QEMU FW CFG\x00etc/x\x00", "QEMU FW CFG etc/x"},
		"variable":            {eventlog.VariableDriverConfig, string(variable), "db (00000000-0000-0000-0000-000000000000), 1 bytes"},
		"malformed variable":  {eventlog.VariableBoot, "x", "malformed variable 78"},
		"kernel tag":          {eventlog.EventTag, "\xec\x22\x3b\x8f\x0d\x00\x00\x00Linux initrd\x00", "Linux initrd"},
		"agent tag":           {eventlog.EventTag, "\x4c\x45\x41\x41\x03\x00\x00\x00a b", "attestation agent: a b"},
		"other tag":           {eventlog.EventTag, "\x01\x00\x00\x00\x01\x00\x00\x00x", "tag 0x00000001: x"},
		"malformed tag":       {eventlog.EventTag, "\x01\x00\x00\x00\x09\x00\x00\x00x", "malformed tag 010000000900000078"},
		"wide IPL":            {eventlog.IPL, ".\x00l\x00i\x00n\x00u\x00x\x00\x00\x00", ".linux"},
		"GRUB command":        {eventlog.IPL, "grub_cmd: boot\x00", "grub_cmd: boot"},
		"escape sequence":     {eventlog.Action, "a\x1b[31m", "611b5b33316d"},
		"newline is escaped":  {eventlog.Action, "a\nb", `a\nb`},
		"blob description":    {eventlog.FirmwareBlob2, "\x03abc" + strings.Repeat("\x00", 16), "abc"},
		"no data":             {eventlog.Action, "", ""},
		"malformed image":     {eventlog.BootServicesApplication, "abc", "malformed image event 616263"},
		"malformed partition": {eventlog.GPTEvent, "abc", "malformed partition table 616263"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			e := eventlog.Event{Type: tc.kind, Data: []byte(tc.data)}
			if got := e.Describe(); got != tc.want {
				t.Errorf("reads %q, want %q", got, tc.want)
			}
		})
	}
	if got := eventlog.EventType(0x123).String(); got != "0x00000123" {
		t.Errorf("unknown type reads %q", got)
	}
}

func TestTableRules(t *testing.T) {
	good := golden.Vector(t, "attestation/ccel_table.dat")
	fix := func(off int, value byte) []byte { // keeps the checksum right
		out := bytes.Clone(good)
		out[9] += out[off] - value
		out[off] = value
		return out
	}
	if _, err := eventlog.ParseTable(fix(40, 1)); err != nil {
		t.Fatalf("the checksum repair is wrong: %v", err)
	}
	broken := bytes.Clone(good)
	broken[50] ^= 1
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"signature": {fix(0, 'X'), "signature"}, "length": {fix(4, 57), "length field"}, "type": {fix(36, 1), "TDX"},
		"reserved": {fix(38, 1), "reserved"}, "checksum": {broken, "checksum"}, "short": {good[:55], "want 56"},
		"trailing byte": {append(bytes.Clone(good), 0), "want 56"},
	} {
		if _, err := eventlog.ParseTable(tc.data); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, tc.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	b := sha384()
	two := builder{[]eventlog.Algorithm{4, 11, 12}, []int{20, 32, 48}}
	f.Add(b.header())
	f.Add(b.log(b.event(1, 4, make([]byte, 4)), b.event(2, 0x80000007, []byte("Calling EFI Application from Boot Option"))))
	f.Add(append(b.log(b.event(4, 6, []byte("LEAA\x01\x00\x00\x00x"))), 0xff, 0xff, 0xff, 0xff))
	f.Add(append(two.log(two.event(0, 3, []byte("StartupLocality\x00\x03")), two.event(9, 13, []byte("a\x00b\x00"))), 0, 0, 0))
	f.Add(two.log(two.event(7, 0x80000001, make([]byte, 32)), two.event(5, 0x80000006, make([]byte, 100))))
	f.Add(b.log(b.event(1, 0x8000000b, append([]byte("td_hob\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00"), 1, 2))))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, kind := range []eventlog.Kind{eventlog.TD, eventlog.TPM} {
			log, err := eventlog.Parse(data, kind)
			if err != nil {
				continue
			}
			if log.Size > len(data) {
				t.Errorf("log of %d bytes in a buffer of %d", log.Size, len(data))
			}
			for i := range log.Events {
				if text := log.Events[i].Describe(); strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
					t.Errorf("description %q is not printable", text)
				}
			}
			log.Recompute()
			ours, ourErr := log.Replay(eventlog.SHA384)
			if ourErr == nil {
				agree(t, data[:log.Size], ours)
			}
			if kind == eventlog.TPM {
				if view, err := log.TDView(); err != nil || view.Kind != eventlog.TD {
					t.Errorf("no TD view: %v", err)
				}
			}
		}
	})
}

// agree lets the oracle replay the log against our registers, where it can read the log too.
func agree(t *testing.T, data []byte, registers map[uint32][]byte) {
	t.Helper()
	oracle, err := tcg.ParseEventLog(data, tcg.ParseOpts{})
	if err != nil {
		return
	}
	var mrs []register.MR
	for index := range uint32(24) {
		if value, ok := registers[index]; ok {
			mrs = append(mrs, mr{int(index), value})
		}
	}
	if _, err := oracle.Verify(mrs); err != nil {
		t.Errorf("oracle refuses our registers: %v", err)
	}
}

func FuzzParseTable(f *testing.F) {
	table := make([]byte, 56)
	copy(table, "CCEL8\x00\x00\x00\x01")
	table[4], table[36] = 56, 2
	table[4+4] = 1
	var sum byte
	for _, b := range table {
		sum += b
	}
	table[9] -= sum
	f.Add(table)
	f.Add(table[:36])
	f.Add([]byte("CCEL"))
	f.Add(append(bytes.Clone(table), 0))
	f.Add(bytes.Repeat([]byte{0xff}, 56))
	f.Fuzz(func(t *testing.T, data []byte) {
		parsed, err := eventlog.ParseTable(data)
		if err != nil {
			return
		}
		if len(data) != 56 || parsed.LogLength != binary.LittleEndian.Uint64(data[40:]) {
			t.Errorf("accepted %x as %+v", data, parsed)
		}
	})
}
