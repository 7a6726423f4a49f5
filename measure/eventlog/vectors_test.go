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
func vector(t testing.TB, name string) []byte {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = filepath.Dir(dir)
	}
	data, err := os.ReadFile(filepath.Join(dir, "..", "shared", "vectors", filepath.FromSlash(name)))
	if err != nil {
		t.Skipf("vectors are not beside this checkout: %v", err)
	}
	if !strings.HasSuffix(name, ".gz") {
		return data
	}
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
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

func logVectors(t testing.TB) []logVector {
	t.Helper()
	var v struct{ Logs []logVector }
	if err := json.Unmarshal(vector(t, "measure/tcglog.json"), &v); err != nil {
		t.Fatal(err)
	}
	if len(v.Logs) == 0 {
		t.Fatal("tcglog.json lists no logs")
	}
	return v.Logs
}

func parse(t testing.TB, data []byte, kind eventlog.Kind) *eventlog.Log {
	t.Helper()
	log, err := eventlog.Parse(data, kind)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// hardwareLog is the CCEL of a real TD and the registers of its quote.
func hardwareLog(t testing.TB) (*eventlog.Log, *tdx.Body) {
	t.Helper()
	q, err := tdx.ParseQuote(vector(t, "attestation/cos-113-tdx-quote.dat"))
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, vector(t, "attestation/ccel_data.dat.gz"), eventlog.TD), q.Body
}
