package policy

import (
	"slices"
	"strconv"

	"cocoon/measure/dcap"
	"cocoon/measure/tdx"
)

func wantFilter[ID [6]byte | [16]byte](f Filter[ID]) string {
	want := oneOf(f.Allow, hexOf[ID])
	if len(f.Deny) > 0 {
		want += ", none of " + strconv.Itoa(len(f.Deny)) + " denied"
	}
	return want
}

func wantFMSPC(r *Rules) string { return wantFilter(r.FMSPC) }

func judgeFMSPC(s *subject, q *dcap.Result, words []byte) ([]byte, outcome) {
	return appendHex(words, q.FMSPC[:]), passIf(s.rules.FMSPC.admits(q.FMSPC))
}

func wantPPID(r *Rules) string { return wantFilter(r.PPID) }

func judgePPID(s *subject, q *dcap.Result, words []byte) ([]byte, outcome) {
	return appendHex(words, q.PPID[:]), passIf(s.rules.PPID.admits(q.PPID))
}

func wantPIID(r *Rules) string { return wantFilter(r.PIID) }

// judgePIID: single-package platforms have no instance id, so they cannot be denied by it, nor be on an allow-list.
func judgePIID(s *subject, q *dcap.Result, words []byte) ([]byte, outcome) {
	if !q.HasPIID {
		return append(words, "none"...), passIf(len(s.rules.PIID.Allow) == 0)
	}
	return appendHex(words, q.PIID[:]), passIf(s.rules.PIID.admits(q.PIID))
}

func wantMRTD(r *Rules) string { return oneOf(r.AllowedMRTD, tdx.Digest.String) }

func judgeMRTD(r *Rules, td *tdx.Body, words []byte) ([]byte, outcome) {
	return appendHex(words, td.MRTD[:]), passIf(len(r.AllowedMRTD) == 0 || slices.Contains(r.AllowedMRTD, td.MRTD))
}

func wantRTMR(r *Rules) string {
	if len(r.AllowedRTMR) == 0 {
		return anything
	}
	return "one of " + strconv.Itoa(len(r.AllowedRTMR)) + " listed"
}

func judgeRTMR(r *Rules, td *tdx.Body, words []byte) ([]byte, outcome) {
	for i := range td.RTMR {
		if i > 0 {
			words = append(words, ' ')
		}
		words = appendHex(words, td.RTMR[i][:])
	}
	return words, passIf(len(r.AllowedRTMR) == 0 || slices.Contains(r.AllowedRTMR, td.RTMR))
}

func wantImage(r *Rules) string {
	switch r.ImageSource {
	case FromChain:
		return "an image of the root contract"
	case Deferred:
		return "any, the service decides"
	default:
		return oneOf(r.AllowedImages, tdx.Hash.String)
	}
}

// judgeImage compares with the list of the policy's source. Whether there is a list is the next rule.
func judgeImage(s *subject, words []byte) ([]byte, outcome) {
	if s.td == nil {
		return append(words, unverified...), skip
	}
	words = appendHex(words, s.image[:])
	if s.image == s.noImage || s.image.IsZero() {
		return append(words, " (nothing measured)"...), fail
	}
	switch {
	case s.rules.ImageSource == Deferred:
		return words, pass
	case s.listless() != "":
		return words, skip
	case s.rules.ImageSource == FromChain:
		return words, passIf(slices.Contains(s.listed, s.image))
	case len(s.rules.AllowedImages) == 0:
		return words, pass // MRTD or RTMR decide
	}
	return words, passIf(slices.Contains(s.rules.AllowedImages, s.image))
}

func wantEnclave(r *Rules) string {
	if r.ImageSource == Deferred {
		return "any, the service decides"
	}
	return oneOf(r.AllowedEnclaves, hexOf[[32]byte])
}

func judgeEnclave(s *subject, words []byte) ([]byte, outcome) {
	if s.enclave == nil {
		return append(words, unverified...), skip
	}
	words = appendHex(words, s.enclave.MREnclave[:])
	switch {
	case s.rules.ImageSource == Deferred:
		return words, pass
	case s.listless() != "":
		return words, skip
	}
	return words, passIf(slices.Contains(s.rules.AllowedEnclaves, s.enclave.MREnclave))
}

func wantList(r *Rules) string {
	switch r.ImageSource {
	case FromChain:
		return "a list from the root contract"
	case Deferred:
		return "the service behind the connection to decide"
	default:
		return "an allow-list with an entry"
	}
}

func judgeList(s *subject, words []byte) ([]byte, outcome) {
	if why := s.listless(); why != "" {
		words = append(words, why...)
		if s.listedErr != nil {
			words = appendReason(append(words, ": "...), s.listedErr)
		}
		return words, fail
	}
	switch s.rules.ImageSource {
	case Deferred:
		return append(words, "deferred, as configured"...), pass
	case FromChain:
		words = strconv.AppendInt(words, int64(len(s.listed)), 10)
		return appendDate(append(words, " images at "...), s.listedAt), pass
	default:
		return strconv.AppendInt(append(words, "entries: "...), int64(s.rules.entries()), 10), pass
	}
}

// listless says why there is no list to compare an image with; "" when there is one.
func (s *subject) listless() string {
	source := s.rules.ImageSource
	switch {
	case source == FromChain && s.env.Images == nil:
		return "no access to the chain"
	case source == FromChain && s.listedErr != nil:
		return "an unavailable list"
	case source == FromChain && len(s.listed) == 0:
		return "an empty list"
	case source == FromList && s.rules.entries() == 0:
		return "an empty allow-list, which admits nobody"
	}
	return ""
}

// entries counts what a policy's own lists admit.
func (r *Rules) entries() int {
	return len(r.AllowedImages) + len(r.AllowedMRTD) + len(r.AllowedRTMR) + len(r.AllowedEnclaves)
}
