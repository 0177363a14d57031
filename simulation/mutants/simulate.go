package main

import (
	"fmt"
	"os"
	"time"

	"github.com/flotilla-raft/flotilla/simulation"
)

// exitFound is the exit code of the built-in simulator when it found a violation.
const exitFound = 7

// simulate runs seeds, those of the profile and of "everything" in turns, until one shows a violation or the budget is spent.
func simulate(profile string, seed uint64, budget time.Duration) int {
	profiles := []string{profile, "everything"}
	began := time.Now()
	runs := 0
	for ; time.Since(began) < budget; runs++ {
		result, err := simulation.Run(simulation.Options{
			Seed: seed + uint64(runs/2), Profile: profiles[runs%2], LogDB: "model", IgnoreFences: true,
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if v := result.Violation; v != nil {
			fmt.Printf("%s, run %d (%s, seed %d): %s\n", v.Property, runs+1, profiles[runs%2], result.Seed, v.Detail)
			return exitFound
		}
	}
	fmt.Printf("%d runs without a violation\n", runs)
	return 0
}
