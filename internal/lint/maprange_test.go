package lint

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"testing"
)

func TestCoreDoesNotLoopOverMaps(t *testing.T) {
	findings, err := mapRanges()
	if err != nil {
		t.Fatal(err)
	}
	report(t, findings, noExemptions)
}

func TestMapRangesAreFound(t *testing.T) {
	cases := map[string]int{
		"func f(m map[int]int) { for range m { } }":                                                          1,
		"type set map[int]bool\nfunc f(m set) { for k := range m { _ = k } }":                                1,
		"func f(m map[int]int) {\n\t// A sum: any order will do.\n\tfor range m { } }":                       0,
		"func f(m map[int]int) {\n\t// Too far away: any order.\n\n\tfor range m { } }":                      1,
		"import \"maps\"\nfunc f(m map[int]int) { for range maps.Keys(m) { } }":                              1,
		"import (\"maps\"; \"slices\")\nfunc f(m map[int]int) { for range slices.Sorted(maps.Keys(m)) { } }": 0,
		"func f(s []int, n int, c chan int) { for range s {}; for range n {}; for range c {} }":              0,
	}
	for source, want := range cases {
		positions := token.NewFileSet()
		f, err := parser.ParseFile(positions, "p.go", "package p\n"+source, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		got, err := checkMapRanges(positions, []*ast.File{f}, modulePath+"/p", importer.ForCompiler(positions, "source", nil))
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != want {
			t.Errorf("%q: %d findings, want %d: %v", source, len(got), want, got)
		}
	}
}
