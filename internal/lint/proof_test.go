package lint

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestMutantsAreListed(t *testing.T) {
	const name = "docs/proof.md"
	page, err := readPage(name)
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob(filepath.Join(root, "simulation", "mutants", "*.patch"))
	if err != nil || len(paths) == 0 {
		t.Fatal("no patches", err)
	}
	var patches []string
	for _, path := range paths {
		patches = append(patches, strings.TrimSuffix(filepath.Base(path), ".patch"))
	}
	report(t, checkMutants(name, page, patches), noExemptions)
}

func TestMissingMutantsAreFound(t *testing.T) {
	page := "| mutant | what it takes out | rules |\n|---|---|---|\n| `one` | a guard. | R1 |\n| `gone` | another. | R2 |\n\n| rule | mutants |\n|---|---|\n| R1 | `two` |\n"
	if got := checkMutants("docs/proof.md", page, []string{"one", "two"}); len(got) != 2 {
		t.Errorf("%d findings, want 2: %v", len(got), got)
	}
}

func TestEveryRuleIsShown(t *testing.T) {
	const name = "docs/proof.md"
	page, err := readPage(name)
	if err != nil {
		t.Fatal(err)
	}
	guarantees, err := readPage("docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	report(t, checkRulesAreShown(name, page, guarantees), noExemptions)
}

func TestRulesThatNothingShowsAreFound(t *testing.T) {
	rest := ""
	for number := 2; number <= catalogued; number++ {
		rest += fmt.Sprintf(", T-%02d", number)
	}
	const mutants = "| rule | mutants |\n|---|---|\n| R1 | `one` |\n| T-01 | `one` |\n\n"
	const others = "| rule | what it demands | what shows it |\n|---|---|---|\n"
	cases := map[string]int{
		mutants + others + "| R2" + rest + " | much | a test |\n":                           0,
		mutants + others + "| R2 | much | a test |\n":                                       catalogued - 1,
		mutants + others + "| R1, R2" + rest + " | much | a test |\n":                       1,
		mutants + others + "| R2" + rest + " | much | |\n":                                  1,
		others + "| R2" + rest + " | much | a test |\n":                                     2,
		mutants + others + "| T-02 | much | a test |\n| R3" + rest + " | much | a test |\n": 1,
	}
	for page, want := range cases {
		if got := checkRulesAreShown("docs/proof.md", page, "**R1 One.** (R2) R2"); len(got) != want {
			t.Errorf("%q: %d findings, want %d: %v", page, len(got), want, got)
		}
	}
}
