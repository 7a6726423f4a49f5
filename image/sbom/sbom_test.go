package sbom

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"
)

const (
	hashA = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	hashB = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
)

func sample() Spec {
	return Spec{
		Image: "worker-cpu", Epoch: 1735689600,
		Components: []Component{
			{Kind: GoModule, Name: "golang.org/x/sys", Version: "v0.49.0", Sum: "h1:xyz="},
			{Kind: Deb, Name: "libstdc++6", Version: "14.2.0-19", Arch: "amd64", SHA256: hashA, In: []string{"layer-base.img"}},
			{Kind: Deb, Name: "ca-certificates", Version: "1:2025+x~1", Arch: "all", SHA256: hashB, Licence: "MPL-2.0", Source: "http://deb.debian.org/x.deb"},
			{Kind: Wheel, Name: "Torch", Version: "2.1", SHA256: hashA},
			{Kind: Archive, Name: "nvidia", Version: "580", SHA256: hashA},
		},
		Files: []File{{"layer-base.img", hashA}, {"image.efi", hashB}},
	}
}

func TestEncodeDoesNotDependOnInputOrder(t *testing.T) {
	first, err := Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	s := sample()
	slices.Reverse(s.Components)
	slices.Reverse(s.Files)
	second, err := Encode(s)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Error("the order of components changed the document")
	}
}

func TestEncodeIsReadByTheSPDXLibrary(t *testing.T) {
	data, err := Encode(sample())
	if err != nil {
		t.Fatal(err)
	}
	var doc v2_3.Document
	if err := json.ReadInto(bytes.NewReader(data), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.CreationInfo.Created != "2025-01-01T00:00:00Z" {
		t.Errorf("created %s, want the epoch", doc.CreationInfo.Created)
	}
	var purls []string
	for _, p := range doc.Packages {
		for _, ref := range p.PackageExternalReferences {
			purls = append(purls, ref.Locator)
		}
	}
	want := []string{
		"pkg:generic/nvidia@580?checksum=sha256:" + hashA,
		"pkg:deb/debian/ca-certificates@1%3A2025%2Bx~1?arch=all",
		"pkg:deb/debian/libstdc++6@14.2.0-19?arch=amd64",
		"pkg:golang/golang.org/x/sys@v0.49.0",
		"pkg:pypi/torch@2.1",
	}
	if diff := cmp.Diff(want, purls); diff != "" {
		t.Errorf("package URLs differ (-want +got):\n%s", diff)
	}
	ids := make(map[string]bool)
	for _, p := range doc.Packages {
		if ids[string(p.PackageSPDXIdentifier)] {
			t.Errorf("identifier %s appears twice", p.PackageSPDXIdentifier)
		}
		ids[string(p.PackageSPDXIdentifier)] = true
	}
	for _, r := range doc.Relationships {
		b := string(r.RefB.ElementRefID)
		if strings.HasPrefix(b, "Package-") && !ids[b] {
			t.Errorf("relationship points at %s, which is not listed", b)
		}
	}
}

func TestNamespaceFollowsTheContent(t *testing.T) {
	one, two := sample(), sample()
	two.Components[1].SHA256 = hashB
	if document(one).DocumentNamespace == document(two).DocumentNamespace {
		t.Error("two different contents have one namespace")
	}
	if document(one).DocumentNamespace != document(sample()).DocumentNamespace {
		t.Error("one content has two namespaces")
	}
}

func TestEncodeRefusesIncompleteInput(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Spec)
		want   string
	}{
		"no image":         {func(s *Spec) { s.Image = "" }, "image: empty"},
		"no version":       {func(s *Spec) { s.Components[1].Version = "" }, "libstdc++6"},
		"no hash":          {func(s *Spec) { s.Components[1].SHA256 = "" }, "component libstdc++6: has no hash"},
		"module, no sum":   {func(s *Spec) { s.Components[0].Sum = "" }, "component golang.org/x/sys: has no hash"},
		"upper-case hash":  {func(s *Spec) { s.Files[0].SHA256 = strings.ToUpper(hashA) }, "layer-base.img"},
		"unknown artefact": {func(s *Spec) { s.Components[1].In = []string{"x.img"} }, `artefact "x.img" is not listed`},
	} {
		t.Run(name, func(t *testing.T) {
			s := sample()
			tc.change(&s)
			_, err := Encode(s)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}
