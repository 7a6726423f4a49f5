package wheel

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const (
	// maxLaunchers bounds a wheel's commands.
	maxLaunchers = 1000
	// maxLine bounds a line of entry_points.txt.
	maxLine = 4096
)

// launcher is a command that a wheel declares: call Attr of Module.
type launcher struct {
	Name   string `json:"name"`
	Module string `json:"module"`
	Attr   string `json:"attr"`
}

var (
	commandRule = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$`)
	// dottedRule is a Python name with dots; no other text gets into a launcher.
	dottedRule = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`)
)

// parseEntryPoints reads the [console_scripts] and [gui_scripts] groups; other groups are data of the package.
func parseEntryPoints(text []byte) ([]launcher, error) {
	var out []launcher
	wanted := false
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '[':
			group := strings.TrimSpace(strings.Trim(line, "[]"))
			wanted = group == "console_scripts" || group == "gui_scripts"
			continue
		case !wanted:
			continue
		}
		l, err := parseEntryPoint(line)
		if err != nil {
			return nil, fmt.Errorf("reading entry_points.txt: %w", err)
		}
		if len(out) == maxLaunchers {
			return nil, fmt.Errorf("reading entry_points.txt: over %d commands", maxLaunchers)
		}
		out = append(out, l)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading entry_points.txt: %w", err)
	}
	slices.SortFunc(out, func(a, b launcher) int { return strings.Compare(a.Name, b.Name) })
	for i := range out {
		if i > 0 && out[i-1].Name == out[i].Name {
			return nil, fmt.Errorf("reading entry_points.txt: command %q is there twice", out[i].Name)
		}
	}
	return out, nil
}

// parseEntryPoint reads `name = module:attr [extras]`.
func parseEntryPoint(line string) (launcher, error) {
	name, target, ok := strings.Cut(line, "=")
	if !ok {
		return launcher{}, fmt.Errorf("line %.100q has no \"=\"", line)
	}
	target, _, _ = strings.Cut(target, "[")
	module, attr, ok := strings.Cut(strings.TrimSpace(target), ":")
	l := launcher{Name: strings.TrimSpace(name), Module: strings.TrimSpace(module), Attr: strings.TrimSpace(attr)}
	switch {
	case !ok || !dottedRule.MatchString(l.Module) || !dottedRule.MatchString(l.Attr):
		return launcher{}, fmt.Errorf("line %.100q does not name MODULE:ATTRIBUTE", line)
	case !commandRule.MatchString(l.Name):
		return launcher{}, fmt.Errorf("command name %.100q does not match %s", l.Name, commandRule)
	}
	return l, nil
}

// text is the command's file. It is what installers write, without their argv[0] clean-up for Windows.
func (l launcher) text(python string) []byte {
	first, _, _ := strings.Cut(l.Attr, ".")
	return fmt.Appendf(nil, "#!%s\nimport sys\n\nfrom %s import %s\n\nif __name__ == \"__main__\":\n    sys.exit(%s())\n",
		python, l.Module, first, l.Attr)
}

// errLongShebang bounds what is read to find a script's first line.
var errLongShebang = errors.New("a first line that starts with #!python does not end")

// maxShebang bounds a script's first line.
const maxShebang = 256

// rewriteShebang replaces a first line that starts with "#!python", arguments and all, by the layer's interpreter (PEP
// 427) and leaves the reader at the line's end; other files pass unchanged.
func rewriteShebang(r *bufio.Reader, python string) ([]byte, error) {
	head, _ := r.Peek(len("#!python")) // a shorter file is no such script
	if string(head) != "#!python" {
		return nil, nil
	}
	line, err := r.Peek(maxShebang)
	end := bytes.IndexByte(line, '\n')
	if end < 0 {
		return nil, errors.Join(errLongShebang, err)
	}
	if _, err := r.Discard(end); err != nil {
		return nil, fmt.Errorf("reading a script: %w", err)
	}
	return []byte("#!" + python), nil
}
