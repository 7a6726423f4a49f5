package rtmr

import (
	"encoding/binary"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Layout of struct tdx_report_req (linux/tdx-guest.h) and of the fields read from the TDREPORT in it
// (Intel TDX module ABI: TDREPORT_STRUCT = REPORTMACSTRUCT 256, TEE_TCB_INFO 239, reserved 17, TDINFO_STRUCT 512).
const (
	reportDataSize = 64
	reportSize     = 1024
	offAttributes  = 512 // TDINFO_STRUCT.ATTRIBUTES, u64
	// debugBit is ATTRIBUTES bit 0: the host can read and change the TD.
	debugBit = 1
	// getReport is TDX_CMD_GET_REPORT0: _IOWR('T', 1, struct tdx_report_req).
	getReport uintptr = 3<<30 | (reportDataSize+reportSize)<<16 | 'T'<<8 | 1
	// DefaultDevice is the node of the tdx_guest driver.
	DefaultDevice = "/dev/tdx_guest"
)

// Attributes is the TD's ATTRIBUTES field.
type Attributes uint64

// Debug reports whether the host may read and change the TD's memory and registers.
func (a Attributes) Debug() bool { return a&debugBit != 0 }

// ReadAttributes asks the TDX module for a report, over zero report data, and reads the attributes from it.
func ReadAttributes(device string) (Attributes, error) {
	report, err := ReadReport(device, [reportDataSize]byte{})
	if err != nil {
		return 0, err
	}
	return parseAttributes(report)
}

// ReadReport asks the TDX module for a TDREPORT over the report data. Only the TDX module of this machine can tell that
// it is genuine.
func ReadReport(device string, reportData [reportDataSize]byte) ([]byte, error) {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", device, err)
	}
	defer func() { _ = f.Close() }()
	var req [reportDataSize + reportSize]byte
	copy(req[:], reportData[:])
	//nolint:gosec // the ioctl takes the address of the request, which outlives the call
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), getReport, uintptr(unsafe.Pointer(&req[0])))
	if errno != 0 {
		return nil, fmt.Errorf("requesting a TD report: %w", errno)
	}
	return req[reportDataSize:], nil
}

func parseAttributes(report []byte) (Attributes, error) {
	if len(report) != reportSize {
		return 0, fmt.Errorf("TD report has %d bytes, want %d", len(report), reportSize)
	}
	return Attributes(binary.LittleEndian.Uint64(report[offAttributes:])), nil
}
