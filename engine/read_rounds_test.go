package engine_test

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// roundFrames is a host's handler that notes, of each frame that carries heartbeats, of how many shards they are.
type roundFrames struct {
	transport.Handler
	from   string // only frames of this host
	shards []int
}

func (f *roundFrames) Receive(from transport.HostIdentity, lane transport.Lane, messages []raftpb.Message) {
	shards := map[uint64]bool{}
	for i := range messages {
		if messages[i].Type == raftpb.MessageHeartbeat && from.Address == f.from {
			shards[messages[i].ShardID] = true
		}
	}
	if len(shards) > 0 {
		f.shards = append(f.shards, len(shards))
	}
	f.Handler.Receive(from, lane, messages)
}

// Reads of many shards that arrive together are confirmed by one frame to each of the other hosts, which carries a round of every
// shard (R22).
func TestOneFrameCarriesTheReadRoundsOfManyShards(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	shards := make([]uint64, 48)
	for i := range shards {
		shards[i] = uint64(i + 1)
	}
	c.start(shards...)
	led := map[*testHost][]uint64{}
	for _, shard := range shards {
		h := c.waitLeader(shard)
		led[h] = append(led[h], shard)
	}
	leader := c.hosts[0]
	for _, h := range c.hosts {
		if len(led[h]) > len(led[leader]) {
			leader = h
		}
	}
	c.run(time.Second) // the first entry of every term is committed
	var others []*roundFrames
	for _, h := range c.hosts {
		if h != leader {
			f := &roundFrames{Handler: h.wire.Handler, from: leader.address}
			h.wire.Handler = f
			others = append(others, f)
		}
	}
	before, open := leader.engine.Counters().RoundReads, 0
	for _, shard := range led[leader] {
		open++
		if err := leader.replicas[shard].Read(nil, func(_ any, err error) {
			if open--; err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
	c.until(time.Second, "all reads are answered", func() bool { return open == 0 })
	if rounds := leader.engine.Counters().RoundReads - before; rounds != uint64(len(led[leader])) {
		t.Errorf("%d reads were confirmed by rounds, want %d", rounds, len(led[leader]))
	}
	for _, f := range others {
		if len(f.shards) != 1 || f.shards[0] != len(led[leader]) {
			t.Errorf("frames with rounds of %v shards, want one of %d", f.shards, len(led[leader]))
		}
	}
}
