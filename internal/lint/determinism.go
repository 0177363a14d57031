package lint

import "go/ast"

// coreDirectories hold the code that the simulator runs as it is: everything that could differ between two runs with
// the same inputs stands outside it, or in a file named for it.
var coreDirectories = []string{"engine", "raft", "rsm", "logdb", "snapshot"}

// clockNames are the names of package time that read a clock or arm a timer. Durations and formatting are free.
var clockNames = []string{
	"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker",
}

// checkDeterminism finds goroutines, clocks, timers and random sources in the core.
func checkDeterminism(files []file) []finding {
	var findings []finding
	for _, f := range files {
		if !f.under(coreDirectories...) || f.isTest() || f.isTestKit() {
			continue
		}
		ast.Inspect(f.syntax, func(node ast.Node) bool {
			if startsGoroutine(node) {
				findings = append(findings, f.at(node, "starts a goroutine: make it a method that the loop round runOnce calls, "+
					"or hand the work to a part that already has a goroutine"))
			}
			return true
		})
		f.uses("time", clockNames, func(node ast.Node, name string) {
			findings = append(findings, f.at(node, "%s: time enters as an argument (the now of runOnce); deadlines go into the timer wheel", name))
		})
		for _, random := range []string{"math/rand", "math/rand/v2", "crypto/rand", "hash/maphash"} {
			if f.imported(random) != "" {
				findings = append(findings, f.at(f.syntax.Name, "imports %s: draw from the source that the options hand in", random))
			}
		}
	}
	return findings
}

// startsGoroutine knows the go statement and the methods that hide one: WaitGroup.Go, errgroup's Go, Stopper.RunWorker.
func startsGoroutine(node ast.Node) bool {
	switch node := node.(type) {
	case *ast.GoStmt:
		return true
	case *ast.CallExpr:
		selector, ok := node.Fun.(*ast.SelectorExpr)
		return ok && (selector.Sel.Name == "Go" || selector.Sel.Name == "RunWorker")
	}
	return false
}
