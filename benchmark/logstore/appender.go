package logstore

import (
	"time"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// appender appends to the log of one shard, one batch at a time.
type appender struct {
	gatherer *gatherer
	key      logdb.ReplicaKey
	batch    raftpb.Batch // stamped anew for each append; Save copies it
	keep     uint64       // entries that compaction leaves
	last     uint64
	cut      uint64 // last compacted entry
	number   uint64
	done     chan error
}

func newAppender(g *gatherer, shard uint64, payload, keepBytes int) *appender {
	var builder raftpb.Builder
	builder.Reset(nil)
	command := make([]byte, payload)
	for i := range command {
		command[i] = byte(uint64(i)*0x9E3779B1 + shard) // not compressible to nothing, and cheap
	}
	builder.Add(command)
	batch := builder.Seal(shard, raftpb.KindCommands, raftpb.Origin{Replica: 1, Session: 1, Sequence: 1}, 0)
	return &appender{
		gatherer: g, key: logdb.ReplicaKey{ShardID: shard, ReplicaID: 1}, batch: batch,
		keep: uint64(max(2, keepBytes/len(batch))), done: make(chan error, 1),
	}
}

// group returns the next write: a batch, and now and then the compaction of what is old.
func (a *appender) group() (logdb.Group, error) {
	group := a.gatherer.store.NewGroup()
	return group, a.addTo(group)
}

func (a *appender) addTo(group logdb.Group) error {
	a.last++
	a.number++
	a.batch.Stamp(1, a.last)
	save := raftpb.Save{
		ShardID: a.key.ShardID, ReplicaID: a.key.ReplicaID, Number: a.number,
		Batches: []raftpb.Batch{a.batch}, MustSync: true,
	}
	if a.last == 1 {
		save.Bootstrap = &raftpb.Bootstrap{Incarnation: a.key.ShardID, Complete: true}
		save.State, save.StateChanged = raftpb.HardState{Term: 1, Vote: 1}, true
	}
	if err := group.Save(&save); err != nil {
		return err
	}
	if a.last-a.cut > 2*a.keep {
		a.cut = a.last - a.keep
		group.Compact(a.key, a.cut, 1)
	}
	return nil
}

// run appends until stopped is closed, and notes how long each append took from begin on.
func (a *appender) run(stopped <-chan struct{}, measuring func() bool, record func(time.Duration)) error {
	for {
		select {
		case <-stopped:
			return nil
		default:
		}
		begin := time.Now()
		group, err := a.group()
		if err != nil {
			return err
		}
		a.gatherer.submit(group, a.done)
		if err := <-a.done; err != nil {
			return err
		}
		if measuring() {
			record(time.Since(begin))
		}
	}
}
