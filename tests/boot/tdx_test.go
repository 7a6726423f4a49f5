package boot

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"cocoon/measure/launch"
	"cocoon/measure/launch/smbios"
	"cocoon/measure/tdx"
)

// Where the kernel shows UEFI variables and QEMU's files. A variable's content follows u32 attributes.
const (
	variableDir    = "/sys/firmware/efi/efivars/"
	globalVariable = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	fwCfgDir       = "/sys/firmware/qemu_fw_cfg/by_name/"
	dmiFile        = "/sys/firmware/dmi/tables/DMI"
)

// TestTDXFirmwareShowsWhatIsPredicted boots the firmware that we ship, which has no TPM driver and so keeps no log
// outside a TD, and compares what it left in the guest with the prediction: boot variables, QEMU's tables as the
// guest reads them, and the SMBIOS table.
func TestTDXFirmwareShowsWhatIsPredicted(t *testing.T) {
	t.Parallel()
	in := needs(t)
	q := installedQEMU(t)
	for _, form := range forms {
		t.Run(string(form), func(t *testing.T) {
			t.Parallel()
			r := newRehearsal(t, in, q, in.tdx, form)
			dir := scratch(t)
			h, img := r.files(t, dir)
			p := r.predict(t, img, false)
			dump, err := Machine{QEMU: q.Path, Shape: r.shape, Paths: h}.Dump(t.Context(), dir, nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("QEMU %s, %s, %s form: %.1f s", q.Version, r.shape.Firmware, form, dump.Wall.Seconds())
			if _, ok := dump.Files[logFile]; ok {
				t.Error("the machine has a TPM log without a TPM")
			}
			checkPlatform(t, p, dump)
		})
	}
}

// checkPlatform compares those events of RTMR0 whose bytes a guest can read.
func checkPlatform(t *testing.T, p *launch.Prediction, dump *Dump) {
	t.Helper()
	compared := 0
	for _, e := range p.Of(tdx.RTMR0) {
		got, what, ok := guestBytes(t, e, dump)
		if !ok {
			continue
		}
		compared++
		if d := tdx.Sum(got); d != e.Digest {
			t.Errorf("%s: predicted %s over %d bytes, the guest's %s has %s over %d bytes: %x", e.Description, e.Digest, e.Bytes, what, d,
				len(got), got[:min(len(got), 160)])
		}
	}
	const fewest = 6 // loader, root pointer, tables, SMBIOS, BootOrder, one option
	if compared < fewest {
		t.Errorf("%d events compared, want at least %d; the guest showed %v", compared, fewest, dump.Errors)
	}
	var options []string
	for name := range dump.Files {
		if option, ok := strings.CutPrefix(name, variableDir); ok && strings.HasPrefix(option, "Boot0") {
			options = append(options, option)
		}
	}
	predicted := slices.DeleteFunc(p.Of(tdx.RTMR0), func(e launch.Event) bool { return !strings.HasPrefix(e.Description, "Boot0") })
	if len(options) != len(predicted) {
		t.Errorf("the guest has %d boot options, predicted are %d: %v", len(options), len(predicted), options)
	}
}

// guestBytes is what the guest shows of an event's input, and where.
func guestBytes(t *testing.T, e launch.Event, dump *Dump) (data []byte, name string, ok bool) {
	t.Helper()
	word, _, _ := strings.Cut(e.Description, " ")
	switch {
	case word == "BootOrder" || strings.HasPrefix(word, "Boot0") || word == "SecureBoot":
		name = variableDir + word + globalVariable
		data, ok = dump.Files[name]
		if !ok {
			t.Errorf("%s is predicted, the guest has no %s", e.Description, name)
		}
		if word == "SecureBoot" || !ok { // measured with a header in front; its content alone is compared elsewhere
			return nil, name, false
		}
		const attributes = 4
		return data[min(attributes, len(data)):], name, true
	case e.Description == "SMBIOS":
		filtered, err := smbios.Filter(dump.Files[dmiFile])
		if err != nil {
			t.Errorf("filtering the guest's SMBIOS table: %v", err)
		}
		return filtered, dmiFile, true
	}
	name = fmt.Sprintf("%s%s/raw", fwCfgDir, e.Description)
	data, ok = dump.Files[name]
	return data, name, ok
}
