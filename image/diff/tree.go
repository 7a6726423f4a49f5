package diff

import (
	"context"
	"fmt"
	"slices"

	"cocoon/image/rootfs"
)

// compareTrees lists the differences of two trees, path by path in bytewise order; prefix goes in front of paths.
func compareTrees(ctx context.Context, a, b *rootfs.Tree, prefix string) ([]Finding, error) {
	var paths []string
	for _, t := range []*rootfs.Tree{a, b} {
		for _, n := range t.Nodes() {
			paths = append(paths, n.Path)
		}
	}
	slices.Sort(paths)
	var out []Finding
	for _, p := range slices.Compact(paths) {
		inA, okA := a.Get(p)
		inB, okB := b.Get(p)
		if okA != okB {
			out = append(out, Finding{Path: prefix + p, What: "present", A: presence(okA), B: presence(okB), Offset: -1})
			continue
		}
		fs, err := compareInodes(ctx, inA, inB)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		for _, f := range fs {
			f.Path = prefix + p
			out = append(out, f)
		}
	}
	return out, nil
}

func compareInodes(ctx context.Context, a, b *rootfs.Inode) ([]Finding, error) {
	var out []Finding
	for _, f := range []struct{ what, a, b string }{
		{"type", typeName(a.Type), typeName(b.Type)},
		{"mode", fmt.Sprintf("%04o", a.Mode), fmt.Sprintf("%04o", b.Mode)},
		{"owner", fmt.Sprintf("%d:%d", a.UID, a.GID), fmt.Sprintf("%d:%d", b.UID, b.GID)},
		{"target", a.Target, b.Target},
		{"device", fmt.Sprintf("%d:%d", a.Major, a.Minor), fmt.Sprintf("%d:%d", b.Major, b.Minor)},
	} {
		if f.a != f.b {
			out = append(out, Finding{What: f.what, A: f.a, B: f.b, Offset: -1})
		}
	}
	if a.Type != rootfs.File || b.Type != rootfs.File ||
		a.Content.Size == b.Content.Size && a.Content.SHA256 == b.Content.SHA256 && a.Content.SHA256 != [32]byte{} {
		return out, nil
	}
	f, equal, err := compareContents(ctx, a.Content, b.Content)
	if err != nil {
		return nil, err
	}
	if !equal {
		out = append(out, f)
	}
	return out, nil
}

func compareContents(ctx context.Context, a, b rootfs.Content) (Finding, bool, error) {
	ra, err := a.Open()
	if err != nil {
		return Finding{}, false, err
	}
	defer ra.Close() //nolint:errcheck // read side
	rb, err := b.Open()
	if err != nil {
		return Finding{}, false, err
	}
	defer rb.Close() //nolint:errcheck // read side
	return firstDifference(ctx, ra, rb)
}

func typeName(t rootfs.Type) string {
	switch t {
	case rootfs.File:
		return "file"
	case rootfs.Dir:
		return "folder"
	case rootfs.Symlink:
		return "symlink"
	case rootfs.CharDevice:
		return "device"
	}
	return "unknown"
}
