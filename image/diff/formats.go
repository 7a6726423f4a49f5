package diff

import (
	"bytes"
	"context"
	"os"

	"cocoon/image/fs"
	"cocoon/image/initrd"
	"cocoon/image/rootfs"
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
	if errA == nil && errB == nil {
		return compareTrees(ctx, treeA, treeB, prefix)
	}
	return nil, nil // the byte comparison of the whole archive stands
}

// compareUKIs compares two UKIs section by section, and the initrd inside record by record.
func compareUKIs(ctx context.Context, a, b []byte) ([]Finding, error) {
	imgA, errA := pe.Parse(a)
	imgB, errB := pe.Parse(b)
	if errA == nil && errB == nil {
		return compareSections(ctx, imgA, imgB)
	}
	return nil, nil // as above
}

func compareSections(ctx context.Context, imgA, imgB *pe.Image) ([]Finding, error) {
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
		inner, err := compareSection(ctx, name, secA, secB)
		if err != nil {
			return nil, err
		}
		out = append(out, inner...)
	}
	return out, nil
}

func compareSection(ctx context.Context, name string, a, b []byte) ([]Finding, error) {
	if name == initrdSection {
		inner, err := compareRecords(ctx, a, b, initrdSection+"/")
		if err != nil || len(inner) > 0 {
			return inner, err
		}
	}
	f, equal, err := firstDifference(ctx, bytes.NewReader(a), bytes.NewReader(b))
	if err != nil || equal {
		return nil, err
	}
	f.Path = name
	return []Finding{f}, nil
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
	treeA, errA := layerTree(ctx, a)
	treeB, errB := layerTree(ctx, b)
	if errA == nil && errB == nil {
		return compareTrees(ctx, treeA, treeB, "")
	}
	return nil, ctx.Err() // as above
}

func layerTree(ctx context.Context, f *os.File) (*rootfs.Tree, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	r, err := fs.Open(f, st.Size())
	if err != nil {
		return nil, err
	}
	return r.Tree(ctx)
}
