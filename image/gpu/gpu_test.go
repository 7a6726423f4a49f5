package gpu

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/wheel"
)

const good = `version = 1
[driver]
version = "550.163.01"
layer = "gpu"
toolchain = "gpu-toolchain"
modules_dir = "usr/lib/modules/nvidia"
helper_path = "usr/bin/gpuattest"
[engine]
layer = "engine-gpu"
wheels = "wheels.lock"
python = 13
glibc = 41
bytecode = ["usr/lib/python3.13"]
[[engine.drop]]
wheel = "torch-c-dlpack-ext"
paths = ["build_backend.py"]
reason = "shipped by mistake"
`

func TestParseReadsEveryKey(t *testing.T) {
	got, err := Parse([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Version: 1,
		Driver: Driver{
			Version: "550.163.01", Layer: "gpu", Toolchain: "gpu-toolchain", ModulesDir: "usr/lib/modules/nvidia", HelperPath: "usr/bin/gpuattest",
		},
		Engine: Engine{
			Layer: "engine-gpu", Wheels: "wheels.lock", Python: 13, Glibc: 41, Bytecode: []string{"usr/lib/python3.13"},
			Drop: []Drop{{Wheel: "torch-c-dlpack-ext", Paths: []string{"build_backend.py"}, Reason: "shipped by mistake"}},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string][]string{"torch-c-dlpack-ext": {"build_backend.py"}}, got.Engine.Drops()); diff != "" {
		t.Errorf("drops (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ old, new, want string }{
		"other version":       {"version = 1", "version = 2", "version: 2"},
		"unknown key":         {"glibc = 41", "glibc = 41\nmusl = true", "unknown keys"},
		"driver not a number": {"550.163.01", "latest", "driver.version"},
		"layer with a slash":  {`layer = "gpu"`, `layer = "../gpu"`, "driver.layer"},
		"path that escapes":   {"usr/lib/modules/nvidia", "../modules", "driver.modules_dir"},
		"absolute path":       {"usr/bin/gpuattest", "/usr/bin/gpuattest", "driver.helper_path"},
		"old Python":          {"python = 13", "python = 9", "engine.python"},
		"old C library":       {"glibc = 41", "glibc = 5", "engine.glibc"},
		"no bytecode":         {`bytecode = ["usr/lib/python3.13"]`, "bytecode = []", "engine.bytecode"},
		"unnormalised wheel":  {`wheel = "torch-c-dlpack-ext"`, `wheel = "Torch_C"`, "engine.drop[0].wheel"},
		"drop without paths":  {`paths = ["build_backend.py"]`, "paths = []", "engine.drop[0].paths"},
		"drop without reason": {`reason = "shipped by mistake"`, `reason = " "`, "engine.drop[0].reason"},
		"drop twice":          {"[[engine.drop]]", "[[engine.drop]]\nwheel = \"torch-c-dlpack-ext\"\npaths = [\"x\"]\nreason = \"y\"\n[[engine.drop]]", "there twice"},
		"no TOML":             {"[driver]", "[driver", "toml"},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, tc.old, tc.new, 1)
			if text == good {
				t.Fatalf("%q is not in the text", tc.old)
			}
			if _, err := Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestRecipeWithoutTheFileHasNoVariant(t *testing.T) {
	if _, err := Load(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want %v", err, fs.ErrNotExist)
	}
}

func TestListMustFitTheInterpreter(t *testing.T) {
	dir := t.TempDir()
	list := &wheel.List{Wheels: []wheel.Entry{{
		Name: "numpy", Version: "2.2.6", File: "numpy-2.2.6-cp313-cp313-manylinux_2_28_x86_64.whl", SHA256: strings.Repeat("a", 64), Size: 1,
	}}}
	if err := list.Save(filepath.Join(dir, wheel.ListName)); err != nil {
		t.Fatal(err)
	}
	for python, fits := range map[int]bool{13: true, 12: false, 14: false} {
		e := Engine{Wheels: wheel.ListName, Python: python, Glibc: 41}
		if _, err := e.List(dir); (err == nil) != fits {
			t.Errorf("Python 3.%d: error %v, want it to fit: %v", python, err, fits)
		}
	}
}

// The committed definition, its wheels, and the rule that says why vLLM is the version it is: one CUDA generation, that of
// the driver.
func TestCommittedDefinition(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, "mkosi")
	c, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.Engine.List(dir)
	if err != nil {
		t.Fatal(err)
	}
	var engine bool
	for _, w := range list.Wheels {
		engine = engine || w.Name == "vllm"
		if strings.Contains(w.Name, "cu13") {
			t.Errorf("%s is of CUDA 13; driver %s is of CUDA 12", w.File, c.Driver.Version)
		}
	}
	if !engine {
		t.Error("the list has no vllm")
	}
	recipe, err := os.ReadFile(filepath.Join(dir, "mkosi.profiles", c.Driver.Layer, "mkosi.conf"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pkg := range []string{"firmware-nvidia-gsp", "libcuda1", "libnvidia-ml1", "nvidia-smi"} {
		if !strings.Contains(string(recipe), pkg+"="+c.Driver.Version+"-") {
			t.Errorf("%s is not of version %s: modules, firmware and libraries must agree", pkg, c.Driver.Version)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{good, "", "version = 1\n", "[driver]\nversion = 5\n", "version = 1\n[[engine.drop]]\n", strings.Replace(good, "13", "-1", 1)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse(data)
		if err != nil {
			return
		}
		if err := c.Validate(); err != nil {
			t.Errorf("what was read is not valid: %v", err)
		}
	})
}
