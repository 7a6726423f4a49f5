package dcap

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"cocoon/measure/tdx"
)

// Entries of TEE_TCB_SVN (attestation.md section 10.4): the security version of the TDX module, and its major version.
const (
	svnModule  = 0
	svnVersion = 1
)

// judgement is what the levels say about one part, or about the whole.
type judgement struct {
	level  level
	newest time.Time // date of the newest level of this part
}

// unrecognized is the level of what is below all levels.
func unrecognized() level { return level{status: Unrecognized} }

// platform finds the first level that the PCK's SVNs and, for a TD, its TEE_TCB_SVN reach.
func (t *tcbInfo) platform(e *pckExtension, td *tdx.Body) judgement {
	for i := range t.levels {
		if t.levels[i].reached(e, td) {
			return judgement{t.levels[i].level, t.newest}
		}
	}
	return judgement{unrecognized(), t.newest}
}

func (l *platformLevel) reached(e *pckExtension, td *tdx.Body) bool {
	if !atLeast(e.components[:], l.sgx[:]) || e.pceSVN < l.pceSVN {
		return false
	}
	if td == nil {
		return true
	}
	// A module of a later version is judged by its own levels; its SVNs are not comparable with these.
	from := 0
	if td.TEETCBSVN[svnVersion] > 0 {
		from = 2
	}
	return atLeast(td.TEETCBSVN[from:], l.tdx[from:])
}

// atLeast compares SVNs one by one.
func atLeast(have, want []byte) bool {
	for i := range want {
		if have[i] < want[i] {
			return false
		}
	}
	return true
}

// firstReached is the first level of at most svn.
func firstReached(levels []svnLevel, svn uint16) level {
	for i := range levels {
		if svn >= levels[i].svn {
			return levels[i].level
		}
	}
	return unrecognized()
}

// tdxModule checks who signed the module of a TD and judges its version. A module of major version 0 has no levels of
// its own.
func (t *tcbInfo) tdxModule(td *tdx.Body) (judgement, error) {
	version := td.TEETCBSVN[svnVersion]
	if version == 0 {
		return judgement{}, t.module.check(td)
	}
	id := fmt.Sprintf("TDX_%02x", version)
	at := slices.IndexFunc(t.modules, func(m moduleIdentity) bool { return strings.EqualFold(m.id, id) })
	if at < 0 {
		return judgement{}, fail(ClassTCBStatus, "the TCB info describes no TDX module %s, which the TD runs under", id)
	}
	m := &t.modules[at]
	if err := m.check(td); err != nil {
		return judgement{}, err
	}
	return judgement{firstReached(m.levels, uint16(td.TEETCBSVN[svnModule])), m.newest}, nil
}

func (m *moduleIdentity) check(td *tdx.Body) error {
	switch {
	case td.MRSignerSEAM != m.signer:
		return fail(ClassSEAM, "MRSIGNERSEAM is %s, want %s", td.MRSignerSEAM, m.signer)
	case !masked(td.SEAMAttributes[:], m.mask[:], m.attributes[:]):
		return fail(ClassSEAM, "SEAMATTRIBUTES are %x, want %x under the mask %x", td.SEAMAttributes, m.attributes, m.mask)
	}
	return nil
}

// fill writes what the parts say together into a result.
func (r *Result) fill(platform, module, qe judgement) {
	r.PlatformStatus, r.ModuleStatus, r.QEStatus = platform.level.status, module.level.status, qe.level.status
	r.Combined = combine(r.PlatformStatus, r.ModuleStatus, r.QEStatus)
	r.NewestTCBDate = platform.newest
	graced := false
	for _, j := range []judgement{platform, module, qe} {
		r.Advisories = append(r.Advisories, j.level.advisories...)
		if d := j.level.date; !d.IsZero() && (r.TCBDate.IsZero() || d.Before(r.TCBDate)) {
			r.TCBDate = d
		}
		// Of several parts that lack an update, the one that has lacked it longest counts.
		if j.level.status.OutOfDate() && (!graced || j.newest.Before(r.NewestTCBDate)) {
			r.NewestTCBDate, graced = j.newest, true
		}
	}
	slices.Sort(r.Advisories)
	r.Advisories = slices.Compact(r.Advisories)
}
