package lint

import (
	"fmt"
	"go/ast"
)

// Limits in lines. Most files and functions are far below them; what is longer today stands in the ratchet with its size, may
// shrink and may not grow. Tables and scripts make tests long without making them hard, so their functions are not measured.
const (
	maxFileLines     = 600
	maxFunctionLines = 100
)

// ratchet maps "file" or "file function" to the size it may have. Lower the number when it shrinks; remove the line when it is
// within the limits.
type ratchet map[string]int

// checkSizes finds files and functions beyond the limits and the ratchet, and lines of the ratchet that are too generous.
func checkSizes(files []file, allowed ratchet) []finding {
	var findings []finding
	measured := map[string]bool{}
	judge := func(f file, line int, key string, size, limit int, advice string) {
		ceiling, listed := allowed[key]
		measured[key] = true
		switch {
		case listed && size < ceiling:
			findings = append(findings, finding{f.name, line, fmt.Sprintf("%q is down to %d lines: lower its line in the ratchet from %d", key, size, ceiling)})
		case size > max(limit, ceiling):
			findings = append(findings, finding{f.name, line, fmt.Sprintf("%d lines, %d are the limit: %s", size, max(limit, ceiling), advice)})
		}
	}
	for _, f := range files {
		if f.isGenerated() {
			continue
		}
		judge(f, 0, f.name, f.lines, maxFileLines, "move the second thing that it holds into a file of its own")
		if f.isTest() || f.isTestKit() {
			continue
		}
		for _, declaration := range f.syntax.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if !ok {
				continue
			}
			first, last := f.positions.Position(function.Pos()).Line, f.positions.Position(function.End()).Line
			judge(f, first, f.name+" "+function.Name.Name, last-first+1, maxFunctionLines, "name its steps and make them functions")
		}
	}
	for key := range allowed {
		if !measured[key] {
			findings = append(findings, finding{file: key, message: "is in the ratchet but not in the tree: remove the line"})
		}
	}
	return findings
}
