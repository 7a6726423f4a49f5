package receipts

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

// FuzzRecords: a line is what encoding/json writes, behind a checksum, and is read as what was written.
func FuzzRecords(f *testing.F) {
	for _, s := range []string{"", "plain", "<é>&\u2028", "\"\\\n\x00\x7f", "not \xff UTF-8", strings.Repeat("x", 100)} {
		f.Add(s, s, s, int64(len(s)), uint64(len(s)), int64(1772600767123))
	}
	f.Fuzz(func(t *testing.T, id, model, why string, tokens int64, cost uint64, ms int64) {
		r := Record{
			Time: time.UnixMilli(ms).UTC(), ID: id, ChatID: why, Model: model, Key: id, Proxy: model, Class: why, Why: why, Status: id,
			Tokens: tokens, Cost: cost, Receipt: json.RawMessage(`{"a":"<é>","n":1}`),
		}
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		wantErr := enc.Encode(r)
		const before = "what stood there"
		line, err := appendLine([]byte(before), &r)
		if err != nil {
			if wantErr == nil && want.Len() < maxLine-checksum || string(line) != before {
				t.Fatalf("%v, and %q is left", err, line)
			}
			return
		}
		line, ok := bytes.CutPrefix(line, []byte(before))
		if wantErr != nil || !ok || !bytes.Equal(line[checksum:], want.Bytes()) {
			t.Fatalf("%s\nwant, but for the checksum, %s (%v)", line, want.Bytes(), wantErr)
		}
		got, err := decode(line)
		if id == "" || err != nil {
			if id != "" {
				t.Fatalf("reading %s: %v", line, err)
			}
			return
		}
		valid := utf8.ValidString(id) && utf8.ValidString(model) && utf8.ValidString(why) // each: two halves may make a letter
		if diff := cmp.Diff(r, got); diff != "" && valid {
			t.Fatal(diff)
		}
	})
}

// FuzzScan: no file makes the reader fail or return a record that was not written as a line of its own.
func FuzzScan(f *testing.F) {
	r := record(1, t0)
	line, err := appendLine(nil, &r)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range [][]byte{line, append(append([]byte{}, line...), line...), line[:20], []byte("\n\n"), []byte("00000000 {}\n"), append([]byte("x\n"), line...)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		n := 0
		whole, damaged, err := scan(bytes.NewReader(data), func(at int64, line []byte, r Record) {
			n++
			if !bytes.Equal(data[at:at+int64(len(line))], line) || r.ID == "" {
				t.Fatal("a line that is not there")
			}
		})
		if err != nil || whole > int64(len(data)) || n+damaged != bytes.Count(data[:whole], []byte("\n")) {
			t.Fatalf("%d of %d bytes, %d records, %d damaged: %v", whole, len(data), n, damaged, err)
		}
	})
}
