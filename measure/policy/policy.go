package policy

import (
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
	s := subject{rules: &p.rules, intel: p.intel, noImage: p.noImage, ev: &ev, env: &env}
	s.read()
	v := Verdict{
		Code: OK, Type: p.rules.Type, Quote: ev.Quote, Fake: ev.Fake, ImageHash: s.image, Claims: ev.Claims,
		ImagesAt: s.listedAt, Findings: make([]Finding, len(p.table)),
	}
	var scratch [scratchSize]byte
	words, ends := scratch[:0], [maxRules]int{}
	for i := range p.table {
		row, f := &p.table[i], &v.Findings[i]
		var out outcome
		words, out = row.judge(&s, words)
		ends[i] = len(words)
		f.Rule, f.Code, f.Want = row.name, row.code, p.wants[i]
		f.OK, f.Skipped = out == pass, out == skip
		if row.failure != nil && out == fail {
			f.Code = row.failure(&s)
		}
		if out == fail && v.Code == OK {
			v.Code = f.Code
		}
	}
	v.settle(words, ends[:len(p.table)])
	return v
}

// settle cuts the words that rules got into findings, all from one string, and closes the verdict.
func (v *Verdict) settle(words []byte, ends []int) {
	all, start, skipped := string(words), 0, false
	for i := range v.Findings {
		v.Findings[i].Got = all[start:ends[i]]
		start = ends[i]
		skipped = skipped || v.Findings[i].Skipped
	}
	if v.Code == OK && skipped {
		v.Code = NoQuote // a rule that could not be judged does not admit anybody
	}
	v.OK = v.Code == OK
}

// scratchSize holds the words of a usual check without growing; maxRules bounds the table.
const (
	scratchSize = 3 << 10
	maxRules    = 40
)
