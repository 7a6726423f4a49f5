package wheel

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseNameSplitsTags(t *testing.T) {
	for file, want := range map[string]Name{
		"torch-2.10.0-cp313-cp313-manylinux_2_28_x86_64.whl": {
			Project: "torch", Version: "2.10.0", Python: []string{"cp313"}, ABI: []string{"cp313"}, Platform: []string{"manylinux_2_28_x86_64"},
		},
		"six-1.17.0-py2.py3-none-any.whl": {
			Project: "six", Version: "1.17.0", Python: []string{"py2", "py3"}, ABI: []string{"none"}, Platform: []string{"any"},
		},
		"apache_tvm_ffi-0.1.15.post2-1a-cp312-abi3-manylinux2014_x86_64.manylinux_2_17_x86_64.whl": {
			Project: "apache_tvm_ffi", Version: "0.1.15.post2", Build: "1a", Python: []string{"cp312"}, ABI: []string{"abi3"},
			Platform: []string{"manylinux2014_x86_64", "manylinux_2_17_x86_64"},
		},
		"local-1.0+cu128-py3-none-any.whl": {
			Project: "local", Version: "1.0+cu128", Python: []string{"py3"}, ABI: []string{"none"}, Platform: []string{"any"},
		},
	} {
		got, err := ParseName(file)
		if err != nil {
			t.Errorf("%s: %v", file, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

func TestParseNameRefuses(t *testing.T) {
	for name, file := range map[string]string{
		"source distribution": "torch-2.10.0.tar.gz",
		"too few parts":       "torch-2.10.0-py3-none.whl",
		"too many parts":      "a-b-c-d-e-f-g.whl",
		"a folder":            "x/torch-2.10.0-py3-none-any.whl",
		"no project":          "-2.10.0-py3-none-any.whl",
		"a space":             "tor ch-2.10.0-py3-none-any.whl",
		"empty":               "",
		"too long":            strings.Repeat("a", 300) + "-1-py3-none-any.whl",
	} {
		if n, err := ParseName(file); err == nil {
			t.Errorf("%s: %q was read as %+v", name, file, n)
		}
	}
}

func TestNormaliseIsTheFormOfIndexes(t *testing.T) {
	for in, want := range map[string]string{"PyYAML": "pyyaml", "opencv_python.headless": "opencv-python-headless", "a--_.b": "a-b"} {
		if got := Normalise(in); got != want {
			t.Errorf("Normalise(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTagsFitTheInterpreter(t *testing.T) {
	py := Interpreter{Minor: 13, GlibcMinor: 41}
	for tags, fits := range map[string]bool{
		"py3-none-any":                                      true,
		"py2.py3-none-any":                                  true,
		"py310-none-any":                                    true, // pure Python for 3.10 and later
		"py2-none-any":                                      false,
		"cp313-cp313-manylinux_2_28_x86_64":                 true,
		"cp312-cp312-manylinux_2_28_x86_64":                 false,
		"cp314-cp314-manylinux_2_28_x86_64":                 false,
		"cp38-abi3-manylinux_2_31_x86_64":                   true,
		"cp314-abi3-manylinux_2_31_x86_64":                  false,
		"cp313-cp313t-manylinux_2_28_x86_64":                false, // free-threaded
		"cp313-cp313-manylinux_2_42_x86_64":                 false, // newer C library
		"cp313-cp313-manylinux_2_41_x86_64":                 true,
		"cp313-cp313-manylinux2014_aarch64":                 false,
		"cp313-cp313-musllinux_1_2_x86_64":                  false,
		"cp313-cp313-manylinux1_x86_64.manylinux2014_ppc64": true,
		"cp313-cp313-macosx_11_0_arm64":                     false,
		"cp313-none-win_amd64":                              false,
	} {
		n, err := ParseName("x-1-" + tags + ".whl")
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Accepts(py); (err == nil) != fits {
			t.Errorf("%s: %v, want it to fit: %v", tags, err, fits)
		}
	}
}
