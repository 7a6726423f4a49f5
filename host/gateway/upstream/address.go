package upstream

import (
	"strings"

	"github.com/xssnick/tonutils-go/address"
)

// RawAddress is the raw form of a contract's address, by which documents name it: messages have the user-friendly one,
// and addresses are never compared as text (protocol.md section 14). What is no address stays as it is, and equals none.
func RawAddress(text string) string {
	parse := address.ParseAddr
	if strings.Contains(text, ":") {
		parse = address.ParseRawAddr
	}
	a, err := parse(text)
	if err != nil {
		return text
	}
	return a.StringRaw()
}
