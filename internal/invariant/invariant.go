// Package invariant holds the project's assertions.
//
// Check is always on and cheap; a failed check panics with a Violation, which the owner of the replica recovers and answers
// by fencing that replica (it sends nothing until a restart). No message from a peer, no disk and no caller can make a
// Check fail: what comes from outside is refused with an error instead. Costly checks stand behind Enabled, a constant
// that is true only under the build tag "invariants", which every test pass but the one for allocation budgets sets.
package invariant

import "fmt"

// Violation is the value that a failed check panics with.
type Violation struct{ Message string }

// Error makes a Violation usable as an error by the code that recovers it.
func (v Violation) Error() string { return "invariant violated: " + v.Message }

// Check panics with a Violation if condition does not hold. The format's arguments are evaluated in any case, so they
// have to be cheap; on hot paths, test first and call Fail.
func Check(condition bool, message string) {
	if !condition {
		panic(Violation{message})
	}
}

// Fail panics with a Violation made of the format and its arguments.
func Fail(format string, arguments ...any) {
	panic(Violation{fmt.Sprintf(format, arguments...)})
}
