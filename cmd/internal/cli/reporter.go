package cli

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// EventKind is what happened to a step.
type EventKind string

// The kinds of events.
const (
	EventStart    EventKind = "start"
	EventProgress EventKind = "progress"
	EventDone     EventKind = "done"
	EventFail     EventKind = "fail"
	EventNote     EventKind = "note"
)

// Event is one thing that happened during a command, for all three reporters.
type Event struct {
	Kind EventKind `json:"-"` // the line's "event"
	// Index counts finished steps from 1 and Total all steps of the run; 0 when the event is not a step's end.
	Index      int    `json:"index,omitempty"`
	Total      int    `json:"total,omitempty"`
	Name       string `json:"name"`
	Detail     string `json:"detail,omitempty"`
	Cached     bool   `json:"cached,omitempty"`
	DurationMS int64  `json:"duration_ms,omitempty"`
	DoneBytes  int64  `json:"done_bytes,omitempty"`
	TotalBytes int64  `json:"total_bytes,omitempty"`
}

// Reporter shows what a command does. Report is safe for concurrent use; Close ends the display and waits for it.
type Reporter interface {
	Report(e Event)
	Close()
}

// Quiet is a reporter that shows nothing.
type Quiet struct{}

// Report does nothing.
func (Quiet) Report(Event) {}

// Close does nothing.
func (Quiet) Close() {}

// lines is the reporter of JSONL output.
type lines struct{ printer *Printer }

// NewLines reports every event as one line of the printer's JSONL output.
func NewLines(p *Printer) Reporter { return lines{p} }

func (l lines) Report(e Event) { l.printer.Event(e) }

func (l lines) Close() {}

// plain prints one line per finished step, for logs.
type plain struct {
	mu  sync.Mutex
	out io.Writer
}

// NewPlain reports one line per step that ended, without colour or movement.
func NewPlain(out io.Writer) Reporter { return &plain{out: out} }

func (p *plain) Report(e Event) {
	if e.Kind == EventStart || e.Kind == EventProgress {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintln(p.out, StepLine(e)) //nolint:errcheck // progress on a closed stderr is not worth a failed build
}

func (p *plain) Close() {}

// nameWidth is the column of a step's name; longer names push the rest to the right.
const nameWidth = 22

// StepLine is the text of a step's end: `[ 7/14] rootfs  normalise 8,412 entries  1.9 s  cached`.
func StepLine(e Event) string {
	var b strings.Builder
	switch {
	case e.Total > 0:
		width := len(fmt.Sprint(e.Total))
		fmt.Fprintf(&b, "[%*d/%d] ", width, e.Index, e.Total)
	case e.Kind == EventFail:
		b.WriteString("[fail] ")
	default:
		b.WriteString("[note] ")
	}
	fmt.Fprintf(&b, "%-*s", nameWidth, e.Name)
	if e.Detail != "" {
		b.WriteString("  " + e.Detail)
	}
	if e.Kind == EventDone {
		b.WriteString("  " + Seconds(time.Duration(e.DurationMS)*time.Millisecond))
	}
	if e.Cached {
		b.WriteString("  cached")
	}
	if e.Kind == EventFail && e.Total > 0 {
		b.WriteString("  failed")
	}
	return b.String()
}
