package policy

import (
	"sync"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// Policy is a set of rules for one type of peer. It cannot change; make one with New, Parse or Builtin.
type Policy struct {
	rules Rules
	// table holds the rules that apply to the type, and wants what each of them wants, in words.
	table []rule
	wants []string
	// intel is the id of the one root that is not simulated, noImage the image hash of a TD without measurements.
	intel   dcap.RootID
	noImage tdx.Hash
	// spare holds subjects between checks.
	spare sync.Pool
}

// New makes a policy of rules. It refuses rules that contradict each other or could never be meant; the error lists
// all of them.
func New(r Rules) (*Policy, error) {
	if err := r.validate(); err != nil {
		return nil, err
	}
	return compile(r), nil
}

// Builtin is the policy of a type's Defaults. A type that does not exist gives the one of TDX, which admits nobody.
func Builtin(t Type) *Policy {
	if t.bit() == tdxType {
		t = TDX
	}
	return compile(Defaults(t))
}

// compile selects the rules of the type and words what they want, once.
func compile(r Rules) *Policy {
	p := &Policy{rules: r.clone(), intel: dcap.IntelRootID(), noImage: tdx.ImageHash(&tdx.Measurements{})}
	for _, row := range ruleTable() {
		if row.types&r.Type.bit() == 0 {
			continue
		}
		p.table = append(p.table, row)
		p.wants = append(p.wants, row.want(&p.rules))
	}
	return p
}

// Type is what the policy wants of a peer.
func (p *Policy) Type() Type { return p.rules.Type }

// ImageSource says where the policy's list of images comes from.
func (p *Policy) ImageSource() ImageSource { return p.rules.ImageSource }

// Simulated reports whether the policy admits platforms below a root other than Intel's. Only local and test-flavour
// configurations may hold such a policy (attestation.md section 16.4).
func (p *Policy) Simulated() bool { return p.rules.AllowSimulated }

// Rules is a copy of the policy's settings, to derive another policy from.
func (p *Policy) Rules() Rules { return p.rules.clone() }

// Check judges evidence. It judges every rule, also after one has failed, so that a refusal lists all that is wrong.
func (p *Policy) Check(ev Evidence, env Env) Verdict {
	s, ok := p.spare.Get().(*subject)
	if !ok {
		s = &subject{words: make([]byte, 0, usualWords)}
	}
	defer p.release(s)
	s.rules, s.intel, s.noImage, s.ev, s.env = &p.rules, p.intel, p.noImage, ev, env
	s.read()
	v := Verdict{
		Code: OK, Type: p.rules.Type, Quote: s.quote, Fake: ev.Fake, ImageHash: s.image, Claims: ev.Claims,
		ImagesAt: s.listedAt, Findings: make([]Finding, len(p.table)),
	}
	words := s.words
	for i := range p.table {
		row, f := &p.table[i], &v.Findings[i]
		var out outcome
		words, out = row.judge(s, words)
		s.ends = append(s.ends, len(words))
		f.Rule, f.Code, f.Want = row.name, row.code, p.wants[i]
		f.OK, f.Skipped = out == pass, out == skip
		if row.failure != nil && out == fail {
			f.Code = row.failure(s)
		}
		if out == fail && v.Code == OK {
			v.Code = f.Code
		}
	}
	s.words = words
	v.settle(s)
	return v
}

// release keeps the subject's memory for the next check, and nothing of its peer.
func (p *Policy) release(s *subject) {
	if cap(s.words) > maxSpare {
		return
	}
	*s = subject{words: s.words[:0], ends: s.ends[:0]}
	p.spare.Put(s)
}

// settle cuts the words that rules got into findings, all from one string, and closes the verdict.
func (v *Verdict) settle(s *subject) {
	all, start, skipped := string(s.words), 0, false
	for i, end := range s.ends {
		v.Findings[i].Got = all[start:end]
		start = end
		skipped = skipped || v.Findings[i].Skipped
	}
	switch {
	case v.Code != OK:
	case len(v.Findings) == 0:
		v.Code = PolicyEmpty // a Policy that no constructor made
	case skipped:
		v.Code = NoQuote // a rule that could not be judged does not admit anybody
	}
	v.OK = v.Code == OK
}

// usualWords holds the words of a usual check without growing; memory beyond maxSpare is not kept.
const (
	usualWords = 3 << 10
	maxSpare   = 16 << 10
)
