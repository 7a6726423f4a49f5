package oci

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"cocoon/image/rootfs"
)

var made = time.Unix(1_735_689_600, 0).UTC()

// tree is a small file system of every kind that a layer has.
func tree(t *testing.T) *rootfs.Tree {
	t.Helper()
	out := rootfs.New()
	for name, n := range map[string]*rootfs.Inode{
		"usr/bin/true":   {Type: rootfs.File, Mode: 0o755, Content: rootfs.Bytes([]byte("#!/bin/true\n"))},
		"etc/passwd":     {Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes([]byte("nobody:x:65532:65532::/:/\n"))},
		"var/lib/cocoon": {Type: rootfs.Dir, Mode: 0o700, UID: nobody, GID: nobody},
		"tmp":            {Type: rootfs.Dir, Mode: 0o1777},
		"bin":            {Type: rootfs.Symlink, Target: "usr/bin"},
	} {
		if err := out.Add(name, n); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func image(t *testing.T) v1.Image {
	t.Helper()
	img, err := New(Spec{Tree: tree(t), Created: made, Comment: "a test", Config: v1.Config{User: "65532:65532", Entrypoint: []string{"/usr/bin/true"}}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func archive(t *testing.T) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, image(t), "test:1", made); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// unpack writes an archive's files to a folder and returns their headers.
func unpack(t *testing.T, data []byte) (dir string, headers []*tar.Header) {
	t.Helper()
	dir = t.TempDir()
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err == io.EOF { //nolint:errorlint // as the documentation says
			return dir, headers
		}
		if err != nil {
			t.Fatal(err)
		}
		headers = append(headers, h)
		name := filepath.Join(dir, filepath.Clean("/"+h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(name, 0o700)
		} else {
			var content []byte
			if content, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(name, content, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnImageMeetsTheSpecification(t *testing.T) {
	img := image(t)
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	dir, _ := unpack(t, archive(t))
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	list, err := index.IndexManifest()
	if err != nil || len(list.Manifests) != 1 || list.Manifests[0].Annotations[refName] != "test:1" {
		t.Fatalf("index %+v, %v", list, err)
	}
	back, err := index.Image(list.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	got, err := back.ConfigFile()
	if err != nil || got.OS != "linux" || got.Architecture != "amd64" || got.Config.User != "65532:65532" || !got.Created.Equal(made) || len(got.RootFS.DiffIDs) != 1 {
		t.Errorf("configuration %+v, %v", got, err)
	}
}

func TestEnginesOfTheOlderFormReadTheArchive(t *testing.T) {
	data := archive(t)
	img, err := tarball.Image(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(img); err != nil {
		t.Error(err)
	}
	dir, _ := unpack(t, data)
	raw, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var list []olderManifest
	if err := json.Unmarshal(raw, &list); err != nil || len(list) != 1 || !slices.Equal(list[0].RepoTags, []string{"test:1"}) {
		t.Errorf("%s: %v", raw, err)
	}
}

func TestBlobsAreNamedByTheirContent(t *testing.T) {
	dir, headers := unpack(t, archive(t))
	blobsSeen := 0
	for _, h := range headers {
		if !h.ModTime.Equal(made) || h.Uid != 0 || h.Gid != 0 || h.Uname != "" {
			t.Errorf("%s: time %s, owner %d:%d %q", h.Name, h.ModTime, h.Uid, h.Gid, h.Uname)
		}
		name, isBlob := strings.CutPrefix(h.Name, blobs)
		if !isBlob || name == "" {
			continue
		}
		blobsSeen++
		data, err := os.ReadFile(filepath.Join(dir, h.Name))
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != name {
			t.Errorf("%s has another content", h.Name)
		}
	}
	if blobsSeen != 3 {
		t.Errorf("%d blobs, want manifest, configuration and layer", blobsSeen)
	}
	if !slices.IsSortedFunc(headers[2:], func(a, b *tar.Header) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("the files are not in order")
	}
}

func TestTheLayerHasTheTreesFilesWithItsOwners(t *testing.T) {
	layer, err := tarOf(tree(t), made)
	if err != nil {
		t.Fatal(err)
	}
	r, got := tar.NewReader(bytes.NewReader(layer)), map[string]*tar.Header{}
	for h, err := r.Next(); err == nil; h, err = r.Next() {
		got[h.Name] = h
		if !h.ModTime.Equal(made) || h.Uname != "" || h.Gname != "" {
			t.Errorf("%s: %+v", h.Name, h)
		}
	}
	for name, want := range map[string]struct {
		kind     byte
		mode     int64
		uid, gid int
		link     string
	}{
		"usr/bin/true": {tar.TypeReg, 0o755, 0, 0, ""}, "etc/passwd": {tar.TypeReg, 0o644, 0, 0, ""}, "tmp/": {tar.TypeDir, 0o1777, 0, 0, ""},
		"var/lib/cocoon/": {tar.TypeDir, 0o700, nobody, nobody, ""}, "bin": {tar.TypeSymlink, 0o777, 0, 0, "usr/bin"},
	} {
		h := got[name]
		if h == nil || h.Typeflag != want.kind || h.Mode != want.mode || h.Uid != want.uid || h.Gid != want.gid || h.Linkname != want.link {
			t.Errorf("%s: %+v", name, h)
		}
	}
}

func TestTheSameFilesGiveTheSameBytes(t *testing.T) {
	if !bytes.Equal(archive(t), archive(t)) {
		t.Error("two archives of one tree differ")
	}
	other := tree(t)
	if err := other.Add("extra", &rootfs.Inode{Type: rootfs.File, Mode: 0o644, Content: rootfs.Bytes(nil)}); err != nil {
		t.Fatal(err)
	}
	img, err := New(Spec{Tree: other, Created: made})
	if err != nil {
		t.Fatal(err)
	}
	a, errA := img.Digest()
	b, errB := image(t).Digest()
	if errA != nil || errB != nil || a == b {
		t.Errorf("another tree has the same digest %s (%v, %v)", a, errA, errB)
	}
}

func TestWhatIsNoImage(t *testing.T) {
	device := tree(t)
	if err := device.Add("dev/console", &rootfs.Inode{Type: rootfs.CharDevice, Mode: 0o600, Major: 5, Minor: 1}); err != nil {
		t.Fatal(err)
	}
	for name, s := range map[string]Spec{"no tree": {Created: made}, "no time": {Tree: tree(t)}, "a device": {Tree: device, Created: made}} {
		if _, err := New(s); err == nil {
			t.Errorf("%s became an image", name)
		}
	}
	if _, err := BuildGateway(t.Context(), GatewaySpec{}); err == nil {
		t.Error("nothing became a gateway")
	}
}

func TestStoredFramesAreGzip(t *testing.T) {
	for _, n := range []int{0, 1, maxStored - 1, maxStored, maxStored + 1, 3*maxStored + 7} {
		data := bytes.Repeat([]byte{0xa5, 1, 2}, n/3+1)[:n]
		r, err := gzip.NewReader(bytes.NewReader(stored(data)))
		if err != nil {
			t.Fatal(err)
		}
		back, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(back, data) {
			t.Errorf("%d bytes came back as %d: %v", n, len(back), err)
		}
	}
}

func TestTagsAreThoseThatEnginesTake(t *testing.T) {
	for version, want := range map[string]string{
		"(devel)": "devel", "v1.2.3": "v1.2.3", "": "latest", "--": "latest", "v1 beta/2": "v1-beta-2", strings.Repeat("x", 200): strings.Repeat("x", 128),
	} {
		if got := (GatewaySpec{Version: version}).Tag(); got != "cocoon-gateway:"+want {
			t.Errorf("%q gives %s", version, got)
		}
	}
}
