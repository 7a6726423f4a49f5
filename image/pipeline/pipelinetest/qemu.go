package pipelinetest

import (
	"strings"
	"testing"

	"cocoon/image/deb/debtest"
	"cocoon/image/qemu/qemutest"
)

// QEMUVersion is that of the fake QEMU, and QEMUGroup its group.
const (
	QEMUVersion = "9.8.7"
	QEMUGroup   = "qemu"
)

// AddQEMU gives the checkout an optional group with a QEMU.
func (c *Checkout) AddQEMU(tb testing.TB) {
	tb.Helper()
	p := qemutest.Package("1:" + QEMUVersion + "+ds-1")
	c.Packages[QEMUGroup] = []debtest.Package{p}
	c.Write(tb, "mkosi/mkosi.profiles/"+QEMUGroup+"/mkosi.conf", profile(p.Name))
	group := strings.ReplaceAll("[groups.G]\nprofile = \"G\"\nsuites = [\"trixie\"]\noptional = true\n\n", "G", QEMUGroup)
	c.Edit(tb, "mkosi/image.toml", "[kernel]\n", group+"[kernel]\n")
	c.Relock(tb)
}
