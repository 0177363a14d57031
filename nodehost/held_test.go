package nodehost_test

import (
	"context"
	"time"

	"github.com/flotilla-raft/flotilla/internal/loopback"
	"github.com/flotilla-raft/flotilla/nodehost"
)

// The examples show addresses as one would write them down. When they run, hosts are where nobody else is.
func init() {
	free, err := loopback.Addresses(len(addresses) + 1)
	if err != nil {
		panic(err)
	}
	for id := range addresses {
		addresses[id] = free[id]
	}
	newcomer = free[0]
}

// heldTimeout is an election timeout that outlasts every stall of a machine on which a test can still end in time.
const heldTimeout = 20 * time.Second

// hold waits for a leader that every running host follows, and sees to it that it leads until the test ends, however long a goroutine is kept waiting. It is
// for tests that say what one leader does. What waits for an election timeout to pass waits for heldTimeout then, unless the timeouts are
// set to 0 before: the test's end does so.
func (c *cluster) hold(id uint64) (leader int) {
	c.t.Helper()
	var shards []*nodehost.Shard
	for i := range c.hosts {
		if c.hosts[i] == nil {
			continue
		}
		if shard, err := c.hosts[i].Shard(id); err == nil { // else it has none
			shards = append(shards, shard)
		}
	}
	c.t.Cleanup(func() { c.let(id) })
	replica, err := holdLeader(patient(c.t), shards, heldTimeout)
	if err != nil {
		c.t.Fatal(err)
	}
	return int(replica - 1)
}

// let gives the election timeouts back to the hosts that run.
func (c *cluster) let(id uint64) {
	for _, host := range c.hosts {
		if host == nil {
			continue
		}
		if shard, err := host.Shard(id); err == nil {
			_ = shard.SetTimeouts(patient(c.t), 0, 0) // one that stopped has none
		}
	}
}

// holdLeader raises the election timeouts of a shard on all its hosts while they follow one leader. One that is lost just then would be missing for as long: then
// they are lowered again for the next election.
func holdLeader(ctx context.Context, shards []*nodehost.Shard, election time.Duration) (leader uint64, err error) {
	for {
		if _, err := shards[0].WaitLeader(ctx); err != nil {
			return 0, err
		}
		if err := setElectionTimeouts(ctx, shards, election); err != nil {
			return 0, err
		}
		if leader := followedByAll(ctx, shards); leader != 0 {
			return leader, nil
		}
		if err := setElectionTimeouts(ctx, shards, 0); err != nil {
			return 0, err
		}
	}
}

// setElectionTimeouts leaves heartbeats as frequent as they are: commits wait for them where nothing follows. With 0 both are the hosts' own.
func setElectionTimeouts(ctx context.Context, shards []*nodehost.Shard, election time.Duration) error {
	heartbeat := min(election, 30*time.Millisecond)
	for _, shard := range shards {
		if err := shard.SetTimeouts(ctx, election, heartbeat); err != nil {
			return err
		}
	}
	return nil
}

// followedByAll waits for a moment until all know the same leader in the same term and a read proves that it leads. It returns 0 if that does not come.
func followedByAll(ctx context.Context, shards []*nodehost.Shard) uint64 {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	agreed := func() (leader, term uint64) {
		leader, term, _ = shards[0].Leader()
		for _, shard := range shards[1:] {
			if other, otherTerm, ok := shard.Leader(); !ok || other != leader || otherTerm != term {
				return 0, 0
			}
		}
		return leader, term
	}
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for ; ctx.Err() == nil; <-ticker.C {
		leader, term := agreed()
		if leader == 0 {
			continue
		}
		if _, err := shards[0].Read(ctx, nil); err != nil {
			continue
		}
		if again, sameTerm := agreed(); again == leader && sameTerm == term {
			return leader
		}
	}
	return 0
}
