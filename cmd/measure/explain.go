package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"strings"

	"cocoon/measure/launch"
)

func setupExplain(fs *flag.FlagSet) action {
	var f predictFlags
	f.register(fs)
	return func(ctx context.Context, e *env, operands []string) error {
		predicted, err := f.predict(ctx, e, operands[0])
		if err != nil {
			return err
		}
		doc := explainDoc{Schema: "cocoon.measure.explain/1", Image: predicted.Image.Name, QEMU: predicted.QEMU, Spec: predicted.Spec}
		for _, p := range predicted.Predictions {
			doc.Shapes = append(doc.Shapes, shapeExplanation{Shape: p.Shape, Explanation: p.prediction.Explain()})
		}
		return e.result(doc)
	}
}

// explainDoc is the document of `explain`.
type explainDoc struct {
	Schema string             `json:"schema"`
	Image  string             `json:"image"`
	QEMU   string             `json:"qemu"`
	Spec   *specDoc           `json:"spec,omitempty"`
	Shapes []shapeExplanation `json:"shapes"`
}

type shapeExplanation struct {
	Shape string `json:"shape"`
	launch.Explanation
}

// Text draws the tree: register, its events, their inputs; then the inputs with what they move.
func (d explainDoc) Text(w io.Writer) error {
	var out strings.Builder
	for _, s := range d.Shapes {
		fmt.Fprintf(&out, "image %s on shape %s, QEMU %s\n", d.Image, s.Shape, d.QEMU)
		for _, r := range s.Registers {
			fmt.Fprintf(&out, "\n%s %s\n", r.Register, r.Value)
			if len(r.Events) == 0 {
				fmt.Fprintf(&out, "  pages of the firmware  <- %s\n", inputList(r.Inputs))
			}
			for i, e := range r.Events {
				branch := "|-"
				if i == len(r.Events)-1 {
					branch = "`-"
				}
				fmt.Fprintf(&out, "  %s %s: %s  <- %s\n", branch, e.Type, e.Description, inputList(e.Inputs))
			}
		}
		d.spec(&out)
		fmt.Fprint(&out, "\nwhat each input moves\n")
		for _, in := range s.Inputs {
			fmt.Fprintf(&out, "  %s\n", in.Input)
			for _, e := range in.Events {
				fmt.Fprintf(&out, "    %s %s\n", e.Register, e.Description)
			}
		}
	}
	_, err := io.WriteString(w, out.String())
	return err
}

func (d explainDoc) spec(out *strings.Builder) {
	if d.Spec == nil {
		fmt.Fprint(out, "\nRTMR3 follows from the spec: give --spec\n")
		return
	}
	fmt.Fprintf(out, "\nRTMR3 %s\n", d.Spec.RTMR3.Final)
	for i, m := range d.Spec.Messages {
		branch := "|-"
		if i == len(d.Spec.Messages)-1 {
			branch = "`-"
		}
		fmt.Fprintf(out, "  %s message %q\n", branch, m)
	}
}

func inputList(inputs []launch.Input) string {
	if len(inputs) == 0 {
		return "constant"
	}
	words := make([]string, len(inputs))
	for i, in := range inputs {
		words[i] = string(in)
	}
	return strings.Join(words, ", ")
}
