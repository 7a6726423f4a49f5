package main

import (
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// versionResult says which build this is.
type versionResult struct {
	Schema  string `json:"schema"`
	Version string `json:"version"`
	Go      string `json:"go"`
	Build   string `json:"build,omitempty"`
}

// Text implements cli.Document.
func (v versionResult) Text(w io.Writer) error {
	if v.Build != "" {
		_, err := io.WriteString(w, v.Build)
		return err
	}
	_, err := fmt.Fprintf(w, "%s %s %s\n", program, v.Version, v.Go)
	return err
}

func newVersionCmd(a *app) *cobra.Command {
	var full bool
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Print the version of this program",
		GroupID: groupGeneral,
		Example: "  cocoon version\n  cocoon version --full",
		Args:    args(0, 0, ""),
		RunE: func(*cobra.Command, []string) error {
			out := versionResult{Schema: "cocoon.version/1", Version: "unknown", Go: "unknown"}
			if info, ok := debug.ReadBuildInfo(); ok {
				out.Version, out.Go = info.Main.Version, info.GoVersion
				if full {
					out.Build = info.String()
				}
			}
			return a.printer.Result(out)
		},
	}
	cmd.Flags().BoolVar(&full, "full", false, "print the modules and settings of the build too")
	return cmd
}
