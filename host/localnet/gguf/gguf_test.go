package gguf

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"cocoon/tests/golden"
)

// demoSHA256 is the demonstration's digest (inference.md section 13).
const demoSHA256 = "6a14de7a7fe8eed8876c82aadcdcad99c03f6d0416defe8c169b0c175c58f350"

func demo(tb testing.TB) []byte {
	tb.Helper()
	m, err := Demo()
	if err != nil {
		tb.Fatal(err)
	}
	var b bytes.Buffer
	n, err := m.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		tb.Fatalf("%d of %d bytes, %v", n, b.Len(), err)
	}
	return b.Bytes()
}

// TestTheDemonstrationIsTheSameBytesEverywhere: it is a test input of model images, so its digest is part of the agreement.
func TestTheDemonstrationIsTheSameBytesEverywhere(t *testing.T) {
	if got := fmt.Sprintf("%x", sha256.Sum256(demo(t))); got != demoSHA256 {
		t.Errorf("SHA-256 %s, want %s", got, demoSHA256)
	}
}

// TestTheDemonstrationIsTheVector, byte for byte.
func TestTheDemonstrationIsTheVector(t *testing.T) {
	want := golden.Vector(t, "inference/scripted.gguf.gz")
	got := demo(t)
	if len(got) != len(want) {
		t.Fatalf("%d bytes, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("byte %d is %#x, want %#x", i, got[i], want[i])
		}
	}
}

// TestAScriptWithTwoWaysIsRefused: weights could follow neither.
func TestAScriptWithTwoWaysIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		chains [][]string
		want   string
	}{
		"two chains part":    {[][]string{{"a", "b"}, {"a", "c"}}, `"a" leads to "b" and to "c"`},
		"one chain parts":    {[][]string{{"a", "b", "a", "c"}}, `"a" leads to "b"`},
		"chains that meet":   {[][]string{{"a", "b", "x"}, {"c", "b", "x"}}, ""},
		"the same one twice": {[][]string{{"a", "b"}, {"a", "b"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScript(newVocabulary())
			for _, c := range tc.chains {
				s.chain(c[0], c[1:], endOfText)
			}
			if tc.want == "" && s.err != nil || tc.want != "" && (s.err == nil || !strings.Contains(s.err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", s.err, tc.want)
			}
		})
	}
}

// full fails after some bytes.
type full struct{ left int }

var errFull = errors.New("full")

func (f *full) Write(p []byte) (int, error) {
	if len(p) > f.left {
		n := f.left
		f.left = 0
		return n, errFull
	}
	f.left -= len(p)
	return len(p), nil
}

// TestAFullDiskIsAnError wherever it is met.
func TestAFullDiskIsAnError(t *testing.T) {
	m, err := Demo()
	if err != nil {
		t.Fatal(err)
	}
	for _, left := range []int{0, 100, 20_000, 1_000_000, 2_106_175} {
		if _, err := m.WriteTo(&full{left}); !errors.Is(err, errFull) {
			t.Errorf("room for %d bytes: %v", left, err)
		}
	}
	if _, err := m.WriteTo(&full{2_106_176}); err != nil {
		t.Error(err)
	}
}

func BenchmarkDemo(b *testing.B) {
	m, err := Demo()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(demo(b))))
	for b.Loop() {
		if _, err := m.WriteTo(io.Discard); err != nil {
			b.Fatal(err)
		}
	}
}
