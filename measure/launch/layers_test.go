package launch

import (
	"strings"
	"testing"

	"cocoon/measure/bootfiles"
)

func TestSetLayersNamesDisksByRole(t *testing.T) {
	base, engine := bootfiles.Layer{ID: "base-debug", Role: bootfiles.RoleBase}, bootfiles.Layer{ID: "engine-cpu", Role: bootfiles.RoleEngine}
	gpu := bootfiles.Layer{ID: "gpu", Role: bootfiles.RoleGPU}
	second := bootfiles.Layer{ID: "engine-2", Role: bootfiles.RoleEngine}
	for name, tt := range map[string]struct {
		shape  string
		layers []bootfiles.Layer
		want   string // serials of the layer disks
		err    string
	}{
		"a worker's layers, in any order":   {"worker-cpu", []bootfiles.Layer{engine, base}, "base-debug engine-cpu", ""},
		"all three roles":                   {"worker-gpu", []bootfiles.Layer{base, gpu, engine}, "base-debug gpu engine-cpu", ""},
		"partitions of a disk need nothing": {"test-disk", []bootfiles.Layer{base, engine}, "", ""},
		"a layer without a disk":            {"proxy", []bootfiles.Layer{base, engine}, "", "no disk for layer engine-cpu"},
		"a disk without a layer":            {"worker-cpu", []bootfiles.Layer{base}, "", "disk layer-engine"},
		"two layers of one role":            {"worker-cpu", []bootfiles.Layer{base, engine, second}, "", "both have role engine"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := Shape(tt.shape)
			if err != nil {
				t.Fatal(err)
			}
			before, err := m.Encode()
			if err != nil {
				t.Fatal(err)
			}
			err = m.SetLayers(tt.layers)
			if tt.err != "" {
				after, encodeErr := m.Encode()
				if err == nil || !strings.Contains(err.Error(), tt.err) || encodeErr != nil || string(after) != string(before) {
					t.Fatalf("got %v, want an error with %q and an unchanged machine", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var serials []string
			for _, d := range m.Disks() {
				if strings.HasPrefix(d.ID, "layer-") {
					serials = append(serials, d.Serial)
				}
			}
			if got := strings.Join(serials, " "); got != tt.want || m.Validate() != nil {
				t.Errorf("layer disks have the serials %q, want %q; %v", got, tt.want, m.Validate())
			}
		})
	}
}
