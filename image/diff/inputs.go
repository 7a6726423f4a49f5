package diff

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"cocoon/image/manifest"
)

// InputChange is one input that is not the same in two manifests. A side where it is absent is nil.
type InputChange struct {
	Kind, Name string
	A, B       *manifest.Input
}

// String names the change the way a person would: "deb libc6: 2.41-11 -> 2.41-12".
func (c InputChange) String() string {
	a, b := state(c.A), state(c.B)
	if a == b {
		a, b = a+" ("+c.A.SHA256[:12]+")", b+" ("+c.B.SHA256[:12]+")"
	}
	return fmt.Sprintf("%s %s: %s -> %s", c.Kind, c.Name, a, b)
}

func state(in *manifest.Input) string {
	if in == nil {
		return "absent"
	}
	return cmp.Or(in.Version, in.SHA256[:12])
}

// reaches reports whether the input has a part in an artefact, on either side.
func (c InputChange) reaches(artefact string) bool {
	for _, in := range []*manifest.Input{c.A, c.B} {
		if in != nil && slices.Contains(in.Artefacts, artefact) {
			return true
		}
	}
	return false
}

// compareInputs lists the inputs that differ, ordered by kind and name.
func compareInputs(a, b *manifest.Manifest) []InputChange {
	type key struct{ kind, name string }
	sides := [2]map[key]*manifest.Input{}
	var keys []key
	for i, m := range []*manifest.Manifest{a, b} {
		sides[i] = make(map[key]*manifest.Input, len(m.Inputs))
		for j := range m.Inputs {
			k := key{m.Inputs[j].Kind, m.Inputs[j].Name}
			sides[i][k] = &m.Inputs[j]
			keys = append(keys, k)
		}
	}
	slices.SortFunc(keys, func(x, y key) int {
		return cmp.Or(strings.Compare(x.kind, y.kind), strings.Compare(x.name, y.name))
	})
	var out []InputChange
	for _, k := range slices.Compact(keys) {
		inA, inB := sides[0][k], sides[1][k]
		if inA != nil && inB != nil && inA.SHA256 == inB.SHA256 {
			continue
		}
		out = append(out, InputChange{k.kind, k.name, inA, inB})
	}
	return out
}

// explain attributes findings to inputs. Findings of one path take the cause from the listing; the artefact takes the
// causes of its findings, or the artefacts that it is made of, or all changed inputs that reach it, or the statement
// that there are none.
func (c *comparison) explain(art manifest.Artefact, findings []Finding, changed []string) *Artefact {
	c.differ = append(c.differ, art.Name)
	out := &Artefact{Name: art.Name, Total: len(findings), Findings: findings[:min(len(findings), maxFindings)]}
	if len(changed) > 0 {
		out.Causes = changed
		return out
	}
	origins := c.origins(art.Name)
	for i := range out.Findings {
		f := &out.Findings[i]
		if art.Kind == manifest.KindUKI && !strings.HasPrefix(f.Path, initrdSection+"/") {
			f.Cause = strings.Join(c.sectionCauses(f.Path), "; ")
		} else {
			f.Cause = c.cause(art.Name, origins(strings.TrimPrefix(f.Path, initrdSection+"/")))
		}
		if f.Cause != "" && !slices.Contains(out.Causes, f.Cause) {
			out.Causes = append(out.Causes, f.Cause)
		}
	}
	if len(out.Causes) == 0 {
		out.Causes = c.follows(art)
	}
	if len(out.Causes) == 0 {
		out.Causes = c.changesOf(func(ch InputChange) bool { return ch.reaches(art.Name) })
	}
	if len(out.Causes) == 0 {
		out.Causes = []string{"no input differs: the build is not reproducible"}
	}
	return out
}

// changesOf lists the changed inputs that a rule picks.
func (c *comparison) changesOf(pick func(InputChange) bool) []string {
	var out []string
	for _, ch := range c.changes {
		if pick(ch) {
			out = append(out, ch.String())
		}
	}
	return out
}

// sectionCauses are the inputs behind one section of a UKI (image.md section 8.1). What is neither kernel nor command
// line nor initrd is the stub.
func (c *comparison) sectionCauses(section string) []string {
	return c.changesOf(func(ch InputChange) bool {
		switch section {
		case ".linux":
			return ch.reaches(kernelName)
		case ".cmdline":
			return ch.reaches(cmdlineName) && ch.Kind == "recipe"
		case initrdSection:
			return ch.reaches(initrdName)
		}
		return ch.reaches(ukiName) && !ch.reaches(kernelName) && !ch.reaches(initrdName)
	})
}

// follows says of an artefact that is made of others which of those differ.
func (c *comparison) follows(art manifest.Artefact) []string {
	var parts []string
	for _, name := range c.differ {
		layer := strings.HasPrefix(name, layerPrefix) && !strings.HasSuffix(name, manifest.ListingSuffix)
		switch {
		case name == art.Name:
		case art.Kind == manifest.KindDisk && (layer || name == ukiName),
			art.Kind == manifest.KindListing && name+manifest.ListingSuffix == art.Name,
			art.Kind == manifest.KindSBOM && !strings.HasSuffix(name, manifest.ListingSuffix):
			parts = append(parts, name)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	return []string{"follows from " + strings.Join(parts, ", ")}
}

// origins returns what brought a path of an artefact, on either side, from the listings beside the artefacts.
func (c *comparison) origins(artefact string) func(path string) []string {
	if artefact == ukiName {
		artefact = initrdName
	}
	var listings []map[string]string
	for _, s := range []Side{c.a, c.b} {
		data, err := readBounded(filepath.Join(s.Dir, artefact+manifest.ListingSuffix))
		if err != nil {
			continue // an older or a partial build has no listing; the inputs' own list of artefacts serves then
		}
		if l, err := manifest.ParseListing(data); err == nil {
			listings = append(listings, l)
		}
	}
	return func(path string) []string {
		var out []string
		for _, l := range listings {
			if o, ok := l[path]; ok && !slices.Contains(out, o) {
				out = append(out, o)
			}
		}
		return out
	}
}

// cause matches the origins of one path ("deb libc6 2.41-12", "recipe", "go build", "layers") with what changed.
func (c *comparison) cause(artefact string, origins []string) string {
	var found []string
	for _, o := range origins {
		words := strings.Fields(o)
		if len(words) == 0 {
			continue
		}
		more := c.changesOf(func(ch InputChange) bool { return ch.from(words) && ch.reaches(artefact) })
		if words[0] == layersOrigin {
			more = c.follows(manifest.Artefact{Name: artefact, Kind: manifest.KindDisk})
		}
		for _, m := range more {
			if !slices.Contains(found, m) {
				found = append(found, m)
			}
		}
	}
	return strings.Join(found, "; ")
}

// layersOrigin is the origin of the file that describes all layers.
const layersOrigin = "layers"

// from reports whether a path of this origin comes from the changed input.
func (c InputChange) from(origin []string) bool {
	if origin[0] == "go" {
		return c.Kind == "go" || strings.HasPrefix(c.Kind, "go-")
	}
	return c.Kind == origin[0] && (len(origin) == 1 || c.Name == origin[1])
}
