package policy_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"cocoon/measure/policy"
	"cocoon/measure/strictjson"
)

// spoiled is a value that no key may have, for one reason.
type spoiled struct {
	name string
	// make spoils a value; the second result is false where the spoilt value would be a good one.
	make func(good json.RawMessage) (json.RawMessage, bool)
}

// spoilers are applied to the value of every key.
func spoilers() []spoiled {
	fixed := func(text string, fine ...string) func(json.RawMessage) (json.RawMessage, bool) {
		return func(good json.RawMessage) (json.RawMessage, bool) {
			return json.RawMessage(text), !slices.Contains(fine, strictjson.Kind(good))
		}
	}
	return []spoiled{
		{"null", fixed(`null`)},
		{"empty string", fixed(`""`)},
		{"a string of nonsense", fixed(`"nonsense"`)},
		{"a string with a zero byte", fixed(`"\u0000"`)},
		{"a fraction", fixed(`1.5`)},
		{"a huge number", fixed(`1e400`)},
		{"a list of null", fixed(`[null]`)},
		{"a list of empty strings", fixed(`[""]`)},
		{"a list of lists of lists", fixed(`[[[]]]`)},
		{"an object with an unknown key", fixed(`{"unknown":1}`)},
		{"a boolean", fixed(`true`, "a boolean")},
		{"a number", fixed(`7`, "a number")},
		{"one more level", func(good json.RawMessage) (json.RawMessage, bool) {
			return json.RawMessage(`[` + string(good) + `]`), true
		}},
		{"a digit less", func(good json.RawMessage) (json.RawMessage, bool) {
			text := string(good)
			at := strings.LastIndex(text, `01"`)
			if at < 0 {
				return nil, false
			}
			return json.RawMessage(text[:at] + text[at+1:]), true
		}},
		{"a digit that is none", func(good json.RawMessage) (json.RawMessage, bool) {
			text := string(good)
			at := strings.LastIndex(text, `01"`)
			if at < 0 {
				return nil, false
			}
			return json.RawMessage(text[:at] + "g" + text[at+1:]), true
		}},
	}
}

// TestNoKeyTakesASpoiltValue: every key of a good document, spoilt in every way, makes the whole document an error that
// names the key. In the reference implementation some of these turn an allow-list into "any".
func TestNoKeyTakesASpoiltValue(t *testing.T) {
	members, err := strictjson.Object([]byte(everything))
	if err != nil {
		t.Fatal(err)
	}
	with := func(i int, key string, value json.RawMessage) []byte {
		parts := make([]string, len(members))
		for j, m := range members {
			if j == i {
				m = strictjson.Member{Key: key, Value: value}
			}
			parts[j] = `"` + m.Key + `":` + string(m.Value)
		}
		return []byte(`{` + strings.Join(parts, ",") + `}`)
	}
	tried := 0
	for i, m := range members {
		for _, s := range spoilers() {
			value, spoilt := s.make(m.Value)
			if !spoilt || string(m.Value) == string(value) {
				continue
			}
			tried++
			if _, err := policy.Parse(with(i, m.Key, value)); err == nil || !strings.Contains(err.Error(), m.Key) {
				t.Errorf("%s set to %s (%s): %v", m.Key, value, s.name, err)
			}
		}
		for _, variant := range []string{strings.ToUpper(m.Key), strings.ToUpper(m.Key[:1]) + m.Key[1:], m.Key + " ", " " + m.Key, m.Key + "s"} {
			tried++
			if _, err := policy.Parse(with(i, variant, m.Value)); err == nil {
				t.Errorf("key %q passes for %q", variant, m.Key)
			}
		}
		twice := strings.TrimSuffix(string(with(i, m.Key, m.Value)), "}") + `,"` + m.Key + `":` + string(m.Value) + `}`
		if _, err := policy.Parse([]byte(twice)); !errors.Is(err, strictjson.ErrSyntax) || !strings.Contains(err.Error(), m.Key) {
			t.Errorf("%s given twice: %v", m.Key, err)
		}
	}
	if tried < 300 {
		t.Errorf("only %d documents were tried", tried)
	}
}

// TestNestedKeysAreAsStrict: the objects inside of a document follow the same rules.
func TestNestedKeysAreAsStrict(t *testing.T) {
	for outer, inner := range map[string][]string{
		"tcb":           {"accepted", "advisories", "grace_days", "min_evaluation_number"},
		"fmspc":         {"allow", "deny"},
		"ppid":          {"allow", "deny"},
		"piid":          {"allow", "deny"},
		"td_attributes": {"must_one", "may_one"},
		"xfam":          {"must_one", "may_one"},
	} {
		for _, key := range inner {
			for _, value := range []string{`null`, `""`, `true`, `{}`, `[null]`, `[[]]`, `1.5`, `-1`, `"nonsense"`, `["nonsense"]`} {
				_, err := policy.ParseConfig(policy.TDX, []byte(`{"`+outer+`":{"`+key+`":`+value+`}}`))
				if err == nil || !strings.Contains(err.Error(), outer+"."+key) && !strings.Contains(err.Error(), outer+": ") {
					t.Errorf("%s.%s set to %s: %v", outer, key, value, err)
				}
			}
			_, err := policy.ParseConfig(policy.TDX, []byte(`{"`+outer+`":{"`+strings.ToUpper(key)+`":1}}`))
			if err == nil || !strings.Contains(err.Error(), `this one is "`+key+`"`) {
				t.Errorf("%s.%s in upper case: %v", outer, key, err)
			}
		}
		if _, err := policy.ParseConfig(policy.TDX, []byte(`{"`+outer+`":{}}`)); err != nil {
			t.Errorf("an empty %s is not the default: %v", outer, err)
		}
	}
}
