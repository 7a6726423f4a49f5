// Package klog sends slog records to the kernel log and the console, and owns the console's line format.
//
// It owns /dev/kmsg records (priority prefix, length bound) and the text form of log lines; other packages log
// through the *slog.Logger they are given. It trusts nothing in a record: text is quoted, so that a host-chosen
// string cannot forge a second line or an escape sequence on the console. A Handler is safe for concurrent use:
// one record is one write. It refuses to lose a boot over logging: a sink that fails is skipped.
package klog

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"strconv"
	"sync"

	"github.com/u-root/u-root/pkg/ulog"
)

const (
	// maxRecord is the longest payload the kernel takes in one write to /dev/kmsg (printk's PRINTKRB_RECORD_MAX,
	// kernel/printk/internal.h); longer writes are refused with EINVAL.
	maxRecord = 1024
	// maxLine bounds a console line, so that a hostile value cannot fill a slow serial port for minutes.
	maxLine = 16 << 10
	// prefix marks our records in dmesg.
	prefix = "cocoon: "
)

// Options names the sinks. A nil sink is left out.
type Options struct {
	// Console gets one line per record.
	Console io.Writer
	// Kmsg gets one priority-marked record per line, cut at the kernel's limit.
	Kmsg io.Writer
	// Level is the lowest level written; nil means slog.LevelInfo.
	Level slog.Leveler
}

// Handler writes each record to the kernel log and the console.
type Handler struct {
	text slog.Handler
	out  *sinks
}

// sinks is shared by all handlers derived from one: the mutex makes a record one write per sink.
type sinks struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	console io.Writer
	kmsg    io.Writer
}

// New makes a handler for the sinks.
func New(o Options) *Handler {
	out := &sinks{console: o.Console, kmsg: o.Kmsg}
	opts := &slog.HandlerOptions{Level: o.Level, ReplaceAttr: dropTime}
	return &Handler{text: slog.NewTextHandler(&out.buf, opts), out: out}
}

// dropTime removes the timestamp: the kernel stamps its log, and the console's lines are compared in tests.
func dropTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// Enabled reports whether records of the level are written.
func (h *Handler) Enabled(ctx context.Context, l slog.Level) bool { return h.text.Enabled(ctx, l) }

// SetKmsg adds the kernel log once it can be opened; PID 1 has a console before it has /dev/kmsg.
func (h *Handler) SetKmsg(w io.Writer) {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.kmsg = w
}

// WithAttrs returns a handler whose records carry the attributes.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{text: h.text.WithAttrs(attrs), out: h.out}
}

// WithGroup returns a handler whose later attributes are in the group.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{text: h.text.WithGroup(name), out: h.out}
}

// Handle writes one record to both sinks.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	h.out.buf.Reset()
	if err := h.text.Handle(ctx, r); err != nil {
		return err
	}
	line := bytes.TrimSuffix(h.out.buf.Bytes(), []byte{'\n'})
	writeLine(h.out.console, line)
	writeKmsg(h.out.kmsg, priority(r.Level), line)
	return nil
}

// Line writes one raw line to both sinks at the level's priority. It is for lines whose form is a contract, such
// as the boot's status documents; text must already be free of control characters.
func (h *Handler) Line(l slog.Level, text string) {
	h.out.mu.Lock()
	defer h.out.mu.Unlock()
	line := []byte(text)
	writeLine(h.out.console, line)
	writeKmsg(h.out.kmsg, priority(l), line)
}

func writeLine(w io.Writer, line []byte) {
	if w == nil {
		return
	}
	if len(line) > maxLine {
		line = line[:maxLine]
	}
	_, _ = w.Write(append(bytes.Clone(line), '\n'))
}

// writeKmsg writes "<priority>cocoon: line"; the kernel cuts nothing itself, it refuses what is too long.
func writeKmsg(w io.Writer, level ulog.KLogLevel, line []byte) {
	if w == nil {
		return
	}
	rec := append([]byte("<"+strconv.Itoa(int(level))+">"+prefix), line...)
	if len(rec) > maxRecord-1 {
		rec = rec[:maxRecord-1]
	}
	_, _ = w.Write(append(rec, '\n'))
}

// priority maps slog's levels to printk's (syslog(2)). Errors are warnings there: with "quiet" on the command line the
// kernel prints what is more urgent than a warning on the console itself, where the record would appear twice.
func priority(l slog.Level) ulog.KLogLevel {
	switch {
	case l >= slog.LevelWarn:
		return ulog.KLogWarning
	case l >= slog.LevelInfo:
		return ulog.KLogInfo
	default:
		return ulog.KLogDebug
	}
}
