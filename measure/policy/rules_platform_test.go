package policy_test

import (
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
)

func outdated(days int, ids ...string) func(*peer) {
	return func(p *peer) {
		p.ev.Quote.Combined, p.ev.Quote.PlatformStatus, p.ev.Quote.Advisories = dcap.OutOfDate, dcap.OutOfDate, ids
		p.ev.Quote.NewestTCBDate = now.AddDate(0, 0, -30)
		p.rules.TCB.GraceDays = days
	}
}

func platformCases() map[string]ruleCase {
	simulated := dcap.RootID{1}
	both := []dcap.RootID{dcap.IntelRootID(), simulated}
	return map[string]ruleCase{
		"listed root": {
			rule: "allowed_collateral_root_hashes",
			change: func(p *peer) {
				p.rules.CollateralRoots, p.rules.AllowSimulated = both, true
			},
			code: policy.OK, got: "46e403bd",
		},
		"unlisted root": {
			rule: "allowed_collateral_root_hashes",
			change: func(p *peer) {
				p.ev.Quote.Root, p.rules.AllowSimulated = dcap.RootID{2}, true
			},
			code: policy.Root, got: "0200",
		},
		"simulated root, allowed": {rule: "allow_simulated", change: func(p *peer) {
			p.ev.Quote.Root, p.rules.CollateralRoots, p.rules.AllowSimulated = simulated, both, true
		}, code: policy.OK, got: "a simulated platform"},
		"genuine root": {rule: "allow_simulated", change: func(*peer) {}, code: policy.OK, got: "Intel's root"},
		"collateral at its end": {
			rule: "collateral_expiry", change: quoted(func(q *dcap.Result) { q.CollateralExpires = now }),
			code: policy.OK, got: "valid to 2026-11-21",
		},
		"collateral after its end": {
			rule: "collateral_expiry", change: quoted(func(q *dcap.Result) { q.CollateralExpires = now.Add(-1) }),
			code: policy.CollateralExpired, got: "valid to",
		},
		"no clock": {
			rule: "collateral_expiry", change: func(p *peer) { p.env.Now, p.ev.Seen = time.Time{}, now },
			code: policy.CollateralExpired, got: "no clock",
		},
		"evaluation at the floor": {
			rule: "tcb.min_evaluation_number", change: func(p *peer) { p.rules.TCB.MinEvaluationNumber = 18 },
			code: policy.OK, got: "18",
		},
		"evaluation below": {
			rule: "tcb.min_evaluation_number", change: func(p *peer) { p.rules.TCB.MinEvaluationNumber = 19 },
			code: policy.CollateralRollback, got: "18",
		},
		"status of no level": {
			rule: "tcb.accepted", change: quoted(func(q *dcap.Result) { q.Combined = dcap.Unrecognized }),
			code: policy.TCBStatus, got: "Unrecognized (platform UpToDate, module UpToDate, QE UpToDate)",
		},
		"status revoked": {
			rule: "tcb.accepted", change: quoted(func(q *dcap.Result) { q.Combined = dcap.Revoked }),
			code: policy.TCBStatus, got: "Revoked",
		},
		"status absent": {
			rule: "tcb.accepted", change: quoted(func(q *dcap.Result) { q.Combined = dcap.NoStatus }),
			code: policy.TCBStatus,
		},
		"status outdated": {rule: "tcb.accepted", change: outdated(0), code: policy.TCBStatus, got: "OutOfDate"},
		"status within grace": {
			rule: "tcb.accepted", change: outdated(30),
			code: policy.OK, got: "newest level of 2026-10-22",
		},
		"status after grace": {
			rule: "tcb.accepted", change: outdated(29),
			code: policy.TCBStatus, got: "newest level of 2026-10-22",
		},
		"grace without a date": {
			rule: "tcb.accepted",
			change: func(p *peer) {
				outdated(3650)(p)
				p.ev.Quote.NewestTCBDate = time.Time{}
			},
			code: policy.TCBStatus, got: "OutOfDate",
		},
		"grace for configuration": {
			rule: "tcb.accepted",
			change: func(p *peer) {
				outdated(3650)(p)
				p.ev.Quote.Combined = dcap.OutOfDateConfigurationNeeded
			},
			code: policy.TCBStatus, got: "OutOfDateConfigurationNeeded",
		},
		"status accepted by list": {
			rule: "tcb.accepted",
			change: func(p *peer) {
				outdated(0)(p)
				p.rules.TCB.Accepted = []dcap.Status{dcap.OutOfDate}
			},
			code: policy.OK, got: "OutOfDate",
		},
		"status of a healthy host": {
			rule: "tcb.accepted", typ: policy.SGX,
			change: quoted(func(q *dcap.Result) {
				q.Combined = dcap.ConfigurationAndSWHardeningNeeded
			}),
			code: policy.OK, got: "ConfigurationAndSWHardeningNeeded (platform UpToDate, QE UpToDate)",
		},
		"status of an outdated one": {
			rule: "tcb.accepted", typ: policy.SGX, change: quoted(func(q *dcap.Result) { q.Combined = dcap.OutOfDate }),
			code: policy.TCBStatus, got: "OutOfDate",
		},
		"advisory listed": {rule: "tcb.advisories", change: func(p *peer) {
			outdated(30, "INTEL-SA-00001", "INTEL-SA-00002")(p)
			p.rules.TCB.Advisories = []string{"INTEL-SA-00002", "INTEL-SA-00001"}
		}, code: policy.OK, got: "OutOfDate with INTEL-SA-00001, INTEL-SA-00002"},
		"advisory not listed": {rule: "tcb.advisories", change: func(p *peer) {
			outdated(30, "INTEL-SA-00001", "INTEL-SA-00002")(p)
			p.rules.TCB.Advisories = []string{"INTEL-SA-00001"}
		}, code: policy.TCBStatus, got: "OutOfDate with INTEL-SA-00001, INTEL-SA-00002 (not listed)"},
		"advisory of an up-to-date level": {
			rule: "tcb.advisories", change: quoted(func(q *dcap.Result) { q.Advisories = []string{"INTEL-SA-1"} }),
			code: policy.OK, got: "UpToDate with INTEL-SA-1",
		},
	}
}

func identityCases() map[string]ruleCase {
	fmspc, ppid, piid := [6]byte{0x90, 0xc0, 0x6f}, [16]byte{1, 2}, [16]byte{3, 4}
	return map[string]ruleCase{
		"fmspc allowed": {
			rule: "fmspc", change: func(p *peer) { p.rules.FMSPC.Allow = [][6]byte{{}, fmspc} },
			code: policy.OK, got: "90c06f000000",
		},
		"fmspc not allowed": {
			rule: "fmspc", change: func(p *peer) { p.rules.FMSPC.Allow = [][6]byte{{}} },
			code: policy.Platform, got: "90c06f000000",
		},
		"fmspc denied": {
			rule: "fmspc", change: func(p *peer) { p.rules.FMSPC.Deny = [][6]byte{fmspc} },
			code: policy.Platform, got: "90c06f000000",
		},
		"ppid allowed": {
			rule: "ppid", change: func(p *peer) { p.rules.PPID.Allow = [][16]byte{ppid} },
			code: policy.OK, got: "0102",
		},
		"ppid not allowed": {
			rule: "ppid", change: func(p *peer) { p.rules.PPID.Allow = [][16]byte{{}} },
			code: policy.Platform, got: "0102",
		},
		"ppid denied wins": {
			rule: "ppid",
			change: func(p *peer) {
				p.rules.PPID = policy.Filter[[16]byte]{Allow: [][16]byte{ppid}, Deny: [][16]byte{ppid}}
			},
			code: policy.Platform, got: "0102",
		},
		"piid allowed": {
			rule: "piid", change: func(p *peer) { p.rules.PIID.Allow = [][16]byte{piid} },
			code: policy.OK, got: "0304",
		},
		"piid denied": {
			rule: "piid", change: func(p *peer) { p.rules.PIID.Deny = [][16]byte{piid} },
			code: policy.Platform, got: "0304",
		},
		"piid absent, any": {
			rule: "piid", change: func(p *peer) { p.ev.Quote.HasPIID = false },
			code: policy.OK, got: "none",
		},
		"piid absent, zero denied": {rule: "piid", change: func(p *peer) {
			p.ev.Quote.HasPIID, p.ev.Quote.PIID, p.rules.PIID.Deny = false, [16]byte{}, [][16]byte{{}}
		}, code: policy.OK, got: "none"},
		"piid absent, zero allowed": {rule: "piid", change: func(p *peer) {
			p.ev.Quote.HasPIID, p.ev.Quote.PIID, p.rules.PIID.Allow = false, [16]byte{}, [][16]byte{{}}
		}, code: policy.Platform, got: "none"},
	}
}
