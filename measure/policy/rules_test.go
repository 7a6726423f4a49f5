package policy_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/policy"
	"cocoon/measure/tdx"
)

// ruleCase changes an accepted peer so that one rule alone decides.
type ruleCase struct {
	rule   string
	typ    policy.Type // tdx if empty
	change func(*peer)
	// code is what the rule answers; policy.OK when it still passes.
	code policy.Code
	// got is part of the finding's words.
	got string
}

func refused(class dcap.Class) func(*peer) {
	return func(p *peer) {
		p.ev.Quote, p.ev.Err = nil, fmt.Errorf("judging: %w", &dcap.Error{Class: class, Err: errors.New("the reason")})
	}
}

func quoted(change func(*dcap.Result)) func(*peer) {
	return func(p *peer) { change(p.ev.Quote) }
}

func body(change func(*tdx.Body)) func(*peer) {
	return func(p *peer) { change(p.ev.Quote.Quote.TD) }
}

// relist lists the peer's own image again, after a change to its measurements.
func relist(p *peer) {
	p.rules.AllowedImages = []tdx.Hash{tdx.ImageHash(&p.ev.Quote.Quote.TD.Measurements)}
}

func outdated(days int, ids ...string) func(*peer) {
	return func(p *peer) {
		p.ev.Quote.Combined, p.ev.Quote.PlatformStatus, p.ev.Quote.Advisories = dcap.OutOfDate, dcap.OutOfDate, ids
		p.ev.Quote.NewestTCBDate = now.AddDate(0, 0, -30)
		p.rules.TCB.GraceDays = days
	}
}

func chain(list images) func(*peer) {
	return func(p *peer) {
		p.rules.AllowedImages, p.rules.ImageSource = nil, policy.FromChain
		p.env.Images = list
	}
}

func certificateCases() map[string]ruleCase {
	worker, proxy, network := policy.RoleWorker, policy.RoleProxy, int32(-239)
	return map[string]ruleCase{
		"lifetime at the bound":    {rule: "max_cert_lifetime", change: func(p *peer) { p.ev.CertLifetime = 25 * time.Hour }, code: policy.OK, got: "25h0m0s"},
		"lifetime above the bound": {rule: "max_cert_lifetime", change: func(p *peer) { p.ev.CertLifetime = 25*time.Hour + 1 }, code: policy.CertLifetime, got: "25h0m0.000000001s"},
		"lifetime negative":        {rule: "max_cert_lifetime", change: func(p *peer) { p.ev.CertLifetime = -1 }, code: policy.CertLifetime, got: "-1ns"},
		"no certificate at all":    {rule: "max_cert_lifetime", change: func(p *peer) { p.ev.CertLifetime = 0 }, code: policy.OK, got: "no certificate"},
		"v1 where v1 will do":      {rule: "require_v2", change: func(p *peer) { p.ev.Claims = nil }, code: policy.OK, got: "profile v1"},
		"v2 where v2 is required":  {rule: "require_v2", change: func(p *peer) { p.rules.Claims.Require = true }, code: policy.OK, got: "profile v2"},
		"v1 where v2 is required":  {rule: "require_v2", change: func(p *peer) { p.ev.Claims, p.rules.Claims.Require = nil, true }, code: policy.CertProfile, got: "profile v1"},
		"v1 under any":             {rule: "require_v2", typ: policy.Any, change: func(p *peer) { p.ev.Claims, p.rules.Claims.Require = nil, true }, code: policy.CertProfile, got: "profile v1"},
		"role as wanted":           {rule: "role", change: func(p *peer) { p.rules.Claims.Role = &worker }, code: policy.OK, got: "worker"},
		"another role":             {rule: "role", change: func(p *peer) { p.rules.Claims.Role = &proxy }, code: policy.CertRole, got: "worker"},
		"role of a v1 peer":        {rule: "role", change: func(p *peer) { p.ev.Claims, p.rules.Claims.Role = nil, &proxy }, code: policy.OK, got: "no v2 claims"},
		"network as wanted":        {rule: "network_id", change: func(p *peer) { p.rules.Claims.NetworkID = &network }, code: policy.OK, got: "-239"},
		"another network":          {rule: "network_id", change: func(p *peer) { p.ev.Claims.NetworkID, p.rules.Claims.NetworkID = -3, &network }, code: policy.CertNetwork, got: "-3"},
		"network of a v1 peer":     {rule: "network_id", change: func(p *peer) { p.ev.Claims, p.rules.Claims.NetworkID = nil, &network }, code: policy.OK, got: "no v2 claims"},
	}
}

func ageCases() map[string]ruleCase {
	at := func(age time.Duration) func(*peer) {
		return func(p *peer) { p.env.Blocks = blocks{1000, [32]byte{1}, now.Add(-age)} }
	}
	return map[string]ruleCase{
		"block at the bound":     {rule: "max_quote_age", change: at(3 * time.Hour), code: policy.OK, got: "block 1000 of 2026-11-21T09:00:00Z, age 3h0m0s"},
		"block above the bound":  {rule: "max_quote_age", change: at(3*time.Hour + 1), code: policy.CertAge, got: "age 3h0m0s"},
		"block a little ahead":   {rule: "max_quote_age", change: at(-300 * time.Second), code: policy.OK, got: "age -5m0s"},
		"block of the future":    {rule: "max_quote_age", change: at(-301 * time.Second), code: policy.CertAge, got: "age -5m1s"},
		"unknown block":          {rule: "max_quote_age", change: func(p *peer) { p.env.Blocks = blocks{1000, [32]byte{2}, now} }, code: policy.CertAge, got: "no such block"},
		"date at the bound":      {rule: "max_quote_age", change: func(p *peer) { p.ev.Claims.NotBefore = now.Add(-3 * time.Hour) }, code: policy.OK, got: "by the claimed date"},
		"date above the bound":   {rule: "max_quote_age", change: func(p *peer) { p.ev.Claims.NotBefore = now.Add(-3*time.Hour - 1) }, code: policy.CertAge, got: "by the claimed date"},
		"claims not yet valid":   {rule: "max_quote_age", change: func(p *peer) { p.ev.Claims.NotBefore = now.Add(301 * time.Second) }, code: policy.CertAge, got: "valid from"},
		"claims valid no more":   {rule: "max_quote_age", change: func(p *peer) { p.ev.Claims.NotAfter = now.Add(-1) }, code: policy.CertAge, got: "valid from"},
		"a session grows old":    {rule: "max_quote_age", change: func(p *peer) { p.ev.Seen, p.env.Now = now, now.Add(100*time.Hour) }, code: policy.OK, got: "age 1h0m0s"},
		"an old quote, any type": {rule: "max_quote_age", typ: policy.Any, change: at(4 * time.Hour), code: policy.CertAge, got: "age 4h0m0s"},
	}
}

func quoteCases() map[string]ruleCase {
	nothing := func(p *peer) { p.ev.Quote, p.ev.Fake, p.ev.ReportDataOK = nil, false, false }
	none := func(*peer) {}
	return map[string]ruleCase{
		"quote":                     {rule: "quote", change: none, code: policy.OK, got: "present"},
		"no quote":                  {rule: "quote", change: nothing, code: policy.NoQuote, got: "none"},
		"no fake quote":             {rule: "quote", typ: policy.FakeTDX, change: nothing, code: policy.NoQuote, got: "none"},
		"no enclave quote":          {rule: "quote", typ: policy.SGX, change: nothing, code: policy.NoQuote, got: "none"},
		"TD quote":                  {rule: "quote_format", change: none, code: policy.OK, got: "TDX quote, version 5"},
		"enclave quote":             {rule: "quote_format", typ: policy.SGX, change: none, code: policy.OK, got: "SGX quote, version 3"},
		"fake quote":                {rule: "quote_format", typ: policy.FakeTDX, change: none, code: policy.OK, got: "fake TDX evidence"},
		"unparsable quote":          {rule: "quote_format", change: refused(dcap.ClassQuoteParse), code: policy.QuoteParse, got: "the reason"},
		"quote of another kind":     {rule: "quote_format", change: refused(dcap.ClassQuoteType), code: policy.QuoteType, got: "the reason"},
		"fake quote under tdx":      {rule: "quote_format", change: func(p *peer) { p.ev.Quote, p.ev.Fake = nil, true }, code: policy.QuoteType, got: "fake TDX evidence"},
		"real quote under fake_tdx": {rule: "quote_format", typ: policy.FakeTDX, change: func(p *peer) { p.ev.Fake, p.ev.Quote = false, result() }, code: policy.QuoteType, got: "a quote"},
		"enclave quote under tdx": {rule: "quote_format", change: quoted(func(q *dcap.Result) {
			q.Quote = &tdx.Quote{Version: 3, TEE: tdx.SGX, SGX: enclave()}
		}), code: policy.QuoteType, got: "SGX quote, version 3"},
		"TD quote under sgx": {rule: "quote_format", typ: policy.SGX, change: quoted(func(q *dcap.Result) {
			q.Quote = result().Quote
		}), code: policy.QuoteType, got: "TDX quote, version 5"},
		"report data":              {rule: "report_data", change: none, code: policy.OK, got: "it"},
		"no key to commit to":      {rule: "report_data", change: func(p *peer) { p.ev.ReportDataOK, p.ev.Detached = false, true }, code: policy.OK, got: "no certificate"},
		"fake without a key":       {rule: "report_data", typ: policy.FakeTDX, change: func(p *peer) { p.ev.ReportDataOK, p.ev.Detached = false, true }, code: policy.ReportData, got: "something else"},
		"other report data":        {rule: "report_data", change: func(p *peer) { p.ev.ReportDataOK = false }, code: policy.ReportData, got: "something else"},
		"other fake report data":   {rule: "report_data", typ: policy.FakeTDX, change: func(p *peer) { p.ev.ReportDataOK = false }, code: policy.ReportData, got: "something else"},
		"verified":                 {rule: "verification", change: none, code: policy.OK, got: "verified"},
		"broken chain":             {rule: "verification", change: refused(dcap.ClassChain), code: policy.Chain, got: "the reason"},
		"foreign root":             {rule: "verification", change: refused(dcap.ClassRoot), code: policy.Root, got: "the reason"},
		"revoked platform":         {rule: "verification", change: refused(dcap.ClassRevoked), code: "revoked", got: "the reason"},
		"wrong quoting enclave":    {rule: "verification", change: refused(dcap.ClassQEIdentity), code: "qe_identity", got: "the reason"},
		"broken signature":         {rule: "verification", change: refused(dcap.ClassQuoteSignature), code: "quote_sig", got: "the reason"},
		"malleable collateral":     {rule: "verification", change: refused(dcap.ClassCollateralMalformed), code: "collateral_malformed", got: "the reason"},
		"stale collateral":         {rule: "verification", change: refused(dcap.ClassCollateralExpired), code: policy.CollateralExpired, got: "the reason"},
		"collateral of tomorrow":   {rule: "verification", change: refused(dcap.ClassCollateralNotYetValid), code: "collateral_not_yet_valid", got: "the reason"},
		"unsigned collateral":      {rule: "verification", change: refused(dcap.ClassCollateralSignature), code: "collateral_signature", got: "the reason"},
		"collateral of others":     {rule: "verification", change: refused(dcap.ClassCollateralMismatch), code: "collateral_mismatch", got: "the reason"},
		"module unknown":           {rule: "verification", change: refused(dcap.ClassTCBStatus), code: policy.TCBStatus, got: "the reason"},
		"error without a class":    {rule: "verification", change: func(p *peer) { p.ev.Quote, p.ev.Err = nil, errors.New("other") }, code: policy.Chain, got: "other"},
		"error beside a result":    {rule: "verification", change: func(p *peer) { p.ev.Err = errors.New("other") }, code: policy.Chain, got: "other"},
		"terminal codes in errors": {rule: "verification", change: func(p *peer) { p.ev.Err = errors.New("a\x1b[2Jb\nc") }, code: policy.Chain, got: "a?[2Jb?c"},
		"long errors":              {rule: "verification", change: func(p *peer) { p.ev.Err = errors.New(strings.Repeat("x", 9999)) }, code: policy.Chain, got: "xxx..."},
	}
}

func platformCases() map[string]ruleCase {
	simulated := dcap.RootID{1}
	both := []dcap.RootID{dcap.IntelRootID(), simulated}
	return map[string]ruleCase{
		"listed root":   {rule: "allowed_collateral_root_hashes", change: func(p *peer) { p.rules.CollateralRoots, p.rules.AllowSimulated = both, true }, code: policy.OK, got: "46e403bd"},
		"unlisted root": {rule: "allowed_collateral_root_hashes", change: func(p *peer) { p.ev.Quote.Root, p.rules.AllowSimulated = dcap.RootID{2}, true }, code: policy.Root, got: "0200"},
		"simulated root, allowed": {rule: "allow_simulated", change: func(p *peer) {
			p.ev.Quote.Root, p.rules.CollateralRoots, p.rules.AllowSimulated = simulated, both, true
		}, code: policy.OK, got: "a simulated platform"},
		"genuine root":              {rule: "allow_simulated", change: func(*peer) {}, code: policy.OK, got: "Intel's root"},
		"collateral at its end":     {rule: "collateral_expiry", change: quoted(func(q *dcap.Result) { q.CollateralExpires = now }), code: policy.OK, got: "valid to 2026-11-21"},
		"collateral after its end":  {rule: "collateral_expiry", change: quoted(func(q *dcap.Result) { q.CollateralExpires = now.Add(-1) }), code: policy.CollateralExpired, got: "valid to"},
		"no clock":                  {rule: "collateral_expiry", change: func(p *peer) { p.env.Now, p.ev.Seen = time.Time{}, now }, code: policy.CollateralExpired, got: "no clock"},
		"evaluation at the floor":   {rule: "tcb.min_evaluation_number", change: func(p *peer) { p.rules.TCB.MinEvaluationNumber = 18 }, code: policy.OK, got: "18"},
		"evaluation below":          {rule: "tcb.min_evaluation_number", change: func(p *peer) { p.rules.TCB.MinEvaluationNumber = 19 }, code: policy.CollateralRollback, got: "18"},
		"status of no level":        {rule: "tcb.accepted", change: quoted(func(q *dcap.Result) { q.Combined = dcap.Unrecognized }), code: policy.TCBStatus, got: "Unrecognized (platform UpToDate, module UpToDate, QE UpToDate)"},
		"status revoked":            {rule: "tcb.accepted", change: quoted(func(q *dcap.Result) { q.Combined = dcap.Revoked }), code: policy.TCBStatus, got: "Revoked"},
		"status absent":             {rule: "tcb.accepted", change: quoted(func(q *dcap.Result) { q.Combined = dcap.NoStatus }), code: policy.TCBStatus},
		"status outdated":           {rule: "tcb.accepted", change: outdated(0), code: policy.TCBStatus, got: "OutOfDate"},
		"status within grace":       {rule: "tcb.accepted", change: outdated(30), code: policy.OK, got: "newest level of 2026-10-22"},
		"status after grace":        {rule: "tcb.accepted", change: outdated(29), code: policy.TCBStatus, got: "newest level of 2026-10-22"},
		"grace without a date":      {rule: "tcb.accepted", change: func(p *peer) { outdated(3650)(p); p.ev.Quote.NewestTCBDate = time.Time{} }, code: policy.TCBStatus, got: "OutOfDate"},
		"grace for configuration":   {rule: "tcb.accepted", change: func(p *peer) { outdated(3650)(p); p.ev.Quote.Combined = dcap.OutOfDateConfigurationNeeded }, code: policy.TCBStatus, got: "OutOfDateConfigurationNeeded"},
		"status accepted by list":   {rule: "tcb.accepted", change: func(p *peer) { outdated(0)(p); p.rules.TCB.Accepted = []dcap.Status{dcap.OutOfDate} }, code: policy.OK, got: "OutOfDate"},
		"status of a healthy host":  {rule: "tcb.accepted", typ: policy.SGX, change: quoted(func(q *dcap.Result) { q.Combined = dcap.ConfigurationAndSWHardeningNeeded }), code: policy.OK, got: "ConfigurationAndSWHardeningNeeded (platform UpToDate, QE UpToDate)"},
		"status of an outdated one": {rule: "tcb.accepted", typ: policy.SGX, change: quoted(func(q *dcap.Result) { q.Combined = dcap.OutOfDate }), code: policy.TCBStatus, got: "OutOfDate"},
		"advisory listed": {rule: "tcb.advisories", change: func(p *peer) {
			outdated(30, "INTEL-SA-00001", "INTEL-SA-00002")(p)
			p.rules.TCB.Advisories = []string{"INTEL-SA-00002", "INTEL-SA-00001"}
		}, code: policy.OK, got: "OutOfDate with INTEL-SA-00001, INTEL-SA-00002"},
		"advisory not listed": {rule: "tcb.advisories", change: func(p *peer) {
			outdated(30, "INTEL-SA-00001", "INTEL-SA-00002")(p)
			p.rules.TCB.Advisories = []string{"INTEL-SA-00001"}
		}, code: policy.TCBStatus, got: "OutOfDate with INTEL-SA-00001, INTEL-SA-00002 (not listed)"},
		"advisory of an up-to-date level": {rule: "tcb.advisories", change: quoted(func(q *dcap.Result) { q.Advisories = []string{"INTEL-SA-1"} }), code: policy.OK, got: "UpToDate with INTEL-SA-1"},
	}
}

func identityCases() map[string]ruleCase {
	fmspc, ppid, piid := [6]byte{0x90, 0xc0, 0x6f}, [16]byte{1, 2}, [16]byte{3, 4}
	return map[string]ruleCase{
		"fmspc allowed":     {rule: "fmspc", change: func(p *peer) { p.rules.FMSPC.Allow = [][6]byte{{}, fmspc} }, code: policy.OK, got: "90c06f000000"},
		"fmspc not allowed": {rule: "fmspc", change: func(p *peer) { p.rules.FMSPC.Allow = [][6]byte{{}} }, code: policy.Platform, got: "90c06f000000"},
		"fmspc denied":      {rule: "fmspc", change: func(p *peer) { p.rules.FMSPC.Deny = [][6]byte{fmspc} }, code: policy.Platform, got: "90c06f000000"},
		"ppid allowed":      {rule: "ppid", change: func(p *peer) { p.rules.PPID.Allow = [][16]byte{ppid} }, code: policy.OK, got: "0102"},
		"ppid not allowed":  {rule: "ppid", change: func(p *peer) { p.rules.PPID.Allow = [][16]byte{{}} }, code: policy.Platform, got: "0102"},
		"ppid denied wins":  {rule: "ppid", change: func(p *peer) { p.rules.PPID = policy.Filter[[16]byte]{Allow: [][16]byte{ppid}, Deny: [][16]byte{ppid}} }, code: policy.Platform, got: "0102"},
		"piid allowed":      {rule: "piid", change: func(p *peer) { p.rules.PIID.Allow = [][16]byte{piid} }, code: policy.OK, got: "0304"},
		"piid denied":       {rule: "piid", change: func(p *peer) { p.rules.PIID.Deny = [][16]byte{piid} }, code: policy.Platform, got: "0304"},
		"piid absent, any":  {rule: "piid", change: func(p *peer) { p.ev.Quote.HasPIID = false }, code: policy.OK, got: "none"},
		"piid absent, zero denied": {rule: "piid", change: func(p *peer) {
			p.ev.Quote.HasPIID, p.ev.Quote.PIID, p.rules.PIID.Deny = false, [16]byte{}, [][16]byte{{}}
		}, code: policy.OK, got: "none"},
		"piid absent, zero allowed": {rule: "piid", change: func(p *peer) {
			p.ev.Quote.HasPIID, p.ev.Quote.PIID, p.rules.PIID.Allow = false, [16]byte{}, [][16]byte{{}}
		}, code: policy.Platform, got: "none"},
	}
}

func tdCases() map[string]ruleCase {
	cases := map[string]ruleCase{
		"attributes with PKS":          {rule: "td_attributes", change: body(func(b *tdx.Body) { b.TDAttributes[3] |= 0x40 }), code: policy.OK, got: "0x50000000"},
		"attributes without SEPT_VE":   {rule: "td_attributes", change: body(func(b *tdx.Body) { b.TDAttributes[3] = 0 }), code: policy.TDAttributes, got: "0x0"},
		"attributes: MIGRATABLE":       {rule: "td_attributes", change: body(func(b *tdx.Body) { b.TDAttributes[3] |= 0x20 }), code: policy.TDAttributes, got: "0x30000000"},
		"attributes: KL":               {rule: "td_attributes", change: body(func(b *tdx.Body) { b.TDAttributes[3] |= 0x80 }), code: policy.TDAttributes, got: "0x90000000"},
		"attributes: PERFMON":          {rule: "td_attributes", change: body(func(b *tdx.Body) { b.TDAttributes[7] = 0x80 }), code: policy.TDAttributes, got: "0x8000000010000000"},
		"attributes: PERFMON, allowed": {rule: "td_attributes", change: func(p *peer) { p.ev.Quote.Quote.TD.TDAttributes[7] = 0x80; p.rules.TDAttributes.MayOne |= 1 << 63 }, code: policy.OK, got: "0x8000000010000000"},
		"xfam of x87 alone":            {rule: "xfam", change: body(func(b *tdx.Body) { b.XFAM = [8]byte{1} }), code: policy.XFAM, got: "0x1"},
		"xfam beyond the bound":        {rule: "xfam", change: body(func(b *tdx.Body) { b.XFAM[0] |= 0x08 }), code: policy.XFAM, got: "0x602ef"},
		"xfam at the bound":            {rule: "xfam", change: body(func(b *tdx.Body) { b.XFAM = [8]byte{0xe7, 0xdb, 0x06} }), code: policy.OK, got: "0x6dbe7"},
		"module listed":                {rule: "mr_seam", change: func(p *peer) { p.rules.MRSEAM = []tdx.Digest{digest(8), digest(9)} }, code: policy.OK, got: digest(9).String()},
		"module not listed":            {rule: "mr_seam", change: func(p *peer) { p.rules.MRSEAM = []tdx.Digest{digest(8)} }, code: policy.SEAM, got: digest(9).String()},
		"module of a signer":           {rule: "mr_signer_seam", change: body(func(b *tdx.Body) { b.MRSignerSEAM = digest(1) }), code: policy.SEAM, got: digest(1).String()},
		"module of the signer":         {rule: "mr_signer_seam", change: func(p *peer) { p.ev.Quote.Quote.TD.MRSignerSEAM, p.rules.MRSignerSEAM = digest(1), digest(1) }, code: policy.OK, got: digest(1).String()},
		"module with attributes":       {rule: "seam_attributes", change: body(func(b *tdx.Body) { b.SEAMAttributes[0] = 1 }), code: policy.SEAM, got: "0x1"},
		"module with those attributes": {rule: "seam_attributes", change: func(p *peer) { p.ev.Quote.Quote.TD.SEAMAttributes[1], p.rules.SEAMAttributes = 1, 0x100 }, code: policy.OK, got: "0x100"},
		"no service TD":                {rule: "mr_service_td", change: func(*peer) {}, code: policy.OK, got: "zero"},
		"no place for a service TD":    {rule: "mr_service_td", change: body(func(b *tdx.Body) { b.Service = nil }), code: policy.OK, got: "TD 1.0"},
		"service TD":                   {rule: "mr_service_td", change: body(func(b *tdx.Body) { b.Service.MRServiceTD = digest(1) }), code: policy.ServiceTD, got: digest(1).String()},
		"service TD, listed": {rule: "mr_service_td", change: func(p *peer) {
			p.ev.Quote.Quote.TD.Service.MRServiceTD, p.rules.MRServiceTD = digest(1), []tdx.Digest{{}, digest(1)}
		}, code: policy.OK, got: digest(1).String()},
		"no service TD, another listed": {rule: "mr_service_td", change: func(p *peer) { p.rules.MRServiceTD = []tdx.Digest{digest(1)} }, code: policy.ServiceTD, got: "zero"},
		"no debug":                      {rule: "td_debug", change: func(*peer) {}, code: policy.OK, got: "0x0"},
		"enclave without debug":         {rule: "enclave_debug", typ: policy.SGX, change: func(*peer) {}, code: policy.OK, got: "0500000000000000"},
		"enclave with debug":            {rule: "enclave_debug", typ: policy.SGX, change: func(p *peer) { p.ev.Quote.Quote.SGX.Attributes[0] |= 2 }, code: policy.Enclave, got: "0700000000000000"},
		"enclave initialised":           {rule: "enclave_init", typ: policy.SGX, change: func(*peer) {}, code: policy.OK, got: "0500000000000000"},
		"enclave not initialised":       {rule: "enclave_init", typ: policy.SGX, change: func(p *peer) { p.ev.Quote.Quote.SGX.Attributes[0] = 4 }, code: policy.Enclave, got: "0400000000000000"},
	}
	for bit := range 8 {
		cases[fmt.Sprintf("debug bit %d", bit)] = ruleCase{
			rule: "td_debug", change: body(func(b *tdx.Body) { b.TDAttributes[0] |= 1 << bit }), code: policy.TDDebug,
			got: fmt.Sprintf("%#x", 1<<bit),
		}
	}
	return cases
}

func imageCases() map[string]ruleCase {
	mine := tdx.ImageHash(&td().Measurements)
	registers := td().RTMR
	return map[string]ruleCase{
		"mrtd listed":         {rule: "allowed_mrtd", change: func(p *peer) { p.rules.AllowedMRTD = []tdx.Digest{digest(7), digest(1)} }, code: policy.OK, got: digest(1).String()},
		"mrtd not listed":     {rule: "allowed_mrtd", change: func(p *peer) { p.rules.AllowedMRTD = []tdx.Digest{digest(7)} }, code: policy.Image, got: digest(1).String()},
		"rtmr listed":         {rule: "allowed_rtmr", change: func(p *peer) { p.rules.AllowedRTMR = [][4]tdx.Digest{{}, registers}[1:] }, code: policy.OK, got: digest(5).String()},
		"rtmr3 differs":       {rule: "allowed_rtmr", change: func(p *peer) { r := registers; r[3] = digest(6); p.rules.AllowedRTMR = [][4]tdx.Digest{r} }, code: policy.Image, got: digest(5).String()},
		"image listed":        {rule: "allowed_image_hashes", change: func(p *peer) { p.rules.AllowedImages = []tdx.Hash{{1}, mine} }, code: policy.OK, got: mine.String()},
		"image not listed":    {rule: "allowed_image_hashes", change: func(p *peer) { p.rules.AllowedImages = []tdx.Hash{{1}} }, code: policy.Image, got: mine.String()},
		"image changed":       {rule: "allowed_image_hashes", change: body(func(b *tdx.Body) { b.RTMR[2] = digest(0xaa) }), code: policy.Image},
		"image by mrtd alone": {rule: "allowed_image_hashes", change: func(p *peer) { p.rules.AllowedImages, p.rules.AllowedMRTD = nil, []tdx.Digest{digest(1)} }, code: policy.OK, got: mine.String()},
		"nothing measured": {rule: "allowed_image_hashes", change: func(p *peer) {
			p.ev.Quote.Quote.TD.Measurements = tdx.Measurements{}
			p.rules.AllowedImages, p.rules.ImageSource = nil, policy.Deferred
		}, code: policy.Image, got: "nothing measured"},
		"image of the chain":    {rule: "allowed_image_hashes", change: chain(images{hashes: []tdx.Hash{{1}, mine}}), code: policy.OK, got: mine.String()},
		"image not of it":       {rule: "allowed_image_hashes", change: chain(images{hashes: []tdx.Hash{{1}}}), code: policy.Image, got: mine.String()},
		"image deferred":        {rule: "allowed_image_hashes", change: func(p *peer) { p.rules.AllowedImages, p.rules.ImageSource = nil, policy.Deferred }, code: policy.OK, got: mine.String()},
		"list":                  {rule: "image_source", change: relist, code: policy.OK, got: "entries: 1"},
		"empty list":            {rule: "image_source", change: func(p *peer) { p.rules.AllowedImages = nil }, code: policy.PolicyEmpty, got: "an empty allow-list"},
		"empty enclave list":    {rule: "image_source", typ: policy.SGX, change: func(p *peer) { p.rules.AllowedEnclaves = nil }, code: policy.PolicyEmpty, got: "an empty allow-list"},
		"list of the chain":     {rule: "image_source", change: chain(images{hashes: []tdx.Hash{mine}}), code: policy.OK, got: "1 images at 2026-11-21T11:59:00Z"},
		"empty list of it":      {rule: "image_source", change: chain(images{}), code: policy.PolicyEmpty, got: "an empty list"},
		"unavailable list":      {rule: "image_source", change: chain(images{[]tdx.Hash{mine}, errors.New("no liteserver")}), code: policy.PolicyEmpty, got: "an unavailable list: no liteserver"},
		"no chain":              {rule: "image_source", change: func(p *peer) { chain(images{})(p); p.env.Images = nil }, code: policy.PolicyEmpty, got: "no access to the chain"},
		"deferred":              {rule: "image_source", change: func(p *peer) { p.rules.AllowedImages, p.rules.ImageSource = nil, policy.Deferred }, code: policy.OK, got: "deferred"},
		"enclave listed":        {rule: "allowed_mrenclave", typ: policy.SGX, change: func(p *peer) { p.rules.AllowedEnclaves = [][32]byte{{1}, {7}} }, code: policy.OK, got: "0700"},
		"enclave deferred":      {rule: "allowed_mrenclave", typ: policy.SGX, change: func(p *peer) { p.rules.AllowedEnclaves, p.rules.ImageSource = nil, policy.Deferred }, code: policy.OK, got: "0700"},
		"enclave not listed":    {rule: "allowed_mrenclave", typ: policy.SGX, change: func(p *peer) { p.rules.AllowedEnclaves = [][32]byte{{1}} }, code: policy.Image, got: "0700"},
		"enclave signer unused": {rule: "allowed_mrenclave", typ: policy.SGX, change: func(p *peer) { p.ev.Quote.Quote.SGX.MRSigner = [32]byte{99} }, code: policy.OK, got: "0700"},
	}
}

// TestEveryRuleDecidesAlone: each case changes an accepted peer in the way of one rule, and that rule's finding is the
// only one that fails.
func TestEveryRuleDecidesAlone(t *testing.T) {
	passed, failed := map[string]bool{}, map[string]bool{}
	for _, table := range []map[string]ruleCase{
		certificateCases(), ageCases(), quoteCases(), platformCases(), identityCases(), tdCases(), imageCases(),
	} {
		for name, tc := range table {
			if tc.typ == "" {
				tc.typ = policy.TDX
			}
			t.Run(name, func(t *testing.T) { tc.run(t) })
			passed[tc.rule] = passed[tc.rule] || tc.code == policy.OK
			failed[tc.rule] = failed[tc.rule] || tc.code != policy.OK
		}
	}
	// A policy that allows simulated platforms lists their roots, so that this rule fails only beside the root rule:
	// TestSimulatedRootsNeedBothSettings.
	failed["allow_simulated"] = true
	for _, typ := range []policy.Type{policy.Any, policy.TDX, policy.FakeTDX, policy.SGX} {
		for _, f := range newPeer(typ).check(t).Findings {
			if !passed[f.Rule] || !failed[f.Rule] {
				t.Errorf("rule %s has no case that passes, or none that fails", f.Rule)
			}
		}
	}
}

func (tc ruleCase) run(t *testing.T) {
	t.Helper()
	p := newPeer(tc.typ)
	if v := p.check(t); !v.OK || v.Code != policy.OK || v.Err() != nil {
		t.Fatalf("the unchanged peer is refused: %v", v.Err())
	}
	tc.change(p)
	v := p.check(t)
	if v.Code != tc.code || v.OK != (tc.code == policy.OK) {
		t.Errorf("code %s, want %s (%v)", v.Code, tc.code, v.Err())
	}
	judged := false
	for _, f := range v.Findings {
		ok := f.OK || f.Skipped && !v.OK
		if f.Rule == tc.rule {
			judged = true
			ok = f.OK == (tc.code == policy.OK) && !f.Skipped && (f.OK || f.Code == tc.code) && strings.Contains(f.Got, tc.got)
		}
		if !ok {
			t.Errorf("rule %s: want %q, got %q, passed %t", f.Rule, f.Want, f.Got, f.OK)
		}
		if f.Want == "" || f.Got == "" {
			t.Errorf("rule %s has no words: want %q, got %q", f.Rule, f.Want, f.Got)
		}
	}
	if !judged {
		t.Errorf("no finding of rule %s", tc.rule)
	}
	var denied *policy.Denied
	if err := v.Err(); !v.OK && (!errors.As(err, &denied) || denied.Rule != tc.rule || denied.Code != tc.code) {
		t.Errorf("error %v, want one of rule %s", err, tc.rule)
	}
}

func TestSimulatedRootsNeedBothSettings(t *testing.T) {
	p := newPeer(policy.TDX)
	p.ev.Quote.Root = dcap.RootID{1}
	for _, f := range p.check(t).Findings {
		if bad := f.Rule == "allow_simulated" || f.Rule == "allowed_collateral_root_hashes"; f.OK == bad {
			t.Errorf("rule %s: passed %t, got %q", f.Rule, f.OK, f.Got)
		}
	}
	p.rules.CollateralRoots = []dcap.RootID{{1}}
	if _, err := policy.New(p.rules); err == nil || !strings.Contains(err.Error(), "allow_simulated") {
		t.Errorf("a simulated root without allow_simulated: %v", err)
	}
	p.rules.AllowSimulated = true
	made, err := policy.New(p.rules)
	if err != nil || !made.Simulated() {
		t.Fatalf("policy %v (%v)", made, err)
	}
	if v := made.Check(p.ev, p.env); !v.OK {
		t.Error(v.Err())
	}
	p.ev.Quote.Root = dcap.IntelRootID()
	if v := made.Check(p.ev, p.env); v.Code != policy.Root {
		t.Errorf("a list of a simulated root alone admits Intel's: %s", v.Code)
	}
}
