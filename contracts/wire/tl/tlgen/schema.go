// Package tlgen reads the TL schema of the network and writes Go types with strict codecs for it (protocol.md section 3).
//
// It owns the schema's grammar, the rule that an id is the CRC-32 of the normalised line, and the shape of the generated
// file. Its input is this repository's own schema, and still every line is checked: a type that does not exist, a flag of
// no flags word and an id given twice are errors. It is used by the test that keeps the generated file fresh, never at
// run time, and depends on nothing but the standard library.
package tlgen

import (
	"bufio"
	"bytes"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
)

// Combinator is one line of the schema.
type Combinator struct {
	// Name is as in the schema, Go the type's name.
	Name, Go string
	ID       uint32
	Fields   []Field
	Result   string
	Function bool
}

// Field is one field. Bit is the flag that announces it, or -1.
type Field struct {
	Name, Go string
	Type     string
	Vector   bool
	Bit      int
}

// sections are the headings of the schema: whether what follows are functions, and the suffix of their types' names.
func sections() map[string]Combinator {
	return map[string]Combinator{
		"---functions---":                  {Function: true},
		"---first generation---":           {Go: "Dec"},
		"---first generation functions---": {Function: true, Go: "Dec"},
	}
}

// Read reads a schema.
func Read(schema []byte) ([]Combinator, error) {
	var out []Combinator
	var section Combinator
	ids := make(map[uint32]string)
	scan := bufio.NewScanner(bytes.NewReader(schema))
	for n := 1; scan.Scan(); n++ {
		line := strings.TrimSpace(scan.Text())
		if line == "" || strings.HasPrefix(line, "//") {
			continue
		}
		if s, ok := sections()[line]; ok {
			section = s
			continue
		}
		c, err := readLine(line)
		if err != nil {
			return nil, fmt.Errorf("schema line %d: %w", n, err)
		}
		c.Function, c.Go = section.Function, GoName(c.Name)+section.Go
		if other, taken := ids[c.ID]; taken {
			return nil, fmt.Errorf("schema line %d: %s has the id of %s", n, c.Name, other)
		}
		ids[c.ID] = c.Name
		out = append(out, c)
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("reading schema: %w", err)
	}
	return out, check(out)
}

func readLine(line string) (Combinator, error) {
	text, ok := strings.CutSuffix(line, ";")
	left, result, found := strings.Cut(text, " = ")
	if !ok || !found {
		return Combinator{}, fmt.Errorf("%q is not NAME FIELDS = RESULT;", line)
	}
	words := strings.Fields(left)
	name, pinned, pin := strings.Cut(words[0], "#")
	c := Combinator{Name: name, Result: result}
	for i := 1; i < len(words); i++ {
		word := words[i]
		if (strings.HasSuffix(word, ":vector") || strings.HasSuffix(word, "?vector")) && i+1 < len(words) {
			i++
			word += " " + words[i]
		}
		f, err := readField(word)
		if err != nil {
			return Combinator{}, err
		}
		c.Fields = append(c.Fields, f)
	}
	c.ID = crc32.ChecksumIEEE([]byte(strings.Join(append([]string{name}, words[1:]...), " ") + " = " + result))
	if pin {
		id, err := strconv.ParseUint(pinned, 16, 32)
		if err != nil {
			return Combinator{}, fmt.Errorf("id of %s: %w", name, err)
		}
		c.ID = uint32(id)
	}
	return c, nil
}

func readField(word string) (Field, error) {
	name, typ, ok := strings.Cut(word, ":")
	if !ok {
		return Field{}, fmt.Errorf("%q is not NAME:TYPE", word)
	}
	f := Field{Name: name, Go: GoName(name), Type: typ, Bit: -1}
	if rest, optional := strings.CutPrefix(typ, "flags."); optional {
		bit, inner, found := strings.Cut(rest, "?")
		n, err := strconv.Atoi(bit)
		if !found || err != nil || n < 0 || n > 31 {
			return Field{}, fmt.Errorf("%q has no flag bit", word)
		}
		f.Bit, f.Type = n, inner
	}
	f.Type, f.Vector = strings.TrimPrefix(f.Type, "vector "), strings.HasPrefix(f.Type, "vector ")
	return f, nil
}

// check holds the schema's references against each other.
func check(all []Combinator) error {
	for _, c := range all {
		flags := false
		for _, f := range c.Fields {
			if f.Type == "#" {
				flags = true
				continue
			}
			if f.Bit >= 0 && (!flags || f.Vector) {
				return fmt.Errorf("%s.%s: a flag bit without a flags word before it, or on a vector", c.Name, f.Name)
			}
			if _, builtin := builtins()[f.Type]; !builtin && len(constructors(all, f.Type)) == 0 {
				return fmt.Errorf("%s.%s: type %s does not exist", c.Name, f.Name, f.Type)
			}
		}
	}
	return nil
}

// constructors finds what a type can be: its one constructor if it is written bare, all of a boxed type.
func constructors(all []Combinator, typ string) []Combinator {
	var out []Combinator
	for _, c := range all {
		if !c.Function && (c.Name == typ || c.Result == typ) && !strings.HasSuffix(c.Go, "Dec") {
			out = append(out, c)
		}
	}
	return out
}

// boxed types begin with a capital behind their last dot.
func boxed(typ string) bool {
	c := typ[strings.LastIndexByte(typ, '.')+1]
	return c >= 'A' && c <= 'Z'
}

// GoName makes an exported Go name of a schema's name.
func GoName(name string) string {
	var out strings.Builder
	for _, part := range strings.FieldsFunc(name, func(r rune) bool { return r == '.' || r == '_' }) {
		if upper := strings.ToUpper(part); slices.Contains([]string{"ID", "SC", "DB", "HTTP", "TCP", "TON", "URL", "RPC", "TS", "JSON"}, upper) {
			out.WriteString(upper)
			continue
		}
		part = strings.Replace(strings.ToUpper(part[:1])+part[1:], "Db", "DB", 1)
		out.WriteString(part)
	}
	return out.String()
}
