package spec_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/u-root/u-root/pkg/cpio"

	"cocoon/measure/spec"
)

func sample() []spec.File {
	return []spec.File{
		{Path: "init.sh", Executable: true, Data: []byte("#!/bin/sh\n")},
		{Path: "role.json", Data: []byte(`{"role":"worker"}`)},
		{Path: "sub.x", Data: []byte("o")},
		{Path: "sub/empty", Data: []byte{}},
	}
}

func encode(tb testing.TB, files []spec.File, runtime string) []byte {
	tb.Helper()
	disk, err := spec.EncodeDisk(files, []byte(runtime))
	if err != nil {
		tb.Fatal(err)
	}
	return disk
}

// archive is the spec section of a disk.
func archive(tb testing.TB, disk []byte) []byte {
	tb.Helper()
	h, err := spec.ParseHeader([4096]byte(disk))
	if err != nil {
		tb.Fatal(err)
	}
	return disk[h.Spec.Offset : h.Spec.Offset+h.Spec.Length]
}

// wrap puts any bytes into a disk with a right header, so that only the bytes themselves can be refused.
func wrap(section []byte) []byte {
	disk := make([]byte, 4096, 4096+len(section))
	copy(disk, "COCOONCF\x01")
	binary.LittleEndian.PutUint64(disk[16:], 4096)
	binary.LittleEndian.PutUint64(disk[24:], uint64(len(section)))
	sum := sha256.Sum256(section)
	copy(disk[32:], sum[:])
	return append(disk, section...)
}

func TestDiskRoundTrip(t *testing.T) {
	for name, tc := range map[string]struct {
		files   []spec.File
		runtime string
	}{
		"both": {sample(), `{"node":"a"}`}, "no runtime": {sample(), ""}, "no files": {nil, "{}"},
		"limits": {[]spec.File{{Path: "a", Data: make([]byte, spec.MaxFileSize)}, {Path: "b", Data: make([]byte, 5<<20)}}, strings.Repeat("x", 1<<20)},
	} {
		t.Run(name, func(t *testing.T) {
			disk := encode(t, tc.files, tc.runtime)
			if len(disk)%4096 != 0 || len(disk) > spec.MaxDiskSize {
				t.Errorf("disk has %d bytes", len(disk))
			}
			got, err := spec.ParseDisk(append(disk, "bytes behind the sections are not read"...))
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Files) != len(tc.files) || string(got.Runtime) != tc.runtime || (got.Runtime == nil) != (tc.runtime == "") {
				t.Fatalf("%d files, runtime %.20q", len(got.Files), got.Runtime)
			}
			for i := range got.Files {
				a, b := got.Files[i], tc.files[i]
				if a.Path != b.Path || a.Executable != b.Executable || !bytes.Equal(a.Data, b.Data) {
					t.Errorf("file %s differs", got.Files[i].Path)
				}
			}
			if again := encode(t, got.Files, string(got.Runtime)); !bytes.Equal(again, disk) {
				t.Error("what was parsed encodes to other bytes")
			}
		})
	}
}

func TestEncodingSortsAndLeavesItsInputAlone(t *testing.T) {
	files := sample()
	files[0], files[3] = files[3], files[0]
	before := append([]spec.File(nil), files...)
	if !bytes.Equal(encode(t, files, ""), encode(t, sample(), "")) {
		t.Error("the order of files changes the disk")
	}
	if !cmp.Equal(files, before) {
		t.Error("encoding reordered the caller's files")
	}
}

func TestEncodingRefusesOversizedSections(t *testing.T) {
	large := []spec.File{{Path: "a", Data: make([]byte, 8<<20)}, {Path: "b", Data: make([]byte, 8<<20)}}
	if _, err := spec.EncodeDisk(large, nil); err == nil || !strings.Contains(err.Error(), "at most 15728640") {
		t.Errorf("spec section: %v", err)
	}
	if _, err := spec.EncodeDisk(nil, make([]byte, 1<<20+1)); err == nil || !strings.Contains(err.Error(), "at most 1048576") {
		t.Errorf("runtime section: %v", err)
	}
	if _, err := spec.EncodeDisk([]spec.File{{Path: "a"}, {Path: "a"}}, nil); err == nil {
		t.Error("a duplicate was encoded")
	}
}

// The spec section is byte for byte what the library that writes our initrds would produce.
func TestArchiveEqualsTheOtherWriter(t *testing.T) {
	var want bytes.Buffer
	w := cpio.Newc.Writer(&want)
	for _, f := range sample() {
		mode := uint64(0o100644)
		if f.Executable {
			mode = 0o100755
		}
		rec := cpio.StaticRecord(f.Data, cpio.Info{Name: f.Path, Mode: mode, NLink: 1, FileSize: uint64(len(f.Data))})
		if err := w.WriteRecord(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := cpio.WriteTrailer(w); err != nil {
		t.Fatal(err)
	}
	got := archive(t, encode(t, sample(), ""))
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("archives differ:\n%q\n%q", got, want.Bytes())
	}
	r := cpio.Newc.Reader(bytes.NewReader(got))
	for _, f := range sample() {
		rec, err := r.ReadRecord()
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(io.NewSectionReader(rec, 0, int64(rec.FileSize)))
		if err != nil || rec.Name != f.Path || !bytes.Equal(data, f.Data) {
			t.Errorf("%s reads as %s %q (%v)", f.Path, rec.Name, data, err)
		}
	}
}

func TestBadHeadersAreRefused(t *testing.T) {
	le := binary.LittleEndian
	good := encode(t, sample(), "{}")
	runtimeOffset := le.Uint64(good[64:])
	tests := map[string]struct {
		edit func(h []byte)
		want string
	}{
		"magic":                    {func(h []byte) { h[7] = 'X' }, "not a config disk"},
		"version":                  {func(h []byte) { h[8] = 2 }, "version is 2"},
		"flags":                    {func(h []byte) { h[12] = 1 }, "flags"},
		"spec offset":              {func(h []byte) { le.PutUint64(h[16:], 8192) }, "offset is 8192"},
		"no spec":                  {func(h []byte) { le.PutUint64(h[24:], 0) }, "length is 0"},
		"spec too long":            {func(h []byte) { le.PutUint64(h[24:], 15<<20+1) }, "want 1..15728640"},
		"spec length wraps":        {func(h []byte) { le.PutUint64(h[24:], 1<<63) }, "want 1..15728640"},
		"runtime overlaps":         {func(h []byte) { le.PutUint64(h[64:], 4096) }, "offset is 4096"},
		"runtime over header":      {func(h []byte) { le.PutUint64(h[64:], 0) }, "offset is 0"},
		"runtime unaligned":        {func(h []byte) { le.PutUint64(h[64:], runtimeOffset+1) }, "offset is"},
		"gap before runtime":       {func(h []byte) { le.PutUint64(h[64:], runtimeOffset+4096) }, "offset is"},
		"runtime without length":   {func(h []byte) { le.PutUint64(h[72:], 0) }, "length is 0"},
		"runtime too long":         {func(h []byte) { le.PutUint64(h[72:], 1<<20+1) }, "want 1..1048576"},
		"digest without a runtime": {func(h []byte) { clear(h[64:80]) }, "offset is 0"},
		"first unused byte":        {func(h []byte) { h[112] = 1 }, "unused byte 112"},
		"last unused byte":         {func(h []byte) { h[4095] = 1 }, "unused byte 4095"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			disk := bytes.Clone(good)
			tc.edit(disk)
			if _, err := spec.ParseHeader([4096]byte(disk)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
}

func TestTornDisksAreNamed(t *testing.T) {
	good := encode(t, sample(), "{}")
	h, err := spec.ParseHeader([4096]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	flip := func(off int64) []byte {
		disk := bytes.Clone(good)
		disk[off] ^= 1
		return disk
	}
	for name, tc := range map[string]struct {
		disk []byte
		want string
	}{
		"shorter than a header": {good[:4095], "4095 bytes"},
		"cut inside the spec":   {good[:h.Spec.Offset+h.Spec.Length-1], "truncated"},
		"cut before runtime":    {good[:h.Runtime.Offset], "truncated"},
		"spec byte":             {flip(h.Spec.Offset + 120), "spec section: SHA-256"},
		"runtime byte":          {flip(h.Runtime.Offset), "runtime section: SHA-256"},
	} {
		if _, err := spec.ParseDisk(tc.disk); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, tc.want)
		}
	}
	section := good[h.Spec.Offset : h.Spec.Offset+h.Spec.Length]
	for name, parts := range map[string][2][]byte{
		"spec too long":   {append(bytes.Clone(section), 0), []byte("{}")},
		"runtime missing": {section, nil},
	} {
		if _, err := spec.Parse(h, parts[0], parts[1]); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	h.Runtime = spec.Section{}
	if _, err := spec.Parse(h, section, []byte("{}")); err == nil {
		t.Error("a runtime section the header does not name was accepted")
	}
}

func TestArchivesInAnotherFormAreRefused(t *testing.T) {
	good := archive(t, encode(t, sample(), ""))
	at := func(off int, text string) []byte {
		out := bytes.Clone(good)
		copy(out[off:], text)
		return out
	}
	field := func(n int) int { return 6 + 8*n }
	second := bytes.Index(good[6:], []byte("070701")) + 6
	for name, tc := range map[string]struct {
		section []byte
		want    string
	}{
		"magic":               {at(0, "070702"), "magic"},
		"inode":               {at(field(0), "00000001"), "canonical"},
		"directory mode":      {at(field(1), "000041ED"), "mode"},
		"setuid":              {at(field(1), "000089ED"), "mode"},
		"other mode":          {at(field(1), "000081A0"), "mode"},
		"lower-case mode":     {at(field(1), "000081ed"), "upper-case"},
		"owner":               {at(field(2), "00000001"), "canonical"},
		"link count":          {at(field(4), "00000002"), "canonical"},
		"time":                {at(field(5), "00000001"), "canonical"},
		"size beyond archive": {at(field(6), "000FFFFF"), "inside a record"},
		"size beyond limit":   {at(field(6), "FFFFFFFF"), "at most"},
		"device":              {at(field(9), "00000001"), "canonical"},
		"name size 1":         {at(field(11), "00000001"), "name has 1"},
		"name size huge":      {at(field(11), "FFFFFFFF"), "want 2..256"},
		"checksum":            {at(field(12), "00000001"), "canonical"},
		"name not terminated": {at(110+7, "x"), "canonical"},
		"name in another set": {at(110, "in t.sh"), "0x20"},
		"data padding":        {at(second-1, "x"), "canonical"},
		"trailing byte":       {append(bytes.Clone(good), 0), "follow the end record"},
		"no end record":       {good[:second], "inside a record"},
		"cut in padding":      {good[:second-1], "inside a record"},
		"end record field":    {at(len(good)-124+field(4), "00000001"), "canonical"},
		"unsorted":            {append(bytes.Clone(good[second:len(good)-124]), append(bytes.Clone(good[:second]), good[len(good)-124:]...)...), "sorted bytewise"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := spec.ParseDisk(wrap(tc.section)); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want an error with %q", err, tc.want)
			}
		})
	}
	if _, err := spec.ParseDisk(wrap(good)); err != nil {
		t.Errorf("the unchanged archive was refused: %v", err)
	}
}

func FuzzHeader(f *testing.F) {
	full := encode(f, sample(), "{}")[:4096]
	f.Add(full[:112])
	f.Add(encode(f, nil, "")[:112])
	f.Add(encode(f, sample(), "")[:112])
	f.Add([]byte("COCOONCF"))
	f.Add(append(bytes.Clone(full[:113]), 1))
	f.Fuzz(func(t *testing.T, data []byte) {
		var raw [4096]byte
		copy(raw[:], data)
		h, err := spec.ParseHeader(raw)
		if err != nil {
			return
		}
		end := h.Spec.Offset + h.Spec.Length
		if h.HasRuntime() {
			if h.Runtime.Offset < end || h.Runtime.Offset%4096 != 0 {
				t.Errorf("runtime at %d overlaps a spec that ends at %d", h.Runtime.Offset, end)
			}
			end = h.Runtime.Offset + h.Runtime.Length
		}
		if h.Spec.Offset != 4096 || end > spec.MaxDiskSize {
			t.Errorf("sections reach from %d to %d", h.Spec.Offset, end)
		}
	})
}

// What parses has one encoding, its hash can be computed, and packing it again changes nothing.
func FuzzArchive(f *testing.F) {
	f.Add(archive(f, encode(f, sample(), "")))
	f.Add(archive(f, encode(f, nil, "")))
	f.Add(archive(f, encode(f, sample()[:1], "")))
	f.Add(archive(f, encode(f, []spec.File{{Path: "a/b/c", Data: []byte("abc")}}, "")))
	f.Add([]byte("070701"))
	f.Fuzz(func(t *testing.T, section []byte) {
		disk, err := spec.ParseDisk(wrap(section))
		if err != nil {
			return
		}
		again := encode(t, disk.Files, "")
		if !bytes.Equal(archive(t, again), section) {
			t.Error("the archive does not encode to its own bytes")
		}
		if _, err := spec.TreeHash(disk.Files); err != nil {
			t.Errorf("accepted files have no hash: %v", err)
		}
	})
}
