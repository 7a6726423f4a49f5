// Command init is everything that runs inside the TD: as PID 1 it boots the machine, and by its name or its first
// argument it is one of the guest's services (layout.md section 4).
//
// It owns the wiring of the guest room to the real kernel and the rule that PID 1 never returns: every way out of
// the boot ends in a power-off. It trusts the initrd it was started from. It takes no flag that can weaken a check
// and no trust root from its environment, and refuses to be PID 1's boot in any other process.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"cocoon/cmd/internal/cli"
	"cocoon/guest/sandbox"
)

// Exit codes follow cmd/README.md.
const (
	exitError = cli.ExitError
	exitUsage = cli.ExitUsage
)

func main() {
	if startedByKernel() {
		runPID1()
		return
	}
	os.Exit(run(context.Background(), os.Args, os.Stdout, os.Stderr))
}

// startedByKernel tells the machine's PID 1 from pid 1 of the engine's namespace. Arguments cannot: the kernel hands
// words of its command line to init. The sandbox's step is started with a sealed description as descriptor 3; the
// kernel starts init with stdio alone.
func startedByKernel() bool {
	const description = 3
	if os.Getpid() != 1 {
		return false
	}
	seals, err := unix.FcntlInt(description, unix.F_GET_SEALS, 0)
	return err != nil || seals == 0
}

// job is what a command does; what it is asked to print goes to out. Its exit code counts when it returns no error.
type job func(ctx context.Context, out io.Writer, args []string) (int, error)

// command is one job of the binary besides PID 1.
type command struct {
	name string
	does string
	run  job
}

var errNotInBuild = errors.New("not in this build")

// commands lists the guest's services. One that does not exist yet says so; it never pretends to run.
func commands() []command {
	missing := func(context.Context, io.Writer, []string) (int, error) { return exitError, errNotInBuild }
	return []command{
		{"router", "accept RA-TLS connections and pipe them to a service", runRouter},
		{"proxy", "serve clients and schedule workers", roomy(runProxy)},
		{"worker", "run queries on the engine", roomy(runWorker)},
		{"seal", "derive sealed keys", missing},
		{"health", "report status, logs and measurements", missing},
		{sandbox.EnterVerb, "step of starting the engine: compose its root", enterSandbox},
		{sandbox.ExecVerb, "step of starting the engine: give up every privilege", execSandboxed},
		{sandbox.ForwardVerb, "beside an engine that listens on TCP: join its socket to it", forwardSandboxed},
	}
}

// run picks the command by argv[0] or by the first argument.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	all := commands()
	find := func(name string) int {
		return slices.IndexFunc(all, func(c command) bool { return c.name == name })
	}
	name, rest := "", args
	if len(args) > 0 {
		name, rest = filepath.Base(args[0]), args[1:]
	}
	i := find(name)
	if i < 0 && len(rest) > 0 { // the binary's own name says nothing: /init, or /proc/self/fd/4 in the sandbox
		name, rest = rest[0], rest[1:]
		i = find(name)
	}
	if i < 0 {
		usage(stderr, name, all)
		return exitUsage
	}
	code, err := all[i].run(ctx, stdout, rest)
	if err != nil {
		var text strings.Builder
		fmt.Fprintf(&text, "error: init %s: %v\n", name, err)
		for _, hint := range cli.Describe(err).Hints {
			fmt.Fprintf(&text, "hint: %s\n", hint)
		}
		_, _ = io.WriteString(stderr, text.String())
		return max(code, exitError)
	}
	return code
}

// misused is a command line that says nothing to do, or something wrong; -h says what could be.
func misused(role string, err error) (int, error) {
	if tagged, ok := errors.AsType[*cli.Error](err); ok && len(tagged.Hints) > 0 {
		return exitUsage, err
	}
	return exitUsage, cli.Tag(cli.KindUsage, err, "init "+role+" -h lists the flags")
}

func usage(w io.Writer, name string, all []command) {
	var text strings.Builder
	fmt.Fprintf(&text, "error: init: %q is no command; init boots the guest only as PID 1\nhint: one of\n", name)
	for _, c := range all {
		fmt.Fprintf(&text, "  init %-12s %s\n", c.name, c.does)
	}
	_, _ = io.WriteString(w, text.String())
}
