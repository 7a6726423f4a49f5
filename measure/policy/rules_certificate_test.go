package policy_test

import (
	"time"

	"cocoon/measure/policy"
)

func certificateCases() map[string]ruleCase {
	worker, proxy, network := policy.RoleWorker, policy.RoleProxy, int32(-239)
	return map[string]ruleCase{
		"lifetime at the bound": {
			rule: "max_cert_lifetime", change: func(p *peer) { p.ev.CertLifetime = 25 * time.Hour },
			code: policy.OK, got: "25h0m0s",
		},
		"lifetime above the bound": {
			rule: "max_cert_lifetime", change: func(p *peer) { p.ev.CertLifetime = 25*time.Hour + 1 },
			code: policy.CertLifetime, got: "25h0m0.000000001s",
		},
		"lifetime negative": {
			rule: "max_cert_lifetime", change: func(p *peer) { p.ev.CertLifetime = -1 },
			code: policy.CertLifetime, got: "-1ns",
		},
		"no certificate at all": {
			rule: "max_cert_lifetime", change: func(p *peer) { p.ev.CertLifetime = 0 },
			code: policy.OK, got: "no certificate",
		},
		"v1 where v1 will do": {
			rule: "require_v2", change: func(p *peer) { p.ev.Claims = nil },
			code: policy.OK, got: "profile v1",
		},
		"v2 where v2 is required": {
			rule: "require_v2", change: func(p *peer) { p.rules.Claims.Require = true },
			code: policy.OK, got: "profile v2",
		},
		"v1 where v2 is required": {
			rule: "require_v2",
			change: func(p *peer) {
				p.ev.Claims, p.rules.Claims.Require = nil, true
			},
			code: policy.CertProfile, got: "profile v1",
		},
		"v1 under any": {
			rule: "require_v2", typ: policy.Any,
			change: func(p *peer) {
				p.ev.Claims, p.rules.Claims.Require = nil, true
			},
			code: policy.CertProfile, got: "profile v1",
		},
		"role as wanted": {
			rule: "role", change: func(p *peer) { p.rules.Claims.Role = &worker },
			code: policy.OK, got: "worker",
		},
		"another role": {
			rule: "role", change: func(p *peer) { p.rules.Claims.Role = &proxy },
			code: policy.CertRole, got: "worker",
		},
		"role of a v1 peer": {
			rule: "role",
			change: func(p *peer) {
				p.ev.Claims, p.rules.Claims.Role = nil, &proxy
			},
			code: policy.OK, got: "no v2 claims",
		},
		"network as wanted": {
			rule: "network_id", change: func(p *peer) { p.rules.Claims.NetworkID = &network },
			code: policy.OK, got: "-239",
		},
		"another network": {
			rule: "network_id",
			change: func(p *peer) {
				p.ev.Claims.NetworkID, p.rules.Claims.NetworkID = -3, &network
			},
			code: policy.CertNetwork, got: "-3",
		},
		"network of a v1 peer": {
			rule: "network_id",
			change: func(p *peer) {
				p.ev.Claims, p.rules.Claims.NetworkID = nil, &network
			},
			code: policy.OK, got: "no v2 claims",
		},
	}
}

func ageCases() map[string]ruleCase {
	at := func(age time.Duration) func(*peer) {
		return func(p *peer) { p.env.Blocks = blocks{1000, [32]byte{1}, now.Add(-age)} }
	}
	return map[string]ruleCase{
		"block at the bound": {
			rule: "max_quote_age", change: at(3 * time.Hour),
			code: policy.OK, got: "block 1000 of 2026-11-21T09:00:00Z, age 3h0m0s",
		},
		"block above the bound": {
			rule: "max_quote_age", change: at(3*time.Hour + 1),
			code: policy.CertAge, got: "age 3h0m0s",
		},
		"block a little ahead": {rule: "max_quote_age", change: at(-300 * time.Second), code: policy.OK, got: "age -5m0s"},
		"block of the future": {
			rule: "max_quote_age", change: at(-301 * time.Second),
			code: policy.CertAge, got: "age -5m1s",
		},
		"unknown block": {
			rule: "max_quote_age",
			change: func(p *peer) {
				p.env.Blocks = blocks{1000, [32]byte{2}, now}
			},
			code: policy.CertAge, got: "no such block",
		},
		"date at the bound": {
			rule: "max_quote_age",
			change: func(p *peer) {
				p.ev.Claims.NotBefore = now.Add(-3 * time.Hour)
			},
			code: policy.OK, got: "by the claimed date",
		},
		"date above the bound": {
			rule: "max_quote_age",
			change: func(p *peer) {
				p.ev.Claims.NotBefore = now.Add(-3*time.Hour - 1)
			},
			code: policy.CertAge, got: "by the claimed date",
		},
		"claims not yet valid": {
			rule: "max_quote_age",
			change: func(p *peer) {
				p.ev.Claims.NotBefore = now.Add(301 * time.Second)
			},
			code: policy.CertAge, got: "valid from",
		},
		"claims valid no more": {
			rule: "max_quote_age", change: func(p *peer) { p.ev.Claims.NotAfter = now.Add(-1) },
			code: policy.CertAge, got: "valid from",
		},
		"a session grows old": {
			rule: "max_quote_age",
			change: func(p *peer) {
				p.ev.Seen, p.env.Now = now, now.Add(100*time.Hour)
			},
			code: policy.OK, got: "age 1h0m0s",
		},
		"an old quote, any type": {
			rule: "max_quote_age", typ: policy.Any, change: at(4 * time.Hour),
			code: policy.CertAge, got: "age 4h0m0s",
		},
	}
}
