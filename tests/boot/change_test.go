package boot

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/eventlog"
	"cocoon/measure/launch"
)

// change is one alteration of what a prediction is made from, and the events that it must move.
type change struct {
	apply func(r *rehearsal)
	want  []string
}

// flip inverts one bit in the middle of data.
func flip(data *[]byte) {
	*data = slices.Clone(*data)
	(*data)[len(*data)/2] ^= 1
}

// changes lists what can be altered in a boot form. A QEMU that patches the kernel's setup header makes the kernel's
// event depend on the RAM size (measure.md section 3).
func changes(form launch.BootForm, patches bool) map[string]change {
	kernel := func(r *rehearsal) { flip(&r.kernel) }
	archive := func(r *rehearsal) { flip(&r.initrd) }
	words := func(r *rehearsal) { r.cmdline = "C" + r.cmdline[1:] }
	machine := map[string]change{
		"one vCPU more": {
			func(r *rehearsal) { r.shape.VCPUs++ },
			[]string{"etc/table-loader", "etc/acpi/rsdp", "etc/acpi/tables"},
		},
		"one MiB more": {
			func(r *rehearsal) { r.shape.MemoryMiB++ },
			[]string{"etc/acpi/tables", "SMBIOS"},
		},
		"another processor": {
			func(r *rehearsal) { r.shape.SMBIOS.ProcessorID = "1fcbfbff000806f9" },
			[]string{"SMBIOS"},
		},
		"another slot": {
			func(r *rehearsal) { r.shape.Devices[len(r.shape.Devices)-1].Slot++ },
			[]string{"etc/acpi/tables"},
		},
	}
	if form == launch.BootKernel {
		if patches {
			memory := machine["one MiB more"]
			memory.want = append(memory.want, "kernel")
			machine["one MiB more"] = memory
		}
		machine["one bit of the kernel"] = change{kernel, []string{"kernel"}}
		machine["one bit of the initrd"] = change{archive, []string{"Linux initrd"}}
		machine["one letter of the command line"] = change{words, []string{"LOADED_IMAGE::LoadOptions"}}
		return machine
	}
	machine["one bit of the kernel"] = change{kernel, []string{"UKI", "kernel inside the UKI", ".linux content"}}
	machine["one bit of the initrd"] = change{archive, []string{"UKI", ".initrd content", "Linux initrd"}}
	machine["one letter of the command line"] = change{words, []string{"UKI", ".cmdline content", "LOADED_IMAGE::LoadOptions"}}
	machine["one bit of the stub"] = change{func(r *rehearsal) { flip(&r.stub) }, []string{"UKI"}}
	if form == launch.BootDisk {
		machine["one bit of a layer"] = change{func(r *rehearsal) { flip(&r.layer) }, []string{"partition table"}}
		slot := machine["another slot"]
		slot.want = append(slot.want, "Boot0004 disk data0")
		machine["another slot"] = slot
	}
	if form == launch.BootDisk { // the partition table names the UKI's hash
		for name, c := range machine {
			if len(c.want) > 0 && c.want[0] == "UKI" {
				c.want = append([]string{"partition table"}, c.want...)
				machine[name] = c
			}
		}
	}
	return machine
}

// changeOneInput alters one input of the prediction at a time and checks that exactly the events that hold it differ
// from the log.
func changeOneInput(t *testing.T, r rehearsal, log *eventlog.Log, retried bool) {
	t.Helper()
	logged := loggedLines(t, log)
	for name, c := range changes(r.shape.Boot, r.qemu.patchesKernel()) {
		t.Run(name, func(t *testing.T) {
			altered, shape := r, *r.shape
			shape.Devices = slices.Clone(shape.Devices)
			altered.shape = &shape
			c.apply(&altered)
			_, img := altered.files(t, scratch(t))
			var got []string
			predicted := predictedEvents(altered.predict(t, img, true), retried)
			if len(predicted) != len(logged) {
				t.Fatalf("%d events predicted, %d logged", len(predicted), len(logged))
			}
			for i, e := range predicted {
				if e.line != logged[i] {
					got = append(got, e.name)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("differing events, wanted (-) and got (+):\n%s", diff)
			}
		})
	}
}
