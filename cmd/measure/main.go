// Command measure is the auditor's and publisher's tool: it predicts what TDX will measure for an image, reads event
// logs and quotes, and names the first difference between the two (tools-and-tests.md section 1).
//
// It owns verbs, flags and the forms of their results; the knowledge is in the measure room. No verb but `publish`
// and `audit` touches the network; those two trust proven state alone. `predict` and its relatives start a QEMU binary, stopped and without guest code, to read what it would
// offer to the firmware; everything else only reads files. Files are untrusted and bounded. Verbs run one at a time,
// predictions for several shapes in parallel. It refuses to print an image hash for a machine, firmware or QEMU that
// is not the declared one.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"cocoon/cmd/internal/cli"
)

// program is the name in messages.
const program = "measure"

// env is what verbs get from the process.
type env struct {
	stdout, stderr io.Writer
	getenv         func(string) string
	now            func() time.Time
	parallel       int // probes at a time
	format         cli.Format
	reported       bool // stdout has its one document
}

// result writes a verb's document.
func (e *env) result(doc cli.Document) error {
	e.reported = true
	return (&cli.Printer{Out: e.stdout, Format: e.format, Now: e.now}).Result(doc)
}

// warn writes a line for people, whatever the format.
func (e *env) warn(format string, args ...any) {
	fmt.Fprintf(e.stderr, program+": note: "+format+"\n", args...) //nolint:errcheck // nothing is left to report it to
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() { // the second signal kills
		<-ctx.Done()
		stop()
	}()
	e := &env{stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, now: time.Now, parallel: runtime.NumCPU()}
	code := run(ctx, e, os.Args[1:])
	stop()
	os.Exit(code)
}

// run is main without the process.
func run(ctx context.Context, e *env, args []string) int {
	e.format = cli.Text
	err := dispatch(ctx, e, args)
	if err != nil && ctx.Err() != nil && !e.reported { // whatever its parts said of it
		err = cli.Tag(cli.KindInterrupted, fmt.Errorf("interrupted: %w", err))
	}
	format := e.format
	if e.reported { // a verdict is a result: its document stays the only one
		format = cli.Text
	}
	return cli.Finish(program, format, e.stdout, e.stderr, err)
}
