package bind

import (
	"strconv"
	"testing"

	"cocoon/tests/golden"
)

// TestExitTexts: every exit code of the vectors has its text, and an unknown one its number.
func TestExitTexts(t *testing.T) {
	var v struct {
		Codes struct{ Reference, Ours map[string]string } `json:"exit_codes"`
	}
	golden.JSON(t, "contracts/opcodes.json", &v)
	for _, table := range []map[string]string{v.Codes.Reference, v.Codes.Ours} {
		if len(table) == 0 {
			t.Error("the vectors have no exit codes")
		}
		for number, want := range table {
			code, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			if got := ExitText(code); got != want {
				t.Errorf("%d is %q, want %q", code, got, want)
			}
		}
	}
	if got := ExitText(4711); got != "exit 4711" {
		t.Errorf("an unknown code is %q", got)
	}
}
