package eventlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Mismatch is an event whose digest does not follow from its data although the event's type says it must.
type Mismatch struct {
	// Event is the position in Log.Events.
	Event     int
	Algorithm Algorithm
	Reason    string
}

// Recompute checks every digest that can be computed from an event's data. Logs hold only a name or a summary of most
// measured things, so events of other types are not checked: an empty result does not make a log true.
func (l *Log) Recompute() []Mismatch {
	var out []Mismatch
	for i := range l.Events {
		e := &l.Events[i]
		measured, known, err := e.Measured()
		if !known {
			continue
		}
		for _, d := range e.Digests {
			if err != nil {
				out = append(out, Mismatch{i, d.Algorithm, err.Error()})
				continue
			}
			if want, ok := d.Algorithm.sum(measured); ok && !bytes.Equal(want, d.Value) {
				out = append(out, Mismatch{i, d.Algorithm, fmt.Sprintf("digest %x, its data hashes to %x", d.Value, want)})
			}
		}
	}
	return out
}

// Measured returns the part of an event's data that its digest covers (measure.md section 6, rules checked on real
// logs). Known is false for types whose log entry does not hold the measured bytes; err says that the data does not
// have the form its type demands.
func (e *Event) Measured() (data []byte, known bool, err error) {
	switch e.Type {
	case Separator, EFIAction, GPTEvent, VariableDriverConfig, VariableAuthority:
		return e.Data, true, nil
	case VariableBoot:
		v, err := ParseVariable(e.Data)
		return v.Data, true, err
	case EventTag:
		// Attestation agent entries are measured whole; the kernel stub's tags name something else.
		if len(e.Data) >= 4 && binary.LittleEndian.Uint32(e.Data) == tagAAEL {
			return e.Data, true, nil
		}
	case PlatformConfigFlags, HandoffTables2:
		if info, ok := shimInfo(e.Data); ok {
			return info, true, nil
		}
	default: // the log holds a name or a summary, not the measured bytes
	}
	return nil, false, nil
}

// td-shim writes a 16-byte name, u32 length and the measured bytes.
const (
	shimNameSize   = 16
	shimHeaderSize = shimNameSize + 4
	shimHOB        = "td_hob"
	shimPayload    = "td_payload_info"
)

func shimInfo(data []byte) ([]byte, bool) {
	if len(data) < shimHeaderSize {
		return nil, false
	}
	name := string(bytes.TrimRight(data[:shimNameSize], "\x00"))
	length := binary.LittleEndian.Uint32(data[shimNameSize:])
	if name != shimHOB && name != shimPayload || int64(length) != int64(len(data)-shimHeaderSize) {
		return nil, false
	}
	return data[shimHeaderSize:], true
}

// Variable is a UEFI_VARIABLE_DATA structure, the data of variable events.
type Variable struct {
	// GUID is the vendor GUID as it lies in the log.
	GUID [16]byte
	// Name is the variable's name, Data its content.
	Name string
	Data []byte
}

const variableHeader = 16 + 8 + 8 // GUID, u64 name length in characters, u64 data length

// ParseVariable reads a UEFI_VARIABLE_DATA; it fills the input exactly.
func ParseVariable(data []byte) (Variable, error) {
	if len(data) < variableHeader {
		return Variable{}, errors.New("reading variable event: shorter than its header")
	}
	chars, length := binary.LittleEndian.Uint64(data[16:]), binary.LittleEndian.Uint64(data[24:])
	rest := uint64(len(data) - variableHeader) //nolint:gosec // not negative, as just checked
	if chars > rest/2 || length != rest-2*chars {
		return Variable{}, fmt.Errorf("reading variable event: %d characters and %d bytes in %d bytes", chars, length, rest)
	}
	name := data[variableHeader : variableHeader+2*chars]
	return Variable{GUID: [16]byte(data), Name: decodeUTF16(name), Data: data[variableHeader+2*chars:]}, nil
}
