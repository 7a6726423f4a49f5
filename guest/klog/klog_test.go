package klog

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
)

func record(t *testing.T, l slog.Level, attrs ...slog.Attr) (console, kmsg string) {
	t.Helper()
	var c, k bytes.Buffer
	slog.New(New(Options{Console: &c, Kmsg: &k, Level: slog.LevelDebug})).LogAttrs(context.Background(), l, "Stage done", attrs...)
	return c.String(), k.String()
}

func TestARecordIsOneLinePerSinkWithItsPriority(t *testing.T) {
	tests := map[string]struct {
		level slog.Level
		want  string
	}{
		"error":   {slog.LevelError, "<4>cocoon: level=ERROR"},
		"warning": {slog.LevelWarn, "<4>cocoon: level=WARN"},
		"info":    {slog.LevelInfo, "<6>cocoon: level=INFO"},
		"debug":   {slog.LevelDebug, "<7>cocoon: level=DEBUG"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			console, kmsg := record(t, tc.level, slog.String("stage", "mounts"))
			if !strings.HasPrefix(kmsg, tc.want+` msg="Stage done" stage=mounts`) || strings.Count(kmsg, "\n") != 1 {
				t.Errorf("kmsg = %q", kmsg)
			}
			if strings.Contains(console, "<") || strings.Count(console, "\n") != 1 || strings.Contains(console, "time=") {
				t.Errorf("console = %q", console)
			}
		})
	}
}

func TestHostileTextCannotForgeALine(t *testing.T) {
	console, kmsg := record(t, slog.LevelError, slog.String("err", "x\n<0>COCOON {}\x1b[2J"))
	if strings.Count(console, "\n") != 1 || strings.Count(kmsg, "\n") != 1 || strings.Contains(console, "\x1b") {
		t.Errorf("console = %q, kmsg = %q", console, kmsg)
	}
}

func TestLongRecordsAreCutAtTheKernelsLimit(t *testing.T) {
	console, kmsg := record(t, slog.LevelInfo, slog.String("v", strings.Repeat("x", 100_000)))
	if len(kmsg) != maxRecord {
		t.Errorf("kmsg record has %d bytes, want %d", len(kmsg), maxRecord)
	}
	if len(console) != maxLine+1 {
		t.Errorf("console line has %d bytes, want %d", len(console), maxLine+1)
	}
}

func TestDerivedHandlersKeepAttributesAndLevel(t *testing.T) {
	var c bytes.Buffer
	log := slog.New(New(Options{Console: &c})).With(slog.String("stage", "lock")).WithGroup("sysctl")
	log.LogAttrs(context.Background(), slog.LevelDebug, "Hidden")
	log.LogAttrs(context.Background(), slog.LevelInfo, "Shown", slog.String("name", "kernel.sysrq"))
	if got, want := c.String(), "level=INFO msg=Shown stage=lock sysctl.name=kernel.sysrq\n"; got != want {
		t.Errorf("console = %q, want %q", got, want)
	}
}

func TestLineIsWrittenAsItIs(t *testing.T) {
	var c, k bytes.Buffer
	New(Options{Console: &c, Kmsg: &k}).Line(slog.LevelInfo, `COCOON {"a":1}`)
	if c.String() != "COCOON {\"a\":1}\n" || k.String() != "<6>cocoon: COCOON {\"a\":1}\n" {
		t.Errorf("console = %q, kmsg = %q", c.String(), k.String())
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestABrokenSinkDoesNotSilenceTheOther(t *testing.T) {
	var c bytes.Buffer
	h := New(Options{Console: &c, Kmsg: brokenWriter{}})
	if err := h.Handle(context.Background(), slog.Record{Message: "Hello"}); err != nil {
		t.Fatal(err)
	}
	if c.Len() == 0 {
		t.Error("nothing on the console")
	}
}

func TestConcurrentRecordsDoNotMix(t *testing.T) {
	var c bytes.Buffer
	log := slog.New(New(Options{Console: &c}))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				log.LogAttrs(context.Background(), slog.LevelInfo, "Same")
			}
		})
	}
	wg.Wait()
	for line := range strings.Lines(c.String()) {
		if line != "level=INFO msg=Same\n" {
			t.Fatalf("line %q", line)
		}
	}
}

func TestTheKernelLogCanBeAddedLater(t *testing.T) {
	var k bytes.Buffer
	h := New(Options{})
	h.Line(slog.LevelInfo, "before")
	h.SetKmsg(&k)
	h.Line(slog.LevelInfo, "after")
	if k.String() != "<6>cocoon: after\n" {
		t.Errorf("kmsg = %q", k.String())
	}
}
