package engine

import (
	"bufio"
	"io"
	"strings"
	"testing"

	"cocoon/contracts/api/sse"
)

// TestSum: label sets are added, longer names are others, and what is no number does not count.
func TestSum(t *testing.T) {
	const page = `# HELP a b
a 1
a{x="1"} 2
a{x="}"} 3.5
ab 100
b NaN
b -1
c{x="1" 5
d 1e300
`
	for names, want := range map[string]float64{"a": 6.5, "ab": 100, "b": -1, "c": -1, "none": -1, "none|ab": 100, "ab|a": 100, "": -1, "d": 1e300} {
		if got := sum([]byte(page), names); got != want {
			t.Errorf("%s: %g", names, got)
		}
	}
}

// FuzzSum: a page of metrics gives a count or nothing.
func FuzzSum(f *testing.F) {
	for _, s := range []string{"a 1\n", "a{} 2", "a{\"}\"} x", "a -Inf\n", "a 0x1p-2 12345\n", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, page []byte) {
		if got := sum(page, "a|b"); got != got || got < 0 && got != -1 {
			t.Fatalf("%g", got)
		}
	})
}

// FuzzEvents: however lines are cut, each becomes one event, and a line without end is bounded.
func FuzzEvents(f *testing.F) {
	for _, s := range []string{"{}\n{}\n", "{}", "\n\n", "a\r\nb", strings.Repeat("x", 100<<10)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e := &events{Closer: io.NopCloser(nil), in: bufio.NewReaderSize(strings.NewReader(string(data)), 16)}
		out, err := io.ReadAll(e)
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for line := range strings.Lines(string(data)) {
			if strings.TrimSpace(line) != "" {
				want++
			}
		}
		if got := strings.Count(string(out), "data: "); got < want {
			t.Fatalf("%d events of %d lines", got, want)
		}
	})
}

// TestEventsAreBounded: a line of more than 16 MiB is refused.
func TestEventsAreBounded(t *testing.T) {
	e := newEvents(io.NopCloser(strings.NewReader(strings.Repeat("x", sse.MaxEvent+1))))
	if _, err := io.ReadAll(e); err == nil {
		t.Error("read")
	}
}
