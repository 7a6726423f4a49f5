package policy

import (
	"encoding/hex"
	"strconv"
	"strings"
	"time"
)

// Words that findings repeat.
const (
	anything   = "any"
	unverified = "nothing verified to judge"
	noClaims   = "no v2 claims"
)

// maxListed bounds how many entries of a list a finding spells out.
const maxListed = 4

// oneOf words an allow-list.
func oneOf[T any](list []T, word func(T) string) string {
	switch {
	case len(list) == 0:
		return anything
	case len(list) > maxListed:
		return "one of " + strconv.Itoa(len(list)) + " listed"
	}
	return oneOfAll(list, word)
}

// oneOfAll is oneOf for lists that are short by nature.
func oneOfAll[T any](list []T, word func(T) string) string {
	if len(list) == 1 {
		return word(list[0])
	}
	return "one of " + join(list, word)
}

func join[T any](list []T, word func(T) string) string {
	words := make([]string, len(list))
	for i, v := range list {
		words[i] = word(v)
	}
	return strings.Join(words, ", ")
}

// number words a 64-bit field as the JSON keys take it.
func number(v uint64) string { return string(appendNumber(nil, v)) }

func appendNumber(words []byte, v uint64) []byte {
	return strconv.AppendUint(append(words, "0x"...), v, 16)
}

func appendHex(words, raw []byte) []byte { return hex.AppendEncode(words, raw) }

// date words a time as JSON documents do.
func appendDate(words []byte, t time.Time) []byte { return t.UTC().AppendFormat(words, time.RFC3339) }

func date(t time.Time) string { return string(appendDate(nil, t)) }
