package main

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// asProgram makes the test binary behave as gpuattest: every case is a process of its own, like in the guest.
const asProgram = "COCOON_GPUATTEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// stub compiles the library stand-in and returns its folder.
func stub(t *testing.T, flags ...string) string {
	t.Helper()
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("no gcc: the stand-in for NVIDIA's library cannot be compiled")
	}
	dir := t.TempDir()
	args := append([]string{"-shared", "-fPIC", "-Wall", "-Werror", "-O1", "-o", filepath.Join(dir, library), "testdata/stub.c"}, flags...)
	if out, err := exec.CommandContext(t.Context(), gcc, args...).CombinedOutput(); err != nil {
		t.Fatalf("compiling the stand-in: %v\n%s", err, out)
	}
	return dir
}

// program prepares gpuattest with the libraries of a folder; an empty one has none.
func program(ctx context.Context, libs string, env []string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", args...)
	cmd.Env = append([]string{asProgram + "=1", "LD_LIBRARY_PATH=" + libs}, env...)
	return cmd
}

// invoke runs gpuattest to its end.
func invoke(t *testing.T, libs string, env []string, args ...string) (int, map[string]any, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := program(ctx, libs, env, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	var document map[string]any
	if stdout.Len() > 0 {
		dec := json.NewDecoder(&stdout)
		if err := dec.Decode(&document); err != nil {
			t.Fatalf("standard output is no JSON: %v", err)
		}
		if _, err := dec.Token(); !errors.Is(err, io.EOF) {
			t.Fatal("more than one document on standard output")
		}
	}
	return cmd.ProcessState.ExitCode(), document, stderr.String()
}

var nonce = strings.Repeat("a5", 16) + strings.Repeat("3c", 16)

func TestEvidenceCarriesTheNonceAndEveryDevice(t *testing.T) {
	libs := stub(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	out, err := program(ctx, libs, nil, "evidence", "--nonce", nonce).Output()
	if err != nil {
		t.Fatal(err)
	}
	var got evidence
	dec := json.NewDecoder(bytes.NewReader(out))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil {
		t.Fatal(err)
	}
	raw, _ := hex.DecodeString(nonce)
	want := evidence{
		Schema: "cocoon.gpuattest.evidence/1", DriverVersion: "550.163.01", NVMLVersion: "12.550.163.01",
		Settings: settings{Environment: 2, CCFeature: 1, MultiGPU: new(uint32(1))},
	}
	for i, pci := range []string{"00000000:01:00.0", "00000000:02:00.0"} {
		g := gpuEvidence{UUID: "GPU-" + string(rune('0'+i)), PCI: pci, Arch: 9, Chain: []byte("-----BEGIN CERTIFICATE-----\n")}
		for n := range 4049 {
			g.Report = append(g.Report, byte(n)^raw[n%32]^byte(i))
		}
		want.GPUs = append(want.GPUs, g)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("evidence (-want +got):\n%s", diff)
	}
}

func TestEveryFailureHasItsExitCodeAndNamesTheCall(t *testing.T) {
	whole, old, noInit := stub(t), stub(t, "-DOLD"), stub(t, "-DNO_INIT")
	take := []string{"evidence", "--nonce", nonce}
	for name, tc := range map[string]struct {
		libs string
		env  []string
		args []string
		exit int
		call any
		code any // a JSON number
	}{
		"no library":        {t.TempDir(), nil, take, exitLibrary, nil, nil},
		"not NVML":          {noInit, nil, take, exitLibrary, nil, nil},
		"driver not loaded": {whole, []string{"STUB_FAIL=nvmlInit_v2:9"}, take, exitCall, "nvmlInit_v2", 9.0},
		"GPU lost": {
			whole,
			[]string{"STUB_FAIL=nvmlDeviceGetConfComputeGpuAttestationReport:15"},
			take, exitCall,
			"nvmlDeviceGetConfComputeGpuAttestationReport", 15.0,
		},
		"state of a failed call is not read": {
			old, []string{"STUB_FAIL=nvmlSystemGetConfComputeState:1"}, take, exitCall, "nvmlSystemGetConfComputeState", 1.0,
		},
		"unknown code":     {whole, []string{"STUB_FAIL=nvmlDeviceGetUUID:12345"}, take, exitCall, "nvmlDeviceGetUUID", 12345.0},
		"no report bytes":  {whole, []string{"STUB_SIZE=0"}, take, exitCall, nil, nil},
		"report too large": {whole, []string{"STUB_SIZE=8193"}, take, exitCall, nil, nil},
		"too many devices": {whole, []string{"STUB_COUNT=33"}, take, exitCall, nil, nil},
		"ready refused": {
			whole,
			[]string{"STUB_FAIL=nvmlSystemSetConfComputeGpusReadyState:29"},
			[]string{"ready"},
			exitCall,
			"nvmlSystemSetConfComputeGpusReadyState", 29.0,
		},
		"ready not kept": {whole, []string{"STUB_STUCK=1"}, []string{"ready"}, exitCall, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			exit, document, _ := invoke(t, tc.libs, tc.env, tc.args...)
			if exit != tc.exit {
				t.Errorf("exit code %d, want %d (%v)", exit, tc.exit, document)
			}
			if document["schema"] != "cocoon.gpuattest.error/1" || document["call"] != tc.call || document["code"] != tc.code {
				t.Errorf("document %v, want call %v and code %v", document, tc.call, tc.code)
			}
		})
	}
}

func TestHangingCallEndsTheProcess(t *testing.T) {
	t.Parallel()
	exit, document, _ := invoke(t, stub(t), []string{"STUB_HANG=nvmlDeviceGetCount_v2"}, "evidence", "--nonce", nonce)
	if exit != exitTimeout {
		t.Errorf("exit code %d, want %d (%v)", exit, exitTimeout, document)
	}
}

func TestOldLibraryHasNoMultiGPUMode(t *testing.T) {
	t.Parallel()
	exit, document, _ := invoke(t, stub(t, "-DOLD"), nil, "evidence", "--nonce", nonce)
	want := map[string]any{"environment": 2.0, "cc_feature": 1.0, "devtools": 0.0, "multi_gpu": nil}
	if diff := cmp.Diff(want, document["settings"]); exit != exitOK || diff != "" {
		t.Errorf("exit code %d, settings (-want +got):\n%s", exit, diff)
	}
}

func TestReadyIsSetAndReadBack(t *testing.T) {
	t.Parallel()
	exit, document, _ := invoke(t, stub(t), nil, "ready")
	if exit != exitOK || document["ready"] != 1.0 {
		t.Errorf("exit code %d, document %v, want ready = 1", exit, document)
	}
}

func TestWrongUsage(t *testing.T) {
	for name, args := range map[string][]string{
		"nothing":             {},
		"unknown command":     {"unready"},
		"short nonce":         {"evidence", "--nonce", "00"},
		"no nonce":            {"evidence"},
		"nonce of no hex":     {"evidence", "--nonce", strings.Repeat("zz", 32)},
		"argument left over":  {"ready", "now"},
		"unknown flag":        {"ready", "--force"},
		"metrics to nowhere":  {"metrics"},
		"nonce of other verb": {"ready", "--nonce", nonce},
	} {
		t.Run(name, func(t *testing.T) {
			exit, document, stderr := invoke(t, t.TempDir(), nil, args...)
			if exit != exitUsage || document != nil || !strings.Contains(stderr, "usage:") {
				t.Errorf("exit code %d, document %v, messages %q", exit, document, stderr)
			}
		})
	}
}

func TestVersionNeedsNoLibrary(t *testing.T) {
	exit, document, _ := invoke(t, t.TempDir(), nil, "version")
	if exit != exitOK || document["schema"] != "cocoon.gpuattest.version/1" || document["go"] == "" {
		t.Errorf("exit code %d, document %v", exit, document)
	}
}

func TestMetricsAnswerEveryConnectionAndLeaveOutWhatIsNotThere(t *testing.T) {
	t.Parallel()
	libs, socket := stub(t), filepath.Join(t.TempDir(), "s")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := program(ctx, libs, []string{"STUB_FAIL=nvmlDeviceGetPowerUsage:3"}, "metrics", "--socket", socket)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	want := gpuMetrics{
		UUID: "GPU-1", Name: "Stub H100", Utilisation: new(uint32(37)), Memory: &usage64{30, 80},
		Protected: &usage64{29, 79}, Temperature: new(uint32(44)),
	}
	for range 2 {
		var m metrics
		if err := json.NewDecoder(dial(ctx, t, socket)).Decode(&m); err != nil {
			t.Fatal(err)
		}
		if len(m.GPUs) != 2 || m.Ready == nil || m.Driver != "550.163.01" {
			t.Fatalf("metrics %+v", m)
		}
		if diff := cmp.Diff(want, m.GPUs[1]); diff != "" {
			t.Errorf("second GPU (-want +got):\n%s", diff)
		}
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after the signal: %v, want exit code 0", err)
	}
}

// dial connects as soon as the server listens.
func dial(ctx context.Context, t *testing.T, socket string) net.Conn {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err == nil {
			t.Cleanup(func() { conn.Close() }) //nolint:errcheck // test
			return conn
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal(err)
		}
	}
}

// go-nvml leaves the library's symbols undefined until they are called, so immediate binding would end the process at
// its start (gpu.md section 3.3).
func TestBindingIsLazyAndOnlyTheCLibraryIsNeeded(t *testing.T) {
	f, err := elf.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // read side
	needed, err := f.ImportedLibraries()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"libc.so.6"}, needed); diff != "" {
		t.Errorf("needed libraries (-want +got):\n%s", diff)
	}
	const bindNow, bindNow1 = 8, 1 // DF_BIND_NOW, DF_1_NOW
	flags, err := f.DynValue(elf.DT_FLAGS)
	if err != nil {
		t.Fatal(err)
	}
	flags1, err := f.DynValue(elf.DT_FLAGS_1)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range flags {
		if v&bindNow != 0 {
			t.Error("DT_FLAGS asks for immediate binding")
		}
	}
	for _, v := range flags1 {
		if v&bindNow1 != 0 {
			t.Error("DT_FLAGS_1 asks for immediate binding")
		}
	}
}
