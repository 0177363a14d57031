package lint

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

var pages = []string{"README.md", "docs/architecture.md", "docs/dependencies.md", "docs/guarantees.md", "docs/protocol.md", "docs/proof.md"}

func TestLinksLeadSomewhere(t *testing.T) {
	exists := func(name string) bool {
		_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
		return err == nil
	}
	for _, name := range pages {
		page, err := readPage(name)
		if err != nil {
			t.Fatal(err)
		}
		report(t, checkLinks(name, page, exists), noExemptions)
	}
}

func TestRuleNumbersAreExplained(t *testing.T) {
	page, err := readPage("docs/guarantees.md")
	if err != nil {
		t.Fatal(err)
	}
	report(t, checkRuleNumbers(page, tree(t)), noExemptions)
}

func TestUnknownRuleNumbersAreFound(t *testing.T) {
	f, err := parseFile("p/a.go", []byte("// Package p keeps to R1"+" and R99"+".\npackage p\n\n// RFC, R2D and FR3 are no numbers.\n"))
	if err != nil {
		t.Fatal(err)
	}
	if got := checkRuleNumbers("**R1 One.** ", []file{f}); len(got) != 1 {
		t.Errorf("%d findings, want 1: %v", len(got), got)
	}
}

func TestReadmeShowsAnExampleThatRuns(t *testing.T) {
	page, err := readPage("README.md")
	if err != nil {
		t.Fatal(err)
	}
	report(t, checkShownExamples("README.md", page, readPage), noExemptions)
}

func TestBrokenLinksAreFound(t *testing.T) {
	exists := func(name string) bool { return name == "docs/there.md" }
	cases := map[string]int{
		"[a](there.md)":            0,
		"[a](there.md#part)":       0,
		"[a](../docs/there.md)":    0,
		"[a](https://example.com)": 0,
		"[a](gone.md)":             1,
		"[a](../there.md)":         1,
	}
	for page, want := range cases {
		if got := checkLinks("docs/page.md", page, exists); len(got) != want {
			t.Errorf("%q: %d findings, want %d: %v", page, len(got), want, got)
		}
	}
}

func TestShownExamplesAreCompared(t *testing.T) {
	read := func(name string) (string, error) {
		if name != "a_test.go" {
			return "", errors.New("no such file")
		}
		return "package a\n\nfunc Example() {\n\tone()\n\tif x {\n\t\ttwo()\n\t}\n}\n", nil
	}
	cases := map[string]int{
		"<!-- example: a_test.go -->\n\n```go\none()\nif x {\n\ttwo()\n}\n```\n": 0,
		"<!-- example: a_test.go -->\n```go\none()\nthree()\n```\n":              1,
		"<!-- example: b_test.go -->\n```go\none()\n```\n":                       1,
		"<!-- example: a_test.go -->\nno block\n":                                1,
		"```go\none()\n```\n": 1,
	}
	for page, want := range cases {
		if got := checkShownExamples("README.md", page, read); len(got) != want {
			t.Errorf("%q: %d findings, want %d: %v", page, len(got), want, got)
		}
	}
}
