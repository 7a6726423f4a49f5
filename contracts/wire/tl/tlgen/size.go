package tlgen

import (
	"fmt"
	"strconv"
	"strings"
)

// sizer writes the method that knows the size of a value.
func (w *writer) sizer(c Combinator) {
	w.line("// Size is how many bytes Append appends.\nfunc (v *%s) Size() int { return 4 + v.bareSize() }\n", c.Go)
	sum, more := w.sizes(c)
	switch {
	case len(more) > 0:
		w.line("func (v *%s) bareSize() int {\nn := %s\n%s\nreturn n\n}\n", c.Go, sum, strings.Join(more, "\n"))
	case sum.vary == nil:
		w.line("func (*%s) bareSize() int { return %s }\n", c.Go, sum)
	default:
		w.line("func (v *%s) bareSize() int { return %s }\n", c.Go, sum)
	}
}

// sum is a size: what is the same for all values, and what computes the rest.
type sum struct {
	fixed int
	vary  []string
}

func (s *sum) add(x sum) { s.fixed, s.vary = s.fixed+x.fixed, append(s.vary, x.vary...) }

func (s sum) String() string {
	if s.fixed > 0 || s.vary == nil {
		return strings.Join(append([]string{strconv.Itoa(s.fixed)}, s.vary...), " + ")
	}
	return strings.Join(s.vary, " + ")
}

// sizes is what the fields of every value take, and statements that add what vectors and optional fields take to n.
func (w *writer) sizes(c Combinator) (always sum, more []string) {
	for _, f := range c.Fields {
		switch {
		case f.Type == "#":
			always.fixed += 4
		case f.Vector:
			always.fixed += 4
			if each := w.size(f.Type, "v."+f.Go+"[i]"); each.vary == nil {
				always.vary = append(always.vary, fmt.Sprintf("%s*len(v.%s)", each, f.Go))
			} else {
				more = append(more, fmt.Sprintf("for i := range v.%s {\nn += %s\n}", f.Go, each))
			}
		case f.Bit < 0:
			always.add(w.size(f.Type, "v."+f.Go))
		}
	}
	for bit := range 32 {
		fields, there := announced(c, bit)
		var all sum
		for _, f := range fields {
			value := "orZero(v." + f.Go + ")"
			if _, basic := builtins()[f.Type]; !basic {
				value = "orNew(v." + f.Go + ")"
			}
			all.add(w.size(f.Type, value))
		}
		if len(fields) > 0 {
			more = append(more, fmt.Sprintf("if %s {\nn += %s\n}", there, all))
		}
	}
	return always, more
}

// size is the size of one value.
func (w *writer) size(typ, value string) sum {
	b, basic := builtins()[typ]
	switch {
	case basic && b.measure == "":
		return sum{fixed: b.size}
	case basic:
		return sum{vary: []string{fmt.Sprintf(b.measure, value)}}
	case boxed(typ):
		return sum{vary: []string{value + ".Size()"}}
	}
	if always, more := w.sizes(constructors(w.all, typ)[0]); always.vary == nil && more == nil {
		return always
	}
	return sum{vary: []string{value + ".bareSize()"}}
}
