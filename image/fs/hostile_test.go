package fs_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"strings"
	"testing"

	"cocoon/image/fs"
	"cocoon/image/rootfs"
)

// Places in the image of smallTree.
const (
	superblock = 1024
	rootInode  = 1152
)

// smallTree has one of everything in a single block: root, a directory, two files that are one, a symlink, a device.
func smallTree(tb testing.TB) *rootfs.Tree {
	tb.Helper()
	tree := rootfs.New()
	for name, n := range map[string]*rootfs.Inode{
		"dir/file": file(0o644, "content"), "link": {Type: rootfs.Symlink, Mode: 0o777, Target: "dir"},
		"null": {Type: rootfs.CharDevice, Mode: 0o666, Major: 1, Minor: 3},
	} {
		if err := tree.Add(name, n); err != nil {
			tb.Fatal(err)
		}
	}
	if err := tree.Link("dir/same", "dir/file"); err != nil {
		tb.Fatal(err)
	}
	return tree
}

// seal makes the superblock's checksum right again, so that a damage behind it is what the reader finds.
func seal(img []byte) []byte {
	if len(img) >= fs.BlockSize {
		binary.LittleEndian.PutUint32(img[superblock+4:], 0)
		sum := ^crc32.Checksum(img[superblock:fs.BlockSize], crc32.MakeTable(crc32.Castagnoli))
		binary.LittleEndian.PutUint32(img[superblock+4:], sum)
	}
	return img
}

// inodeAt is the offset of a path's inode.
func inodeAt(tb testing.TB, img []byte, name string) int {
	tb.Helper()
	e, ok := open(tb, img).Stat(name)
	if !ok {
		tb.Fatalf("%s is missing", name)
	}
	return int(e.NID) * 32
}

func TestOpenRefusesDamage(t *testing.T) {
	t.Parallel()
	good, _ := write(t, smallTree(t), fs.Options{Epoch: 1735689600})
	dir, link, null, node := inodeAt(t, good, "dir"), inodeAt(t, good, "link"), inodeAt(t, good, "null"), inodeAt(t, good, "dir/file")
	put := func(at int, b ...byte) func([]byte) []byte {
		return func(img []byte) []byte { copy(img[at:], b); return img }
	}
	cases := map[string]struct {
		change func([]byte) []byte
		want   string
	}{
		"empty":                 {func([]byte) []byte { return nil }, "less than one block"},
		"truncated":             {func(b []byte) []byte { return b[:len(b)-1] }, "less than one block"},
		"more blocks":           {put(superblock+36, 2), "2 blocks do not fit"},
		"magic":                 {put(superblock, 0), "no erofs image"},
		"feature":               {put(superblock+80, 1), "not those of this package"},
		"block size":            {put(superblock+12, 9), "not those of this package"},
		"root elsewhere":        {put(superblock+14, 37), "not those of this package"},
		"negative time":         {put(superblock+31, 0x80), "not those of this package"},
		"no inodes":             {put(superblock+16, 0), "0 inodes"},
		"fewer inodes":          {put(superblock+16, 3), "more inodes than the superblock's 3"},
		"more inodes":           {put(superblock+16, 6), "the superblock counts 6"},
		"root is a file":        {put(rootInode+4, 0xa4, 0x81), "not a directory"},
		"socket":                {put(node+4, 0xa4, 0xc1), "is no file"},
		"compressed layout":     {put(node, 3<<1), "data layout 3"},
		"extended attributes":   {put(node+2, 1), "always zero"},
		"reserved field":        {put(node+13, 1), "always zero"},
		"number":                {put(node+20, 9), "numbered 9"},
		"link count":            {put(node+6, 3), "link count 3, but 2 links"},
		"directory links":       {put(dir+6, 9), "link count 9, but 2 links"},
		"huge file":             {put(node+8, 0, 0, 0, 0x7f), "more than the image has"},
		"tail over a block":     {put(node+8, 0xff, 0x0f), "more than the image has"},
		"block without data":    {put(node+16, 1), "for no blocks of data"},
		"huge directory":        {put(dir+8, 0xff, 0xff), "more than the image has"},
		"empty directory":       {put(dir+8, 0), "cannot lie behind"},
		"dot is another":        {put(dir+32, byte(node/32)), `entry "."`},
		"entry type":            {put(dir+32+2*12+10, 7), "its entry has type 7"},
		"entry flag":            {put(dir+32+11, 1), "no proper name"},
		"names overlap":         {put(dir+32+12+8, 0x30), "no proper name"},
		"names at an odd place": {put(dir+32+8, 0x31), "names of a directory block begin"},
		"names out of order":    {func(b []byte) []byte { return bytes.Replace(b, []byte("filesame"), []byte("samefile"), 1) }, "comes after"},
		"one name twice":        {func(b []byte) []byte { return bytes.Replace(b, []byte("filesame"), []byte("samesame"), 1) }, "comes after"},
		"slash in a name":       {func(b []byte) []byte { return bytes.Replace(b, []byte("filesame"), []byte("f/lesame"), 1) }, "slash"},
		"empty symlink":         {put(link+8, 0), "cannot lie behind"},
		"inode outside":         {put(dir+32+2*12+4, 1), "outside the image"},
		"inode in front":        {put(dir+32+2*12, 1), "outside the image"},
		"loop":                  {func(b []byte) []byte { b[dir+32+2*12] = byte(rootInode / 32); b[dir+32+2*12+10] = 2; return b }, "two names"},
		"device with data":      {put(null+8, 5), "5 bytes"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			img := seal(c.change(bytes.Clone(good)))
			_, err := fs.Open(bytes.NewReader(img), int64(len(img)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that has %q", err, c.want)
			}
		})
	}
	t.Run("checksum", func(t *testing.T) {
		t.Parallel()
		img := bytes.Clone(good)
		img[superblock+50] ^= 1
		if _, err := fs.Open(bytes.NewReader(img), int64(len(img))); err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("error %v, want one about the checksum", err)
		}
	})
}

// What Open accepts is a tree that can be written and read again, with the same listing.
func FuzzOpen(f *testing.F) {
	small, _ := write(f, smallTree(f), fs.Options{Epoch: 1, Label: "fuzz"})
	f.Add(small)
	empty, _ := write(f, rootfs.New(), fs.Options{})
	f.Add(empty)
	blocks := rootfs.New()
	for name, n := range map[string]*rootfs.Inode{"plain": file(0o644, pattern(4090)), "tail": file(0o644, pattern(8200)), "wide": {Type: rootfs.File, UID: 1 << 20}} {
		if err := blocks.Add(name, n); err != nil {
			f.Fatal(err)
		}
	}
	larger, _ := write(f, blocks, fs.Options{Epoch: 1735689600})
	f.Add(larger)
	for _, at := range []int{rootInode, rootInode + 8, rootInode + 16, rootInode + 32, rootInode + 40} {
		img := bytes.Clone(small)
		img[at] ^= 0x11
		f.Add(img)
	}
	f.Fuzz(func(t *testing.T, img []byte) {
		img = seal(bytes.Clone(img))
		r, err := fs.Open(bytes.NewReader(img), int64(len(img)))
		if err != nil {
			return
		}
		tree, err := r.Tree(context.Background())
		if err != nil {
			return // a name or a content that Tree refuses
		}
		again, _ := write(t, tree, fs.Options{Epoch: r.Info().Epoch})
		back, err := open(t, again).Tree(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(rootfs.Listing(tree), rootfs.Listing(back)) {
			t.Error("a tree changed on its way through an image")
		}
	})
}
