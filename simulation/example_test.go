package simulation_test

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/simulation"
)

// ledger adds numbers up. Something in it depends on the replica that it runs on, as a clock, a map's order or a local limit would.
type ledger struct {
	replica, sum uint64
}

func (l *ledger) Update(entries []rsm.Entry) error {
	for i := range entries {
		amount := binary.LittleEndian.Uint64(entries[i].Command)
		if l.replica == 2 && amount == 77 {
			amount++
		}
		l.sum += amount
		entries[i].Result.Value = l.sum
	}
	return nil
}

func (l *ledger) Lookup(any) (any, error) { return l.sum, nil }

func (l *ledger) Close() error { return nil }

func (l *ledger) StateHash() uint64 { return l.sum }

// A state machine of one's own can be run in the simulator, which compares what the replicas make of the same commands.
func ExampleRun() {
	result, err := simulation.Run(simulation.Options{
		Seed:     1,
		Profile:  "calm",
		Hosts:    3,
		Shards:   5,
		Duration: 10 * time.Second,
		Machine:  func(_, replica uint64) (rsm.StateMachine, error) { return &ledger{replica: replica}, nil },
		Command: func(random func() uint64) []byte {
			return binary.LittleEndian.AppendUint64(nil, random()%100)
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if result.Violation != nil {
		fmt.Println(result.Violation.Property)
	}
	// Output: state machine safety
}
