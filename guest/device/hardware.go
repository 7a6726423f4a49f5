package device

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"cocoon/guest/rtmr"
	"cocoon/measure/tdx"
)

// EventLogFile is where the kernel shows the buffer that the CCEL table announces.
const EventLogFile = "/sys/firmware/acpi/tables/data/CCEL"

// maxLog bounds the event log; OVMF reserves 64 KiB, GCE 256 KiB.
const maxLog = 4 << 20

// Hardware is the source of a real TD.
type Hardware struct {
	*Quotes
	rtmr.Sysfs
	// Device is the tdx_guest driver's node, LogFile the event log's.
	Device, LogFile string
}

// OpenHardware finds the kernel's interfaces at their usual places.
func OpenHardware() (*Hardware, error) {
	quotes, err := OpenQuotes()
	if err != nil {
		return nil, err
	}
	return &Hardware{Quotes: quotes, Sysfs: rtmr.Sysfs{Dir: rtmr.DefaultDir}, Device: rtmr.DefaultDevice, LogFile: EventLogFile}, nil
}

// Report is a TDREPORT over the report data. The TDX module answers at once.
func (h *Hardware) Report(_ context.Context, reportData [tdx.ReportDataSize]byte) ([]byte, error) {
	data, err := rtmr.ReadReport(h.Device, reportData)
	if err != nil {
		return nil, err
	}
	return checkReport(data, reportData)
}

// EventLog is the firmware's log, as long as the firmware's buffer.
func (h *Hardware) EventLog(context.Context) ([]byte, error) {
	f, err := os.Open(h.LogFile)
	if err != nil {
		return nil, fmt.Errorf("reading event log: %w", err)
	}
	defer func() { _ = f.Close() }()
	log, err := io.ReadAll(io.LimitReader(f, maxLog+1))
	if err != nil {
		return nil, fmt.Errorf("reading event log: %w", err)
	}
	if len(log) > maxLog {
		return nil, fmt.Errorf("reading event log: more than %d bytes", maxLog)
	}
	return log, nil
}

// checkReport checks that bytes are a TDREPORT over the report data.
func checkReport(data []byte, reportData [tdx.ReportDataSize]byte) ([]byte, error) {
	report, err := tdx.ParseReport(data)
	switch {
	case err != nil:
		return nil, err
	case !bytes.Equal(report.Body.ReportData[:], reportData[:]):
		return nil, errors.New("the TDREPORT is over other report data than asked for")
	}
	return data, nil
}
