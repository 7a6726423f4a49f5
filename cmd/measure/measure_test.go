package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cocoon/cmd/internal/cli"
	"cocoon/host/probe"
	"cocoon/image/manifest"
	"cocoon/measure/bootfiles"
	"cocoon/measure/launch"
	"cocoon/measure/launch/petest"
	"cocoon/tests/golden"
)

// result is what a run of the command left behind.
type result struct {
	code           int
	stdout, stderr string
}

// testNow is the clock of the tests: one at which the collateral of a vector is valid.
var testNow = time.Date(2026, 2, 19, 0, 0, 0, 0, time.UTC)

// measure runs the command as main does.
func measure(tb testing.TB, args ...string) result {
	tb.Helper()
	var out, errs bytes.Buffer
	code := run(context.Background(), testEnv(&out, &errs), args)
	return result{code, out.String(), errs.String()}
}

// testEnv is a process at that time.
func testEnv(out, errs io.Writer) *env {
	return &env{
		stdout: out, stderr: errs, getenv: func(string) string { return "" },
		now: func() time.Time { return testNow }, parallel: 2,
	}
}

// want checks the exit code and that the words appear somewhere.
func (r result) want(tb testing.TB, code int, words ...string) result {
	tb.Helper()
	if r.code != code {
		tb.Errorf("exit code %d, want %d\n%s%s", r.code, code, r.stdout, r.stderr)
	}
	for _, w := range words {
		if !strings.Contains(r.stdout+r.stderr, w) {
			tb.Errorf("no %q in\n%s%s", w, r.stdout, r.stderr)
		}
	}
	return r
}

// decode reads the JSON document on stdout.
func (r result) decode(tb testing.TB, v any) {
	tb.Helper()
	if err := json.Unmarshal([]byte(r.stdout), v); err != nil {
		tb.Fatalf("decoding %.200q: %v", r.stdout, err)
	}
}

// imageParts are what tests change of an image.
type imageParts struct {
	kernel, cmdline, initrd string
	variant                 bootfiles.Variant
	layers                  []string // nil is those of worker-cpu
}

// buildImage writes an image's artefacts and manifest into a folder.
func buildImage(tb testing.TB, p imageParts) string {
	tb.Helper()
	dir := tb.TempDir()
	if p.variant == "" {
		p.variant = bootfiles.Test
	}
	kernel := petest.Kernel("kernel" + p.kernel)
	m := &manifest.Manifest{
		Schema: manifest.Schema, Image: bootfiles.Image{Name: "worker-cpu", Profile: "worker", Variant: p.variant, Version: 1},
		Cmdline: "quiet" + p.cmdline, LockSHA256: strings.Repeat("0", 64), RecipeSHA256: strings.Repeat("0", 64),
		Toolchain: manifest.Toolchain{Go: "go1.26.8", GoSum: strings.Repeat("0", 64), InitBuild: "x"}, Profile: "worker-cpu",
		LayerFiles: []manifest.LayerFiles{}, Inputs: []manifest.Input{},
	}
	roles := map[string]bootfiles.Role{
		launch.SerialBase: bootfiles.RoleBase, launch.SerialGPU: bootfiles.RoleGPU,
		launch.SerialEngineCPU: bootfiles.RoleEngine, launch.SerialEngineGPU: bootfiles.RoleEngine,
	}
	if p.layers == nil {
		p.layers = []string{launch.SerialBase, launch.SerialEngineCPU}
	}
	for _, id := range p.layers {
		m.Layers = append(m.Layers, bootfiles.Layer{
			ID: id, DataBlocks: 1, HashStartBlock: 2, RootHash: strings.Repeat("0", 64),
			Mount: bootfiles.LayerMountRoot + "/" + id, Role: roles[id],
		})
	}
	for _, a := range []struct {
		name string
		kind manifest.Kind
		data []byte
	}{
		{"image.efi", manifest.KindUKI, petest.UKI(kernel, "quiet"+p.cmdline, "init"+p.initrd)},
		{"vmlinuz", manifest.KindKernel, kernel},
		{"initrd.cpio", manifest.KindInitrd, []byte("init" + p.initrd)},
		{"cmdline", manifest.KindCmdline, []byte("quiet" + p.cmdline)},
	} {
		sum := sha256.Sum256(a.data)
		m.Artefacts = append(m.Artefacts, manifest.Artefact{Name: a.name, Kind: a.kind, Size: int64(len(a.data)), SHA256: hex.EncodeToString(sum[:])})
		write(tb, filepath.Join(dir, a.name), a.data)
	}
	text, err := m.Encode()
	if err != nil {
		tb.Fatal(err)
	}
	write(tb, filepath.Join(dir, manifest.FileName), text)
	return dir
}

func write(tb testing.TB, name string, data []byte) {
	tb.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// needQEMU skips where predictions cannot be made.
func needQEMU(tb testing.TB) *probe.QEMU {
	tb.Helper()
	q, err := probe.Find(tb.Context(), "")
	if errors.Is(err, probe.ErrNoQEMU) {
		tb.Skipf("no QEMU: %v", err)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return q
}

// vector copies a shared vector into a folder of the test, unpacked, and returns its name.
func vector(tb testing.TB, name string) string {
	tb.Helper()
	out := filepath.Join(tb.TempDir(), strings.TrimSuffix(filepath.Base(name), ".gz"))
	write(tb, out, golden.Vector(tb, name))
	return out
}

func specDir(tb testing.TB, text string) string {
	tb.Helper()
	dir := tb.TempDir()
	write(tb, filepath.Join(dir, "worker-config.json"), []byte(text))
	return dir
}

func TestPredictPrintsEventsRegistersAndHash(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	dir, spec := buildImage(t, imageParts{}), specDir(t, "{}\n")
	measure(t, "predict", dir).want(t, cli.ExitOK, "shape test:", "TD HOB", "etc/acpi/tables", "UKI", "unknown: it follows from the spec")
	measure(t, "predict", dir, "--spec", spec).want(t, cli.ExitOK, "RTMR3 at sealing", "image hash")
	var a, b predictDoc
	measure(t, "predict", "--spec", spec, "-o", "json", filepath.Join(dir, "manifest.json")).want(t, cli.ExitOK).decode(t, &a)
	measure(t, "predict", dir, "-o", "json", "--spec", spec).want(t, cli.ExitOK).decode(t, &b)
	if a.Schema != "cocoon.measure.predict/1" || len(a.Predictions) != 1 || a.Predictions[0].ImageHash == nil {
		t.Errorf("document %+v", a)
	}
	if x, y := a.Predictions[0], b.Predictions[0]; *x.ImageHash != *y.ImageHash || x.RTMR0 != y.RTMR0 {
		t.Error("two runs differ")
	}
	if p := a.Predictions[0]; len(p.ACPI) != 3 || p.ACPI[2].Bytes != 131072 || a.QEMU == "" {
		t.Errorf("QEMU %q, ACPI files %+v", a.QEMU, p.ACPI)
	}
}

func TestSeveralShapesShareOneImage(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	var doc predictDoc
	measure(t, "predict", buildImage(t, imageParts{}), "-o", "json", "--shape", "test", "--shape", "worker-cpu",
		"--allow-qemu-mismatch", "--machine-type", rehearsalMachine).want(t, cli.ExitOK).decode(t, &doc)
	if len(doc.Predictions) != 2 {
		t.Fatalf("%d predictions", len(doc.Predictions))
	}
	a, b := doc.Predictions[0], doc.Predictions[1]
	if a.RTMR1 != b.RTMR1 || a.RTMR2 != b.RTMR2 || a.MRTD != b.MRTD || a.RTMR0 == b.RTMR0 {
		t.Error("the machine must move RTMR0 and nothing else")
	}
}

func TestOtherQEMUsAreRefused(t *testing.T) {
	t.Parallel()
	if q := needQEMU(t); q.Version == launch.HostQEMU {
		t.Skip("this is the QEMU of the published shapes")
	}
	dir := buildImage(t, imageParts{})
	measure(t, "predict", dir, "--shape", "worker-cpu").want(t, cli.ExitPrerequisite, "for hosts with QEMU 11.1.3", "hint: ", "cocoon image qemu --version 11.1.3")
	measure(t, "predict", dir, "--shape", "worker-cpu", "--allow-qemu-mismatch", "--machine-type", "pc-q35-99.9").
		want(t, cli.ExitPrerequisite, "machine type", "--machine-type")
	measure(t, "predict", dir, "--qemu", filepath.Join(t.TempDir(), "none")).want(t, cli.ExitPrerequisite, "--qemu")
}

func TestPredictRefusesWhatDoesNotBelongTogether(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	altered := buildImage(t, imageParts{})
	write(t, filepath.Join(altered, "image.efi"), petest.UKI(petest.Kernel("evil"), "quiet", "init"))
	measure(t, "predict", altered).want(t, cli.ExitDifference, "image.efi has SHA-256", "hint: ")
	small := buildImage(t, imageParts{layers: []string{launch.SerialBase}})
	measure(t, "predict", small).want(t, cli.ExitUsage, "the image has no such layer", "measure shape")
	dir := buildImage(t, imageParts{})
	measure(t, "predict", dir, "--shape", "test-disk").want(t, cli.ExitError, "no artefact of kind disk")
	measure(t, "predict", dir, "--shape", "tset").want(t, cli.ExitUsage, "did you mean test")
	measure(t, "predict", dir, "--machine-type", "q35").want(t, cli.ExitUsage, "machineType")
	measure(t, "predict", filepath.Join(dir, "none")).want(t, cli.ExitUsage, "make image")
	measure(t, "predict", dir, "--spec", filepath.Join(dir, "none")).want(t, cli.ExitUsage, "reading spec")
	write(t, filepath.Join(dir, "fw.fd"), make([]byte, 4096))
	measure(t, "predict", dir, "--firmware", filepath.Join(dir, "fw.fd")).want(t, cli.ExitUsage, "fw.fd")
	measure(t, "predict", dir, "--timeout", "1ns").want(t, cli.ExitTimeout)
}

func TestShapeFilesAreMachines(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	measure(t, "shape").want(t, cli.ExitOK, "worker-gpu-8", "pc-q35-10.0")
	text := measure(t, "shape", "test").want(t, cli.ExitOK).stdout
	file := filepath.Join(t.TempDir(), "mine.json")
	write(t, file, []byte(strings.Replace(text, `"vcpus":2`, `"vcpus":3`, 1)))
	measure(t, "predict", buildImage(t, imageParts{}), "--shape", file).want(t, cli.ExitOK, "3 vCPUs")
	write(t, file, []byte(strings.Replace(text, `"vcpus":2`, `"vcpus":2,"tpm":true`, 1)))
	measure(t, "shape", file).want(t, cli.ExitUsage, "tpm")
}

func TestKernelFormIsPredicted(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	text := measure(t, "shape", "test").stdout
	file := filepath.Join(t.TempDir(), "kernel.json")
	write(t, file, []byte(strings.Replace(text, `"boot":"uki"`, `"boot":"kernel"`, 1)))
	measure(t, "predict", buildImage(t, imageParts{}), "--shape", file).want(t, cli.ExitOK, "boot from kernel", "LOADED_IMAGE::LoadOptions")
}

func TestExplainNamesInputs(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	measure(t, "explain", buildImage(t, imageParts{}), "--spec", specDir(t, "{}")).
		want(t, cli.ExitOK, "TD HOB  <- ram, firmware.sections", "what each input moves", "cocoon:tdx_inited", "pages of the firmware")
	var doc explainDoc
	measure(t, "explain", buildImage(t, imageParts{}), "-o", "json").want(t, cli.ExitOK).decode(t, &doc)
	if len(doc.Shapes) != 1 || len(doc.Shapes[0].Inputs) < 10 {
		t.Errorf("document %+v", doc)
	}
}

func TestCheckGivesAVerdict(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	quote := vector(t, "attestation/cocoon_quote.dat")
	dir := buildImage(t, imageParts{})
	r := measure(t, "check", "--quote", quote, "--manifest", dir, "--spec", specDir(t, "{}")).
		want(t, cli.ExitDifference, "MRTD", "another firmware", "RTMR3", "another spec", "the evidence is not that of image worker-cpu")
	if strings.Contains(r.stdout, "measure: error") {
		t.Error("the error is on stdout")
	}
	measure(t, "check", "--quote", quote).want(t, cli.ExitUsage, "--manifest")
	measure(t, "check", "--quote", filepath.Join(dir, "vmlinuz"), "--manifest", dir).want(t, cli.ExitUsage, "reading quote")
}

func TestReplayComparesLogAndQuote(t *testing.T) {
	t.Parallel()
	log, quote := vector(t, "attestation/ccel_data.dat.gz"), vector(t, "attestation/cos-113-tdx-quote.dat")
	measure(t, "replay", "--ccel", log).want(t, cli.ExitOK, "3fa2f61f395b7f5feefb4ec2df61297f109ad8abcd6410c1b7df60f21f37b192")
	measure(t, "replay", "--ccel", log, "--quote", quote).want(t, cli.ExitOK, "RTMR0 matches", "RTMR1 matches", "RTMR2 matches")
	tpm := vector(t, "measure/tcglog/uki-kernel-q11.1-ovmf2026.08.bin.gz")
	measure(t, "replay", "--ccel", tpm, "--log-kind", "tpm").want(t, cli.ExitOK, "PCR11")
	measure(t, "replay", "--ccel", tpm, "--log-kind", "ibm").want(t, cli.ExitUsage, "neither td nor tpm")
	measure(t, "replay").want(t, cli.ExitUsage, "--ccel")
	measure(t, "replay", "--ccel", quote).want(t, cli.ExitUsage)
}

func TestDiffFindsTheFirstDifference(t *testing.T) {
	t.Parallel()
	a, b := buildImage(t, imageParts{}), buildImage(t, imageParts{cmdline: " debug"})
	measure(t, "diff", a, a).want(t, cli.ExitOK, "equal")
	measure(t, "diff", a, filepath.Join(b, "manifest.json")).
		want(t, cli.ExitDifference, "the two manifests differ: command line", "artefact image.efi")
	one, two := vector(t, "measure/tcglog/uki-kernel-q11.1-ovmf2026.08.bin.gz"), vector(t, "measure/tcglog/uki-kernel-q10.0-ovmf2026.08.bin.gz")
	measure(t, "diff", one, one, "--log-kind", "tpm").want(t, cli.ExitOK, "equal")
	measure(t, "diff", one, two, "--log-kind", "tpm").want(t, cli.ExitDifference, "PCR1, event 0")
	measure(t, "diff", a, filepath.Join(a, "none")).want(t, cli.ExitUsage)
}

func TestDiffOfManifestAndLogNamesTheEvent(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	log := vector(t, "measure/tcglog/uki-kernel-q11.1-ovmf2026.08.bin.gz")
	measure(t, "diff", log, buildImage(t, imageParts{}), "--log-kind", "tpm").
		want(t, cli.ExitDifference, "event 0", "EFI_BOOT_SERVICES_APPLICATION UKI", "one of these inputs is not the predicted one: uki")
}

func TestFirmwareImageQuoteAndSpec(t *testing.T) {
	t.Parallel()
	dir := buildImage(t, imageParts{})
	measure(t, "image", filepath.Join(dir, "image.efi")).want(t, cli.ExitOK, ".sbat", "Authenticode", "RTMR2")
	measure(t, "image", filepath.Join(dir, "vmlinuz")).want(t, cli.ExitUsage, "not a unified kernel image")
	measure(t, "image", filepath.Join(dir, "image.efi"), "--firmware-profile", "x").want(t, cli.ExitUsage, "is none of")
	measure(t, "firmware", filepath.Join(dir, "vmlinuz")).want(t, cli.ExitUsage)
	measure(t, "firmware", dir).want(t, cli.ExitUsage, "is a directory")
	measure(t, "quote", vector(t, "attestation/cocoon_quote.dat")).want(t, cli.ExitOK,
		"04b3afd931d28680af91a15b09d672c40ad6b141f7f9089a8d67d595220f7436", "BLOv2THShoCvkaFbCdZyxArWsUH3+QiajWfVlSIPdDY=", "these fields are a claim")
	spec := specDir(t, `{"a":1}`+"\n")
	production := measure(t, "spec", spec).want(t, cli.ExitOK, "cocoon:tdx_inited").stdout
	debug := measure(t, "spec", spec, "--debug").want(t, cli.ExitOK, "cocoon:cocoon_debug").stdout
	if production == debug {
		t.Error("the debug marker changes nothing")
	}
}

func TestAProfileFileReplacesTheBuiltIn(t *testing.T) {
	t.Parallel()
	needQEMU(t)
	fw, err := launch.NamedFirmware("debian-2025.02")
	if err != nil {
		t.Fatal(err)
	}
	p := *fw.Profile
	p.Name = "mine"
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "mine.json")
	write(t, file, text)
	r := measure(t, "predict", buildImage(t, imageParts{}), "--profile", file).want(t, cli.ExitOK, "mine, SHA-256", "Boot0000 UiApp")
	if strings.Contains(r.stdout, "SMBIOS") {
		t.Error("firmware of 202502 measures SMBIOS")
	}
	write(t, file, []byte("{}"))
	measure(t, "predict", buildImage(t, imageParts{}), "--profile", file).want(t, cli.ExitUsage, "reading firmware profile")
}

func TestSelftestPasses(t *testing.T) {
	t.Parallel()
	measure(t, "selftest").want(t, cli.ExitOK, "event log of real firmware")
}

func TestSelftestFailsOnWrongValues(t *testing.T) {
	t.Parallel()
	var v vectorSet
	if err := json.Unmarshal(selftestVectors, &v); err != nil {
		t.Fatal(err)
	}
	v.Variables[0].SHA384[0] ^= 1
	v.BootApps[0].SHA384[0] ^= 1
	v.SMBIOS.SHA384[0] ^= 1
	v.HOB.SHA384[0] ^= 1
	v.RTMR3.Final[0] ^= 1
	v.ImageHash.MRTD[0] ^= 1
	v.TPMLog.RTMR2[0] ^= 1
	for i, check := range []func() error{v.variables, v.bootApps, v.smbios, v.hob, v.rtmr3, v.imageHash, v.tpmLog} {
		if check() == nil {
			t.Errorf("check %d accepts a wrong value", i)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	measure(t).want(t, cli.ExitUsage, "usage: measure", "no verb given")
	measure(t, "help").want(t, cli.ExitOK, "Exit codes")
	measure(t, "predcit").want(t, cli.ExitUsage, "did you mean predict?")
	measure(t, "frobnicate").want(t, cli.ExitUsage, "measure help")
	measure(t, "predict").want(t, cli.ExitUsage, "takes MANIFEST", "measure predict -h")
	measure(t, "predict", "x", "--shaep", "y").want(t, cli.ExitUsage, "did you mean --shape?")
	measure(t, "predict", "x", "--zzzzzz").want(t, cli.ExitUsage, "unknown flag --zzzzzz")
	measure(t, "predict", "x", "-o", "xml").want(t, cli.ExitUsage, "none of text, json, jsonl")
	measure(t, "predict", "x", "--timeout", "-1s").want(t, cli.ExitUsage, "not positive")
	measure(t, "quote", "--", "-o").want(t, cli.ExitUsage, "open -o")
	measure(t, "publish").want(t, cli.ExitUsage, "nothing to publish")
	for _, v := range verbs() {
		r := measure(t, v.name, "-h").want(t, cli.ExitOK, v.summary, "flags:")
		if n := len(v.examples); n != 2 && v.count[1]+n < 2 {
			t.Errorf("%s has %d examples", v.name, n)
		}
		for _, x := range v.examples {
			if !strings.HasPrefix(x, "measure "+v.name) {
				t.Errorf("example %q is not of %s", x, v.name)
			}
		}
		for line := range strings.Lines(r.stdout) {
			if len(line) > 140 {
				t.Errorf("%s: help line of %d columns", v.name, len(line))
			}
		}
	}
}

func TestErrorsInJSONAreDocumentsOnStdout(t *testing.T) {
	t.Parallel()
	var failure cli.Failure
	r := measure(t, "quote", "none.bin", "-o", "json").want(t, cli.ExitUsage)
	r.decode(t, &failure)
	if failure.Code != cli.ExitUsage || failure.Kind != cli.KindUsage || !strings.Contains(r.stderr, "measure: error: ") {
		t.Errorf("failure %+v, stderr %q", failure, r.stderr)
	}
}

func TestVerbsAreOneFileEach(t *testing.T) {
	t.Parallel()
	for _, v := range verbs() {
		if _, err := os.Stat(v.name + ".go"); err != nil {
			t.Errorf("verb %s: %v", v.name, err)
		}
	}
	names := make(map[string]bool)
	for _, v := range verbs() {
		if names[v.name] {
			t.Errorf("verb %s is listed twice", v.name)
		}
		names[v.name] = true
	}
	if !slices.IsSorted([]int{cli.ExitOK, cli.ExitError, cli.ExitUsage, cli.ExitDifference}) {
		t.Error("exit codes are out of order")
	}
}
