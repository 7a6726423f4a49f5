package policy

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"

	"cocoon/measure/dcap"
	"cocoon/measure/strictjson"
)

// member is one key of an object inside of a policy document.
type member struct {
	name string
	read func(path string, v json.RawMessage) error
}

// readObject reads an object whose keys are members, none of which it needs to have.
func readObject(path string, v json.RawMessage, members []member) error {
	if kind := strictjson.Kind(v); kind != "an object" {
		return fmt.Errorf("%s: %s, want an object", path, kind)
	}
	got, err := strictjson.Object(v)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	var problems []error
	for _, m := range got {
		at := path + "." + m.Key
		i := -1
		names := make([]string, len(members))
		for j, known := range members {
			names[j] = known.name
			if known.name == m.Key {
				i = j
			}
		}
		if i < 0 {
			problems = append(problems, unknownKey(at, m.Key, names))
			continue
		}
		problems = append(problems, members[i].read(at, m.Value))
	}
	return errors.Join(problems...)
}

// to makes a member's read function of a reader and the place for what it reads.
func to[T any](read func(string, json.RawMessage) (T, error), place *T) func(string, json.RawMessage) error {
	return func(path string, v json.RawMessage) (err error) {
		got, err := read(path, v)
		if err == nil {
			*place = got
		}
		return err
	}
}

func readMask(field func(*Rules) *Mask) func(string, json.RawMessage, *Rules) error {
	return func(path string, v json.RawMessage, r *Rules) error {
		m := field(r)
		return readObject(path, v, []member{{"must_one", to(readNumber, &m.MustOne)}, {"may_one", to(readNumber, &m.MayOne)}})
	}
}

func readFilter[ID [6]byte | [16]byte](field func(*Rules) *Filter[ID]) func(string, json.RawMessage, *Rules) error {
	some := func(path string, v json.RawMessage) ([]ID, error) { return readSome(path, v, readHex[ID]) }
	list := func(path string, v json.RawMessage) ([]ID, error) { return readList(path, v, readHex[ID]) }
	return func(path string, v json.RawMessage, r *Rules) error {
		f := field(r)
		return readObject(path, v, []member{{"allow", to(some, &f.Allow)}, {"deny", to(list, &f.Deny)}})
	}
}

// maxGraceDays is ten years: a longer grace is no policy.
const maxGraceDays = 3650

func readTCB(path string, v json.RawMessage, r *Rules) error {
	statuses := func(path string, v json.RawMessage) ([]dcap.Status, error) {
		return readSome(path, v, readName(dcap.ParseStatus))
	}
	advisories := func(path string, v json.RawMessage) ([]string, error) { return readList(path, v, readString) }
	integer := func(high int64) func(string, json.RawMessage) (int, error) {
		return func(path string, v json.RawMessage) (int, error) {
			n, err := readInt(path, v, 0, high)
			return int(n), err
		}
	}
	return readObject(path, v, []member{
		{"accepted", to(statuses, &r.TCB.Accepted)},
		{"advisories", to(advisories, &r.TCB.Advisories)},
		{"grace_days", to(integer(maxGraceDays), &r.TCB.GraceDays)},
		{"min_evaluation_number", to(integer(math.MaxInt32), &r.TCB.MinEvaluationNumber)},
	})
}

func readRole(path string, v json.RawMessage, r *Rules) error {
	role, err := readName(ParseRole)(path, v)
	if err == nil {
		r.Claims.Role = &role
	}
	return err
}

func readNetwork(path string, v json.RawMessage, r *Rules) error {
	n, err := readInt(path, v, math.MinInt32, math.MaxInt32)
	if err == nil {
		id := int32(n) //nolint:gosec // readInt bounds it
		r.Claims.NetworkID = &id
	}
	return err
}

// The documents of nested settings, in the order of their keys.

type maskDocument struct {
	MustOne string `json:"must_one"`
	MayOne  string `json:"may_one"`
}

func (m Mask) document() any { return maskDocument{number(m.MustOne), number(m.MayOne)} }

type tcbDocument struct {
	Accepted            []dcap.Status `json:"accepted"`
	Advisories          []string      `json:"advisories"`
	GraceDays           int           `json:"grace_days"`
	MinEvaluationNumber int           `json:"min_evaluation_number"`
}

func (t TCB) document() any {
	return tcbDocument{t.Accepted, append([]string{}, t.Advisories...), t.GraceDays, t.MinEvaluationNumber}
}

type filterDocument struct {
	Allow []string `json:"allow,omitempty"`
	Deny  []string `json:"deny,omitempty"`
}

func (f Filter[ID]) document() any {
	if len(f.Allow)+len(f.Deny) == 0 {
		return nil
	}
	doc := filterDocument{}
	for _, id := range f.Allow {
		doc.Allow = append(doc.Allow, hexOf(id))
	}
	for _, id := range f.Deny {
		doc.Deny = append(doc.Deny, hexOf(id))
	}
	return doc
}

// texts, some and optional give a document's value, or nil for a setting that was left out.

func texts[T any](list []T, word func(T) string) any {
	if len(list) == 0 {
		return nil
	}
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = word(v)
	}
	return out
}

func some[T any](list []T) any {
	if len(list) == 0 {
		return nil
	}
	return list
}

func optional[T, U any](v *T, word func(T) U) any {
	if v == nil {
		return nil
	}
	return word(*v)
}
