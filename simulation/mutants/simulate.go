package main

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/flotilla-raft/flotilla/simulation"
)

// exitFound is the exit code of the built-in simulator when it found a violation.
const exitFound = 7

// simulate runs seeds, those of the profile and of "everything" in turns, until one shows a violation or the budget is spent. The budget is
// of the process's own CPU time, so that what else the machine does decides nothing.
func simulate(profile, logDB string, seed uint64, budget time.Duration) int {
	profiles := []string{profile, "everything"}
	runs := 0
	for ; used() < budget; runs++ {
		result, err := simulation.Run(simulation.Options{
			Seed: seed + uint64(runs/2), Profile: profiles[runs%2], LogDB: logDB, IgnoreFences: true,
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if v := result.Violation; v != nil {
			f := finding{profile: profiles[runs%2], seed: result.Seed, runs: runs + 1, property: v.Property, detail: v.Detail}
			fmt.Println(f.line())
			return exitFound
		}
	}
	fmt.Printf("%d runs without a violation\n", runs)
	return 0
}

// used returns the CPU time that this process has taken.
func used() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
