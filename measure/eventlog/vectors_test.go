package eventlog_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cocoon/measure/eventlog"
	"cocoon/measure/tdx"
)

// vector reads a file of ../shared/vectors, beside the repository; .gz files are unpacked.
func vector(tb testing.TB, name string) []byte {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			tb.Fatal("no go.mod above the test's folder")
		}
		dir = filepath.Dir(dir)
	}
	data, err := os.ReadFile(filepath.Join(dir, "..", "shared", "vectors", filepath.FromSlash(name)))
	if err != nil {
		tb.Skipf("vectors are not beside this checkout: %v", err)
	}
	if !strings.HasSuffix(name, ".gz") {
		return data
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		tb.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

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
	if err := json.Unmarshal(vector(tb, "measure/tcglog.json"), &v); err != nil {
		tb.Fatal(err)
	}
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
	q, err := tdx.ParseQuote(vector(tb, "attestation/cos-113-tdx-quote.dat"))
	if err != nil {
		tb.Fatal(err)
	}
	return parse(tb, vector(tb, "attestation/ccel_data.dat.gz"), eventlog.TD), q.Body
}
