package kept

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWhatIsWrittenIsReadWholeOrNotAtAll: a file that is not there is none, and one beyond its bound is refused by name.
func TestWhatIsWrittenIsReadWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	if data, err := Read(path, 9); data != nil || err != nil {
		t.Errorf("before the first run: %q, %v", data, err)
	}
	if err := Write(path, map[string]int{"a": 1}); err != nil {
		t.Fatal(err)
	}
	const text = `{"a":1}` + "\n"
	if data, err := Read(path, int64(len(text))); string(data) != text || err != nil {
		t.Errorf("read %q, %v", data, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	for name, file := range map[string]string{"a byte over": path, "endless": "/dev/zero", "folder": dir, "below a file": filepath.Join(path, "x")} {
		if data, err := Read(file, int64(len(text))-1); err == nil || data != nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	if data, err := Read("/dev/null", 1); data == nil || len(data) != 0 || err != nil {
		t.Errorf("an empty file: %q, %v", data, err)
	}
}

// TestAFailedWriteLeavesTheFileAsItWas.
func TestAFailedWriteLeavesTheFileAsItWas(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if err := Write(path, "old"); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, func() {}); err == nil {
		t.Error("what is no document was written")
	}
	if data, err := Read(path, 99); string(data) != "\"old\"\n" || err != nil {
		t.Errorf("%q, %v", data, err)
	}
	if err := Write(filepath.Join(path, "below"), 1); err == nil {
		t.Error("a file was written below a file")
	}
}
