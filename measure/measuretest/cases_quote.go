package measuretest

import (
	"bytes"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"time"
)

// onParts changes the parts after they were signed, onDraft before.
func onParts(edit func(*Parts)) func(*kit, *Spec) {
	return func(_ *kit, s *Spec) { s.After = edit }
}

func onDraft(edit func(*Parts)) func(*kit, *Spec) {
	return func(_ *kit, s *Spec) { s.Before = edit }
}

// onQuote changes the finished quote; end is the offset of the signature part's size.
func onQuote(edit func(quote []byte, end int) []byte) func(*kit, *Spec) {
	return func(_ *kit, s *Spec) {
		end := 0
		s.After = func(p *Parts) { end = len(p.signed()) }
		s.Raw = func(quote []byte) []byte { return edit(quote, end) }
	}
}

// honestMutations change nothing that matters.
func honestMutations() []mutation {
	return []mutation{
		{name: "honest", on: all, want: codeOK},
		{name: "body of TD 1.0", on: v5, want: codeOK, spec: func(_ *kit, s *Spec) { s.BodyType = bodyTD10 }},
		{name: "certified by the Processor CA", on: all, want: codeOK, options: func(o *Options) { o.ProcessorCA = true }},
		{name: "TDX module of version 0", on: tds, want: codeOK, options: func(o *Options) { o.TEETCBSVN = [16]byte{7, 0, 3} }},
		{name: "trailing bytes", on: all, want: codeOK, spec: onQuote(func(q []byte, _ int) []byte { return append(q, make([]byte, 70)...) })},
		{name: "chain ends in NUL", on: all, want: codeOK, spec: onParts(func(p *Parts) { p.Chain = append(p.Chain, 0) })},
		{name: "chain without final newline", on: all, want: codeOK, spec: onParts(func(p *Parts) { p.Chain = bytes.TrimRight(p.Chain, "\n") })},
		{name: "other quoting enclave's auth data", on: all, want: codeOK, spec: onDraft(func(p *Parts) { p.AuthData = []byte("auth"); p.Rebind() })},
		{name: "no auth data", on: all, want: codeOK, spec: onDraft(func(p *Parts) { p.AuthData = nil; p.Rebind() })},
		{name: "upper-case FMSPC", on: all, want: codeOK, answers: func(_ *kit, s *CollateralSpec) {
			s.TCBInfo = func(i *TCBInfo) { i.FMSPC = string(bytes.ToUpper([]byte(i.FMSPC))) }
		}},
	}
}

// formMutations break the form of the quote.
func formMutations() []mutation {
	le := binary.LittleEndian
	return []mutation{
		{name: "version 6", on: all, want: "quote_type", spec: onQuote(func(q []byte, _ int) []byte { q[0] = 6; return q })},
		{name: "P-384 key type", on: all, want: "quote_type", spec: onQuote(func(q []byte, _ int) []byte { q[2] = 3; return q })},
		{name: "unknown TEE type", on: tds, want: "quote_type", spec: onQuote(func(q []byte, _ int) []byte { q[4] = 0x82; return q })},
		{name: "unknown body type", on: v5, want: "quote_type", spec: onQuote(func(q []byte, _ int) []byte { q[48] = 4; return q })},
		{name: "body size of another type", on: v5, want: "quote_parse", spec: onQuote(func(q []byte, _ int) []byte { le.PutUint32(q[50:], 584); return q })},
		{name: "PPID certification", on: all, want: "quote_type", spec: onParts(func(p *Parts) { p.InnerType = 3 })},
		{name: "no outer certification", on: tds, want: "quote_type", spec: onParts(func(p *Parts) { p.OuterType = 5 })},
		{name: "one byte missing", on: all, want: "quote_parse", spec: onQuote(func(q []byte, _ int) []byte { return q[:len(q)-1] })},
		{name: "header alone", on: all, want: "quote_parse", spec: onQuote(func(q []byte, _ int) []byte { return q[:headerSize] })},
		{name: "signature size 10", on: all, want: "quote_parse", spec: onQuote(func(q []byte, end int) []byte { le.PutUint32(q[end:], 10); return q })},
		{name: "signature size one less", on: all, want: "quote_parse", spec: onQuote(func(q []byte, end int) []byte { le.PutUint32(q[end:], le.Uint32(q[end:])-1); return q })},
		{name: "signature size 2^32-1", on: all, want: "quote_parse", spec: onQuote(func(q []byte, end int) []byte { le.PutUint32(q[end:], 1<<32-1); return q })},
		{name: "auth size 0xffff", on: all, want: "quote_parse", spec: onQuote(func(q []byte, end int) []byte {
			at := end + 4 + 128 + 448
			if q[0] != versionSGX {
				at += 6
			}
			le.PutUint16(q[at:], 0xffff)
			return q
		})},
		{name: "over 32 KiB", on: all, want: "quote_parse", spec: onQuote(func(q []byte, _ int) []byte { return append(q, make([]byte, 32<<10)...) })},
	}
}

// certificates splits a PEM area.
func certificates(area []byte) [][]byte {
	var out [][]byte
	for block, rest := pem.Decode(area); block != nil; block, rest = pem.Decode(rest) {
		out = append(out, pem.EncodeToMemory(block))
	}
	return out
}

// reordered makes a chain of the certificates with the given positions.
func reordered(order ...int) func(*kit, *Spec) {
	return onParts(func(p *Parts) {
		certs := certificates(p.Chain)
		p.Chain = nil
		for _, i := range order {
			p.Chain = append(p.Chain, certs[i]...)
		}
	})
}

// chainOf takes the chain of a sibling with an edited certificate; keys and the collateral stay the same.
func chainOf(role Role, edit func(*x509.Certificate)) func(*kit, *Spec) {
	return func(k *kit, s *Spec) {
		p := k.sibling(func(o *Options) {
			o.EditCertificate = func(r Role, t *x509.Certificate) {
				if r == role {
					edit(t)
				}
			}
		})
		area := chain(p.pki.pck, p.pki.ca, p.pki.root)
		s.Before = func(parts *Parts) { parts.Chain = area }
	}
}

// certificateMutations break the quote's certificates.
func certificateMutations() []mutation {
	early, late := time.Date(2021, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2049, 1, 1, 0, 0, 0, 0, time.UTC)
	return []mutation{
		{name: "stranger's chain", on: all, want: "root", spec: func(k *kit, s *Spec) {
			p := k.stranger()
			s.After = func(parts *Parts) { parts.Chain = chain(p.pki.pck, p.pki.ca, p.pki.root) }
		}},
		{name: "leaf of a stranger", on: all, want: "chain", spec: func(k *kit, s *Spec) {
			p := k.stranger()
			s.After = func(parts *Parts) { parts.Chain = chain(p.pki.pck, k.platform.pki.ca, k.platform.pki.root) }
		}},
		{name: "authority of a stranger", on: all, want: "chain", spec: func(k *kit, s *Spec) {
			p := k.stranger()
			s.After = func(parts *Parts) { parts.Chain = chain(p.pki.pck, p.pki.ca, k.platform.pki.root) }
		}},
		{name: "two certificates", on: all, want: "chain", spec: reordered(0, 1)},
		{name: "certificates swapped", on: all, want: "chain", spec: reordered(1, 0, 2)},
		{name: "four certificates", on: all, want: "chain", spec: reordered(0, 1, 2, 2)},
		{name: "text after the chain", on: all, want: "chain", spec: onParts(func(p *Parts) { p.Chain = append(p.Chain, "text"...) })},
		{name: "two NUL bytes after the chain", on: all, want: "chain", spec: onParts(func(p *Parts) { p.Chain = append(p.Chain, 0, 0) })},
		{name: "no chain", on: all, want: "chain", spec: onParts(func(p *Parts) { p.Chain = nil })},
		{name: "expired leaf", on: all, want: "chain", spec: chainOf(PCK, func(t *x509.Certificate) { t.NotAfter = early })},
		{name: "leaf of the future", on: all, want: "chain", spec: chainOf(PCK, func(t *x509.Certificate) { t.NotBefore, t.NotAfter = late, late.AddDate(1, 0, 0) })},
		{name: "expired authority", on: all, want: "chain", spec: chainOf(PlatformCA, func(t *x509.Certificate) { t.NotAfter = early })},
		{name: "leaf is an authority", on: all, want: "chain", spec: chainOf(PCK, func(t *x509.Certificate) { t.IsCA, t.KeyUsage = true, x509.KeyUsageCertSign })},
		{name: "authority is none", on: all, want: "chain", spec: chainOf(PlatformCA, func(t *x509.Certificate) { t.IsCA, t.MaxPathLenZero = false, false })},
		{name: "leaf with another name", on: all, want: "chain", spec: chainOf(PCK, func(t *x509.Certificate) { t.Subject.CommonName = "Intel SGX PCK Certificate " })},
		{name: "authority with another name", on: all, want: "chain", spec: chainOf(PlatformCA, func(t *x509.Certificate) { t.Subject.CommonName = "Intel SGX TCB Signing" })},
		{name: "leaf without SGX extension", on: all, want: "chain", spec: chainOf(PCK, func(t *x509.Certificate) { t.ExtraExtensions = nil })},
		{name: "leaf with cut SGX extension", on: all, want: "chain", spec: chainOf(PCK, func(t *x509.Certificate) {
			e := &t.ExtraExtensions[0]
			e.Value = e.Value[:len(e.Value)-1]
		})},
		{name: "other machine's leaf", on: all, want: "quote_sig", spec: func(k *kit, s *Spec) {
			p := k.sibling(func(o *Options) { o.Machine++ })
			s.After = func(parts *Parts) { parts.Chain = chain(p.pki.pck, p.pki.ca, p.pki.root) }
		}},
	}
}

// signatureMutations break one signature or binding.
func signatureMutations() []mutation {
	flip := func(b []byte, at int) { b[at] ^= 1 }
	return []mutation{
		{name: "flipped bit in the header", on: all, want: "quote_sig", spec: onParts(func(p *Parts) { flip(p.Header[:], offUserData) })},
		{name: "flipped bit in the body", on: all, want: "quote_sig", spec: onParts(func(p *Parts) { flip(p.Body, len(p.Body)-1) })},
		{name: "flipped bit in the quote signature", on: all, want: "quote_sig", spec: onParts(func(p *Parts) { flip(p.QuoteSignature, 63) })},
		{name: "zero quote signature", on: all, want: "quote_sig", spec: onParts(func(p *Parts) { clear(p.QuoteSignature) })},
		{name: "attestation key off the curve", on: all, want: "quote_sig", spec: onDraft(func(p *Parts) { flip(p.AttestationKey, 63); p.Rebind() })},
		{name: "attestation key of another machine", on: all, want: "quote_sig", spec: func(k *kit, s *Spec) {
			other := k.sibling(func(o *Options) { o.Machine++ })
			key, err := other.attestation.point()
			if err != nil && k.err == nil {
				k.err = err
			}
			s.After = func(p *Parts) {
				p.AttestationKey = key
				p.QuoteSignature, k.err = other.attestation.raw(p.signed())
			}
		}},
		{name: "auth data changed", on: all, want: "quote_sig", spec: onParts(func(p *Parts) { flip(p.AuthData, 0) })},
		{name: "attestation key not bound", on: all, want: "quote_sig", spec: onDraft(func(p *Parts) { clear(p.QEReport[offSGXReportData:]) })},
		{name: "binding with a tail", on: all, want: "quote_sig", spec: onDraft(func(p *Parts) { flip(p.QEReport, len(p.QEReport)-1) })},
		{name: "flipped bit in the QE report", on: all, want: "quote_sig", spec: onParts(func(p *Parts) { flip(p.QEReport, 0) })},
		{name: "flipped bit in the QE report signature", on: all, want: "quote_sig", spec: onParts(func(p *Parts) { flip(p.QEReportSignature, 0) })},
	}
}

// enclaveMutations make the quoting enclave another one than the collateral describes.
func enclaveMutations() []mutation {
	le := binary.LittleEndian
	return []mutation{
		{name: "QE of another signer", on: all, want: "qe_identity", spec: onDraft(func(p *Parts) { p.QEReport[offMRSigner] ^= 1 })},
		{name: "QE of another product", on: all, want: "qe_identity", spec: onDraft(func(p *Parts) { le.PutUint16(p.QEReport[offISVProdID:], 99) })},
		{name: "debug QE", on: all, want: "qe_identity", spec: onDraft(func(p *Parts) { p.QEReport[offSGXAttributes] |= 2 })},
		{name: "QE with MISCSELECT", on: all, want: "qe_identity", spec: onDraft(func(p *Parts) { p.QEReport[16] = 1 })},
		{name: "old QE", on: tds, want: "tcb_status", status: statusOutOfDate, spec: onDraft(func(p *Parts) { le.PutUint16(p.QEReport[offISVSVN:], 1) })},
		{name: "identity of another QE", on: all, want: "qe_identity", answers: func(k *kit, s *CollateralSpec) {
			s.QEIdentity = func(i *QEIdentity) { i.MRSigner = hexOf(k.stranger().qe[quotingTDX].MRSigner) }
		}},
		{name: "identity of another product", on: all, want: "qe_identity", answers: func(_ *kit, s *CollateralSpec) {
			s.QEIdentity = func(i *QEIdentity) { i.ISVProdID++ }
		}},
	}
}
