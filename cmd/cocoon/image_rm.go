package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"cocoon/cmd/internal/cli"
	"cocoon/image/manifest"
)

// rmResult lists what was deleted, or would be.
type rmResult struct {
	Schema  string   `json:"schema"`
	Deleted bool     `json:"deleted"`
	Paths   []string `json:"paths"`
}

// Text implements cli.Document.
func (r rmResult) Text(w io.Writer) error {
	verb := "would delete"
	if r.Deleted {
		verb = "deleted"
	}
	p := &lines{w: w}
	for _, path := range r.Paths {
		p.printf("%s %s", verb, path)
	}
	return p.err
}

func newImageRmCmd(a *app) *cobra.Command {
	var steps bool
	cmd := &cobra.Command{
		Use:     "rm [NAME...]",
		Short:   "Delete built images, and with --steps the cache of finished steps",
		Example: "  cocoon image rm proxy --yes\n  cocoon image rm --steps --dry-run",
		RunE: func(_ *cobra.Command, names []string) error {
			if len(names) == 0 && !steps {
				return cli.Tag(cli.KindUsage, errors.New("nothing to delete: no name given"), "run \"cocoon image ls\" to see what is built")
			}
			o, err := a.options()
			if err != nil {
				return err
			}
			paths, err := deletable(o.OutDir, names)
			if err != nil {
				return err
			}
			if steps {
				paths = append(paths, filepath.Join(o.CacheDir, "steps"))
			}
			out := rmResult{Schema: "cocoon.image.rm/1", Paths: paths}
			if a.dryRun {
				return a.printer.Result(out)
			}
			if err := a.confirm("delete " + strings.Join(paths, ", ")); err != nil {
				return err
			}
			for _, p := range paths {
				if err := os.RemoveAll(p); err != nil {
					return fmt.Errorf("deleting %s: %w", p, err)
				}
			}
			out.Deleted = true
			return a.printer.Result(out)
		},
	}
	cmd.Flags().BoolVar(&steps, "steps", false, "delete the cache of finished steps; inputs stay")
	return cmd
}

// deletable accepts only folders that hold an image, so that a wrong --out cannot delete anything else.
func deletable(dir string, names []string) ([]string, error) {
	out := []string{}
	for _, name := range names {
		at := filepath.Join(dir, name)
		if name == "" || name != filepath.Base(name) || !isFile(filepath.Join(at, manifest.FileName)) {
			return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%q is not an image below %s", name, dir), "run \"cocoon image ls\" to see what is built")
		}
		out = append(out, at)
	}
	return out, nil
}

// confirm asks on the terminal. Without a terminal nothing is deleted unless --yes was given.
func (a *app) confirm(what string) error {
	if a.yes {
		return nil
	}
	if !a.interactive {
		return cli.Tag(cli.KindUsage, fmt.Errorf("refusing to %s without a terminal to ask on", what), "add --yes")
	}
	fmt.Fprintf(a.stderr, "%s? [y/N] ", what) //nolint:errcheck // the answer is what counts
	answer, err := bufio.NewReader(io.LimitReader(a.stdin, 16)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("nothing deleted")
	}
	return nil
}
