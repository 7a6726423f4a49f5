package arch

import (
	"fmt"
	"go/ast"
	"slices"
	"strings"
)

// Stats are the figures that the house rules steer by (tools-and-tests.md section 10.1).
type Stats struct {
	CodeLines, TestLines int
	CommentLines         int
	Functions            []int // lines of each non-test function, ascending
	Files                []int // lines of each non-test file, ascending
	Exported, Documented int
}

// Measure counts one set of files.
func Measure(files []File) Stats {
	var s Stats
	for _, f := range files {
		if f.Test {
			s.TestLines += f.Lines
			continue
		}
		s.CodeLines += f.Lines
		s.Files = append(s.Files, f.Lines)
		for _, group := range f.AST.Comments {
			s.CommentLines += f.Fset.Position(group.End()).Line - f.Fset.Position(group.Pos()).Line + 1
		}
		for _, d := range f.AST.Decls {
			s.declaration(f, d)
		}
	}
	slices.Sort(s.Functions)
	slices.Sort(s.Files)
	return s
}

func (s *Stats) declaration(f File, d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		s.Functions = append(s.Functions, f.Fset.Position(d.End()).Line-f.Fset.Position(d.Pos()).Line+1)
		if exportedReceiver(d.Recv) {
			s.exported(d.Name, d.Doc)
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			if t, ok := spec.(*ast.TypeSpec); ok {
				doc := t.Doc
				if doc == nil {
					doc = d.Doc
				}
				s.exported(t.Name, doc)
			}
		}
	}
}

// exportedReceiver: methods of unexported types are no part of a package's face.
func exportedReceiver(recv *ast.FieldList) bool {
	if recv == nil {
		return true
	}
	t := recv.List[0].Type
	if star, ok := t.(*ast.StarExpr); ok {
		t = star.X
	}
	if generic, ok := t.(*ast.IndexExpr); ok {
		t = generic.X
	}
	name, ok := t.(*ast.Ident)
	return ok && name.IsExported()
}

func (s *Stats) exported(name *ast.Ident, doc *ast.CommentGroup) {
	if !name.IsExported() {
		return
	}
	s.Exported++
	if doc != nil {
		s.Documented++
	}
}

// percentile of ascending values.
func percentile(values []int, p int) int {
	if len(values) == 0 {
		return 0
	}
	return values[min(len(values)-1, len(values)*p/100)]
}

// String is one table row's worth of text.
func (s Stats) String() string {
	return strings.Join([]string{
		fmt.Sprintf("%6d code", s.CodeLines),
		fmt.Sprintf("%6d test (%.2f)", s.TestLines, float64(s.TestLines)/float64(max(1, s.CodeLines))),
		fmt.Sprintf("functions p50/p90/p99/max %d/%d/%d/%d", percentile(s.Functions, 50), percentile(s.Functions, 90), percentile(s.Functions, 99), percentile(s.Functions, 100)),
		fmt.Sprintf("files p50/p90/max %d/%d/%d", percentile(s.Files, 50), percentile(s.Files, 90), percentile(s.Files, 100)),
		fmt.Sprintf("comments %d per 100 code lines", 100*s.CommentLines/max(1, s.CodeLines-s.CommentLines)),
		fmt.Sprintf("documented %d of %d", s.Documented, s.Exported),
	}, ", ")
}
