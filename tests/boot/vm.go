package boot

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"cocoon/guest/boot"
	"cocoon/measure/launch"
)

const (
	// Limit is the most a boot may take; software emulation on a busy machine varies by a factor of two.
	Limit = 3 * time.Minute
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
	// Console is everything the machine printed.
	Console string
	// Wall is the time from QEMU's start to its end.
	Wall time.Duration
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
func (r *Run) Tail() string {
	lines := strings.Split(strings.TrimRight(r.Console, "\r\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// Machine is a virtual machine to start.
type Machine struct {
	// Shape is the launch descriptor; Paths are the files behind it. Paths.Serial is set by Boot.
	Shape *launch.Machine
	Paths launch.HostPaths
	// Extra arguments come last: a TPM, a second disk with a stolen serial.
	Extra []string
	// Until ends the machine once a stage has been reported; empty waits for the machine's own power-off.
	Until string
	// During is called after each stage line.
	During func(boot.Status)
}

// Boot runs the machine to its end.
func (m Machine) Boot(ctx context.Context, dir string) (*Run, error) {
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return nil, fmt.Errorf("looking for QEMU: %w", err)
	}
	m.Paths.Serial = filepath.Join(dir, "serial.fifo")
	argv, err := launch.TCGArgv(m.Shape, m.Paths)
	if err != nil {
		return nil, err
	}
	if accel := os.Getenv("COCOON_TEST_ACCEL"); accel != "" {
		argv[slices.Index(argv, "-accel")+1] = accel
	}
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	console, err := os.Create(m.Paths.Serial)
	if err != nil {
		return nil, fmt.Errorf("making console file: %w", err)
	}
	defer console.Close() //nolint:errcheck // read side
	cmd := exec.CommandContext(ctx, qemu, append(argv, m.Extra...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting QEMU: %w", err)
	}
	run := &Run{Reached: make(map[string]time.Duration)}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	err = m.follow(console, run, start, ended, func() { _ = cmd.Process.Kill() })
	run.Wall = time.Since(start)
	if raw, readErr := os.ReadFile(m.Paths.Serial); readErr == nil {
		run.Console = string(raw)
	}
	if ctx.Err() != nil {
		return run, fmt.Errorf("the machine did not end within %s; console:\n%s", Limit, run.Tail())
	}
	if err != nil {
		return run, fmt.Errorf("running QEMU: %w: %s", err, stderr.String())
	}
	if len(run.Stages) == 0 {
		return run, fmt.Errorf("the machine printed no stage; console:\n%s%s", run.Tail(), stderr.String())
	}
	return run, nil
}

// follow reads console lines as they appear until QEMU ends.
func (m Machine) follow(console *os.File, run *Run, start time.Time, ended <-chan error, kill func()) error {
	reader := bufio.NewReaderSize(console, maxLine)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	var partial string
	for {
		chunk, err := reader.ReadString('\n')
		partial += chunk
		if err == nil {
			if s := run.line(partial, time.Since(start)); s != nil {
				if m.During != nil {
					m.During(*s)
				}
				if s.Stage == m.Until {
					kill()
					<-ended
					return nil
				}
			}
			partial = ""
			continue
		}
		select {
		case waited := <-ended:
			rest, _ := os.ReadFile(console.Name())
			run.remainder(string(rest), time.Since(start))
			return waited
		case <-tick.C:
		}
	}
}

// line records one console line if it is one of ours.
func (r *Run) line(text string, at time.Duration) *boot.Status {
	_, doc, ok := strings.Cut(strings.TrimRight(text, "\r\n"), boot.LinePrefix)
	if !ok {
		return nil
	}
	var head struct {
		Schema string `json:"schema"`
	}
	if json.Unmarshal([]byte(doc), &head) != nil {
		return nil
	}
	switch head.Schema {
	case boot.StageSchema:
		var s boot.Status
		if err := json.Unmarshal([]byte(doc), &s); err != nil {
			return nil
		}
		r.Stages = append(r.Stages, s)
		r.Reached[s.Stage] = at
		return &s
	case boot.EndSchema:
		var e boot.End
		if err := json.Unmarshal([]byte(doc), &e); err == nil {
			r.End = &e
		}
	}
	return nil
}

// remainder records the lines that appeared between the last look and QEMU's end.
func (r *Run) remainder(all string, at time.Duration) {
	seen := len(r.Stages)
	again := &Run{Reached: make(map[string]time.Duration)}
	for text := range strings.Lines(all) {
		again.line(text, at)
	}
	for _, s := range again.Stages[min(seen, len(again.Stages)):] {
		r.Stages = append(r.Stages, s)
		r.Reached[s.Stage] = at
	}
	r.End = again.End
}

// Wants reports whether COCOON_TEST names a group of expensive tests.
func Wants(group string) bool {
	return slices.ContainsFunc(strings.Split(os.Getenv("COCOON_TEST"), ","), func(g string) bool {
		return g == group || g == "all"
	})
}

// ErrNoImage means that the images were not built.
var ErrNoImage = errors.New("no image")
