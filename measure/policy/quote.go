package policy

import (
	"strconv"

	"cocoon/measure/tdx"
)

// shown reports evidence with a quote in it, of whatever kind and worth.
func (s *subject) shown() bool { return s.ev.Quote != nil || s.ev.Err != nil || s.ev.Fake }

func wantQuote(*Rules) string { return "a quote" }

func judgeQuote(s *subject, words []byte) ([]byte, outcome) {
	if !s.shown() {
		return append(words, "none"...), fail
	}
	return append(words, "present"...), pass
}

func wantFormat(r *Rules) string {
	switch r.Type {
	case FakeTDX:
		return "fake TDX evidence"
	case SGX:
		return "an SGX quote"
	default:
		return "a TDX quote"
	}
}

// judgeFormat judges the kind of evidence, before anything in it.
func judgeFormat(s *subject, words []byte) ([]byte, outcome) {
	wantFake := s.rules.Type == FakeTDX
	switch {
	case !s.shown():
		return append(words, "none"...), skip
	case s.ev.Fake:
		return append(words, "fake TDX evidence"...), passIf(wantFake)
	case wantFake:
		return append(words, "a quote"...), fail
	case s.malformed():
		return appendReason(words, s.ev.Err), fail
	case s.quote == nil:
		return append(words, "a quote of a known kind"...), pass
	}
	tee := s.quote.Quote.TEE
	words = append(append(words, tee.String()...), " quote, version "...)
	words = strconv.AppendUint(words, uint64(s.quote.Quote.Version), 10)
	if s.rules.Type == SGX {
		return words, passIf(tee == tdx.SGX && s.enclave != nil)
	}
	return words, passIf(tee == tdx.TDX && s.td != nil)
}

// malformed reports a quote that was refused before anything in it was verified.
func (s *subject) malformed() bool {
	if s.ev.Err == nil {
		return false
	}
	code := codeOf(s.ev.Err)
	return code == QuoteParse || code == QuoteType
}

func formatFailure(s *subject) Code {
	if !s.ev.Fake && s.malformed() {
		return codeOf(s.ev.Err)
	}
	return QuoteType
}

func wantReportData(*Rules) string { return "a commitment to the certificate's key" }

func judgeReportData(s *subject, words []byte) ([]byte, outcome) {
	switch {
	case s.quote == nil && !s.ev.Fake:
		return append(words, unverified...), skip
	case s.ev.Detached && !s.ev.Fake:
		return append(words, "no certificate to compare with"...), pass
	case s.ev.ReportDataOK:
		return append(words, "as expected"...), pass
	}
	return append(words, "something else"...), fail
}

func wantVerification(*Rules) string {
	return "a quote that its platform signed, and collateral that Intel signed"
}

func judgeVerification(s *subject, words []byte) ([]byte, outcome) {
	switch {
	case s.ev.Err != nil && !s.malformed():
		return appendReason(words, s.ev.Err), fail
	case s.ev.Err == nil && s.ev.Quote != nil && s.quote == nil:
		return append(words, "a result without a quote"...), fail
	case s.quote == nil:
		return append(words, unverified...), skip
	}
	return append(words, "verified"...), pass
}

func verificationFailure(s *subject) Code { return codeOf(s.ev.Err) }
