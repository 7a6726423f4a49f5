package measuretest

import (
	"encoding/binary"
	"fmt"

	"cocoon/measure/eventlog"
	"cocoon/measure/tdx"
)

// Event log layout: a first record in the old format, then crypto-agile ones (measure.md section 6).
const (
	specSignature = "Spec ID Event03\x00"
	oldDigestSize = 20
	// logSize is what OVMF reserves; the log in it is followed by unused bytes.
	logSize   = 64 << 10
	unused    = 0xff
	tableSize = 56
	ccTypeTDX = 2
	// logAddress is where the firmware put the log; nobody can look there.
	logAddress  = 0x7fe00000
	offChecksum = 9
)

// EventLog is the buffer that the firmware left: one SHA-384 record per launch event. What was extended later is not
// in it, as with real kernels.
func (t *TD) EventLog() ([]byte, error) {
	log, err := encodeLog(t.opts.Events)
	if err != nil {
		return nil, fmt.Errorf("writing simulated event log: %w", err)
	}
	return log, nil
}

func encodeLog(events []Event) ([]byte, error) {
	le := binary.LittleEndian
	spec := []byte(specSignature)
	spec = append(spec, 0, 0, 0, 0, 0, 2, 0, 2) // class, minor 0, major 2, errata, 64-bit integers
	spec = le.AppendUint32(spec, 1)
	spec = le.AppendUint16(spec, uint16(eventlog.SHA384))
	spec = le.AppendUint16(spec, tdx.DigestSize)
	spec = append(spec, 0) // no vendor information

	out := le.AppendUint32(nil, uint32(tdx.RTMR0))
	out = le.AppendUint32(out, uint32(eventlog.NoAction))
	out = append(out, make([]byte, oldDigestSize)...)
	out = le.AppendUint32(out, uint32(len(spec))) //nolint:gosec // 33
	out = append(out, spec...)
	for _, e := range events {
		out = le.AppendUint32(out, uint32(e.Register))
		out = le.AppendUint32(out, uint32(e.Type))
		out = le.AppendUint32(out, 1)
		out = le.AppendUint16(out, uint16(eventlog.SHA384))
		out = append(out, e.Digest[:]...)
		out = le.AppendUint32(out, uint32(len(e.Data))) //nolint:gosec // checked below: the whole fits logSize
		out = append(out, e.Data...)
	}
	if len(out) > logSize {
		return nil, fmt.Errorf("%d bytes of events, the buffer has %d", len(out), logSize)
	}
	for len(out) < logSize {
		out = append(out, unused)
	}
	return out, nil
}

// CCELTable is the ACPI table that announces the event log.
func (t *TD) CCELTable() []byte {
	b := make([]byte, tableSize)
	le := binary.LittleEndian
	copy(b, "CCEL")
	le.PutUint32(b[4:], tableSize)
	b[8] = 1 // revision
	copy(b[10:], "COCOONSIMULATD")
	b[36] = ccTypeTDX
	le.PutUint64(b[40:], logSize)
	le.PutUint64(b[48:], logAddress)
	var sum byte
	for _, v := range b {
		sum += v
	}
	b[offChecksum] = -sum
	return b
}
