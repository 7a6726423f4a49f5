package spec_test

import (
	"io/fs"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"cocoon/measure/spec"
	"cocoon/measure/tdx"
	"cocoon/tests/golden"
)

// vectors is the part of cocoon.json this package answers for.
type vectors struct {
	Tree struct {
		Files []struct {
			Path, Mode, Content string
			Hashed              bool
		}
		Empty    []string          `json:"empty_directories"`
		Subtrees map[string]string `json:"subtrees"`
		Hash     string            `json:"tree_sha256"`
	} `json:"spec_tree"`
	RTMR3 struct{ Production, Debug []message }
}

type message struct {
	Message string
	SHA384  tdx.Digest
	After   tdx.Digest `json:"rtmr3_after"`
}

func readVectors(tb testing.TB) vectors {
	tb.Helper()
	var v vectors
	golden.JSON(tb, "measure/cocoon.json", &v)
	return v
}

// source is the vector's directory.
func (v vectors) source(tb testing.TB) fstest.MapFS {
	tb.Helper()
	fsys := fstest.MapFS{}
	for _, f := range v.Tree.Files {
		mode, err := strconv.ParseUint(f.Mode, 8, 32)
		if err != nil {
			tb.Fatal(err)
		}
		fsys[f.Path] = &fstest.MapFile{Data: []byte(f.Content), Mode: fs.FileMode(mode)}
	}
	for _, d := range v.Tree.Empty {
		fsys[d] = &fstest.MapFile{Mode: fs.ModeDir | 0o755}
	}
	return fsys
}

func hash(tb testing.TB, s string) spec.Hash {
	tb.Helper()
	h, err := spec.ParseHash(s)
	if err != nil {
		tb.Fatal(err)
	}
	return h
}

func TestVectorDirectoryHashesToItsTree(t *testing.T) {
	v := readVectors(t)
	files, tree, err := spec.FromFS(v.source(t))
	if err != nil {
		t.Fatal(err)
	}
	if tree.String() != v.Tree.Hash {
		t.Errorf("tree %s, want %s", tree, v.Tree.Hash)
	}
	var want, got []string
	for _, f := range v.Tree.Files {
		if f.Hashed {
			want = append(want, f.Path)
		}
	}
	for _, f := range files {
		got = append(got, f.Path)
	}
	if diff := cmp.Diff(len(want), len(got)); diff != "" {
		t.Errorf("files %v, want %v in some order", got, want)
	}
	for dir, sum := range v.Tree.Subtrees {
		var below []spec.File
		for _, f := range files {
			if name, ok := strings.CutPrefix(f.Path, dir+"/"); ok {
				f.Path = name
				below = append(below, f)
			}
		}
		if h, err := spec.TreeHash(below); err != nil || h.String() != sum {
			t.Errorf("subtree %s is %s (%v), want %s", dir, h, err, sum)
		}
	}
}

func TestEmptySpecIsGitsEmptyTree(t *testing.T) {
	// git hash-object -t tree /dev/null in a SHA-256 repository.
	const want = "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321"
	if h, err := spec.TreeHash(nil); err != nil || h.String() != want {
		t.Errorf("empty tree is %s (%v), want %s", h, err, want)
	}
}

func TestTreeHashCoversPathModeAndContent(t *testing.T) {
	base := []spec.File{{Path: "a", Data: []byte("1")}, {Path: "b/c", Data: []byte("2")}}
	first, err := spec.TreeHash(base)
	if err != nil {
		t.Fatal(err)
	}
	for name, edit := range map[string]func(f []spec.File){
		"path": func(f []spec.File) { f[0].Path = "A" }, "folder": func(f []spec.File) { f[1].Path = "bb/c" },
		"mode": func(f []spec.File) { f[0].Executable = true }, "content": func(f []spec.File) { f[1].Data = []byte("3") },
	} {
		changed := append([]spec.File(nil), base...)
		edit(changed)
		if h, err := spec.TreeHash(changed); err != nil || h == first {
			t.Errorf("%s: hash %s did not change (%v)", name, h, err)
		}
	}
}

func TestRTMR3MatchesVectors(t *testing.T) {
	v := readVectors(t)
	tree := hash(t, v.Tree.Hash)
	for name, debug := range map[string]bool{"production": false, "debug": true} {
		steps := v.RTMR3.Production
		if debug {
			steps = v.RTMR3.Debug
		}
		if len(steps) < 2 {
			t.Fatalf("%s has %d messages", name, len(steps))
		}
		messages := spec.Messages(tree, debug)
		if len(messages) != len(steps) {
			t.Fatalf("%s: %d messages, want %d", name, len(messages), len(steps))
		}
		for i, s := range steps {
			d, err := spec.MessageDigest(messages[i])
			if messages[i] != s.Message || d != s.SHA384 || err != nil {
				t.Errorf("%s %d: %q %s (%v), want %q %s", name, i, messages[i], d, err, s.Message, s.SHA384)
			}
		}
		want := spec.RTMR3{Seal: steps[len(steps)-2].After, Final: steps[len(steps)-1].After}
		if got := spec.PredictRTMR3(tree, debug); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func TestMessagesAreOnePrintableLine(t *testing.T) {
	for _, bad := range []string{"", "a\nb", "a\x00", "caf\u00e9", "\x7f", strings.Repeat("x", 1025)} {
		if _, err := spec.MessageDigest(bad); err == nil {
			t.Errorf("%.20q was accepted", bad)
		}
	}
}

func TestHashText(t *testing.T) {
	for _, bad := range []string{"", strings.Repeat("0", 63), strings.Repeat("A", 64), strings.Repeat("g", 64)} {
		if _, err := spec.ParseHash(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestBadFileListsAreRefused(t *testing.T) {
	f := func(paths ...string) []spec.File {
		var out []spec.File
		for _, p := range paths {
			out = append(out, spec.File{Path: p})
		}
		return out
	}
	tests := map[string]struct {
		files []spec.File
		want  string
	}{
		"unsorted":           {f("b", "a"), "sorted bytewise"},
		"duplicate":          {f("a", "a"), "sorted bytewise"},
		"git order":          {f("sub/a", "sub.x"), "sorted bytewise"},
		"file is a folder":   {f("a", "a-b", "a/b"), "also a folder"},
		"empty path":         {f(""), "not a name"},
		"absolute":           {f("/a"), "not a name"},
		"trailing slash":     {f("a/"), "not a name"},
		"dot":                {f("a/./b"), "not a name"},
		"dot dot":            {f("../a"), "not a name"},
		"space":              {f("a b"), "0x20"},
		"NUL":                {f("a\x00"), "0x00"},
		"non-ASCII":          {f("\u00e9"), "0xc3"},
		"runtime folder":     {f("runtime/x"), "unmeasured"},
		"spec.tree":          {f("spec.tree"), "describes a spec"},
		"spec.meta":          {f("spec.meta"), "describes a spec"},
		"gitignore":          {f("a/.gitignore"), "git's own"},
		"git folder":         {f("a/.git/config"), "git's own"},
		"git folder in caps": {f(".GIT"), "git's own"},
		"long path":          {f(strings.Repeat("x", 256)), "at most 255"},
		"deep path":          {f(strings.Repeat("d/", 16) + "x"), "at most 16"},
		"large file":         {[]spec.File{{Path: "a", Data: make([]byte, spec.MaxFileSize+1)}}, "at most 10000000"},
		"too many":           {make([]spec.File, spec.MaxFiles+1), "at most 1024"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := spec.TreeHash(tc.files); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
	if err := spec.Check(f(".hidden", "runtime", "runtime.x", "sub/runtime/x", "sub/spec.tree")); err != nil {
		t.Errorf("names that only look refused: %v", err)
	}
}
