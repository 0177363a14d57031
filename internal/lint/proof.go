package lint

import (
	"fmt"
)

// checkMutants holds the list of mutants in a page against the patches that are there, both ways. A row of the list begins with the name of
// a patch in backquotes.
func checkMutants(name, page string, patches []string) []finding {
	var findings []finding
	report := func(format string, arguments ...any) {
		findings = append(findings, finding{file: name, message: fmt.Sprintf(format, arguments...)})
	}
	there := map[string]bool{}
	for _, patch := range patches {
		there[patch] = true
	}
	listed := map[string]bool{}
	for _, cells := range tableRows(page, "mutant", "what it takes out", "rules") {
		for _, mutant := range codeSpans(cells[0]) {
			listed[mutant] = true
			if !there[mutant] {
				report("%s has no patch in simulation/mutants: run make proof", mutant)
			}
		}
	}
	for _, patch := range patches {
		if !listed[patch] {
			report("simulation/mutants/%s.patch is not listed: run make proof", patch)
		}
	}
	return findings
}
