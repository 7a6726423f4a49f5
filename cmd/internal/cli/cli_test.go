package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestDescribeMapsErrorsToExitCodes(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want Failure
	}{
		"untagged":    {errors.New("x"), Failure{ErrorSchema, 1, KindError, "x", []string{}}},
		"usage":       {Usagef("flag %d", 7), Failure{ErrorSchema, 2, KindUsage, "flag 7", []string{}}},
		"difference":  {Tag(KindDifference, errors.New("x")), Failure{ErrorSchema, 3, KindDifference, "x", []string{}}},
		"rebuild":     {Tag(KindNotReproducible, errors.New("x")), Failure{ErrorSchema, 4, KindNotReproducible, "x", []string{}}},
		"missing":     {Tag(KindPrerequisite, errors.New("x"), "do y"), Failure{ErrorSchema, 5, KindPrerequisite, "x", []string{"do y"}}},
		"late":        {fmt.Errorf("waiting: %w", context.DeadlineExceeded), Failure{ErrorSchema, 6, KindTimeout, "waiting: context deadline exceeded", []string{}}},
		"ctrl-c":      {fmt.Errorf("building: %w", context.Canceled), Failure{ErrorSchema, 130, KindInterrupted, "building: context canceled", []string{}}},
		"wrapped tag": {fmt.Errorf("a: %w", Tag(KindTimeout, errors.New("b"))), Failure{ErrorSchema, 6, KindTimeout, "a: b", []string{}}},
		"outer tag wins": {
			Tag(KindDifference, fmt.Errorf("a: %w", Tag(KindTimeout, errors.New("b")))),
			Failure{ErrorSchema, 3, KindDifference, "a: b", []string{}},
		},
		"third hint is dropped": {
			Tag(KindError, errors.New("x"), "1", "2", "3"),
			Failure{ErrorSchema, 1, KindError, "x", []string{"1", "2"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Describe(tc.err)); diff != "" {
				t.Errorf("description differs (-want +got):\n%s", diff)
			}
		})
	}
	if Tag(KindError, nil) != nil {
		t.Error("a nil error became an error by tagging")
	}
}

func TestFinishWritesTextToStderrAndTheDocumentToStdout(t *testing.T) {
	err := Tag(KindPrerequisite, errors.New("go is missing"), "install Go 1.26.8")
	for format, wantDoc := range map[Format]bool{Text: false, JSON: true, JSONL: true} {
		var out, errOut bytes.Buffer
		if code := Finish("cocoon", format, &out, &errOut, err); code != ExitPrerequisite {
			t.Errorf("%s: exit code %d, want %d", format, code, ExitPrerequisite)
		}
		want := "cocoon: error: go is missing\ncocoon: hint: install Go 1.26.8\n"
		if diff := cmp.Diff(want, errOut.String()); diff != "" {
			t.Errorf("%s: stderr differs (-want +got):\n%s", format, diff)
		}
		var f Failure
		if got := json.Unmarshal(out.Bytes(), &f) == nil && f.Code == ExitPrerequisite; got != wantDoc {
			t.Errorf("%s: stdout %q, document wanted: %v", format, out.String(), wantDoc)
		}
	}
	var out bytes.Buffer
	if code := Finish("cocoon", JSON, &out, io.Discard, Shown(KindDifference, err)); code != ExitDifference || out.Len() != 0 {
		t.Errorf("a shown finding: exit code %d and a second document %q", code, out.String())
	}
	if code := Finish("cocoon", Text, io.Discard, io.Discard, nil); code != ExitOK {
		t.Errorf("no error gives exit code %d", code)
	}
}

func TestSuggestNamesNearWordsOnly(t *testing.T) {
	verbs := []string{"build", "verify", "inspect", "diff", "ls", "rm", "lock", "fetch", "model"}
	for word, want := range map[string][]string{
		"biuld": {"build"}, "verfy": {"verify"}, "dif": {"diff"}, "mode": {"model"}, "zzzzzz": {}, "lss": {"ls"},
		"xy": {}, "lokc": {"lock"},
	} {
		if diff := cmp.Diff(want, Suggest(word, verbs)); diff != "" {
			t.Errorf("%s: suggestions differ (-want +got):\n%s", word, diff)
		}
	}
}

type answer struct {
	Schema string `json:"schema"`
	Value  int    `json:"value"`
}

func (a answer) Text(w io.Writer) error {
	_, err := fmt.Fprintf(w, "value %d\n", a.Value)
	return err
}

func TestPrinterWritesEachFormat(t *testing.T) {
	now := func() time.Time { return time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC) }
	for format, want := range map[Format]string{
		Text: "value 7\n",
		JSON: "{\n  \"schema\": \"s/1\",\n  \"value\": 7\n}\n",
		JSONL: `{"schema":"cocoon.event/1","time":"2025-01-02T03:04:05Z","event":"result","result":{"schema":"s/1","value":7}}` +
			"\n",
	} {
		var out bytes.Buffer
		p := &Printer{Out: &out, Format: format, Now: now}
		if err := p.Result(answer{"s/1", 7}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, out.String()); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", format, diff)
		}
	}
	if _, err := ParseFormat("yaml"); Describe(err).Kind != KindUsage {
		t.Errorf("format yaml: got %v, want a usage error", err)
	}
	if f, err := ParseFormat("jsonl"); err != nil || f != JSONL {
		t.Errorf("format jsonl: got %v, %v", f, err)
	}
}

func TestResultReportsAClosedStdout(t *testing.T) {
	p := &Printer{Out: brokenWriter{}, Format: JSON, Now: time.Now}
	if err := p.Result(answer{"s/1", 7}); err == nil {
		t.Error("a result that could not be written counts as written")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, os.ErrClosed }

func TestPlainReporterPrintsOneLinePerEndedStep(t *testing.T) {
	var out bytes.Buffer
	r := NewPlain(&out)
	for _, e := range sampleEvents() {
		r.Report(e)
	}
	r.Close()
	want := "[ 7/14] rootfs                  normalise 8,412 entries  1.9 s\n" +
		"[ 8/14] uki                     0.02 s  cached\n" +
		"[note] fetch                   waiting at most 10 s for a mirror\n" +
		"[fail] disk                    no space left\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("lines differ (-want +got):\n%s", diff)
	}
}

func TestLinesReporterWritesJSONLines(t *testing.T) {
	var out bytes.Buffer
	r := NewLines(&Printer{Out: &out, Format: JSONL, Now: time.Now})
	for _, e := range sampleEvents() {
		r.Report(e)
	}
	r.Close()
	var kinds []string
	for l := range strings.Lines(out.String()) {
		var doc struct{ Schema, Time, Event string }
		if err := json.Unmarshal([]byte(l), &doc); err != nil || doc.Schema != EventSchema || doc.Time == "" {
			t.Fatalf("line %q: %v", l, err)
		}
		kinds = append(kinds, doc.Event)
	}
	if diff := cmp.Diff([]string{"start", "progress", "done", "done", "note", "fail"}, kinds); diff != "" {
		t.Errorf("events differ (-want +got):\n%s", diff)
	}
}

func TestTerminalReporterMovesAndCleansUp(t *testing.T) {
	for name, tc := range map[string]struct {
		noColour string
		colour   bool
	}{"colour": {"", true}, "NO_COLOR": {"1", false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var out bytes.Buffer
				r := NewTerminal(&out, time.Now, func(string) string { return tc.noColour })
				r.Report(Event{Kind: EventStart, Name: "layer-base"})
				r.Report(Event{Kind: EventProgress, Name: "layer-base", DoneBytes: 1, TotalBytes: 4})
				timer := time.NewTimer(3 * time.Second)
				<-timer.C
				r.Report(Event{Kind: EventDone, Name: "layer-base", Index: 1, Total: 2, DurationMS: 3000})
				r.Close()
				got := out.String()
				if !strings.Contains(got, "... layer-base 2.5 s 25%") {
					t.Errorf("a step of three seconds showed no movement: %q", got)
				}
				if strings.Contains(got, green) != tc.colour {
					t.Errorf("colour wanted %v: %q", tc.colour, got)
				}
				if strings.Count(got, "\n") != 1 {
					t.Errorf("want exactly one finished line: %q", got)
				}
			})
		})
	}
}

func TestCountAndSeconds(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 8412: "8,412", 1059000000: "1,059,000,000", -1234: "-1,234"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		20 * time.Millisecond: "0.02 s", 1900 * time.Millisecond: "1.9 s", 74 * time.Second: "74 s",
	} {
		if got := Seconds(d); got != want {
			t.Errorf("Seconds(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestTableAlignsWithoutTrailingBlanks(t *testing.T) {
	var out bytes.Buffer
	if err := Table(&out, [][]string{{"a", "bb", ""}, {"aaaa", "b", "c"}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("a     bb\naaaa  b   c\n", out.String()); diff != "" {
		t.Errorf("table differs (-want +got):\n%s", diff)
	}
}

func sampleEvents() []Event {
	return []Event{
		{Kind: EventStart, Name: "rootfs"},
		{Kind: EventProgress, Name: "rootfs", DoneBytes: 1, TotalBytes: 2},
		{Kind: EventDone, Name: "rootfs", Detail: "normalise 8,412 entries", Index: 7, Total: 14, DurationMS: 1900},
		{Kind: EventDone, Name: "uki", Index: 8, Total: 14, DurationMS: 20, Cached: true},
		{Kind: EventNote, Name: "fetch", Detail: "waiting at most 10 s for a mirror"},
		{Kind: EventFail, Name: "disk", Detail: "no space left"},
	}
}

func TestErrorsOfTheCommandLineHaveTheWishedFormat(t *testing.T) {
	for name, tc := range map[string]struct {
		args  []string
		usual string
		want  Format
	}{
		"none":            {[]string{"image"}, "", Text},
		"word":            {[]string{"--nosuch", "-o", "json"}, "", JSON},
		"joined":          {[]string{"-ojsonl", "x"}, "", JSONL},
		"equals":          {[]string{"--output=json"}, "", JSON},
		"equals, short":   {[]string{"-o=json"}, "", JSON},
		"last one counts": {[]string{"-o", "json", "-o", "text"}, "", Text},
		"no format":       {[]string{"-o", "yaml"}, "", Text},
		"no value":        {[]string{"-o"}, "", Text},
		"environment":     {nil, "json", JSON},
		"flag wins":       {[]string{"-o", "text"}, "json", Text},
		"another's":       {[]string{"localnet", "run", "--", "ls", "-o", "json"}, "", Text},
		"folder":          {[]string{"--out", "json"}, "", Text},
	} {
		if got := WishedFormat(tc.args, tc.usual, "-o", "--output"); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
}
