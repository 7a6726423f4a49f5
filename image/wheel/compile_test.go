package wheel

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/rootfs"
)

const testSite = "usr/local/lib/python3.13/dist-packages"

// interpreter compiles the stand-in for Python, statically, so that a root needs nothing else; it skips where the machine
// gives us no namespaces.
func interpreter(t *testing.T) []byte {
	t.Helper()
	for _, tool := range []string{"go", "unshare", "mount", "hostname"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	args := []string{"--mount", "--net", "--pid", "--fork", "true"}
	if os.Geteuid() != 0 {
		args = append([]string{"--user", "--map-root-user"}, args...)
	}
	if out, err := exec.CommandContext(t.Context(), "unshare", args...).CombinedOutput(); err != nil {
		t.Skipf("this machine gives us no namespaces: %s", out)
	}
	name := filepath.Join(t.TempDir(), "python")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", name, "./testdata/interpreter")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("compiling the stand-in: %v\n%s", err, out)
	}
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func testTree(t *testing.T, python []byte, files map[string]string) *rootfs.Tree {
	t.Helper()
	tree := rootfs.New()
	add := func(name, content string, mode uint32) {
		n := &rootfs.Inode{Type: rootfs.File, Mode: mode, Content: rootfs.Bytes([]byte(content)), Origin: "test"}
		if err := tree.Add(name, n); err != nil {
			t.Fatal(err)
		}
	}
	add("usr/bin/python3.13", string(python), 0o755)
	for name, content := range files {
		add(name, content, 0o644)
	}
	return tree
}

func compileIn(t *testing.T, tree *rootfs.Tree, workers int) (*Compiled, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	return Compile(ctx, tree, Bytecode{
		Minor: 13, Dirs: []string{"usr/lib/python3.13", testSite}, Scratch: filepath.Join(t.TempDir(), "scratch"), Workers: workers,
	})
}

func TestCompileAddsBytecodeBesideEveryFile(t *testing.T) {
	python := interpreter(t)
	files := map[string]string{
		"usr/lib/python3.13/os.py":     "os\n",
		"usr/lib/python3.13/x.so":      "not Python",
		testSite + "/a/template.py":    "broken {{ }}\n",
		testSite + "/a/weights.bin":    "large",
		"usr/share/elsewhere/tools.py": "not compiled\n",
	}
	for i := range 2*chunkFiles + 1 {
		files[fmt.Sprintf("%s/m/f%04d.py", testSite, i)] = fmt.Sprintf("%d\n", i)
	}
	var hashes [][32]byte
	for _, workers := range []int{1, 3} {
		t.Setenv("COCOON_LEAK", fmt.Sprint(workers))
		tree := testTree(t, python, files)
		before := tree.Len()
		got, err := compileIn(t, tree, workers)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&Compiled{Files: 2*chunkFiles + 2, Failed: []string{testSite + "/a/template.py"}}, got); diff != "" {
			t.Errorf("result (-want +got):\n%s", diff)
		}
		if added := tree.Len() - before; added != got.Files+2 { // two __pycache__ folders
			t.Errorf("%d paths were added for %d files", added, got.Files)
		}
		n, ok := tree.Get("usr/lib/python3.13/__pycache__/os.cpython-313.pyc")
		if !ok || n.Origin != rootfs.OriginCompiled {
			t.Fatalf("bytecode of os.py: %v", n)
		}
		data, err := n.Content.ReadAll()
		if err != nil || !strings.Contains(string(data), "/usr/lib/python3.13/os.py") || strings.Contains(string(data), "LEAK") {
			t.Errorf("bytecode %q, %v", data, err)
		}
		hashes = append(hashes, rootfs.TreeHash(tree))
	}
	if hashes[0] != hashes[1] {
		t.Error("the number of workers shows in the tree")
	}
}

func TestCompileRefuses(t *testing.T) {
	python := interpreter(t)
	for name, tc := range map[string]struct{ content, want string }{
		"interpreter that fails":   {"crash", "crashed on"},
		"bytecode with timestamps": {"timestamp", "want an unchecked hash"},
		"file without a word":      {"forgotten", "bytecode of"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := testTree(t, python, map[string]string{testSite + "/x.py": tc.content})
			if _, err := compileIn(t, tree, 1); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
	if _, err := compileIn(t, testTree(t, python, nil), 1); err == nil || !strings.Contains(err.Error(), "no Python file") {
		t.Errorf("error %v for a tree without Python", err)
	}
}
