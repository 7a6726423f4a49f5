package oci

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"cocoon/image/deb"
	"cocoon/image/fetch"
	"cocoon/image/gobuild"
	"cocoon/image/lock"
	"cocoon/image/rootfs"
)

// What is where in the gateway's image.
const (
	program      = "usr/bin/cocoon"
	certificates = "etc/ssl/certs/ca-certificates.crt"
	state        = "var/lib/cocoon"
	settings     = "etc/cocoon"
	// nobody is the user that distributions without users have agreed on.
	nobody = 65532
	// caPackage brings the roots for TLS to collateral services.
	caPackage = "ca-certificates"
	// programPackage is the main package of the host's program.
	programPackage = "./cmd/cocoon"
	// Port is where the gateway answers within its container.
	Port = 10000
)

// GatewaySpec says what the gateway's image is made from.
type GatewaySpec struct {
	// Root is the checkout, with the lock, which names the toolchain, the time and the certificates.
	Root string
	Lock *lock.Lock
	// Store holds locked inputs, Fetch says how they are found, CacheDir keeps compiled and unpacked packages.
	Store    *fetch.Store
	Fetch    fetch.Options
	CacheDir string
	// Go is the go command; empty looks in PATH.
	Go string
	// Version is what the image's label says.
	Version string
}

// Gateway is an image of the gateway with what went into it.
type Gateway struct {
	Image   v1.Image
	Created time.Time
	// Program is the SHA-256 of the binary, Certificates the name and version of the package that brought the roots.
	Program, Certificates string
	Size                  int64
}

// BuildGateway compiles the program with the pinned toolchain and flags, and puts it into an image with certificates and
// nothing else: no shell, no libraries, no root user.
func BuildGateway(ctx context.Context, s GatewaySpec) (*Gateway, error) {
	if s.Lock == nil || s.Store == nil || s.Root == "" || s.CacheDir == "" {
		return nil, errors.New("building the gateway's image: checkout, lock, store and cache are needed")
	}
	work, err := os.MkdirTemp(s.CacheDir, ".oci-")
	if err != nil {
		return nil, fmt.Errorf("building the gateway's image: %w", err)
	}
	defer os.RemoveAll(work) //nolint:errcheck // our own scratch folder
	binary := filepath.Join(work, "cocoon")
	info, err := gobuild.Build(ctx, gobuild.Spec{
		Dir: s.Root, Package: programPackage, Out: binary, CacheDir: filepath.Join(s.CacheDir, "go-build"), GoVersion: s.Lock.Go, Go: s.Go,
	})
	if err != nil {
		return nil, err
	}
	tree, from, err := s.certificates(ctx)
	if err != nil {
		return nil, fmt.Errorf("building the gateway's image: certificates: %w", err)
	}
	if err := addProgram(tree, binary, info); err != nil {
		return nil, fmt.Errorf("building the gateway's image: %w", err)
	}
	if err := rootfs.Normalise(tree, gatewayRules()); err != nil {
		return nil, fmt.Errorf("building the gateway's image: %w", err)
	}
	out := &Gateway{Created: time.Unix(s.Lock.Epoch, 0).UTC(), Program: info.SHA256, Certificates: from, Size: info.Size}
	out.Image, err = New(Spec{
		Tree: tree, Config: s.config(info), Created: out.Created, Comment: "cocoon gateway image: " + programPackage + " with go" + s.Lock.Go + ", " + from,
	})
	return out, err
}

// certificates is a tree with the roots of the locked package.
func (s GatewaySpec) certificates(ctx context.Context) (*rootfs.Tree, string, error) {
	for _, a := range s.Lock.Artefacts {
		if a.Name != caPackage || a.Kind != lock.Deb {
			continue
		}
		name, err := s.Store.File(ctx, a, s.Fetch)
		if err != nil {
			return nil, "", err
		}
		tree, err := deb.UnpackAll(ctx, []deb.Source{{
			Path: name, SHA256: a.SHA256, Selection: deb.Selection{Globs: []string{"usr/share/ca-certificates/mozilla/*.crt"}},
		}}, 1, filepath.Join(s.CacheDir, "unpacked"))
		return tree, a.Name + " " + a.Version, err
	}
	return nil, "", fmt.Errorf("the lock has no package %s: run \"%s\"", caPackage, lock.UpdateCommand)
}

// addProgram reads the binary into the tree: its file is gone when the image is written.
func addProgram(tree *rootfs.Tree, binary string, info gobuild.Info) error {
	data, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	c := rootfs.Bytes(data)
	if hex.EncodeToString(c.SHA256[:]) != info.SHA256 {
		return errors.New("the program changed while it was read")
	}
	for _, dir := range []string{state, "tmp"} {
		if err := tree.Add(dir, &rootfs.Inode{Type: rootfs.Dir, Mode: 0o755, Origin: rootfs.OriginRecipe}); err != nil {
			return err
		}
	}
	return tree.Add(program, &rootfs.Inode{Type: rootfs.File, Mode: 0o755, Content: c, Origin: "go " + programPackage})
}

// gatewayRules are what the layer has beside the program.
func gatewayRules() rootfs.Rules {
	return rootfs.Rules{
		Generate: []rootfs.Generated{
			{Path: certificates, Kind: rootfs.Certificates, From: "usr/share/ca-certificates/mozilla/*.crt"},
			{Path: "etc/passwd", Kind: rootfs.Passwd},
			{Path: "etc/group", Kind: rootfs.GroupFile},
			{Path: settings + "/README", Kind: rootfs.Text, Text: "Mount gateway.json here: the flags of \"cocoon gateway run\", with _ for -.\n"},
		},
		Users:  []rootfs.User{{Name: "nobody", UID: nobody, GID: nobody, Home: "/" + state}},
		Groups: []rootfs.Group{{Name: "nobody", GID: nobody}},
		Remove: []string{"usr/share"},
		Owners: []rootfs.Owner{
			{Path: program, Mode: 0o755},
			{Path: state, Mode: 0o700, UID: nobody, GID: nobody},
			{Path: "tmp", Mode: 0o1777},
		},
	}
}

// config is how the image is run: as nobody, with the settings and the state where the labels say.
func (s GatewaySpec) config(info gobuild.Info) v1.Config {
	port := strconv.Itoa(Port)
	return v1.Config{
		User: fmt.Sprintf("%d:%d", nobody, nobody), WorkingDir: "/" + state, StopSignal: "SIGTERM",
		Entrypoint: []string{"/" + program}, Cmd: []string{"gateway", "run"},
		Env: []string{
			"PATH=/usr/bin", "HOME=/" + state, "XDG_STATE_HOME=/" + state, "SSL_CERT_FILE=/" + certificates,
			"COCOON_CONFIG=/" + settings + "/gateway.json", "COCOON_LISTEN=0.0.0.0:" + port,
		},
		ExposedPorts: map[string]struct{}{port + "/tcp": {}}, Volumes: map[string]struct{}{"/" + state: {}},
		Labels: map[string]string{
			"org.opencontainers.image.title":       "cocoon gateway",
			"org.opencontainers.image.description": "OpenAI-compatible gateway to attested proxies",
			"org.opencontainers.image.licenses":    "Apache-2.0",
			"org.opencontainers.image.version":     s.Version,
			"cocoon.program.sha256":                info.SHA256,
			"cocoon.toolchain":                     "go" + s.Lock.Go,
		},
	}
}

// Tag is the name that the archive gives the image. Tags begin with a letter or a digit (OCI distribution-spec 1.0).
func (s GatewaySpec) Tag() string {
	odd := func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r) {
			return r
		}
		return '-'
	}
	const longest = 128
	tag := strings.Trim(strings.Map(odd, s.Version), "._-")
	if tag == "" {
		tag = "latest"
	}
	return "cocoon-gateway:" + tag[:min(len(tag), longest)]
}

// Write writes the image as an archive.
func (g *Gateway) Write(w io.Writer, tag string) error { return Write(w, g.Image, tag, g.Created) }
