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
	commands uint64       // in the batch
	keep     uint64       // entries that compaction leaves
	slack    uint64       // entries above that before it is compacted
	lead     uint64       // entries by which the first compaction is early
	last     uint64
	cut      uint64 // last compacted entry
	number   uint64
	configs  []raftpb.ConfigRecord // of the first save
	done     chan error
}

// newAppender returns an appender of batches with a number of commands, of payload bytes each.
func newAppender(g *gatherer, shard uint64, payload, commands, keepBytes int) *appender {
	var builder raftpb.Builder
	builder.Reset(nil)
	command := make([]byte, payload)
	for i := range command {
		command[i] = byte(uint64(i)*0x9E3779B1 + shard) // not compressible to nothing, and cheap
	}
	for range commands {
		builder.Add(command)
	}
	batch := builder.Seal(shard, raftpb.KindCommands, raftpb.Origin{Replica: 1, Session: 1, Sequence: 1}, 0)
	keep := uint64(commands * max(2, keepBytes/len(batch)))
	return &appender{
		gatherer: g, key: logdb.ReplicaKey{ShardID: shard, ReplicaID: 1}, batch: batch, commands: uint64(commands),
		keep: keep, slack: keep, done: make(chan error, 1),
	}
}

// group returns the next write: a batch, and now and then the compaction of what is old.
func (a *appender) group() (logdb.Group, error) {
	group := a.gatherer.store.NewGroup()
	return group, a.addTo(group)
}

func (a *appender) addTo(group logdb.Group) error {
	first := a.last == 0
	a.batch.Stamp(1, a.last+1)
	a.last += a.commands
	a.number++
	save := raftpb.Save{
		ShardID: a.key.ShardID, ReplicaID: a.key.ReplicaID, Number: a.number,
		Batches: []raftpb.Batch{a.batch}, MustSync: true,
	}
	if first {
		save.Bootstrap = &raftpb.Bootstrap{Incarnation: a.key.ShardID, Complete: true}
		save.State, save.StateChanged = raftpb.HardState{Term: 1, Vote: 1}, true
		save.Configs = a.configs
	}
	if err := group.Save(&save); err != nil {
		return err
	}
	if a.last-a.cut > a.keep+a.slack-a.lead {
		a.cut, a.lead = a.last-a.keep, 0
		group.Compact(a.key, a.cut, 1)
	}
	return nil
}

// compact removes all but what is kept at least, and waits until that is done.
func (a *appender) compact() error {
	a.cut = max(a.cut, a.last-min(a.last, a.keep))
	group := a.gatherer.store.NewGroup()
	group.Compact(a.key, a.cut, 1)
	a.gatherer.submit(group, a.done)
	return <-a.done
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

// live returns the bytes of the batches that are not compacted away.
func (a *appender) live() int64 { return int64((a.last-a.cut)/a.commands) * int64(len(a.batch)) }
