package lint

import (
	"fmt"
	"regexp"
	"strings"
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

// catalogued is how many tests the catalogue of errors of other engines asks for; they are called T-01, T-02, and so on.
const catalogued = 53

var ruleOrTest = regexp.MustCompile(`\b(?:R[0-9]+|T-[0-9]+)\b`)

// checkRulesAreShown finds rules of the guarantees, and tests of the catalogue, that a page names neither in its table of mutants by rule nor in that
// of what has none, and rows of the second for what has some.
func checkRulesAreShown(name, page, guarantees string) []finding {
	var findings []finding
	report := func(format string, arguments ...any) {
		findings = append(findings, finding{file: name, message: fmt.Sprintf(format, arguments...)})
	}
	mutants, others := map[string]bool{}, map[string]bool{}
	for _, cells := range tableRows(page, "rule", "mutants") {
		mutants[cells[0]] = true
	}
	for _, cells := range tableRows(page, "rule", "what it demands", "what shows it") {
		if len(cells) != 3 || cells[1] == "" || cells[2] == "" {
			report("row %q needs what is demanded and what shows it", strings.Join(cells, " | "))
		}
		for _, rule := range ruleOrTest.FindAllString(cells[0], -1) {
			others[rule] = true
			if mutants[rule] {
				report("%s has a mutant: remove it from those without", rule)
			}
		}
	}
	rules := ruleNumber.FindAllString(guarantees, -1)
	for number := range catalogued {
		rules = append(rules, fmt.Sprintf("T-%02d", number+1))
	}
	for _, rule := range rules {
		if !mutants[rule] && !others[rule] {
			report("%s has neither a mutant nor a row that says what shows it instead", rule)
			others[rule] = true
		}
	}
	return findings
}
