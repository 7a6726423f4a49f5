package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
)

const (
	logSuffix = ".log"
	// followEvery is how often a log is looked at for more.
	followEvery = 200 * time.Millisecond
	// defaultLines is how many of the last lines are shown, tailBlock how much is read at a time to find them.
	defaultLines = 50
	tailBlock    = 64 << 10
)

func gatewayLog(dir string) string { return filepath.Join(dir, "gateway"+logSuffix) }

// logsFlags are the verb's flags as they were typed.
type logsFlags struct {
	dir    string
	lines  int
	follow bool
}

func newLocalnetLogsCmd(a *app) *cobra.Command {
	var l logsFlags
	cmd := &cobra.Command{
		Use:   "logs [PART...]",
		Short: "Show the logs of a network's parts, running or not",
		Long: "Show the last lines of the logs of a network's parts: gateway, proxy, worker, worker-engine, ...\n" +
			"They are left after the network has ended. No log holds a prompt or a key.",
		Example: "  cocoon localnet logs\n  cocoon localnet logs worker --follow",
		RunE:    func(cmd *cobra.Command, parts []string) error { return a.localnetLogs(cmd.Context(), &l, parts) },
	}
	dirFlag(cmd, &l.dir)
	cmd.Flags().IntVarP(&l.lines, "lines", "n", defaultLines, "how many lines of each to begin with")
	cmd.Flags().BoolVarP(&l.follow, "follow", "f", false, "go on with what is written, until interrupted")
	return cmd
}

func (a *app) localnetLogs(ctx context.Context, l *logsFlags, parts []string) error {
	if l.lines < 0 {
		return cli.Usagef("--lines: %d is below zero", l.lines)
	}
	dir, err := a.localnetDir(l.dir)
	if err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"+logSuffix))
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return cli.Tag(cli.KindPrerequisite, fmt.Errorf("no logs in %s", dir), "start a network with \"cocoon localnet up\"")
	}
	if len(parts) > 0 {
		if names, err = logsOf(dir, names, parts); err != nil {
			return err
		}
	}
	logs := make([]*logFile, 0, len(names))
	for _, name := range names {
		one := &logFile{name: name, part: strings.TrimSuffix(filepath.Base(name), logSuffix), alone: len(names) == 1}
		if err := one.last(a.stdout, l.lines); err != nil {
			return err
		}
		logs = append(logs, one)
	}
	if !l.follow {
		return nil
	}
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, one := range logs {
			if err := one.more(a.stdout); err != nil {
				return err
			}
		}
	}
}

// logsOf are the logs of the parts that were named.
func logsOf(dir string, names, parts []string) ([]string, error) {
	known := make(map[string]bool)
	all, out := make([]string, 0, len(names)), make([]string, 0, len(parts))
	for _, n := range names {
		part := strings.TrimSuffix(filepath.Base(n), logSuffix)
		known[part] = true
		all = append(all, part)
	}
	for _, p := range parts {
		if !known[p] {
			return nil, cli.Tag(cli.KindUsage, fmt.Errorf("no part %q has a log in %s", p, dir), "parts: "+strings.Join(all, ", "))
		}
		out = append(out, filepath.Join(dir, p+logSuffix))
	}
	return out, nil
}

// logFile is a log that is read on. Its lines are shown whole.
type logFile struct {
	name, part string
	alone      bool
	at         int64
	rest       []byte // a line whose end is not written yet
}

// last shows the last lines.
func (l *logFile) last(w io.Writer, lines int) error {
	f, err := os.Open(l.name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read side
	st, err := f.Stat()
	if err != nil {
		return err
	}
	from, err := lastLines(f, st.Size(), lines)
	if err != nil {
		return fmt.Errorf("reading %s: %w", l.name, err)
	}
	l.at = from
	return l.show(w, io.NewSectionReader(f, from, st.Size()-from))
}

// more shows what was written since. A log that a new start has emptied begins anew.
func (l *logFile) more(w io.Writer) error {
	f, err := os.Open(l.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // read side
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if st.Size() < l.at {
		l.at, l.rest = 0, nil
	}
	return l.show(w, io.NewSectionReader(f, l.at, st.Size()-l.at))
}

func (l *logFile) show(w io.Writer, r io.Reader) error {
	data, err := io.ReadAll(r)
	if err != nil {
		return fmt.Errorf("reading %s: %w", l.name, err)
	}
	l.at += int64(len(data))
	l.rest = append(l.rest, data...)
	for {
		line, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return nil
		}
		l.rest = rest
		if !l.alone {
			if _, err := fmt.Fprintf(w, "%s: ", l.part); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintf(w, "%s\n", line); err != nil {
			return err
		}
	}
}

// lastLines is where the last lines begin, found from the end.
func lastLines(f io.ReaderAt, size int64, lines int) (int64, error) {
	buf := make([]byte, tailBlock)
	for end := size; end > 0; {
		begin := max(0, end-tailBlock)
		part := buf[:end-begin]
		if _, err := f.ReadAt(part, begin); err != nil {
			return 0, err
		}
		for i, b := range slices.Backward(part) {
			if b == '\n' && begin+int64(i) != size-1 {
				lines--
			}
			if lines <= 0 {
				return begin + int64(i) + 1, nil
			}
		}
		end = begin
	}
	return 0, nil
}
