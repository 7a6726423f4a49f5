package config

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"cocoon/measure/spec"
)

func TestTheItemIsTheDisksContainer(t *testing.T) {
	raw, err := spec.EncodeDisk([]spec.File{{Path: RoleFile, Data: []byte(`{"role":"proxy"}`)}}, []byte(`{"node":"a"}`))
	if err != nil {
		t.Fatal(err)
	}
	item := func(data []byte) fs.FS { return fstest.MapFS{FWConfigItem + "/raw": {Data: data}} }
	fromDisk, err := ReadDisk(bytes.NewReader(raw), uint64(len(raw)))
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadFWConfig(item(raw))
	if err != nil || got.SpecHash != fromDisk.SpecHash || got.Measured.Role != "proxy" || got.Runtime.Node != "a" {
		t.Errorf("%+v, %v", got, err)
	}
	full := append(bytes.Clone(raw), make([]byte, MaxFWConfig-len(raw))...) // bytes after the last section are not read
	if _, err := ReadFWConfig(item(full)); err != nil {
		t.Errorf("%d bytes: %v", len(full), err)
	}
	for name, tc := range map[string]struct {
		data []byte
		want string
	}{
		"a byte too long": {append(full, 0), "longer than 65536 bytes"},
		"empty":           {nil, "ends after 0"},
		"cut":             {raw[:4100], FWConfigItem},
	} {
		if _, err := ReadFWConfig(item(tc.data)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ReadFWConfig(fstest.MapFS{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an absent item: %v", err)
	}
	if _, err := ReadFWConfig(fstest.MapFS{FWConfigItem + "/raw": {Mode: fs.ModeDir}}); err == nil {
		t.Error("a folder was read")
	}
}
