package main

import (
	"encoding/binary"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/cmd/internal/cli"
	"cocoon/image/manifest"
	"cocoon/measure/launch"
	"cocoon/measure/tdx"
)

// ccel encodes predicted events as the log a TD keeps: the "Spec ID Event03" record, then one record an event.
func ccel(events []launch.Event) []byte {
	le := binary.LittleEndian
	spec := []byte("Spec ID Event03\x00\x00\x00\x00\x00\x00\x02\x00\x02\x01\x00\x00\x00\x0c\x00\x30\x00\x00")
	log := le.AppendUint32(nil, 1)
	log = le.AppendUint32(log, 3)
	log = append(log, make([]byte, 20)...)
	log = le.AppendUint32(log, uint32(len(spec)))
	log = append(log, spec...)
	for _, e := range events {
		log = le.AppendUint32(log, uint32(e.Register))
		log = le.AppendUint32(log, uint32(e.Type))
		log = le.AppendUint32(log, 1)
		log = le.AppendUint16(log, 0x0c)
		log = append(log, e.Digest[:]...)
		log = le.AppendUint32(log, 0)
	}
	return append(log, 0xff, 0xff, 0xff, 0xff)
}

// evidence is what a TD started from an image would present, written to files.
type evidence struct {
	image, spec, log, quote string
	platform                *platform
	doc                     predictDoc
}

func newEvidence(t *testing.T) *evidence {
	t.Helper()
	needQEMU(t)
	e := &evidence{image: buildImage(t, imageParts{}), spec: specDir(t, "{}"), platform: newPlatform(t)}
	measure(t, "predict", e.image, "--spec", e.spec, "-o", "json").want(t, cli.ExitOK).decode(t, &e.doc)
	dir := t.TempDir()
	e.log = filepath.Join(dir, "ccel.bin")
	write(t, e.log, ccel(e.doc.Predictions[0].Events))
	e.quote = e.platform.quote(t, e.measurements())
	return e
}

func (e *evidence) measurements() *tdx.Measurements {
	p := e.doc.Predictions[0]
	return &tdx.Measurements{
		MRTD: p.MRTD, RTMR: [4]tdx.Digest{p.RTMR0, p.RTMR1, p.RTMR2, e.doc.Spec.RTMR3.Final},
	}
}

func TestEvidenceOfThePredictedTDIsAccepted(t *testing.T) {
	t.Parallel()
	e := newEvidence(t)
	measure(t, "check", "--root", e.platform.root, "--quote", e.quote, "--manifest", e.image, "--spec", e.spec, "--ccel", e.log).want(t, cli.ExitOK, "RTMR3", "equal")
	measure(t, "check", "--root", e.platform.root, "--quote", e.quote, "--manifest", e.image).want(t, cli.ExitOK)
	measure(t, "diff", e.image, e.log).want(t, cli.ExitOK, "every event is the predicted one")
	measure(t, "diff", e.log, e.image, "--quote", e.quote).want(t, cli.ExitOK)
	// The log's records have no data, so what can be recomputed contradicts them.
	measure(t, "replay", "--ccel", e.log, "--quote", e.quote).
		want(t, cli.ExitDifference, "RTMR0 matches", "RTMR3 is not in the log", "the log contradicts itself")
	late := e.measurements()
	late.RTMR[2] = late.RTMR[2].Extend(tdx.Digest{1})
	other := e.platform.quote(t, late)
	measure(t, "replay", "--ccel", e.log, "--quote", other).want(t, cli.ExitDifference, "RTMR1 matches", "RTMR2 differs after the last event")
	hash := e.doc.Predictions[0].ImageHash
	measure(t, "quote", e.quote, "--root", e.platform.root).want(t, cli.ExitOK, "image hash", hash.String())
}

func TestChangedInputsAreNamedByTheirEvent(t *testing.T) {
	t.Parallel()
	e := newEvidence(t)
	for name, test := range map[string]struct {
		parts imageParts
		words []string
	}{
		"kernel":       {imageParts{kernel: "!"}, []string{"EFI_BOOT_SERVICES_APPLICATION UKI", "IPL .linux content", "moved by  kernel, uki"}},
		"command line": {imageParts{cmdline: " debug"}, []string{"IPL .cmdline content", "moved by  cmdline, uki"}},
		"initrd":       {imageParts{initrd: "more"}, []string{"IPL .initrd content", "moved by  initrd, uki"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed := buildImage(t, test.parts)
			measure(t, "check", "--root", e.platform.root, "--manifest", changed, "--quote", e.quote, "--ccel", e.log).
				want(t, cli.ExitDifference, append(test.words, "RTMR0  equal", "MRTD   equal")...)
		})
	}
	shape := filepath.Join(t.TempDir(), "shape.json")
	m, err := launch.Shape("test")
	if err != nil {
		t.Fatal(err)
	}
	m.MemoryMiB = 4096
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	write(t, shape, text)
	measure(t, "diff", e.image, e.log, "--shape", shape).want(t, cli.ExitDifference, "event 0", "HANDOFF_TABLES2 TD HOB", "moved by  ram, firmware.sections")
	measure(t, "check", "--root", e.platform.root, "--manifest", e.image, "--quote", e.quote, "--shape", shape, "--shape", "test").want(t, cli.ExitOK, "differs")
}

func TestOneShapeOfManyIsEnough(t *testing.T) {
	t.Parallel()
	e := newEvidence(t)
	var doc checkDoc
	measure(t, "check", "--root", e.platform.root, "--manifest", e.image, "--quote", e.quote, "-o", "json",
		"--shape", "worker-cpu", "--shape", "test", "--allow-qemu-mismatch", "--machine-type", rehearsalMachine).
		want(t, cli.ExitOK).decode(t, &doc)
	if !doc.OK || len(doc.Shapes) != 2 || doc.Shapes[0].OK || !doc.Shapes[1].OK {
		t.Errorf("document %+v", doc)
	}
}

func TestSealTimeQuotesAreToldApart(t *testing.T) {
	t.Parallel()
	e := newEvidence(t)
	early := e.measurements()
	early.RTMR[3] = e.doc.Spec.RTMR3.Seal
	path := e.platform.quote(t, early)
	measure(t, "check", "--root", e.platform.root, "--manifest", e.image, "--quote", path, "--spec", e.spec).
		want(t, cli.ExitDifference, "before the guest was ready")
}

func TestDebugImagesExtendTheirMarker(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	spec := specDir(t, "{}")
	var plain, debug predictDoc
	measure(t, "predict", buildImage(t, imageParts{}), "--spec", spec, "-o", "json").want(t, cli.ExitOK).decode(t, &plain)
	measure(t, "predict", buildImage(t, imageParts{cmdline: " cocoon_debug"}), "--spec", spec, "-o", "json").want(t, cli.ExitOK).decode(t, &debug)
	if !slices.Contains(debug.Spec.Messages, "cocoon:cocoon_debug") || plain.Spec.RTMR3.Final == debug.Spec.RTMR3.Final {
		t.Errorf("messages %q", debug.Spec.Messages)
	}
}

func TestFakeQuotesHaveNoHash(t *testing.T) {
	t.Parallel()
	p := newPlatform(t)
	path := p.quote(t, &tdx.Measurements{})
	measure(t, "quote", path, "--root", p.root).want(t, cli.ExitOK, "fake TDX")
	var doc quoteDoc
	measure(t, "quote", path, "--root", p.root, "-o", "json").decode(t, &doc)
	if doc.ImageHash != nil {
		t.Errorf("hash %s", doc.ImageHash)
	}
}

func TestCompareNamedFindsEveryKindOfDifference(t *testing.T) {
	t.Parallel()
	a := []named{{"same", "1"}, {"changed", "1"}, {"gone", "1"}, {"twice", "1"}, {"twice", "2"}}
	b := []named{{"same", "1"}, {"changed", "2"}, {"new", "1"}, {"twice", "1"}, {"twice", "3"}}
	want := []difference{
		{"deb changed", "1", "2"}, {"deb gone", "1", "absent"}, {"deb twice (2)", "2", "3"}, {"deb new", "absent", "1"},
	}
	if d := cmp.Diff(want, compareNamed("deb", a, b)); d != "" {
		t.Error(d)
	}
	if got := compareNamed("deb", a, a); len(got) != 0 {
		t.Errorf("equal lists differ: %v", got)
	}
}

func TestManifestDiffNamesInputsBeforeOutputs(t *testing.T) {
	t.Parallel()
	a, b := buildImage(t, imageParts{}), buildImage(t, imageParts{initrd: "more"})
	m, err := manifest.Load(b)
	if err != nil {
		t.Fatal(err)
	}
	m.Inputs = append(m.Inputs, manifest.Input{Kind: "deb", Name: "libc6", Version: "2", SHA256: m.LockSHA256})
	m.Toolchain.Go = "go1.26.9"
	text, err := m.Encode()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(b, manifest.FileName), text)
	var doc diffDoc
	measure(t, "diff", a, b, "-o", "json").want(t, cli.ExitDifference).decode(t, &doc)
	var names []string
	for _, d := range doc.Differences {
		names = append(names, d.What)
	}
	want := []string{"go toolchain", "input deb libc6", "artefact image.efi", "artefact initrd.cpio"}
	if d := cmp.Diff(want, names); d != "" {
		t.Error(d)
	}
}
