package rootfs_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"cocoon/image/rootfs"
)

// plant makes a tree of files, links (name -> target) and directories (name/).
func plant(t *testing.T, names ...string) *rootfs.Tree {
	t.Helper()
	tree := rootfs.New()
	for _, name := range names {
		inode := &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes([]byte(name)), Origin: "deb test 1"}
		if link, target, ok := strings.Cut(name, " -> "); ok {
			name, inode = link, &rootfs.Inode{Type: rootfs.Symlink, Mode: 0o777, Target: target, Origin: "deb test 1"}
		} else if dir, ok := strings.CutSuffix(name, "/"); ok {
			name, inode = dir, &rootfs.Inode{Type: rootfs.Dir, Mode: 0o700, Origin: "deb test 1"}
		}
		if err := tree.Add(name, inode); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func paths(tree *rootfs.Tree) []string {
	var out []string
	for _, n := range tree.Nodes() {
		if n.Inode.Type != rootfs.Dir {
			out = append(out, n.Path)
		}
	}
	return out
}

func TestModesFollowTheOwnersXBit(t *testing.T) {
	for name, c := range map[string]struct {
		typ  rootfs.Type
		mode uint32
		want uint32
	}{
		"plain file":                   {rootfs.File, 0o600, 0o644},
		"group-writable file":          {rootfs.File, 0o664, 0o644},
		"program":                      {rootfs.File, 0o755, 0o755},
		"program for its owner only":   {rootfs.File, 0o700, 0o755},
		"x for others but not owner":   {rootfs.File, 0o645, 0o644},
		"setuid program":               {rootfs.File, 0o4755, 0o755},
		"setgid file":                  {rootfs.File, 0o2644, 0o644},
		"private directory":            {rootfs.Dir, 0o700, 0o755},
		"sticky directory":             {rootfs.Dir, 0o1777, 0o755},
		"directory without any x":      {rootfs.Dir, 0o600, 0o755},
		"symbolic link of an odd mode": {rootfs.Symlink, 0o755, 0o777},
	} {
		t.Run(name, func(t *testing.T) {
			tree := rootfs.New()
			n := &rootfs.Inode{Type: c.typ, Mode: c.mode, UID: 12, GID: 34}
			if c.typ == rootfs.Symlink {
				n.Target = "elsewhere"
			}
			if err := tree.Add("opt/x", n); err != nil {
				t.Fatal(err)
			}
			if err := rootfs.Normalise(tree, rootfs.Rules{}); err != nil {
				t.Fatal(err)
			}
			got, _ := tree.Get("opt/x")
			if got.Mode != c.want || got.UID != 0 || got.GID != 0 {
				t.Errorf("mode %#o owner %d:%d, want %#o 0:0", got.Mode, got.UID, got.GID, c.want)
			}
		})
	}
}

func TestOwnerLinesAreTheOnlyException(t *testing.T) {
	tree := plant(t, "var/lib/engine/", "var/lib/other/")
	rules := rootfs.Rules{Owners: []rootfs.Owner{{Path: "var/lib/engine", Mode: 0o1770, UID: 1010, GID: 1011}}}
	if err := rootfs.Normalise(tree, rules); err != nil {
		t.Fatal(err)
	}
	n, _ := tree.Get("var/lib/engine")
	if n.Mode != 0o1770 || n.UID != 1010 || n.GID != 1011 {
		t.Errorf("mode %#o owner %d:%d, want 01770 1010:1011", n.Mode, n.UID, n.GID)
	}
	if n, _ := tree.Get("var/lib/other"); n.Mode != 0o755 || n.UID != 0 {
		t.Errorf("a path without a line has mode %#o owner %d", n.Mode, n.UID)
	}
}

func TestForbiddenPathsAreErrorsUnlessRemoved(t *testing.T) {
	for name, c := range map[string]struct {
		path string
		why  string
	}{
		"package cache":           {"var/cache/apt/pkgcache.bin", "caches"},
		"log":                     {"var/log/alternatives.log", "logs"},
		"ldconfig's cache":        {"var/cache/ldconfig/aux-cache", "caches"},
		"package database":        {"var/lib/dpkg/status", "database"},
		"random seed":             {"var/lib/systemd/random-seed", "seed"},
		"host key":                {"etc/ssh/ssh_host_rsa_key", "host key"},
		"authorised keys":         {"root/.ssh/authorized_keys", "keys"},
		"shell history":           {"home/x/.bash_history", "history"},
		"foreign bytecode":        {"usr/lib/python3/__pycache__/a.cpython-313.pyc", "bytecode"},
		"bytecode beside source":  {"usr/lib/python3/a.pyc", "bytecode"},
		"machine id with content": {"etc/machine-id", "machine id"},
		"link into /dev":          {"dev/fd -> /proc/self/fd", "own /dev"},
		"password hashes":         {"etc/shadow", "passwords"},
		"library cache":           {"etc/ld.so.cache", "ldconfig"},
		"temporary file":          {"tmp/x", "temporary"},
		"version control":         {"usr/src/x/.git/config", "version control"},
		"container white-out":     {"usr/lib/.wh.gone", "white-out"},
	} {
		t.Run(name, func(t *testing.T) {
			err := rootfs.Normalise(plant(t, c.path), rootfs.Rules{})
			p, _, _ := strings.Cut(c.path, " ")
			for _, part := range []string{p, c.why, "deb test 1"} {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("error %v does not name %q", err, part)
				}
			}
			tree := plant(t, c.path, "usr/bin/kept")
			if err := rootfs.Normalise(tree, rootfs.Rules{Remove: []string{p}}); err != nil {
				t.Errorf("with a remove line: %v", err)
			}
			if diff := cmp.Diff([]string{"usr/bin/kept"}, paths(tree)); diff != "" {
				t.Errorf("after removal (-want +got):\n%s", diff)
			}
		})
	}
}

func TestNormaliseAcceptsWhatOnlyLooksForbidden(t *testing.T) {
	tree := plant(t, "var/log/", "var/cache/apt/", "usr/share/logs/x", "usr/lib/tmp/x", "etc/hostname.d/x")
	rules := rootfs.Rules{Generate: []rootfs.Generated{{Path: "etc/machine-id", Kind: rootfs.Text}}}
	if err := rootfs.Normalise(tree, rules); err != nil {
		t.Error(err)
	}
	compiled := &rootfs.Inode{Type: rootfs.File, Content: rootfs.Bytes(nil), Origin: rootfs.OriginCompiled}
	if err := tree.Add("usr/lib/python3/__pycache__/a.pyc", compiled); err != nil {
		t.Fatal(err)
	}
	if err := rootfs.Normalise(tree, rules); err != nil {
		t.Errorf("our own bytecode: %v", err)
	}
}

func TestDeviceNodesAreRefused(t *testing.T) {
	tree := rootfs.New()
	if err := tree.Add("usr/null", &rootfs.Inode{Type: rootfs.CharDevice, Major: 1, Minor: 3}); err != nil {
		t.Fatal(err)
	}
	err := rootfs.Normalise(tree, rootfs.Rules{})
	if err == nil || !strings.Contains(err.Error(), "device node") || !strings.Contains(err.Error(), "usr/null") {
		t.Errorf("error %v names no device node", err)
	}
	odd := rootfs.New()
	if err := odd.Add("usr/socket", &rootfs.Inode{Type: 9}); err != nil {
		t.Fatal(err)
	}
	if err := rootfs.Normalise(odd, rootfs.Rules{}); err == nil {
		t.Error("a node of an unknown type passed")
	}
}

func TestRulesThatMissAreErrors(t *testing.T) {
	for name, c := range map[string]struct {
		rules rootfs.Rules
		want  string
	}{
		"remove line that matches nothing": {rootfs.Rules{Remove: []string{"usr/lib/gone*"}}, "matches nothing"},
		"remove line for a generated file": {rootfs.Rules{
			Remove:   []string{"etc"},
			Generate: []rootfs.Generated{{Path: "etc/x", Kind: rootfs.Text, Text: "y"}},
		}, "which the recipe generates"},
		"owner line without a path": {rootfs.Rules{Owners: []rootfs.Owner{{Path: "usr/lib/gone", Mode: 0o755}}}, "no such path"},
		"owner line for a link":     {rootfs.Rules{Owners: []rootfs.Owner{{Path: "usr/link", Mode: 0o755}}}, "only files and directories"},
		"setuid by the recipe":      {rootfs.Rules{Owners: []rootfs.Owner{{Path: "usr/bin/a", Mode: 0o4755}}}, "setuid"},
		"link that leads nowhere":   {rootfs.Rules{Links: []rootfs.Link{{Path: "usr/link2", Target: "gone"}}}, "not in the layer"},
		"no certificate":            {rootfs.Rules{Generate: []rootfs.Generated{{Path: "etc/x", Kind: rootfs.Certificates, From: "usr/*.crt"}}}, "no file matches"},
		"unknown kind":              {rootfs.Rules{Generate: []rootfs.Generated{{Path: "etc/x", Kind: "magic"}}}, `"magic"`},
		"absolute path":             {rootfs.Rules{Dirs: []string{"/etc"}}, "absolute"},
		"path that is not clean":    {rootfs.Rules{Dirs: []string{"etc//x"}}, "clean"},
		"bad pattern":               {rootfs.Rules{RemoveIfPresent: []string{"usr/[a"}}, "removeIfPresent[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			tree := plant(t, "usr/bin/a", "usr/link -> bin/a", "etc/keep")
			err := rootfs.Prepare(tree, c.rules)
			if err == nil {
				err = rootfs.Normalise(tree, c.rules)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}

func TestRemoveIfPresentMayMissAndTakesSubtrees(t *testing.T) {
	tree := plant(t, "usr/share/doc/a/x", "usr/share/doc/b/y/z", "usr/bin/a")
	rules := rootfs.Rules{RemoveIfPresent: []string{"/usr/share/doc/*", "/var/cache/ldconfig/aux-cache"}}
	if err := rootfs.Normalise(tree, rules); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"usr/bin/a"}, paths(tree)); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func TestLinksOfTheRecipeMayLeadToRunTime(t *testing.T) {
	rules := rootfs.Rules{Links: []rootfs.Link{{Path: "etc/resolv.conf", Target: "/run/resolv.conf"}, {Path: "usr/bin/sh", Target: "busybox"}}}
	tree := rootfs.New()
	if err := rootfs.Prepare(tree, rules); err != nil {
		t.Fatal(err)
	}
	if err := tree.Add("usr/bin/busybox", &rootfs.Inode{Type: rootfs.File, Mode: 0o755}); err != nil {
		t.Fatal(err)
	}
	if err := rootfs.Normalise(tree, rules); err != nil {
		t.Error(err)
	}
}

func TestManyFindingsAreCounted(t *testing.T) {
	var names []string
	for i := range 50 {
		names = append(names, "var/log/"+strings.Repeat("x", i+1))
	}
	err := rootfs.Normalise(plant(t, names...), rootfs.Rules{})
	if err == nil || !strings.Contains(err.Error(), "and 30 more") || strings.Count(err.Error(), "var/log/**") != 20 {
		t.Errorf("error does not list 20 findings and count 30 more: %v", err)
	}
}

// TestNormaliseIsIdempotentAndIgnoresTheOrderOfInsertion holds the two properties that reproducibility needs.
func TestNormaliseIsIdempotentAndIgnoresTheOrderOfInsertion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type file struct {
			name string
			mode uint32
		}
		files := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) file {
			return file{
				name: rapid.StringMatching(`[a-c]{1,2}(/[a-c]{1,2}){0,2}/f[0-9]`).Draw(t, "name"),
				mode: rapid.Uint32Range(0, 0o7777).Draw(t, "mode"),
			}
		}), 1, 12, func(f file) string { return f.name }).Draw(t, "files")
		build := func(order []file) *rootfs.Tree {
			tree := rootfs.New()
			for _, f := range order {
				inode := &rootfs.Inode{Type: rootfs.File, Mode: f.mode, UID: f.mode, Content: rootfs.Bytes([]byte(f.name))}
				if err := tree.Add(f.name, inode); err != nil {
					t.Fatal(err)
				}
			}
			if err := rootfs.Normalise(tree, rootfs.Rules{}); err != nil {
				t.Fatal(err)
			}
			return tree
		}
		one, other := build(files), build(rapid.Permutation(files).Draw(t, "order"))
		want := rootfs.TreeHash(one)
		if rootfs.TreeHash(other) != want {
			t.Fatal("the tree depends on the order of insertion")
		}
		if err := rootfs.Normalise(one, rootfs.Rules{}); err != nil || rootfs.TreeHash(one) != want {
			t.Fatalf("normalising twice changes the tree (%v)", err)
		}
	})
}
