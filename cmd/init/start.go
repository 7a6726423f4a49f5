package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"cocoon/cmd/internal/calm"
	"cocoon/cmd/internal/cli"
	"cocoon/guest/klog"
)

// maxRoleFile bounds a role's configuration.
const maxRoleFile = 1 << 20

// What a role keeps for a request is small and soon garbage, so a role with few requests under way would collect every few
// megabytes. Its heap may grow by half of itself and of a ballast that is never touched and takes no memory.
const (
	roleGCPercent = 50
	roleBallast   = 32 << 20
)

// roomy runs a role with that memory, and calm.
func roomy(run job) job {
	return func(ctx context.Context, out io.Writer, args []string) (int, error) {
		calm.Down()
		debug.SetGCPercent(roleGCPercent)
		ballast := make([]byte, roleBallast)
		defer runtime.KeepAlive(ballast)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		go calm.GiveBack(ctx)
		return run(ctx, out, args)
	}
}

// served is how a role ends. A signal is its normal end; what broke by itself, or took everything else with it, is an
// error, and one about what the command line names has its own exit code.
func served(stop context.Context, err error) (int, error) {
	switch {
	case stop.Err() != nil && (err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.Cause(stop))):
		return 0, nil
	case err == nil:
		return exitError, errors.New("it ended by itself")
	}
	if tagged, ok := errors.AsType[*cli.Error](err); ok {
		return tagged.Kind.Code(), err
	}
	return exitError, err
}

// misnamed gives an error about a file that the configuration names its exit code and the next step.
func misnamed(err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		return cli.Misnamed(at.Path, err)
	}
	return err
}

// start is what the command line of a role says.
type start struct {
	path       string
	file       []byte
	level      slog.Level
	allowLocal bool
}

// readStart reads the command line of a role, -c FILE and -v, and the file. Without a start the code and the error are
// the command's.
func readStart(role string, out io.Writer, args []string) (*start, int, error) {
	var text bytes.Buffer
	flags := flag.NewFlagSet(role, flag.ContinueOnError)
	flags.SetOutput(&text)
	flags.Usage = func() {}
	path := flags.String("c", "", "configuration `file`: the reference's "+role+" configuration with keys of ours")
	verbose := flags.Bool("v", false, "log each connection and request")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		text.Reset()
		fmt.Fprintf(&text, "usage: init %s -c FILE [-v]\n", role)
		flags.PrintDefaults()
		code, err := printed(out, text.String())
		return nil, code, err
	case err == nil && (*path == "" || flags.NArg() > 0):
		err = errors.New("write -c FILE and nothing else")
	}
	if err != nil {
		code, err := misused(role, err)
		return nil, code, err
	}
	s := &start{path: *path}
	if s.file, err = cli.ReadFile(*path, maxRoleFile); err != nil {
		return nil, exitUsage, fmt.Errorf("reading %s configuration: %w", role, err)
	}
	if s.allowLocal, err = mayBeLocal(imageFile); err != nil {
		return nil, exitError, err
	}
	if *verbose {
		s.level = slog.LevelDebug
	}
	return s, 0, nil
}

// logger logs to the console, beginning with the warnings about the configuration.
func (s *start) logger(warnings []string) *slog.Logger {
	log := slog.New(klog.New(klog.Options{Console: os.Stderr, Level: s.level}))
	for _, w := range warnings {
		log.Warn("Configuration", slog.String("err", w))
	}
	return log
}

// readKeys puts a configuration file's values where its keys lead. A key that nobody knows is a warning, as for the
// reference's files; everything that is wrong is reported at once.
func readKeys(role string, data []byte, known map[string]any, check func() error) (warnings []string, err error) {
	if len(data) > maxRoleFile {
		return nil, fmt.Errorf("reading %s configuration: over %d bytes", role, maxRoleFile)
	}
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(data, &doc); err != nil {
		return nil, fmt.Errorf("reading %s configuration: %w", role, err)
	}
	var found []error
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		to, ok := known[name]
		switch {
		case ok:
			if err := setKey(to, doc[name]); err != nil {
				found = append(found, fmt.Errorf("%s: %w", name, err))
			}
		case name != "@type":
			warnings = append(warnings, fmt.Sprintf("unknown key %q, the nearest known one is %q", name, nearest(name, known)))
		}
	}
	if err := errors.Join(append(found, check())...); err != nil {
		return warnings, fmt.Errorf("checking %s configuration: %w", role, err)
	}
	return warnings, nil
}

// keyRule is a rule for a configuration's key, and whether it is kept.
type keyRule struct {
	name string
	ok   bool
	rule string
}

// broken are the rules that are not kept.
func broken(rules []keyRule) (found []error) {
	for _, r := range rules {
		if !r.ok {
			found = append(found, fmt.Errorf("%s %s", r.name, r.rule))
		}
	}
	return found
}

// setKey reads a value by the reference's rules: numbers may be strings, booleans numbers.
func setKey(to any, raw json.RawMessage) error {
	text := strings.Trim(string(raw), `"`)
	switch to := to.(type) {
	case *string:
		return json.Unmarshal(raw, to)
	case *[]string:
		return json.Unmarshal(raw, to)
	case *json.RawMessage:
		*to = slices.Clone(raw)
	case *int64:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return errors.New("must be an integer")
		}
		*to = n
	case *bool:
		switch text {
		case "true", "1":
			*to = true
		case "false", "0":
			*to = false
		default:
			return errors.New("must be true or false")
		}
	}
	return nil
}

// nearest is the known key that takes the fewest changes.
func nearest(name string, known map[string]any) string {
	best, cost := "", 1<<30
	for _, k := range slices.Sorted(maps.Keys(known)) {
		if d := distance(name[:min(len(name), 64)], k); d < cost {
			best, cost = k, d
		}
	}
	return best
}

// distance counts the insertions, deletions and replacements between two words.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
