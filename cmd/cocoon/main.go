// Command cocoon is the host operator's and image builder's tool (tools-and-tests.md section 1).
//
// It owns flags, texts and exit codes; every verb is one call into a room and one result. Input comes from the person
// who runs it and from files that the rooms check. One command runs per process, cancelled by the first interrupt. It
// refuses destructive work without a terminal or --yes.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/mattn/go-isatty"

	"cocoon/cmd/internal/cli"
)

// dateVariable is what reproducible-builds tools pass dates in. Images take theirs from the lock, and nothing else.
const dateVariable = "SOURCE_DATE_EPOCH"

func main() {
	if err := os.Unsetenv(dateVariable); err != nil {
		os.Exit(cli.Finish(program, cli.Text, os.Stdout, os.Stderr, err))
	}
	os.Exit(run(os.Args[1:], deps{
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv, getwd: os.Getwd, now: time.Now,
		terminal: isTerminal(os.Stderr, os.Getenv), interactive: isTerminal(os.Stdin, os.Getenv),
		executable: os.Executable,
	}))
}

// deps is what the commands see of the process.
type deps struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	getwd          func() (string, error)
	now            func() time.Time
	// terminal and interactive tell whether stderr can move a cursor and whether stdin can answer a question.
	terminal, interactive bool
	executable            func() (string, error)
}

// run executes one command line and returns the exit code. The first interrupt cancels the command, the second kills
// the process, because the signal's default action is back then.
func run(args []string, d deps) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		<-ctx.Done()
		stop()
	}()
	root, app := newRootCmd(d)
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	end := ending{interrupted: ctx.Err() != nil, late: app.late(), building: builds(cmd)}
	app.close()
	if app.printer == nil { // it ended at its command line
		app.format = cli.WishedFormat(args, d.getenv("COCOON_OUTPUT"), "-o", "--output")
	}
	return cli.Finish(program, app.format, d.stdout, d.stderr, classify(end, err))
}

// isTerminal tells whether f is a terminal that can move its cursor.
func isTerminal(f *os.File, getenv func(string) string) bool {
	return isatty.IsTerminal(f.Fd()) && getenv("TERM") != "dumb"
}
