package pebblelog

import (
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"
	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// maxGroupBytes limits a group, and all groups of one Commit together: a Pebble batch ends at 4 GiB.
const maxGroupBytes = 1 << 30

// retainedGroupBytes is the size up to which the memory of a group is kept for the next use.
const retainedGroupBytes = 4 << 20

// Group implements logdb.Group: it is a Pebble batch, filled on the goroutine of the step worker that owns it. The bytes
// of a Raft batch are copied once here, straight into the place that Pebble writes to its log from.
type Group struct {
	batch    *pebble.Batch
	mustSync bool
	// key and value are for encoding records, kept between calls.
	key, value []byte
}

// Save adds what one replica wants written.
func (g *Group) Save(save *raftpb.Save) error {
	if err := logdb.CheckSave(save); err != nil {
		return err
	}
	if err := g.checkSize(save); err != nil {
		return err
	}
	key := logdb.ReplicaKey{ShardID: save.ShardID, ReplicaID: save.ReplicaID}
	if save.Bootstrap != nil {
		g.key = appendRecordKey(g.key[:0], key, recordBootstrap)
		g.value = raftpb.AppendBootstrap(g.value[:0], *save.Bootstrap)
		g.setRecord()
	}
	if save.StateChanged {
		g.key = appendRecordKey(g.key[:0], key, recordState)
		g.value = raftpb.AppendHardState(g.value[:0], save.State)
		g.setRecord()
	}
	if save.Installing != nil {
		g.install(key, save.Installing)
	}
	if save.Installed {
		g.key = appendRecordKey(g.key[:0], key, recordInstalling)
		must(g.batch.Delete(g.key, nil))
	}
	if save.TruncateFrom != 0 {
		g.truncate(key, save.TruncateFrom)
	}
	for _, batch := range save.Batches {
		g.append(key, batch)
	}
	for _, config := range save.Configs {
		g.key = appendConfigKey(g.key[:0], key, config.Index)
		g.value = raftpb.AppendConfigRecord(g.value[:0], config)
		g.setRecord()
	}
	g.mustSync = g.mustSync || save.MustSync
	return nil
}

func (g *Group) checkSize(save *raftpb.Save) error {
	size := g.batch.Len()
	for _, batch := range save.Batches {
		size += len(batch)
	}
	if size > maxGroupBytes {
		return fmt.Errorf("%w: shard %d replica %d: the group would reach %d bytes, want at most %d",
			logdb.ErrInvalidSave, save.ShardID, save.ReplicaID, size, maxGroupBytes)
	}
	return nil
}

// append adds one batch without an intermediate copy.
func (g *Group) append(key logdb.ReplicaKey, batch raftpb.Batch) {
	operation := g.batch.SetDeferred(batchKeyLength, len(batch))
	appendBatchKey(operation.Key[:0], key, batch.Last())
	copy(operation.Value, batch)
	must(operation.Finish())
}

// setRecord adds the record in g.key and g.value.
func (g *Group) setRecord() {
	g.value = appendChecksum(g.key, g.value)
	must(g.batch.Set(g.key, g.value, nil))
}

// truncate deletes all batches with an index at or above from. Since from is the first index of a stored batch, these
// are the batches whose last index is at or above it. Operations of a Pebble batch apply in order, so what the
// same save appends afterwards stays.
func (g *Group) truncate(key logdb.ReplicaKey, from uint64) {
	g.key = appendBatchKey(g.key[:0], key, from)
	g.value = appendPrefixEnd(g.value[:0], spaceBatches, key)
	must(g.batch.DeleteRange(g.key, g.value, nil))
	g.removeConfigs(key, from)
}

// removeConfigs deletes the memberships at or above an index.
func (g *Group) removeConfigs(key logdb.ReplicaKey, from uint64) {
	g.key = appendConfigKey(g.key[:0], key, from)
	g.value = appendRecordKey(g.value[:0], key, recordConfig+1)
	must(g.batch.DeleteRange(g.key, g.value, nil))
}

// install removes the log and begins it anew behind a snapshot, whose membership is the first of it.
func (g *Group) install(key logdb.ReplicaKey, meta *raftpb.SnapshotMeta) {
	g.key = appendPrefix(g.key[:0], spaceBatches, key)
	g.value = appendPrefixEnd(g.value[:0], spaceBatches, key)
	must(g.batch.DeleteRange(g.key, g.value, nil))
	g.removeConfigs(key, 0)
	g.key = appendRecordKey(g.key[:0], key, recordCompaction)
	g.value = appendCompaction(g.value[:0], compaction{meta.Index, meta.Term})
	g.setRecord()
	g.key = appendConfigKey(g.key[:0], key, meta.Config.Index)
	g.value = raftpb.AppendConfigRecord(g.value[:0], meta.Config)
	g.setRecord()
	g.key = appendRecordKey(g.key[:0], key, recordInstalling)
	g.value = raftpb.AppendSnapshotMeta(g.value[:0], *meta)
	g.setRecord()
}

// Compact removes whole batches from the front of a log. Nothing has to be looked up for it, which is why batches are
// keyed by their last index: a batch that reaches beyond index keeps its place.
func (g *Group) Compact(key logdb.ReplicaKey, index, term uint64) {
	g.key = appendRecordKey(g.key[:0], key, recordCompaction)
	g.value = appendCompaction(g.value[:0], compaction{index, term})
	g.setRecord()
	g.key = appendBatchKey(g.key[:0], key, 0)
	if index == math.MaxUint64 {
		g.value = appendPrefixEnd(g.value[:0], spaceBatches, key)
	} else {
		g.value = appendBatchKey(g.value[:0], key, index+1)
	}
	must(g.batch.DeleteRange(g.key, g.value, nil))
}

// Remove removes everything of a replica. Whoever removes waits for it.
func (g *Group) Remove(key logdb.ReplicaKey) {
	g.mustSync = true
	for _, space := range [...]byte{spaceBatches, spaceRecords} {
		g.key = appendPrefix(g.key[:0], space, key)
		g.value = appendPrefixEnd(g.value[:0], space, key)
		must(g.batch.DeleteRange(g.key, g.value, nil))
	}
}

// Bytes returns the length of the encoded group.
func (g *Group) Bytes() int {
	if g.batch.Empty() {
		return 0
	}
	return g.batch.Len()
}

// MustSync reports whether a save in the group has MustSync.
func (g *Group) MustSync() bool { return g.mustSync }

// Empty reports whether nothing was added.
func (g *Group) Empty() bool { return g.batch.Empty() }

// reset makes the group empty and keeps its memory.
func (g *Group) reset() {
	g.batch.Reset()
	g.mustSync = false
}

// must is for methods of a Pebble batch that return an error only from an index, which a group has not.
func must(err error) {
	if err != nil {
		invariant.Fail("a write to an unindexed batch failed: %v", err)
	}
}
