package rootfs_test

import (
	"crypto/sha256"
	"encoding/pem"
	"strings"
	"testing"

	"cocoon/image/rootfs"
)

func read(t *testing.T, tree *rootfs.Tree, name string) string {
	t.Helper()
	n, ok := tree.Get(name)
	if !ok {
		t.Fatalf("no %s in the tree", name)
	}
	data, err := n.Content.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func add(t *testing.T, tree *rootfs.Tree, name, text string) {
	t.Helper()
	if err := tree.Add(name, &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes([]byte(text)), Origin: "deb test 1"}); err != nil {
		t.Fatal(err)
	}
}

func certificate(text string) string {
	sum := sha256.Sum256([]byte(text))
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: sum[:]}))
}

func TestCertificateBundleIsBytewiseSortedAndEndsEachFileWithANewline(t *testing.T) {
	tree := rootfs.New()
	a, b, c := certificate("a"), strings.TrimSuffix(certificate("b"), "\n"), certificate("c")
	add(t, tree, "usr/share/ca/mozilla/a.crt", a)
	add(t, tree, "usr/share/ca/mozilla/Z.crt", b) // upper case sorts first bytewise
	add(t, tree, "usr/share/ca/mozilla/\u00c9.crt", c)
	add(t, tree, "usr/share/ca/other/x.crt", certificate("left out"))
	rules := rootfs.Rules{Generate: []rootfs.Generated{
		{Path: "etc/ssl/certs/ca-certificates.crt", Kind: rootfs.Certificates, From: "usr/share/ca/mozilla/*.crt"},
	}}
	if err := rootfs.Normalise(tree, rules); err != nil {
		t.Fatal(err)
	}
	if got, want := read(t, tree, "etc/ssl/certs/ca-certificates.crt"), b+"\n"+a+c; got != want {
		t.Errorf("bundle\n%s\nwant\n%s", got, want)
	}
}

func TestCertificateBundleRefusesAnythingElse(t *testing.T) {
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")}))
	for name, text := range map[string]string{
		"private key":       key,
		"key behind a cert": certificate("a") + key,
		"text before":       "# comment\n" + certificate("a"),
		"text behind":       certificate("a") + "junk\n",
		"damaged base64":    strings.Replace(certificate("a"), "CERTIFICATE-----\n", "CERTIFICATE-----\n!", 1),
		"empty file":        "",
		"too large":         strings.Repeat(certificate("a"), 2000),
	} {
		t.Run(name, func(t *testing.T) {
			tree := rootfs.New()
			add(t, tree, "usr/ca/a.crt", text)
			err := rootfs.Normalise(tree, rootfs.Rules{Generate: []rootfs.Generated{{Path: "etc/b", Kind: rootfs.Certificates, From: "usr/ca/*"}}})
			if err == nil || !strings.Contains(err.Error(), "usr/ca/a.crt") {
				t.Errorf("error %v does not name the file", err)
			}
		})
	}
}

func TestAccountFilesAreSortedByID(t *testing.T) {
	tree := rootfs.New()
	rules := rootfs.Rules{
		Users: []rootfs.User{
			{Name: "nobody", UID: 65534, GID: 65534, Home: "/"},
			{Name: "engine", UID: 1010, GID: 1010, Home: "/var/empty"},
			{Name: "root", UID: 0, GID: 0, Home: "/root"},
		},
		Groups: []rootfs.Group{{Name: "nogroup", GID: 65534}, {Name: "engine", GID: 1010, Members: []string{"root", "nobody"}}, {Name: "root"}},
		Generate: []rootfs.Generated{
			{Path: "etc/passwd", Kind: rootfs.Passwd}, {Path: "etc/group", Kind: rootfs.GroupFile},
		},
	}
	if err := rootfs.Normalise(tree, rules); err != nil {
		t.Fatal(err)
	}
	passwd := "root:x:0:0::/root:/usr/sbin/nologin\nengine:x:1010:1010::/var/empty:/usr/sbin/nologin\nnobody:x:65534:65534::/:/usr/sbin/nologin\n"
	if got := read(t, tree, "etc/passwd"); got != passwd {
		t.Errorf("passwd %q, want %q", got, passwd)
	}
	if got, want := read(t, tree, "etc/group"), "root:x:0:\nengine:x:1010:nobody,root\nnogroup:x:65534:\n"; got != want {
		t.Errorf("group %q, want %q", got, want)
	}
}

func TestGeneratedTextReplacesAPackagesFile(t *testing.T) {
	tree := rootfs.New()
	add(t, tree, "usr/lib/os-release", "ID=debian\n")
	rules := rootfs.Rules{Generate: []rootfs.Generated{{Path: "usr/lib/os-release", Kind: rootfs.Text, Text: "ID=cocoon\n"}}}
	if err := rootfs.Normalise(tree, rules); err != nil {
		t.Fatal(err)
	}
	if got := read(t, tree, "usr/lib/os-release"); got != "ID=cocoon\n" {
		t.Errorf("os-release %q", got)
	}
	if n, _ := tree.Get("usr/lib/os-release"); n.Origin != rootfs.OriginRecipe {
		t.Errorf("origin %q", n.Origin)
	}
}

func TestAccountRulesAreChecked(t *testing.T) {
	root := rootfs.Group{Name: "root"}
	for name, c := range map[string]struct {
		users  []rootfs.User
		groups []rootfs.Group
		want   string
	}{
		"name with a colon":   {[]rootfs.User{{Name: "a:b", Home: "/"}}, []rootfs.Group{root}, "users[0].name"},
		"two users, one id":   {[]rootfs.User{{Name: "a", Home: "/"}, {Name: "b", Home: "/"}}, []rootfs.Group{root}, `users[1].uid: 0 is the id of "a"`},
		"one name twice":      {[]rootfs.User{{Name: "a", Home: "/"}, {Name: "a", UID: 1, Home: "/"}}, []rootfs.Group{root}, "users[1].name"},
		"group is missing":    {[]rootfs.User{{Name: "a", GID: 7, Home: "/"}}, []rootfs.Group{root}, "users[0].gid: 7"},
		"relative home":       {[]rootfs.User{{Name: "a", Home: "home"}}, []rootfs.Group{root}, "users[0].home"},
		"home with a newline": {[]rootfs.User{{Name: "a", Home: "/\nroot:x:0:0"}}, []rootfs.Group{root}, "users[0].home"},
		"uid too large":       {[]rootfs.User{{Name: "a", UID: 65535, Home: "/"}}, []rootfs.Group{root}, "users[0].uid"},
		"unknown member":      {nil, []rootfs.Group{{Name: "root", Members: []string{"who"}}}, `"who" is not a user`},
		"two groups, one id":  {nil, []rootfs.Group{root, {Name: "b"}}, "groups[1].gid"},
	} {
		t.Run(name, func(t *testing.T) {
			err := rootfs.Rules{Users: c.users, Groups: c.groups}.Validate()
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
		})
	}
}
