package lint

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"os/exec"
	"path"
	"regexp"
	"slices"
	"strings"
)

// requirement is a direct dependency as go.mod has it.
type requirement struct {
	Path     string
	Version  string
	Indirect bool
}

func directRequirements() ([]requirement, error) {
	command := exec.Command("go", "mod", "edit", "-json")
	command.Dir = root
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("go mod edit: %w", err)
	}
	var module struct{ Require []requirement }
	if err := json.Unmarshal(output, &module); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(module.Require, func(r requirement) bool { return r.Indirect }), nil
}

// checkDependencies holds the table of dependencies against go.mod. Every row gives module, version and reason.
func checkDependencies(page string, required []requirement) []finding {
	const name = "docs/dependencies.md"
	var findings []finding
	report := func(format string, arguments ...any) {
		findings = append(findings, finding{file: name, message: fmt.Sprintf(format, arguments...)})
	}
	listed := map[string]bool{}
	for _, cells := range tableRows(page, "module", "version", "reason") {
		modules := codeSpans(cells[0])
		if len(modules) != 1 || len(cells) < 3 || cells[2] == "" {
			report("row %q needs a module, its version and a reason", strings.Join(cells, " | "))
			continue
		}
		listed[modules[0]] = true
		i := slices.IndexFunc(required, func(r requirement) bool { return r.Path == modules[0] })
		switch {
		case i < 0:
			report("%s is not a direct dependency in go.mod: remove its row", modules[0])
		case required[i].Version != cells[1]:
			report("%s is at %s in go.mod, the page says %s", modules[0], required[i].Version, cells[1])
		}
	}
	for _, r := range required {
		if !listed[r.Path] {
			report("%s %s has no row: say what it is for", r.Path, r.Version)
		}
	}
	return findings
}

var (
	testReference = regexp.MustCompile(`\(tests?: ([^)]*)\)`)
	testName      = regexp.MustCompile(`^(?:([a-z/]+)\.)?((?:Test|Fuzz|Example)\w*)(?:/(\w+))?$`)
)

// checkNamedTests finds tests named in a page that the tree does not declare. They are named as "(test: TestOne)" or
// "(tests: TestOne, transport/tcp.TestTwo/Case)": the package is optional, and a case is looked for among the texts of test
// files and conformance suites. A page that names no test at all is a finding too. isScript says whether a package's scripts in
// testdata have a case of that name.
func checkNamedTests(name, page string, files []file, isScript func(directory, test string) bool) []finding {
	declared, texts := testsAndTexts(files)
	var findings []finding
	references := testReference.FindAllStringSubmatch(page, -1)
	for _, reference := range references {
		for test := range strings.SplitSeq(reference[1], ",") {
			test = strings.Trim(strings.TrimSpace(test), "`")
			parts := testName.FindStringSubmatch(test)
			switch {
			case parts == nil:
				findings = append(findings, finding{file: name, message: fmt.Sprintf("%q is no name of a test", test)})
			case !declared[parts[1]+"."+parts[2]] || parts[3] != "" && !texts[parts[3]] && !isScript(parts[1], parts[3]):
				findings = append(findings, finding{file: name, message: test + " does not exist: a promise is worth its test"})
			}
		}
	}
	if len(references) == 0 {
		findings = append(findings, finding{file: name, message: "names no test"})
	}
	return findings
}

// testsAndTexts returns the functions of test files, as "package.Name" and as ".Name", and the string literals of test files and
// conformance suites.
func testsAndTexts(files []file) (declared, texts map[string]bool) {
	declared, texts = map[string]bool{}, map[string]bool{}
	for _, f := range files {
		if !f.isTest() && !f.isTestKit() {
			continue
		}
		ast.Inspect(f.syntax, func(node ast.Node) bool {
			switch node := node.(type) {
			case *ast.FuncDecl:
				if f.isTest() && node.Recv == nil {
					declared["."+node.Name.Name] = true
					declared[f.dir()+"."+node.Name.Name] = true
				}
			case *ast.BasicLit:
				texts[strings.Trim(node.Value, "\"`")] = true
			}
			return true
		})
	}
	return declared, texts
}

var ruleNumber = regexp.MustCompile(`\bR[0-9]+\b`)

// checkRuleNumbers finds comments that refer to a rule, as in (R6), which the page does not explain.
func checkRuleNumbers(page string, files []file) []finding {
	explained := map[string]bool{}
	for _, number := range ruleNumber.FindAllString(page, -1) {
		explained[number] = true
	}
	var findings []finding
	for _, f := range files {
		for _, group := range f.syntax.Comments {
			for _, number := range ruleNumber.FindAllString(group.Text(), -1) {
				if !explained[number] {
					findings = append(findings, f.at(group, "%s is not explained in docs/guarantees.md", number))
				}
			}
		}
	}
	return findings
}

var pageLink = regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)

// checkLinks finds links of a page to files that are not there. exists is asked for paths relative to the root.
func checkLinks(name, page string, exists func(string) bool) []finding {
	var findings []finding
	for _, match := range pageLink.FindAllStringSubmatch(page, -1) {
		if target := path.Join(path.Dir(name), match[1]); !exists(target) {
			findings = append(findings, finding{file: name, message: "links to " + target + ", which is not there"})
		}
	}
	return findings
}

var shownExample = regexp.MustCompile("(?s)<!-- example: (\\S+) -->\\s*```go\n(.*?)```")

// checkShownExamples finds code shown in a page, behind a line "<!-- example: FILE -->", that is not in that file word for word
// but for indentation: what a newcomer copies has been run. read returns a file's content.
func checkShownExamples(name, page string, read func(string) (string, error)) []finding {
	shown := shownExample.FindAllStringSubmatch(page, -1)
	var findings []finding
	if len(shown) == 0 {
		findings = append(findings, finding{file: name, message: "shows no example: put a go block behind <!-- example: FILE -->"})
	}
	for _, match := range shown {
		source, err := read(match[1])
		switch {
		case err != nil:
			findings = append(findings, finding{file: name, message: err.Error()})
		case !strings.Contains(unindented(source), unindented(match[2])):
			findings = append(findings, finding{file: name, message: "the example differs from " + match[1] + ": copy it from there"})
		}
	}
	return findings
}

func unindented(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}
