package lint

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// modulePath is the path of the project's module.
const modulePath = "github.com/flotilla-raft/flotilla"

// file is one parsed Go file of the project.
type file struct {
	name      string // slash-separated, relative to the root of the project
	lines     int
	syntax    *ast.File
	positions *token.FileSet
}

// finding is one breach of a rule.
type finding struct {
	file    string
	line    int // 0 for the whole file
	message string
}

func (f finding) String() string {
	if f.line == 0 {
		return fmt.Sprintf("%s: %s", f.file, f.message)
	}
	return fmt.Sprintf("%s:%d: %s", f.file, f.line, f.message)
}

// isTest reports whether the file is compiled for tests only.
func (f file) isTest() bool { return strings.HasSuffix(f.name, "_test.go") }

// isTestKit reports whether the file belongs to a package that serves tests: conformance suites.
func (f file) isTestKit() bool { return strings.HasSuffix(f.dir(), "test") }

// isGenerated reports whether a program wrote the file.
func (f file) isGenerated() bool { return ast.IsGenerated(f.syntax) }

func (f file) dir() string { return path.Dir(f.name) }

// under reports whether the file lies in one of the directories or below it.
func (f file) under(directories ...string) bool {
	return slices.ContainsFunc(directories, func(d string) bool { return strings.HasPrefix(f.name, d+"/") })
}

func (f file) at(node ast.Node, format string, arguments ...any) finding {
	return finding{f.name, f.positions.Position(node.Pos()).Line, fmt.Sprintf(format, arguments...)}
}

// imported returns the name under which the file refers to an import path, "" if it does not import it.
func (f file) imported(importPath string) string {
	for _, spec := range f.syntax.Imports {
		if strings.Trim(spec.Path.Value, `"`) != importPath {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		base := path.Base(importPath)
		if base == "v2" {
			base = path.Base(path.Dir(importPath))
		}
		return base
	}
	return ""
}

// uses calls found for every mention of package importPath's names, and for calls and other uses alike.
func (f file) uses(importPath string, names []string, found func(node ast.Node, name string)) {
	local := f.imported(importPath)
	if local == "" {
		return
	}
	ast.Inspect(f.syntax, func(node ast.Node) bool {
		selector, ok := node.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := selector.X.(*ast.Ident); ok && x.Name == local && slices.Contains(names, selector.Sel.Name) {
			found(node, path.Base(importPath)+"."+selector.Sel.Name)
		}
		return true
	})
}

// root is the project's directory, seen from the directory in which this package's tests run.
const root = "../.."

// readTree parses the Go files of the project's module. Nested modules, hidden directories, built files and
// test data are left out.
func readTree() ([]file, error) {
	var files []file
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		relative = filepath.ToSlash(relative)
		if entry.IsDir() {
			return skipDirectory(name, relative)
		}
		if !strings.HasSuffix(relative, ".go") {
			return nil
		}
		source, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		parsed, err := parseFile(relative, source)
		files = append(files, parsed)
		return err
	})
	return files, err
}

func skipDirectory(name, relative string) error {
	base := path.Base(relative)
	if relative == "." {
		return nil
	}
	if base == "testdata" || relative == "bin" || strings.HasPrefix(base, ".") {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

func parseFile(name string, source []byte) (file, error) {
	positions := token.NewFileSet()
	syntax, err := parser.ParseFile(positions, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	return file{name: name, lines: strings.Count(string(source), "\n"), syntax: syntax, positions: positions}, nil
}
