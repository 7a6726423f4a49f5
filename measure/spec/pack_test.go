package spec_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/spec"
)

func TestPackingRefusesWhatGitCannotHash(t *testing.T) {
	file := func(data string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(data), Mode: 0o644} }
	tests := map[string]struct {
		fsys fstest.MapFS
		want string
	}{
		"symbolic link":        {fstest.MapFS{"l": {Data: []byte("x"), Mode: fs.ModeSymlink}}, "only regular files"},
		"named pipe":           {fstest.MapFS{"p": {Mode: fs.ModeNamedPipe}}, "only regular files"},
		"nested repository":    {fstest.MapFS{"a/.git/HEAD": file("x")}, "a/.git"},
		"submodule file":       {fstest.MapFS{"a/.git": file("gitdir: x")}, "a/.git"},
		"large file":           {fstest.MapFS{"a": {Data: make([]byte, spec.MaxFileSize+1)}}, "at most 10000000"},
		"name":                 {fstest.MapFS{"a b": file("")}, "0x20"},
		"linked gitignore":     {fstest.MapFS{".gitignore": {Data: []byte("x"), Mode: fs.ModeSymlink}}, "regular file"},
		"long gitignore line":  {fstest.MapFS{".gitignore": file(strings.Repeat("x", 1025))}, "line 1"},
		"large gitignore":      {fstest.MapFS{".gitignore": file(strings.Repeat("x\n", 40000))}, "at most 65536"},
		"other spec.tree":      {fstest.MapFS{"a": file(""), "spec.tree": file("00\n")}, "edited after"},
		"spec.tree of garbage": {fstest.MapFS{"a": file(""), "spec.tree": file(strings.Repeat("0", 66))}, "at most 65"},
		"too deep":             {fstest.MapFS{strings.Repeat("d/", 17) + "x": file("")}, "deeper than 16"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, _, err := spec.FromFS(tc.fsys); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestPackingAcceptsItsOwnHash(t *testing.T) {
	v := readVectors(t)
	fsys := v.source(t)
	fsys["spec.tree"] = &fstest.MapFile{Data: []byte(v.Tree.Hash + "\n"), Mode: 0o644}
	fsys["spec.meta"] = &fstest.MapFile{Data: []byte("timestamp: 1\n"), Mode: 0o644}
	if _, tree, err := spec.FromFS(fsys); err != nil || tree.String() != v.Tree.Hash {
		t.Errorf("tree %s (%v), want %s", tree, err, v.Tree.Hash)
	}
}

// Patterns whose meaning is easy to get wrong; git decides below whether the expectations hold.
var ignoreCases = map[string]struct {
	ignore map[string]string // folder -> .gitignore
	files  string
	kept   string
}{
	"name at any depth":      {map[string]string{".": "x"}, "x a/x a/y", "a/y"},
	"anchored":               {map[string]string{".": "/x\na/y"}, "x a/x a/y b/a/y", "a/x b/a/y"},
	"folder only":            {map[string]string{".": "x/"}, "x a/x/y b/x", "b/x x"},
	"negation":               {map[string]string{".": "*.t\n!k.t"}, "a.t k.t s/k.t s/b.t", "k.t s/k.t"},
	"no way back in":         {map[string]string{".": "d/\n!d/k"}, "d/k e", "e"},
	"contents then back":     {map[string]string{".": "d/*\n!d/k"}, "d/k d/j e", "d/k e"},
	"deeper file decides":    {map[string]string{".": "*.t", "s": "!*.t"}, "a.t s/a.t s/u/b.t", "s/a.t s/u/b.t"},
	"deeper file is local":   {map[string]string{"s": "/x"}, "x s/x s/u/x", "s/u/x x"},
	"star stops at slash":    {map[string]string{".": "a/*.t"}, "a/x.t a/b/x.t", "a/b/x.t"},
	"leading stars":          {map[string]string{".": "**/x"}, "x a/x a/b/x y", "y"},
	"trailing stars":         {map[string]string{".": "a/**"}, "a/x a/b/y b/a/z", "b/a/z"},
	"middle stars":           {map[string]string{".": "a/**/z"}, "a/z a/b/z a/b/c/z a/b/y z", "a/b/y z"},
	"stars in a name":        {map[string]string{".": "a**z"}, "abcz a/z q", "a/z q"},
	"question mark":          {map[string]string{".": "a?c"}, "abc ac a/c", "a/c ac"},
	"class":                  {map[string]string{".": "[a-c]1\n[!x-z]2\n[[:digit:]]3"}, "a1 d1 x2 a2 43 b3", "b3 d1 x2"},
	"class with bracket":     {map[string]string{".": "[]x]1"}, "x1 y1", "y1"},
	"unterminated class":     {map[string]string{".": "[a"}, "a b", "a b"},
	"comment and blank":      {map[string]string{".": "# x\n\n\\#y\n  \nx "}, "x y", "y"},
	"quoted":                 {map[string]string{".": "\\x\n\\!y\n"}, "x y", "y"},
	"carriage return":        {map[string]string{".": "x\r\n"}, "x y", "y"},
	"whole tree":             {map[string]string{".": "*"}, "x a/y", ""},
	"whole tree but folders": {map[string]string{".": "*\n!*/\n!*.k"}, "x a/y a/z.k w.k", "a/z.k w.k"},
	"slash in the middle":    {map[string]string{"s": "u/x"}, "s/u/x s/v/u/x u/x", "s/v/u/x u/x"},
	"only slash":             {map[string]string{".": "/\n!\nx"}, "x y", "y"},
	"byte order mark":        {map[string]string{".": "\uFEFFx"}, "x y", "y"},
	"case":                   {map[string]string{".": "X"}, "x y", "x y"},
}

func writeCase(t *testing.T, ignore map[string]string, files string) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name, data string) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for f := range strings.FieldsSeq(files) {
		write(f, f)
	}
	for folder, text := range ignore {
		write(folder+"/.gitignore", text)
	}
	return dir
}

func TestIgnoreRulesMeanWhatGitSays(t *testing.T) {
	git, gitErr := exec.LookPath("git")
	for name, tc := range ignoreCases {
		t.Run(name, func(t *testing.T) {
			dir := writeCase(t, tc.ignore, tc.files)
			files, _, err := spec.FromFS(os.DirFS(dir))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range files {
				got = append(got, f.Path)
			}
			want := strings.Fields(tc.kept)
			if strings.Join(got, " ") != strings.Join(want, " ") {
				t.Errorf("kept %v, want %v", got, want)
			}
			if gitErr != nil {
				t.Skipf("git is not installed, so only the stored expectation was checked: %v", gitErr)
			}
			if diff := cmp.Diff(gitFiles(t, git, dir), strings.Join(got, " ")); diff != "" {
				t.Errorf("git keeps other files (-git +ours):\n%s", diff)
			}
		})
	}
}

// gitFiles lists what git would add, .gitignore files left out.
func gitFiles(t *testing.T, git, dir string) string {
	t.Helper()
	run := func(args ...string) string {
		cmd := exec.CommandContext(t.Context(), git, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "LC_ALL=C")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return string(out)
	}
	run("init", "-q")
	var kept []string
	for f := range strings.FieldsSeq(run("ls-files", "-co", "--exclude-standard")) {
		if filepath.Base(f) != ".gitignore" {
			kept = append(kept, f)
		}
	}
	return strings.Join(kept, " ")
}

func TestTreeHashEqualsGit(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skipf("git is not installed: %v", err)
	}
	dir := writeCase(t, nil, "z sub/a sub.x sub-1 sub/deep/b sub0 A/b.c")
	if err := os.Chmod(filepath.Join(dir, "sub", "a"), 0o755); err != nil {
		t.Fatal(err)
	}
	_, tree, err := spec.FromFS(os.DirFS(dir))
	if err != nil {
		t.Fatal(err)
	}
	var out string
	for _, args := range [][]string{
		{"init", "-q", "--object-format=sha256"}, {"-c", "core.autocrlf=false", "add", "-A"}, {"write-tree"},
	} {
		cmd := exec.CommandContext(t.Context(), git, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		raw, err := cmd.CombinedOutput()
		if err != nil {
			t.Skipf("git %v does not work here (SHA-256 needs git 2.29): %v\n%s", args, err, raw)
		}
		out = strings.TrimSpace(string(raw))
	}
	if out != tree.String() {
		t.Errorf("tree %s, git says %s", tree, out)
	}
}

// Packing terminates quickly whatever a .gitignore holds, and ignoring everything always keeps nothing.
func FuzzIgnore(f *testing.F) {
	for _, tc := range ignoreCases {
		f.Add(tc.ignore["."], "a/x.t")
	}
	f.Add(strings.Repeat("*a", 300), strings.Repeat("a", 200))
	f.Add(strings.Repeat("**/", 100)+"z", "a/b/c/d/e/f")
	f.Fuzz(func(t *testing.T, ignore, name string) {
		if !fs.ValidPath(name) || strings.HasPrefix(name, ".") || len(name) > 200 {
			return
		}
		fsys := fstest.MapFS{".gitignore": {Data: []byte(ignore)}, name: {Data: []byte("x")}}
		files, _, err := spec.FromFS(fsys)
		if err == nil && len(files) > 1 {
			t.Errorf("one file became %d", len(files))
		}
		fsys[".gitignore"] = &fstest.MapFile{Data: []byte(ignore + "\n*\n")}
		if files, _, err := spec.FromFS(fsys); err == nil && len(files) != 0 {
			t.Errorf("%s survived a final *", files[0].Path)
		}
	})
}
