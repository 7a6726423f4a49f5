package qemu

import (
	"debug/elf"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	"cocoon/image/rootfs"
)

const (
	// maxLibraries bounds what is followed; 11.1.3 has 52.
	maxLibraries = 500
	// maxELF bounds one program or library; the largest of ours has 31 MB.
	maxELF = 256 << 20
	// maxLinks bounds a library's symbolic links; usual is one.
	maxLinks = 8
	// libraryDir is Debian's folder of the architecture.
	libraryDir = "usr/lib/x86_64-linux-gnu"
	programDir = "usr/bin"
)

// sonameRule keeps names from being paths; they come from ELF files.
var sonameRule = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}$`)

// roms are the patterns of the files that QEMU's own code for x86 opens: its default BIOS, the option ROMs by which it
// boots kernels, the APIC's, and the screens' BIOSes. Boot order and tables name some of them.
//
//nolint:gochecknoglobals // a constant table
var roms = []struct{ dir, pattern string }{
	{"usr/share/qemu", "kvmvapic.bin"},
	{"usr/share/qemu", "linuxboot*.bin"},
	{"usr/share/qemu", "multiboot*.bin"},
	{"usr/share/qemu", "pvh.bin"},
	{"usr/share/seabios", "bios*.bin"},
	{"usr/share/seabios", "vgabios*.bin"},
}

// Select picks the folder's files from a tree of unpacked packages, sorted by name: program, libraries, ROMs, launcher.
func Select(tree *rootfs.Tree) ([]File, error) {
	files := []File{{Name: Launcher, Executable: true, Content: rootfs.Bytes([]byte(script))}}
	for _, pick := range []func(*rootfs.Tree) ([]File, error){programs, selectROMs} {
		more, err := pick(tree)
		if err != nil {
			return nil, fmt.Errorf("selecting QEMU's files: %w", err)
		}
		files = append(files, more...)
	}
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
	for i := range files[1:] {
		if files[i].Name == files[i+1].Name {
			return nil, fmt.Errorf("selecting QEMU's files: two are called %s", files[i].Name)
		}
	}
	return files, nil
}

// programs follows the lists of needed libraries, from the program on.
func programs(tree *rootfs.Tree) ([]File, error) {
	program, err := regular(tree, path.Join(programDir, Launcher))
	if err != nil {
		return nil, err
	}
	linker, err := regular(tree, path.Join(libraryDir, loader))
	if err != nil {
		return nil, err
	}
	out := []File{{binary, true, program}}
	seen := map[string]bool{loader: true}
	for next := 0; next < len(out); next++ { // what is appended is followed in turn
		needed, err := libraries(out[next].Content)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", out[next].Name, err)
		}
		for _, name := range needed {
			if seen[name] {
				continue
			}
			seen[name] = true
			if len(seen) > maxLibraries {
				return nil, fmt.Errorf("over %d libraries", maxLibraries)
			}
			content, err := regular(tree, path.Join(libraryDir, name))
			if err != nil {
				return nil, fmt.Errorf("library needed by %s: %w; the recipe leaves out its package", out[next].Name, err)
			}
			out = append(out, File{name, false, content})
		}
	}
	return append(out, File{loader, true, linker}), nil // it needs no library itself
}

// libraries reads what an ELF file of this architecture names as needed.
func libraries(content rootfs.Content) ([]string, error) {
	if content.Size > maxELF {
		return nil, fmt.Errorf("%d bytes, at most %d", content.Size, maxELF)
	}
	f, err := elf.NewFile(content)
	if err != nil {
		return nil, fmt.Errorf("reading ELF file: %w", err)
	}
	if f.Class != elf.ELFCLASS64 || f.Machine != elf.EM_X86_64 || f.Type != elf.ET_DYN {
		return nil, fmt.Errorf("reading ELF file: %s of %s, want a position-independent one of EM_X86_64", f.Type, f.Machine)
	}
	names, err := f.DynString(elf.DT_NEEDED)
	if err != nil {
		return nil, fmt.Errorf("reading ELF file's libraries: %w", err)
	}
	for _, name := range names {
		if !sonameRule.MatchString(name) {
			return nil, fmt.Errorf("reading ELF file's libraries: name %.200q does not match %s", name, sonameRule)
		}
	}
	return names, nil
}

// selectROMs takes what the patterns match; each must match something.
func selectROMs(tree *rootfs.Tree) ([]File, error) {
	var out []File
	for _, rom := range roms {
		found := false
		for _, name := range tree.Children(rom.dir) {
			match, err := path.Match(rom.pattern, name)
			if err != nil {
				return nil, err
			}
			if !match {
				continue
			}
			content, err := regular(tree, path.Join(rom.dir, name))
			if err != nil {
				return nil, err
			}
			found = true
			out = append(out, File{name, false, content})
		}
		if !found {
			return nil, fmt.Errorf("no package has %s/%s", rom.dir, rom.pattern)
		}
	}
	return out, nil
}

// regular returns the content of a file, following links.
func regular(tree *rootfs.Tree, name string) (rootfs.Content, error) {
	at := name
	for range maxLinks {
		n, ok := tree.Get(at)
		switch {
		case !ok:
			return rootfs.Content{}, fmt.Errorf("no package has %s", name)
		case n.Type == rootfs.File:
			return n.Content, nil
		case n.Type != rootfs.Symlink:
			return rootfs.Content{}, fmt.Errorf("%s is not a file", name)
		}
		if path.IsAbs(n.Target) {
			at = path.Clean(n.Target)[1:]
			continue
		}
		at = path.Join(path.Dir(at), n.Target)
	}
	return rootfs.Content{}, fmt.Errorf("%s: more than %d links", name, maxLinks)
}
