package logdbtest

import (
	"fmt"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// Batch makes a stamped batch of count commands of size bytes each, whose contents depend on all arguments.
func Batch(shard, term, first uint64, count, size int) raftpb.Batch {
	var builder raftpb.Builder
	builder.Reset(nil)
	command := make([]byte, size)
	for i := range count {
		seed := shard*1_000_003 + term*10_007 + first + uint64(i)
		for j := range command {
			seed = seed*6364136223846793005 + 1442695040888963407
			command[j] = byte(seed >> 56)
		}
		builder.Add(command)
	}
	origin := raftpb.Origin{Replica: 1, Session: 7, Sequence: first}
	batch := builder.Seal(shard, raftpb.KindCommands, origin, 0)
	batch.Stamp(term, first)
	return batch
}

// cut returns the first entries of a batch, up to the one before index to.
func cut(batch raftpb.Batch, to uint64) raftpb.Batch {
	piece, err := batch.Cut(batch.First(), to)
	if err != nil {
		panic(err)
	}
	return piece
}

func key(shard, replica uint64) logdb.ReplicaKey {
	return logdb.ReplicaKey{ShardID: shard, ReplicaID: replica}
}

// saveBatches is a save of batches alone.
func saveBatches(key logdb.ReplicaKey, batches ...raftpb.Batch) *raftpb.Save {
	return &raftpb.Save{ShardID: key.ShardID, ReplicaID: key.ReplicaID, Batches: batches, MustSync: true}
}

// membership makes a membership whose contents depend on id.
func membership(id uint64) raftpb.Membership {
	m := raftpb.Membership{ID: id}
	for replica := uint64(1); replica <= 1+id%3; replica++ {
		m.Members = append(m.Members, raftpb.Member{
			ReplicaID:   replica,
			Kind:        raftpb.Voter,
			Incarnation: id*100 + replica,
			Address:     fmt.Sprintf("host%d:%d", replica, id),
			Goal:        raftpb.GoalVoter,
		})
	}
	return m
}

func config(index uint64) raftpb.ConfigRecord {
	return raftpb.ConfigRecord{Index: index, Membership: membership(index)}
}
