package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"cocoon/image/pipeline"
	"cocoon/measure/launch"
)

// qemuResult says where the locked QEMU is.
type qemuResult struct {
	Schema    string `json:"schema"`
	Version   string `json:"version"`
	Launcher  string `json:"launcher"`
	Group     string `json:"group"`
	Packages  int    `json:"packages"`
	SizeBytes int64  `json:"size_bytes"` // 0 in a dry run, when it is not there yet
}

// Text implements cli.Document: the path alone, for use in another command.
func (r qemuResult) Text(w io.Writer) error {
	_, err := fmt.Fprintln(w, r.Launcher)
	return err
}

func newImageQEMUCmd(a *app) *cobra.Command {
	var version string
	var from []string
	var offline bool
	cmd := &cobra.Command{
		Use:   "qemu",
		Short: "Unpack the locked QEMU and print its path",
		Long: "Unpack the locked QEMU and print its path.\n\n" +
			"ACPI tables, and so RTMR0, differ between versions of QEMU. This is the one that the\n" +
			"published shapes are for, from the packages that the lock names. It starts where it lies,\n" +
			"in the cache: nothing is installed, no root is needed, and the host's QEMU plays no part.",
		Example: "  cocoon image qemu\n" +
			"  measure predict --qemu \"$(cocoon image qemu)\" out/proxy\n" +
			"  cocoon image qemu --version 10.0.13 -o json",
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := a.options()
			if err != nil {
				return err
			}
			o.From, o.Offline = from, offline
			q, err := pipeline.PlanQEMU(o, version)
			if err == nil && !a.dryRun {
				q, err = pipeline.InstallQEMU(cmd.Context(), o, version, a.report)
			}
			if err != nil {
				return err
			}
			return a.printer.Result(qemuResult{
				Schema: "cocoon.image.qemu/1", Version: q.Version, Launcher: q.Launcher, Group: q.Group, Packages: q.Packages,
				SizeBytes: q.Size,
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&version, "version", launch.HostQEMU, "QEMU's version, one of those in the lock")
	f.StringSliceVar(&from, "from", nil, "folder or URL with exported inputs to ask first")
	f.BoolVar(&offline, "offline", false, "use no network")
	return cmd
}
