package lint

import (
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
