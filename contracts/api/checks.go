package api

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cocoon/contracts/api/jsonscan"
)

// ruleError is a failed check with a code of its own.
type ruleError struct {
	code    Code
	message string
}

func (f *ruleError) Error() string { return f.message }

func integer(low, high int64) check {
	return func(_ *Request, v jsonscan.Value, _ Limits) error {
		_, err := within(v, low, high)
		return err
	}
}

func within(v jsonscan.Value, low, high int64) (int64, error) {
	n, ok := v.Int()
	if !ok || n < low || n > high {
		return 0, fmt.Errorf("must be an integer from %d to %d, written without a fraction", low, high)
	}
	return n, nil
}

func anyInteger(_ *Request, v jsonscan.Value, _ Limits) error {
	if _, ok := v.Int(); !ok {
		return errors.New("must be an integer of 64 bits")
	}
	return nil
}

func number(low, high float64) check {
	return func(_ *Request, v jsonscan.Value, _ Limits) error {
		if n, ok := v.Float(); !ok || n < low || n > high {
			return fmt.Errorf("must be a number from %g to %g", low, high)
		}
		return nil
	}
}

func above(low, high float64) check {
	return func(_ *Request, v jsonscan.Value, _ Limits) error {
		if n, ok := v.Float(); !ok || n <= low || n > high {
			return fmt.Errorf("must be a number above %g, up to %g", low, high)
		}
		return nil
	}
}

func boolean(_ *Request, v jsonscan.Value, _ Limits) error {
	if _, ok := v.Bool(); !ok {
		return errors.New("must be true or false")
	}
	return nil
}

func mustBeFalse(_ *Request, v jsonscan.Value, _ Limits) error {
	if on, ok := v.Bool(); !ok || on {
		return errors.New("must be false or absent: nothing is stored here")
	}
	return nil
}

func textUpTo(most int) check {
	return func(_ *Request, v jsonscan.Value, _ Limits) error {
		if s, ok := v.Text(); !ok || len(s) > most {
			return fmt.Errorf("must be a string of at most %d bytes", most)
		}
		return nil
	}
}

func oneOf(words ...string) check {
	return func(_ *Request, v jsonscan.Value, _ Limits) error {
		if s, ok := v.Text(); !ok || !slices.Contains(words, s) {
			return fmt.Errorf("must be %s", strings.Join(words, " or "))
		}
		return nil
	}
}

func integers(most int) check {
	return func(_ *Request, v jsonscan.Value, _ Limits) error {
		list, ok := few(v, most)
		if !ok {
			return fmt.Errorf("must be an array of at most %d integers", most)
		}
		for _, e := range list {
			if _, err := within(e, 0, maxInteger); err != nil {
				return err
			}
		}
		return nil
	}
}

// few lists the elements of an array; one that has more than most is not ok, and not listed: lists are longer than bodies.
func few(v jsonscan.Value, most int) (list []jsonscan.Value, ok bool) {
	for e := range v.Each() {
		if len(list) == most {
			return nil, false
		}
		list = append(list, e)
	}
	return list, v.Kind() == jsonscan.Array
}

func stops(_ *Request, v jsonscan.Value, _ Limits) error {
	const most, longest = 16, 1024
	list, ok := few(v, most)
	if v.Kind() == jsonscan.String {
		list, ok = []jsonscan.Value{v}, true
	}
	bad := func(e jsonscan.Value) bool { s, ok := e.Text(); return !ok || len(s) > longest }
	if !ok || slices.ContainsFunc(list, bad) {
		return fmt.Errorf("must be a string or an array of at most %d strings, each of at most %d bytes", most, longest)
	}
	return nil
}

func logitBias(_ *Request, v jsonscan.Value, _ Limits) error {
	const most = 1024
	n := 0
	for m := range v.All() {
		if n++; n > most {
			break
		}
		bias, ok := m.Float()
		if _, err := strconv.ParseUint(string(m.Key), 10, 31); err != nil || !ok || bias < -100 || bias > 100 {
			return errors.New("must map token ids to numbers from -100 to 100")
		}
	}
	if v.Kind() != jsonscan.Object || n > most {
		return fmt.Errorf("must be an object of at most %d entries", most)
	}
	return nil
}

func logprobs(r *Request, v jsonscan.Value, lim Limits) error {
	if r.Endpoint == Chat {
		return boolean(r, v, lim)
	}
	return integer(0, 20)(r, v, lim)
}

func choices(r *Request, v jsonscan.Value, lim Limits) (err error) {
	r.N, err = within(v, 1, lim.MaxN)
	return err
}

// maxTokens takes the smaller of the fields that say it.
func maxTokens(r *Request, v jsonscan.Value, _ Limits) error {
	n, err := within(v, 1, maxInteger)
	if err != nil {
		return err
	}
	if r.MaxTokens == 0 || n < r.MaxTokens {
		r.MaxTokens = n
	}
	return nil
}

func stream(r *Request, v jsonscan.Value, _ Limits) error {
	on, ok := v.Bool()
	if !ok {
		return errors.New("must be true or false")
	}
	r.Stream = on
	return nil
}

func streamOptions(r *Request, v jsonscan.Value, _ Limits) error {
	const rule = "must be an object with the booleans include_usage, include_obfuscation, continuous_usage_stats"
	if v.Kind() != jsonscan.Object {
		return errors.New(rule)
	}
	for m := range v.All() {
		on, ok := m.Bool()
		if !ok || !slices.Contains([]string{"include_usage", "include_obfuscation", "continuous_usage_stats"}, string(m.Key)) {
			return errors.New(rule)
		}
		r.IncludeUsage = r.IncludeUsage || string(m.Key) == "include_usage" && on
	}
	return nil
}

func model(r *Request, v jsonscan.Value, _ Limits) error {
	const longest = 256
	name, ok := v.Text()
	odd := func(c rune) bool { return c <= ' ' || c > '~' }
	if !ok || name == "" || len(name) > longest || strings.ContainsFunc(name, odd) {
		return fmt.Errorf("must be the name of a model: up to %d visible ASCII characters; see /v1/models", longest)
	}
	r.Model = name
	return nil
}

func onlyText(_ *Request, v jsonscan.Value, _ Limits) error {
	if list, _ := few(v, 1); len(list) == 1 {
		if s, _ := list[0].Text(); s == "text" {
			return nil
		}
	}
	return errors.New(`must be ["text"]`)
}

func include(_ *Request, v jsonscan.Value, _ Limits) error {
	if v.Kind() != jsonscan.Array {
		return errors.New("must be an array of strings")
	}
	for e := range v.Each() {
		s, ok := e.Text()
		if !ok {
			return errors.New("must be an array of strings")
		}
		for _, tool := range []string{"file_search", "web_search", "computer", "code_interpreter"} {
			if strings.Contains(s, tool) {
				return fmt.Errorf("%s does not exist here; remove it", tool)
			}
		}
	}
	return nil
}

func toolList(r *Request, v jsonscan.Value, _ Limits) error {
	const most = 128
	list, ok := few(v, most)
	if !ok {
		return fmt.Errorf("must be an array of at most %d tools", most)
	}
	for _, e := range list {
		if kind, _ := lookup(e, "type").Text(); kind != "function" {
			return errors.New("every tool must have the type function")
		}
	}
	r.Tools = len(list) > 0
	return nil
}

func responseFormat(r *Request, v jsonscan.Value, _ Limits) error {
	kind, _ := lookup(v, "type").Text()
	if !slices.Contains([]string{"text", "json_object", "json_schema"}, kind) {
		return errors.New("type must be text, json_object or json_schema")
	}
	r.Schema = kind == "json_schema"
	return nil
}

func templateSwitches(_ *Request, v jsonscan.Value, _ Limits) error {
	const rule = "must be an object with only the booleans enable_thinking and thinking"
	if v.Kind() != jsonscan.Object {
		return errors.New(rule)
	}
	for m := range v.All() {
		if _, ok := m.Bool(); !ok || string(m.Key) != "enable_thinking" && string(m.Key) != "thinking" {
			return errors.New(rule)
		}
	}
	return nil
}

func maxCoefficient(r *Request, v jsonscan.Value, _ Limits) (err error) {
	r.MaxCoefficient, err = within(v, 1, MaxCoefficient)
	return err
}

func timeout(r *Request, v jsonscan.Value, _ Limits) error {
	seconds, ok := v.Float()
	if !ok || seconds <= 0 || seconds > MaxTimeout.Seconds() {
		return fmt.Errorf("must be seconds above 0, up to %g", MaxTimeout.Seconds())
	}
	r.Timeout = max(time.Duration(seconds*float64(time.Second)), time.Nanosecond)
	return nil
}

func debug(r *Request, v jsonscan.Value, lim Limits) error {
	on, ok := v.Bool()
	if !ok {
		return errors.New("must be true or false")
	}
	if on && !lim.AllowDebug {
		return &ruleError{UnsupportedValue, "debug output is switched off at this gateway"}
	}
	r.Debug = on
	return nil
}

func guid(r *Request, v jsonscan.Value, _ Limits) error {
	s, _ := v.Text()
	if raw, err := hex.DecodeString(s); err != nil || len(raw) != 32 {
		return errors.New("must be 64 hexadecimal digits")
	}
	r.RequestGUID = strings.ToLower(s)
	return nil
}

// routeSecret takes the field that ranks first; the ranks are those of inference.md section 11.
func routeSecret(rank int) check {
	const longest = 512
	return func(r *Request, v jsonscan.Value, lim Limits) error {
		if err := textUpTo(longest)(r, v, lim); err != nil {
			return err
		}
		s, _ := v.Text()
		better := []string{"prompt_cache_key", "safety_identifier"}[:rank-1]
		for _, key := range better {
			if other, _ := lookup(r.body, key).Text(); other != "" {
				return nil
			}
		}
		if s != "" {
			r.RouteSecret = s
		}
		return nil
	}
}

func metadata(_ *Request, v jsonscan.Value, _ Limits) error {
	const most = 16
	n, ok := 0, v.Kind() == jsonscan.Object
	for m := range v.All() {
		n++
		if ok = n <= most && m.Kind() == jsonscan.String; !ok {
			break
		}
	}
	if !ok {
		return fmt.Errorf("must be an object of at most %d strings", most)
	}
	return nil
}

// provider reads the constraints of inference.md section 10.3: they can only tighten.
func provider(r *Request, v jsonscan.Value, lim Limits) error {
	const most = 64
	if v.Kind() != jsonscan.Object {
		return errors.New("must be an object")
	}
	for m := range v.All() {
		switch {
		case string(m.Key) == "aci_verified":
			if err := boolean(r, m.Value, lim); err != nil {
				return fmt.Errorf("aci_verified %w", err)
			}
		case string(m.Key) == "aci_session_ids":
			list, ok := few(m.Value, most)
			if !ok || len(list) == 0 {
				return fmt.Errorf("aci_session_ids must be an array of 1 to %d session ids", most)
			}
			for _, e := range list {
				id, _ := e.Text()
				if raw, err := hex.DecodeString(id); err != nil || len(raw) != 32 || id != strings.ToLower(id) {
					return errors.New("aci_session_ids must hold ids of 64 lower-case hexadecimal digits")
				}
				r.Sessions = append(r.Sessions, id)
			}
		case strings.HasPrefix(string(m.Key), "aci_"):
			return errors.New("an aci_ member that is not known here; known are aci_verified and aci_session_ids")
		}
	}
	return nil
}
