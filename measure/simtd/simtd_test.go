package simtd_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/simtd"
	"cocoon/measure/tdx"
)

func frame(document string) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(document))), document...)
}

func TestRequestsHaveOneForm(t *testing.T) {
	tests := map[string]struct {
		request simtd.Request
		text    string
	}{
		"extend": {
			simtd.Request{ID: 7, Method: simtd.ExtendRTMR, Register: new(tdx.RTMR3), Digest: &tdx.Digest{0xab}},
			`{"id":7,"method":"ExtendRTMR","register":"RTMR3","digest":"ab` + strings.Repeat("0", 94) + `"}`,
		},
		"quote": {
			simtd.Request{ID: 1, Method: simtd.GetQuote, ReportData: bytes.Repeat([]byte{0x0f}, 64)},
			`{"id":1,"method":"GetQuote","report_data":"` + strings.Repeat("0f", 64) + `"}`,
		},
		"log": {simtd.Request{Method: simtd.EventLog}, `{"id":0,"method":"EventLog"}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := simtd.Write(&out, tc.request); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(out.Bytes(), frame(tc.text)) {
				t.Errorf("written %q, want %q", out.Bytes(), frame(tc.text))
			}
			var back simtd.Request
			if err := simtd.Read(&out, &back); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.request, back); diff != "" {
				t.Error(diff)
			}
			if err := back.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRequestsCarryWhatTheirMethodTakes(t *testing.T) {
	data := make([]byte, 64)
	tests := map[string]struct {
		request simtd.Request
		want    string
	}{
		"unknown method":     {simtd.Request{Method: "Launch"}, "unknown"},
		"no report data":     {simtd.Request{Method: simtd.GetQuote}, "0 bytes"},
		"long report data":   {simtd.Request{Method: simtd.GetReport, ReportData: make([]byte, 65)}, "65 bytes"},
		"quote of register":  {simtd.Request{Method: simtd.GetQuote, ReportData: data, Register: new(tdx.RTMR0)}, "register is given"},
		"extend nothing":     {simtd.Request{Method: simtd.ExtendRTMR, Register: new(tdx.RTMR0)}, "digest is given: false"},
		"extend nowhere":     {simtd.Request{Method: simtd.ExtendRTMR, Digest: new(tdx.Digest)}, "register is given: false"},
		"read nothing":       {simtd.Request{Method: simtd.ReadMR}, "register is given: false"},
		"log with label":     {simtd.Request{Method: simtd.EventLog, Label: "x"}, "label is given: true"},
		"reset with data":    {simtd.Request{Method: simtd.Reset, ReportData: data}, "report_data is given: true"},
		"no label":           {simtd.Request{Method: simtd.SealKey}, "label has 0"},
		"label without end":  {simtd.Request{Method: simtd.SealKey, Label: strings.Repeat("x", 257)}, "label has 257"},
		"seal with register": {simtd.Request{Method: simtd.SealKey, Label: "x", Register: new(tdx.MRTD)}, "register is given: true"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if err := tc.request.Validate(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestMalformedFramesAreErrors(t *testing.T) {
	tests := map[string]struct {
		data []byte
		want string
	}{
		"empty":           {frame(""), "length is 0"},
		"huge":            {[]byte{0, 0, 0x20, 0}, "length is 2097152"},
		"short length":    {[]byte{1, 0}, "frame length"},
		"short document":  {frame(`{"id":1}`)[:8], "unexpected EOF"},
		"unknown key":     {frame(`{"id":1,"method":"Reset","root":"x"}`), "root"},
		"duplicate key":   {frame(`{"id":1,"id":2,"method":"Reset"}`), "id"},
		"other case":      {frame(`{"ID":1,"method":"Reset"}`), "ID"},
		"two documents":   {frame(`{"id":1,"method":"Reset"}{}`), "after"},
		"odd digits":      {frame(`{"id":1,"method":"GetQuote","report_data":"abc"}`), "bytes"},
		"unknown counter": {frame(`{"id":1,"method":"ReadMR","register":"RTMR4"}`), "RTMR4"},
		"short digest":    {frame(`{"id":1,"method":"ExtendRTMR","register":"RTMR3","digest":"00"}`), "digest"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var r simtd.Request
			if err := simtd.Read(bytes.NewReader(tc.data), &r); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
	var r simtd.Request
	if err := simtd.Read(bytes.NewReader(nil), &r); !errors.Is(err, io.EOF) {
		t.Errorf("a channel that ended between frames gave %v", err)
	}
	if err := simtd.Write(io.Discard, simtd.Response{Data: make([]byte, simtd.MaxFrame)}); err == nil {
		t.Error("a document over the bound was written")
	}
}

// channel answers with prepared frames.
type channel struct {
	io.Reader
	asked bytes.Buffer
}

func (c *channel) Write(p []byte) (int, error) { return c.asked.Write(p) }

func TestAnswersToAbandonedQuestionsAreSkipped(t *testing.T) {
	c := &channel{Reader: bytes.NewReader(append(frame(`{"id":3,"data":"00"}`), frame(`{"id":9,"data":"01"}`)...))}
	got, err := simtd.NewConn(c, 9).Call(simtd.Request{Method: simtd.EventLog})
	if err != nil || !bytes.Equal(got, []byte{1}) {
		t.Errorf("got %x, %v", got, err)
	}
	stale := &channel{Reader: bytes.NewReader(bytes.Repeat(frame(`{"id":3}`), 100))}
	if _, err := simtd.NewConn(stale, 9).Call(simtd.Request{Method: simtd.EventLog}); err == nil {
		t.Error("a channel of strangers' answers was read without end")
	}
}

func TestRefusalsAreToldFromBrokenChannels(t *testing.T) {
	refusing := &channel{Reader: bytes.NewReader(frame(`{"id":0,"error":"no such register"}`))}
	if _, err := simtd.NewConn(refusing, 0).Call(simtd.Request{Method: simtd.EventLog}); !errors.Is(err, simtd.ErrRefused) || !strings.Contains(err.Error(), "no such register") {
		t.Errorf("got %v", err)
	}
	gone := &channel{Reader: bytes.NewReader(nil)}
	if _, err := simtd.NewConn(gone, 0).Call(simtd.Request{Method: simtd.EventLog}); !errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
	silent := &channel{Reader: bytes.NewReader(nil)}
	if _, err := simtd.NewConn(silent, 0).Call(simtd.Request{Method: simtd.GetQuote}); err == nil || silent.asked.Len() > 0 {
		t.Errorf("an invalid question was asked: %v", err)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{
		`{"id":1,"method":"Reset"}`, `{"id":2,"method":"ReadMR","register":"RTMR0"}`, `{"id":3,"data":"00ff"}`, `{"id":4,"error":"no"}`,
		`{"id":5,"method":"SealKey","label":"x"}`, `{"id":6,"id":6}`, ``,
	} {
		f.Add(frame(s))
	}
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		var r simtd.Request
		if err := simtd.Read(bytes.NewReader(data), &r); err == nil && r.Validate() == nil {
			var out bytes.Buffer
			if err := simtd.Write(&out, r); err != nil {
				t.Fatal(err)
			}
			var back simtd.Request
			if err := simtd.Read(&out, &back); err != nil || !cmp.Equal(r, back) {
				t.Errorf("%+v does not survive: %v", r, err)
			}
		}
		var a simtd.Response
		_ = simtd.Read(bytes.NewReader(data), &a)
	})
}
