package diff

import (
	"bytes"
	"context"
	"os"

	"cocoon/image/fs"
	"cocoon/image/initrd"
	"cocoon/measure/launch/pe"
)

// Names that the formats refer to each other by (image.md section 1).
const (
	ukiName       = "image.efi"
	kernelName    = "vmlinuz"
	cmdlineName   = "cmdline"
	initrdName    = "initrd.cpio"
	layerPrefix   = "layer-"
	initrdSection = ".initrd"
)

// compareInitrds compares two archives record by record. Archives that are not ours have no findings.
func compareInitrds(ctx context.Context, a, b []byte) ([]Finding, error) {
	return compareRecords(ctx, a, b, "")
}

func compareRecords(ctx context.Context, a, b []byte, prefix string) ([]Finding, error) {
	treeA, errA := initrd.Read(a)
	treeB, errB := initrd.Read(b)
	if errA != nil || errB != nil {
		return nil, nil // the byte comparison of the whole archive stands
	}
	return compareTrees(ctx, treeA, treeB, prefix)
}

// compareUKIs compares two UKIs section by section, and the initrd inside record by record.
func compareUKIs(ctx context.Context, a, b []byte) ([]Finding, error) {
	imgA, errA := pe.Parse(a)
	imgB, errB := pe.Parse(b)
	if errA != nil || errB != nil {
		return nil, nil // as above
	}
	var out []Finding
	for _, name := range sectionNames(imgA, imgB) {
		secA, okA, errA := imgA.Section(name)
		secB, okB, errB := imgB.Section(name)
		if errA != nil || errB != nil {
			continue // a section beyond the file; the header comparison below shows the bytes
		}
		if okA != okB {
			out = append(out, Finding{Path: name, What: "present", A: presence(okA), B: presence(okB), Offset: -1})
			continue
		}
		if bytes.Equal(secA, secB) {
			continue
		}
		var inner []Finding
		var err error
		if name == initrdSection {
			if inner, err = compareRecords(ctx, secA, secB, initrdSection+"/"); err != nil {
				return nil, err
			}
		}
		if len(inner) == 0 {
			f, _, err := firstDifference(ctx, bytes.NewReader(secA), bytes.NewReader(secB))
			if err != nil {
				return nil, err
			}
			f.Path = name
			inner = []Finding{f}
		}
		out = append(out, inner...)
	}
	return out, nil
}

func sectionNames(images ...*pe.Image) []string {
	var out []string
	seen := make(map[string]bool)
	for _, img := range images {
		for _, s := range img.Sections() {
			if !seen[s.Name] {
				out = append(out, s.Name)
			}
			seen[s.Name] = true
		}
	}
	return out
}

// compareLayers walks two layers' file systems. When the trees are equal, the difference lies outside of them (the
// hash tree, padding) and the byte comparison stands.
func compareLayers(ctx context.Context, nameA, nameB string) ([]Finding, error) {
	a, err := os.Open(nameA)
	if err != nil {
		return nil, err
	}
	defer a.Close() //nolint:errcheck // read side
	b, err := os.Open(nameB)
	if err != nil {
		return nil, err
	}
	defer b.Close() //nolint:errcheck // read side
	readA, errA := openLayer(a)
	readB, errB := openLayer(b)
	if errA != nil || errB != nil {
		return nil, nil // as above
	}
	treeA, errA := readA.Tree(ctx)
	treeB, errB := readB.Tree(ctx)
	if errA != nil || errB != nil {
		return nil, nil // as above
	}
	return compareTrees(ctx, treeA, treeB, "")
}

func openLayer(f *os.File) (*fs.Reader, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	return fs.Open(f, st.Size())
}
