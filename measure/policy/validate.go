package policy

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

// maxLifetime is the longest certificate the reference implementation accepts (attestation.md section 2).
const maxLifetime = (1 << 30) * time.Second

// mistake is something that no policy may say.
type mistake struct {
	made bool
	key  string
	rule string
}

// validate reports every mistake in the rules.
func (r *Rules) validate() error {
	if _, err := ParseType(string(r.Type)); err != nil {
		return fmt.Errorf("checking policy: type: %w", err)
	}
	if _, err := ParseImageSource(string(r.ImageSource)); err != nil {
		return fmt.Errorf("checking policy: image_source: %w", err)
	}
	mistakes := r.listMistakes()
	if r.Type.bit()&verified != 0 {
		mistakes = append(mistakes, r.platformMistakes()...)
	}
	mistakes = append(mistakes, r.timeMistakes()...)
	var problems []error
	for _, m := range mistakes {
		if m.made {
			problems = append(problems, fmt.Errorf("%s: %s", m.key, m.rule))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("checking policy: %w", err)
	}
	return nil
}

// listMistakes are about the lists of what may run.
func (r *Rules) listMistakes() []mistake {
	noImage := tdx.ImageHash(&tdx.Measurements{})
	unmeasured := func(h tdx.Hash) bool { return h.IsZero() || h == noImage }
	tds := len(r.AllowedImages) + len(r.AllowedMRTD) + len(r.AllowedRTMR)
	return []mistake{
		{
			slices.ContainsFunc(r.AllowedImages, unmeasured), "allowed_image_hashes",
			"lists the hash of a peer without measurements, which anybody can present",
		},
		{slices.Contains(r.AllowedMRTD, tdx.Digest{}), "allowed_mrtd", "lists zero, which no TD measures"},
		{slices.Contains(r.AllowedRTMR, [4]tdx.Digest{}), "allowed_rtmr", "lists four zero registers: fake TDX"},
		{slices.Contains(r.AllowedEnclaves, [32]byte{}), "allowed_mrenclave", "lists zero, which no enclave measures"},
		{
			len(r.AllowedImages) > 0 && r.ImageSource != FromList, "allowed_image_hashes",
			fmt.Sprintf("is not read with image_source %s; choose one", r.ImageSource),
		},
		{
			len(r.AllowedEnclaves) > 0 && r.ImageSource != FromList, "allowed_mrenclave",
			fmt.Sprintf("is not read with image_source %s; choose one", r.ImageSource),
		},
		{tds > 0 && r.Type != TDX, "allowed_image_hashes", fmt.Sprintf("type %s compares no TD measurements", r.Type)},
		{len(r.AllowedEnclaves) > 0 && r.Type != SGX, "allowed_mrenclave", fmt.Sprintf("type %s compares no enclaves", r.Type)},
		{
			r.ImageSource != FromList && r.Type.bit()&verified == 0 || r.ImageSource == FromChain && r.Type == SGX, "image_source",
			fmt.Sprintf("type %s has no source %s", r.Type, r.ImageSource),
		},
	}
}

// platformMistakes are about platforms.
func (r *Rules) platformMistakes() []mistake {
	intel := dcap.IntelRootID()
	foreign := slices.ContainsFunc(r.CollateralRoots, func(id dcap.RootID) bool { return id != intel })
	mistakes := []mistake{
		{len(r.CollateralRoots) == 0, "allowed_collateral_root_hashes", "is empty, so that no quote could be accepted"},
		{
			foreign && !r.AllowSimulated, "allowed_collateral_root_hashes",
			"lists a root other than Intel's: that needs \"allow_simulated\": true, in a local or test configuration",
		},
		{
			(r.TDAttributes.MustOne|r.TDAttributes.MayOne)&tudBits != 0, "td_attributes",
			"names bits 0 to 7: a TD under debug is always refused",
		},
		{r.TDAttributes.MustOne&^r.TDAttributes.MayOne != 0, "td_attributes", "must_one has bits that may_one lacks"},
		{r.XFAM.MustOne&^r.XFAM.MayOne != 0, "xfam", "must_one has bits that may_one lacks"},
		{r.Type == TDX && len(r.MRServiceTD) == 0, "mr_service_td", "is empty, so that no TD of version 1.5 could be accepted"},
		{len(r.TCB.Accepted) == 0, "tcb.accepted", "is empty, so that no platform could be accepted"},
		{slices.ContainsFunc(r.TCB.Accepted, hopeless), "tcb.accepted", "lists Unrecognized or Revoked, which are never acceptable"},
		{slices.ContainsFunc(r.TCB.Advisories, notAdvisory), "tcb.advisories", "has an entry that is not an id like INTEL-SA-00289"},
		{r.TCB.GraceDays < 0 || r.TCB.GraceDays > maxGraceDays, "tcb.grace_days", fmt.Sprintf("is not from 0 to %d", maxGraceDays)},
		{r.TCB.MinEvaluationNumber < 0, "tcb.min_evaluation_number", "is negative"},
	}
	return mistakes
}

// timeMistakes are about ages.
func (r *Rules) timeMistakes() []mistake {
	return []mistake{
		{
			r.MaxCertLifetime <= 0 || r.MaxCertLifetime > maxLifetime, "max_cert_lifetime",
			fmt.Sprintf("is %s, want more than 0 and at most %s", r.MaxCertLifetime, maxLifetime),
		},
		{r.Claims.MaxQuoteAge <= 0, "max_quote_age", fmt.Sprintf("is %s, want more than 0", r.Claims.MaxQuoteAge)},
	}
}

// notAdvisory refuses what cannot be an advisory's id, so that a misspelt list does not pass for a strict one.
func notAdvisory(id string) bool {
	rest, found := strings.CutPrefix(id, "INTEL-")
	kind, digits, cut := strings.Cut(rest, "-")
	return !found || !cut || kind == "" || digits == "" ||
		strings.Trim(kind, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" || strings.Trim(digits, "0123456789") != ""
}
