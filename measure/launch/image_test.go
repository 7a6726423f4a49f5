package launch

import (
	"bytes"
	"strings"
	"testing"

	"cocoon/measure/eventlog"
	"cocoon/measure/launch/petest"
	"cocoon/measure/launch/qtest"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

// tcgLogs is vectors/measure/tcglog.json.
type tcgLogs struct {
	Inputs struct {
		InitrdDigest tdx.Digest `json:"initrd_sha384"`
		InitrdSize   int        `json:"initrd_size"`
		UKIDigest    tdx.Digest `json:"uki_authenticode_sha384"`
		UKICmdline   string     `json:"uki_cmdline"`
	} `json:"inputs"`
	Logs []struct {
		File     string `json:"file"`
		Firmware string `json:"firmware"`
		View     struct {
			RTMR1  tdx.Digest  `json:"rtmr1"`
			RTMR2  tdx.Digest  `json:"rtmr2"`
			Events []viewEvent `json:"rtmr1_events"`
			Stub   []viewEvent `json:"rtmr2_events"`
		} `json:"td_view"`
	} `json:"logs"`
}

type viewEvent struct {
	Type   string     `json:"type"`
	SHA384 tdx.Digest `json:"sha384"`
}

func logOf(t *testing.T, logs *tcgLogs, file string) (rtmr1, rtmr2 []viewEvent, values [2]tdx.Digest) {
	t.Helper()
	for _, l := range logs.Logs {
		if strings.Contains(l.File, file) {
			return l.View.Events, l.View.Stub, [2]tdx.Digest{l.View.RTMR1, l.View.RTMR2}
		}
	}
	t.Fatalf("no log %s", file)
	return nil, nil, values
}

func sameEvents(t *testing.T, got []Event, want []viewEvent) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d events, the firmware logged %d", len(got), len(want))
	}
	for i, e := range got {
		if e.Type.String() != want[i].Type || e.Digest != want[i].SHA384 {
			t.Errorf("event %d: %s %s %s, the firmware logged %s %s", i, e.Type, e.Description, e.Digest, want[i].Type, want[i].SHA384)
		}
	}
}

// The vectors name the images by their digests, so the images of these tests are made of digests too: what is under
// test is the sequence, the command line rules and the constants.
func TestSequencesEqualTheLogsOfRealFirmware(t *testing.T) {
	t.Parallel()
	var logs tcgLogs
	golden.JSON(t, "measure/tcglog.json", &logs)
	var boot struct {
		Kernel struct {
			Digest tdx.Digest `json:"authenticode_sha384"`
		} `json:"kernel"`
		GPT struct {
			Hex string `json:"hex"`
		} `json:"gpt_event"`
	}
	golden.JSON(t, "measure/boot.json", &boot)
	initrd := Event{Register: tdx.RTMR2, Type: eventlog.EventTag, Description: "Linux initrd", Digest: logs.Inputs.InitrdDigest}
	kernel := &Image{Form: BootKernel, outer: boot.Kernel.Digest, cmdline: "console=ttyS0 cocoon.test=1", initrd: &initrd}
	clean := &qtest.FwCfg{Skipped: map[string]uint32{"etc/boot/kernel": 1}}
	for name, test := range map[string]struct {
		log, firmware string
		img           *Image
	}{
		"kernel, 2026.08": {"kernel-initrd-q10.0-ovmf2026.08", "debian-generic-2026.08", kernel},
		"kernel, 2025.02": {"kernel-initrd-q10.0-ovmf2025.02", "debian-2025.02", kernel},
		"UKI":             {"uki-kernel-q11.1", "debian-generic-2026.08", &Image{Form: BootUKI, outer: logs.Inputs.UKIDigest, inner: boot.Kernel.Digest}},
		"disk":            {"uki-disk", "debian-generic-2026.08", &Image{Form: BootDisk, outer: logs.Inputs.UKIDigest, inner: boot.Kernel.Digest, partitions: golden.Hex(t, boot.GPT.Hex)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want1, want2, values := logOf(t, &logs, test.log)
			p := testFirmware(t, test.firmware).Profile
			events, err := test.img.rtmr1(p, testMachine(t, "test"), clean)
			if err != nil {
				t.Fatal(err)
			}
			if test.img.Form == BootDisk { // this disk showed the retry in every boot
				events = exitRetry(events).Events
			}
			sameEvents(t, events, want1)
			if got := replay(events); got != values[0] {
				t.Errorf("RTMR1 %s, want %s", got, values[0])
			}
			if test.img.Form != BootKernel {
				return
			}
			stub, err := test.img.rtmr2(p)
			if err != nil {
				t.Fatal(err)
			}
			sameEvents(t, stub, want2)
			if got := replay(stub); got != values[1] {
				t.Errorf("RTMR2 %s, want %s", got, values[1])
			}
		})
	}
}

func TestStubEventsEqualTheLogOfRealFirmware(t *testing.T) {
	t.Parallel()
	var logs tcgLogs
	golden.JSON(t, "measure/tcglog.json", &logs)
	_, want, _ := logOf(t, &logs, "uki-kernel-q10.0")
	cmdline := logs.Inputs.UKICmdline
	img, err := UKIImage(petest.UKI(petest.Kernel("kernel"), cmdline, "init"))
	if err != nil {
		t.Fatal(err)
	}
	logged := make(map[tdx.Digest]bool)
	for _, e := range want {
		logged[e.SHA384] = true
	}
	// Kernel, initrd and .sbat differ from those of the log; names and command line are the same.
	for _, e := range img.events2 {
		known := strings.HasSuffix(e.Description, " name") || strings.Contains(e.Description, "cmdline") || strings.Contains(e.Description, "LoadOptions")
		if logged[e.Digest] != known {
			t.Errorf("%s %s: logged is %v, want %v", e.Type, e.Description, logged[e.Digest], known)
		}
	}
}

func TestMeasuredCommandLines(t *testing.T) {
	t.Parallel()
	var file struct {
		Vectors []struct {
			Append string     `json:"append"`
			EDK2   string     `json:"edk2_stable"`
			Initrd bool       `json:"initrd"`
			SHA384 tdx.Digest `json:"sha384"`
		} `json:"vectors"`
	}
	golden.JSON(t, "measure/cmdline.json", &file)
	if len(file.Vectors) == 0 {
		t.Fatal("no vectors")
	}
	for _, v := range file.Vectors {
		initrd := ""
		if v.Initrd {
			initrd = "initrd"
		}
		img, err := KernelImage(petest.Kernel("kernel"), []byte(initrd), v.Append)
		if err != nil {
			t.Fatal(err)
		}
		profile := &FirmwareProfile{CmdlineInitrd: InitrdPrefix}
		if v.EDK2 == "<=202505" {
			profile.CmdlineInitrd = InitrdSuffix
		}
		events, err := img.rtmr2(profile)
		if err != nil {
			t.Fatal(err)
		}
		if events[0].Digest != v.SHA384 {
			t.Errorf("%q, edk2 %s, initrd %v: %s, want %s", v.Append, v.EDK2, v.Initrd, events[0].Digest, v.SHA384)
		}
	}
}

func TestAKernelWithoutCommandLineAndInitrdMeasuresNothing(t *testing.T) {
	t.Parallel()
	img, err := KernelImage(petest.Kernel("kernel"), nil, "")
	if err != nil {
		t.Fatal(err)
	}
	if events, err := img.rtmr2(&FirmwareProfile{}); err != nil || len(events) != 0 {
		t.Errorf("events %v (%v)", events, err)
	}
}

func TestOldQEMUsPatchTheKernel(t *testing.T) {
	t.Parallel()
	kernel := petest.Kernel(strings.Repeat("kernel", 200))
	copy(kernel[0x202:], "HdrS") // inside the header area of the test file, past its section table
	img, err := KernelImage(kernel, []byte("initrd"), "")
	if err != nil {
		t.Fatal(err)
	}
	p := testFirmware(t, DefaultFirmware).Profile
	m := testMachine(t, "test")
	first := func(in *qtest.FwCfg) tdx.Digest {
		events, err := img.rtmr1(p, m, in)
		if err != nil {
			t.Fatal(err)
		}
		return events[0].Digest
	}
	old, clean := first(&qtest.FwCfg{}), first(&qtest.FwCfg{Files: map[string][]byte{"etc/boot/kernel": {}}})
	if old == clean || clean != img.outer {
		t.Errorf("patched %s, clean %s, file %s", old, clean, img.outer)
	}
}

func TestImagesThatTheStubWouldChangeAreRefused(t *testing.T) {
	t.Parallel()
	kernel := petest.Kernel("kernel")
	uki := func(sections ...petest.Section) []byte {
		return petest.Build(append(sections, petest.Section{Name: ".linux", Data: kernel}), nil)
	}
	cmdline := petest.Section{Name: ".cmdline", Data: []byte("quiet")}
	for name, test := range map[string]struct {
		data []byte
		says string
	}{
		"not PE":            {[]byte("not an image...."), "no MZ"},
		"no kernel":         {petest.Build([]petest.Section{cmdline}, nil), "unified kernel image"},
		"kernel not PE":     {petest.UKI([]byte("plain"), "quiet", "init"), "kernel inside"},
		"no command line":   {uki(), ".cmdline is missing"},
		"newline":           {petest.UKI(kernel, "quiet\n", "init"), "newline"},
		"not ASCII":         {petest.UKI(kernel, "ä", "init"), "ASCII"},
		"os-release":        {uki(cmdline, petest.Section{Name: ".osrel", Data: []byte("ID=x")}), ".osrel"},
		"unaligned initrd":  {petest.UKI(kernel, "quiet", "initr"), "multiple of 4"},
		"size not of eight": {append(petest.UKI(kernel, "quiet", "init"), 0), "multiple of 8"},
	} {
		if _, err := UKIImage(test.data); err == nil || !strings.Contains(err.Error(), test.says) {
			t.Errorf("%s: error %v, want one that says %q", name, err, test.says)
		}
	}
	if _, err := KernelImage([]byte("x"), nil, ""); err == nil {
		t.Error("a kernel that is no PE file is accepted")
	}
	if _, err := KernelImage(kernel, nil, "ä"); err == nil {
		t.Error("a command line beyond ASCII is accepted")
	}
	if _, err := DiskImage(petest.UKI(kernel, "quiet", "init"), bytes.NewReader(nil)); err == nil {
		t.Error("a disk without a partition table is accepted")
	}
}
