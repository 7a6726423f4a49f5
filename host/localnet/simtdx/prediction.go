package simtdx

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"cocoon/measure/eventlog"
	"cocoon/measure/measuretest"
	"cocoon/measure/tdx"
)

const (
	// predictSchema names the document that `measure predict -o json` writes.
	predictSchema = "cocoon.measure.predict/1"
	// maxPrediction bounds that document; one machine has some 20 kB.
	maxPrediction = 16 << 20
)

// Prediction is what is measured when a machine boots an image: one entry of a prediction document.
type Prediction struct {
	Shape     string     `json:"shape"`
	MRTD      tdx.Digest `json:"mrtd"`
	RTMR0     tdx.Digest `json:"rtmr0"`
	RTMR1     tdx.Digest `json:"rtmr1"`
	RTMR2     tdx.Digest `json:"rtmr2"`
	ImageHash *tdx.Hash  `json:"imageHash"`
	Events    []struct {
		Register    tdx.Register       `json:"register"`
		Type        eventlog.EventType `json:"type"`
		Description string             `json:"description"`
		Digest      tdx.Digest         `json:"digest"`
	} `json:"events"`
}

// ReadPrediction reads the document of `measure predict -o json` and picks a machine. The shape may be empty if the
// document has one only. Members that are not about measurements are left to measure's own readers.
func ReadPrediction(r io.Reader, shape string) (*Prediction, error) {
	p, err := readPrediction(r, shape)
	if err != nil {
		return nil, fmt.Errorf("reading prediction: %w", err)
	}
	return p, nil
}

func readPrediction(r io.Reader, shape string) (*Prediction, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxPrediction+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxPrediction {
		return nil, fmt.Errorf("more than %d bytes", maxPrediction)
	}
	var doc struct {
		Schema      string       `json:"schema"`
		Predictions []Prediction `json:"predictions"`
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	if err := dec.Decode(&doc); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, errors.New("data after the document")
	}
	if doc.Schema != predictSchema {
		return nil, fmt.Errorf("schema is %q, want %q: make the file with measure predict -o json", doc.Schema, predictSchema)
	}
	return pick(doc.Predictions, shape)
}

func pick(predictions []Prediction, shape string) (*Prediction, error) {
	names := make([]string, 0, len(predictions))
	for i := range predictions {
		p := &predictions[i]
		names = append(names, p.Shape)
		if p.Shape != shape && (shape != "" || len(predictions) > 1) {
			continue
		}
		if p.MRTD.IsZero() || p.RTMR0.IsZero() || len(p.Events) == 0 {
			return nil, fmt.Errorf("shape %q has no measurements", p.Shape)
		}
		return p, nil
	}
	if shape == "" {
		return nil, fmt.Errorf("choose one of the shapes %s", strings.Join(names, ", "))
	}
	return nil, fmt.Errorf("shape %q is none of %s", shape, strings.Join(names, ", "))
}

// td is a TD that has booted as predicted; the launch checks that the events replay to the registers.
func (p *Prediction) td() (measuretest.TDOptions, error) {
	r, err := newRecorder()
	if err != nil {
		return measuretest.TDOptions{}, err
	}
	o := measuretest.TDOptions{Measurements: tdx.Measurements{MRTD: p.MRTD, RTMR: [4]tdx.Digest{p.RTMR0, p.RTMR1, p.RTMR2}}}
	for _, e := range p.Events {
		if e.Register == tdx.MRTD {
			continue // measured by the TDX module, not logged
		}
		data, err := r.logged(e.Type, e.Description, e.Digest)
		if err != nil {
			return measuretest.TDOptions{}, err
		}
		o.Events = append(o.Events, measuretest.Event{Register: e.Register, Type: e.Type, Digest: e.Digest, Data: data})
	}
	return o, nil
}
