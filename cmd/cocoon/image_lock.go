package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/image/pipeline"
)

// lockResult says what the lock holds and, after an update, what changed.
type lockResult struct {
	Schema    string       `json:"schema"`
	Path      string       `json:"path"`
	Written   bool         `json:"written"`
	Go        string       `json:"go"`
	Epoch     int64        `json:"epoch"`
	Suites    int          `json:"suites"`
	Artefacts int          `json:"artefacts"`
	Changes   []lockChange `json:"changes"`
	Unused    []string     `json:"unused_excludes"`
}

// lockChange is one entry that differs; an absent side is empty.
type lockChange struct {
	Entry string `json:"entry"`
	Old   string `json:"old"`
	New   string `json:"new"`
}

// Text implements cli.Document.
func (r lockResult) Text(w io.Writer) error {
	rows := make([][]string, 0, len(r.Changes)+len(r.Unused))
	for _, c := range r.Changes {
		rows = append(rows, []string{c.Entry, orAbsent(c.Old), "->", orAbsent(c.New)})
	}
	for _, u := range r.Unused {
		rows = append(rows, []string{"unused exclusion in the recipe:", u})
	}
	if err := cli.Table(w, rows); err != nil {
		return err
	}
	state := "unchanged"
	switch {
	case r.Written:
		state = "written"
	case len(r.Changes) > 0:
		state = "not written"
	}
	_, err := fmt.Fprintf(w, "%s: %d artefacts of %d suites, Go %s, %s\n", r.Path, r.Artefacts, r.Suites, r.Go, state)
	return err
}

func orAbsent(s string) string {
	if s == "" {
		return "absent"
	}
	return s
}

func newImageLockCmd(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "lock",
		Short: "Pin every input of the images by hash",
	}
	cmd.AddCommand(newLockCheckCmd(a), newLockUpdateCmd(a), newLockWheelsCmd(a))
	return cmd
}

func newLockCheckCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "check",
		Short:   "Check that the lock is well formed and fits the recipe and the Go toolchain",
		Example: "  cocoon image lock check\n  cocoon image lock check -o json",
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.options()
			if err != nil {
				return err
			}
			l, err := pipeline.CheckLock(cmd.Context(), o)
			if err != nil {
				return err
			}
			return a.printer.Result(lockResult{
				Schema: "cocoon.image.lock/1", Path: pipeline.LockPath(o.Root), Go: l.Go, Epoch: l.Epoch, Suites: len(l.Suites),
				Artefacts: len(l.Artefacts), Changes: []lockChange{}, Unused: []string{},
			})
		},
	}
}

func newLockUpdateCmd(a *app) *cobra.Command {
	var from []string
	cmd := &cobra.Command{
		Use:     "update",
		Short:   "Resolve the recipe against the signed archives and write the lock",
		Example: "  cocoon image lock update\n  cocoon image lock update --dry-run",
		Args:    args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.options()
			if err != nil {
				return err
			}
			o.From = from
			a.reporter.Report(cli.Event{Kind: cli.EventNote, Name: "lock", Detail: "reading signed package indexes and packages"})
			update, err := pipeline.UpdateLock(cmd.Context(), o)
			if err != nil {
				return err
			}
			out := lockResult{
				Schema: "cocoon.image.lock/1", Path: pipeline.LockPath(o.Root), Go: update.Lock.Go, Epoch: update.Lock.Epoch,
				Suites: len(update.Lock.Suites), Artefacts: len(update.Lock.Artefacts), Changes: []lockChange{}, Unused: []string{},
			}
			out.Unused = append(out.Unused, update.UnusedExcludes...)
			for _, c := range update.Changes {
				out.Changes = append(out.Changes, lockChange(c))
			}
			if len(out.Changes) > 0 && !a.dryRun {
				if err := update.Lock.Save(out.Path); err != nil {
					return err
				}
				out.Written = true
			}
			return a.printer.Result(out)
		},
	}
	cmd.Flags().StringSliceVar(&from, "from", nil, "folder or URL with exported inputs to ask first")
	return cmd
}
