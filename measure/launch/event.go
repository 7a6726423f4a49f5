package launch

import (
	"cocoon/measure/eventlog"
	"cocoon/measure/tdx"
)

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
)

// Inputs lists all inputs, in the order of the chain from firmware to image.
func Inputs() []Input {
	return []Input{
		InputFirmwareCode, InputFirmwareMap, InputFirmwareStore, InputFirmwareBuild, InputRAM, InputVCPUs, InputDevices,
		InputWindow, InputMachineType, InputQEMU, InputSMBIOS, InputBootForm, InputUKI, InputKernel, InputInitrd,
		InputCmdline, InputDisk,
	}
}

// Event is one extend.
type Event struct {
	Register    tdx.Register       `json:"register"`
	Type        eventlog.EventType `json:"type"`
	Description string             `json:"description"`
	Digest      tdx.Digest         `json:"digest"`
	// Bytes is the number of bytes hashed.
	Bytes int `json:"bytes"`
	// Inputs is what moves the digest; constants have none.
	Inputs []Input `json:"inputs"`
}

// event hashes data.
func event(r tdx.Register, t eventlog.EventType, description string, data []byte, inputs ...Input) Event {
	return Event{
		Register: r, Type: t, Description: description, Digest: tdx.Sum(data), Bytes: len(data),
		Inputs: append([]Input{}, inputs...),
	}
}

// separator is the event that ends a phase: four zero bytes.
func separator(r tdx.Register) Event {
	return event(r, eventlog.Separator, "separator", make([]byte, 4))
}

// Texts of EV_EFI_ACTION events, hashed without a terminator (EDK2, UefiTcgPlatform.h).
const (
	actionCalling     = "Calling EFI Application from Boot Option"
	actionExit        = "Exit Boot Services Invocation"
	actionExitFailed  = "Exit Boot Services Returned with Failure"
	actionExitSuccess = "Exit Boot Services Returned with Success"
)

func action(text string) Event { return event(tdx.RTMR1, eventlog.EFIAction, text, []byte(text)) }
