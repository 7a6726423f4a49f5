package conformance

import (
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "write the recorded sessions")

// transcript is a conversation as it is kept: a line that says what each frame is, and its bytes.
type transcript struct {
	mu sync.Mutex
	b  strings.Builder
}

// note adds a comment between frames.
func (t *transcript) note(format string, args ...any) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(&t.b, "\n# "+format+"\n", args...)
}

// add keeps a frame; way is ">" for what the script sends and "<" for what ours sends.
func (t *transcript) add(way string, head, payload []byte) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(&t.b, "%s %s\n  %x %x\n", way, describe(payload), head[:4], head[4:])
	const width = 40
	for rest := payload; len(rest) > 0; rest = rest[min(width, len(rest)):] {
		fmt.Fprintf(&t.b, "  %x\n", rest[:min(width, len(rest))])
	}
}

// describe names a frame, and what is inside it.
func describe(payload []byte) string {
	if len(payload) < 4 {
		return "too short"
	}
	id := hex.EncodeToString(payload[:4])
	name, ok := names()[id]
	if !ok {
		name = "id " + id
	}
	inner := map[string]int{tcpPacket: 4, tcpQuery: 12, tcpAnswer: 12}[id]
	if inner == 0 || inner >= len(payload) {
		return name
	}
	skip := 1
	if payload[inner] == 0xfe {
		skip = 4
	}
	if inner+skip+4 > len(payload) {
		return name
	}
	return name + " { " + describe(payload[inner+skip:]) + " }"
}

// check compares the conversation with the kept one.
func (t *transcript) check(tb testing.TB, name string) {
	tb.Helper()
	t.mu.Lock()
	got := strings.TrimLeft(t.b.String(), "\n")
	t.mu.Unlock()
	path := filepath.Join("testdata", "sessions", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			tb.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		tb.Fatalf("%v: record it with go test ./tests/conformance -run Sessions -update", err)
	}
	if got == string(want) {
		return
	}
	ours, kept := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(ours), len(kept)) {
		a, b := "(end)", "(end)"
		if i < len(ours) {
			a = ours[i]
		}
		if i < len(kept) {
			b = kept[i]
		}
		if a != b {
			tb.Fatalf("%s: line %d is\n%s\nkept is\n%s\nIf the wire is meant to change: go test ./tests/conformance -run Sessions -update, and have it reviewed", name, i+1, a, b)
		}
	}
}
