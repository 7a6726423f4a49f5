package launch

import (
	"fmt"

	"cocoon/measure/tdx"
)

// EventType is a TCG event type (TCG PC Client Platform Firmware Profile, section 10.4.1).
type EventType uint32

// The event types that a TD of ours logs.
const (
	EvSeparator       EventType = 0x4
	EvEventTag        EventType = 0x6
	EvConfigFlags     EventType = 0xa
	EvIPL             EventType = 0xd
	EvVariableConfig  EventType = 0x80000001
	EvVariableBoot    EventType = 0x80000002
	EvBootApplication EventType = 0x80000003
	EvGPT             EventType = 0x80000006
	EvAction          EventType = 0x80000007
	EvHandoffTables   EventType = 0x80000009
	EvFirmwareBlob2   EventType = 0x8000000a
	EvHandoffTables2  EventType = 0x8000000b
)

// String is the specification's name.
func (t EventType) String() string {
	switch t {
	case EvSeparator:
		return "EV_SEPARATOR"
	case EvEventTag:
		return "EV_EVENT_TAG"
	case EvConfigFlags:
		return "EV_PLATFORM_CONFIG_FLAGS"
	case EvIPL:
		return "EV_IPL"
	case EvVariableConfig:
		return "EV_EFI_VARIABLE_DRIVER_CONFIG"
	case EvVariableBoot:
		return "EV_EFI_VARIABLE_BOOT"
	case EvBootApplication:
		return "EV_EFI_BOOT_SERVICES_APPLICATION"
	case EvGPT:
		return "EV_EFI_GPT_EVENT"
	case EvAction:
		return "EV_EFI_ACTION"
	case EvHandoffTables:
		return "EV_EFI_HANDOFF_TABLES"
	case EvFirmwareBlob2:
		return "EV_EFI_PLATFORM_FIRMWARE_BLOB2"
	case EvHandoffTables2:
		return "EV_EFI_HANDOFF_TABLES2"
	}
	return fmt.Sprintf("event type %#x", uint32(t))
}

// MarshalText makes event types their names in JSON.
func (t EventType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Input names something that moves an event's digest.
type Input string

// The inputs of a prediction.
const (
	InputFirmwareCode  Input = "firmware.code"
	InputFirmwareStore Input = "firmware.variable-store"
	InputFirmwareMap   Input = "firmware.sections"
	InputFirmwareBuild Input = "firmware.build"
	InputRAM           Input = "ram"
	InputVCPUs         Input = "vcpus"
	InputDevices       Input = "devices"
	InputWindow        Input = "pci-window"
	InputMachineType   Input = "machine-type"
	InputQEMU          Input = "qemu"
	InputSMBIOS        Input = "smbios"
	InputBootForm      Input = "boot-form"
	InputUKI           Input = "uki"
	InputKernel        Input = "kernel"
	InputInitrd        Input = "initrd"
	InputCmdline       Input = "cmdline"
	InputDisk          Input = "disk"
	InputSpec          Input = "spec"
)

// Event is one extend.
type Event struct {
	Register    tdx.Register `json:"register"`
	Type        EventType    `json:"type"`
	Description string       `json:"description"`
	Digest      tdx.Digest   `json:"digest"`
	// Bytes is the number of bytes hashed.
	Bytes int `json:"bytes"`
	// Inputs is what moves the digest; constants have none.
	Inputs []Input `json:"inputs"`
}

// event hashes data.
func event(r tdx.Register, t EventType, description string, data []byte, inputs ...Input) Event {
	return Event{
		Register: r, Type: t, Description: description, Digest: tdx.Sum(data), Bytes: len(data),
		Inputs: append([]Input{}, inputs...),
	}
}

// separator is the event that ends a phase: four zero bytes.
func separator(r tdx.Register) Event { return event(r, EvSeparator, "separator", make([]byte, 4)) }

// Texts of EV_EFI_ACTION events, hashed without a terminator (EDK2, UefiTcgPlatform.h).
const (
	actionCalling     = "Calling EFI Application from Boot Option"
	actionExit        = "Exit Boot Services Invocation"
	actionExitFailed  = "Exit Boot Services Returned with Failure"
	actionExitSuccess = "Exit Boot Services Returned with Success"
)

func action(text string) Event { return event(tdx.RTMR1, EvAction, text, []byte(text)) }
