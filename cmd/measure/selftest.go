package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"cocoon/cmd/internal/cli"
)

func setupSelftest(_ *flag.FlagSet) action {
	return func(_ context.Context, e *env, _ []string) error {
		doc := &selftestDoc{Schema: "cocoon.measure.selftest/1", OK: true}
		for _, t := range selftests() {
			r := selftestResult{Name: t.name, OK: true}
			if err := t.run(); err != nil {
				r.OK, r.Error, doc.OK = false, err.Error(), false
			}
			doc.Tests = append(doc.Tests, r)
		}
		if err := e.result(doc); err != nil {
			return err
		}
		if !doc.OK {
			return cli.Tag(cli.KindDifference, fmt.Errorf("this binary computes wrong values on this machine"))
		}
		return nil
	}
}

// selftestDoc is the document of `selftest`.
type selftestDoc struct {
	Schema string           `json:"schema"`
	OK     bool             `json:"ok"`
	Tests  []selftestResult `json:"tests"`
}

type selftestResult struct {
	Name  string `json:"name"`
	OK    bool   `json:"ok"`
	Error string `json:"error,omitempty"`
}

// Text prints one line a test.
func (d *selftestDoc) Text(w io.Writer) error {
	rows := make([][]string, 0, len(d.Tests))
	for _, t := range d.Tests {
		verdict := "ok"
		if !t.OK {
			verdict = "FAILED: " + t.Error
		}
		rows = append(rows, []string{verdict, t.Name})
	}
	return cli.Table(w, rows)
}
