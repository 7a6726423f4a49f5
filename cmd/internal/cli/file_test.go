package cli

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFilesAreReadWholeOrNotAtAll: up to the bound and not a byte beyond it, whatever kind of file it is.
func TestFilesAreReadWholeOrNotAtAll(t *testing.T) {
	dir := t.TempDir()
	file, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "pipe")
	if err := errors.Join(os.WriteFile(file, []byte("12345"), 0o600), unix.Mkfifo(pipe, 0o600)); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		read func(string, int64) ([]byte, error)
		file string
		most int64
		kind Kind // "" is success
		want string
	}{
		"fits":          {ReadFile, file, 5, "", "12345"},
		"fits, secret":  {ReadSecret, file, 9, "", "12345"},
		"a byte over":   {ReadFile, file, 4, KindUsage, "more than the 4 bytes"},
		"endless":       {ReadFile, "/dev/zero", 1 << 16, KindUsage, "more than the 65536 bytes"},
		"empty device":  {ReadFile, "/dev/null", 1, "", ""},
		"pipe":          {ReadFile, pipe, 9, "", "piped"},
		"long pipe":     {ReadFile, pipe, 4, KindUsage, "more than the 4 bytes"},
		"missing":       {ReadFile, filepath.Join(dir, "none"), 1, KindUsage, "no such file"},
		"folder":        {ReadFile, dir, 1, KindUsage, "is a directory"},
		"below a file":  {ReadFile, filepath.Join(file, "x"), 1, KindUsage, "not a directory"},
		"secret folder": {ReadSecret, dir, 1, KindUsage, "is a directory"},
		"no secret":     {ReadSecret, "/dev/zero", 1, KindPrerequisite, "others may read /dev/zero"},
		"secret gone":   {ReadSecret, filepath.Join(dir, "none"), 1, KindUsage, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			if tc.file == pipe {
				go func() { _ = os.WriteFile(pipe, []byte("piped"), 0o600) }() // opens when the reader has; one reader each
			}
			data, err := tc.read(tc.file, tc.most)
			if tc.kind == "" {
				if err != nil || string(data) != tc.want {
					t.Errorf("%q, %v", data, err)
				}
				return
			}
			var tagged *Error
			if !errors.As(err, &tagged) || tagged.Kind != tc.kind || len(tagged.Hints) != 1 || !strings.Contains(err.Error(), tc.want) || data != nil {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
	if err := Misnamed("x", os.ErrPermission); Describe(err).Kind != KindPrerequisite {
		t.Errorf("permission: %+v", Describe(err))
	}
	if other := errors.New("x"); Misnamed("x", other) != other { //nolint:errorlint // the very error
		t.Error("an error that says nothing of the name was changed")
	}
}
