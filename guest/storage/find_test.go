package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func disk(name, serial string, sectors int) fstest.MapFS {
	return fstest.MapFS{
		"block/" + name + "/serial": {Data: []byte(serial)},
		"block/" + name + "/size":   {Data: fmt.Appendf(nil, "%d\n", sectors)},
	}
}

func partition(parent, name, partname string, sectors int) fstest.MapFS {
	dir := "block/" + parent + "/" + name
	return fstest.MapFS{
		dir + "/uevent": {Data: []byte("MAJOR=254\nMINOR=1\nDEVNAME=" + name + "\nDEVTYPE=partition\nPARTN=1\nPARTNAME=" + partname + "\n")},
		dir + "/size":   {Data: fmt.Appendf(nil, "%d\n", sectors)},
	}
}

func sys(parts ...fstest.MapFS) fstest.MapFS {
	out := fstest.MapFS{"block": {Mode: fs.ModeDir}}
	for _, p := range parts {
		maps.Copy(out, p)
	}
	return out
}

func TestFind(t *testing.T) {
	gpt := sys(disk("vda", "", 8000), partition("vda", "vda1", "esp", 100), partition("vda", "vda2", "cocoon-base", 2096))
	tests := map[string]struct {
		sys  fstest.MapFS
		want Device
		err  error
	}{
		"serial":             {sys: sys(disk("vda", "base", 2096)), want: Device{Node: "/dev/vda", Name: "vda", Bytes: 2096 * 512}},
		"serial and newline": {sys: sys(disk("vdb", "base\n", 8)), want: Device{Node: "/dev/vdb", Name: "vdb", Bytes: 4096}},
		"among strangers":    {sys: sys(disk("vda", "other", 1), disk("vdb", "base", 8)), want: Device{Node: "/dev/vdb", Name: "vdb", Bytes: 4096}},
		"partition":          {sys: gpt, want: Device{Node: "/dev/vda2", Name: "vda2", Bytes: 2096 * 512, Partition: true}},
		"disk wins over partition": {
			sys:  sys(gpt, disk("vdb", "base", 8)),
			want: Device{Node: "/dev/vdb", Name: "vdb", Bytes: 4096},
		},
		"two disks":              {sys: sys(disk("vda", "base", 8), disk("vdb", "base", 8)), err: ErrAmbiguous},
		"two partitions":         {sys: sys(gpt, disk("vdb", "", 9), partition("vdb", "vdb1", "cocoon-base", 8)), err: ErrAmbiguous},
		"a longer serial":        {sys: sys(disk("vda", "base2", 8)), err: ErrNoDevice},
		"a serial as partition":  {sys: sys(disk("vda", "cocoon-base", 8)), err: ErrNoDevice},
		"a name without prefix":  {sys: sys(disk("vda", "", 8), partition("vda", "vda1", "base", 8)), err: ErrNoDevice},
		"a name with a newline":  {sys: sys(disk("vda", "", 8), partition("vda", "vda1", "x\nPARTNAME=cocoon-base", 8)), err: ErrNoDevice},
		"no disks":               {sys: sys(), err: ErrNoDevice},
		"not virtio":             {sys: sys(disk("sda", "base", 8)), err: ErrNoDevice},
		"an oversized attribute": {sys: sys(disk("vda", "base"+strings.Repeat("\x00", 5000), 8)), err: ErrNoDevice},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel() // one look is enough: nothing changes
			got, err := Finder{Sys: tc.sys}.Find(ctx, "base")
			if !errors.Is(err, tc.err) {
				t.Fatalf("err = %v, want %v", err, tc.err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestASizeThatIsNoNumberIsNamed(t *testing.T) {
	s := sys(disk("vda", "base", 8))
	for _, size := range []string{"", "-1", "99999999999999999999", "8 sectors"} {
		s["block/vda/size"] = &fstest.MapFile{Data: []byte(size)}
		if _, err := (Finder{Sys: s}).Find(context.Background(), "base"); err == nil || !strings.Contains(err.Error(), "block/vda") {
			t.Errorf("size %q: %v", size, err)
		}
	}
}

func TestFindWaitsForALateDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := lateFS{at: time.Now().Add(500 * time.Millisecond), fs: sys(disk("vda", "base", 8)), before: sys()}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if _, err := (Finder{Sys: late}).Find(ctx, "base"); err != nil {
			t.Error(err)
		}
	})
}

func TestFindEndsAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		start := time.Now()
		_, err := Finder{Sys: sys()}.Find(ctx, "base")
		if !errors.Is(err, ErrNoDevice) || !strings.Contains(err.Error(), "serial=base") {
			t.Errorf("err = %v", err)
		}
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("waited %s", d)
		}
	})
}

// lateFS shows its disks from a moment on.
type lateFS struct {
	at         time.Time
	fs, before fs.FS
}

func (l lateFS) Open(name string) (fs.File, error) {
	if time.Now().Before(l.at) {
		return l.before.Open(name)
	}
	return l.fs.Open(name)
}

func TestParseUevent(t *testing.T) {
	tests := map[string]struct {
		in   string
		want map[string]string
		err  string
	}{
		"partition":      {in: "DEVTYPE=partition\nPARTNAME=cocoon-base\n", want: map[string]string{"DEVTYPE": "partition", "PARTNAME": "cocoon-base"}},
		"equals in name": {in: "PARTNAME=a=b\n", want: map[string]string{"PARTNAME": "a=b"}},
		"empty value":    {in: "PARTNAME=\n", want: map[string]string{"PARTNAME": ""}},
		"duplicate":      {in: "PARTNAME=a\nPARTNAME=b\n", err: "twice"},
		"no equals":      {in: "PARTNAME=a\nb\n", err: "KEY=value"},
		"no key":         {in: "=a\n", err: "KEY=value"},
		"empty":          {in: "", err: "KEY=value"},
		"too many lines": {in: strings.Repeat("A=b\n", 100), err: "lines"},
		"too long":       {in: "A=" + strings.Repeat("b", 5000), err: "bytes"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ParseUevent([]byte(tc.in))
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("err = %v, want one about %q", err, tc.err)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func FuzzParseUevent(f *testing.F) {
	for _, seed := range []string{"", "A=b\n", "PARTNAME=cocoon-base\nPARTN=1\n", "A=b\nA=c\n", "=\n", "A=b", "\n\n", "PARTNAME=x\x00y\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := ParseUevent(data)
		if err != nil {
			return
		}
		var size int
		for k, v := range keys {
			if k == "" || strings.Contains(k, "=") || strings.Contains(v, "\n") {
				t.Errorf("key %q value %q", k, v)
			}
			size += len(k) + len(v) + 2
		}
		if trimmed := strings.TrimSuffix(string(data), "\n"); size != len(trimmed)+1 {
			t.Errorf("%d bytes of keys from %d bytes", size, len(trimmed))
		}
	})
}
