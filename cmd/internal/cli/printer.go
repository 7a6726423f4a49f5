package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// Format is the form of a command's result on stdout.
type Format string

// The result formats.
const (
	Text  Format = "text"
	JSON  Format = "json"
	JSONL Format = "jsonl"
)

// EventSchema is the schema of one line of JSONL output.
const EventSchema = "cocoon.event/1"

// ParseFormat reads the value of -o.
func ParseFormat(s string) (Format, error) {
	switch f := Format(s); f {
	case Text, JSON, JSONL:
		return f, nil
	}
	return "", Usagef("output format %q is none of text, json, jsonl", s)
}

// WishedFormat is the format that a command line asks for by one of the flags, although it is wrong and was not read to
// its end: who reads documents gets one for this, too. Without such a flag it is usual; what is no format is Text.
func WishedFormat(args []string, usual string, flags ...string) Format {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		for _, flag := range flags {
			switch rest, ok := strings.CutPrefix(arg, flag); {
			case !ok:
			case rest == "" && i+1 < len(args):
				usual = args[i+1]
			case strings.HasPrefix(rest, "="):
				usual = rest[1:]
			case flag == "-o":
				usual = rest
			}
		}
	}
	format, err := ParseFormat(usual)
	if err != nil {
		return Text
	}
	return format
}

// Document is a command's result. As JSON it is encoded in field order and its first field is its schema.
type Document interface {
	// Text writes the form for people.
	Text(w io.Writer) error
}

// Printer writes results and event lines to stdout. It is safe for concurrent use.
type Printer struct {
	Out    io.Writer
	Format Format
	Now    func() time.Time

	mu sync.Mutex
}

// line is one line of JSONL output: an event of the reporter, or the result at the end.
type line struct {
	Schema string   `json:"schema"`
	Time   string   `json:"time"`
	Event  string   `json:"event"`
	Step   *Event   `json:"step,omitempty"`
	Result Document `json:"result,omitempty"`
}

// Result writes the command's one result.
func (p *Printer) Result(doc Document) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	switch p.Format {
	case JSON:
		enc := json.NewEncoder(p.Out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		err = enc.Encode(doc)
	case JSONL:
		err = p.line("result", nil, doc)
	default:
		err = doc.Text(p.Out)
	}
	if err != nil {
		return fmt.Errorf("writing result: %w", err)
	}
	return nil
}

// Event writes one event line; the caller has chosen JSONL.
func (p *Printer) Event(e Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = p.line(string(e.Kind), &e, nil) // a closed stdout shows when the result is written
}

func (p *Printer) line(event string, step *Event, doc Document) error {
	enc := json.NewEncoder(p.Out)
	enc.SetEscapeHTML(false)
	return enc.Encode(line{
		Schema: EventSchema, Time: p.Now().UTC().Format(time.RFC3339Nano), Event: event, Step: step, Result: doc,
	})
}

// Table writes rows in aligned columns, two spaces apart, without trailing blanks.
func Table(w io.Writer, rows [][]string) error {
	var buf strings.Builder
	tw := tabwriter.NewWriter(&buf, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(tw, strings.Join(row, "\t")) //nolint:errcheck // a strings.Builder does not fail
	}
	if err := tw.Flush(); err != nil {
		return fmt.Errorf("writing table: %w", err)
	}
	for l := range strings.Lines(buf.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(l, " \n")); err != nil {
			return fmt.Errorf("writing table: %w", err)
		}
	}
	return nil
}

// Count writes a number with thousands separators: 8,412.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// Seconds writes a duration as people read build logs: 0.03 s, 1.9 s, 74 s.
func Seconds(d time.Duration) string {
	s := d.Seconds()
	switch {
	case s < 1:
		return fmt.Sprintf("%.2f s", s)
	case s < 60:
		return fmt.Sprintf("%.1f s", s)
	}
	return fmt.Sprintf("%.0f s", s)
}
