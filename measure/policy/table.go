package policy

// rule is one row of the table.
type rule struct {
	// name is the JSON key where the rule has one.
	name  string
	code  Code
	types types
	// want words what the rule wants; it depends on the settings alone.
	want func(r *Rules) string
	// judge appends what the rule got to words.
	judge func(s *subject, words []byte) ([]byte, outcome)
	// failure is the code of a failure where it is not always code.
	failure func(s *subject) Code
}

// outcome is what judge says.
type outcome uint8

const (
	fail outcome = iota
	pass
	skip // nothing to judge, because an earlier rule failed
)

func passIf(ok bool) outcome {
	if ok {
		return pass
	}
	return fail
}

// ruleTable lists every rule in the order of evaluation (attestation.md section 8.2). The first failure gives the code.
func ruleTable() []rule {
	table := certificateRules()
	table = append(table, quoteRules()...)
	table = append(table, platformRules()...)
	table = append(table, tdRules()...)
	table = append(table, identityRules()...)
	return append(table, imageRules()...)
}

// certificateRules judge what the certificate itself says; "cert_" codes.
func certificateRules() []rule {
	return []rule{
		{name: "max_cert_lifetime", code: CertLifetime, types: attested, want: wantCertLifetime, judge: judgeCertLifetime},
		{name: "require_v2", code: CertProfile, types: peersTypes, want: wantProfile, judge: judgeProfile},
		{name: "role", code: CertRole, types: peersTypes, want: wantRole, judge: judgeRole},
		{name: "network_id", code: CertNetwork, types: peersTypes, want: wantNetwork, judge: judgeNetwork},
		{name: "max_quote_age", code: CertAge, types: peersTypes, want: wantAge, judge: judgeAge},
	}
}

// quoteRules judge whether there is a quote, whether it is of the right kind, and whether it verified.
func quoteRules() []rule {
	return []rule{
		{name: "quote", code: NoQuote, types: attested, want: wantQuote, judge: judgeQuote},
		{name: "quote_format", code: QuoteType, types: attested, want: wantFormat, judge: judgeFormat, failure: formatFailure},
		{name: "report_data", code: ReportData, types: attested, want: wantReportData, judge: judgeReportData},
		{name: "verification", code: Chain, types: verified, want: wantVerification, judge: judgeVerification, failure: verificationFailure},
	}
}

// platformRules judge the root above the quote, the collateral and the platform's security version.
func platformRules() []rule {
	return []rule{
		{name: "allowed_collateral_root_hashes", code: Root, types: verified, want: wantRoot, judge: ofQuote(judgeRoot)},
		{name: "allow_simulated", code: Root, types: verified, want: wantSimulated, judge: ofQuote(judgeSimulated)},
		{name: "collateral_expiry", code: CollateralExpired, types: verified, want: wantExpiry, judge: ofQuote(judgeExpiry)},
		{name: "tcb.min_evaluation_number", code: CollateralRollback, types: verified, want: wantEvaluation, judge: ofQuote(judgeEvaluation)},
		{name: "tcb.accepted", code: TCBStatus, types: verified, want: wantStatus, judge: ofQuote(judgeStatus)},
		{name: "tcb.advisories", code: TCBStatus, types: verified, want: wantAdvisories, judge: ofQuote(judgeAdvisories)},
	}
}

// tdRules judge what the image hash does not cover.
func tdRules() []rule {
	return []rule{
		{name: "td_debug", code: TDDebug, types: tdxType, want: wantTDDebug, judge: ofTD(judgeTDDebug)},
		{name: "td_attributes", code: TDAttributes, types: tdxType, want: wantTDAttributes, judge: ofTD(judgeTDAttributes)},
		{name: "xfam", code: XFAM, types: tdxType, want: wantXFAM, judge: ofTD(judgeXFAM)},
		{name: "mr_seam", code: SEAM, types: tdxType, want: wantMRSEAM, judge: ofTD(judgeMRSEAM)},
		{name: "mr_signer_seam", code: SEAM, types: tdxType, want: wantMRSignerSEAM, judge: ofTD(judgeMRSignerSEAM)},
		{name: "seam_attributes", code: SEAM, types: tdxType, want: wantSEAMAttributes, judge: ofTD(judgeSEAMAttributes)},
		{name: "mr_service_td", code: ServiceTD, types: tdxType, want: wantServiceTD, judge: ofTD(judgeServiceTD)},
		{name: "enclave_debug", code: Enclave, types: sgxType, want: wantEnclaveDebug, judge: ofEnclave(judgeEnclaveDebug)},
		{name: "enclave_init", code: Enclave, types: sgxType, want: wantEnclaveInit, judge: ofEnclave(judgeEnclaveInit)},
	}
}

// The rules that see what is one machine's alone.
const (
	rulePPID = "ppid"
	rulePIID = "piid"
)

// identityRules judge which machine it is.
func identityRules() []rule {
	return []rule{
		{name: "fmspc", code: Platform, types: verified, want: wantFMSPC, judge: ofQuote(judgeFMSPC)},
		{name: rulePPID, code: Platform, types: verified, want: wantPPID, judge: ofQuote(judgePPID)},
		{name: rulePIID, code: Platform, types: verified, want: wantPIID, judge: ofQuote(judgePIID)},
	}
}

// imageRules judge what runs. The lists are judged before the rule that there is a list at all.
func imageRules() []rule {
	return []rule{
		{name: "allowed_mrtd", code: Image, types: tdxType, want: wantMRTD, judge: ofTD(judgeMRTD)},
		{name: "allowed_rtmr", code: Image, types: tdxType, want: wantRTMR, judge: ofTD(judgeRTMR)},
		{name: "allowed_image_hashes", code: Image, types: tdxType, want: wantImage, judge: judgeImage},
		{name: "allowed_mrenclave", code: Image, types: sgxType, want: wantEnclave, judge: judgeEnclave},
		{name: "image_source", code: PolicyEmpty, types: verified, want: wantList, judge: judgeList},
	}
}
