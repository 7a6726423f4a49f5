package recipe

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// maxINI and maxSettings bound one definition; ours are below 4 kB and 20 settings.
	maxINI      = 256 << 10
	maxSettings = 1024
)

// setting is one assignment of a definition. Continuation lines are joined by newlines, as mkosi does.
type setting struct {
	section, key, value string
	line                int
}

// parseINI reads mkosi's configuration syntax: sections, key=value, indented lines that continue a value, and comments
// from # to the end of a line. Errors name file and line.
func parseINI(file string, data []byte) ([]setting, error) {
	if len(data) > maxINI {
		return nil, fmt.Errorf("%s: %d bytes, at most %d", file, len(data), maxINI)
	}
	p := iniParser{file: file}
	for line := range strings.Lines(string(data)) {
		p.line++
		if err := p.read(strings.TrimRight(line, "\r\n")); err != nil {
			return nil, err
		}
	}
	return p.settings, nil
}

type iniParser struct {
	file     string
	line     int
	section  string
	open     bool // the last setting takes continuation lines
	settings []setting
}

func (p *iniParser) errorf(format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", p.file, p.line, fmt.Sprintf(format, args...))
}

func (p *iniParser) read(line string) error {
	if !utf8.ValidString(line) || strings.ContainsFunc(line, func(r rune) bool { return unicode.IsControl(r) && r != '\t' }) {
		return p.errorf("not UTF-8 text without control characters")
	}
	text, _, _ := strings.Cut(line, "#")
	trimmed := strings.TrimSpace(text)
	switch {
	case trimmed == "":
		return nil
	case p.open && strings.TrimLeft(text, " \t") != text:
		last := &p.settings[len(p.settings)-1]
		last.value += "\n" + trimmed
		return nil
	case strings.HasPrefix(trimmed, "["):
		return p.readSection(trimmed)
	}
	return p.readSetting(trimmed)
}

func (p *iniParser) readSection(text string) error {
	name, ok := strings.CutSuffix(strings.TrimPrefix(text, "["), "]")
	if name = strings.TrimSpace(name); !ok || name == "" || strings.ContainsAny(name, "[]") {
		return p.errorf("%q is not a section", text)
	}
	p.section, p.open = name, false
	return nil
}

func (p *iniParser) readSetting(text string) error {
	key, value, ok := strings.Cut(text, "=")
	key = strings.TrimSpace(key)
	switch {
	case p.section == "":
		return p.errorf("%q stands before the first section", text)
	case !ok || key == "":
		return p.errorf("%q is not KEY=VALUE", text)
	case len(p.settings) >= maxSettings:
		return p.errorf("more than %d settings", maxSettings)
	}
	p.settings = append(p.settings, setting{p.section, key, strings.TrimSpace(value), p.line})
	p.open = true
	return nil
}

// list splits a value into its elements, separated by commas or newlines.
func (s setting) list() []string {
	var out []string
	for part := range strings.FieldsFuncSeq(s.value, func(r rune) bool { return r == ',' || r == '\n' }) {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// definition is what this project takes from mkosi.conf and one profile.
type definition struct {
	release     string
	epoch       int64
	packages    []string
	removeFiles []string
	extraTrees  []string
}

// iniKey is one key of mkosi that has a meaning here. Exactly one of fixed, list and set is given.
type iniKey struct {
	// fixed is the only value allowed: what our own pipeline always does, so that mkosi does the same.
	fixed string
	// list is where elements go; an empty value clears it, as in mkosi.
	list func(*definition) *[]string
	// set takes a single value.
	set func(*definition, string) error
	// paths says that the list's elements are relative to the definition's own folder.
	paths bool
}

// iniKeys is the allow list, section by section.
//
//nolint:gochecknoglobals // a constant table
var iniKeys = map[string]map[string]iniKey{
	"Distribution": {
		"Distribution": {fixed: "debian"},
		"Architecture": {fixed: "x86-64"},
		"Release":      {set: func(d *definition, v string) error { d.release = v; return checkSuiteName(v) }},
		"Repositories": {set: func(_ *definition, v string) error { return checkRepositories(v) }},
	},
	"Output": {
		"Format": {fixed: "directory"},
		"Output": {set: func(_ *definition, v string) error { return checkOutput(v) }},
	},
	"Content": {
		"Packages":             {list: func(d *definition) *[]string { return &d.packages }},
		"RemoveFiles":          {list: func(d *definition) *[]string { return &d.removeFiles }},
		"ExtraTrees":           {list: func(d *definition) *[]string { return &d.extraTrees }, paths: true},
		"SourceDateEpoch":      {set: func(d *definition, v string) (err error) { d.epoch, err = parseEpoch(v); return err }},
		"WithDocs":             {fixed: "no"},
		"WithRecommends":       {fixed: "no"},
		"CleanPackageMetadata": {fixed: "yes"},
		"Bootable":             {fixed: "no"},
	},
}

// apply reads one file's settings on top of what earlier files said.
func (d *definition) apply(file string, settings []setting) error {
	for _, s := range settings {
		section, ok := iniKeys[s.section]
		if !ok {
			return fmt.Errorf("%s:%d: section [%s] has no meaning here; there are: %s", file, s.line, s.section, names(iniKeys))
		}
		key, ok := section[s.key]
		if !ok {
			return fmt.Errorf("%s:%d: key %s has no meaning in [%s]; there are: %s", file, s.line, s.key, s.section, names(section))
		}
		if err := key.apply(d, s, path.Dir(file)); err != nil {
			return fmt.Errorf("%s:%d: %s: %w", file, s.line, s.key, err)
		}
	}
	return nil
}

func (k iniKey) apply(d *definition, s setting, dir string) error {
	switch {
	case k.list != nil && s.value == "":
		*k.list(d) = nil
	case k.list != nil:
		for _, v := range s.list() {
			if k.paths {
				v = path.Join(dir, v)
			}
			*k.list(d) = append(*k.list(d), v)
		}
	case k.set != nil:
		return k.set(d, s.value)
	case s.value != k.fixed:
		return fmt.Errorf("%q, but the pipeline always builds with %q", s.value, k.fixed)
	}
	return nil
}

func parseEpoch(v string) (int64, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	// zip and some tools refuse dates before 1980-01-01; EROFS and cpio end in 2106.
	if err != nil || n < 315532800 || n > 1<<32-1 {
		return 0, fmt.Errorf("%q is not a number of seconds between 1980 and 2106", v)
	}
	return n, nil
}

func checkOutput(v string) error {
	if !nameRule.MatchString(v) {
		return fmt.Errorf("%q does not match %s", v, nameRule)
	}
	return nil
}

// checkRepositories accepts Debian's components, main among them. They are for mkosi; the pipeline takes a suite's
// components from image.toml.
func checkRepositories(v string) error {
	names := strings.Split(v, ",")
	for i, name := range names {
		if !slices.Contains([]string{"main", "contrib", "non-free", "non-free-firmware"}, name) || slices.Contains(names[:i], name) {
			return fmt.Errorf("%q is not a list of Debian's components, each once", v)
		}
	}
	if names[0] != "main" {
		return fmt.Errorf("%q does not begin with main", v)
	}
	return nil
}

func checkSuiteName(v string) error {
	if !suiteRule.MatchString(v) {
		return fmt.Errorf("%q does not match %s", v, suiteRule)
	}
	return nil
}

// names lists a table's keys in order, for errors.
func names[V any](m map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(m)), ", ")
}
