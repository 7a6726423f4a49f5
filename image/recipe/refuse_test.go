package recipe_test

import (
	"strings"
	"testing"

	"cocoon/image/recipe"
)

// TestBrokenRulesAreNamed changes one line of a legal recipe and wants the error to say where and what.
func TestBrokenRulesAreNamed(t *testing.T) {
	for name, c := range map[string]struct{ file, old, new, want string }{
		"unknown TOML key":         {"image.toml", `role = "base"`, "role = \"base\"\ncolour = 1", "image.toml:17: unknown key layers.base.colour"},
		"unknown TOML table":       {"image.toml", "[builds]", "[bulids]", "unknown key bulids"},
		"wrong TOML type":          {"image.toml", `dirs = ["proc"]`, "dirs = 3", "image.toml:18: "},
		"TOML syntax":              {"image.toml", "[kernel]", "[kernel", "image.toml:"},
		"document version":         {"image.toml", "version = 1\n", "version = 2\n", "version 2, this program reads 1"},
		"toolchain":                {"image.toml", `go = "1.26.8"`, `go = "go1.26"`, "go: "},
		"unknown section":          {"mkosi.conf", "[Content]", "[Host]", "mkosi.conf:5: section [Host]"},
		"unknown key":              {"mkosi.conf", "RemoveFiles=", "Postinst=", "mkosi.conf:9: key Postinst has no meaning in [Content]"},
		"other distribution":       {"mkosi.conf", "Distribution=debian", "Distribution=fedora", `mkosi.conf:2: Distribution: "fedora"`},
		"epoch before 1980":        {"mkosi.conf", "SourceDateEpoch=1735689600", "SourceDateEpoch=0", "mkosi.conf:5: SourceDateEpoch"},
		"no epoch":                 {"mkosi.conf", "SourceDateEpoch=1735689600\n", "", "no SourceDateEpoch"},
		"two epochs":               {"mkosi.profiles/worker/mkosi.conf", "[Content]", "[Content]\nSourceDateEpoch=1735689601", "every artefact has one epoch"},
		"package name":             {"mkosi.conf", "base-files", "Base_Files", `layers.base: package: "Base_Files"`},
		"package twice":            {"mkosi.conf", "base-files", "libc6", "layers.base: package libc6 appears twice"},
		"no package":               {"mkosi.profiles/worker/mkosi.conf", "Packages=engine, tool", "", "layers.engine: names no package"},
		"mirror with a slash":      {"image.toml", `mirror = "http://example.org/debian"`, `mirror = "http://example.org/debian/"`, ".mirror: "},
		"mirror of another kind":   {"image.toml", `mirror = "http://example.org/debian"`, `mirror = "file:///x"`, ".mirror: "},
		"keyring without a key":    {"keyring/a.asc", "BEGIN", "END", "suites.forky.keyring: no armored public key"},
		"unknown suite":            {"image.toml", `suites = ["forky"]`, `suites = ["forky-x"]`, `layers.engine.suites[0]: no suite "forky-x"`},
		"suite of another release": {"image.toml", `suites = ["forky"]`, `suites = ["trixie"]`, `"trixie" is not of release "forky"`},
		"no suite":                 {"image.toml", `suites = ["forky"]`, `suites = []`, "layers.engine.suites: none"},
		"unknown role":             {"image.toml", `role = "engine"`, `role = "motor"`, `layers.engine.role: "motor"`},
		"extends nothing":          {"image.toml", `extends = "base"`, `extends = "x"`, "layers.base-debug.extends"},
		"exclusion without reason": {"image.toml", `debconf = "no questions"`, `debconf = ""`, "layers.base.exclude.debconf: no reason"},
		"exclusion of a named one": {"image.toml", `debconf = "no questions"`, `libc6 = "why not"`, "layers.base.exclude.libc6: the definition names"},
		"absolute pattern":         {"image.toml", `drop = ["usr/share/bug/**"]`, `drop = ["/usr"]`, "layers.base.drop[0]"},
		"bad pattern":              {"image.toml", `base-files = ["etc/*"]`, `base-files = ["etc/["]`, "layers.base.files.base-files[0]"},
		"no pattern":               {"image.toml", `base-files = ["etc/*"]`, `base-files = []`, "layers.base.files.base-files: no pattern"},
		"rule of the tree":         {"image.toml", "mode = 0o750", "mode = 0o4750", "layers.base: owners[0].mode"},
		"layer named like a group": {"image.toml", "[groups.tools]", "[groups.engine]", "groups.engine: a layer has this name"},
		"group without a use":      {"image.toml", "optional = true", "optional = false", "groups.tools: nothing uses it"},
		"pin outside the pool":     {"image.toml", "pool/main/o/old.deb", "../x.deb", "groups.tools.pinned[0].path"},
		"pin without a hash":       {"image.toml", `.deb", sha256 = "ab`, `.deb", sha256 = "AB`, "groups.tools.pinned[0].sha256"},
		"pin of another suite":     {"image.toml", `suite = "trixie"`, `suite = "forky"`, "groups.tools.pinned[0].suite"},
		"kernel is not a package":  {"image.toml", `version = "6.18.15+x"`, `version = "6.18.16+x"`, `does not name the package "linux-image-6.18.16+x"`},
		"stub path leaves":         {"image.toml", `path = "usr/lib/stub"`, `path = "../stub"`, "stub: "},
		"firmware group":           {"image.toml", "[firmware]\ngroup = \"boot\"", "[firmware]\ngroup = \"fw\"", `no package group "fw"`},
		"module set":               {"image.toml", `modules = ["debug"]`, `modules = ["debgu"]`, `no module set "debgu"; there are: base, debug`},
		"module name":              {"image.toml", `"dm_verity"`, `"dm verity"`, `images.proxy.modules (production): "dm verity"`},
		"image's profile":          {"image.toml", `profile = "proxy"`, `profile = "client"`, `images.proxy.profile: "client"`},
		"unknown layer":            {"image.toml", `layers = ["base"]`, `layers = ["bass"]`, `images.proxy.layers[0]: no layer "bass"`},
		"base is not first":        {"image.toml", `layers = ["base", "engine"]`, `layers = ["engine", "base"]`, "images.worker.layers[0]"},
		"two layers of a role":     {"image.toml", `layers = ["base", "engine"]`, `layers = ["base", "base-debug"]`, "a second layer of role"},
		"console on command line":  {"image.toml", `"swiotlb=1048576"`, `"console=ttyS1"`, `images.worker.cmdline[0]: "console"`},
		"debug marker by hand":     {"image.toml", `"swiotlb=1048576"`, `"cocoon_debug"`, `images.worker.cmdline[0]: "cocoon_debug"`},
		"two words in one":         {"image.toml", `"swiotlb=1048576"`, `"a=1 init=/bin/sh"`, "images.worker.cmdline[0]"},
		"unknown variant":          {"image.toml", "[variants.debug]", "[variants.release]", "variants.release: no profile"},
		"replacement's role":       {"image.toml", `replace = { base = "base-debug" }`, `replace = { base = "engine" }`, "variants.debug.replace.base"},
		"unknown image in a build": {"image.toml", `cpu = ["worker", "proxy"]`, `cpu = ["x"]`, `builds.cpu[0]: no image "x"`},
		"empty build":              {"image.toml", `cpu = ["worker", "proxy"]`, `cpu = []`, "builds.cpu: no images"},
		"definition nobody reads":  {"image.toml", `profile = "worker"` + "\nsuites", "suites", "no layer and no group names the profile \"worker\""},
	} {
		t.Run(name, func(t *testing.T) {
			fsys := room()
			text := string(fsys[c.file].Data)
			if !strings.Contains(text, c.old) {
				t.Fatalf("%s has no %q to change", c.file, c.old)
			}
			fsys[c.file].Data = []byte(strings.Replace(text, c.old, c.new, 1))
			_, err := recipe.LoadFS(fsys)
			if err == nil {
				t.Fatal("the recipe loads")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error\n%v\nwant one with %q", err, c.want)
			}
		})
	}
}

// TestAllProblemsAreReported wants one load to name several independent mistakes, each once.
func TestAllProblemsAreReported(t *testing.T) {
	fsys := room()
	text := string(fsys["image.toml"].Data)
	text = strings.Replace(text, `role = "engine"`, `role = "motor"`, 1)
	text = strings.Replace(text, `cpu = ["worker", "proxy"]`, `cpu = ["x"]`, 1)
	fsys["image.toml"].Data = []byte(text)
	fsys["mkosi.conf"].Data = []byte(strings.Replace(mainConf, "Distribution=debian", "Distribution=fedora", 1))
	_, err := recipe.LoadFS(fsys)
	if err == nil {
		t.Fatal("the recipe loads")
	}
	for _, want := range []string{"layers.engine.role", "builds.cpu[0]", "mkosi.conf:2"} {
		if n := strings.Count(err.Error(), want); n != 1 {
			t.Errorf("%q appears %d times in\n%v", want, n, err)
		}
	}
}
