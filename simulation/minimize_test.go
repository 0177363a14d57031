package simulation

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/rsm"
)

// forgetful answers with the number of commands, but on one replica one less from the hundredth on.
type forgetful struct {
	replica, count uint64
}

func (f *forgetful) Update(entries []rsm.Entry) error {
	for i := range entries {
		f.count++
		entries[i].Result.Value = f.count
		if f.count >= 100 && f.replica == 1 {
			entries[i].Result.Value--
		}
	}
	return nil
}

func (f *forgetful) Lookup(any) (any, error) { return f.count, nil }

func (f *forgetful) Close() error { return nil }

// What is violated without any fault is shown without any.
func TestMinimizeLeavesOutWhatIsNotNeeded(t *testing.T) {
	options := Options{
		Seed: 9, Profile: "everything", Hosts: 3, Shards: 5, Duration: 20 * time.Second,
		Machine: func(_, replica uint64) (rsm.StateMachine, error) { return &forgetful{replica: replica}, nil },
	}
	before, err := Run(options)
	if err != nil || before.Violation == nil {
		t.Fatalf("%v, violation %v", err, before.Violation)
	}
	smaller, result, err := Minimize(options)
	if err != nil || result.Violation == nil || result.Violation.Property != before.Violation.Property {
		t.Fatalf("%v, violation %v", err, result.Violation)
	}
	if result.Counters.Faults() != 0 || smaller.Steps == 0 {
		t.Errorf("%d faults are left of %d, in %d steps", result.Counters.Faults(), before.Counters.Faults(), smaller.Steps)
	}
	again, err := Run(smaller)
	if err != nil || again.Hash != result.Hash {
		t.Errorf("the options do not show what they were found with: %v", err)
	}
}

func TestMinimizeWithoutAViolation(t *testing.T) {
	options := Options{Seed: 1, Profile: "calm", Duration: 2 * time.Second}
	smaller, result, err := Minimize(options)
	if err != nil || result.Violation != nil || smaller.Steps != 0 || len(smaller.Without) != 0 {
		t.Errorf("%+v, %v, %v", smaller, result.Violation, err)
	}
}
