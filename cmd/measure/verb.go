package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"cocoon/cmd/internal/cli"
)

// defaultTimeout bounds a whole command; a probe has its own, shorter limit.
const defaultTimeout = 5 * time.Minute

// verb is one command. Its flags live in the value that setup returns, so that verbs share no state.
type verb struct {
	name     string
	operands string // as in the usage line
	count    [2]int // least and most operands
	summary  string
	examples []string
	setup    func(fs *flag.FlagSet) action
}

// action runs a verb with its flags parsed.
type action func(ctx context.Context, e *env, operands []string) error

// verbs is the table of commands, in the order of the usage text.
func verbs() []verb { return slices.Concat(predictingVerbs(), readingVerbs(), networkVerbs()) }

// predictingVerbs need an image.
func predictingVerbs() []verb {
	return []verb{
		{
			"predict", "MANIFEST",
			[2]int{1, 1},
			"Print the events, registers and image hash TDX will measure for an image.",
			[]string{"measure predict out/worker-cpu", "measure predict out/proxy/manifest.json --shape proxy --spec spec/ -o json"},
			setupPredict,
		},
		{
			"explain", "MANIFEST",
			[2]int{1, 1},
			"Print which input moves which event and register.",
			[]string{"measure explain out/worker-cpu", "measure explain out/proxy --shape test-proxy"},
			setupExplain,
		},
		{
			"check", "",
			[2]int{0, 0},
			"Verify a quote and compare it with the prediction for an image.",
			[]string{"measure check --quote quote.bin --manifest out/proxy --spec spec/ --ccel ccel.bin", "measure check --quote peer.pem --prediction proxy.json --collateral bundle.json --policy policy.json"},
			setupCheck,
		},
		{
			"diff", "A B",
			[2]int{2, 2},
			"Name the first difference: two manifests, two logs, or a manifest and a log.",
			[]string{"measure diff old/manifest.json new/manifest.json", "measure diff out/proxy ccel.bin"},
			setupDiff,
		},
	}
}

// readingVerbs only read files.
func readingVerbs() []verb {
	return []verb{
		{
			"replay", "",
			[2]int{0, 0},
			"Compute registers from an event log, and compare them with a quote.",
			[]string{"measure replay --ccel ccel.bin", "measure replay --ccel ccel.bin --quote quote.bin"},
			setupReplay,
		},
		{
			"firmware", "FILE",
			[2]int{1, 1},
			"Print a firmware's memory sections, MRTD and profile.",
			[]string{"measure firmware firmware.fd", "measure firmware firmware.fd -o json"},
			setupFirmware,
		},
		{
			"profile", "FILE",
			[2]int{1, 1},
			"Derive the profile of another firmware, for predict --profile.",
			[]string{"measure profile OVMF.fd --name mine --tpm-log boot.log > mine.json", "measure profile OVMF.fd --like debian-2025.02"},
			setupProfile,
		},
		{
			"image", "UKI",
			[2]int{1, 1},
			"Print a unified kernel image's sections and what they extend.",
			[]string{"measure image image.efi", "measure image image.efi --firmware-profile debian-2025.02"},
			setupImage,
		},
		{
			"quote", "FILE",
			[2]int{1, 1},
			"Explain a quote and its platform; with collateral, verify and judge it.",
			[]string{"measure quote quote.bin", "measure quote peer.pem --collateral bundle.json --policy policy.json --at 2026-01-31"},
			setupQuote,
		},
		{
			"spec", "DIR",
			[2]int{1, 1},
			"Print a spec folder's tree hash and the RTMR3 values that follow from it.",
			[]string{"measure spec spec/", "measure spec spec/ --debug"},
			setupSpec,
		},
		{
			"shape", "[NAME]",
			[2]int{0, 1},
			"List the built-in machines, or print one as a file for --shape.",
			[]string{"measure shape", "measure shape worker-gpu > mine.json"},
			setupShape,
		},
		{
			"selftest", "",
			[2]int{0, 0},
			"Check this binary against its embedded vectors.",
			[]string{"measure selftest", "measure selftest -o json"},
			setupSelftest,
		},
	}
}

// dispatch finds the verb and runs it.
func dispatch(ctx context.Context, e *env, args []string) error {
	table := verbs()
	if len(args) == 0 || slices.Contains([]string{"help", "-h", "--help", "-help"}, args[0]) {
		usage(e.stdout, table)
		if len(args) == 0 {
			return cli.Usagef("no verb given")
		}
		return nil
	}
	i := slices.IndexFunc(table, func(v verb) bool { return v.name == args[0] })
	if i < 0 {
		names := make([]string, len(table))
		for i, v := range table {
			names[i] = v.name
		}
		return unknown("verb", args[0], names)
	}
	return table[i].run(ctx, e, args[1:])
}

// unknown is the error for a misspelt word.
func unknown(what, word string, known []string) error {
	err := fmt.Errorf("unknown %s %q", what, word)
	if near := cli.Suggest(word, known); len(near) > 0 {
		return cli.Tag(cli.KindUsage, err, "did you mean "+strings.Join(near, " or ")+"?")
	}
	return cli.Tag(cli.KindUsage, err, program+" help")
}

// run parses flags, which may stand before and behind operands, and acts within the time limit.
func (v verb) run(ctx context.Context, e *env, args []string) error {
	fs := flag.NewFlagSet(v.name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	format := fs.String("o", "text", "output `format`: text, json or jsonl")
	timeout := fs.Duration("timeout", defaultTimeout, "`limit` for the whole command")
	act := v.setup(fs)
	operands, err := parse(fs, args)
	e.format = cli.WishedFormat(args, "", "-o", "--o")
	if _, formatErr := cli.ParseFormat(*format); formatErr != nil {
		err = errors.Join(err, formatErr)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		v.help(e.stdout, fs)
		return nil
	case err != nil:
		return cli.Tag(cli.KindUsage, err, fmt.Sprintf("%s %s -h", program, v.name))
	case len(operands) < v.count[0] || len(operands) > v.count[1]:
		return cli.Tag(cli.KindUsage, fmt.Errorf("%s takes %s, got %d operands", v.name, orNone(v.operands), len(operands)),
			fmt.Sprintf("%s %s -h", program, v.name))
	case *timeout <= 0:
		return cli.Usagef("timeout %s is not positive", *timeout)
	}
	ctx, cancel := context.WithTimeout(ctx, *timeout)
	defer cancel()
	return act(ctx, e, operands)
}

func orNone(operands string) string {
	if operands == "" {
		return "no operands"
	}
	return operands
}

// parse lets flags stand anywhere; "--" ends them.
func parse(fs *flag.FlagSet, args []string) (operands []string, err error) {
	for len(args) > 0 {
		if err := fs.Parse(args); err != nil {
			return nil, misspelt(fs, err)
		}
		rest := fs.Args()
		if ended := len(rest) < len(args) && args[len(args)-len(rest)-1] == "--"; ended {
			return append(operands, rest...), nil
		}
		if len(rest) == 0 {
			break
		}
		operands, args = append(operands, rest[0]), rest[1:]
	}
	return operands, nil
}

// misspelt adds the nearest flag to flag's own error.
func misspelt(fs *flag.FlagSet, err error) error {
	_, name, found := strings.Cut(err.Error(), "flag provided but not defined: -")
	if !found {
		return err
	}
	var known []string
	fs.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
	if near := cli.Suggest(name, known); len(near) > 0 {
		return fmt.Errorf("unknown flag --%s; did you mean --%s?", name, near[0])
	}
	return fmt.Errorf("unknown flag --%s", name)
}

// usage prints the table.
func usage(w io.Writer, table []verb) {
	fmt.Fprintf(w, "usage: %s VERB [OPERANDS] [FLAGS]\n\n", program) //nolint:errcheck // help text
	rows := make([][]string, 0, len(table))
	for _, v := range table {
		rows = append(rows, []string{"  " + strings.TrimSpace(v.name+" "+v.operands), v.summary})
	}
	_ = cli.Table(w, rows)                                                                                           // help text
	fmt.Fprintf(w, "\nNo verb but publish and audit touches the network. `%s VERB -h` prints flags and examples.\n"+ //nolint:errcheck // help text
		"Exit codes: 0 ok, 1 error, 2 usage, 3 difference, 5 missing prerequisite, 6 timed out.\n", program)
}

// help prints one verb.
func (v verb) help(w io.Writer, fs *flag.FlagSet) {
	fmt.Fprintf(w, "%s\n\nusage: %s %s [FLAGS]\n\n", v.summary, program, strings.TrimSpace(v.name+" "+v.operands)) //nolint:errcheck // help text
	for _, x := range v.examples {
		fmt.Fprintf(w, "  %s\n", x) //nolint:errcheck // help text
	}
	fmt.Fprintln(w, "\nflags:") //nolint:errcheck // help text
	var rows [][]string
	fs.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		dash := "--"
		if len(f.Name) == 1 {
			dash = "-"
		}
		rows = append(rows, []string{"  " + strings.TrimSpace(dash+f.Name+" "+value), text})
	})
	_ = cli.Table(w, rows) // help text
}
