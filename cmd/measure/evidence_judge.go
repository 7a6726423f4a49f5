package main

import (
	"errors"
	"time"

	"cocoon/cmd/internal/cli"
	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/ratls/cert"
	"cocoon/measure/tdx"
)

// signatureDoc says what can be said about a quote without collateral.
type signatureDoc struct {
	OK bool `json:"ok"`
	// Code and Reason are absent when the quote verifies.
	Code   dcap.Class `json:"code,omitempty"`
	Reason string     `json:"reason,omitempty"`
}

// verifySignatures checks the quote's signatures up to the root, and nothing that collateral would tell.
func (t *trust) verifySignatures(x *exhibit) *signatureDoc {
	if _, err := dcap.NewVerifier(t.roots, 1).VerifySignatures(x.raw, t.now); err != nil {
		return &signatureDoc{Code: dcap.ClassOf(err), Reason: err.Error()}
	}
	return &signatureDoc{OK: true}
}

// err is nil for a quote that verifies.
func (s *signatureDoc) err() error {
	if s == nil || s.OK {
		return nil
	}
	hints := []string{"its fields are whatever its sender wrote"}
	if s.Code == dcap.ClassRoot {
		hints = []string{"--root FILE names the root of a simulated platform"}
	}
	return cli.Tag(cli.KindDifference, errors.New("the quote's signatures do not verify: "+s.Reason), hints...)
}

// judge verifies the quote with the collateral and judges it by the policy. The collateral is nil when it is refused.
func (t *trust) judge(x *exhibit) (policy.Verdict, *dcap.Collateral, error) {
	p, err := t.terms(x)
	if err != nil {
		return policy.Verdict{}, nil, err
	}
	ev := policy.Evidence{Detached: x.claimed == nil && t.reportData == nil, CertLifetime: x.lifetime()}
	var collateral *dcap.Collateral
	if _, ev.Err = dcap.PlatformOf(x.raw); ev.Err == nil {
		collateral, ev.Err = t.open()
	}
	if ev.Err == nil {
		ev.Quote, ev.Err = dcap.NewVerifier(t.roots, 1).Verify(x.raw, collateral, t.now)
	}
	if ev.Err == nil {
		ev.ReportDataOK = t.commits(x, reportData(ev.Quote.Quote))
	}
	if x.claimed != nil && x.claimed.Claims != nil {
		ev.Claims = claimsOf(x.claimed.Claims)
	}
	return p.Check(ev, policy.Env{Now: t.now}), collateral, nil
}

func (t *trust) open() (*dcap.Collateral, error) {
	b, err := dcap.ParseBundle(t.bundle)
	if err != nil {
		return nil, err
	}
	return dcap.Open(b, t.roots, t.now)
}

// terms is the policy to judge by: that of --policy, or the defaults for the quote's kind with the images of --image.
func (t *trust) terms(x *exhibit) (*policy.Policy, error) {
	if t.policy != nil {
		return t.policy, nil
	}
	typ := policy.TDX
	if x.quote != nil && x.quote.TEE == tdx.SGX {
		typ = policy.SGX
	}
	r := policy.Defaults(typ)
	if t.simulated != nil {
		r.CollateralRoots, r.AllowSimulated = append(r.CollateralRoots, *t.simulated), true
	}
	if len(t.images) == 0 {
		r.ImageSource = policy.Deferred
	}
	for _, image := range t.images {
		if typ == policy.SGX {
			r.AllowedEnclaves = append(r.AllowedEnclaves, image)
		} else {
			r.AllowedImages = append(r.AllowedImages, image)
		}
	}
	p, err := policy.New(r)
	if err != nil {
		return nil, cli.Tag(cli.KindUsage, err)
	}
	return p, nil
}

// anyImage reports that the verdict says nothing about what runs.
func (t *trust) anyImage() bool {
	if t.policy != nil {
		return t.policy.ImageSource() == policy.Deferred
	}
	return len(t.images) == 0
}

// commits compares the report data with the certificate's key and with --report-data, whichever are there.
func (t *trust) commits(x *exhibit, got [tdx.ReportDataSize]byte) bool {
	return (x.claimed == nil || x.claimed.ReportData() == got) && (t.reportData == nil || *t.reportData == got)
}

func reportData(q *tdx.Quote) [tdx.ReportDataSize]byte {
	if q.TD != nil {
		return q.TD.ReportData
	}
	return q.SGX.ReportData
}

// checkCertificate checks the time of the certificate that carries the quote.
func (t *trust) checkCertificate(x *exhibit) error {
	if x.certificate == nil {
		return nil
	}
	if err := cert.CheckTime(x.certificate, t.now, 0); err != nil {
		return cli.Tag(cli.KindDifference, err, "--at judges at another time")
	}
	return nil
}

func claimsOf(c *cert.Claims) *policy.Claims {
	return &policy.Claims{
		Role: policy.Role(c.Role), NetworkID: c.NetworkID, MCSeqno: c.Seqno, MCRootHash: c.RootHash,
		NotBefore: time.Unix(c.NotBefore, 0).UTC(), NotAfter: time.Unix(c.NotAfter, 0).UTC(),
		Workchain: c.Workchain, Address: c.Address, Nonce: c.Nonce,
	}
}

// verdictErr is nil for a verdict that accepts, else the difference with what to do next.
func (t *trust) verdictErr(v *policy.Verdict) error {
	err := v.Err()
	if err == nil {
		return nil
	}
	return cli.Tag(cli.KindDifference, err, t.verdictHints(v.Code)...)
}

func (t *trust) verdictHints(code policy.Code) []string {
	switch code {
	case policy.Code(dcap.ClassCollateralMalformed):
		return []string{t.collateral + " is no collateral bundle: \"cocoon collateral fetch --quote QUOTE\" makes one"}
	case policy.CollateralExpired, policy.Code(dcap.ClassCollateralNotYetValid):
		return []string{"--at TIME judges at another time; else fetch current collateral"}
	case policy.Root:
		return []string{"--root FILE names the root of a simulated platform"}
	case policy.PolicyEmpty:
		return []string{"list the image in the policy's allowed_image_hashes"}
	case policy.Code(dcap.ClassCollateralMismatch):
		return []string{"measure quote FILE names the collateral to ask for"}
	default:
		return nil
	}
}
