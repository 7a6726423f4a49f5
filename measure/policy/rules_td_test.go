package policy_test

import (
	"fmt"

	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

func tdCases() map[string]ruleCase {
	cases := map[string]ruleCase{
		"attributes with PKS": {
			rule: "td_attributes", change: body(func(b *tdx.Body) { b.TDAttributes[3] |= 0x40 }),
			code: policy.OK, got: "0x50000000",
		},
		"attributes without SEPT_VE": {
			rule: "td_attributes", change: body(func(b *tdx.Body) { b.TDAttributes[3] = 0 }),
			code: policy.TDAttributes, got: "0x0",
		},
		"attributes: MIGRATABLE": {
			rule: "td_attributes", change: body(func(b *tdx.Body) { b.TDAttributes[3] |= 0x20 }),
			code: policy.TDAttributes, got: "0x30000000",
		},
		"attributes: KL": {
			rule: "td_attributes", change: body(func(b *tdx.Body) { b.TDAttributes[3] |= 0x80 }),
			code: policy.TDAttributes, got: "0x90000000",
		},
		"attributes: PERFMON": {
			rule: "td_attributes", change: body(func(b *tdx.Body) { b.TDAttributes[7] = 0x80 }),
			code: policy.TDAttributes, got: "0x8000000010000000",
		},
		"attributes: PERFMON, allowed": {
			rule: "td_attributes",
			change: func(p *peer) {
				p.ev.Quote.Quote.TD.TDAttributes[7] = 0x80
				p.rules.TDAttributes.MayOne |= 1 << 63
			},
			code: policy.OK, got: "0x8000000010000000",
		},
		"xfam of x87 alone": {
			rule: "xfam", change: body(func(b *tdx.Body) { b.XFAM = [8]byte{1} }),
			code: policy.XFAM, got: "0x1",
		},
		"xfam beyond the bound": {
			rule: "xfam", change: body(func(b *tdx.Body) { b.XFAM[0] |= 0x08 }),
			code: policy.XFAM, got: "0x602ef",
		},
		"xfam at the bound": {
			rule: "xfam", change: body(func(b *tdx.Body) { b.XFAM = [8]byte{0xe7, 0xdb, 0x06} }),
			code: policy.OK, got: "0x6dbe7",
		},
		"module listed": {
			rule: "mr_seam",
			change: func(p *peer) {
				p.rules.MRSEAM = []tdx.Digest{digest(8), digest(9)}
			},
			code: policy.OK, got: digest(9).String(),
		},
		"module not listed": {
			rule: "mr_seam", change: func(p *peer) { p.rules.MRSEAM = []tdx.Digest{digest(8)} },
			code: policy.SEAM, got: digest(9).String(),
		},
		"module of a signer": {
			rule: "mr_signer_seam", change: body(func(b *tdx.Body) { b.MRSignerSEAM = digest(1) }),
			code: policy.SEAM, got: digest(1).String(),
		},
		"module of the signer": {
			rule: "mr_signer_seam",
			change: func(p *peer) {
				p.ev.Quote.Quote.TD.MRSignerSEAM, p.rules.MRSignerSEAM = digest(1), digest(1)
			},
			code: policy.OK, got: digest(1).String(),
		},
		"module with attributes": {
			rule: "seam_attributes", change: body(func(b *tdx.Body) { b.SEAMAttributes[0] = 1 }),
			code: policy.SEAM, got: "0x1",
		},
		"module with those attributes": {
			rule: "seam_attributes",
			change: func(p *peer) {
				p.ev.Quote.Quote.TD.SEAMAttributes[1], p.rules.SEAMAttributes = 1, 0x100
			},
			code: policy.OK, got: "0x100",
		},
		"no service TD": {rule: "mr_service_td", change: func(*peer) {}, code: policy.OK, got: "zero"},
		"no place for a service TD": {
			rule: "mr_service_td", change: body(func(b *tdx.Body) { b.Service = nil }),
			code: policy.OK, got: "TD 1.0",
		},
		"service TD": {
			rule: "mr_service_td", change: body(func(b *tdx.Body) { b.Service.MRServiceTD = digest(1) }),
			code: policy.ServiceTD, got: digest(1).String(),
		},
		"service TD, listed": {rule: "mr_service_td", change: func(p *peer) {
			p.ev.Quote.Quote.TD.Service.MRServiceTD, p.rules.MRServiceTD = digest(1), []tdx.Digest{{}, digest(1)}
		}, code: policy.OK, got: digest(1).String()},
		"no service TD, another listed": {
			rule: "mr_service_td",
			change: func(p *peer) {
				p.rules.MRServiceTD = []tdx.Digest{digest(1)}
			},
			code: policy.ServiceTD, got: "zero",
		},
		"no debug": {rule: "td_debug", change: func(*peer) {}, code: policy.OK, got: "0x0"},
		"enclave without debug": {
			rule: "enclave_debug", typ: policy.SGX, change: func(*peer) {},
			code: policy.OK, got: "0500000000000000",
		},
		"enclave with debug": {
			rule: "enclave_debug", typ: policy.SGX, change: func(p *peer) { p.ev.Quote.Quote.SGX.Attributes[0] |= 2 },
			code: policy.Enclave, got: "0700000000000000",
		},
		"enclave initialised": {
			rule: "enclave_init", typ: policy.SGX, change: func(*peer) {},
			code: policy.OK, got: "0500000000000000",
		},
		"enclave not initialised": {
			rule: "enclave_init", typ: policy.SGX, change: func(p *peer) { p.ev.Quote.Quote.SGX.Attributes[0] = 4 },
			code: policy.Enclave, got: "0400000000000000",
		},
	}
	for bit := range 8 {
		cases[fmt.Sprintf("debug bit %d", bit)] = ruleCase{
			rule: "td_debug", change: body(func(b *tdx.Body) { b.TDAttributes[0] |= 1 << bit }), code: policy.TDDebug,
			got: fmt.Sprintf("%#x", 1<<bit),
		}
	}
	return cases
}
