package engine

import (
	"fmt"
	"strconv"
	"strings"
)

// Values are what may be put into an engine's command line: two of the worker's own, and the only three things that the
// unmeasured configuration may choose.
type Values struct {
	Model, Socket string
	MaxRequests   int
	GPUFraction   float64
	TP            int
}

func substitutions() []string {
	return []string{"{model}", "{socket}", "{max_requests}", "{gpu_fraction}", "{tp}"}
}

// knownWords says whether every {word} of an argument is a substitution; a lone brace is text.
func knownWords(arg string) bool {
	for _, s := range substitutions() {
		arg = strings.ReplaceAll(arg, s, "")
	}
	return !strings.ContainsAny(arg, "{}\x00")
}

// Command is the command line with its substitutions made in one pass: what is put in is never looked at again.
func (c *Config) Command(v Values) ([]string, error) {
	if err := c.Bounds.allow(v); err != nil {
		return nil, err
	}
	replace := strings.NewReplacer(
		"{model}", v.Model, "{socket}", v.Socket, "{max_requests}", strconv.Itoa(v.MaxRequests),
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
