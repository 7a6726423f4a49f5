package recipe_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"cocoon/image/recipe"
	"cocoon/measure/bootfiles"
	"cocoon/measure/launch"
)

// TestPublishedShapesHaveTheImagesLayers compares the committed recipe with the built-in machines: every image has a
// machine of its name whose layer disks have the ids of the image's layers.
func TestPublishedShapesHaveTheImagesLayers(t *testing.T) {
	r, err := recipe.Load("../../mkosi")
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range r.Images {
		machines := slices.DeleteFunc(launch.Shapes(), func(name string) bool {
			rest, ok := strings.CutPrefix(name, img.Name)
			return !ok || strings.Trim(rest, "-0123456789") != "" // worker-gpu-8 is a larger worker-gpu
		})
		if len(machines) == 0 {
			t.Errorf("image %s has no machine", img.Name)
		}
		for _, name := range machines {
			m, err := launch.Shape(name)
			if err != nil {
				t.Fatal(err)
			}
			var serials []string
			for _, d := range m.Disks() {
				if strings.HasPrefix(d.ID, "layer-") {
					serials = append(serials, d.Serial)
				}
			}
			if diff := cmp.Diff(img.LayerIDs(bootfiles.Production), serials); diff != "" {
				t.Errorf("layers of image %s and layer disks of machine %s (-image +machine):\n%s", img.Name, name, diff)
			}
		}
	}
}

// TestLockedQEMUIsTheShapes: predictions for the published machines need the QEMU that the recipe pins.
func TestLockedQEMUIsTheShapes(t *testing.T) {
	r, err := recipe.Load("../../mkosi")
	if err != nil {
		t.Fatal(err)
	}
	g, err := r.Group("qemu")
	if err != nil {
		t.Fatal(err)
	}
	if want := "qemu-system-x86=1:" + launch.HostQEMU + "+"; !slices.ContainsFunc(g.Packages, func(p string) bool { return strings.HasPrefix(p, want) }) {
		t.Errorf("the recipe's QEMU is %q, the published machines are for %s", g.Packages, launch.HostQEMU)
	}
}
