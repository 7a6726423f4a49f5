package engine

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Values are what may be put into an engine's command line: the machine's own, which are the model's name as it is asked
// for, its file in its volume, and the socket; and the only three things that the unmeasured configuration may choose.
type Values struct {
	Model, File, Socket string
	MaxRequests         int
	GPUFraction         float64
	TP                  int
}

func substitutions() []string {
	return []string{"{model}", "{file}", "{socket}", "{max_requests}", "{gpu_fraction}", "{tp}"}
}

// knownWords says whether every {word} of an argument is a substitution; a lone brace is text.
func knownWords(arg string) bool {
	for _, s := range substitutions() {
		arg = strings.ReplaceAll(arg, s, "")
	}
	return !strings.ContainsAny(arg, "{}\x00")
}

// Command is the command line with its substitutions made in one pass: what is put in is never looked at again. Where
// nothing is chosen the measured defaults are used.
func (c *Config) Command(v Values) ([]string, error) {
	if err := c.Bounds.allow(v); err != nil {
		return nil, err
	}
	or(&v.MaxRequests, c.Defaults.MaxRequests)
	or(&v.GPUFraction, c.Defaults.GPUFraction)
	or(&v.TP, c.Defaults.TP)
	for _, needed := range []struct{ word, value, name string }{
		{"{model}", v.Model, "a model"}, {"{file}", v.File, "model.file"}, {"{socket}", v.Socket, "a socket"},
	} {
		if needed.value == "" && slices.ContainsFunc(c.Argv, func(a string) bool { return strings.Contains(a, needed.word) }) {
			return nil, fmt.Errorf("argv has %s: the configuration must name %s", needed.word, needed.name)
		}
	}
	replace := strings.NewReplacer(
		"{model}", v.Model, "{file}", v.File, "{socket}", v.Socket, "{max_requests}", strconv.Itoa(v.MaxRequests),
		"{gpu_fraction}", strconv.FormatFloat(v.GPUFraction, 'f', -1, 64), "{tp}", strconv.Itoa(v.TP),
	)
	out := make([]string, len(c.Argv))
	for i, a := range c.Argv {
		out[i] = replace.Replace(a)
	}
	return out, nil
}

// allow checks what the unmeasured configuration chose. Zero chooses nothing.
func (b Bounds) allow(v Values) error {
	if v.GPUFraction != 0 && (len(b.GPUFraction) != 2 || !(v.GPUFraction >= b.GPUFraction[0] && v.GPUFraction <= b.GPUFraction[1])) {
		return fmt.Errorf("gpu_fraction %g is outside of the measured bounds %v", v.GPUFraction, b.GPUFraction)
	}
	for _, n := range []struct {
		name  string
		value int
		pair  []int
	}{{"tp", v.TP, b.TP}, {"max_requests", v.MaxRequests, b.MaxRequests}} {
		if n.value != 0 && (len(n.pair) != 2 || n.value < n.pair[0] || n.value > n.pair[1]) {
			return fmt.Errorf("%s %d is outside of the measured bounds %v", n.name, n.value, n.pair)
		}
	}
	return nil
}
