package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// refresh is how often the line of running steps is redrawn; well below the two seconds after which a silent
	// step would look stuck.
	refresh = 250 * time.Millisecond
	// maxStatus keeps the status line on one row of an 80-column terminal.
	maxStatus = 78
)

// Escape sequences of ECMA-48.
const (
	clearLine = "\r\x1b[K"
	green     = "\x1b[32m"
	red       = "\x1b[31m"
	faint     = "\x1b[2m"
	plainText = "\x1b[0m"
)

// terminal prints finished steps as lines and keeps one moving line below them for the steps that run.
type terminal struct {
	out    io.Writer
	now    func() time.Time
	colour bool

	mu      sync.Mutex
	running []runningStep
	drawn   bool

	stop chan struct{}
	done chan struct{}
}

type runningStep struct {
	name    string
	since   time.Time
	percent int // -1 when the size is unknown
}

// NewTerminal reports with movement, and with colour unless NO_COLOR is set. Close stops its ticker.
func NewTerminal(out io.Writer, now func() time.Time, getenv func(string) string) Reporter {
	t := &terminal{
		out: out, now: now, colour: getenv("NO_COLOR") == "",
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	go t.tick()
	return t
}

func (t *terminal) tick() {
	defer close(t.done)
	ticker := time.NewTicker(refresh)
	defer ticker.Stop()
	for {
		select {
		case <-t.stop:
			return
		case <-ticker.C:
			t.mu.Lock()
			t.draw()
			t.mu.Unlock()
		}
	}
}

// Report implements Reporter.
func (t *terminal) Report(e Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := slices.IndexFunc(t.running, func(r runningStep) bool { return r.name == e.Name })
	switch e.Kind {
	case EventStart:
		t.running = append(t.running, runningStep{e.Name, t.now(), -1})
	case EventProgress:
		if at >= 0 && e.TotalBytes > 0 {
			t.running[at].percent = int(100 * e.DoneBytes / e.TotalBytes)
		}
		return // the next tick draws it
	default:
		if at >= 0 {
			t.running = slices.Delete(t.running, at, at+1)
		}
		t.clear()
		fmt.Fprintln(t.out, t.paint(e)) //nolint:errcheck // progress on a closed stderr is not worth a failed build
	}
	t.draw()
}

// Close implements Reporter.
func (t *terminal) Close() {
	close(t.stop)
	<-t.done
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
}

func (t *terminal) paint(e Event) string {
	text := StepLine(e)
	switch {
	case !t.colour:
		return text
	case e.Kind == EventFail:
		return red + text + plainText
	case e.Cached:
		return faint + text + plainText
	case e.Kind == EventDone:
		if head, rest, ok := strings.Cut(text, "] "); ok {
			return green + head + "]" + plainText + " " + rest
		}
	}
	return text
}

func (t *terminal) clear() {
	if t.drawn {
		_, _ = io.WriteString(t.out, clearLine)
		t.drawn = false
	}
}

func (t *terminal) draw() {
	t.clear()
	if len(t.running) == 0 {
		return
	}
	parts := make([]string, 0, len(t.running))
	for _, r := range t.running {
		part := r.name + " " + Seconds(t.now().Sub(r.since).Truncate(100*time.Millisecond))
		if r.percent >= 0 {
			part += fmt.Sprintf(" %d%%", r.percent)
		}
		parts = append(parts, part)
	}
	text := "... " + strings.Join(parts, ", ")
	if len(text) > maxStatus {
		text = text[:maxStatus-3] + "..."
	}
	_, _ = io.WriteString(t.out, text)
	t.drawn = true
}
