package boot

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/disk"
	"cocoon/image/uki"
	"cocoon/measure/bootfiles"
	"cocoon/measure/eventlog"
	"cocoon/measure/launch"
	"cocoon/measure/tdx"
)

// Where the kernel shows the firmware's log and the TPM's registers.
const (
	logFile = "/sys/kernel/security/tpm0/binary_bios_measurements"
	pcrDir  = "/sys/class/tpm/tpm0/pcr-sha384"
	// imaPCR is the kernel's own: its integrity subsystem extends one aggregate after the firmware's log ends. It has
	// no counterpart in a TD, where that subsystem knows no register.
	imaPCR = 10
)

// rehearsal is one boot whose measurements are predicted: the parts of an image, a machine and the QEMU that runs it.
type rehearsal struct {
	in       *pinned
	qemu     emulator
	firmware []byte
	shape    *launch.Machine

	stub, kernel, initrd []byte
	cmdline              string
	// layer is the content of the disk form's second partition.
	layer []byte
}

// newRehearsal makes the rehearsal of a boot form with our stub and kernel and an initrd that holds dumpinit.
func newRehearsal(t *testing.T, in *pinned, q emulator, firmware []byte, form launch.BootForm) rehearsal {
	t.Helper()
	archive, err := dumpInitrd()
	if err != nil {
		t.Fatal(err)
	}
	name := "test-proxy"
	if form == launch.BootDisk {
		name += "-disk"
	}
	shape, err := launch.Shape(name)
	if err != nil {
		t.Fatal(err)
	}
	fw, err := launch.LoadFirmware(firmware)
	if err != nil {
		t.Fatal(err)
	}
	shape.Boot, shape.Firmware, shape.VCPUs = form, fw.Profile.Name, rehearsalVCPUs
	if fw.Profile.HasTPM && form == launch.BootDisk {
		// These builds have a network stack, which makes boot options with the network device's address. Ours has none:
		// TestTDXFirmwareShowsWhatIsPredicted keeps the device.
		shape.Devices = slices.DeleteFunc(shape.Devices, func(d launch.Device) bool { return d.Kind == launch.Net })
	}
	return rehearsal{
		in: in, qemu: q, firmware: firmware, shape: shape,
		stub: in.stub, kernel: in.vmlinuz, initrd: archive, cmdline: bootfiles.Cmdline(bootfiles.Test),
		layer: bytes.Repeat([]byte("layer"), 1000),
	}
}

// files writes what QEMU gets and returns their names; the image is what measure reads.
func (r rehearsal) files(t *testing.T, dir string) (launch.HostPaths, *launch.Image) {
	t.Helper()
	zero := write(t, dir, "zero.img", make([]byte, 1<<20))
	h := launch.HostPaths{
		Firmware: write(t, dir, "firmware.fd", r.firmware), CID: 3,
		Disks: map[string]string{launch.SerialBase: zero, launch.SerialConfig: zero},
	}
	if r.shape.Boot == launch.BootKernel {
		img, err := launch.KernelImage(r.kernel, r.initrd, r.cmdline)
		if err != nil {
			t.Fatal(err)
		}
		h.Kernel, h.Initrd, h.Cmdline = write(t, dir, "vmlinuz", r.kernel), write(t, dir, "initrd", r.initrd), r.cmdline
		return h, img
	}
	image, err := uki.Build(r.stub, uki.Sections{Cmdline: []byte(r.cmdline), Initrd: r.initrd, Linux: r.kernel})
	if err != nil {
		t.Fatal(err)
	}
	h.UKI = write(t, dir, "image.efi", image)
	if r.shape.Boot == launch.BootUKI {
		img, err := launch.UKIImage(image)
		if err != nil {
			t.Fatal(err)
		}
		return h, img
	}
	return h, r.disk(t, dir, image, &h)
}

// disk writes the disk form.
func (r rehearsal) disk(t *testing.T, dir string, image []byte, h *launch.HostPaths) *launch.Image {
	t.Helper()
	name := path.Join(dir, "disk.img")
	if _, err := disk.Write(t.Context(), name, disk.Spec{
		UKI: h.UKI, Epoch: r.in.Lock.Epoch,
		Partitions: []disk.Partition{{ID: launch.SerialBase, Path: write(t, dir, "layer.img", r.layer)}},
	}); err != nil {
		t.Fatal(err)
	}
	h.Disks[launch.SerialDisk] = name
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read side
	img, err := launch.DiskImage(image, f)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// predict asks the same QEMU, with the same devices, what the machine offers, and predicts.
func (r rehearsal) predict(t *testing.T, img *launch.Image, withTPM bool) *launch.Prediction {
	t.Helper()
	fw, err := launch.LoadFirmware(r.firmware)
	if err != nil {
		t.Fatal(err)
	}
	q := *r.qemu.QEMU
	if withTPM {
		tpm, err := StartTPM(t.Context(), scratch(t))
		if err != nil {
			t.Fatal(err)
		}
		defer tpm.Stop() //nolint:errcheck // ends with its QEMU
		q.Extra = tpm.Args()
	}
	offered, err := q.Read(t.Context(), r.shape)
	if err != nil {
		t.Fatal(err)
	}
	p, err := launch.Predict(fw, img, r.shape, offered)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// boot starts the machine with a TPM and returns what dumpinit saw.
func (r rehearsal) boot(t *testing.T, dir string, h launch.HostPaths) *Dump {
	t.Helper()
	dump, err := Machine{QEMU: r.qemu.Path, Shape: r.shape, Paths: h}.Dump(t.Context(), dir, func() ([]string, error) {
		tpm, err := StartTPM(t.Context(), scratch(t))
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = tpm.Stop() }) // it ends with its QEMU
		return tpm.Args(), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("QEMU %s (%s), %s, %s form: %.1f s", r.qemu.Version, r.qemu.origin, r.shape.Firmware, r.shape.Boot, dump.Wall.Seconds())
	return dump
}

// readLog parses the firmware's log and checks that it leads to what the TPM holds.
func readLog(t *testing.T, dump *Dump) *eventlog.Log {
	t.Helper()
	raw, ok := dump.Files[logFile]
	if !ok {
		t.Fatalf("the machine has no TPM log: %v", dump.Errors)
	}
	log, err := eventlog.Parse(raw, eventlog.TPM)
	if err != nil {
		t.Fatal(err)
	}
	registers, err := log.Replay(eventlog.SHA384)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for name, text := range dump.Files {
		number, ok := strings.CutPrefix(name, pcrDir+"/")
		if !ok {
			continue
		}
		pcr, err := strconv.ParseUint(number, 10, 32)
		if err != nil || pcr > 15 || pcr == imaPCR { // those above 15 start with ones and are never extended here
			continue
		}
		got, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatalf("PCR %d: %v", pcr, err)
		}
		want := registers[uint32(pcr)]
		if want == nil {
			want = make([]byte, tdx.DigestSize)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("PCR %d is %x, the log replays to %x", pcr, got, want)
		}
		compared++
	}
	if compared != 15 {
		t.Errorf("%d PCRs compared, want 15", compared)
	}
	return log
}

// line names an event with its digest, as both sides of a comparison print it.
func line(register string, typ eventlog.EventType, digest []byte) string {
	return fmt.Sprintf("%s %s %x", register, typ, digest)
}

// visible is an event that a TPM log holds too.
type visible struct {
	name string
	// line is the event's register, type and digest, as both sides of a comparison have it.
	line string
}

// predictedEvents are the events of a prediction that a TPM sees too. Left out are the hand-off list, the variable
// store and the fw_cfg items, which only TDX firmware measures, and separators, which PCRs get one each of. With
// variants, the registers that have one follow it.
func predictedEvents(p *launch.Prediction, variants bool) []visible {
	events := p.Events
	if variants {
		for _, v := range p.Variants {
			kept := slices.DeleteFunc(slices.Clone(events), func(e launch.Event) bool { return e.Register == v.Register })
			events = append(kept, v.Events...)
		}
	}
	var out []visible
	for _, e := range events {
		register := e.Register.String()
		switch {
		case e.Type == eventlog.Separator && e.Register == tdx.RTMR0, tdxOnly(e):
			continue
		case e.Register == tdx.RTMR0 && e.Type == eventlog.VariableDriverConfig:
			register = "PCR 7"
		case e.Register == tdx.RTMR0:
			register = "PCR 1"
		}
		out = append(out, visible{e.Description, line(register, e.Type, e.Digest[:])})
	}
	slices.SortStableFunc(out, func(a, b visible) int { return place(a.line) - place(b.line) })
	return out
}

func predictedLines(p *launch.Prediction, variants bool) []string {
	var out []string
	for _, e := range predictedEvents(p, variants) {
		out = append(out, e.line)
	}
	return out
}

// tdxOnly tells the events that no TPM log holds. ACPI blobs and fw_cfg items share a type; only the latter's names
// are not those of the loader's files.
func tdxOnly(e launch.Event) bool {
	loaded := strings.HasPrefix(e.Description, "etc/acpi/") || e.Description == "etc/table-loader" || e.Description == "etc/tpm/log"
	return e.Type == eventlog.HandoffTables2 || e.Type == eventlog.FirmwareBlob2 ||
		e.Type == eventlog.PlatformConfigFlags && !loaded
}

// loggedLines are the events of a TPM log in the same form.
func loggedLines(t *testing.T, log *eventlog.Log) []string {
	t.Helper()
	view, err := log.TDView()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i := range log.Events {
		e := &log.Events[i]
		if (e.Index == 1 || e.Index == 7) && e.Type != eventlog.NoAction && e.Type != eventlog.Separator {
			out = append(out, line(fmt.Sprintf("PCR %d", e.Index), e.Type, e.Digest(eventlog.SHA384)))
		}
	}
	for i := range view.Events {
		e := &view.Events[i]
		out = append(out, line(tdx.Register(e.Index).String(), e.Type, e.Digest(eventlog.SHA384)))
	}
	slices.SortStableFunc(out, func(a, b string) int { return place(a) - place(b) })
	return out
}

// place orders lines by register; within one they stay as they are.
func place(line string) int {
	return slices.IndexFunc([]string{"PCR 7 ", "PCR 1 ", tdx.RTMR1.String() + " ", tdx.RTMR2.String() + " "},
		func(register string) bool { return strings.HasPrefix(line, register) })
}

// check compares a log with the prediction, event by event, and returns whether the disk form's retry was seen.
func check(t *testing.T, p *launch.Prediction, log *eventlog.Log) (retried bool) {
	t.Helper()
	report, err := launch.Diff(p, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range report.Findings {
		switch f.Register {
		case tdx.RTMR1, tdx.RTMR2:
			retried = retried || f.Verdict == launch.Allowed
			if f.Verdict != launch.Equal && f.Verdict != launch.Allowed {
				t.Errorf("%s: %s: expected %s, found %s: %s", f.Register, f.Verdict, f.Expected, f.Found, f.Why)
			}
		default: // a TPM log says nothing about these
		}
	}
	if diff := cmp.Diff(predictedLines(p, retried), loggedLines(t, log)); diff != "" {
		t.Errorf("predicted (-) and logged (+) events:\n%s", diff)
	}
	return retried
}

var forms = []launch.BootForm{launch.BootUKI, launch.BootDisk, launch.BootKernel}

// TestFirmwareLogEqualsPrediction boots real firmware with a software TPM and compares every event that it logs with
// the prediction: UKI, disk and kernel forms, on each QEMU and firmware that can be had (measure.md section 8).
func TestFirmwareLogEqualsPrediction(t *testing.T) {
	t.Parallel()
	in := needs(t)
	needsTPM(t)
	ctx, cancel := context.WithTimeout(t.Context(), prepareLimit)
	defer cancel()
	older, err := in.olderFirmware(ctx)
	if err != nil {
		t.Logf("leaving out the firmware of Debian 13: %v", err)
	}
	emulators := []emulator{installedQEMU(t)}
	for _, version := range lockedVersions {
		q, err := lockedQEMU(ctx, in, version)
		if err != nil {
			t.Logf("leaving out a locked QEMU: %v", err)
			continue
		}
		emulators = append(emulators, q)
	}
	seen := make(map[string]bool)
	for _, q := range emulators {
		if seen[q.Version] {
			continue
		}
		seen[q.Version] = true
		for name, firmware := range map[string][]byte{"2025.02": older, "2026.08": in.generic} {
			if firmware == nil {
				continue
			}
			for _, form := range forms {
				t.Run(fmt.Sprintf("qemu-%s/ovmf-%s/%s", q.Version, name, form), func(t *testing.T) {
					t.Parallel()
					r := newRehearsal(t, in, q, firmware, form)
					dir := scratch(t)
					h, img := r.files(t, dir)
					p := r.predict(t, img, true)
					log := readLog(t, r.boot(t, dir, h))
					retried := check(t, p, log)
					if retried {
						t.Log("the first ExitBootServices failed, as the disk form's variant allows")
					}
					if q.origin == "installed" && name == "2026.08" {
						changeOneInput(t, r, log, retried)
					}
				})
			}
		}
	}
}
