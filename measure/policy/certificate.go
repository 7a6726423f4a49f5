package policy

import (
	"strconv"
	"time"
)

// maxSkew is how far a peer's clock may be ahead of ours (attestation.md section 3).
const maxSkew = 300 * time.Second

func wantCertLifetime(r *Rules) string { return "at most " + r.MaxCertLifetime.String() }

func judgeCertLifetime(s *subject, words []byte) ([]byte, outcome) {
	d := s.ev.CertLifetime
	if d == 0 {
		return append(words, "no certificate"...), pass
	}
	return append(words, d.String()...), passIf(d > 0 && d <= s.rules.MaxCertLifetime)
}

func wantProfile(r *Rules) string {
	if r.Claims.Require {
		return "profile v2"
	}
	return "profile v1 or v2"
}

func judgeProfile(s *subject, words []byte) ([]byte, outcome) {
	if s.ev.Claims == nil {
		return append(words, "profile v1"...), passIf(!s.rules.Claims.Require)
	}
	return append(words, "profile v2"...), pass
}

func wantRole(r *Rules) string {
	if r.Claims.Role == nil {
		return anything
	}
	return r.Claims.Role.String()
}

func judgeRole(s *subject, words []byte) ([]byte, outcome) {
	if s.ev.Claims == nil {
		return append(words, noClaims...), pass
	}
	want, got := s.rules.Claims.Role, s.ev.Claims.Role
	return append(words, got.String()...), passIf(want == nil || *want == got)
}

func wantNetwork(r *Rules) string {
	if r.Claims.NetworkID == nil {
		return anything
	}
	return strconv.Itoa(int(*r.Claims.NetworkID))
}

func judgeNetwork(s *subject, words []byte) ([]byte, outcome) {
	if s.ev.Claims == nil {
		return append(words, noClaims...), pass
	}
	want, got := s.rules.Claims.NetworkID, s.ev.Claims.NetworkID
	return strconv.AppendInt(words, int64(got), 10), passIf(want == nil || *want == got)
}

func wantAge(r *Rules) string {
	return "a known block, at most " + r.Claims.MaxQuoteAge.String() + " old"
}

// judgeAge asks for the age of the masterchain block in the claims; the quote is not older. Without access to the
// chain the claimed dates have to do.
func judgeAge(s *subject, words []byte) ([]byte, outcome) {
	c := s.ev.Claims
	if c == nil {
		return append(words, noClaims...), pass
	}
	seen := s.seen()
	if seen.Before(c.NotBefore.Add(-maxSkew)) || seen.After(c.NotAfter) {
		words = appendDate(append(words, "valid from "...), c.NotBefore)
		return appendDate(append(words, " to "...), c.NotAfter), fail
	}
	made := c.NotBefore
	if s.env.Blocks == nil {
		words = append(words, "made "...)
	} else {
		words = strconv.AppendInt(append(words, "block "...), int64(c.MCSeqno), 10)
		var err error
		if made, err = s.env.Blocks.BlockTime(c.MCSeqno, c.MCRootHash); err != nil {
			return appendReason(append(words, ": "...), err), fail
		}
		words = append(words, " of "...)
	}
	age := seen.Sub(made)
	words = append(appendDate(words, made), ", age "...)
	words = append(words, age.Truncate(time.Second).String()...)
	if s.env.Blocks == nil {
		words = append(words, " by the claimed date"...)
	}
	return words, passIf(age >= -maxSkew && age <= s.rules.Claims.MaxQuoteAge)
}
