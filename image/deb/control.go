package deb

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	// maxLine bounds one line of a control file; Packages has Provides lines of about 100 kB.
	maxLine = 1 << 20
	// maxParagraph bounds one paragraph; the release file's hash lists are about 1 MB.
	maxParagraph = 8 << 20
	// maxFields bounds one paragraph's fields; Debian's largest have about 40.
	maxFields = 512
)

// Field is one field of a paragraph. Continuation lines keep their line breaks, without the leading space.
type Field struct{ Name, Value string }

// Paragraph is a block of fields in Debian's control syntax (Debian Policy 5.1), in file order.
type Paragraph []Field

// Get returns a field's value, "" when it is absent; names are compared without case (Policy 5.1).
func (p Paragraph) Get(name string) string {
	for _, f := range p {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// paragraphs reads paragraphs from a stream.
type paragraphs struct {
	lines *bufio.Reader
	line  int             // number of the last line read
	tail  strings.Builder // continuation lines of the last field
}

func newParagraphs(r io.Reader) *paragraphs {
	return &paragraphs{lines: bufio.NewReaderSize(r, readBuffer)}
}

// next returns the next paragraph, io.EOF at the end. The slice is reused by the next call.
func (p *paragraphs) next(into Paragraph) (Paragraph, error) {
	into = into[:0]
	p.tail.Reset()
	size := 0
	for {
		line, err := p.readLine()
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if err != nil && len(into) == 0 {
			return nil, io.EOF
		}
		if strings.TrimRight(line, " \t") == "" { // an empty line, or the end
			if len(into) == 0 {
				continue
			}
			p.flush(into)
			return into, nil
		}
		if size += len(line); size > maxParagraph {
			return nil, fmt.Errorf("line %d: paragraph over %d bytes", p.line, maxParagraph)
		}
		if into, err = p.add(into, line); err != nil {
			return nil, fmt.Errorf("line %d: %w", p.line, err)
		}
	}
}

// readLine returns a line without its end; io.EOF only when nothing was left.
func (p *paragraphs) readLine() (string, error) {
	var buf []byte
	for {
		chunk, err := p.lines.ReadSlice('\n')
		if len(buf)+len(chunk) > maxLine {
			return "", fmt.Errorf("line %d: over %d bytes", p.line+1, maxLine)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			buf = append(buf, chunk...)
			continue
		}
		if err != nil && (!errors.Is(err, io.EOF) || len(buf)+len(chunk) == 0) {
			return "", err
		}
		p.line++
		if buf == nil {
			return strings.TrimSuffix(string(chunk), "\n"), nil
		}
		return strings.TrimSuffix(string(append(buf, chunk...)), "\n"), nil
	}
}

func (p *paragraphs) add(into Paragraph, line string) (Paragraph, error) {
	if line[0] == ' ' || line[0] == '\t' {
		if len(into) == 0 {
			return nil, errors.New("continuation line without a field")
		}
		p.tail.WriteByte('\n')
		p.tail.WriteString(line[1:])
		return into, nil
	}
	p.flush(into)
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isFieldName(name) {
		return nil, fmt.Errorf("%.40q is no field: want \"Name: value\"", line)
	}
	if len(into) == maxFields {
		return nil, fmt.Errorf("over %d fields", maxFields)
	}
	if into.has(name) {
		return nil, fmt.Errorf("field %q is there twice", name)
	}
	return append(into, Field{name, strings.Trim(value, " \t")}), nil
}

// flush gives the last field its continuation lines.
func (p *paragraphs) flush(into Paragraph) {
	if p.tail.Len() > 0 {
		into[len(into)-1].Value += p.tail.String()
		p.tail.Reset()
	}
}

func (p Paragraph) has(name string) bool {
	for _, f := range p {
		if len(f.Name) == len(name) && strings.EqualFold(f.Name, name) {
			return true
		}
	}
	return false
}

// isFieldName follows Policy 5.1: printable ASCII without space and colon, not starting with "#" or "-".
func isFieldName(s string) bool {
	if s == "" || s[0] == '#' || s[0] == '-' {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// parseParagraph reads a text of exactly one paragraph.
func parseParagraph(r io.Reader) (Paragraph, error) {
	p := newParagraphs(r)
	one, err := p.next(nil)
	if errors.Is(err, io.EOF) {
		return nil, errors.New("empty")
	}
	if err != nil {
		return nil, err
	}
	if _, err := p.next(nil); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("line %d: more than one paragraph", p.line)
	}
	return one, nil
}
