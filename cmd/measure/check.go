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
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// checkFlags name the evidence and what it should be.
type checkFlags struct {
	predictFlags
	trustFlags

	quote, manifest, prediction, log string
}

func setupCheck(fs *flag.FlagSet) action {
	var f checkFlags
	f.predictFlags.register(fs)
	f.trustFlags.register(fs)
	fs.StringVar(&f.quote, "quote", "", "quote `file`, or a certificate that carries one")
	fs.StringVar(&f.manifest, "manifest", "", "manifest `file` or its folder")
	fs.StringVar(&f.prediction, "prediction", "", "what \"predict -o json\" printed, a `file`; stands in for --manifest and needs no QEMU")
	fs.StringVar(&f.log, "ccel", "", "event log `file`, to name the event that differs")
	return func(ctx context.Context, e *env, _ []string) error { return f.run(ctx, e) }
}

// run reads the evidence before it predicts, which takes longer.
func (f *checkFlags) run(ctx context.Context, e *env) error {
	if f.quote == "" || (f.manifest == "") == (f.prediction == "") {
		return cli.Usagef("check needs --quote, and --manifest or --prediction")
	}
	t, err := f.trustFlags.load(e)
	if err != nil {
		return err
	}
	x, err := readTD(f.quote)
	if err != nil {
		return err
	}
	var log *eventlog.Log
	if f.log != "" {
		if log, err = readLog(f.log, kindTD); err != nil {
			return err
		}
	}
	predicted, err := f.predicted(ctx, e)
	if err != nil {
		return err
	}
	doc, err := compare(predicted, log, &x.quote.TD.Measurements)
	if err != nil {
		return err
	}
	denied, err := doc.trust(t, x)
	if err != nil {
		return err
	}
	return doc.report(e, denied)
}

// predicted makes or reads the prediction.
func (f *checkFlags) predicted(ctx context.Context, e *env) (*predictDoc, error) {
	if f.prediction == "" {
		return f.predict(ctx, e, f.manifest)
	}
	return readPrediction(f.prediction)
}

// check compares evidence that is not a quote to be trusted: diff's logs, with the registers beside them.
func check(e *env, predicted *predictDoc, log *eventlog.Log, quoted *tdx.Measurements) error {
	doc, err := compare(predicted, log, quoted)
	if err != nil {
		return err
	}
	return doc.report(e, nil)
}

// compare compares evidence with the prediction for every shape; one that matches is enough.
func compare(predicted *predictDoc, log *eventlog.Log, quoted *tdx.Measurements) (*checkDoc, error) {
	doc := &checkDoc{Schema: "cocoon.measure.check/1", Image: predicted.Image.Name}
	for _, p := range predicted.Predictions {
		report, err := launch.Diff(p.prediction, log, quoted)
		if err != nil {
			return nil, err
		}
		one := shapeReport{Shape: p.Shape, OK: report.OK(), Findings: report.Findings}
		if quoted != nil && predicted.Spec != nil {
			one.addRTMR3(predicted.Spec, quoted.RTMR[3])
		}
		doc.OK = doc.OK || one.OK
		doc.Shapes = append(doc.Shapes, one)
	}
	return doc, nil
}

// report prints the document; measurements that differ come before what the quote is worth.
func (d *checkDoc) report(e *env, denied error) error {
	equal := d.OK
	d.OK = d.OK && denied == nil
	if err := e.result(d); err != nil {
		return err
	}
	if !equal {
		return cli.Tag(cli.KindDifference, fmt.Errorf("the evidence is not that of image %s", d.Image))
	}
	return denied
}

// noteCompared says how the two halves of the document belong together.
const noteCompared = "the verdict is about platform and attributes; the registers are compared above"

// trust fills in what the quote is worth.
func (d *checkDoc) trust(t *trust, x *exhibit) (denied, failed error) {
	d.At = dateText(t.now)
	if !t.judges() {
		d.Signature, d.Note = t.verifySignatures(x), t.noted(noteUnverified)
		return firstOf(d.Signature.err(), t.checkCertificate(x)), nil
	}
	v, _, err := t.judge(x)
	if err != nil {
		return nil, err
	}
	verdict := v.Document()
	d.Verdict, d.Note = &verdict, t.noted(noteCompared)
	return firstOf(t.verdictErr(&v), t.checkCertificate(x)), nil
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
	// At is when the quote was judged; Signature is the result without collateral, Verdict with it. All are absent when
	// a log was compared.
	At        string           `json:"at,omitempty"`
	Signature *signatureDoc    `json:"signature,omitempty"`
	Verdict   *policy.Document `json:"verdict,omitempty"`
	Note      string           `json:"note,omitempty"`
}

type shapeReport struct {
	Shape    string           `json:"shape"`
	OK       bool             `json:"ok"`
	Findings []launch.Finding `json:"findings"`
}

// Text prints one line a register, and below it the event that differs; then what the quote is worth.
func (d *checkDoc) Text(w io.Writer) error {
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
	switch {
	case d.Verdict != nil:
		fmt.Fprintf(&out, "quote, at %s\n  %s\n  %s\n\n", d.At, strings.Join(verdictRow(d.Verdict), "  "), d.Note)
	case d.Signature == nil:
	case d.Signature.OK:
		fmt.Fprintf(&out, "quote, at %s\n  signatures verify, up to the trusted root\n  %s\n", d.At, d.Note)
	default:
		fmt.Fprintf(&out, "quote, at %s\n  signatures do not verify: %s\n", d.At, d.Signature.Reason)
	}
	if _, err := io.WriteString(w, out.String()); err != nil || d.Verdict == nil {
		return err
	}
	return findingsText(w, d.Verdict)
}
