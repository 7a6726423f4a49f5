package policy_test

import (
	"errors"
	"fmt"
	"strings"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

func refused(class dcap.Class) func(*peer) {
	return func(p *peer) {
		p.ev.Quote, p.ev.Err = nil, fmt.Errorf("judging: %w", &dcap.Error{Class: class, Err: errors.New("the reason")})
	}
}

func quoteCases() map[string]ruleCase {
	nothing := func(p *peer) { p.ev.Quote, p.ev.Fake, p.ev.ReportDataOK = nil, false, false }
	none := func(*peer) {}
	return map[string]ruleCase{
		"quote":    {rule: "quote", change: none, code: policy.OK, got: "present"},
		"no quote": {rule: "quote", change: nothing, code: policy.NoQuote, got: "none"},
		"no fake quote": {
			rule: "quote", typ: policy.FakeTDX, change: nothing,
			code: policy.NoQuote, got: "none",
		},
		"no enclave quote": {rule: "quote", typ: policy.SGX, change: nothing, code: policy.NoQuote, got: "none"},
		"TD quote":         {rule: "quote_format", change: none, code: policy.OK, got: "TDX quote, version 5"},
		"enclave quote": {
			rule: "quote_format", typ: policy.SGX, change: none,
			code: policy.OK, got: "SGX quote, version 3",
		},
		"fake quote": {
			rule: "quote_format", typ: policy.FakeTDX, change: none,
			code: policy.OK, got: "fake TDX evidence",
		},
		"unparsable quote": {
			rule: "quote_format", change: refused(dcap.ClassQuoteParse),
			code: policy.QuoteParse, got: "the reason",
		},
		"quote of another kind": {
			rule: "quote_format", change: refused(dcap.ClassQuoteType),
			code: policy.QuoteType, got: "the reason",
		},
		"fake quote under tdx": {
			rule: "quote_format", change: func(p *peer) { p.ev.Quote, p.ev.Fake = nil, true },
			code: policy.QuoteType, got: "fake TDX evidence",
		},
		"real quote under fake_tdx": {
			rule: "quote_format", typ: policy.FakeTDX, change: func(p *peer) { p.ev.Fake, p.ev.Quote = false, result() },
			code: policy.QuoteType, got: "a quote",
		},
		"enclave quote under tdx": {rule: "quote_format", change: quoted(func(q *dcap.Result) {
			q.Quote = &tdx.Quote{Version: 3, TEE: tdx.SGX, SGX: enclave()}
		}), code: policy.QuoteType, got: "SGX quote, version 3"},
		"TD quote under sgx": {rule: "quote_format", typ: policy.SGX, change: quoted(func(q *dcap.Result) {
			q.Quote = result().Quote
		}), code: policy.QuoteType, got: "TDX quote, version 5"},
		"report data": {rule: "report_data", change: none, code: policy.OK, got: "as expected"},
		"no key to commit to": {
			rule: "report_data",
			change: func(p *peer) {
				p.ev.ReportDataOK, p.ev.Detached = false, true
			},
			code: policy.OK, got: "no certificate",
		},
		"fake without a key": {
			rule: "report_data", typ: policy.FakeTDX,
			change: func(p *peer) {
				p.ev.ReportDataOK, p.ev.Detached = false, true
			},
			code: policy.ReportData, got: "something else",
		},
		"other report data": {
			rule: "report_data", change: func(p *peer) { p.ev.ReportDataOK = false },
			code: policy.ReportData, got: "something else",
		},
		"other fake report data": {
			rule: "report_data", typ: policy.FakeTDX, change: func(p *peer) { p.ev.ReportDataOK = false },
			code: policy.ReportData, got: "something else",
		},
		"verified": {rule: "verification", change: none, code: policy.OK, got: "verified"},
		"broken chain": {
			rule: "verification", change: refused(dcap.ClassChain),
			code: policy.Chain, got: "the reason",
		},
		"foreign root": {
			rule: "verification", change: refused(dcap.ClassRoot),
			code: policy.Root, got: "the reason",
		},
		"revoked platform": {
			rule: "verification", change: refused(dcap.ClassRevoked),
			code: "revoked", got: "the reason",
		},
		"wrong quoting enclave": {
			rule: "verification", change: refused(dcap.ClassQEIdentity),
			code: "qe_identity", got: "the reason",
		},
		"broken signature": {
			rule: "verification", change: refused(dcap.ClassQuoteSignature),
			code: "quote_sig", got: "the reason",
		},
		"malleable collateral": {
			rule: "verification", change: refused(dcap.ClassCollateralMalformed),
			code: "collateral_malformed", got: "the reason",
		},
		"stale collateral": {
			rule: "verification", change: refused(dcap.ClassCollateralExpired),
			code: policy.CollateralExpired, got: "the reason",
		},
		"collateral of tomorrow": {
			rule: "verification", change: refused(dcap.ClassCollateralNotYetValid),
			code: "collateral_not_yet_valid", got: "the reason",
		},
		"unsigned collateral": {
			rule: "verification", change: refused(dcap.ClassCollateralSignature),
			code: "collateral_signature", got: "the reason",
		},
		"collateral of others": {
			rule: "verification", change: refused(dcap.ClassCollateralMismatch),
			code: "collateral_mismatch", got: "the reason",
		},
		"module unknown": {
			rule: "verification", change: refused(dcap.ClassTCBStatus),
			code: policy.TCBStatus, got: "the reason",
		},
		"error without a class": {
			rule: "verification",
			change: func(p *peer) {
				p.ev.Quote, p.ev.Err = nil, errors.New("other")
			},
			code: policy.Chain, got: "other",
		},
		"error beside a result": {
			rule: "verification", change: func(p *peer) { p.ev.Err = errors.New("other") },
			code: policy.Chain, got: "other",
		},
		"terminal codes in errors": {
			rule: "verification", change: func(p *peer) { p.ev.Err = errors.New("a\x1b[2Jb\nc") },
			code: policy.Chain, got: "a?[2Jb?c",
		},
		"long errors": {
			rule: "verification",
			change: func(p *peer) {
				p.ev.Err = errors.New(strings.Repeat("x", 9999))
			},
			code: policy.Chain, got: "xxx...",
		},
	}
}
