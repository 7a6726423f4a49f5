package simtdx_test

import (
	"bytes"
	"testing"

	"cocoon/host/localnet/simtdx"
)

func FuzzReadPrediction(f *testing.F) {
	for _, s := range []string{
		`{"schema":"cocoon.measure.predict/1","predictions":[]}`,
		`{"schema":"cocoon.measure.predict/1","predictions":[{"shape":"x","events":[{"register":"RTMR9"}]}]}`,
		`{"schema":"cocoon.measure.predict/1","predictions":[{"shape":"x","mrtd":"00"}]}`,
		`{"schema":"cocoon.measure.predict/1","predictions":null}`,
		`[]`, ``,
	} {
		f.Add([]byte(s), "x")
	}
	f.Fuzz(func(t *testing.T, data []byte, shape string) {
		p, err := simtdx.ReadPrediction(bytes.NewReader(data), shape)
		if err == nil && (p.MRTD.IsZero() || len(p.Events) == 0 || shape != "" && p.Shape != shape) {
			t.Errorf("read %+v", p)
		}
	})
}
