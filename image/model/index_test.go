package model_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/model"
)

// sealed makes the checksum of the ustar header in record i right again.
func sealed(data []byte, i int) []byte {
	b := data[512*i : 512*(i+1)]
	copy(b[148:], "        ")
	sum := 0
	for _, c := range b {
		sum += int(c)
	}
	copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

func plainArchive(tb testing.TB) []byte {
	tb.Helper()
	_, volume, _ := archive(tb, folder(tb, plainFiles()))
	return readFile(tb, volume)
}

func TestIndexSaysWhereFilesLie(t *testing.T) {
	t.Parallel()
	for name, files := range vectorFolders() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, volume, _ := archive(t, folder(t, files))
			data := readFile(t, volume)
			index, err := model.ReadIndex(bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			if index.VolumeSize() != int64(len(data)) {
				t.Errorf("volume of %d bytes, index says %d", len(data), index.VolumeSize())
			}
			unpadded := data[:index.ArchiveSize]
			if again, err := model.ReadIndex(bytes.NewReader(unpadded), int64(len(unpadded))); err != nil || cmp.Diff(index, again) != "" {
				t.Errorf("without padding the index is another, error %v", err)
			}
			// The library's reader is the judge of names, sizes and places.
			in := &countReader{r: bytes.NewReader(data)}
			for r, i := tar.NewReader(in), 0; ; i++ {
				h, err := r.Next()
				if errors.Is(err, io.EOF) {
					if i != len(index.Members) {
						t.Errorf("%d members, index has %d", i, len(index.Members))
					}
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				want := model.Member{
					Path: filepath.Clean(h.Name), Dir: h.Typeflag == tar.TypeDir, Mode: uint32(h.Mode), Size: h.Size, Offset: in.n,
				}
				if diff := cmp.Diff(want, index.Members[i]); diff != "" {
					t.Errorf("member %d (-archive/tar +index):\n%s", i, diff)
				}
			}
		})
	}
}

// countReader knows how far it was read.
type countReader struct {
	r io.Reader
	n int64
}

func (c *countReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func TestIndexRefusesOtherArchives(t *testing.T) {
	t.Parallel()
	good := plainArchive(t)
	// Records: 0 ./ · 1 ./config.json · 2 its data · 3 ./empty · 4 ./model.safetensors · 5-14 its data · 15 ./run.sh
	put := func(at int, s string) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[at:], s); return sealed(b, at/512) }
	}
	cases := map[string]struct {
		change func([]byte) []byte
		want   string
	}{
		"empty":           {func([]byte) []byte { return nil }, "ends at byte 0"},
		"half a header":   {func(b []byte) []byte { return b[:700] }, "ends at byte 700"},
		"no end":          {func(b []byte) []byte { return b[:18*512] }, "ends at byte 9216"},
		"cut padding":     {func(b []byte) []byte { return b[:len(b)-512] }, "or, padded"},
		"more padding":    {func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, "or, padded"},
		"end not zero":    {func(b []byte) []byte { b[len(b)-1] = 1; return b }, "padding is not zero"},
		"file padding":    {func(b []byte) []byte { b[2*512+100] = 1; return b }, "padding is not zero"},
		"checksum":        {func(b []byte) []byte { b[512+148] = '7'; return b }, "not what GNU tar writes"},
		"time":            {put(512+136, "00000000001"), "not what GNU tar writes"},
		"owner":           {put(512+108, "0000001"), "not what GNU tar writes"},
		"owner's name":    {put(512+265, "root"), "not what GNU tar writes"},
		"absolute":        {put(512, "/.config.json"), "does not begin with ./"},
		"escape":          {put(512, "./../ig.json\x00"), "leaves the root"},
		"double slash":    {put(512, "./a//b.json\x00\x00"), "not what GNU tar writes"},
		"dot inside":      {put(512, "./a/./b.json\x00"), "not what GNU tar writes"},
		"out of order":    {put(3*512, "./aaaaa"), `"aaaaa" comes after "config.json"`},
		"twice":           {put(3*512, "./config.json\x00"), `"config.json" comes after`},
		"symlink":         {put(512+156, "2"), "neither a file nor a folder"},
		"hard link":       {put(512+156, "1"), "neither a file nor a folder"},
		"global header":   {put(512+156, "g"), "neither a file nor a folder"},
		"folder of bytes": {put(512+156, "5"), "has 24 bytes"},
		"setuid":          {put(512+100, "0004755"), "mode"},
		"odd mode":        {put(512+100, "00x0644"), "mode"},
		"odd size":        {put(512+124, "0000000003 "), "size"},
		"huge size":       {put(512+124, "77777777777"), "beyond the archive"},
		"no root":         {func(b []byte) []byte { return b[512:] }, "the first member"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := c.change(bytes.Clone(good))
			_, err := model.ReadIndex(bytes.NewReader(data), int64(len(data)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that has %q", err, c.want)
			}
		})
	}
}

func TestIndexRefusesPaxHeaders(t *testing.T) {
	t.Parallel()
	_, volume, _ := archive(t, folder(t, vectorFolders()["utf8_name"]))
	good := readFile(t, volume)
	at := bytes.Index(good, []byte("17 path=./"))
	if at < 0 {
		t.Fatal("no pax record in the archive")
	}
	cases := map[string]struct {
		record string
		want   string
	}{
		"other key":      {"17 putt=./", "want path or size once"},
		"short length":   {"16 path=./", "no proper length"},
		"long length":    {"18 path=./", "no proper length"},
		"no number":      {"xx path=./", "no proper length"},
		"not needed":     {"17 path=./aa.txt\n", "not what GNU tar writes"},
		"another name":   {"17 path=.x", "does not begin with ./"},
		"negative":       {"-5 path=./", "no proper length"},
		"without equals": {"17 path+./", "want path or size once"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := bytes.Clone(good)
			copy(data[at:], c.record)
			_, err := model.ReadIndex(bytes.NewReader(data), int64(len(data)))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that has %q", err, c.want)
			}
		})
	}
}

// bigFile is an archive of one file of 8 GiB, of which only the headers exist.
type bigFile struct {
	head []byte
	size int64
}

func (b bigFile) ReadAt(p []byte, off int64) (int, error) {
	clear(p)
	if off < int64(len(b.head)) {
		copy(p, b.head[off:])
	}
	return len(p), nil
}

// From 8 GiB on the size goes into a pax record. The headers are GNU tar's own, of a sparse file.
func TestIndexReadsGNUTarsLargeFiles(t *testing.T) {
	t.Parallel()
	dir := folder(t, map[string]entry{})
	name := strings.Repeat("shard", 22)
	if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	const size = 8 << 30
	if err := os.Truncate(filepath.Join(dir, name), size); err != nil {
		t.Skipf("no sparse files here: %v", err)
	}
	head := gnuTarHead(t, dir, 4*512)
	end := int64(len(head)) + size
	total := (end + 1024 + 10239) / 10240 * 10240
	index, err := model.ReadIndex(bigFile{head, total}, total)
	if err != nil {
		t.Fatal(err)
	}
	want := []model.Member{{Path: ".", Dir: true, Mode: 0o755, Offset: 512}, {Path: name, Mode: 0o644, Size: size, Offset: int64(len(head))}}
	if diff := cmp.Diff(want, index.Members); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

// gnuTarHead is the beginning of what GNU tar makes of a folder.
func gnuTarHead(t *testing.T, dir string, n int) []byte {
	t.Helper()
	bin, err := exec.LookPath("tar")
	if err != nil {
		t.Skip("tar is not installed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, bin, gnuTarArguments(dir)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	head := make([]byte, n)
	if _, err := io.ReadFull(out, head); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := cmd.Wait(); err == nil {
		t.Log("tar was quicker than we")
	}
	return head
}

// What ReadIndex accepts is made of members whose contents lie in the archive, in rising order.
func FuzzReadIndex(f *testing.F) {
	f.Add(plainArchive(f))
	for _, files := range vectorFolders() {
		_, volume, _ := archive(f, folder(f, files))
		f.Add(readFile(f, volume))
	}
	f.Add([]byte{})
	f.Add(make([]byte, 10240))
	f.Add(plainArchive(f)[:10240])
	f.Fuzz(func(t *testing.T, data []byte) {
		for i := range len(data) / 512 {
			if bytes.HasPrefix(data[i*512+257:], []byte("ustar")) {
				sealed(data, i)
			}
		}
		index, err := model.ReadIndex(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		at := int64(0)
		for _, m := range index.Members {
			if m.Offset < at+512 || m.Offset+m.Size > index.ArchiveSize || m.Dir && m.Size != 0 {
				t.Errorf("member %q lies at %d with %d bytes behind %d", m.Path, m.Offset, m.Size, at)
			}
			at = m.Offset + m.Size
		}
		if n := int64(len(data)); n != index.ArchiveSize && n != index.VolumeSize() {
			t.Errorf("archive of %d bytes accepted, index says %d", n, index.ArchiveSize)
		}
	})
}

// Description parsing accepts canonical documents only.
func FuzzParse(f *testing.F) {
	_, d := volume(f, folder(f, plainFiles()), options())
	good, err := d.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte("{}"))
	f.Add(bytes.Replace(good, []byte(`"erofs"`), []byte(`"tar"`), 1))
	f.Add(bytes.ReplaceAll(good, []byte(d.RootHash), []byte(hex.EncodeToString(make([]byte, 32)))))
	f.Add(bytes.ToUpper(good))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := model.Parse(data)
		if err != nil {
			return
		}
		again, err := d.Encode()
		if err != nil || !bytes.Equal(again, data) {
			t.Errorf("a description parses but is written differently, error %v", err)
		}
	})
}
