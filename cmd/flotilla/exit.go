package main

import (
	"errors"

	"github.com/flotilla-raft/flotilla/benchmark"
	"github.com/flotilla-raft/flotilla/simulation"
)

// The exit codes; the package comment says what they mean.
const (
	exitOK            = 0
	exitFailed        = 1
	exitNotComparable = 2
	exitUsage         = 3
)

// failure marks an error that came up while a command ran. What cobra reports without one is a wrong command line.
type failure struct{ error }

// Unwrap returns the error itself.
func (f failure) Unwrap() error { return f.error }

func exitCode(err error) int {
	var failed failure
	switch {
	case err == nil:
		return exitOK
	case !errors.As(err, &failed), errors.Is(err, benchmark.ErrConfig), errors.Is(err, simulation.ErrOptions):
		return exitUsage
	case errors.Is(err, benchmark.ErrNotComparable), errors.Is(err, errBudget):
		return exitNotComparable
	default:
		return exitFailed
	}
}
