package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/eventlog"
	"cocoon/measure/launch"
	"cocoon/measure/tdx"
)

func setupCheck(fs *flag.FlagSet) action {
	var f predictFlags
	f.register(fs)
	quotePath := fs.String("quote", "", "quote `file`")
	manifestPath := fs.String("manifest", "", "manifest `file` or its folder")
	logPath := fs.String("ccel", "", "event log `file`, to name the event that differs")
	return func(ctx context.Context, e *env, _ []string) error {
		if *quotePath == "" || *manifestPath == "" {
			return cli.Usagef("check needs --quote and --manifest")
		}
		quote, err := readQuote(*quotePath)
		if err != nil {
			return err
		}
		var log *eventlog.Log
		if *logPath != "" {
			if log, err = readLog(*logPath, kindTD); err != nil {
				return err
			}
		}
		predicted, err := f.predict(ctx, e, *manifestPath)
		if err != nil {
			return err
		}
		return check(e, predicted, log, &quote.TD.Measurements)
	}
}

// check compares evidence with the prediction for every shape; one that matches is enough.
func check(e *env, predicted *predictDoc, log *eventlog.Log, quoted *tdx.Measurements) error {
	doc := checkDoc{Schema: "cocoon.measure.check/1", Image: predicted.Image.Name}
	for _, p := range predicted.Predictions {
		report, err := launch.Diff(p.prediction, log, quoted)
		if err != nil {
			return err
		}
		one := shapeReport{Shape: p.Shape, OK: report.OK(), Findings: report.Findings}
		if quoted != nil && predicted.Spec != nil {
			one.addRTMR3(predicted.Spec, quoted.RTMR[3])
		}
		doc.OK = doc.OK || one.OK
		doc.Shapes = append(doc.Shapes, one)
	}
	if err := e.result(doc); err != nil {
		return err
	}
	if !doc.OK {
		return cli.Tag(cli.KindDifference, fmt.Errorf("the evidence is not that of image %s", doc.Image))
	}
	return nil
}

// addRTMR3 compares the register that follows from the spec.
func (r *shapeReport) addRTMR3(s *specDoc, quoted tdx.Digest) {
	f := launch.Finding{
		Register: tdx.RTMR3, Verdict: launch.Equal, Predicted: s.RTMR3.Final, Quoted: &quoted,
		Why: "the spec is the predicted one",
	}
	switch quoted {
	case s.RTMR3.Final:
	case s.RTMR3.Seal:
		f.Verdict, f.Why = launch.Differs, "the quote was made before the guest was ready: this is the value at sealing"
	default:
		f.Verdict, f.Why = launch.Differs, "another spec, or a debug image"
	}
	r.OK = r.OK && f.Verdict == launch.Equal
	r.Findings = append(r.Findings, f)
}

// checkDoc is the document of `check`, and of `diff` between a manifest and a log.
type checkDoc struct {
	Schema string        `json:"schema"`
	OK     bool          `json:"ok"`
	Image  string        `json:"image"`
	Shapes []shapeReport `json:"shapes"`
}

type shapeReport struct {
	Shape    string           `json:"shape"`
	OK       bool             `json:"ok"`
	Findings []launch.Finding `json:"findings"`
}

// Text prints one line a register, and below it the event that differs.
func (d checkDoc) Text(w io.Writer) error {
	var out strings.Builder
	for _, s := range d.Shapes {
		fmt.Fprintf(&out, "image %s, shape %s\n", d.Image, s.Shape)
		for _, f := range s.Findings {
			fmt.Fprintf(&out, "  %-5s  %-15s  %s\n", f.Register, f.Verdict, f.Why)
			if f.Position != nil {
				fmt.Fprintf(&out, "         event %d\n           expected  %s\n           found     %s\n", *f.Position, f.Expected, f.Found)
			}
			if f.Quoted != nil && *f.Quoted != f.Predicted {
				fmt.Fprintf(&out, "           predicted %s\n           quoted    %s\n", f.Predicted, *f.Quoted)
			}
			if len(f.Inputs) > 0 {
				fmt.Fprintf(&out, "           moved by  %s\n", inputList(f.Inputs))
			}
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}
