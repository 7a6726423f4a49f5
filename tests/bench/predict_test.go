package bench

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"cocoon/host/probe"
	"cocoon/measure/launch"
	"cocoon/measure/launch/pe"
	"cocoon/measure/launch/petest"
	"cocoon/measure/launch/qtest"
	"cocoon/measure/ovmf"
)

// The anchors of measure.md section 11, on two shared cores.
const (
	anchorAuthenticode = 46 * time.Millisecond  // own Go, idle; Python 45 ms
	anchorMRTD         = 17 * time.Millisecond  // gce-tcb-verifier, best of 17..32 ms, one order
	anchorProbe        = 88 * time.Millisecond  // median of the qtest sketch
	anchorTemplate     = 390 * time.Millisecond // dstack-mr in Go, which reads no tables from QEMU
	targetOne          = 500 * time.Millisecond // our target for one shape
	targetTwenty       = 5 * time.Second        // and for twenty

	kernelSize   = 13612672 // Debian's 6.18.15 cloud kernel
	initrdSize   = 12 << 20
	twentyShapes = 20
)

// anchored prints the spec's figure beside the benchmark's; nothing is asserted, machines differ.
func anchored(b *testing.B, anchor time.Duration) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/op")
	b.ReportMetric(float64(anchor.Milliseconds()), "anchor-ms")
}

// benchUKI is an image of the size of ours.
func benchUKI() []byte {
	kernel := petest.Build([]petest.Section{{Name: ".text", Data: make([]byte, kernelSize)}}, nil)
	return petest.UKI(kernel, "console=hvc0 quiet panic=-1", string(make([]byte, initrdSize)))
}

func BenchmarkAuthenticode(b *testing.B) {
	data := petest.Build([]petest.Section{{Name: ".text", Data: make([]byte, kernelSize)}}, nil)
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		img, err := pe.Parse(data)
		if err != nil {
			b.Fatal(err)
		}
		img.Authenticode()
	}
	anchored(b, anchorAuthenticode)
}

func BenchmarkMRTD(b *testing.B) {
	image := firmwareFile(b)
	for b.Loop() {
		if _, err := ovmf.MRTD(image, ovmf.SinglePass); err != nil {
			b.Fatal(err)
		}
	}
	anchored(b, anchorMRTD)
}

// firmwareFile is the firmware that COCOON_FIRMWARE names.
func firmwareFile(b *testing.B) []byte {
	b.Helper()
	path := os.Getenv("COCOON_FIRMWARE")
	if path == "" {
		b.Skip("COCOON_FIRMWARE does not name a firmware file, such as firmware.fd of a built image")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// findQEMU takes the binary that COCOON_QEMU names, such as what `cocoon image qemu` prints, or the machine's own.
func findQEMU(b *testing.B) *probe.QEMU {
	b.Helper()
	q, err := probe.Find(b.Context(), os.Getenv("COCOON_QEMU"))
	if err != nil {
		b.Skipf("no QEMU: %v", err)
	}
	return q
}

// machine is a built-in shape: as it is published when the QEMU is its own, else of a type that every QEMU can make.
func machine(b *testing.B, q *probe.QEMU, name string) *launch.Machine {
	b.Helper()
	m, err := launch.Shape(name)
	if err != nil {
		b.Fatal(err)
	}
	if q.Version != launch.HostQEMU {
		m.MachineType = "pc-q35-7.2"
	}
	return m
}

func BenchmarkProbe(b *testing.B) {
	for _, name := range []string{"proxy", "worker-gpu-8"} {
		b.Run(name, func(b *testing.B) {
			q := findQEMU(b)
			m := machine(b, q, name)
			var times []time.Duration
			for b.Loop() {
				start := time.Now()
				if _, err := q.Read(b.Context(), m); err != nil {
					b.Fatal(err)
				}
				times = append(times, time.Since(start))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Milliseconds()), "median-ms")
			anchored(b, anchorProbe)
		})
	}
}

// BenchmarkPredict is the whole way from files in memory to registers: firmware, image and QEMU are measured anew in
// every round, as `measure predict` does.
func BenchmarkPredict(b *testing.B) {
	for _, test := range []struct {
		name   string
		shapes int
		anchor time.Duration
	}{
		{"one shape, target", 1, targetOne},
		{"one shape, dstack-mr without QEMU", 1, anchorTemplate},
		{"twenty shapes, target", twentyShapes, targetTwenty},
	} {
		b.Run(test.name, func(b *testing.B) {
			q, uki := findQEMU(b), benchUKI()
			image := firmwareFile(b)
			machines := variations(b, q, test.shapes)
			for b.Loop() {
				if err := predictAll(b.Context(), q, image, uki, machines); err != nil {
					b.Fatal(err)
				}
			}
			anchored(b, test.anchor)
		})
	}
}

// variations are machines of different sizes.
func variations(b *testing.B, q *probe.QEMU, n int) []*launch.Machine {
	b.Helper()
	out := make([]*launch.Machine, n)
	for i := range out {
		out[i] = machine(b, q, "worker-cpu")
		out[i].Name = fmt.Sprintf("worker-cpu.%d", i)
		out[i].VCPUs, out[i].MemoryMiB = 1+i, uint64(2+2*i)<<10
	}
	return out
}

// predictAll hashes firmware and image once and probes in parallel.
func predictAll(ctx context.Context, q *probe.QEMU, image, uki []byte, machines []*launch.Machine) error {
	offered := make([]*qtest.FwCfg, len(machines))
	var fw *launch.Firmware
	var img *launch.Image
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.NumCPU() + 1)
	group.Go(func() (err error) {
		if fw, err = launch.LoadFirmware(image); err != nil {
			return err
		}
		img, err = launch.UKIImage(uki)
		return err
	})
	for i, m := range machines {
		group.Go(func() (err error) {
			offered[i], err = q.Read(ctx, m)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, m := range machines {
		p, err := launch.Predict(fw, img, m, offered[i])
		if err != nil {
			return err
		}
		p.Registers()
	}
	return nil
}
