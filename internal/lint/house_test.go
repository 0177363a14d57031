package lint

import (
	"slices"
	"strings"
	"testing"
)

// tree parses the project once per test that needs it.
func tree(t *testing.T) []file {
	t.Helper()
	files, err := readTree()
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no Go files found")
	}
	return files
}

// report fails the test with the findings that no exemption covers, and with exemptions that cover nothing.
func report(t *testing.T, findings []finding, exemptions map[string]string) {
	t.Helper()
	used := map[string]bool{}
	var lines []string
	for _, f := range findings {
		if exemptions[f.file] != "" {
			used[f.file] = true
			continue
		}
		lines = append(lines, f.String())
	}
	for name := range exemptions {
		if !used[name] {
			lines = append(lines, name+": its exemption is not needed any more, remove it")
		}
	}
	slices.Sort(lines)
	for _, line := range lines {
		t.Error(line)
	}
}

func TestCoreIsDeterministic(t *testing.T) {
	report(t, checkDeterminism(tree(t)), determinismExemptions)
}

func TestNoTestSleeps(t *testing.T) { report(t, checkSleepingTests(tree(t)), noExemptions) }

func TestAllocationTestsAreNamed(t *testing.T) {
	report(t, checkAllocationTests(tree(t)), noExemptions)
}

func TestNothingIsPutOff(t *testing.T) { report(t, checkUnfinished(tree(t)), noExemptions) }

func TestNoEnvironmentVariables(t *testing.T) { report(t, checkEnvironment(tree(t)), noExemptions) }

func TestInterfaceNames(t *testing.T) { report(t, checkInterfaceNames(tree(t)), noExemptions) }

func TestPackageComments(t *testing.T) { report(t, checkPackageComments(tree(t)), noExemptions) }

func TestNoPanics(t *testing.T) { report(t, checkPanics(tree(t)), panicExemptions) }

func TestNoPrints(t *testing.T) { report(t, checkPrints(tree(t)), printExemptions) }

func TestProductionDoesNotImportTesting(t *testing.T) {
	report(t, checkTestingImport(tree(t)), noExemptions)
}

func TestNoInitFunctions(t *testing.T) { report(t, checkInit(tree(t)), initExemptions) }

func TestNoMachinePaths(t *testing.T) { report(t, checkAbsolutePaths(tree(t)), noExemptions) }

func TestSizes(t *testing.T) { report(t, checkSizes(tree(t), sizes), noExemptions) }

func TestImportsFollowTheTable(t *testing.T) {
	page, err := readPage("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	rules, err := importTable(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, tags := range []string{"", "invariants"} {
		packages, err := listPackages("-tags=" + tags)
		if err != nil {
			t.Fatal(err)
		}
		report(t, checkImports(rules, packages), noExemptions)
	}
}

func TestDependenciesAreExplained(t *testing.T) {
	page, err := readPage("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	required, err := directRequirements()
	if err != nil {
		t.Fatal(err)
	}
	report(t, checkDependencies(page, required), noExemptions)
}

func TestPagesNameRealTests(t *testing.T) {
	isScript := func(directory, test string) bool {
		_, err := readPage(directory + "/testdata/scripts/" + test)
		return err == nil
	}
	for _, name := range []string{"docs/guarantees.md", "docs/protocol.md", "docs/proof.md"} {
		page, err := readPage(name)
		if err != nil {
			t.Fatal(err)
		}
		report(t, checkNamedTests(name, page, tree(t), isScript), noExemptions)
	}
}

// TestRulesFindBreaches shows each rule a small file that breaks it and one that does not.
func TestRulesFindBreaches(t *testing.T) {
	sized := func(allowed ratchet) func([]file) []finding {
		return func(files []file) []finding { return checkSizes(files, allowed) }
	}
	long := "package p\nfunc long() {\n" + strings.Repeat("\t_ = 0\n", maxFunctionLines) + "}\n"
	cases := []struct {
		name     string
		check    func([]file) []finding
		file     string
		source   string
		findings int
	}{
		{"goroutine", checkDeterminism, "engine/a.go", "package engine\nfunc f() { go f() }", 1},
		{"goroutine of a wait group", checkDeterminism, "engine/a.go", "package engine\nfunc f() { group.Go(f) }", 1},
		{"goroutine outside", checkDeterminism, "nodehost/a.go", "package nodehost\nfunc f() { go f() }", 0},
		{"goroutine in a test", checkDeterminism, "engine/a_test.go", "package engine\nfunc f() { go f() }", 0},
		{"clock", checkDeterminism, "raft/a.go", "package raft\nimport \"time\"\nvar now = time.Now", 1},
		{"renamed clock", checkDeterminism, "logdb/x/a.go", "package x\nimport t \"time\"\nfunc f() { t.Sleep(1) }", 1},
		{"duration", checkDeterminism, "raft/a.go", "package raft\nimport \"time\"\nvar d = time.Second", 0},
		{"random", checkDeterminism, "rsm/a.go", "package rsm\nimport \"math/rand/v2\"\nvar x = rand.Int()", 1},
		{"sleep", checkSleepingTests, "p/a_test.go", "package p\nimport \"time\"\nfunc f() { time.Sleep(1) }", 1},          // text for the check: nothing sleeps here
		{"sleep in production", checkSleepingTests, "p/a.go", "package p\nimport \"time\"\nfunc f() { time.Sleep(1) }", 0}, // text for the check, too
		{"allocations", checkAllocationTests, "p/a_test.go", "package p\nimport \"testing\"\nfunc TestA() { testing.AllocsPerRun(1, nil) }", 1},
		{"named allocations", checkAllocationTests, "p/a_test.go",
			"package p\nimport \"testing\"\nfunc TestAllocationsA() { testing.AllocsPerRun(1, nil) }", 0},
		{"put off", checkUnfinished, "p/a.go", "package p\n// " + "TO" + "DO: more\n", 1},
		{"environment", checkEnvironment, "p/a.go", "package p\nimport \"os\"\nvar x = os.Getenv(\"X\")", 1},
		{"prefix", checkInterfaceNames, "p/a.go", "package p\ntype ILog interface{}", 1},
		{"no prefix", checkInterfaceNames, "p/a.go", "package p\ntype IOError interface{}\ntype Item interface{}", 0},
		{"no package comment", checkPackageComments, "p/a.go", "package p", 1},
		{"package comment", checkPackageComments, "p/a.go", "// Package p is one.\npackage p", 0},
		{"panic", checkPanics, "engine/a.go", "package engine\nfunc f() { panic(1) }", 1},
		{"panic in a command", checkPanics, "cmd/a.go", "package main\nfunc f() { panic(1) }", 0},
		{"print", checkPrints, "raft/a.go", "package raft\nimport \"fmt\"\nfunc f() { fmt.Println() }", 1},
		{"exit", checkPrints, "raft/a.go", "package raft\nimport \"os\"\nfunc f() { os.Exit(1) }", 1},
		{"log", checkPrints, "raft/a.go", "package raft\nimport \"log\"\nfunc f() { log.Fatal() }", 1},
		{"testing", checkTestingImport, "raft/a.go", "package raft\nimport \"testing\"\nvar t testing.T", 1},
		{"testing in a suite", checkTestingImport, "logdb/logdbtest/a.go", "package logdbtest\nimport \"testing\"\nvar t testing.T", 0},
		{"init", checkInit, "p/a.go", "package p\nfunc init() {}", 1},
		{"init method", checkInit, "p/a.go", "package p\ntype t int\nfunc (t) init() {}", 0},
		{"machine path", checkAbsolutePaths, "p/a.go", "package p\nvar x = \"/ro" + "ot/x\"", 1},
		{"long function", sized(nil), "p/a.go", long, 1},
		{"long function in a test", sized(nil), "p/a_test.go", long, 0},
		{"long function in the ratchet", sized(ratchet{"p/a.go long": maxFunctionLines + 2}), "p/a.go", long, 0},
		{"shrunk function", sized(ratchet{"p/a.go long": maxFunctionLines + 9}), "p/a.go", long, 1},
		{"long file", sized(nil), "p/a.go", "package p\n" + strings.Repeat("\n", maxFileLines), 1},
		{"gone from the tree", sized(ratchet{"p/b.go": 700}), "p/a.go", "package p\n", 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			f, err := parseFile(c.file, []byte(c.source))
			if err != nil {
				t.Fatal(err)
			}
			if got := c.check([]file{f}); len(got) != c.findings {
				t.Errorf("%d findings, want %d: %v", len(got), c.findings, got)
			}
		})
	}
}

func TestImportTableRefusesWhatItDoesNotAllow(t *testing.T) {
	const page = "| package | may import | modules | standard library |\n|---|---|---|---|\n" +
		"| `low` | | | `errors`, `fmt` |\n| `mid` | `low` | `example.com/m` | |\n| `top/*` | `mid` | | |\n| `tools` | `*` | | |\n"
	rules, err := importTable(page)
	if err != nil {
		t.Fatal(err)
	}
	all := func(p goPackage) []goPackage {
		return []goPackage{
			{ImportPath: modulePath + "/low"}, {ImportPath: modulePath + "/mid"},
			{ImportPath: modulePath + "/top/a"}, {ImportPath: modulePath + "/tools"}, p,
		}
	}
	cases := []struct {
		name     string
		pkg      goPackage
		findings int
	}{
		{"allowed", goPackage{modulePath + "/mid", []string{modulePath + "/low", "example.com/m/sub", "os"}, nil}, 0},
		{"allowed through a row", goPackage{modulePath + "/top/a", nil, []string{modulePath + "/low"}}, 0},
		{"star", goPackage{modulePath + "/tools", []string{modulePath + "/top/a"}, nil}, 0},
		{"upwards", goPackage{modulePath + "/low", []string{modulePath + "/mid"}, nil}, 1},
		{"reached upwards", goPackage{modulePath + "/low", nil, []string{modulePath + "/top/a"}}, 1},
		{"module", goPackage{modulePath + "/low", []string{"example.com/m"}, nil}, 1},
		{"module with a longer name", goPackage{modulePath + "/mid", []string{"example.com/mm"}, nil}, 1},
		{"standard library", goPackage{modulePath + "/low", []string{"os"}, nil}, 1},
		{"no row", goPackage{modulePath + "/new", nil, nil}, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := checkImports(rules, all(c.pkg)); len(got) != c.findings {
				t.Errorf("%d findings, want %d: %v", len(got), c.findings, got)
			}
		})
	}
	if got := checkImports(rules, nil); len(got) != len(rules) {
		t.Errorf("%d findings for an empty tree, want one per row: %v", len(got), got)
	}
	if _, err := importTable("no table"); err == nil {
		t.Error("a page without a table was accepted")
	}
}

func TestDependencyTableIsHeldAgainstRequirements(t *testing.T) {
	const page = "| module | version | reason |\n|---|---|---|\n| `a` | v1.0.0 | good |\n| `b` | v1.0.0 | |\n"
	cases := []struct {
		name     string
		required []requirement
		findings int
	}{
		{"no reason", []requirement{{Path: "a", Version: "v1.0.0"}}, 1},
		{"other version", []requirement{{Path: "a", Version: "v2.0.0"}}, 2},
		{"not listed", []requirement{{Path: "a", Version: "v1.0.0"}, {Path: "c", Version: "v1.0.0"}}, 2},
		{"not required", nil, 2},
	}
	for _, c := range cases {
		if got := checkDependencies(page, c.required); len(got) != c.findings {
			t.Errorf("%s: %d findings, want %d: %v", c.name, len(got), c.findings, got)
		}
	}
}

func TestNamedTestsAreLookedUp(t *testing.T) {
	f, err := parseFile("p/a_test.go", []byte("package p\nfunc TestReal(t *T) {}\nfunc FuzzReal(f *F) { f.Run(\"Case\") }"))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]int{
		"kept (test: TestReal)":              0,
		"kept (tests: `TestReal`, FuzzReal)": 0,
		"kept (test: p.TestReal)":            0,
		"kept (test: TestReal/Case)":         0,
		"kept (test: TestReal/Gone)":         1,
		"kept (test: p.TestReal/scripted)":   0,
		"kept (test: p.TestReal/unwritten)":  1,
		"kept (test: q.TestReal)":            1,
		"kept (tests: TestReal, TestGone)":   1,
		"kept (test: some words)":            1,
		"nothing named":                      1,
	}
	for page, want := range cases {
		if got := checkNamedTests("page", page, []file{f}, func(directory, test string) bool { return directory == "p" && test == "scripted" }); len(got) != want {
			t.Errorf("%q: %d findings, want %d: %v", page, len(got), want, got)
		}
	}
}
