package arch

import (
	"strings"
	"testing"
)

// TestStats prints the figures a room and in all, and holds the one that is a rule: exported names are documented.
func TestStats(t *testing.T) {
	files := sources(t)
	for _, room := range Rooms() {
		var in []File
		for _, f := range files {
			if strings.HasPrefix(f.Path, room+"/") {
				in = append(in, f)
			}
		}
		t.Logf("%-10s %s", room, Measure(in))
	}
	all := Measure(files)
	t.Logf("%-10s %s", "all", all)
	if all.Documented*100 < all.Exported*98 {
		t.Errorf("%d of %d exported names are documented, at least 98 %%", all.Documented, all.Exported)
	}
}
