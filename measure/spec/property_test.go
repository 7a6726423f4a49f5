package spec_test

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"cocoon/measure/spec"
)

// lists generates legal file lists in random order.
func lists() *rapid.Generator[[]spec.File] {
	return rapid.Custom(func(t *rapid.T) []spec.File {
		name := rapid.StringMatching(`[a-c.0-]{1,3}`).Filter(func(s string) bool { return s != "." && s != ".." })
		byPath := make(map[string]bool)
		var files []spec.File
		for range rapid.IntRange(0, 8).Draw(t, "files") {
			path := name.Draw(t, "name")
			for range rapid.IntRange(0, 3).Draw(t, "depth") {
				path += "/" + name.Draw(t, "name")
			}
			f := spec.File{
				Path:       path,
				Executable: rapid.Bool().Draw(t, "executable"),
				Data:       rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "data"),
			}
			candidate := append(append([]spec.File(nil), files...), f)
			spec.Sort(candidate)
			if !byPath[path] && spec.Check(candidate) == nil {
				byPath[path] = true
				files = append(files, f)
			}
		}
		return files
	})
}

// A disk gives back what was put on it, in hashing order, with the same hash, whatever order the files came in.
func TestAnySpecSurvivesTheDisk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		files := lists().Draw(t, "spec")
		runtime := rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "runtime")
		image, err := spec.EncodeDisk(files, runtime)
		if err != nil {
			t.Fatal(err)
		}
		disk, err := spec.ParseDisk(image)
		if err != nil {
			t.Fatal(err)
		}
		spec.Sort(files)
		want, err := spec.TreeHash(files)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := spec.TreeHash(disk.Files); err != nil || got != want {
			t.Fatalf("hash %s (%v), want %s", got, err, want)
		}
		if !bytes.Equal(disk.Runtime, runtime) {
			t.Fatalf("runtime %q, want %q", disk.Runtime, runtime)
		}
	})
}

// Two different specs never share a hash: any single change to any file shows.
func TestAnyChangeMovesTheHash(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		files := lists().Filter(func(f []spec.File) bool { return len(f) > 0 }).Draw(t, "spec")
		spec.Sort(files)
		before, err := spec.TreeHash(files)
		if err != nil {
			t.Fatal(err)
		}
		f := &files[rapid.IntRange(0, len(files)-1).Draw(t, "which")]
		switch rapid.IntRange(0, 2).Draw(t, "change") {
		case 0:
			f.Executable = !f.Executable
		case 1:
			f.Data = append(bytes.Clone(f.Data), 0)
		default:
			f.Path += "zz" // after every other name, so the list stays legal once sorted
			spec.Sort(files)
		}
		after, err := spec.TreeHash(files)
		if err != nil {
			t.Fatal(err)
		}
		if after == before {
			t.Fatalf("hash %s did not move", before)
		}
	})
}
