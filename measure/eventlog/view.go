package eventlog

import (
	"errors"
	"fmt"

	"cocoon/measure/tdx"
)

// callingApplication is the action after which TDX firmware extends its separator into RTMR1 (measure.md section 3).
const callingApplication = "Calling EFI Application from Boot Option"

// RegisterOf maps a PCR to the register a TD uses for it: PCR 0 to MRTD, 1 and 7 to RTMR0, 2..6 to RTMR1, 8..15 to
// RTMR2 (measure.md section 2). RTMR3 has no PCR.
func RegisterOf(pcr uint32) (tdx.Register, error) {
	switch {
	case pcr == 0:
		return tdx.MRTD, nil
	case pcr == 1 || pcr == 7:
		return tdx.RTMR0, nil
	case pcr >= 2 && pcr <= 6:
		return tdx.RTMR1, nil
	case pcr >= 8 && pcr <= 15:
		return tdx.RTMR2, nil
	}
	return 0, fmt.Errorf("mapping PCR %d: a TD has no register for it", pcr)
}

// TDView derives from a TPM log what the same boot extends into RTMR1 and RTMR2 of a TD, as a TD log of those two
// registers (measure.md section 8): separators are dropped, and RTMR1 gets one separator, right after the firmware
// called the boot application. RTMR0 is left out because a TD measures other things there.
func (l *Log) TDView() (*Log, error) {
	if l.Kind != TPM {
		return nil, errors.New("viewing event log as a TD's: it is a TD's log already")
	}
	view := &Log{Kind: TD, Algorithms: l.Algorithms}
	separated := false
	for i := range l.Events {
		e := l.Events[i]
		register, err := RegisterOf(e.Index)
		if err != nil || register < tdx.RTMR1 || e.Type == NoAction || e.Type == Separator {
			continue
		}
		e.Index = uint32(register)
		view.Events = append(view.Events, e)
		if !separated && e.Type == EFIAction && string(e.Data) == callingApplication {
			separated = true
			view.Events = append(view.Events, separatorEvent(e.Index, l.Algorithms))
		}
	}
	return view, nil
}

// separatorEvent is the separator in every bank that can be computed.
func separatorEvent(index uint32, algorithms []Algorithm) Event {
	e := Event{Index: index, Type: Separator, Data: make([]byte, 4)}
	for _, a := range algorithms {
		if sum, ok := a.sum(e.Data); ok {
			e.Digests = append(e.Digests, Digest{Algorithm: a, Value: sum})
		}
	}
	return e
}
