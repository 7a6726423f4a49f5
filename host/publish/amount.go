package publish

import (
	"fmt"
	"strconv"
	"strings"

	"cocoon/contracts/bind"
)

// nanoDigits is how many decimals a TON has.
const nanoDigits = 9

// ParseTON reads a positive amount in TON as people write it: 1.5 is 1 500 000 000 nanoTON.
func ParseTON(text string) (bind.Nano, error) {
	whole, rest, dotted := strings.Cut(text, ".")
	refused := fmt.Errorf("amount %q is not a positive number of TON with at most %d decimals", text, nanoDigits)
	if whole == "" || len(rest) > nanoDigits || (dotted && rest == "") {
		return 0, refused
	}
	digits := whole + rest + strings.Repeat("0", nanoDigits-len(rest))
	if strings.Trim(digits, "0123456789") != "" {
		return 0, refused
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || n == 0 {
		return 0, refused
	}
	return bind.Nano(n), nil
}
