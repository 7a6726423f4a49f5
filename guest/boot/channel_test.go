package boot

import (
	"context"
	"errors"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/guest/config"
	"cocoon/guest/storage"
	"cocoon/measure/bootfiles"
	"cocoon/measure/spec"
)

// fwConfig is the item's file as sysfs shows it, below the rig's root.
var fwConfig = strings.TrimPrefix(path.Join(config.FWConfigRoot, config.FWConfigItem, "raw"), "/")

func TestProductionReadsTheDiskAndNothingElse(t *testing.T) {
	both := []string{"disk", "fw_cfg"}
	for variant, want := range map[bootfiles.Variant][]string{
		bootfiles.Production: {"disk"}, "": {"disk"}, "unknown": {"disk"}, bootfiles.Debug: both, bootfiles.Test: both,
	} {
		var got []string
		for _, c := range channels(variant) {
			got = append(got, c.name)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("variant %q: %s", variant, diff)
		}
	}
}

func TestFWConfigIsUsedWhereThereIsNoDisk(t *testing.T) {
	tests := map[string]struct {
		variant bootfiles.Variant
		change  func(r *rig, item string)
		channel string // empty: the config stage fails
		want    string
	}{
		"test, item alone":       {bootfiles.Test, func(r *rig, item string) { r.files[fwConfig] = item; clear(r.disks) }, "fw_cfg", ""},
		"debug, item alone":      {bootfiles.Debug, func(r *rig, item string) { r.files[fwConfig] = item; clear(r.disks) }, "fw_cfg", ""},
		"production, item alone": {bootfiles.Production, func(r *rig, item string) { r.files[fwConfig] = item; clear(r.disks) }, "", storage.ErrNoDevice.Error()},
		"both":                   {bootfiles.Test, func(r *rig, _ string) { r.files[fwConfig] = "not looked at" }, "disk", ""},
		"a broken disk stays the configuration": {bootfiles.Test, func(r *rig, item string) {
			r.files[fwConfig] = item
			r.disks[config.DiskSerial][4200] ^= 1
		}, "", "torn or corrupt"},
		"neither":       {bootfiles.Test, func(r *rig, _ string) { clear(r.disks) }, "", storage.ErrNoDevice.Error()},
		"a broken item": {bootfiles.Test, func(r *rig, item string) { r.files[fwConfig] = item[:4100]; clear(r.disks) }, "", "fw_cfg item"},
		"too long": {bootfiles.Test, func(r *rig, item string) {
			r.files[fwConfig] = item + strings.Repeat("\x00", config.MaxFWConfig)
			clear(r.disks)
		}, "", "attach a config disk"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.image(tc.variant, "worker")
			r.td.present = true
			tc.change(r, string(r.disks[config.DiskSerial]))
			st, err := r.boot()
			got, _ := r.status(StageConfig).Detail["channel"].(string)
			if got != tc.channel {
				t.Errorf("channel %q, want %q", got, tc.channel)
			}
			var stage *StageError
			if failed := errors.As(err, &stage) && stage.Stage == StageConfig; failed != (tc.channel == "") || (failed && !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("err = %v, want one about %q", err, tc.want)
			}
			if measured := st.SpecHash != (spec.Hash{}); measured != (tc.channel != "") {
				t.Errorf("spec %s", st.SpecHash)
			}
		})
	}
}

func TestAPortIsOpenedByTheServiceStageAndReported(t *testing.T) {
	r := newRig(t)
	var open []uint16
	r.deps.OpenPort = func(port uint16) error {
		open = append(open, port)
		return nil
	}
	r.deps.Hooks.Service = func(_ context.Context, st *State) error { return st.OpenPort(8443) }
	if _, err := r.boot(); err != nil || !cmp.Equal(open, []uint16{8443}) {
		t.Errorf("%v, opened %v", err, open)
	}
	if got := r.status(StageService).Detail["port"]; got != 8443.0 {
		t.Errorf("reported %v", got)
	}
	r = newRig(t)
	r.deps.OpenPort = func(uint16) error { return errors.New("no firewall") }
	r.deps.Hooks.Service = func(_ context.Context, st *State) error { return st.OpenPort(8443) }
	var stage *StageError
	if _, err := r.boot(); !errors.As(err, &stage) || stage.Stage != StageService {
		t.Errorf("err = %v", err)
	}
}
