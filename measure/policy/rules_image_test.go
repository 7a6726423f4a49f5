package policy_test

import (
	"errors"

	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// relist lists the peer's own image again, after a change to its measurements.
func relist(p *peer) {
	p.rules.AllowedImages = []tdx.Hash{tdx.ImageHash(&p.ev.Quote.Quote.TD.Measurements)}
}

func chain(list images) func(*peer) {
	return func(p *peer) {
		p.rules.AllowedImages, p.rules.ImageSource = nil, policy.FromChain
		p.env.Images = list
	}
}

func imageCases() map[string]ruleCase {
	mine := tdx.ImageHash(&td().Measurements)
	registers := td().RTMR
	return map[string]ruleCase{
		"mrtd listed": {
			rule: "allowed_mrtd",
			change: func(p *peer) {
				p.rules.AllowedMRTD = []tdx.Digest{digest(7), digest(1)}
			},
			code: policy.OK, got: digest(1).String(),
		},
		"mrtd not listed": {
			rule: "allowed_mrtd",
			change: func(p *peer) {
				p.rules.AllowedMRTD = []tdx.Digest{digest(7)}
			},
			code: policy.Image, got: digest(1).String(),
		},
		"rtmr listed": {
			rule: "allowed_rtmr",
			change: func(p *peer) {
				p.rules.AllowedRTMR = [][4]tdx.Digest{{}, registers}[1:]
			},
			code: policy.OK, got: digest(5).String(),
		},
		"rtmr3 differs": {
			rule: "allowed_rtmr",
			change: func(p *peer) {
				r := registers
				r[3] = digest(6)
				p.rules.AllowedRTMR = [][4]tdx.Digest{r}
			},
			code: policy.Image, got: digest(5).String(),
		},
		"image listed": {
			rule: "allowed_image_hashes",
			change: func(p *peer) {
				p.rules.AllowedImages = []tdx.Hash{{1}, mine}
			},
			code: policy.OK, got: mine.String(),
		},
		"image not listed": {
			rule: "allowed_image_hashes", change: func(p *peer) { p.rules.AllowedImages = []tdx.Hash{{1}} },
			code: policy.Image, got: mine.String(),
		},
		"image changed": {
			rule: "allowed_image_hashes", change: body(func(b *tdx.Body) { b.RTMR[2] = digest(0xaa) }),
			code: policy.Image,
		},
		"image by mrtd alone": {
			rule: "allowed_image_hashes",
			change: func(p *peer) {
				p.rules.AllowedImages, p.rules.AllowedMRTD = nil, []tdx.Digest{digest(1)}
			},
			code: policy.OK, got: mine.String(),
		},
		"nothing measured": {rule: "allowed_image_hashes", change: func(p *peer) {
			p.ev.Quote.Quote.TD.Measurements = tdx.Measurements{}
			p.rules.AllowedImages, p.rules.ImageSource = nil, policy.Deferred
		}, code: policy.Image, got: "nothing measured"},
		"image of the chain": {
			rule: "allowed_image_hashes", change: chain(images{hashes: []tdx.Hash{{1}, mine}}),
			code: policy.OK, got: mine.String(),
		},
		"image not of it": {
			rule: "allowed_image_hashes", change: chain(images{hashes: []tdx.Hash{{1}}}),
			code: policy.Image, got: mine.String(),
		},
		"image deferred": {
			rule: "allowed_image_hashes",
			change: func(p *peer) {
				p.rules.AllowedImages, p.rules.ImageSource = nil, policy.Deferred
			},
			code: policy.OK, got: mine.String(),
		},
		"list": {rule: "image_source", change: relist, code: policy.OK, got: "entries: 1"},
		"empty list": {
			rule: "image_source", change: func(p *peer) { p.rules.AllowedImages = nil },
			code: policy.PolicyEmpty, got: "an empty allow-list",
		},
		"empty enclave list": {
			rule: "image_source", typ: policy.SGX, change: func(p *peer) { p.rules.AllowedEnclaves = nil },
			code: policy.PolicyEmpty, got: "an empty allow-list",
		},
		"list of the chain": {
			rule: "image_source", change: chain(images{hashes: []tdx.Hash{mine}}),
			code: policy.OK, got: "1 images at 2026-11-21T11:59:00Z",
		},
		"empty list of it": {
			rule: "image_source", change: chain(images{}),
			code: policy.PolicyEmpty, got: "an empty list",
		},
		"unavailable list": {
			rule: "image_source", change: chain(images{[]tdx.Hash{mine}, errors.New("no liteserver")}),
			code: policy.PolicyEmpty, got: "an unavailable list: no liteserver",
		},
		"no chain": {
			rule: "image_source", change: func(p *peer) { chain(images{})(p); p.env.Images = nil },
			code: policy.PolicyEmpty, got: "no access to the chain",
		},
		"deferred": {
			rule: "image_source",
			change: func(p *peer) {
				p.rules.AllowedImages, p.rules.ImageSource = nil, policy.Deferred
			},
			code: policy.OK, got: "deferred",
		},
		"enclave listed": {
			rule: "allowed_mrenclave", typ: policy.SGX,
			change: func(p *peer) {
				p.rules.AllowedEnclaves = [][32]byte{{1}, {7}}
			},
			code: policy.OK, got: "0700",
		},
		"enclave deferred": {
			rule: "allowed_mrenclave", typ: policy.SGX,
			change: func(p *peer) {
				p.rules.AllowedEnclaves, p.rules.ImageSource = nil, policy.Deferred
			},
			code: policy.OK, got: "0700",
		},
		"enclave not listed": {
			rule: "allowed_mrenclave", typ: policy.SGX, change: func(p *peer) { p.rules.AllowedEnclaves = [][32]byte{{1}} },
			code: policy.Image, got: "0700",
		},
		"enclave signer unused": {
			rule: "allowed_mrenclave", typ: policy.SGX,
			change: func(p *peer) {
				p.ev.Quote.Quote.SGX.MRSigner = [32]byte{99}
			},
			code: policy.OK, got: "0700",
		},
	}
}
