package sse

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// split feeds a stream in pieces and writes down what comes out.
func split(pieces ...string) (events []string, err error) {
	var s Splitter
	for _, p := range pieces {
		s.Write([]byte(p))
		for {
			e, ok, err := s.Next()
			if err != nil {
				return events, err
			}
			if !ok {
				break
			}
			events = append(events, fmt.Sprintf("%q %q %v", e.Raw, e.Data, e.Fields))
		}
	}
	if s.Rest() {
		events = append(events, "rest")
	}
	return events, nil
}

func TestEvents(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want []string
	}{
		"one":               {"data: a\n\n", []string{`"data: a\n\n" "a" true`}},
		"without space":     {"data:a\n\n", []string{`"data:a\n\n" "a" true`}},
		"two spaces":        {"data:  a\n\n", []string{`"data:  a\n\n" " a" true`}},
		"no value":          {"data\n\n", []string{`"data\n\n" "" true`}},
		"CRLF":              {"data: a\r\n\r\n", []string{`"data: a\r\n\r\n" "a" true`}},
		"two lines":         {"data: a\ndata: b\n\n", []string{`"data: a\ndata: b\n\n" "a\nb" true`}},
		"other fields":      {"event: x\nid: 7\nretry: 5\ndata: a\n\n", []string{`"event: x\nid: 7\nretry: 5\ndata: a\n\n" "a" true`}},
		"comment":           {": ping\n\ndata: a\n\n", []string{`": ping\n\n" "" false`, `"data: a\n\n" "a" true`}},
		"comment inside":    {"data: a\n: x\n\n", []string{`"data: a\n: x\n\n" "a" true`}},
		"empty lines alone": {"\n\n", []string{`"\n" "" false`, `"\n" "" false`}},
		"unfinished":        {"data: a\n", []string{"rest"}},
		"nothing":           {"", nil},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := split(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStreamsThatAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want error
	}{
		"NDJSON":               {"{\"a\":1}\n", ErrMalformed},
		"NDJSON without a end": {"{\"a\":1}", ErrMalformed},
		"HTML":                 {"<html>\n", ErrMalformed},
		"unknown field":        {"dat: a\n\n", ErrMalformed},
		"leading space":        {" data: a\n\n", ErrMalformed},
		"bare CR":              {"data: a\rdata: b\n\n", ErrMalformed},
		"too large, one line":  {"data: " + strings.Repeat("x", MaxEvent+1), ErrTooLarge},
		"too large, with end":  {"data: " + strings.Repeat("x", MaxEvent) + "\n\n", ErrTooLarge},
		"too large, lines":     {strings.Repeat("data: x\n", MaxEvent/8+1), ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			if got, err := split(tc.in); !errors.Is(err, tc.want) {
				t.Errorf("%d events, err = %v", len(got), err)
			}
		})
	}
	if got, err := split("data: " + strings.Repeat("x", MaxEvent-100) + "\n\n"); err != nil || len(got) != 1 {
		t.Errorf("the largest event: %d events, %v", len(got), err)
	}
}

// FuzzSplitter: the bytes of the events are the bytes of the stream, and cutting it elsewhere changes nothing.
func FuzzSplitter(f *testing.F) {
	for _, s := range []string{"data: a\n\n", ": ping\n\ndata:a\r\n\r\ndata: b\ndata: c\n\n", "event: x\nid\n\n", "{\"a\":1}\n", "data: [DONE]\n", "\r\n\n"} {
		f.Add([]byte(s), uint(3))
	}
	f.Fuzz(func(t *testing.T, in []byte, cut uint) {
		whole, errWhole := split(string(in))
		at := int(cut % uint(len(in)+1))
		pieces := []string{string(in[:at])}
		for _, b := range in[at:] {
			pieces = append(pieces, string([]byte{b}))
		}
		parts, errParts := split(pieces...)
		if (errWhole == nil) != (errParts == nil) || errWhole == nil && !cmp.Equal(whole, parts) {
			t.Fatalf("%v %v\n%v %v", whole, errWhole, parts, errParts)
		}
		var raw []byte
		var s Splitter
		s.Write(in)
		for {
			e, ok, err := s.Next()
			if err != nil || !ok {
				break
			}
			raw = append(raw, e.Raw...)
		}
		if string(raw) != string(in[:len(raw)]) {
			t.Fatal("events are not the stream")
		}
	})
}

// BenchmarkEvent: one event of a stream, in one write.
func BenchmarkEvent(b *testing.B) {
	event := Append(nil, []byte(`{"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":" word"},"finish_reason":null}]}`))
	var s Splitter
	b.SetBytes(int64(len(event)))
	b.ReportAllocs()
	for b.Loop() {
		s.Write(event)
		if e, ok, err := s.Next(); !ok || err != nil || len(e.Raw) != len(event) {
			b.Fatal(ok, err)
		}
		if _, ok, err := s.Next(); ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}
