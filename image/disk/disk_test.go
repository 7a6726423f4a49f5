package disk_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/disk"
)

const (
	epoch = 1735689600
	mib   = 1 << 20
)

// pattern is content that differs from sector to sector.
func pattern(size int, seed byte) []byte {
	out := make([]byte, size)
	for i := range out {
		out[i] = byte(i>>9) ^ byte(i) ^ seed
	}
	return out
}

// inputs makes a UKI and two layers; one of them has a hole.
func inputs(tb testing.TB) disk.Spec {
	tb.Helper()
	dir := tb.TempDir()
	put := func(name string, data []byte) string {
		full := filepath.Join(dir, name)
		if err := os.WriteFile(full, data, 0o600); err != nil {
			tb.Fatal(err)
		}
		return full
	}
	hole := pattern(3*mib+4096, 2)
	clear(hole[mib : 2*mib])
	return disk.Spec{
		UKI: put("image.efi", pattern(300*1024+512, 1)),
		Partitions: []disk.Partition{
			{ID: "base", Path: put("base.img", hole)},
			{ID: "engine", Path: put("engine.img", pattern(mib, 3))},
		},
		Epoch: epoch,
	}
}

func writeDisk(tb testing.TB, s disk.Spec) (string, disk.Layout) {
	tb.Helper()
	name := filepath.Join(tb.TempDir(), "disk.img")
	l, err := disk.Write(context.Background(), name, s)
	if err != nil {
		tb.Fatal(err)
	}
	return name, l
}

func readFile(tb testing.TB, name string) []byte {
	tb.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// tableEntry is a partition as another reader of the format sees it.
type tableEntry struct {
	Name, Type, GUID  string
	FirstLBA, LastLBA uint64
}

// readTable parses one of the two GPT headers and checks its sums (UEFI specification, "GPT Header").
func readTable(t *testing.T, img []byte, headerLBA uint64) (guid string, entries []tableEntry) {
	t.Helper()
	le := binary.LittleEndian
	h := bytes.Clone(img[headerLBA*512:][:92])
	if string(h[:8]) != "EFI PART" || le.Uint64(h[24:]) != headerLBA {
		t.Fatalf("no GPT header at sector %d", headerLBA)
	}
	sum := le.Uint32(h[16:])
	clear(h[16:20])
	if got := crc32.ChecksumIEEE(h); got != sum {
		t.Errorf("header checksum %#x, want %#x", sum, got)
	}
	array := img[le.Uint64(h[72:])*512:][:128*128]
	if got := crc32.ChecksumIEEE(array); got != le.Uint32(h[88:]) {
		t.Errorf("array checksum %#x, want %#x", le.Uint32(h[88:]), got)
	}
	for e := range 128 {
		b := array[e*128:][:128]
		if len(bytes.Trim(b, "\x00")) == 0 {
			continue
		}
		var name []uint16
		for i := 56; i < 128 && (b[i] != 0 || b[i+1] != 0); i += 2 {
			name = append(name, le.Uint16(b[i:]))
		}
		entries = append(entries, tableEntry{string(utf16.Decode(name)), mixedGUID(b), mixedGUID(b[16:]), le.Uint64(b[32:]), le.Uint64(b[40:])})
	}
	return mixedGUID(h[56:]), entries
}

// mixedGUID is the text form of a GUID, whose first three fields are little-endian.
func mixedGUID(b []byte) string {
	le := binary.LittleEndian
	return fmt.Sprintf("%08X-%04X-%04X-%X-%X", le.Uint32(b), le.Uint16(b[4:]), le.Uint16(b[6:]), b[8:10], b[10:16])
}

func TestTableOnDiskIsTheLayout(t *testing.T) {
	name, l := writeDisk(t, inputs(t))
	img := readFile(t, name)
	if int64(len(img)) != l.Size || l.Size != (1+128+4+1+1)*mib {
		t.Errorf("disk of %d bytes, layout says %d, want %d", len(img), l.Size, (1+128+4+1+1)*mib)
	}
	var want []tableEntry
	for _, p := range l.Partitions {
		want = append(want, tableEntry{p.Name, p.Type, p.GUID, p.FirstLBA, p.LastLBA})
	}
	for _, header := range []uint64{1, uint64(len(img)/512 - 1)} {
		guid, got := readTable(t, img, header)
		if guid != l.GUID {
			t.Errorf("disk GUID %s, layout says %s", guid, l.GUID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("table at sector %d (-layout +disk):\n%s", header, diff)
		}
	}
	places := []string{}
	for _, p := range l.Partitions {
		places = append(places, fmt.Sprintf("%s %d-%d", p.Name, p.FirstLBA, p.LastLBA))
	}
	if diff := cmp.Diff([]string{"esp 2048-264191", "cocoon-base 264192-272383", "cocoon-engine 272384-274431"}, places); diff != "" {
		t.Errorf("places (-want +got):\n%s", diff)
	}
}

func TestLayerPartitionsReadBackEqual(t *testing.T) {
	s := inputs(t)
	name, l := writeDisk(t, s)
	img := readFile(t, name)
	for i, p := range s.Partitions {
		placed := l.Partitions[i+1]
		got := img[placed.FirstLBA*512 : (placed.LastLBA+1)*512]
		want := readFile(t, p.Path)
		if !bytes.Equal(got[:len(want)], want) {
			t.Errorf("%s: partition differs from the layer", p.ID)
		}
		if len(bytes.Trim(got[len(want):], "\x00")) != 0 {
			t.Errorf("%s: bytes behind the layer", p.ID)
		}
		if placed.SHA256 != sha256.Sum256(want) || placed.Bytes != int64(len(want)) {
			t.Errorf("%s: layout has another hash or size", p.ID)
		}
	}
}

func TestDiskDependsOnContentOnly(t *testing.T) {
	s := inputs(t)
	first, a := writeDisk(t, s)
	second, b := writeDisk(t, s)
	if !bytes.Equal(readFile(t, first), readFile(t, second)) {
		t.Error("two disks from the same inputs differ")
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("layouts differ:\n%s", diff)
	}
	data := readFile(t, s.Partitions[0].Path)
	data[0] ^= 1
	if err := os.WriteFile(s.Partitions[0].Path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	_, c := writeDisk(t, s)
	if c.GUID == a.GUID || c.Partitions[1].GUID == a.Partitions[1].GUID || c.Partitions[0].GUID != a.Partitions[0].GUID {
		t.Error("GUIDs do not follow the content of their partitions")
	}
}

// The time zone is read once per process, so a second process writes the same disk in another zone.
func TestTimeZoneDoesNotMatter(t *testing.T) {
	s := inputs(t)
	if out := os.Getenv("COCOON_TEST_DISK"); out != "" {
		parts := strings.Split(out, ":")
		s.UKI, s.Partitions = parts[1], []disk.Partition{{ID: "base", Path: parts[2]}}
		if _, err := disk.Write(t.Context(), parts[0], s); err != nil {
			t.Fatal(err)
		}
		return
	}
	s.Partitions = s.Partitions[:1]
	here, _ := writeDisk(t, s)
	there := filepath.Join(t.TempDir(), "there.img")
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTimeZoneDoesNotMatter$")
	child.Env = append(os.Environ(), "TZ=Pacific/Auckland", "COCOON_TEST_DISK="+there+":"+s.UKI+":"+s.Partitions[0].Path)
	if text, err := child.CombinedOutput(); err != nil {
		t.Fatalf("child process: %v\n%s", err, text)
	}
	if !bytes.Equal(readFile(t, here), readFile(t, there)) {
		t.Error("the disk depends on the time zone")
	}
}

func TestEpochMustBeTheProcess(t *testing.T) {
	s := inputs(t)
	t.Setenv("SOURCE_DATE_EPOCH", "1")
	name := filepath.Join(t.TempDir(), "disk.img")
	_, err := disk.Write(t.Context(), name, s)
	if err == nil || !strings.Contains(err.Error(), "unset the variable") {
		t.Errorf("error %v, want one about the environment", err)
	}
	if _, err := os.Stat(name); err == nil {
		t.Error("a refused disk was left behind")
	}
}

func TestWriteRefuses(t *testing.T) {
	dir := t.TempDir()
	empty, huge := filepath.Join(dir, "empty"), filepath.Join(dir, "huge")
	touch(t, empty, 0)
	touch(t, huge, 2<<30)
	cases := map[string]struct {
		change func(*disk.Spec)
		want   string
	}{
		"missing UKI":     {func(s *disk.Spec) { s.UKI += ".absent" }, "no such file"},
		"empty layer":     {func(s *disk.Spec) { s.Partitions[0].Path = empty }, "has 0 bytes"},
		"a folder":        {func(s *disk.Spec) { s.Partitions[0].Path = dir }, "not a plain file"},
		"bad id":          {func(s *disk.Spec) { s.Partitions[0].ID = "Base" }, `"Base" does not match`},
		"long id":         {func(s *disk.Spec) { s.Partitions[0].ID = strings.Repeat("a", 21) }, "does not match"},
		"same id":         {func(s *disk.Spec) { s.Partitions[1].ID = "base" }, "appears twice"},
		"early epoch":     {func(s *disk.Spec) { s.Epoch = 0 }, "before 1980"},
		"too many layers": {func(s *disk.Spec) { s.Partitions = make([]disk.Partition, 17) }, "at most 16"},
		"huge UKI":        {func(s *disk.Spec) { s.UKI = huge }, "does not fit"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := inputs(t)
			c.change(&s)
			_, err := disk.Write(t.Context(), filepath.Join(t.TempDir(), "disk.img"), s)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one that has %q", err, c.want)
			}
		})
	}
}

func touch(t *testing.T, name string, size int64) {
	t.Helper()
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, size); err != nil {
		t.Fatal(err)
	}
}

func TestCancelledWriteLeavesNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dir := t.TempDir()
	if _, err := disk.Write(ctx, filepath.Join(dir, "disk.img"), inputs(t)); err == nil {
		t.Fatal("a cancelled write succeeded")
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("%d files left, error %v", len(left), err)
	}
}

// extractESP copies the ESP into a file of its own for the tools.
func extractESP(t *testing.T, name string, l disk.Layout) string {
	t.Helper()
	in, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close() //nolint:errcheck // read side
	out, err := os.Create(filepath.Join(t.TempDir(), "esp.img"))
	if err != nil {
		t.Fatal(err)
	}
	esp := l.Partitions[0]
	src := io.NewSectionReader(in, int64(esp.FirstLBA)*512, int64(esp.LastLBA-esp.FirstLBA+1)*512)
	if _, err := io.Copy(out, src); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Name()
}

// tool finds an oracle or skips.
func tool(t *testing.T, names ...string) string {
	t.Helper()
	for _, name := range names {
		if full, err := exec.LookPath(name); err == nil {
			return full
		}
		if _, err := os.Stat("/usr/sbin/" + name); err == nil {
			return "/usr/sbin/" + name
		}
	}
	t.Skipf("%s is not installed", strings.Join(names, " or "))
	return ""
}

func TestFsckFindsTheESPClean(t *testing.T) {
	fsck := tool(t, "fsck.fat")
	name, l := writeDisk(t, inputs(t))
	if text, err := exec.CommandContext(t.Context(), fsck, "-n", "-v", extractESP(t, name, l)).CombinedOutput(); err != nil {
		t.Errorf("fsck.fat: %v\n%s", err, text)
	}
}

func TestMtoolsReadTheUKI(t *testing.T) {
	mcopy := tool(t, "mcopy")
	s := inputs(t)
	name, l := writeDisk(t, s)
	out := filepath.Join(t.TempDir(), "uki")
	if text, err := exec.CommandContext(t.Context(), mcopy, "-i", extractESP(t, name, l), "::/EFI/BOOT/BOOTX64.EFI", out).CombinedOutput(); err != nil {
		t.Fatalf("mcopy: %v\n%s", err, text)
	}
	if !bytes.Equal(readFile(t, out), readFile(t, s.UKI)) {
		t.Error("the UKI on the ESP differs")
	}
}

// A UKI of more than one step, written in several pieces that end on no cluster's border.
func TestESPGrowsInSteps(t *testing.T) {
	if env := os.Getenv("COCOON_TEST"); env != "all" && !strings.Contains(env, "big") {
		t.Skip("writes 400 MB: set COCOON_TEST=big")
	}
	s := inputs(t)
	s.Partitions = nil
	data := pattern(130*mib+777, 9)
	if err := os.WriteFile(s.UKI, data, 0o600); err != nil {
		t.Fatal(err)
	}
	name, l := writeDisk(t, s)
	if got := (l.Partitions[0].LastLBA + 1 - l.Partitions[0].FirstLBA) * 512; got != 256*mib {
		t.Errorf("ESP of %d bytes, want %d", got, 256*mib)
	}
	esp := extractESP(t, name, l)
	if text, err := exec.CommandContext(t.Context(), tool(t, "fsck.fat"), "-n", esp).CombinedOutput(); err != nil {
		t.Errorf("fsck.fat: %v\n%s", err, text)
	}
	out := filepath.Join(t.TempDir(), "uki")
	if text, err := exec.CommandContext(t.Context(), tool(t, "mcopy"), "-i", esp, "::/EFI/BOOT/BOOTX64.EFI", out).CombinedOutput(); err != nil {
		t.Fatalf("mcopy: %v\n%s", err, text)
	}
	if !bytes.Equal(readFile(t, out), data) {
		t.Error("the UKI on the ESP differs")
	}
}

func TestPartitioningToolsAcceptTheTable(t *testing.T) {
	name, l := writeDisk(t, inputs(t))
	verify := map[string][]string{"sgdisk": {"--verify", name}, "sfdisk": {"--verify", name}}
	bin := tool(t, "sgdisk", "sfdisk")
	text, err := exec.CommandContext(t.Context(), bin, verify[filepath.Base(bin)]...).CombinedOutput()
	if err != nil || strings.Contains(string(text), "Problem:") {
		t.Errorf("%s: %v\n%s", bin, err, text)
	}
	dump := map[string][]string{"sgdisk": {"--print", name}, "sfdisk": {"--dump", name}}
	text, err = exec.CommandContext(t.Context(), bin, dump[filepath.Base(bin)]...).CombinedOutput()
	if err != nil || !strings.Contains(string(text), l.GUID) || !strings.Contains(string(text), "cocoon-engine") {
		t.Errorf("%s: %v\n%s", bin, err, text)
	}
}
