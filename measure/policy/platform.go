package policy

import (
	"slices"
	"strconv"
	"time"

	"cocoon/measure/dcap"
)

// day is the unit of tcb.grace_days.
const day = 24 * time.Hour

func wantRoot(r *Rules) string {
	return oneOf(r.CollateralRoots, dcap.RootID.String)
}

func judgeRoot(s *subject, q *dcap.Result, words []byte) ([]byte, outcome) {
	return appendHex(words, q.Root[:]), passIf(slices.Contains(s.rules.CollateralRoots, q.Root))
}

func wantSimulated(r *Rules) string {
	if r.AllowSimulated {
		return "a genuine or simulated platform"
	}
	return "a genuine platform"
}

func judgeSimulated(s *subject, q *dcap.Result, words []byte) ([]byte, outcome) {
	if q.Root == s.intel {
		return append(words, "Intel's root"...), pass
	}
	return append(words, "a simulated platform"...), passIf(s.rules.AllowSimulated)
}

func wantExpiry(*Rules) string { return "collateral that is valid now" }

// judgeExpiry judges again what dcap judged when it opened the collateral: results are cached and sessions live long.
func judgeExpiry(s *subject, q *dcap.Result, words []byte) ([]byte, outcome) {
	now := s.env.Now
	if now.IsZero() {
		return append(words, "no clock to judge by"...), fail
	}
	words = appendDate(append(words, "valid to "...), q.CollateralExpires)
	return words, passIf(!now.After(q.CollateralExpires))
}

func wantEvaluation(r *Rules) string { return "at least " + strconv.Itoa(r.TCB.MinEvaluationNumber) }

func judgeEvaluation(s *subject, q *dcap.Result, words []byte) ([]byte, outcome) {
	return strconv.AppendInt(words, int64(q.EvaluationNumber), 10), passIf(q.EvaluationNumber >= s.rules.TCB.MinEvaluationNumber)
}

func wantStatus(r *Rules) string {
	want := oneOfAll(r.TCB.Accepted, dcap.Status.String)
	if r.TCB.GraceDays > 0 {
		want += ", or OutOfDate until " + strconv.Itoa(r.TCB.GraceDays) + " days after the newest level's date"
	}
	return want
}

func judgeStatus(s *subject, q *dcap.Result, words []byte) ([]byte, outcome) {
	words = appendStatus(words, q.Combined)
	words = appendStatus(append(words, " (platform "...), q.PlatformStatus)
	if s.td != nil {
		words = appendStatus(append(words, ", module "...), q.ModuleStatus)
	}
	words = append(appendStatus(append(words, ", QE "...), q.QEStatus), ')')
	if !q.TCBDate.IsZero() {
		words = appendDate(append(words, ", level of "...), q.TCBDate)
	}
	switch {
	case hopeless(q.Combined):
		return words, fail
	case slices.Contains(s.rules.TCB.Accepted, q.Combined):
		return words, pass
	case q.Combined != dcap.OutOfDate || s.rules.TCB.GraceDays == 0 || q.NewestTCBDate.IsZero():
		return words, fail
	}
	words = appendDate(append(words, ", newest level of "...), q.NewestTCBDate)
	end := q.NewestTCBDate.Add(time.Duration(s.rules.TCB.GraceDays) * day)
	return words, passIf(!s.env.Now.After(end))
}

func appendStatus(words []byte, s dcap.Status) []byte {
	if s == dcap.NoStatus {
		return append(words, "no status"...)
	}
	return append(words, s.String()...)
}

// hopeless reports the statuses that no policy may accept (attestation.md section 10.4), and the absence of one.
func hopeless(s dcap.Status) bool { return s == dcap.NoStatus || s >= dcap.Unrecognized }

func wantAdvisories(r *Rules) string {
	if len(r.TCB.Advisories) == 0 {
		return "UpToDate, or no advisory"
	}
	return "UpToDate, or of advisories only " + join(r.TCB.Advisories, func(id string) string { return id })
}

// judgeAdvisories asks for every advisory of a level that is not UpToDate to be listed.
func judgeAdvisories(s *subject, q *dcap.Result, words []byte) ([]byte, outcome) {
	words = appendStatus(words, q.Combined)
	missing := false
	for i, id := range q.Advisories {
		words = append(words, ", "...)
		if i == 0 {
			words = append(words[:len(words)-len(", ")], " with "...)
		}
		words = append(words, id...)
		if q.Combined != dcap.UpToDate && !slices.Contains(s.rules.TCB.Advisories, id) {
			missing = true
			words = append(words, " (not listed)"...)
		}
	}
	return words, passIf(!missing)
}
