package engine_test

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/transport"
)

// An iteration with hundreds of inputs, among them some for shards that the host does not have, treats each of them as it would alone.
func TestIterationsWithHundredsOfInputs(t *testing.T) {
	const shards = 200
	c := newTestCluster(t, 3, nil)
	var ids []uint64
	for shard := uint64(1); shard <= shards; shard++ {
		ids = append(ids, shard)
	}
	c.start(ids...)
	for _, shard := range ids {
		c.waitLeader(shard)
	}
	first := c.hosts[0]
	before := first.engine.Counters().Unroutable
	strangers := make([]raftpb.Message, 100)
	for i := range strangers {
		strangers[i] = raftpb.Message{Type: raftpb.MessageReplicate, ShardID: uint64(shards + 1 + i), From: 1, To: 2, Term: 1}
	}
	acknowledged := 0
	for _, shard := range ids {
		if err := c.leader(shard).replicas[shard].Propose([]byte("command"), 0, func(_ rsm.Result, err error) {
			if err != nil {
				t.Errorf("shard %d: %v", shard, err)
			}
			acknowledged++
		}); err != nil {
			t.Errorf("shard %d: %v", shard, err)
		}
	}
	first.wire.Handler.Receive(transport.HostIdentity{Address: c.hosts[1].address}, transport.LaneBulk, strangers)
	c.until(10*time.Second, "all acknowledged", func() bool { return acknowledged == shards })
	c.until(10*time.Second, "all applied everywhere", func() bool {
		for _, h := range c.hosts {
			for _, shard := range ids {
				if len(h.machines[shard].commands) != 1 {
					return false
				}
			}
		}
		return true
	})
	if got := first.engine.Counters().Unroutable - before; got != uint64(len(strangers)) {
		t.Errorf("%d messages of shards that the host does not have were counted, want %d", got, len(strangers))
	}
}
