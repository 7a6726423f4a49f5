package boot

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// Words at the start of a line of a dump; cocoon/tests/boot/dumpinit has the same.
const (
	wordFile  = "FILE"
	wordError = "ERROR"
	wordDone  = "DONE"
	// maxDump bounds a dump; the largest file in it are 128 KiB of ACPI tables.
	maxDump = 16 << 20
)

// Dump is what dumpinit saw: content by path, and complaints by path.
type Dump struct {
	Files  map[string][]byte
	Errors map[string]string
	// Wall is the time from QEMU's start to its end.
	Wall time.Duration
}

// maxStarts bounds how often a machine is started again after QEMU crashed (see Machine.WithPIC).
const maxStarts = 4

// Dump runs a machine whose init is dumpinit and reads what it printed. The caller's prepare, if any, makes fresh
// devices for each start and returns their arguments.
func (m Machine) Dump(ctx context.Context, dir string, prepare func() ([]string, error)) (*Dump, error) {
	for try := 1; ; try++ {
		next := m
		if prepare != nil {
			args, err := prepare()
			if err != nil {
				return nil, err
			}
			next.Extra = append(slices.Clone(m.Extra), args...)
		}
		d, err := next.dump(ctx, dir)
		if errors.Is(err, errCrashed) && try < maxStarts {
			continue
		}
		return d, err
	}
}

func (m Machine) dump(ctx context.Context, dir string) (*Dump, error) {
	ctx, cancel := context.WithTimeout(ctx, Limit)
	defer cancel()
	p, err := m.start(ctx, dir)
	if err != nil {
		return nil, err
	}
	ended := p.wait()
	serial, console := m.outputs(dir)
	raw, err := os.ReadFile(console)
	if err != nil {
		return nil, fmt.Errorf("reading dump: %w", err)
	}
	dump, err := parseDump(raw)
	if err = errors.Join(ended, ctx.Err(), err); err != nil {
		text, _ := os.ReadFile(serial)
		return nil, fmt.Errorf("%w; QEMU: %s; console:\n%s", err, p.stderr.String(), tail(string(text)))
	}
	dump.Wall = time.Since(p.started)
	return dump, nil
}

// parseDump reads dumpinit's lines; a dump without its last line is an error.
func parseDump(raw []byte) (*Dump, error) {
	if len(raw) > maxDump {
		return nil, fmt.Errorf("reading dump: %d bytes, at most %d", len(raw), maxDump)
	}
	d := &Dump{Files: make(map[string][]byte), Errors: make(map[string]string)}
	lines := bufio.NewScanner(bytes.NewReader(raw))
	lines.Buffer(nil, maxDump)
	for lines.Scan() {
		word, rest, _ := strings.Cut(strings.TrimRight(lines.Text(), "\r"), " ")
		path, value, _ := strings.Cut(rest, " ")
		switch word {
		case wordFile:
			data, err := base64.StdEncoding.DecodeString(value)
			if err != nil {
				return nil, fmt.Errorf("reading dump: %s: %w", path, err)
			}
			d.Files[path] = data
		case wordError:
			d.Errors[path] = value
		case wordDone:
			return d, nil
		}
	}
	return nil, errors.New("reading dump: it has no end; the machine stopped before it was whole")
}
