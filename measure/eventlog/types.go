package eventlog

import (
	"fmt"
	"strconv"
)

// EventType is a TCG event type (TCG PC Client Platform Firmware Profile, table "Events").
type EventType uint32

// Event types with a meaning in this package.
const (
	NoAction            EventType = 0x03
	Separator           EventType = 0x04
	Action              EventType = 0x05
	EventTag            EventType = 0x06
	PlatformConfigFlags EventType = 0x0a
	IPL                 EventType = 0x0d

	VariableDriverConfig    EventType = 0x80000001
	VariableBoot            EventType = 0x80000002
	BootServicesApplication EventType = 0x80000003
	BootServicesDriver      EventType = 0x80000004
	RuntimeServicesDriver   EventType = 0x80000005
	GPTEvent                EventType = 0x80000006
	EFIAction               EventType = 0x80000007
	HandoffTables           EventType = 0x80000009
	FirmwareBlob2           EventType = 0x8000000a
	HandoffTables2          EventType = 0x8000000b
	VariableBoot2           EventType = 0x8000000c
	VariableAuthority       EventType = 0x800000e0
)

// String is the specification's name without the prefix EV_.
func (t EventType) String() string {
	if name, ok := eventNames()[t]; ok {
		return name
	}
	return fmt.Sprintf("0x%08x", uint32(t))
}

// MarshalText makes event types their names in JSON.
func (t EventType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (t *EventType) UnmarshalText(text []byte) error {
	for kind, name := range eventNames() {
		if name == string(text) {
			*t = kind
			return nil
		}
	}
	number, err := strconv.ParseUint(string(text), 0, 32)
	if err != nil {
		return fmt.Errorf("event type %q is neither a name nor a number", text)
	}
	*t = EventType(number)
	return nil
}

func eventNames() map[EventType]string {
	return map[EventType]string{
		0x01: "POST_CODE", NoAction: "NO_ACTION", Separator: "SEPARATOR", Action: "ACTION", EventTag: "EVENT_TAG",
		0x07: "S_CRTM_CONTENTS", 0x08: "S_CRTM_VERSION", 0x09: "CPU_MICROCODE",
		PlatformConfigFlags: "PLATFORM_CONFIG_FLAGS", 0x0b: "TABLE_OF_DEVICES", 0x0c: "COMPACT_HASH", IPL: "IPL",
		0x0e: "IPL_PARTITION_DATA", 0x0f: "NONHOST_CODE", 0x10: "NONHOST_CONFIG", 0x11: "NONHOST_INFO",
		VariableDriverConfig: "EFI_VARIABLE_DRIVER_CONFIG", VariableBoot: "EFI_VARIABLE_BOOT",
		BootServicesApplication: "EFI_BOOT_SERVICES_APPLICATION", BootServicesDriver: "EFI_BOOT_SERVICES_DRIVER",
		RuntimeServicesDriver: "EFI_RUNTIME_SERVICES_DRIVER", GPTEvent: "EFI_GPT_EVENT", EFIAction: "EFI_ACTION",
		0x80000008: "EFI_PLATFORM_FIRMWARE_BLOB", HandoffTables: "EFI_HANDOFF_TABLES",
		FirmwareBlob2: "EFI_PLATFORM_FIRMWARE_BLOB2", HandoffTables2: "EFI_HANDOFF_TABLES2",
		VariableBoot2: "EFI_VARIABLE_BOOT2", VariableAuthority: "EFI_VARIABLE_AUTHORITY",
		0x800000e1: "EFI_SPDM_FIRMWARE_BLOB",
	}
}

// Kind says which registers the indexes of a log name.
type Kind uint8

const (
	// TD logs come from a CCEL: index 1..4 is RTMR0..RTMR3.
	TD Kind = iota
	// TPM logs: the index is a PCR.
	TPM
)

// maxIndex is the last register of a kind.
func (k Kind) maxIndex() uint32 {
	if k == TD {
		return 4 // RTMR3
	}
	return 23 // TCG PC Client Platform TPM Profile: PCR 0..23
}

// Event is one record of a log.
type Event struct {
	// Index is the MR index of a TD log or the PCR of a TPM log.
	Index uint32
	Type  EventType
	// Digests holds one digest per algorithm, in log order.
	Digests []Digest
	// Data is what the log keeps of the measured thing; it may be the thing, a part of it, or only its name.
	Data []byte
	// Offset is where the record starts in the log.
	Offset int
}

// Digest is one bank's digest of an event.
type Digest struct {
	Algorithm Algorithm
	Value     []byte
}

// Digest returns the event's digest in one bank, nil when it has none.
func (e *Event) Digest(a Algorithm) []byte {
	for _, d := range e.Digests {
		if d.Algorithm == a {
			return d.Value
		}
	}
	return nil
}

// Log is a parsed log.
type Log struct {
	Kind Kind
	// Algorithms lists the banks, as the first record announces them.
	Algorithms []Algorithm
	// Events lists the records after the first.
	Events []Event
	// Size is where the last record ends; what follows in the buffer is padding.
	Size int
}
