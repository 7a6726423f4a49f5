package publish

import (
	"math/big"
	"testing"

	"cocoon/contracts/bind"
)

func TestAmountsReadAsPeopleWriteThem(t *testing.T) {
	for text, want := range map[string]bind.Nano{
		"1": 1e9, "1.5": 15e8, "0.000000001": 1, "15": 15e9, "9223372036.854775807": 1<<63 - 1, "007": 7e9,
	} {
		if got, err := ParseTON(text); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "0.0", ".5", "1.", "-1", "+1", "1e3", "1,5", "0.0000000001", "9223372036.854775808", "1.5.5", "½"} {
		if got, err := ParseTON(text); err == nil {
			t.Errorf("%q is read as %d", text, got)
		}
	}
}

func TestAmountsAreWrittenWithoutZeros(t *testing.T) {
	for n, want := range map[int64]string{0: "0 TON", 1: "0.000000001 TON", 15e8: "1.5 TON", 2e9: "2 TON"} {
		if got := TON(big.NewInt(n)); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}
