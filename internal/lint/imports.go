package lint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// importRule is one row of the table of allowed imports. Paths within the project are relative to the module.
type importRule struct {
	pkg      string   // a package, or a folder and everything below it ("plugin/*")
	inside   []string // packages or folders of the project; "*" for all
	outside  []string // modules, each covering its packages
	standard []string // packages of the standard library, nil for all
}

// goPackage is what `go list -json` says of a package.
type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// covers reports whether a path of the table stands for a package.
func covers(pattern, pkg string) bool {
	if folder, ok := strings.CutSuffix(pattern, "/*"); ok {
		return strings.HasPrefix(pkg, folder+"/")
	}
	return pattern == pkg || pattern == "*"
}

// importTable returns the rules in a Markdown page: the rows of every table whose first column is called "package" and
// whose second is called "may import". Cells are lists of `code` spans; words outside them are remarks.
func importTable(page string) ([]importRule, error) {
	var rules []importRule
	for _, cells := range tableRows(page, "package", "may import") {
		if len(cells) != 4 {
			return nil, fmt.Errorf("row of %s has %d columns, want 4", cells[0], len(cells))
		}
		packages := codeSpans(cells[0])
		if len(packages) != 1 {
			return nil, fmt.Errorf("row %q names %d packages, want 1", cells[0], len(packages))
		}
		rules = append(rules, importRule{packages[0], codeSpans(cells[1]), codeSpans(cells[2]), codeSpans(cells[3])})
	}
	if len(rules) == 0 {
		return nil, errors.New("no table of allowed imports")
	}
	return rules, nil
}

// checkImports holds packages against the rules; the first rule that covers a package counts. It judges direct
// imports; every package within the project has a rule, so what a package reaches through others is allowed to them. What is reached
// is compared as well for packages with a closed list (no "*"), which catches a table whose rows contradict its picture.
func checkImports(rules []importRule, packages []goPackage) []finding {
	var findings []finding
	used := map[string]bool{}
	for _, p := range packages {
		name, ok := insideName(p.ImportPath)
		if !ok {
			continue
		}
		i := slices.IndexFunc(rules, func(r importRule) bool { return covers(r.pkg, name) })
		if i < 0 {
			findings = append(findings, finding{file: name, message: "has no row in the table of allowed imports: add one in docs/architecture.md"})
			continue
		}
		used[rules[i].pkg] = true
		for _, imported := range p.Imports {
			if why := rules[i].refuses(imported); why != "" {
				findings = append(findings, finding{file: name, message: "imports " + imported + ": " + why})
			}
		}
		for _, dep := range p.Deps {
			if inside, ok := insideName(dep); ok && !reachable(rules, rules[i], inside) {
				findings = append(findings, finding{file: name, message: "reaches " + dep + " through others, which its row does not allow"})
			}
		}
	}
	for _, r := range rules {
		if !used[r.pkg] {
			findings = append(findings, finding{file: r.pkg, message: "has a row in the table of allowed imports but is not in the tree"})
		}
	}
	return findings
}

func insideName(importPath string) (string, bool) {
	if importPath == modulePath {
		return ".", true
	}
	return strings.CutPrefix(importPath, modulePath+"/")
}

func (r importRule) refuses(imported string) string {
	first, _, _ := strings.Cut(imported, "/")
	inside, within := insideName(imported)
	switch {
	case within:
		if !slices.ContainsFunc(r.inside, func(p string) bool { return covers(p, inside) }) {
			return "dependencies point one way; move what both need further down, or take it as an interface"
		}
	case strings.Contains(first, "."):
		if !slices.ContainsFunc(r.outside, func(m string) bool { return imported == m || strings.HasPrefix(imported, m+"/") }) {
			return "not among the modules that this package may use"
		}
	case len(r.standard) > 0 && !slices.Contains(r.standard, imported):
		return "this package is deterministic; its part of the standard library is listed"
	}
	return ""
}

// reachable reports whether the rule allows a package directly, or through the rows of packages that it allows.
func reachable(rules []importRule, from importRule, target string) bool {
	seen := map[string]bool{}
	var visit func(r importRule) bool
	visit = func(r importRule) bool {
		if seen[r.pkg] {
			return false
		}
		seen[r.pkg] = true
		for _, pattern := range r.inside {
			if covers(pattern, target) {
				return true
			}
		}
		for _, next := range rules {
			allowed := slices.ContainsFunc(r.inside, func(p string) bool { return covers(p, next.pkg) || p == next.pkg })
			if allowed && visit(next) {
				return true
			}
		}
		return false
	}
	return visit(from)
}

// listPackages asks the go command for the packages of the project's module.
func listPackages(arguments ...string) ([]goPackage, error) {
	command := exec.Command("go", append(append([]string{"list", "-json=ImportPath,Imports,Deps"}, arguments...), "./...")...)
	command.Dir = root
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var packages []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var p goPackage
		if err := decoder.Decode(&p); err == io.EOF {
			return packages, nil
		} else if err != nil {
			return nil, err
		}
		packages = append(packages, p)
	}
}

// tableRows returns the cells of every row of the Markdown tables whose header begins with the given columns.
func tableRows(page string, columns ...string) [][]string {
	var rows [][]string
	inTable := false
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			inTable = false
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case len(cells) >= len(columns) && slices.Equal(cells[:len(columns)], columns):
			inTable = true
		case strings.HasPrefix(cells[0], "--"):
		case inTable:
			rows = append(rows, cells)
		}
	}
	return rows
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

func codeSpans(cell string) []string {
	var spans []string
	for _, match := range codeSpan.FindAllStringSubmatch(cell, -1) {
		spans = append(spans, match[1])
	}
	return spans
}

func readPage(name string) (string, error) {
	content, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	return string(content), err
}
