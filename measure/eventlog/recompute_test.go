package eventlog_test

import (
	"bytes"
	"crypto/sha512"
	"encoding/binary"
	"strings"
	"testing"

	"cocoon/measure/eventlog"
)

// digestOf is an event whose only digest is SHA-384 of measured.
func digestOf(kind eventlog.EventType, data, measured string) eventlog.Event {
	sum := sha512.Sum384([]byte(measured))
	return eventlog.Event{
		Index: 1, Type: kind, Data: []byte(data),
		Digests: []eventlog.Digest{{Algorithm: eventlog.SHA384, Value: sum[:]}},
	}
}

func variableData(name, data string) string {
	le := binary.LittleEndian
	out := make([]byte, 16)
	out = le.AppendUint64(le.AppendUint64(out, uint64(len(name))), uint64(len(data)))
	for _, c := range name {
		out = le.AppendUint16(out, uint16(c))
	}
	return string(out) + data
}

func TestRecomputeKnowsWhatADigestCovers(t *testing.T) {
	shim := func(name, info string) string {
		head := make([]byte, 16)
		copy(head, name)
		return string(binary.LittleEndian.AppendUint32(head, uint32(len(info)))) + info
	}
	// Tag 0x4141454c, little-endian.
	agent := "LEAA\x03\x00\x00\x00a b"
	tests := map[string]struct {
		event eventlog.Event
		bad   int
	}{
		"separator":               {digestOf(eventlog.Separator, "\x00\x00\x00\x00", "\x00\x00\x00\x00"), 0},
		"separator of other data": {digestOf(eventlog.Separator, "\x00\x00\x00\x00", "\x01"), 1},
		"variable is whole":       {digestOf(eventlog.VariableDriverConfig, variableData("db", "x"), variableData("db", "x")), 0},
		"boot variable is data":   {digestOf(eventlog.VariableBoot, variableData("Boot0000", "x"), "x"), 0},
		"boot variable is whole":  {digestOf(eventlog.VariableBoot, variableData("Boot0000", "x"), variableData("Boot0000", "x")), 1},
		"boot variable malformed": {digestOf(eventlog.VariableBoot, "x", "x"), 1},
		"td-shim HOB":             {digestOf(eventlog.HandoffTables2, shim("td_hob", "hob"), "hob"), 0},
		"td-shim payload altered": {digestOf(eventlog.PlatformConfigFlags, shim("td_payload_info", "inf"), "info"), 1},
		"other hand-off table":    {digestOf(eventlog.HandoffTables2, shim("table", "hob"), "?"), 0},
		"agent entry":             {digestOf(eventlog.EventTag, agent, agent), 0},
		"agent entry altered":     {digestOf(eventlog.EventTag, agent, "a b"), 1},
		"kernel tag":              {digestOf(eventlog.EventTag, "\xec\x22\x3b\x8f\x00\x00\x00\x00", "the initrd"), 0},
		"image":                   {digestOf(eventlog.BootServicesApplication, "path", "the image"), 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			log := eventlog.Log{Algorithms: []eventlog.Algorithm{eventlog.SHA384}, Events: []eventlog.Event{tc.event}}
			if bad := log.Recompute(); len(bad) != tc.bad {
				t.Errorf("flagged %+v, want %d", bad, tc.bad)
			}
		})
	}
}

func TestVariablesFillTheirEventExactly(t *testing.T) {
	good := []byte(variableData("Boot0001", "data"))
	v, err := eventlog.ParseVariable(good)
	if err != nil || v.Name != "Boot0001" || string(v.Data) != "data" {
		t.Fatalf("%+v (%v)", v, err)
	}
	for n := range good {
		if _, err := eventlog.ParseVariable(good[:n]); err == nil {
			t.Errorf("%d of %d bytes were accepted", n, len(good))
		}
	}
	if _, err := eventlog.ParseVariable(append(bytes.Clone(good), 0)); err == nil {
		t.Error("a trailing byte was accepted")
	}
	huge := bytes.Clone(good)
	for i := 16; i < 24; i++ {
		huge[i] = 0xff
	}
	if _, err := eventlog.ParseVariable(huge); err == nil {
		t.Error("a name of 2^64 characters was accepted")
	}
}

// Every event of a real log has a type name and a readable description, and known landmarks are found in it.
func TestHardwareLogIsReadable(t *testing.T) {
	log, _ := hardwareLog(t)
	var all strings.Builder
	for i := range log.Events {
		e := &log.Events[i]
		if strings.HasPrefix(e.Type.String(), "0x") {
			t.Errorf("event %d has no type name: %s", i, e.Type)
		}
		text := e.Describe()
		if text == "" || strings.HasPrefix(text, "malformed") {
			t.Errorf("event %d (%s) reads %q", i, e.Type, text)
		}
		all.WriteString(e.Type.String() + " " + text + "\n")
	}
	for _, want := range []string{
		"SEPARATOR separator", "SecureBoot (global), 1 bytes", "dbx (image security)", "BootOrder (global)",
		"EFI_GPT_EVENT partition table with", "EFI_ACTION Exit Boot Services Returned with Success", `IPL grub_cmd: `,
	} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("no event reads %q", want)
		}
	}
	if t.Failed() {
		t.Log(all.String())
	}
}

func TestImageEventsNameTheirFile(t *testing.T) {
	le := binary.LittleEndian
	node := func(kind, sub byte, data string) []byte {
		return append(le.AppendUint16([]byte{kind, sub}, uint16(len(data)+4)), data...)
	}
	image := func(path []byte) []byte {
		head := le.AppendUint64(le.AppendUint64(nil, 0x1000), 777)
		return append(le.AppendUint64(le.AppendUint64(head, 0), uint64(len(path))), path...)
	}
	file := node(4, 4, "\\\x00E\x00F\x00I\x00\x00\x00")
	for name, tc := range map[string]struct {
		path []byte
		want string
	}{
		"file":             {append(node(1, 1, "pci"), append(file, node(0x7f, 0xff, "")...)...), `image of 777 bytes, \\EFI`},
		"no file":          {node(0x7f, 0xff, ""), "image of 777 bytes"},
		"no path":          {nil, "image of 777 bytes"},
		"node too short":   {[]byte{1, 1, 3, 0, 0}, "image of 777 bytes"},
		"node beyond data": {[]byte{4, 4, 0xff, 0xff, 0}, "image of 777 bytes"},
	} {
		e := eventlog.Event{Type: eventlog.BootServicesApplication, Data: image(tc.path)}
		if got := e.Describe(); got != tc.want {
			t.Errorf("%s reads %q, want %q", name, got, tc.want)
		}
	}
}

func TestDiffReportsWhereOneLogEnds(t *testing.T) {
	b := sha384()
	long := parse(t, b.log(b.event(1, 4, nil), b.event(2, 5, []byte("x")), b.event(1, 6, nil)), eventlog.TD)
	short := parse(t, b.log(b.event(1, 4, nil), b.event(2, 5, []byte("y"))), eventlog.TD)
	d, err := eventlog.Diff(long, short)
	if err != nil {
		t.Fatal(err)
	}
	// Register 2's data differs but its digest does not: data is only a claim.
	if len(d) != 1 || d[0].Index != 1 || d[0].Position != 1 || d[0].A == nil || d[0].B != nil {
		t.Fatalf("differences are %v", d)
	}
	if !strings.Contains(d[0].String(), "end of log") {
		t.Errorf("difference reads %q", d[0])
	}
	other := builder{[]eventlog.Algorithm{eventlog.SHA256}, []int{32}}
	if _, err := eventlog.Diff(long, parse(t, other.log(), eventlog.TD)); err == nil {
		t.Error("logs without a common bank were compared")
	}
}
