package eventlog_test

import (
	"testing"

	"cocoon/measure/eventlog"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

type viewEvent struct {
	Type   string
	SHA384 tdx.Digest
	Text   string
}

type logVector struct {
	File   string
	Events int
	PCRs   map[uint32]tdx.Digest `json:"pcr_sha384"`
	View   struct {
		Events1 []viewEvent `json:"rtmr1_events"`
		Events2 []viewEvent `json:"rtmr2_events"`
		RTMR1   tdx.Digest
		RTMR2   tdx.Digest
	} `json:"td_view"`
}

func logVectors(tb testing.TB) []logVector {
	tb.Helper()
	var v struct{ Logs []logVector }
	golden.JSON(tb, "measure/tcglog.json", &v)
	if len(v.Logs) == 0 {
		tb.Fatal("tcglog.json lists no logs")
	}
	return v.Logs
}

func parse(tb testing.TB, data []byte, kind eventlog.Kind) *eventlog.Log {
	tb.Helper()
	log, err := eventlog.Parse(data, kind)
	if err != nil {
		tb.Fatal(err)
	}
	return log
}

// hardwareLog is the CCEL of a real TD and the registers of its quote.
func hardwareLog(tb testing.TB) (*eventlog.Log, *tdx.Body) {
	tb.Helper()
	q, err := tdx.ParseQuote(golden.Vector(tb, "attestation/cos-113-tdx-quote.dat"))
	if err != nil {
		tb.Fatal(err)
	}
	return parse(tb, golden.Vector(tb, "attestation/ccel_data.dat.gz"), eventlog.TD), q.TD
}
