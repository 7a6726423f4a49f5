package tlgen

import (
	"bytes"
	"fmt"
	"go/format"
	"slices"
	"strings"
)

// builtin is how a basic type is held, written and read. Size is its least encoding, and measure the size of a value, where
// that is not always the same.
type builtin struct {
	held, write, read string
	size              int
	measure           string
}

func builtins() map[string]builtin {
	return map[string]builtin{
		"int":    {"int32", "wire.AppendInt(dst, %s)", "c.Int()", 4, ""},
		"long":   {"int64", "wire.AppendLong(dst, %s)", "c.Long()", 8, ""},
		"double": {"float64", "wire.AppendDouble(dst, %s)", "c.Double()", 8, ""},
		"Bool":   {"bool", "wire.AppendBool(dst, %s)", "c.Bool()", 4, ""},
		"string": {"string", "wire.AppendBytes(dst, %s)", "readString(c)", 4, "wire.BytesSize(len(%s))"},
		"bytes":  {"[]byte", "wire.AppendBytes(dst, %s)", "c.Own(MaxBytes)", 4, "wire.BytesSize(len(%s))"},
		"int256": {"[32]byte", "append(dst, %s[:]...)", "int256(c)", 32, ""},
	}
}

// writer collects the generated file.
type writer struct {
	bytes.Buffer
	all []Combinator
}

func (w *writer) line(form string, args ...any) { _, _ = fmt.Fprintf(w, form+"\n", args...) } // a buffer takes all

// Write generates the Go file for a schema.
func Write(all []Combinator) ([]byte, error) {
	w := &writer{all: all}
	w.line("// Code generated from schema.tl by tlgen. DO NOT EDIT.\n\npackage tl\n")
	w.line("import \"cocoon/contracts/wire\"\n")
	for _, typ := range w.unions() {
		w.union(typ)
	}
	for _, c := range all {
		w.combinator(c)
	}
	w.registry()
	out, err := format.Source(w.Bytes())
	if err != nil {
		return nil, fmt.Errorf("formatting generated code: %w", err)
	}
	return out, nil
}

// unions are the boxed types that fields have.
func (w *writer) unions() []string {
	var out []string
	for _, c := range w.all {
		for _, f := range c.Fields {
			if _, basic := builtins()[f.Type]; !basic && f.Type != "#" && boxed(f.Type) && !slices.Contains(out, f.Type) {
				out = append(out, f.Type)
			}
		}
	}
	slices.Sort(out)
	return out
}

func unionName(typ string) string { return "Any" + GoName(typ) }

func (w *writer) union(typ string) {
	name := unionName(typ)
	options := constructors(w.all, typ)
	names := make([]string, 0, len(options))
	for _, c := range options {
		names = append(names, "*"+c.Go)
	}
	w.line("// %s is a %s: %s.", name, typ, strings.Join(names, " or "))
	w.line("type %s interface {\nObject\nis%s()\n}\n", name, name)
	for _, c := range options {
		w.line("func (*%s) is%s() {}\n", c.Go, name)
	}
	w.line("func decode%s(c *wire.Cursor) %s {", name, name)
	w.line("id := c.Uint()\nswitch id {")
	for _, c := range options {
		w.line("case 0x%08x:\nv := new(%s)\nv.decode(c)\nreturn v", c.ID, c.Go)
	}
	w.line("}\nc.Fail(\"constructor %%08x is no %s\", id)\nreturn nil\n}\n", typ)
}

func (w *writer) combinator(c Combinator) {
	kind := "constructor"
	if c.Function {
		kind = "function"
	}
	w.line("// %s is the %s %s, of type %s.", c.Go, kind, c.Name, c.Result)
	w.line("type %s struct {", c.Go)
	for _, f := range c.Fields {
		if f.Type != "#" {
			w.line("%s %s", f.Go, held(f))
		}
	}
	w.line("}\n")
	w.line("// TLID is the constructor's id.\nfunc (*%s) TLID() uint32 { return 0x%08x }\n", c.Go, c.ID)
	w.line("// TLName is the name in the schema.\nfunc (*%s) TLName() string { return %q }\n", c.Go, c.Name)
	w.line("// TLType is the type in the schema: what a constructor makes, what a function answers.")
	w.line("func (*%s) TLType() string { return %q }\n", c.Go, c.Result)
	if c.Function {
		w.line("func (*%s) isFunction() {}\n", c.Go)
	}
	w.sizer(c)
	w.encoder(c)
	w.decoder(c)
}

// held is the Go type of a field.
func held(f Field) string {
	t := element(f.Type)
	switch {
	case f.Vector:
		return "[]" + t
	case f.Bit >= 0:
		return "*" + t
	}
	return t
}

func element(typ string) string {
	if b, ok := builtins()[typ]; ok {
		return b.held
	}
	if boxed(typ) {
		return unionName(typ)
	}
	return GoName(typ)
}

func (w *writer) encoder(c Combinator) {
	w.line("// Append writes the value with its id.\nfunc (v *%s) Append(dst []byte) []byte {", c.Go)
	w.line("return v.bare(wire.AppendUint(dst, 0x%08x))\n}\n", c.ID)
	if len(c.Fields) == 0 {
		w.line("func (*%s) bare(dst []byte) []byte { return dst }\n", c.Go)
		return
	}
	w.line("func (v *%s) bare(dst []byte) []byte {", c.Go)
	for _, f := range c.Fields {
		switch {
		case f.Type == "#":
			w.flags(c)
		case f.Vector:
			w.line("dst = wire.AppendInt(dst, int32(len(v.%s))) //nolint:gosec // bounded by the frame", f.Go)
			w.line("for i := range v.%s {\ndst = %s\n}", f.Go, encode(f.Type, "v."+f.Go+"[i]"))
		case f.Bit >= 0:
			w.line("if flags&(1<<%d) != 0 {", f.Bit)
			value := "orZero(v." + f.Go + ")"
			if _, basic := builtins()[f.Type]; !basic || f.Type == "int256" {
				w.line("x := %s\n dst = %s\n}", value, encode(f.Type, "x"))
			} else {
				w.line("dst = %s\n}", encode(f.Type, value))
			}
		default:
			w.line("dst = %s", encode(f.Type, "v."+f.Go))
		}
	}
	w.line("return dst\n}\n")
}

// flags computes the flags word.
func (w *writer) flags(c Combinator) {
	w.line("var flags uint32")
	for bit := range 32 {
		if _, there := announced(c, bit); there != "" {
			w.line("if %s {\nflags |= 1 << %d\n}", there, bit)
		}
	}
	w.line("dst = wire.AppendUint(dst, flags)")
}

// announced are the fields that a flag announces and the condition that any of them is there, which sets the flag; no
// condition when there are none.
func announced(c Combinator, bit int) (fields []Field, there string) {
	var conditions []string
	for _, f := range c.Fields {
		if f.Bit == bit {
			fields, conditions = append(fields, f), append(conditions, "v."+f.Go+" != nil")
		}
	}
	return fields, strings.Join(conditions, " || ")
}

func encode(typ, value string) string {
	if b, ok := builtins()[typ]; ok {
		return fmt.Sprintf(b.write, value)
	}
	if boxed(typ) {
		return value + ".Append(dst)"
	}
	return value + ".bare(dst)"
}

func (w *writer) decoder(c Combinator) {
	if len(c.Fields) == 0 {
		w.line("func (*%s) decode(*wire.Cursor) {}\n", c.Go)
		return
	}
	w.line("func (v *%s) decode(c *wire.Cursor) {", c.Go)
	for i, f := range c.Fields {
		switch {
		case f.Type == "#":
			w.line("%s c.Flags(%#x)", map[bool]string{true: "flags :=", false: "_ ="}[known(c) != 0], known(c))
		case f.Vector:
			w.line("v.%s = make([]%s, c.Count(%d))", f.Go, element(f.Type), w.least(f.Type))
			w.line("for i := range v.%s {\n%s\n}", f.Go, decode(f.Type, "v."+f.Go+"[i]"))
		case f.Bit >= 0 && i > 0 && c.Fields[i-1].Bit == f.Bit: // read with the one before
		case f.Bit >= 0:
			w.optional(c.Fields[i:])
		default:
			w.line("%s", decode(f.Type, "v."+f.Go))
		}
	}
	w.line("}\n")
}

// optional reads the fields at the start of a list that one flag announces. Several come into memory together.
func (w *writer) optional(fields []Field) {
	n := 1
	for n < len(fields) && fields[n].Bit == fields[0].Bit {
		n++
	}
	w.line("if flags&(1<<%d) != 0 {", fields[0].Bit)
	defer w.line("}")
	if f := fields[0]; n == 1 {
		w.line("v.%s = new(%s)\n%s", f.Go, element(f.Type), decode(f.Type, "*v."+f.Go))
		return
	}
	w.line("var all struct {")
	for _, f := range fields[:n] {
		w.line("%s %s", f.Go, element(f.Type))
	}
	w.line("}")
	for _, f := range fields[:n] {
		w.line("%s\nv.%s = &all.%[2]s", decode(f.Type, "all."+f.Go), f.Go)
	}
}

func known(c Combinator) (mask uint32) {
	for _, f := range c.Fields {
		if f.Bit >= 0 {
			mask |= 1 << f.Bit
		}
	}
	return mask
}

func decode(typ, target string) string {
	if b, ok := builtins()[typ]; ok {
		return target + " = " + b.read
	}
	if boxed(typ) {
		return target + " = decode" + unionName(typ) + "(c)"
	}
	return strings.TrimPrefix(target, "*") + ".decode(c)"
}

// least is the smallest encoding of a type.
func (w *writer) least(typ string) int {
	if b, ok := builtins()[typ]; ok {
		return b.size
	}
	if boxed(typ) {
		return 4
	}
	sum := 0
	for _, f := range constructors(w.all, typ)[0].Fields {
		switch {
		case f.Type == "#" || f.Vector:
			sum += 4
		case f.Bit < 0:
			sum += w.least(f.Type)
		}
	}
	return sum
}

// registry writes the function that reads a value by its id. It names every type, so that nothing of the cursor's escapes.
func (w *writer) registry() {
	w.line("// decode reads the value with the id; nil when there is no such type.\nfunc decode(id uint32, c *wire.Cursor) Object {\nswitch id {")
	for _, c := range w.all {
		w.line("case 0x%08x:\nv := new(%s)\nv.decode(c)\nreturn v", c.ID, c.Go)
	}
	w.line("}\nreturn nil\n}")
}
