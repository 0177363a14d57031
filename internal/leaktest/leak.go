// Package leaktest looks for goroutines that go on after what started them was closed.
//
// It is goleak with more patience: that gives a goroutine which is about to end some 0.4 s to do so, and on a machine that is busy with something else one
// may wait for its turn for longer.
package leaktest

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// attempts is how often goleak is asked, which then asks for 0.4 s each.
const attempts = 25

// find returns an error that names the goroutines which do not end.
func find(attempts int, options ...goleak.Option) (err error) {
	for range attempts {
		if err = goleak.Find(options...); err == nil {
			return nil
		}
	}
	return err
}

// Main runs the tests of a package, fails if they leave goroutines behind, and ends the process. It is for TestMain.
func Main(m *testing.M, options ...goleak.Option) {
	code := m.Run()
	if code == 0 {
		if err := find(attempts, options...); err != nil {
			fmt.Fprintf(os.Stderr, "after all tests: %v\n", err)
			code = 1
		}
	}
	os.Exit(code)
}

// Verify fails a test if there are goroutines but those of goleak.IgnoreCurrent.
func Verify(t testing.TB, options ...goleak.Option) {
	t.Helper()
	if err := find(attempts, options...); err != nil {
		t.Error(err)
	}
}
