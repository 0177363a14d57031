package flotilla

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/flotilla-raft/flotilla/benchmark/network"
	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

const (
	refusalRounds  = 25
	refusalsATime  = 1 << 18
	refusalTimeout = time.Minute
)

var errNotRefused = errors.New("flotilla: an overloaded host took a proposal")

// Refusal measures what an overloaded host's refusal of a proposal costs the caller, in nanoseconds and allocations: a host of its own, in
// the given directory, with a shard whose state machine does not return. The time is the median of several rounds of one caller.
func Refusal(ctx context.Context, directory string) (nanoseconds, allocs float64, err error) {
	ctx, cancel := context.WithTimeout(ctx, refusalTimeout)
	defer cancel()
	addresses, err := network.NewAddresses(1, 0)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, addresses.Close()) }()
	node, err := nodehost.New(nodehost.Config{
		Dir: directory, Address: addresses.Public(0), ListenAddress: addresses.Listen(0), Deployment: "benchmark",
	})
	if err != nil {
		return 0, 0, err
	}
	machine := &heldMachine{release: make(chan struct{})}
	defer func() {
		close(machine.release)
		err = errors.Join(err, node.Close())
	}()
	replica := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Members: map[uint64]string{1: addresses.Public(0)}}
	if err := node.StartReplica(ctx, replica, func(uint64, uint64) (rsm.StateMachine, error) { return machine, nil }); err != nil {
		return 0, 0, err
	}
	shard, err := node.Shard(replica.ShardID)
	if err != nil {
		return 0, 0, err
	}
	if _, err := shard.WaitLeader(ctx); err != nil {
		return 0, 0, err
	}
	command, done := make([]byte, 16), func(rsm.Result, error) {}
	propose := func() error { return shard.ProposeAsync(command, done) }
	for {
		if err := overload(ctx, propose); err != nil {
			return 0, 0, err
		}
		// A disk or a processor that was away for longer than overload waits gives the host room once more.
		if nanoseconds, allocs, err = refuse(propose); !errors.Is(err, errNotRefused) {
			return nanoseconds, allocs, err
		}
	}
}

// refuse measures some rounds of proposals, each of which the host has to refuse.
func refuse(propose func() error) (nanoseconds, allocs float64, err error) {
	var rounds []float64
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range refusalRounds {
		began := time.Now()
		for range refusalsATime {
			if propose() == nil {
				return 0, 0, errNotRefused
			}
		}
		rounds = append(rounds, float64(time.Since(began).Nanoseconds())/refusalsATime)
	}
	runtime.ReadMemStats(&after)
	slices.Sort(rounds)
	// The host's own background work is not the callers': what is left of it in so many calls is nothing.
	allocs = float64((after.Mallocs - before.Mallocs) / (refusalRounds * refusalsATime))
	return rounds[len(rounds)/2], allocs, nil
}

// overload proposes until the host has refused everything for longer than it may hold anything up.
func overload(ctx context.Context, propose func() error) error {
	var since time.Time
	for since.IsZero() || time.Since(since) < time.Second {
		switch err := propose(); {
		case err == nil:
			since = time.Time{}
		case !errors.Is(err, nodehost.ErrBusy):
			return fmt.Errorf("flotilla: refused for another reason: %w", err)
		case since.IsZero():
			since = time.Now()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// heldMachine does not return from Update until it is released.
type heldMachine struct{ release chan struct{} }

func (m *heldMachine) Update([]rsm.Entry) error { <-m.release; return nil }

func (m *heldMachine) Lookup(any) (any, error) { return nil, nil }

func (m *heldMachine) Close() error { return nil }
