package archive

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// item is a member to write: a folder when its name ends in a slash.
type item struct {
	name string
	size int
}

func plain() []item {
	return []item{{"./", 0}, {"./a", 700}, {"./b", 0}, {"./d/", 0}, {"./d/e", 512}, {"./z", 1}}
}

// pack writes items as the reference does: pax form, padded to a block of dm-verity and never not at all.
func pack(tb testing.TB, items []item) []byte {
	tb.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for _, it := range items {
		h := &tar.Header{Name: it.name, Mode: 0o644, Size: int64(it.size), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
		if strings.HasSuffix(it.name, "/") {
			h.Mode, h.Typeflag = 0o755, tar.TypeDir
		}
		if len(it.name) > nameEnd {
			h.Format, h.PAXRecords = tar.FormatPAX, map[string]string{"path": it.name}
		}
		if err := w.WriteHeader(h); err != nil {
			tb.Fatal(err)
		}
		if _, err := w.Write(bytes.Repeat([]byte{'x'}, it.size)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return padTo(append(buf.Bytes(), 0), verityBlock)
}

func read(data []byte) ([]Member, error) { return Read(bytes.NewReader(data), int64(len(data))) }

// TestReadFindsMembers: paths, sizes, modes and places are those of another reader.
func TestReadFindsMembers(t *testing.T) {
	long := "./d/" + strings.Repeat("n", 150)
	data := pack(t, append(slices.Clone(plain()[:5]), item{long, 5000}, item{"./z", 1}))
	got, err := read(data)
	if err != nil {
		t.Fatal(err)
	}
	var want []Member
	source := bytes.NewReader(data)
	for r := tar.NewReader(source); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		at, err := source.Seek(0, io.SeekCurrent)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, Member{Path: path.Clean(h.Name), Dir: h.Typeflag == tar.TypeDir, Mode: uint32(h.Mode), Size: h.Size, Offset: at})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

// edit changes a header of the plain archive and mends its checksum.
func edit(at int, change func(h []byte)) func(testing.TB) []byte {
	return func(tb testing.TB) []byte {
		tb.Helper()
		data := pack(tb, plain())
		h := data[at : at+recordSize]
		change(h)
		mend(h)
		return data
	}
}

func mend(h []byte) {
	copy(h[checksumAt:checksumEnd], "        ")
	sum := 0
	for _, c := range h {
		sum += int(c)
	}
	copy(h[checksumAt:], fmt.Sprintf("%06o\x00 ", sum))
}

// extended puts a pax header with the given records in front of the second member.
func extended(records string, length int) func(testing.TB) []byte {
	return func(tb testing.TB) []byte {
		tb.Helper()
		data := pack(tb, plain())
		h := slices.Clone(data[recordSize : 2*recordSize])
		copy(h[:nameEnd], make([]byte, nameEnd))
		copy(h, "./PaxHeaders/a")
		copy(h[sizeAt:], fmt.Sprintf("%011o", length))
		h[typeAt] = typePax
		mend(h)
		return slices.Concat(data[:recordSize], h, padTo([]byte(records), recordSize), data[recordSize:], make([]byte, verityBlock-2*recordSize))
	}
}

// first is where the first file's header is, in the plain archive.
const first = recordSize

// TestHostileArchives: what a model's archive never has is refused by name.
func TestHostileArchives(t *testing.T) {
	items := func(names ...string) func(testing.TB) []byte {
		return func(tb testing.TB) []byte {
			tb.Helper()
			var list []item
			for _, n := range names {
				list = append(list, item{name: n})
			}
			return pack(tb, list)
		}
	}
	text := func(at int, s string) func([]byte) { return func(h []byte) { copy(h[at:], s) } }
	kind := func(c byte) func(testing.TB) []byte { return edit(first, func(h []byte) { h[typeAt] = c }) }
	for name, tc := range map[string]struct {
		make func(testing.TB) []byte
		want string
	}{
		"nothing":                {func(testing.TB) []byte { return nil }, "0 bytes"},
		"only zeros":             {func(testing.TB) []byte { return make([]byte, verityBlock) }, "no files"},
		"half a record":          {func(tb testing.TB) []byte { tb.Helper(); return pack(tb, plain())[:700] }, "whole records"},
		"no end":                 {func(tb testing.TB) []byte { tb.Helper(); return pack(tb, plain())[:10*recordSize] }, "end marker"},
		"too long an end":        {func(tb testing.TB) []byte { tb.Helper(); return append(pack(tb, plain()), make([]byte, 32<<10)...) }, "first empty record"},
		"bytes behind the end":   {func(tb testing.TB) []byte { tb.Helper(); b := pack(tb, plain()); b[len(b)-1] = 1; return b }, "not zero"},
		"a wrong checksum":       {func(tb testing.TB) []byte { tb.Helper(); b := pack(tb, plain()); b[first+3] = 'x'; return b }, "checksum"},
		"another magic":          {edit(first, text(magicAt, "ustar  \x00")), "magic"},
		"a name prefix":          {edit(first, text(prefixAt, "p")), "prefix"},
		"a size in base 256":     {edit(first, text(sizeAt, "\x80\x00")), "octal"},
		"a negative size":        {edit(first, text(sizeAt, "-0000000001")), "octal"},
		"a size beyond the end":  {edit(first, text(sizeAt, "77777777777")), "beyond"},
		"a mode of letters":      {edit(first, text(modeAt, "rwxrwxr")), "mode"},
		"a symlink":              {kind('2'), "files and folders"},
		"a hard link":            {kind('1'), "files and folders"},
		"a device":               {kind('3'), "files and folders"},
		"a GNU long name":        {kind('L'), "files and folders"},
		"global records":         {kind('g'), "files and folders"},
		"a folder with bytes":    {edit(first, func(h []byte) { copy(h, "./a/"); h[typeAt] = typeDirectory }), "has 700 bytes"},
		"a folder without slash": {edit(3*recordSize+1024, func(h []byte) { copy(h, "./d\x00") }), "slash behind folders"},
		"no root":                {items("./a", "./b"), "first member"},
		"root alone":             {items("./"), "no files"},
		"root twice":             {items("./", "./"), "twice"},
		"a name twice":           {items("./", "./a", "./a"), "twice"},
		"a folder and a file":    {items("./", "./a", "./a/"), "twice"},
		"a file as folder":       {items("./", "./a", "./a/b"), "before its folder"},
		"no folder":              {items("./", "./d/e"), "before its folder"},
		"an absolute name":       {items("./", "/etc/passwd"), "not ./path"},
		"a name without dot":     {items("./", "etc"), "not ./path"},
		"a way out":              {items("./", "./../x"), "dots"},
		"a doubled slash":        {items("./", ".//x"), "empty"},
		"a dot in the way":       {items("./", "././x"), "dots"},
		"a control character":    {items("./", "./a\nb"), "control"},
		"no UTF-8":               {edit(first, text(2, "\xff")), "UTF-8"},
		"a long part":            {extended("276 path=./"+strings.Repeat("n", 264)+"\n", 276), "longer than 255"},
		"an empty extension":     {extended("", 0), "extended header of 0"},
		"a huge extension":       {extended("", 1<<20), "extended header of 1048576"},
		"an unknown record":      {extended("11 mtime=1\n", 11), `"mtime"`},
		"a record twice":         {extended("10 size=1\n10 size=1\n", 20), "once"},
		"a record too long":      {extended("99 size=1\n", 10), "length"},
		"a record of no length":  {extended("x size=1\n", 9), "length"},
		"a size of letters":      {extended("10 size=x\n", 10), "no number"},
		"a negative record":      {extended("11 size=-1\n", 11), "no number"},
		"an overflowing record":  {extended("31 size=9223372036854775808000\n", 31), "no number"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := read(tc.make(t))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

// countingReader notes how far reads reached, and whether one went back.
type countingReader struct {
	data  []byte
	last  int64
	back  bool
	bytes int
}

func (c *countingReader) ReadAt(p []byte, off int64) (int, error) {
	c.back = c.back || off < c.last
	c.last = off
	c.bytes += len(p)
	return bytes.NewReader(c.data).ReadAt(p, off)
}

// TestReadGoesForwardOnce: no byte is looked at twice, and contents not at all.
func TestReadGoesForwardOnce(t *testing.T) {
	c := &countingReader{data: pack(t, []item{{"./", 0}, {"./a", 1 << 20}, {"./b", 1 << 20}})}
	if _, err := Read(c, int64(len(c.data))); err != nil {
		t.Fatal(err)
	}
	if c.back || c.bytes > maxTail+4*recordSize {
		t.Errorf("went back: %v; %d of %d bytes read", c.back, c.bytes, len(c.data))
	}
}

// found is what a walk of an image saw.
type found struct {
	dir          bool
	mode         uint16
	size, offset uint64
}

// walk reads an image as the kernel does: from the root through directory blocks, by nid.
func walk(tb testing.TB, image []byte) map[string]found {
	tb.Helper()
	le := binary.LittleEndian
	super := image[superAt:]
	start := uint64(le.Uint32(image[slotAt+68:])) * blockSize
	if le.Uint32(super) != superMagic || super[12] != blockBits || start != uint64(len(image)) {
		tb.Fatalf("superblock %x, contents from %d of %d", super[:16], start, len(image))
	}
	out := make(map[string]found)
	var visit func(name string, nid, up uint64)
	visit = func(name string, nid, up uint64) {
		in := image[nid*nidUnit:]
		f := found{dir: le.Uint16(in[4:])&0o170000 == modeFolder, mode: le.Uint16(in[4:]) & 0o777, size: le.Uint64(in[8:])}
		at := uint64(le.Uint32(in[16:])) * blockSize
		if !f.dir {
			if f.size > 0 {
				f.offset = at - start
			}
			out[name] = f
			return
		}
		out[name] = f
		var names []string
		folders := uint32(2)
		for from := at; from < at+f.size; from += blockSize {
			block := image[from:min(from+blockSize, at+f.size)]
			for i := range int(le.Uint16(block[8:])) / direntSize {
				e := block[i*direntSize:]
				end := uint16(len(block))
				if next := (i + 1) * direntSize; next < int(le.Uint16(block[8:])) {
					end = le.Uint16(block[next+8:])
				}
				child := strings.TrimRight(string(block[le.Uint16(e[8:]):end]), "\x00")
				names = append(names, child)
				switch target := le.Uint64(e); {
				case child == "." && target != nid, child == ".." && target != up:
					tb.Errorf("%s of %s leads to %d", child, name, target)
				case child != "." && child != "..":
					if e[10] == typeFolder {
						folders++
					}
					visit(path.Join(name, child), target, nid)
				}
			}
		}
		if !slices.IsSorted(names) || le.Uint32(in[44:]) != folders {
			tb.Errorf("%s: names %q, %d links, want %d", name, names, le.Uint32(in[44:]), folders)
		}
	}
	root := uint64(le.Uint16(super[14:]))
	visit(".", root, root)
	return out
}

func checkImage(tb testing.TB, members []Member, image []byte) {
	tb.Helper()
	got := walk(tb, image)
	for _, m := range members {
		f, ok := got[m.Path]
		want := found{dir: m.Dir, mode: uint16(m.Mode), size: uint64(m.Size), offset: uint64(m.Offset)}
		if m.Dir || m.Size == 0 {
			want.offset = 0
		}
		if m.Dir {
			want.size = f.size
		}
		if !ok || f != want {
			tb.Errorf("%q is %+v, want %+v", m.Path, f, want)
		}
	}
	if len(got) != len(members) {
		tb.Errorf("%d members are in the image, %d in the archive", len(got), len(members))
	}
}

// TestImageNamesEveryMember: a folder of a thousand names spans blocks, and each leads to its member's bytes.
func TestImageNamesEveryMember(t *testing.T) {
	items := plain()
	for i := range 1000 {
		items = append(items, item{fmt.Sprintf("./z-%04d-%s", i, strings.Repeat("n", i%150)), i % 700})
	}
	data := pack(t, items)
	members, err := read(data)
	if err != nil {
		t.Fatal(err)
	}
	image, err := Image(members, int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	checkImage(t, members, image)
	again, err := Image(members, int64(len(data)))
	if err != nil || !bytes.Equal(image, again) {
		t.Errorf("the same members gave another image, %v", err)
	}
}

// TestImageBounds: members that Read would not give are refused.
func TestImageBounds(t *testing.T) {
	root := Member{Path: ".", Dir: true}
	for name, tc := range map[string]struct {
		members []Member
		size    int64
	}{
		"nothing": {nil, 512}, "too many": {make([]Member, maxMembers+1), 512}, "no archive": {[]Member{root}, 0},
		"too large": {[]Member{root}, maxArchive + 1}, "an orphan": {[]Member{root, {Path: "a/b"}}, 512},
	} {
		if _, err := Image(tc.members, tc.size); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// FuzzRead: whatever the archive says, it is refused, or its members lie within it and can be mounted.
func FuzzRead(f *testing.F) {
	f.Add(pack(f, plain()))
	f.Add(pack(f, []item{{"./", 0}, {"./" + strings.Repeat("n", 200), 10}}))
	f.Add(extended("10 size=9\n", 10)(f))
	f.Add(extended("14 path=./a/b\n", 14)(f))
	f.Add(edit(first, func(h []byte) { h[typeAt] = '2' })(f))
	f.Add(make([]byte, verityBlock))
	f.Fuzz(func(t *testing.T, data []byte) {
		for at := 0; at+recordSize <= len(data) && at < 8*recordSize; at += recordSize {
			if string(data[at+magicAt:at+magicAt+5]) == "ustar" { // or nothing ever gets past the checksum
				mend(data[at : at+recordSize])
			}
		}
		members, err := read(data)
		if err != nil {
			return
		}
		for _, m := range members {
			if m.Offset%recordSize != 0 || m.Size < 0 || m.Offset+m.Size > int64(len(data)) {
				t.Fatalf("%+v lies beyond %d bytes", m, len(data))
			}
		}
		image, err := Image(members, int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		checkImage(t, members, image)
	})
}
