package worker

import (
	"fmt"
	"strings"
	"testing"

	"cocoon/contracts/wire/tl"
)

// TestNamesOfRequests: the client's id is read in any letters and known in small ones; what is no id is refused, and without
// one the proxy's counts.
func TestNamesOfRequests(t *testing.T) {
	const digits = "0123456789abcdef"
	whole := strings.Repeat(digits, 4)
	for name, tc := range map[string]struct {
		headers []string
		want    string
	}{
		"none":           {nil, fmt.Sprintf("%x", idOf(1))},
		"small":          {[]string{whole}, whole},
		"large":          {[]string{strings.ToUpper(whole)}, whole},
		"mixed":          {[]string{strings.ToUpper(whole[:32]) + whole[32:]}, whole},
		"the last":       {[]string{strings.Repeat("0", 64), whole}, whole},
		"short":          {[]string{whole[1:]}, ""},
		"long":           {[]string{whole + "0"}, ""},
		"empty":          {[]string{""}, ""},
		"no digit":       {[]string{whole[1:] + "g"}, ""},
		"no large digit": {[]string{whole[1:] + "G"}, ""},
		"beyond ASCII":   {[]string{"A" + whole[3:] + "\u212a"[:2]}, ""},
		"a line end":     {[]string{whole[1:] + "\n"}, ""},
	} {
		r := &tl.HTTPRequest{Method: "POST", URL: "/"}
		for _, h := range tc.headers {
			r.Headers = append(r.Headers, tl.HTTPHeader{Name: "x-cocoon-REQUEST-id", Value: h})
		}
		_, got, err := envelope(tl.Encode(r), idOf(1))
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
