package lint

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// typedPackage is what `go list -export` says of a package: where its files and its compiled types are.
type typedPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Export     string
}

// typedPackages lists the named packages of the project and everything that they import, compiled.
func typedPackages(patterns ...string) (map[string]typedPackage, error) {
	command := exec.Command("go", append([]string{"list", "-export", "-deps", "-json=ImportPath,Dir,GoFiles,Export"}, patterns...)...)
	command.Dir = root
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go list -export: %w", err)
	}
	packages := map[string]typedPackage{}
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var p typedPackage
		if err := decoder.Decode(&p); err == io.EOF {
			return packages, nil
		} else if err != nil {
			return nil, err
		}
		packages[p.ImportPath] = p
	}
}

// orderRemark, in a comment on the line of a loop or right above it, says that the loop's order cannot be seen, and why.
const orderRemark = "any order"

// checkMapRanges finds loops over maps in one package: their order differs from run to run, and with it what the loop sends,
// writes or draws.
func checkMapRanges(positions *token.FileSet, files []*ast.File, importPath string, imports types.Importer) ([]finding, error) {
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: imports}
	if _, err := config.Check(importPath, positions, files, info); err != nil {
		return nil, err
	}
	name, _ := insideName(importPath)
	var findings []finding
	for _, f := range files {
		remarks := map[int]bool{}
		for _, group := range f.Comments {
			if strings.Contains(group.Text(), orderRemark) {
				last := positions.Position(group.End()).Line
				remarks[last], remarks[last+1] = true, true
			}
		}
		ast.Inspect(f, func(node ast.Node) bool {
			loop, ok := node.(*ast.RangeStmt)
			if !ok {
				return true
			}
			at := positions.Position(loop.Pos())
			_, isMap := info.Types[loop.X].Type.Underlying().(*types.Map)
			if (isMap || isMapIterator(info, loop.X)) && !remarks[at.Line] {
				findings = append(findings, finding{path.Join(name, path.Base(filepath.ToSlash(at.Filename))), at.Line,
					"loops over a map: loop over slices.Sorted(maps.Keys(…)) or a slice kept beside it, or say in a comment why " + orderRemark + " will do"})
			}
			return true
		})
	}
	return findings, nil
}

// isMapIterator reports whether an expression calls package maps for an iterator, whose order is the map's.
func isMapIterator(info *types.Info, expression ast.Expr) bool {
	call, ok := expression.(*ast.CallExpr)
	if !ok {
		return false
	}
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	used := info.Uses[selector.Sel]
	return used != nil && used.Pkg() != nil && used.Pkg().Path() == "maps"
}

// mapRanges checks the packages in the core's directories.
func mapRanges() ([]finding, error) {
	var patterns []string
	for _, directory := range coreDirectories {
		if _, err := os.Stat(filepath.Join(root, directory)); err == nil {
			patterns = append(patterns, "./"+directory+"/...")
		}
	}
	packages, err := typedPackages(patterns...)
	if err != nil {
		return nil, err
	}
	var findings []finding
	for _, p := range packages {
		name, inside := insideName(p.ImportPath)
		if !inside || strings.HasSuffix(name, "test") || !(file{name: name + "/"}).under(coreDirectories...) {
			continue
		}
		positions := token.NewFileSet()
		var files []*ast.File
		for _, goFile := range p.GoFiles {
			f, err := parser.ParseFile(positions, filepath.Join(p.Dir, goFile), nil, parser.ParseComments)
			if err != nil {
				return nil, err
			}
			files = append(files, f)
		}
		imports := importer.ForCompiler(positions, "gc", func(importPath string) (io.ReadCloser, error) {
			return os.Open(packages[importPath].Export)
		})
		found, err := checkMapRanges(positions, files, p.ImportPath, imports)
		if err != nil {
			return nil, err
		}
		findings = append(findings, found...)
	}
	return findings, nil
}
