package lint

import (
	"go/ast"
	"regexp"
	"slices"
	"strings"
)

// checkSleepingTests finds tests that sleep: they are slow when the sleep is long and fail when it is short.
func checkSleepingTests(files []file) []finding {
	var findings []finding
	for _, f := range files {
		if !f.isTest() && !f.isTestKit() {
			continue
		}
		f.uses("time", []string{"Sleep"}, func(node ast.Node, name string) {
			findings = append(findings, f.at(node, "%s in a test: wait for the condition that the test is about (a channel, a counter, an event)", name))
		})
	}
	return findings
}

// checkAllocationTests finds allocation budgets that the second pass of `make test`, which selects by name, would not run.
func checkAllocationTests(files []file) []finding {
	var findings []finding
	for _, f := range files {
		if !f.isTest() {
			continue
		}
		var named bool
		for _, declaration := range f.syntax.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			named = named || ok && strings.Contains(function.Name.Name, "Alloc")
		}
		if named {
			continue
		}
		f.uses("testing", []string{"AllocsPerRun"}, func(node ast.Node, name string) {
			findings = append(findings, f.at(node, "%s: name the test for allocations (TestAllocations…), so that it is run without the costly assertions too", name))
		})
	}
	return findings
}

// unfinished are the words that put work off, not work that is.
var unfinished = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)

// checkUnfinished finds remarks that put work off.
func checkUnfinished(files []file) []finding {
	var findings []finding
	for _, f := range files {
		for _, group := range f.syntax.Comments {
			for _, comment := range group.List {
				if word := unfinished.FindString(comment.Text); word != "" {
					findings = append(findings, f.at(comment, "%s: do it now, or describe the limit in the docstring for those who meet it", word))
				}
			}
		}
	}
	return findings
}

// checkEnvironment finds code whose behaviour hangs on environment variables.
func checkEnvironment(files []file) []finding {
	var findings []finding
	for _, f := range files {
		if f.isTest() {
			continue
		}
		f.uses("os", []string{"Getenv", "LookupEnv", "Environ", "ExpandEnv"}, func(node ast.Node, name string) {
			findings = append(findings, f.at(node, "%s: make it an option with a documented default", name))
		})
	}
	return findings
}

// checkInterfaceNames finds interfaces named with an I prefix.
func checkInterfaceNames(files []file) []finding {
	prefixed := regexp.MustCompile(`^I[A-Z][a-z]`)
	var findings []finding
	for _, f := range files {
		ast.Inspect(f.syntax, func(node ast.Node) bool {
			spec, ok := node.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if _, ok := spec.Type.(*ast.InterfaceType); ok && prefixed.MatchString(spec.Name.Name) {
				findings = append(findings, f.at(spec, "interface %s: name what it does, without the I", spec.Name.Name))
			}
			return true
		})
	}
	return findings
}

// checkPackageComments finds packages without a comment from which a newcomer could learn what they are.
func checkPackageComments(files []file) []finding {
	documented := map[string]bool{}
	var directories []string
	for _, f := range files {
		if f.isTest() {
			continue
		}
		if _, seen := documented[f.dir()]; !seen {
			directories = append(directories, f.dir())
			documented[f.dir()] = false
		}
		if f.syntax.Doc != nil {
			documented[f.dir()] = true
		}
	}
	var findings []finding
	for _, directory := range directories {
		if !documented[directory] {
			findings = append(findings, finding{file: directory, message: "no package comment: write a doc.go that a newcomer can learn the package from"})
		}
	}
	return findings
}

// engineDirectories is what runs inside a user's process: there a panic would end every shard of the host, and a
// print would write where nobody asked for it.
var engineDirectories = append([]string{"nodehost", "transport", "raftpb", "plugin"}, coreDirectories...)

// checkPanics finds panics outside package invariant.
func checkPanics(files []file) []finding {
	var findings []finding
	for _, f := range files {
		if !f.under(engineDirectories...) || f.isTest() || f.isTestKit() || f.isGenerated() {
			continue
		}
		ast.Inspect(f.syntax, func(node ast.Node) bool {
			call, ok := node.(*ast.CallExpr)
			if !ok {
				return true
			}
			if name, ok := call.Fun.(*ast.Ident); ok && name.Name == "panic" {
				findings = append(findings, f.at(call, "panic: return an error for what a disk, peer, caller or state machine can cause; "+
					"use invariant.Check for what only our own mistake can"))
			}
			return true
		})
	}
	return findings
}

// checkPrints finds output to the process's own streams.
func checkPrints(files []file) []finding {
	var findings []finding
	for _, f := range files {
		if !f.under(engineDirectories...) || f.isTest() {
			continue
		}
		f.uses("fmt", []string{"Print", "Printf", "Println"}, func(node ast.Node, name string) {
			findings = append(findings, f.at(node, "%s: use the slog.Logger of the options", name))
		})
		f.uses("os", []string{"Exit", "Stdout", "Stderr"}, func(node ast.Node, name string) {
			findings = append(findings, f.at(node, "%s: the process belongs to the user; return an error", name))
		})
		if f.imported("log") != "" {
			findings = append(findings, f.at(f.syntax.Name, "imports log: use the slog.Logger of the options"))
		}
	}
	return findings
}

// checkTestingImport finds production code that drags package testing into users' programs.
func checkTestingImport(files []file) []finding {
	var findings []finding
	for _, f := range files {
		if f.isTest() || f.isTestKit() {
			continue
		}
		if f.imported("testing") != "" {
			findings = append(findings, f.at(f.syntax.Name, "imports testing: move the helper into a _test.go file or a package whose name ends in test"))
		}
	}
	return findings
}

// checkInit finds init functions outside generated code.
func checkInit(files []file) []finding {
	var findings []finding
	for _, f := range files {
		if f.isGenerated() || f.isTest() {
			continue
		}
		for _, declaration := range f.syntax.Decls {
			function, ok := declaration.(*ast.FuncDecl)
			if ok && function.Recv == nil && function.Name.Name == "init" {
				findings = append(findings, f.at(function, "init: initialise where the value is declared, or in the constructor that needs it"))
			}
		}
	}
	return findings
}

// checkAbsolutePaths finds string literals and comments that name a directory of one machine.
func checkAbsolutePaths(files []file) []finding {
	machine := []string{"/ho" + "me/", "/ro" + "ot/", "/wo" + "rk/", "/Us" + "ers/"}
	var findings []finding
	for _, f := range files {
		report := func(node ast.Node, text string) {
			if slices.ContainsFunc(machine, func(p string) bool { return strings.Contains(text, `"`+p) || strings.Contains(text, " "+p) }) {
				findings = append(findings, f.at(node, "a path of one machine: take it from an option, or t.TempDir in tests"))
			}
		}
		ast.Inspect(f.syntax, func(node ast.Node) bool {
			if literal, ok := node.(*ast.BasicLit); ok {
				report(node, literal.Value)
			}
			return true
		})
		for _, group := range f.syntax.Comments {
			for _, comment := range group.List {
				report(comment, comment.Text)
			}
		}
	}
	return findings
}
