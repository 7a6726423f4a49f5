package launch

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/eventlog"
	"cocoon/measure/launch/acpi"
	"cocoon/measure/launch/qtest"
	"cocoon/measure/tdx"
)

// subject is a complete set of inputs that tests change one at a time.
type subject struct {
	tb      testing.TB
	fw      *Firmware
	img     *Image
	machine *Machine
	offered *qtest.FwCfg
}

func newSubject(tb testing.TB) *subject {
	tb.Helper()
	return &subject{
		tb: tb, fw: testFirmware(tb, DefaultFirmware), img: testImage(tb, "kernel", "quiet", "init"),
		machine: testMachine(tb, "test"), offered: testOffer(tb),
	}
}

// boot replaces the image.
func (s *subject) boot(kernel, cmdline, initrd string) {
	s.tb.Helper()
	s.img = testImage(s.tb, kernel, cmdline, initrd)
}

func (s *subject) predict(tb testing.TB) *Prediction {
	tb.Helper()
	p, err := Predict(s.fw, s.img, s.machine, s.offered)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

func TestEachInputMovesExactlyItsEvents(t *testing.T) {
	t.Parallel()
	base := newSubject(t).predict(t)
	for name, test := range map[string]struct {
		change func(s *subject)
		moves  []string
	}{
		"nothing": {func(*subject) {}, nil},
		"ram":     {func(s *subject) { s.machine.MemoryMiB = 4096 }, []string{"RTMR0 TD HOB"}},
		"initrd": {
			func(s *subject) { s.boot("kernel", "quiet", "inix") },
			[]string{"RTMR1 UKI", "RTMR2 .initrd content", "RTMR2 Linux initrd"},
		},
		"command line": {
			func(s *subject) { s.boot("kernel", "loud.", "init") },
			[]string{"RTMR1 UKI", "RTMR2 .cmdline content", "RTMR2 LOADED_IMAGE::LoadOptions"},
		},
		"kernel": {
			func(s *subject) { s.boot("kermit", "quiet", "init") },
			[]string{"RTMR1 UKI", "RTMR1 kernel inside the UKI", "RTMR2 .linux content"},
		},
		"variable store": {func(s *subject) {
			p := *s.fw.Profile
			p.CFV[0] ^= 1
			s.fw = &Firmware{Profile: &p, sections: s.fw.sections}
		}, []string{"RTMR0 CFV"}},
		"boot menu":  {func(s *subject) { s.offered.BootMenu = []byte{1, 0} }, []string{"RTMR0 BootMenu"}},
		"boot order": {func(s *subject) { s.offered.Files["bootorder"] = []byte("/x\x00") }, []string{"RTMR0 bootorder"}},
		"smbios": {func(s *subject) {
			table := bytes.Clone(s.offered.Files[smbiosFile])
			s.offered.Files[smbiosFile] = bytes.Replace(table, []byte("Standard PC"), []byte("Standard TD"), 1)
		}, []string{"RTMR0 SMBIOS"}},
		"tables": {func(s *subject) {
			tables := bytes.Clone(s.offered.Files[acpi.FileTables])
			tables[200] ^= 1 // inside the DSDT; loader and root pointer do not depend on content
			s.offered.Files[acpi.FileTables] = tables
		}, []string{"RTMR0 etc/acpi/tables"}},
		"firmware date": {func(s *subject) {
			p := *s.fw.Profile
			p.SMBIOSType0.Date = "01/01/2027"
			s.fw = &Firmware{Profile: &p, sections: s.fw.sections}
		}, []string{"RTMR0 SMBIOS"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSubject(t)
			test.change(s)
			p := s.predict(t)
			if len(p.Events) != len(base.Events) {
				t.Fatalf("%d events instead of %d", len(p.Events), len(base.Events))
			}
			var moved []string
			for i, e := range p.Events {
				if e.Digest != base.Events[i].Digest {
					moved = append(moved, e.Register.String()+" "+e.Description)
				}
			}
			if d := cmp.Diff(test.moves, moved); d != "" {
				t.Error(d)
			}
			if p.MRTD != base.MRTD {
				t.Error("MRTD moved")
			}
		})
	}
}

func TestOptionalItemsAreEventsOnlyWhenOffered(t *testing.T) {
	t.Parallel()
	s := newSubject(t)
	for _, name := range []string{"etc/extra-pci-roots", "etc/boot-menu-wait", "etc/reserved-memory-end", "opt/ovmf/X-PciMmio64Mb"} {
		s.offered.Files[name] = []byte{1}
	}
	delete(s.offered.Files, "bootorder")
	var names []string
	for _, e := range s.predict(t).Of(tdx.RTMR0)[2:7] {
		names = append(names, e.Description)
	}
	want := []string{"etc/extra-pci-roots", "BootMenu", "etc/boot-menu-wait", "etc/reserved-memory-end", "opt/ovmf/X-PciMmio64Mb"}
	if d := cmp.Diff(want, names); d != "" {
		t.Error(d)
	}
}

func TestExtraBlobsAreMeasuredInLoaderOrder(t *testing.T) {
	t.Parallel()
	s := newSubject(t)
	script := acpi.EncodeLoader([]acpi.Command{
		{Op: acpi.OpAllocate, File: acpi.FileRSDP}, {Op: acpi.OpAllocate, File: "etc/tpm/log"}, {Op: acpi.OpAllocate, File: acpi.FileTables},
	})
	s.offered.Files[acpi.FileLoader] = script
	if _, err := Predict(s.fw, s.img, s.machine, s.offered); err == nil || !strings.Contains(err.Error(), "etc/tpm/log") {
		t.Errorf("a blob that is not offered: %v", err)
	}
	s.offered.Files["etc/tpm/log"] = make([]byte, 65536)
	var names []string
	for _, e := range s.predict(t).Of(tdx.RTMR0) {
		if strings.HasPrefix(e.Description, "etc/") {
			names = append(names, e.Description)
		}
	}
	if d := cmp.Diff([]string{acpi.FileLoader, acpi.FileRSDP, "etc/tpm/log", acpi.FileTables}, names); d != "" {
		t.Error(d)
	}
}

func TestPredictRefusesWhatDoesNotBelongTogether(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(s *subject)
		says   string
	}{
		"other firmware":  {func(s *subject) { s.fw = testFirmware(s.tb, "debian-2025.02") }, "made for firmware"},
		"other boot form": {func(s *subject) { s.machine = testMachine(s.tb, "test-disk") }, "boots from disk"},
		"no probe":        {func(s *subject) { s.offered = nil }, "nothing was read"},
		"no loader":       {func(s *subject) { delete(s.offered.Files, acpi.FileLoader) }, "offers no"},
		"bad loader":      {func(s *subject) { s.offered.Files[acpi.FileLoader] = []byte{1} }, "loader script"},
		"bad smbios":      {func(s *subject) { s.offered.Files[smbiosFile] = []byte{1} }, "SMBIOS"},
		"bad machine":     {func(s *subject) { s.machine.VCPUs = 0 }, "vcpus"},
		"foreign pointer": {func(s *subject) { s.offered.Files[acpi.FileRSDP] = make([]byte, 20) }, "does not follow"},
	} {
		s := newSubject(t)
		test.change(s)
		if _, err := Predict(s.fw, s.img, s.machine, s.offered); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: error %v, want one that says %q", name, err, test.says)
		}
	}
}

func TestDiskBootMeasuresDisksAndAllowsTheRetry(t *testing.T) {
	t.Parallel()
	s := newSubject(t)
	s.machine = testMachine(t, "test-disk")
	s.img.Form, s.img.partitions = BootDisk, []byte("table")
	p := s.predict(t)
	var names []string
	for _, e := range p.Of(tdx.RTMR0) {
		if e.Type == eventlog.VariableBoot {
			names = append(names, e.Description)
		}
	}
	want := []string{"BootOrder", "Boot0000 BootManagerMenuApp", "Boot0001 disk disk0", "Boot0002 disk config0", "Boot0003 disk model0", "Boot0004 disk data0"}
	if d := cmp.Diff(want, names); d != "" {
		t.Error(d)
	}
	if len(p.Variants) != 1 || p.Variants[0].Value == p.Registers().RTMR1 {
		t.Errorf("variants %+v", p.Variants)
	}
	if len(newSubject(t).predict(t).Variants) != 0 {
		t.Error("a UKI given with -kernel has a variant")
	}
}

func TestOldFirmwareHasItsSeparatorInRTMR0(t *testing.T) {
	t.Parallel()
	s := newSubject(t)
	p := *s.fw.Profile
	p.SeparatorInRTMR1 = false
	s.fw = &Firmware{Profile: &p, sections: s.fw.sections}
	got := s.predict(t)
	zero := got.Of(tdx.RTMR0)
	if last := zero[len(zero)-1]; last.Type != eventlog.Separator {
		t.Errorf("the last event of RTMR0 is %s", last.Type)
	}
	if slices.ContainsFunc(got.Of(tdx.RTMR1), func(e Event) bool { return e.Type == eventlog.Separator }) {
		t.Error("RTMR1 has a separator")
	}
}

func TestImageHashCoversEveryRegister(t *testing.T) {
	t.Parallel()
	p := newSubject(t).predict(t)
	seen := make(map[tdx.Hash]bool)
	for name, change := range map[string]func(p *Prediction) (rtmr3 tdx.Digest){
		"nothing": func(*Prediction) tdx.Digest { return tdx.Digest{1} },
		"rtmr3":   func(*Prediction) tdx.Digest { return tdx.Digest{2} },
		"mrtd":    func(p *Prediction) tdx.Digest { p.MRTD[0] ^= 1; return tdx.Digest{1} },
		"rtmr0":   func(p *Prediction) tdx.Digest { p.Events[0].Digest[0] ^= 1; return tdx.Digest{1} },
		"rtmr2":   func(p *Prediction) tdx.Digest { p.Events[len(p.Events)-1].Digest[0] ^= 1; return tdx.Digest{1} },
	} {
		q := &Prediction{MRTD: p.MRTD, Events: slices.Clone(p.Events)}
		hash, err := q.ImageHash(change(q))
		if err != nil || seen[hash] {
			t.Errorf("%s: hash %s is not new (%v)", name, hash, err)
		}
		seen[hash] = true
	}
	if _, err := (&Prediction{}).ImageHash(tdx.Digest{}); !errors.Is(err, tdx.ErrFakeImage) {
		t.Errorf("an empty prediction has a hash: %v", err)
	}
}

func TestExplainCoversEveryEventAndInput(t *testing.T) {
	t.Parallel()
	p := newSubject(t).predict(t)
	x := p.Explain()
	count := 0
	for _, r := range x.Registers {
		count += len(r.Events)
	}
	if count != len(p.Events) || len(x.Registers) != 4 {
		t.Errorf("%d events in %d registers, want %d in 4", count, len(x.Registers), len(p.Events))
	}
	if r := p.Registers(); x.Registers[1].Value != r.RTMR0 || x.Registers[2].Value != r.RTMR1 || x.Registers[3].Value != r.RTMR2 {
		t.Error("the trees have other values than the registers")
	}
	moves := make(map[Input][]string)
	for _, in := range x.Inputs {
		for _, e := range in.Events {
			moves[in.Input] = append(moves[in.Input], e.Register.String()+" "+e.Description)
		}
	}
	want := []string{"RTMR0 TD HOB", "RTMR0 etc/table-loader", "RTMR0 etc/acpi/rsdp", "RTMR0 etc/acpi/tables", "RTMR0 SMBIOS"}
	if d := cmp.Diff(want, moves[InputRAM]); d != "" {
		t.Error(d)
	}
	known := Inputs()
	for _, e := range p.Events {
		for _, in := range e.Inputs {
			if !slices.Contains(known, in) {
				t.Errorf("%s names the unlisted input %s", e.Description, in)
			}
		}
	}
}
