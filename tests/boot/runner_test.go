package boot

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestDumpIsReadWholeOrNotAtAll covers the reader of dumpinit's lines without a machine.
func TestDumpIsReadWholeOrNotAtAll(t *testing.T) {
	for name, tt := range map[string]struct {
		text string
		want *Dump
		err  string
	}{
		"files, complaints and foreign lines": {
			"kernel noise\r\nFILE /proc/cmdline cXVpZXQK\r\nFILE /empty \r\nERROR /gone no such file\r\nDONE\r\nbehind\r\n",
			&Dump{
				Files:  map[string][]byte{"/proc/cmdline": []byte("quiet\n"), "/empty": {}},
				Errors: map[string]string{"/gone": "no such file"},
			}, "",
		},
		"cut off":       {"FILE /proc/cmdline cXVpZXQK\r\n", nil, "no end"},
		"empty":         {"", nil, "no end"},
		"broken base64": {"FILE /proc/cmdline c\r\nDONE\r\n", nil, "/proc/cmdline"},
		"too long":      {strings.Repeat("x", maxDump+1), nil, "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseDump([]byte(tt.text))
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %v, want an error with %q", err, tt.err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
				t.Errorf("%v; want (-), got (+):\n%s", err, diff)
			}
		})
	}
}

// TestRunTakesStagesFromTheConsole covers the reader of stage lines without a machine.
func TestRunTakesStagesFromTheConsole(t *testing.T) {
	run := newRun()
	for i, text := range []string{
		"\x1b[2J[    0.1] kernel noise\r\n",
		`COCOON {"schema":"cocoon.boot.stage/1","stage":"console","status":"ok","duration_ms":1}` + "\r\n",
		`[    2.0] COCOON {"schema":"cocoon.boot.stage/1","stage":"base","status":"failed","duration_ms":2,"error":"why"}` + "\r\n",
		`COCOON {"schema":"cocoon.boot.stage/1","stage":` + "\r\n",
		`COCOON {"schema":"another/1","stage":"ready"}` + "\r\n",
		`COCOON {"schema":"cocoon.boot.end/1","result":"failed","stage":"base","error":"why"}` + "\r\n",
	} {
		run.line(text, time.Duration(i)*time.Second)
	}
	if diff := cmp.Diff([]string{"console ok", "base failed"}, names(run)); diff != "" {
		t.Errorf("stages, want (-), got (+):\n%s", diff)
	}
	if run.Failed() != "base" || run.Reached["base"] != 2*time.Second || run.End == nil || run.End.Stage != "base" {
		t.Errorf("failed %q after %s, end %+v", run.Failed(), run.Reached["base"], run.End)
	}
	if _, ok := run.Stage("ready"); ok {
		t.Error("a line of another schema was taken for a stage")
	}
}

// TestProcessorTimeIsRead: the fields are found behind a program name with spaces and parentheses.
func TestProcessorTimeIsRead(t *testing.T) {
	for name, tt := range map[string]struct {
		stat string
		want time.Duration
	}{
		"plain":       {"7 (qemu) S 1 7 7 0 -1 4194560 1 0 0 0 250 50 0 0 20 0", 3 * time.Second},
		"odd name":    {"7 (a) b (c) S 1 7 7 0 -1 4194560 1 0 0 0 1 0 0 0 20 0", 10 * time.Millisecond},
		"too short":   {"7 (qemu) S 1 7", 0},
		"not numbers": {"7 (qemu) S 1 7 7 0 -1 4194560 1 0 0 0 x 50 0 0 20 0", 0},
		"empty":       {"", 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := processorTime(tt.stat); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
