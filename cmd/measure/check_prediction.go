package main

import (
	"fmt"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/launch"
	"cocoon/measure/strictjson"
	"cocoon/measure/tdx"
)

// maxPrediction bounds a prediction's file: a shape has some fifty events.
const maxPrediction = 8 << 20

// readPrediction reads what `predict -o json` printed. Events are what a prediction is; values that do not follow from
// them are an error.
func readPrediction(path string) (*predictDoc, error) {
	data, err := cli.ReadFile(path, maxPrediction)
	if err != nil {
		return nil, err
	}
	doc := new(predictDoc)
	if err := strictjson.Decode(data, doc); err != nil {
		return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s: reading prediction: %w", path, err))
	}
	if want := "cocoon.measure.predict/1"; doc.Schema != want {
		return nil, cli.Usagef("%s: schema is %q, want %q", path, doc.Schema, want)
	}
	if len(doc.Predictions) == 0 {
		return nil, cli.Usagef("%s predicts for no machine", path)
	}
	for i := range doc.Predictions {
		if err := doc.Predictions[i].revive(doc.Spec); err != nil {
			return nil, cli.Tag(cli.KindUsage, fmt.Errorf("%s: shape %s: %w", path, doc.Predictions[i].Shape, err))
		}
	}
	return doc, nil
}

// revive makes the prediction that the document describes, and checks the document's values against it.
func (p *shapeDoc) revive(s *specDoc) error {
	p.prediction = &launch.Prediction{MRTD: p.MRTD, Events: p.Events, Variants: p.Variants}
	if p.prediction.Registers() != p.Registers {
		return fmt.Errorf("the registers do not follow from the events: the file was edited")
	}
	if s == nil || p.ImageHash == nil {
		return nil
	}
	if hash := tdx.ImageHash(p.prediction.Measurements(s.RTMR3.Final)); hash != *p.ImageHash {
		return fmt.Errorf("the image hash does not follow from the registers: the file was edited")
	}
	return nil
}
