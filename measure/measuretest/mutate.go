package measuretest

import (
	"bytes"
	"strings"
)

// Mutation is what an untrusted cache may do to an answer that holds a signed text. Every one of them must be refused:
// none leaves both the text and its place in the answer as Intel's service sent them.
type Mutation struct {
	Name  string
	Apply func(body []byte) []byte
}

// Mutations lists what is done to the answers for TCB info and QE identity (attestation.md section 11.2). In the
// reference library several of them override what was signed.
func Mutations() []Mutation {
	// member adds a member at the end of the answer, or in front of the others.
	member := func(text string, front bool) func([]byte) []byte {
		return func(b []byte) []byte {
			if front {
				return []byte("{" + text + "," + string(b[1:]))
			}
			return []byte(string(b[:len(b)-1]) + "," + text + "}")
		}
	}
	replace := func(old, replacement string) func([]byte) []byte {
		return func(b []byte) []byte { return []byte(strings.Replace(string(b), old, replacement, 1)) }
	}
	// again repeats the signed member under a name derived from its own, with a date far in the future.
	again := func(rename func(string) string, front bool) func([]byte) []byte {
		return func(b []byte) []byte {
			name, _, _ := strings.Cut(string(b[2:]), `"`)
			return member(`"`+rename(name)+`":{"nextUpdate":"2049-01-01T00:00:00Z"}`, front)(b)
		}
	}
	same := func(s string) string { return s }
	return []Mutation{
		{"signed member again, behind", again(same, false)},
		{"signed member again, in front", again(same, true)},
		{"signed member in another case, behind", again(strings.ToUpper, false)},
		{"signed member in another case, in front", again(strings.ToUpper, true)},
		{"signed member with an escape, behind", again(func(s string) string { return strings.Replace(s, "t", `\u0074`, 1) }, false)},
		{"signature again", member(`"signature":"00"`, false)},
		{"signature in another case", member(`"Signature":"00"`, false)},
		{"another member", member(`"comment":"harmless"`, false)},
		{"another answer behind", func(b []byte) []byte { return append(bytes.Clone(b), b...) }},
		{"member into the signed text", replace(`"id":`, `"nextUpdate":"2049-01-01T00:00:00Z","id":`)},
		{"space into the signed text", replace(`{"id"`, `{ "id"`)},
		{"other date in the signed text", replace(`"nextUpdate":"20`, `"nextUpdate":"21`)},
		{"better status in the signed text", replace(outOfDate, upToDate)},
		{"case in the signed text", replace(`"issueDate"`, `"IssueDate"`)},
		{"escape in the signed text", replace(`"version"`, `"versio\u006e"`)},
		{"order of the signed text", replace(`"version":3,`, ``)},
		{"signature cut", func(b []byte) []byte { return append(bytes.Clone(b[:len(b)-4]), `"}`...) }},
		{"signature longer", func(b []byte) []byte { return append(bytes.Clone(b[:len(b)-2]), `00"}`...) }},
		{"signature absent", func(b []byte) []byte { return append(bytes.Clone(b[:bytes.LastIndexByte(b, ',')]), '}') }},
		{"signature not a string", replace(`"signature":"`, `"signature":["`)},
		{"wrapped", func(b []byte) []byte { return append(append([]byte("["), b...), ']') }},
		{"cut", func(b []byte) []byte { return bytes.Clone(b[:len(b)/2]) }},
		{"empty", func([]byte) []byte { return nil }},
		{"error page", func([]byte) []byte { return []byte("<html>504 Gateway Time-out</html>") }},
		{"byte order mark", func(b []byte) []byte { return append([]byte("\xef\xbb\xbf"), b...) }},
		{"NUL behind", func(b []byte) []byte { return append(bytes.Clone(b), 0) }},
	}
}
