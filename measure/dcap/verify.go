package dcap

import (
	"errors"
	"time"

	"cocoon/measure/tdx"
)

// Verifier checks quotes. It may be used concurrently.
type Verifier struct {
	roots   *Roots
	chains  *cache[pckChain]
	signers *cache[signer]
}

// NewVerifier makes a verifier that trusts the given roots and remembers about cacheSize certificate chains, and as many
// attestation keys; with 0 it remembers none.
func NewVerifier(roots *Roots, cacheSize int) *Verifier {
	return &Verifier{roots: roots, chains: newCache[pckChain](cacheSize), signers: newCache[signer](cacheSize)}
}

// Verify checks a quote against opened collateral at a time, and says where its platform stands. Bytes after the quote's
// signature part are ignored. A bad TCB status is no error: whoever asks decides what is good enough.
func (v *Verifier) Verify(quote []byte, c *Collateral, now time.Time) (*Result, error) {
	p, err := split(quote)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, fail(ClassCollateralMismatch, "verifying quote: there is no collateral to compare it with")
	}
	if err := c.CheckTime(now); err != nil {
		return nil, err
	}
	s, err := v.signer(&p.Signature, c)
	if err != nil {
		return nil, err
	}
	if err := s.chain.checkDates(now); err != nil {
		return nil, err
	}
	if err := s.chain.checkMatch(c, p.TEE); err != nil {
		return nil, err
	}
	if err := s.chain.checkRevocation(c); err != nil {
		return nil, err
	}
	if err := s.checkQuote(&p); err != nil {
		return nil, err
	}
	return judge(&p, s, c)
}

// VerifySignatures checks what can be checked without collateral: certificate chain, quoting enclave's report, binding
// of the attestation key, quote signature. It says nothing about revocation, the quoting enclave's identity or TCB.
func (v *Verifier) VerifySignatures(quote []byte, now time.Time) (Platform, error) {
	p, err := split(quote)
	if err != nil {
		return Platform{}, err
	}
	s, err := v.signer(&p.Signature, nil)
	if err != nil {
		return Platform{}, err
	}
	if err := s.chain.checkDates(now); err != nil {
		return Platform{}, err
	}
	return s.chain.platform(p.TEE), s.checkQuote(&p)
}

// PlatformOf reads from a quote which collateral it needs. Nothing is verified: use it to fetch collateral, and for
// nothing else.
func PlatformOf(quote []byte) (Platform, error) {
	p, err := split(quote)
	if err != nil {
		return Platform{}, err
	}
	return readPlatform(p.Signature.PCKChain, p.TEE)
}

// split reads a quote's pieces and gives the error its class.
func split(quote []byte) (tdx.Parts, error) {
	p, err := tdx.Split(quote)
	if errors.Is(err, tdx.ErrType) {
		return p, failAs(ClassQuoteType, err)
	}
	return p, failAs(ClassQuoteParse, err)
}

// checkQuote checks the quote's own signature.
func (s *signer) checkQuote(p *tdx.Parts) error {
	if !verifyRaw(s.key, p.Message, p.Signature.Quote) {
		return fail(ClassQuoteSignature, "the quote is not signed by its attestation key")
	}
	return nil
}

// judge compares a quote whose signatures are good with the collateral.
func judge(p *tdx.Parts, s *signer, c *Collateral) (*Result, error) {
	if err := c.qe.check(s.report); err != nil {
		return nil, failAs(ClassQEIdentity, err)
	}
	own, err := p.Decode()
	if err != nil {
		return nil, failAs(ClassQuoteParse, err)
	}
	own.Signed, own.Message, own.Signature = nil, nil, tdx.Signature{} // views of the input
	e := s.chain.extension
	r := &Result{
		Quote: own,
		FMSPC: e.fmspc, PCEID: e.pceID, CA: s.chain.ca, PPID: e.ppid, PIID: e.piid, HasPIID: e.hasPIID,
		Root: s.chain.root.id, Generation: c.generation, EvaluationNumber: c.EvaluationNumber(), CollateralExpires: c.expires,
		ChainExpires: s.chain.end(),
	}
	var module judgement
	if own.TD != nil {
		if module, err = c.tcb.tdxModule(own.TD); err != nil {
			return nil, err
		}
	}
	r.fill(c.tcb.platform(e, own.TD), module, judgement{firstReached(c.qe.levels, s.report.ISVSVN), c.qe.newest})
	return r, nil
}
