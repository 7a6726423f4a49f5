package main

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/image/pipeline"
	"cocoon/image/wheel"
)

// maxWheelsReport bounds the file; package wheel has the same bound.
const maxWheelsReport = 64 << 20

// wheelsResult says what the list of wheels holds and what changed.
type wheelsResult struct {
	Schema  string       `json:"schema"`
	Path    string       `json:"path"`
	Written bool         `json:"written"`
	Wheels  int          `json:"wheels"`
	Size    int64        `json:"size"` // bytes of all of them
	Changes []lockChange `json:"changes"`
}

// Text implements cli.Document.
func (r wheelsResult) Text(w io.Writer) error {
	rows := make([][]string, 0, len(r.Changes))
	for _, c := range r.Changes {
		rows = append(rows, []string{c.Entry, orAbsent(c.Old), "->", orAbsent(c.New)})
	}
	if err := cli.Table(w, rows); err != nil {
		return err
	}
	state := "unchanged"
	if r.Written {
		state = "written; now run \"cocoon image lock update\""
	}
	_, err := fmt.Fprintf(w, "%s: %d wheels, %d MB, %s\n", r.Path, r.Wheels, r.Size/1e6, state)
	return err
}

func newLockWheelsCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "wheels REPORT",
		Short:   "Make the list of Python wheels from the report of pip's resolver",
		Example: "  cocoon image lock wheels report.json\n  cocoon image lock wheels report.json --dry-run",
		Args:    args(1, 1, "REPORT"),
		RunE: func(cmd *cobra.Command, names []string) error {
			o, err := a.options()
			if err != nil {
				return err
			}
			report, err := readReport(names[0])
			if err != nil {
				return err
			}
			list, path, changes, err := pipeline.ReadWheelsReport(cmd.Context(), o.Root, report, wheel.HeadSize(http.DefaultClient))
			if err != nil {
				return fmt.Errorf("%s: %w", names[0], err)
			}
			out := wheelsResult{Schema: "cocoon.image.lock-wheels/1", Path: path, Wheels: len(list.Wheels), Changes: []lockChange{}}
			for _, w := range list.Wheels {
				out.Size += w.Size
			}
			for _, c := range changes {
				out.Changes = append(out.Changes, lockChange{"wheel " + c.Name, c.Old, c.New})
			}
			if len(changes) > 0 && !a.dryRun {
				if err := list.Save(path); err != nil {
					return err
				}
				out.Written = true
			}
			return a.printer.Result(out)
		},
	}
}

func readReport(name string) ([]byte, error) {
	data, err := cli.ReadFile(name, maxWheelsReport)
	if err != nil {
		return nil, fmt.Errorf("reading the resolver's report: %w", err)
	}
	return data, nil
}
