package contractstest_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"cocoon/contracts/bind"
	"cocoon/tests/golden"
)

// TestSourceCodes: every operation code that a contract's source names is in the bindings' table, and every operation of
// the table that is implemented is in a source.
func TestSourceCodes(t *testing.T) {
	known := map[bind.Op]bool{}
	for _, row := range bind.Operations() {
		known[row.Op] = row.New == nil || row.Op == bind.OpText
	}
	files, err := filepath.Glob(filepath.Join(golden.Root(t), "contracts", "tolk", "*.tolk"))
	if err != nil {
		t.Fatal(err)
	}
	shared, err := filepath.Glob(filepath.Join(golden.Root(t), "contracts", "tolk", "common", "*.tolk"))
	if err != nil {
		t.Fatal(err)
	}
	codes := regexp.MustCompile(`0x[0-9a-f]{8}\b`)
	found := 0
	for _, file := range slices.Concat(files, shared) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, word := range codes.FindAllString(string(text), -1) {
			op, err := strconv.ParseUint(word, 0, 32)
			if err != nil {
				t.Fatal(err)
			}
			if op >= 0xfffffffe {
				continue // what bounces begin with
			}
			found++
			if _, ok := known[bind.Op(op)]; !ok {
				t.Errorf("%s names %s, which is no operation of the bindings", filepath.Base(file), word)
			}
			known[bind.Op(op)] = true
		}
	}
	if found < 50 {
		t.Errorf("only %d codes found: the reader of sources is broken", found)
	}
	for op, seen := range known {
		if !seen {
			t.Errorf("no source names %s (%08x)", op, uint32(op))
		}
	}
}
