package boot

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"cocoon/guest/boot"
)

const (
	// tailLines is how much of the console a failure shows.
	tailLines = 25
	// maxLine bounds one console line.
	maxLine = 1 << 20
)

// Run is what a virtual machine did.
type Run struct {
	// Stages are the stage lines in order; End is the last line before the power-off, if any.
	Stages []boot.Status
	End    *boot.End
	// Reached says how long after QEMU's start each stage's line appeared.
	Reached map[string]time.Duration
	// CPU says how much processor time QEMU had used by then: on a busy host it comes close to the wall time of an idle
	// one.
	CPU map[string]time.Duration
	// Console is everything the machine printed.
	Console string
	// Wall is the time from QEMU's start to its end.
	Wall time.Duration
}

func newRun() *Run {
	return &Run{Reached: make(map[string]time.Duration), CPU: make(map[string]time.Duration)}
}

// Stage finds a stage's status.
func (r *Run) Stage(name string) (boot.Status, bool) {
	i := slices.IndexFunc(r.Stages, func(s boot.Status) bool { return s.Stage == name })
	if i < 0 {
		return boot.Status{}, false
	}
	return r.Stages[i], true
}

// Failed is the stage that ended the boot, or "".
func (r *Run) Failed() string {
	for _, s := range r.Stages {
		if s.Status == boot.Failed {
			return s.Stage
		}
	}
	return ""
}

// Tail is the end of the console, for failures.
func (r *Run) Tail() string { return tail(r.Console) }

func tail(text string) string {
	lines := strings.Split(strings.TrimRight(text, "\r\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// Boot runs a machine of ours to its end and reads the stages that it reports on its console.
func (m Machine) Boot(ctx context.Context, dir string) (*Run, error) {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	p, err := m.start(ctx, dir)
	if err != nil {
		return nil, err
	}
	run := newRun()
	output, console := m.outputs(dir)
	if m.Production {
		output = console
	}
	err = m.follow(output, run, p)
	run.Wall = time.Since(p.started)
	if raw, readErr := os.ReadFile(output); readErr == nil {
		run.Console = string(raw)
	}
	switch {
	case ctx.Err() != nil:
		return run, fmt.Errorf("the machine did not end within %s; console:\n%s", Limit, run.Tail())
	case err != nil:
		return run, fmt.Errorf("running QEMU: %w: %s; console:\n%s", err, p.stderr.String(), run.Tail())
	case len(run.Stages) == 0:
		return run, fmt.Errorf("the machine printed no stage; console:\n%s%s", run.Tail(), p.stderr.String())
	}
	return run, nil
}

// follow reads console lines as they appear until QEMU ends.
func (m Machine) follow(output string, run *Run, p *process) error {
	console, err := os.Open(output)
	if err != nil {
		p.kill()
		return fmt.Errorf("opening console file: %w", err)
	}
	defer console.Close() //nolint:errcheck // read side
	reader := bufio.NewReaderSize(console, maxLine)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var partial string
	last := false
	for {
		chunk, err := reader.ReadString('\n')
		partial += chunk
		if err == nil {
			stage := run.line(partial, time.Since(p.started))
			partial = ""
			if stage != "" {
				run.CPU[stage] = p.cpu()
			}
			if stage != "" && m.During != nil {
				m.During(stage)
			}
			if stage != "" && stage == m.Until {
				p.kill()
				return nil
			}
			continue
		}
		if last {
			return p.wait()
		}
		select {
		case <-p.ended: // one more look at what was written before the end
			last = true
		case <-tick.C:
		}
	}
}

// line records one console line if it is one of ours, and names the stage it reports.
func (r *Run) line(text string, at time.Duration) string {
	_, doc, ok := strings.Cut(strings.TrimRight(text, "\r\n"), boot.LinePrefix)
	if !ok {
		return ""
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if json.Unmarshal([]byte(doc), &head) != nil {
		return ""
	}
	switch head.Schema {
	case boot.StageSchema:
		var s boot.Status
		if err := json.Unmarshal([]byte(doc), &s); err != nil {
			return ""
		}
		r.Stages = append(r.Stages, s)
		r.Reached[s.Stage] = at
		return s.Stage
	case boot.EndSchema:
		var e boot.End
		if err := json.Unmarshal([]byte(doc), &e); err == nil {
			r.End = &e
		}
	}
	return ""
}
