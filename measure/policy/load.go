package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"cocoon/measure/strictjson"
)

// typeKey names the type in a document that stands alone.
const typeKey = "type"

// Parse reads a policy document: the keys of the reference implementation's tdx_config and ours, and "type". What a
// document leaves out has the value of Defaults. The error lists every problem with the path of its value.
func Parse(data []byte) (*Policy, error) {
	members, err := split(data)
	if err != nil {
		return nil, err
	}
	for i, m := range members {
		if m.Key != typeKey {
			continue
		}
		t, err := readName(ParseType)(typeKey, m.Value)
		if err != nil {
			return nil, fmt.Errorf("reading policy: %w", err)
		}
		return load(t, append(members[:i:i], members[i+1:]...))
	}
	return nil, errors.New("reading policy: no key \"type\": it is one of any, tdx, fake_tdx, sgx")
}

// ParseConfig reads a tdx_config: a document whose type is said elsewhere.
func ParseConfig(t Type, data []byte) (*Policy, error) {
	if _, err := ParseType(string(t)); err != nil {
		return nil, fmt.Errorf("reading policy: %w", err)
	}
	members, err := split(data)
	if err != nil {
		return nil, err
	}
	return load(t, members)
}

func split(data []byte) ([]strictjson.Member, error) {
	if len(data) > maxDocument {
		return nil, fmt.Errorf("reading policy: %d bytes, at most %d", len(data), maxDocument)
	}
	members, err := strictjson.Object(data)
	if err != nil {
		return nil, fmt.Errorf("reading policy: %w", err)
	}
	return members, nil
}

func load(t Type, members []strictjson.Member) (*Policy, error) {
	r, table := Defaults(t), keyTable()
	names := make([]string, len(table))
	byName := make(map[string]*key, len(table))
	for i := range table {
		names[i] = table[i].name
		byName[table[i].name] = &table[i]
	}
	var problems []error
	for _, m := range members {
		k := byName[m.Key]
		switch {
		case k == nil:
			problems = append(problems, unknownKey(m.Key, m.Key, names))
		case k.types&t.bit() == 0:
			problems = append(problems, fmt.Errorf("%s: means nothing under type %s; leave it out", m.Key, t))
		default:
			problems = append(problems, k.read(m.Key, m.Value, &r))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return nil, fmt.Errorf("reading policy: %w", err)
	}
	p, err := New(r)
	if err != nil {
		return nil, fmt.Errorf("reading policy: %w", err)
	}
	return p, nil
}

// unknownKey names the key that a case variant was meant to be.
func unknownKey(path, name string, known []string) error {
	for _, k := range known {
		if strings.EqualFold(k, name) {
			return fmt.Errorf("%s: unknown key; keys are case-sensitive, this one is %q", path, k)
		}
	}
	return fmt.Errorf("%s: unknown key", path)
}

// Encode writes the policy as a document with every default spelt out. Parse reads it back to an equal policy, and
// equal policies have equal documents.
func (p *Policy) Encode() ([]byte, error) {
	var compact bytes.Buffer
	fmt.Fprintf(&compact, "{%q:%q", typeKey, p.rules.Type)
	for _, k := range keyTable() {
		if k.types&p.rules.Type.bit() == 0 {
			continue
		}
		v := k.write(&p.rules)
		if v == nil {
			continue
		}
		value, err := json.Marshal(v)
		if err != nil {
			return nil, fmt.Errorf("encoding policy: %s: %w", k.name, err)
		}
		fmt.Fprintf(&compact, ",%q:%s", k.name, value)
	}
	compact.WriteByte('}')
	var out bytes.Buffer
	if err := json.Indent(&out, compact.Bytes(), "", "  "); err != nil {
		return nil, fmt.Errorf("encoding policy: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}
