package dcap

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"time"

	"cocoon/measure/tdx"
)

// Verifier checks quotes. It may be used concurrently.
type Verifier struct {
	roots *Roots
	cache *chainCache
}

// NewVerifier makes a verifier that trusts the given roots and remembers about cacheSize certificate chains; with 0 it
// remembers none.
func NewVerifier(roots *Roots, cacheSize int) *Verifier {
	return &Verifier{roots: roots, cache: newChainCache(cacheSize)}
}

// Verify checks a quote against opened collateral at a time, and says where its platform stands. Bytes after the quote's
// signature part are ignored. A bad TCB status is no error: whoever asks decides what is good enough.
func (v *Verifier) Verify(quote []byte, c *Collateral, now time.Time) (*Result, error) {
	p, err := split(quote)
	if err != nil {
		return nil, err
	}
	if err := c.CheckTime(now); err != nil {
		return nil, err
	}
	chain, err := v.chain(p.Signature.PCKChain, c)
	if err != nil {
		return nil, err
	}
	if err := chain.checkDates(now); err != nil {
		return nil, err
	}
	if err := chain.checkMatch(c, p.TEE); err != nil {
		return nil, err
	}
	if err := chain.checkRevocation(c); err != nil {
		return nil, err
	}
	if err := checkSignatures(&p, chain); err != nil {
		return nil, err
	}
	return judge(&p, chain, c)
}

// VerifySignatures checks what can be checked without collateral: certificate chain, quoting enclave's report, binding
// of the attestation key, quote signature. It says nothing about revocation, the quoting enclave's identity or TCB.
func (v *Verifier) VerifySignatures(quote []byte, now time.Time) (Platform, error) {
	p, err := split(quote)
	if err != nil {
		return Platform{}, err
	}
	chain, err := v.chain(p.Signature.PCKChain, nil)
	if err != nil {
		return Platform{}, err
	}
	if err := chain.checkDates(now); err != nil {
		return Platform{}, err
	}
	return chain.platform(p.TEE), checkSignatures(&p, chain)
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

// chain is the checked PCK chain of a PEM area, from the cache if it was seen before.
func (v *Verifier) chain(area []byte, c *Collateral) (*pckChain, error) {
	key := sha256.Sum256(area)
	if chain := v.cache.get(key); chain != nil {
		return chain, nil
	}
	chain, err := readChain(area, v.roots, c)
	if err != nil {
		return nil, err
	}
	v.cache.put(key, chain)
	return chain, nil
}

// checkSignatures follows the signatures from the PCK key to the quote's message: the PCK key signs the quoting
// enclave's report, which names the attestation key, which signs the message.
func checkSignatures(p *tdx.Parts, chain *pckChain) error {
	s := &p.Signature
	if !verifyRaw(chain.leaf.key, s.QEReport, s.QESignature) {
		return fail(ClassQuoteSignature, "the quoting enclave's report is not signed by the PCK key")
	}
	var buf [rawSignatureSize + 64]byte
	binding := sha256.Sum256(append(append(buf[:0], s.Key...), s.QEAuth...))
	var want [tdx.ReportDataSize]byte
	copy(want[:], binding[:])
	if !bytes.HasSuffix(s.QEReport, want[:]) { // report data ends the report body
		return fail(ClassQuoteSignature, "the quoting enclave's report does not name the attestation key")
	}
	key, err := rawKey(s.Key)
	if err != nil {
		return fail(ClassQuoteSignature, "reading attestation key: %w", err)
	}
	if !verifyRaw(key, p.Message, s.Quote) {
		return fail(ClassQuoteSignature, "the quote is not signed by its attestation key")
	}
	return nil
}

// judge compares a quote whose signatures are good with the collateral.
func judge(p *tdx.Parts, chain *pckChain, c *Collateral) (*Result, error) {
	report, err := tdx.ParseSGXBody(p.Signature.QEReport)
	if err != nil {
		return nil, failAs(ClassQuoteParse, err)
	}
	if err := c.qe.check(report); err != nil {
		return nil, failAs(ClassQEIdentity, err)
	}
	own, err := tdx.ParseQuote(bytes.Clone(p.Quote))
	if err != nil {
		return nil, failAs(ClassQuoteParse, err)
	}
	e := chain.extension
	r := &Result{
		Quote: own,
		FMSPC: e.fmspc, PCEID: e.pceID, CA: chain.ca, PPID: e.ppid, PIID: e.piid, HasPIID: e.hasPIID,
		Root: chain.root.id, Generation: c.generation, EvaluationNumber: c.EvaluationNumber(), CollateralExpires: c.expires,
	}
	var module judgement
	if own.TD != nil {
		if module, err = c.tcb.tdxModule(own.TD); err != nil {
			return nil, err
		}
	}
	r.fill(c.tcb.platform(e, own.TD), module, judgement{firstReached(c.qe.levels, report.ISVSVN), c.qe.newest})
	return r, nil
}
