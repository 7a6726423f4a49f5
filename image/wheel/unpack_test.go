package wheel

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/rootfs"
)

// made is a wheel under construction.
type made struct {
	project, version string
	files            map[string]string
	modes            map[string]fs.FileMode // default 0644
	record           func(text string) string
	each             func(h *zip.FileHeader)
}

func (m made) distInfo() string { return m.project + "-" + m.version + ".dist-info" }

// bytes writes the zip file, with WHEEL and RECORD when the files do not have them.
func (m made) bytes(tb testing.TB) []byte {
	tb.Helper()
	files := maps.Clone(m.files)
	if _, ok := files[m.distInfo()+"/WHEEL"]; !ok {
		files[m.distInfo()+"/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
	}
	names := slices.Sorted(maps.Keys(files))
	var record strings.Builder
	for _, n := range names {
		if strings.HasSuffix(n, "/") {
			continue
		}
		h := sha256.Sum256([]byte(files[n]))
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", n, base64.RawURLEncoding.EncodeToString(h[:]), len(files[n]))
	}
	fmt.Fprintf(&record, "%s/RECORD,,\n", m.distInfo())
	text := record.String()
	if m.record != nil {
		text = m.record(text)
	}
	files[m.distInfo()+"/RECORD"] = text
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for i, n := range slices.Sorted(maps.Keys(files)) {
		h := &zip.FileHeader{Name: n, Method: []uint16{zip.Deflate, zip.Store}[i%2]}
		mode := fs.FileMode(0o644)
		if v, ok := m.modes[n]; ok {
			mode = v
		}
		h.SetMode(mode)
		if m.each != nil {
			m.each(h)
		}
		w, err := z.CreateHeader(h)
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write([]byte(files[n])); err != nil {
			tb.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

// recordText is the RECORD that bytes writes.
func (m made) recordText(t *testing.T) string {
	t.Helper()
	data := m.bytes(t)
	a, err := readArchive(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := a.text("RECORD")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// source writes the wheel to disk and describes it.
func (m made) source(t *testing.T) Source {
	t.Helper()
	data := m.bytes(t)
	h := sha256.Sum256(data)
	e := Entry{
		Name: Normalise(m.project), Version: m.version, File: m.project + "-" + m.version + "-py3-none-any.whl",
		SHA256: hex.EncodeToString(h[:]), Size: int64(len(data)),
	}
	name := filepath.Join(t.TempDir(), e.File)
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return Source{Path: name, Entry: e}
}

// show lists a tree's files: mode and content by path.
func show(t *testing.T, tree *rootfs.Tree) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, n := range tree.Nodes() {
		if n.Inode.Type != rootfs.File {
			continue
		}
		data, err := n.Inode.Content.ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		if sha256.Sum256(data) != n.Inode.Content.SHA256 {
			t.Errorf("%s: content has another hash than the tree says", n.Path)
		}
		out[n.Path] = fmt.Sprintf("%04o %s", n.Inode.Mode, data)
	}
	return out
}

func everything() made {
	return made{
		project: "Big_Project", version: "1.0",
		files: map[string]string{
			"big/__init__.py":                           "x = 1\n",
			"big/":                                      "",
			"big/__pycache__/a.cpython-313.pyc":         "stale",
			"big/tool.so":                               "\x7fELF",
			"Big_Project-1.0.dist-info/METADATA":        "Name: Big-Project\n",
			"Big_Project-1.0.dist-info/INSTALLER":       "pip",
			"Big_Project-1.0.dist-info/REQUESTED":       "",
			"Big_Project-1.0.dist-info/RECORD.jws":      "signature",
			"Big_Project-1.0.dist-info/direct_url.json": "{}",
			"Big_Project-1.0.dist-info/entry_points.txt": "[console_scripts]\nbig = big.cli:main.run [extra]\n# comment\n" +
				"\n[other]\nignored = not : checked\n[gui_scripts]\nbig-gui=big:gui\n",
			"Big_Project-1.0.data/scripts/run.py":        "#!python -u\nprint(1)\n",
			"Big_Project-1.0.data/scripts/run.sh":        "#!/bin/sh\nexit\n",
			"Big_Project-1.0.data/purelib/pure.py":       "pure\n",
			"Big_Project-1.0.data/platlib/plat.py":       "plat\n",
			"Big_Project-1.0.data/headers/big.h":         "#define BIG\n",
			"Big_Project-1.0.data/data/share/big/x.json": "{}\n",
		},
		modes: map[string]fs.FileMode{"big/": fs.ModeDir | 0o755, "big/tool.so": 0o755},
	}
}

func TestEveryPartOfAWheelHasItsPlace(t *testing.T) {
	tree := rootfs.New()
	err := Unpack(t.Context(), tree, []Source{everything().source(t)}, Options{Layout: DebianLayout(13), CacheDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	const site = "usr/local/lib/python3.13/dist-packages/"
	const python = "#!/usr/bin/python3.13\n"
	want := map[string]string{
		site + "Big_Project-1.0.dist-info/RECORD":   "0644 " + everything().recordText(t),
		site + "big/__init__.py":                    "0644 x = 1\n",
		site + "big/tool.so":                        "0755 \x7fELF",
		site + "pure.py":                            "0644 pure\n",
		site + "plat.py":                            "0644 plat\n",
		site + "Big_Project-1.0.dist-info/METADATA": "0644 Name: Big-Project\n",
		site + "Big_Project-1.0.dist-info/WHEEL": "0644 Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\n" +
			"Tag: py3-none-any\n",
		site + "Big_Project-1.0.dist-info/entry_points.txt": "0644 " +
			everything().files["Big_Project-1.0.dist-info/entry_points.txt"],
		"usr/local/bin/run.py":                           "0755 " + python + "print(1)\n",
		"usr/local/bin/run.sh":                           "0755 #!/bin/sh\nexit\n",
		"usr/local/include/python3.13/big-project/big.h": "0644 #define BIG\n",
		"usr/local/share/big/x.json":                     "0644 {}\n",
		"usr/local/bin/big": "0755 " + python + "import sys\n\nfrom big.cli import main\n\n" +
			"if __name__ == \"__main__\":\n    sys.exit(main.run())\n",
		"usr/local/bin/big-gui": "0755 " + python + "import sys\n\nfrom big import gui\n\n" +
			"if __name__ == \"__main__\":\n    sys.exit(gui())\n",
	}
	if diff := cmp.Diff(want, show(t, tree)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
}

func TestCachedAndFreshTreesAreEqual(t *testing.T) {
	src, cache := everything().source(t), t.TempDir()
	var hashes [][32]byte
	unpack := func(python int) {
		tree := rootfs.New()
		if err := Unpack(t.Context(), tree, []Source{src}, Options{Layout: DebianLayout(python), CacheDir: cache}); err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, rootfs.TreeHash(tree))
	}
	unpack(13)
	unpack(13) // from the cache
	spools, err := filepath.Glob(filepath.Join(cache, spoolDir, "*.data"))
	if err != nil || len(spools) != 1 {
		t.Fatalf("spools %v, %v", spools, err)
	}
	if err := os.WriteFile(spools[0], []byte("damaged"), 0o600); err != nil {
		t.Fatal(err)
	}
	unpack(13) // the damage is noticed
	if hashes[0] != hashes[1] || hashes[0] != hashes[2] {
		t.Errorf("tree hashes %x differ", hashes)
	}
	unpack(14) // another interpreter is in the scripts: the cache must not answer
	if hashes[3] == hashes[0] {
		t.Error("another interpreter gave the same tree")
	}
}

func TestWheelIsRefused(t *testing.T) {
	with := func(name, content string) func(*made) { return func(m *made) { m.files[name] = content } }
	for name, tc := range map[string]struct {
		change func(*made)
		want   string
	}{
		"path leaves the root":      {with("../evil.py", "x"), "leaves the root"},
		"absolute path":             {with("/etc/passwd", "x"), "absolute"},
		"path not clean":            {with("big//x.py", "x"), "clean form"},
		"backslash":                 {with(`big\x.py`, "x"), "clean form"},
		"control character":         {with("big/\x01.py", "x"), "control character"},
		"no .dist-info":             {func(m *made) { m.project = "" }, "no PROJECT-VERSION"},
		"two .dist-info":            {with("other-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n"), "two .dist-info"},
		"future wheel version":      {with("Big_Project-1.0.dist-info/WHEEL", "Wheel-Version: 2.0\n"), "want 1.x"},
		"no wheel version":          {with("Big_Project-1.0.dist-info/WHEEL", "Generator: x\n"), "no Wheel-Version"},
		"file beside the schemes":   {with("Big_Project-1.0.data/x", "x"), "beside the folders"},
		"unknown scheme":            {with("Big_Project-1.0.data/etc/x", "x"), "no folder of the .data scheme"},
		"entry point without colon": {with("Big_Project-1.0.dist-info/entry_points.txt", "[console_scripts]\na = b\n"), "MODULE:ATTRIBUTE"},
		"entry point with code":     {with("Big_Project-1.0.dist-info/entry_points.txt", "[console_scripts]\na = b:c;import os\n"), "MODULE:ATTRIBUTE"},
		"command with a slash":      {with("Big_Project-1.0.dist-info/entry_points.txt", "[console_scripts]\n../a = b:c\n"), "command name"},
		"command twice":             {with("Big_Project-1.0.dist-info/entry_points.txt", "[console_scripts]\na = b:c\na = b:d\n"), "there twice"},
		"shebang without end":       {with("Big_Project-1.0.data/scripts/x", "#!python"+strings.Repeat("x", 400)), "does not end"},
		"link":                      {func(m *made) { m.files["ln"] = "/etc"; m.modes["ln"] = fs.ModeSymlink | 0o777 }, "only files and folders"},
		"device":                    {func(m *made) { m.modes["big/tool.so"] = fs.ModeDevice | 0o644 }, "only files and folders"},
		"folder with content": {func(m *made) {
			m.files["dir"] = "x"
			m.modes["dir"] = fs.ModeDir | 0o755
		}, "disagree"},
		"encrypted": {func(m *made) { m.each = func(h *zip.FileHeader) { h.Flags |= 1 } }, "encrypted"},
		"file not in RECORD": {func(m *made) {
			m.record = func(s string) string { return strings.Replace(s, "pure.py", "poor.py", 1) }
		}, "RECORD does not list"},
		"hash not RECORD's": {func(m *made) {
			m.record = func(s string) string { return strings.Replace(s, "sha256=", "sha256=A", 1)[:len(s)] }
		}, "RECORD"},
		"no hash in RECORD": {func(m *made) {
			m.record = func(s string) string { return s[:strings.Index(s, "sha256=")] + s[strings.Index(s, ",3"):] }
		}, "RECORD"},
		"size not RECORD's": {func(m *made) {
			m.record = func(s string) string { return strings.Replace(s, ",6\n", ",7\n", 1) }
		}, "RECORD says 7"},
		"weak hash in RECORD": {func(m *made) {
			m.record = func(s string) string { return strings.Replace(s, "sha256=", "md5=", 1) }
		}, "is not a SHA-256"},
	} {
		t.Run(name, func(t *testing.T) {
			m := everything()
			tc.change(&m)
			err := Unpack(t.Context(), rootfs.New(), []Source{m.source(t)}, Options{Layout: DebianLayout(13), CacheDir: t.TempDir()})
			if !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one of the format with %q", err, tc.want)
			}
		})
	}
}

func TestOtherBytesThanTheListSays(t *testing.T) {
	src := everything().source(t)
	src.Entry.SHA256 = sum("0")
	err := Unpack(t.Context(), rootfs.New(), []Source{src}, Options{Layout: DebianLayout(13), CacheDir: t.TempDir()})
	if !errors.Is(err, ErrHash) {
		t.Errorf("error %v, want %v", err, ErrHash)
	}
	m := everything()
	m.project = "other"
	src = m.source(t)
	src.Entry.Name = "big-project"
	err = Unpack(t.Context(), rootfs.New(), []Source{src}, Options{Layout: DebianLayout(13), CacheDir: t.TempDir()})
	if !errors.Is(err, ErrFormat) {
		t.Errorf("error %v, want %v: the wheel holds another project", err, ErrFormat)
	}
}

func TestTwoWheelsWithOnePath(t *testing.T) {
	a := made{project: "a", version: "1", files: map[string]string{"shared.py": "same\n", "build_backend.py": "a\n"}}
	b := made{project: "b", version: "1", files: map[string]string{"shared.py": "same\n", "build_backend.py": "b\n"}}
	sources := []Source{a.source(t), b.source(t)}
	for name, tc := range map[string]struct {
		drop map[string][]string
		want string // "" is success
	}{
		"different files":            {nil, "conflicting path"},
		"one dropped":                {map[string][]string{"b": {"build_backend.py"}}, ""},
		"dropped by pattern":         {map[string][]string{"b": {"build_*"}}, ""},
		"pattern matches nothing":    {map[string][]string{"b": {"build_backend.py", "absent.py"}}, "matches no file"},
		"no wheel of the name":       {map[string][]string{"c": {"x"}}, "no wheel has that name"},
		"pattern that cannot match":  {map[string][]string{"b": {"[x"}}, "pattern"},
		"equal files are no problem": {map[string][]string{"a": {"build_backend.py"}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tree := rootfs.New()
			err := Unpack(t.Context(), tree, sources, Options{Layout: DebianLayout(13), CacheDir: t.TempDir(), Drop: tc.drop})
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}

func TestOrderAndWorkersDoNotShow(t *testing.T) {
	var sources []Source
	for i := range 6 {
		m := made{project: fmt.Sprintf("p%d", i), version: "1", files: map[string]string{fmt.Sprintf("m%d.py", i): "x\n", "ns/__init__.py": ""}}
		sources = append(sources, m.source(t))
	}
	var first [32]byte
	for i, workers := range []int{1, 4, 0} {
		tree := rootfs.New()
		if err := Unpack(t.Context(), tree, sources, Options{Layout: DebianLayout(13), CacheDir: t.TempDir(), Workers: workers}); err != nil {
			t.Fatal(err)
		}
		if h := rootfs.TreeHash(tree); i == 0 {
			first = h
		} else if h != first {
			t.Errorf("%d workers gave another tree", workers)
		}
		slices.Reverse(sources)
	}
}

func FuzzReadArchive(f *testing.F) {
	whole := everything().bytes(f)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add(made{project: "a", version: "1", files: map[string]string{"a.py": "x"}}.bytes(f))
	f.Add(made{project: "a", version: "1", files: map[string]string{"../a.py": "x"}}.bytes(f))
	f.Add(made{project: "a", version: "1", files: map[string]string{"a-1.dist-info/entry_points.txt": "[console_scripts]\na=b:c\n"}}.bytes(f))
	f.Add([]byte("PK\x05\x06" + strings.Repeat("\x00", 18)))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := readArchive(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		for _, m := range a.members {
			if p, err := rootfs.CleanPath(m.path); err != nil || p != m.path {
				t.Fatalf("member %q got through", m.path)
			}
			if file, keep, err := a.classify(m); err == nil && keep && !fs.ValidPath(file.Path) {
				t.Fatalf("member %q has the place %q", m.path, file.Path)
			}
		}
		for _, l := range a.scripts {
			if strings.Count(string(l.text("/usr/bin/python3.13")), "\n") != 7 {
				t.Fatalf("launcher %+v has further lines", l)
			}
		}
	})
}
