package nodehost_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// producedElsewhere are errors that no user can bring about, and who tests them.
var producedElsewhere = map[string]string{
	"ErrMachineStuck": "it comes after seconds, on a clock of its own in the engine's tests: TestAMachineThatStandsStillIsReportedAndKeepsOnePlace",

	"ErrInstalling": "it takes a snapshot of the one that is replaced, in the engine's tests: TestWhoWaitsForASnapshotIsToldOfAnInstallation",

	"ErrFenced": "the engine's own tests violate an assertion: TestAFencedReplicaIsSilentUntilItIsStartedAgain",
}

// Every sentinel of the package is in the table of the package's documentation, and a test looks for it.
func TestEveryErrorIsExplainedAndProduced(t *testing.T) {
	set := token.NewFileSet()
	declared, err := parser.ParseFile(set, "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	tests := testTexts(t)
	for _, declaration := range declared.Decls {
		list, ok := declaration.(*ast.GenDecl)
		if !ok || list.Tok != token.VAR {
			continue
		}
		for _, spec := range list.Specs {
			name := spec.(*ast.ValueSpec).Names[0].Name
			if name == "ErrMaybeApplied" {
				continue // no error by itself
			}
			if !strings.Contains(string(page), "//\t"+name+" ") && !strings.Contains(string(page), " "+name) {
				t.Errorf("%s has no row in the table of errors in doc.go: say when it comes, and what MaybeApplied says of it", name)
			}
			if producedElsewhere[name] == "" && !strings.Contains(tests, "nodehost."+name+")") && !strings.Contains(tests, "nodehost."+name+"}") &&
				!strings.Contains(tests, "nodehost."+name+",") {
				t.Errorf("no test of this package looks for nodehost.%s: produce it through the API", name)
			}
		}
	}
}

func testTexts(t *testing.T) string {
	t.Helper()
	names, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(text)
	}
	return all.String()
}
