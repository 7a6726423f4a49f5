// Package fuzz gives every fuzz target of the repository a turn.
//
// It owns the list, found by reading the sources, and the way a turn is run: without the other tests of the package,
// without minimising, for COCOON_FUZZTIME (5s when unset). A committed corpus runs in every `go test` anyway; a turn
// looks for something new. It trusts `go test`'s verdict but for one case, TimeUp. Turns run one after another, each
// with a deadline.
package fuzz

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"

	"cocoon/tests/arch"
)

// Target is one fuzz function.
type Target struct {
	Package string // folder below the repository's root
	Name    string
}

// Targets lists every fuzz function, in order of folder and name.
func Targets(root string) ([]Target, error) {
	files, err := arch.Files(root)
	if err != nil {
		return nil, err
	}
	var out []Target
	for _, f := range files {
		if !f.Test {
			continue
		}
		for _, d := range f.AST.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Fuzz") {
				out = append(out, Target{Package: dir(f.Path), Name: fn.Name.Name})
			}
		}
	}
	slices.SortFunc(out, func(a, b Target) int {
		return strings.Compare(a.Package+" "+a.Name, b.Package+" "+b.Name)
	})
	return out, nil
}

func dir(path string) string {
	i := strings.LastIndexByte(path, '/')
	return path[:max(i, 0)]
}

// TimeUp reports that the output of a failed turn names nothing but the end of its time. The fuzzing coordinator of Go
// sometimes returns its own deadline as the target's failure (go.dev/issue/75804); an input that fails, a panic and a
// hang all print more than that.
func TimeUp(output string) bool {
	only := regexp.MustCompile(`(?m)^--- FAIL: \S+ \(\S+\)\n    context deadline exceeded\nFAIL$`)
	return only.MatchString(output) && strings.Count(output, "--- FAIL") == 1 && !strings.Contains(output, "Failing input")
}
