package nodehost

import (
	"cmp"
	"slices"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/transport"
)

// Info is a copy of what a host knows of itself.
type Info struct {
	// Identity is what the host says of itself to others.
	Identity transport.HostIdentity
	// Shards are those that run here, ascending.
	Shards []ShardInfo
	// Engine, Cache and Peers count since New.
	Engine engine.Counters
	Cache  logdb.CacheCounters
	Peers  []PeerInfo // by address
	// Log is what the log store has counted, nothing if it counts nothing (logdb.MetricsReporter).
	Log logdb.Metrics
	// DiskFull says that free space is below the reserve.
	DiskFull bool
	// StorageStalled says that a write takes longer than Tuning.MaxStall.
	StorageStalled bool
	// StorageFailure is why the host takes no more writes until a restart, nil while it does.
	StorageFailure error
}

// ShardInfo is one shard as its replica here sees it.
type ShardInfo struct {
	ShardID, ReplicaID uint64
	Leader, Term       uint64 // Leader is 0 when none is known
	Leading            bool
	Applied            uint64 // index of the last entry that the state machine has applied
}

// PeerInfo counts the traffic with one other host.
type PeerInfo struct {
	Address  string
	Counters transport.Counters
}

// Info returns a copy. Safe for concurrent use; it costs time proportional to the number of shards and asks no step worker.
func (h *NodeHost) Info() Info {
	info := Info{
		Identity:       h.hostIdentity(),
		Engine:         h.engine.Counters(),
		Cache:          h.cache.Counters(),
		Peers:          h.transport.info(),
		DiskFull:       h.diskFull.Load(),
		StorageStalled: h.engine.StorageStalled(),
		StorageFailure: h.engine.StorageFailure(),
	}
	if reporter, ok := h.log.(logdb.MetricsReporter); ok {
		info.Log = reporter.Metrics()
	}
	for _, shard := range h.running() {
		leader, term := shard.replica.Leader()
		info.Shards = append(info.Shards, ShardInfo{
			ShardID: shard.replica.ShardID(), ReplicaID: shard.replica.ReplicaID(),
			Leader: leader, Term: term, Leading: shard.replica.Leading(), Applied: shard.replica.Applied(),
		})
	}
	return info
}

func (h *NodeHost) hostIdentity() transport.HostIdentity {
	id := &h.directory.identity
	return transport.HostIdentity{Deployment: id.deployment, HostID: id.hostID, Epoch: id.epoch, Address: id.address}
}

// running returns the handles of all shards that run here, ascending.
func (h *NodeHost) running() []*Shard {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*Shard, 0, len(h.shards))
	for _, shard := range h.shards {
		all = append(all, shard)
	}
	slices.SortFunc(all, func(a, b *Shard) int { return cmp.Compare(a.replica.ShardID(), b.replica.ShardID()) })
	return all
}
