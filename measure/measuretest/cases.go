package measuretest

import (
	"context"
	"crypto/x509"
	"fmt"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// Case is one quote with its collateral, which departs from an honest pair in one thing, and what a verifier with the
// strict policy must say about it.
type Case struct {
	// Name is the variant and the mutation, like "v4/debug TD".
	Name   string
	Quote  []byte
	Bundle *dcap.Bundle
	// Roots is the set of the Trusted certificates.
	Roots   *dcap.Roots
	Trusted []*x509.Certificate
	// Now is the verifier's clock.
	Now time.Time
	// ReportData is what the verifier expects the quote to be over.
	ReportData [tdx.ReportDataSize]byte
	// SGX says that the policy is the one for enclaves.
	SGX bool
	// Want is the result code of attestation.md section 8.2, "ok" if the quote is acceptable.
	Want string
	// ByPolicy says that the quote verifies, and only the policy refuses it.
	ByPolicy bool
	// Combined is the status of a quote that verifies.
	Combined dcap.Status
}

// Baseline is what the cases' strict policy allows besides the defaults: the honest TD, the honest enclave, the root, and
// no collateral below the evaluation number.
type Baseline struct {
	Measurements     tdx.Measurements
	Enclave          [32]byte
	Root             dcap.RootID
	EvaluationNumber int
}

// variants is a set of the kinds of quotes that a mutation can be tried on.
type variants uint8

const (
	v3  variants = 1 << iota // an enclave's
	v4                       // a TD's
	v5                       // a TD 1.5's
	tds = v4 | v5
	all = v3 | tds
)

// mutation departs in one thing. The functions get a kit for what they need besides.
type mutation struct {
	name   string
	on     variants
	want   string
	status dcap.Status // combined; zero means UpToDate

	options func(o *Options)
	spec    func(k *kit, s *Spec)
	answers func(k *kit, s *CollateralSpec)
	bundle  func(k *kit, b *dcap.Bundle)
	// clock moves the verifier's clock.
	clock time.Duration
	// trusted adds roots.
	trusted func(k *kit) *Platform
}

// kit makes what mutations need. The first error stays.
type kit struct {
	opts     Options
	platform *Platform
	err      error
}

// sibling is another platform of the same seed.
func (k *kit) sibling(edit func(*Options)) *Platform {
	o := k.opts
	edit(&o)
	p, err := NewPlatform(o)
	if err != nil {
		if k.err == nil {
			k.err = err
		}
		return k.platform
	}
	return p
}

// stranger is a platform of another seed.
func (k *kit) stranger() *Platform { return k.sibling(func(o *Options) { o.Seed[SeedSize-1] ^= 0xff }) }

// bundleOf is another platform's collateral.
func (k *kit) bundleOf(p *Platform, s CollateralSpec) *dcap.Bundle {
	b, err := p.BundleWith(s)
	if err != nil {
		if k.err == nil {
			k.err = err
		}
		return new(dcap.Bundle)
	}
	return b
}

// Cases makes the table of attestation.md section 16.3 from a seed, at a time: every mutation on every variant it
// concerns. The cases of a seed and a time are always the same.
func Cases(seed [SeedSize]byte, now time.Time) ([]Case, Baseline, error) {
	opts := Options{Seed: seed, Now: now}
	p, err := NewPlatform(opts)
	if err != nil {
		return nil, Baseline{}, err
	}
	k := &kit{opts: opts, platform: p}
	var out []Case
	for _, v := range []struct {
		set  variants
		name string
	}{{v3, "v3"}, {v4, "v4"}, {v5, "v5"}} {
		for _, m := range mutations() {
			if m.on&v.set == 0 {
				continue
			}
			c, err := k.make(&m, v.set)
			if err != nil {
				return nil, Baseline{}, fmt.Errorf("making case %s/%s: %w", v.name, m.name, err)
			}
			c.Name = v.name + "/" + m.name
			out = append(out, *c)
		}
	}
	return out, Baseline{p.Measurements(), p.Enclave(), p.RootID(), EvaluationNumber}, nil
}

// mutations is the whole table.
func mutations() []mutation {
	var out []mutation
	for _, part := range [][]mutation{
		honestMutations(), formMutations(), certificateMutations(), signatureMutations(), enclaveMutations(),
		dateMutations(), collateralMutations(), textMutations(), levelMutations(), tdMutations(),
	} {
		out = append(out, part...)
	}
	return out
}

func (k *kit) make(m *mutation, v variants) (*Case, error) {
	p := k.platform
	if m.options != nil {
		p = k.sibling(m.options)
	}
	c := &Case{Now: p.opts.Now.Add(m.clock), Want: m.want, SGX: v == v3, Combined: m.status, Trusted: []*x509.Certificate{p.RootCertificate()}}
	for i := range c.ReportData {
		c.ReportData[i] = byte(i) ^ 0x5a
	}
	spec := Spec{Version: map[variants]int{v3: versionSGX, v4: version4, v5: version5}[v], ReportData: c.ReportData}
	if m.spec != nil {
		m.spec(k, &spec)
	}
	answers := CollateralSpec{SGX: v == v3}
	if m.answers != nil {
		m.answers(k, &answers)
	}
	var err error
	if c.Quote, err = p.QuoteWith(context.Background(), spec); err != nil {
		return nil, err
	}
	if c.Bundle, err = p.BundleWith(answers); err != nil {
		return nil, err
	}
	if m.bundle != nil {
		m.bundle(k, c.Bundle)
	}
	if m.trusted != nil {
		c.Trusted = append(c.Trusted, m.trusted(k).RootCertificate())
	}
	if c.Roots, err = dcap.NewRoots(c.Trusted...); err != nil {
		return nil, err
	}
	c.settle()
	return c, k.err
}

// settle tells the codes that verification gives from those of the policy.
func (c *Case) settle() {
	switch c.Want {
	case codeOK:
	case "report_data", "collateral_rollback", "td_debug", "td_attributes", "xfam", "service_td", "image":
		c.ByPolicy = true
	case "tcb_status":
		c.ByPolicy = c.Combined != dcap.NoStatus
	default:
		return
	}
	if c.Combined == dcap.NoStatus && (c.ByPolicy || c.Want == codeOK) {
		c.Combined = dcap.UpToDate
	}
}

const codeOK = "ok"
