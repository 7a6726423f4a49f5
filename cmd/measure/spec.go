package main

import (
	"context"
	"flag"
	"io"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/spec"
)

func setupSpec(fs *flag.FlagSet) action {
	debug := fs.Bool("debug", false, "predict for a debug image, which extends its marker")
	return func(_ context.Context, e *env, operands []string) error {
		tree, err := readSpec(operands[0])
		if err != nil {
			return err
		}
		if tree == nil {
			return cli.Usagef("spec folder has an empty name")
		}
		return e.result(&specResult{
			Schema: "cocoon.measure.spec/1", Debug: *debug,
			specDoc: specDoc{Tree: tree.String(), RTMR3: spec.PredictRTMR3(*tree, *debug), Messages: spec.Messages(*tree, *debug)},
		})
	}
}

// specResult is the document of `spec`.
type specResult struct {
	Schema string `json:"schema"`
	Debug  bool   `json:"debug"`
	specDoc
}

// Text prints the messages in extend order and the two values.
func (d *specResult) Text(w io.Writer) error {
	rows := [][]string{{"spec tree", d.Tree}}
	for _, m := range d.Messages {
		rows = append(rows, []string{"message", m})
	}
	return cli.Table(w, append(rows,
		[]string{"RTMR3 at sealing", d.RTMR3.Seal.String()},
		[]string{"RTMR3", d.RTMR3.Final.String()}))
}
