package dcap

import (
	"fmt"
	"strings"
	"time"

	"cocoon/measure/tdx"
)

// Bounds and constants of TCB info, version 3 (Intel PCS API, "Get TCB Info").
const (
	maxLevels      = 256
	maxModules     = 256
	components     = 16
	tcbInfoVersion = 3
	tcbType        = 0 // the only way of comparing SVNs that is defined
)

// tcbInfo is the decoded TCB info of one kind of platform.
type tcbInfo struct {
	window
	tee        tdx.TEEType
	fmspc      FMSPC
	pceID      [2]byte
	evaluation int
	module     moduleIdentity   // of modules with major version 0
	modules    []moduleIdentity // of later ones, by version
	levels     []platformLevel
	newest     time.Time
}

// level is what all TCB levels have: what follows when it is matched.
type level struct {
	status     Status
	date       time.Time
	advisories []string
}

// platformLevel is matched by a platform whose every SVN is at least as high.
type platformLevel struct {
	level
	sgx, tdx [components]byte
	pceSVN   uint16
}

// svnLevel is matched by an ISVSVN that is at least as high.
type svnLevel struct {
	level
	svn uint16
}

// moduleIdentity describes a TDX module.
type moduleIdentity struct {
	id               string
	signer           tdx.Digest
	attributes, mask [8]byte
	levels           []svnLevel
	newest           time.Time
}

// parseTCBInfo decodes signed TCB info from exactly its signed text.
func parseTCBInfo(text string) (*tcbInfo, error) {
	v, err := walk(text)
	if err != nil {
		return nil, fmt.Errorf("reading TCB info: %w", err)
	}
	f := fieldsOf("tcbInfo", &v, "id", "version", "issueDate", "nextUpdate", "fmspc", "pceId", "tcbType",
		"tcbEvaluationDataNumber", "tdxModule", "tdxModuleIdentities", "tcbLevels")
	t := &tcbInfo{
		tee:        f.tee(),
		window:     window{"TCB info", f.time("issueDate"), f.time("nextUpdate")},
		evaluation: f.uint31("tcbEvaluationDataNumber"),
	}
	f.exactly("version", tcbInfoVersion)
	f.exactly("tcbType", tcbType)
	f.bytes("fmspc", t.fmspc[:])
	f.bytes("pceId", t.pceID[:])
	t.readModules(f)
	levels := f.list("tcbLevels", maxLevels)
	t.levels = make([]platformLevel, len(levels))
	for i := range levels {
		t.levels[i] = f.platformLevel(fmt.Sprintf("tcbLevels[%d]", i), &levels[i], t.tee)
		t.newest = latest(t.newest, t.levels[i].date)
	}
	if f.err != nil {
		return nil, fmt.Errorf("reading TCB info: %w", f.err)
	}
	return t, nil
}

// tee reads the id, which says which quotes the object is about.
func (f *fields) tee() tdx.TEEType {
	switch id := f.text("id"); id {
	case "TDX":
		return tdx.TDX
	case "SGX":
		return tdx.SGX
	default:
		f.fail("id", fmt.Errorf("%.40q, want TDX or SGX", id))
		return tdx.SGX
	}
}

// exactly reads a number that must have one value.
func (f *fields) exactly(name string, want uint64) {
	if got := f.number(name, 32); got != want {
		f.fail(name, fmt.Errorf("%d, want %d", got, want))
	}
}

func (t *tcbInfo) readModules(f *fields) {
	if t.tee != tdx.TDX || f.err != nil {
		return
	}
	t.module = f.moduleIdentity("tdxModule", f.need("tdxModule", isObject), false)
	if f.find("tdxModuleIdentities") == nil {
		return
	}
	modules := f.list("tdxModuleIdentities", maxModules)
	t.modules = make([]moduleIdentity, len(modules))
	for i := range modules {
		m := f.moduleIdentity(fmt.Sprintf("tdxModuleIdentities[%d]", i), &modules[i], true)
		for _, other := range t.modules[:i] {
			if strings.EqualFold(other.id, m.id) {
				f.fail("tdxModuleIdentities", fmt.Errorf("%q appears twice", m.id))
			}
		}
		t.modules[i] = m
	}
}

// moduleIdentity reads a module's description; versioned ones have an id and levels.
func (f *fields) moduleIdentity(path string, v *value, versioned bool) moduleIdentity {
	in := fieldsOf(f.path+"."+path, v, "id", "mrsigner", "attributes", "attributesMask", "tcbLevels")
	var m moduleIdentity
	in.bytes("mrsigner", m.signer[:])
	in.bytes("attributes", m.attributes[:])
	in.bytes("attributesMask", m.mask[:])
	if versioned {
		m.id = in.text("id")
		m.levels, m.newest = in.svnLevels()
	}
	f.take(in)
	return m
}

// svnLevels reads the levels of a module or a quoting enclave.
func (f *fields) svnLevels() (levels []svnLevel, newest time.Time) {
	list := f.list("tcbLevels", maxLevels)
	levels = make([]svnLevel, len(list))
	for i := range list {
		in := levelOf(fmt.Sprintf("%s.tcbLevels[%d]", f.path, i), &list[i])
		tcb := fieldsOf(in.path+".tcb", in.need("tcb", isObject), "isvsvn")
		levels[i] = svnLevel{level: in.level(), svn: tcb.uint16("isvsvn")}
		newest = latest(newest, levels[i].date)
		in.take(tcb)
		f.take(in)
	}
	return levels, newest
}

func (f *fields) platformLevel(path string, v *value, tee tdx.TEEType) platformLevel {
	in := levelOf(f.path+"."+path, v)
	tcb := fieldsOf(in.path+".tcb", in.need("tcb", isObject), "sgxtcbcomponents", "pcesvn", "tdxtcbcomponents")
	l := platformLevel{level: in.level(), pceSVN: tcb.uint16("pcesvn")}
	tcb.components("sgxtcbcomponents", &l.sgx)
	if tee == tdx.TDX {
		tcb.components("tdxtcbcomponents", &l.tdx)
	}
	in.take(tcb)
	f.take(in)
	return l
}

func levelOf(path string, v *value) *fields {
	return fieldsOf(path, v, "tcb", "tcbDate", "tcbStatus", "advisoryIDs")
}

func (f *fields) level() level {
	return level{f.status("tcbStatus"), f.time("tcbDate"), f.advisories("advisoryIDs")}
}

// components reads an array of exactly 16 SVNs.
func (f *fields) components(name string, dst *[components]byte) {
	items := f.list(name, components)
	if len(items) != components {
		f.fail(name, fmt.Errorf("%d components, want %d", len(items), components))
		return
	}
	for i := range items {
		in := fieldsOf(f.path+"."+name, &items[i], "svn")
		dst[i] = in.byte("svn")
		f.take(in)
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
