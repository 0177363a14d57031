package benchmark

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrCheck is returned, wrapped, if the replicas of a shard differ, an acknowledged command is not in exactly once, or a request
// was never answered.
var ErrCheck = errors.New("benchmark: the end check failed")

const (
	catchUpTimeout = 30 * time.Second
	catchUpPoll    = 5 * time.Millisecond
	maxDifferences = 20 // printed in full
)

// differences collects what the check finds, and keeps only the first few in words.
type differences struct {
	lines []string
	count int
}

func (d *differences) add(format string, arguments ...any) {
	d.count++
	if len(d.lines) < maxDifferences {
		d.lines = append(d.lines, fmt.Sprintf(format, arguments...))
	}
}

// waitApplied waits until all replicas of each shard have applied as far as the furthest, or the time is up, which the check
// then shows.
func waitApplied(ctx context.Context, machines [][]*Machine) {
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	ticker := time.NewTicker(catchUpPoll)
	defer ticker.Stop()
	for shard := range machines[0] {
		for !equallyApplied(machines, shard) {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
			}
		}
	}
}

func equallyApplied(machines [][]*Machine, shard int) bool {
	applied := machines[0][shard].State().Applied
	return !slices.ContainsFunc(machines, func(host []*Machine) bool { return host[shard].State().Applied != applied })
}

// checkReplicas compares the machines, by host and shard, with each other.
func checkReplicas(machines [][]*Machine, found *differences) {
	for shard := range machines[0] {
		first := machines[0][shard].State()
		for host := range machines {
			state := machines[host][shard].State()
			if state.Applied != first.Applied || state.Commands != first.Commands || state.Hash != first.Hash {
				found.add("shard %d: host %d has %d commands up to index %d with hash %016x, host 0 has %d up to %d with %016x", shard,
					host, state.Commands, state.Applied, state.Hash, first.Commands, first.Applied, first.Hash)
			}
			for _, complaint := range state.Complaints {
				found.add("shard %d, host %d: %s", shard, host, complaint)
			}
			if more := state.Wrong - uint64(len(state.Complaints)); more > 0 {
				found.add("shard %d, host %d: %d more commands are wrong", shard, host, more)
			}
		}
	}
}

// checkClients holds what the clients were told against what the machines hold: all that was acknowledged is in, and nothing is
// missing but what had an unknown outcome. That it is in once only, the machines themselves have seen. All clients have ended.
func checkClients(l *load, machines [][]*Machine, found *differences) {
	for shard, clients := range l.ofShard {
		for host := range machines {
			for i := range clients {
				clients[i].check(machines[host][shard], host, found)
			}
		}
	}
}

// check compares one client with one replica.
func (c *client) check(m *Machine, host int, found *differences) {
	absent, next := m.missing(c.query.Client, c.sequence)
	if next > c.sequence {
		found.add("shard %d, host %d: client %d sent %d commands, but number %d is in", c.shard, host, c.query.Client, c.sequence,
			next-1)
	}
	for _, gap := range absent {
		for sequence := gap.first; sequence < min(gap.end, c.sequence); sequence++ {
			if _, known := slices.BinarySearch(c.unknown, sequence); !known {
				found.add("shard %d, host %d: command %d of client %d was acknowledged and is not in", c.shard, host, sequence,
					c.query.Client)
			}
		}
	}
}
