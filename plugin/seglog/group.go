package seglog

import (
	"encoding/binary"
	"fmt"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// retainedGroupBytes is the size up to which the memory of a group is kept for the next use.
const retainedGroupBytes = 4 << 20

// takenBytes is the size from which the memory of a group that is a whole Commit is taken as it is, and not copied.
const takenBytes = 16 << 10

// Group implements logdb.Group: records, encoded on the goroutine of the step worker that owns it, complete but for what
// depends on their place in the stream.
type Group struct {
	data []byte
	// room is the memory of data and what precedes it if that is large: a header's room, from a multiple of the block size on, so that
	// a group commit can take it as it is.
	room     []byte
	records  int
	mustSync bool
	// lasting says that there is more in it than hard states that nobody waits for: it is written at once.
	lasting bool
	scratch []byte
}

// begin makes room for a record with a body of length bytes and returns the body.
func (g *Group) begin(h recordHeader) []byte {
	start := len(g.data)
	size := recordBytes(int(h.length))
	if cap(g.data)-start < size {
		g.grow(2*cap(g.data) + size)
	}
	g.data = g.data[:start+size]
	end := start + recordHeaderSize + int(h.length)
	clear(g.data[end:])
	g.records++
	h.encode(g.data[start:])
	return g.data[start+recordHeaderSize : end]
}

// grow makes room for so many bytes of records, more than there is.
func (g *Group) grow(bytes int) {
	if bytes < takenBytes {
		g.data, g.room = append(make([]byte, 0, bytes), g.data...), nil
		return
	}
	g.room = alignedBuffer(headerSize + bytes)[:headerSize]
	g.data = append(g.room[headerSize:], g.data...)
}

// add adds a record whose body is given.
func (g *Group) add(kind recordKind, key logdb.ReplicaKey, body []byte) {
	copy(g.begin(recordHeader{kind: kind, key: key, length: uint32(len(body)), bodySum: bodySum(body, 0)}), body)
}

// addSave adds a record with a hard state, a truncation and a batch, as the flags say.
func (g *Group) addSave(
	kind recordKind, key logdb.ReplicaKey, flags byte, state raftpb.HardState, truncate uint64, batch raftpb.Batch,
) {
	var prefix [maxSavePrefix]byte
	start := appendSavePrefix(prefix[:0], flags, state, truncate)
	header := recordHeader{kind: kind, key: key, length: uint32(len(start) + len(batch))}
	begin := len(g.data)
	body := g.begin(header)
	copy(body, start)
	copy(body[len(start):], batch)
	at := 0
	if len(batch) > 0 {
		at = len(start)
	}
	le.PutUint32(g.data[begin+24:], bodySum(body, at))
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
		g.scratch = raftpb.AppendBootstrap(g.scratch[:0], *save.Bootstrap)
		g.add(recordBootstrap, key, g.scratch)
	}
	if save.Installing != nil {
		g.install(key, save.Installing)
	}
	if save.Installed {
		g.add(recordInstall, key, nil)
	}
	var flags byte
	if save.StateChanged {
		flags |= saveState
	}
	if save.TruncateFrom != 0 {
		flags |= saveTruncate
	}
	for _, batch := range save.Batches {
		g.addSave(recordSave, key, flags|saveBatch, save.State, save.TruncateFrom, batch)
		flags = 0
	}
	if flags != 0 {
		g.addSave(recordSave, key, flags, save.State, save.TruncateFrom, nil)
	}
	for _, config := range save.Configs {
		g.scratch = raftpb.AppendConfigRecord(g.scratch[:0], config)
		g.add(recordConfig, key, g.scratch)
	}
	g.mustSync = g.mustSync || save.MustSync
	g.lasting = g.lasting || save.MustSync || save.Bootstrap != nil || save.Installing != nil || save.Installed || save.TruncateFrom != 0 ||
		len(save.Batches) > 0 || len(save.Configs) > 0
	return nil
}

// install adds a record that removes the log, and what the log begins with then.
func (g *Group) install(key logdb.ReplicaKey, meta *raftpb.SnapshotMeta) {
	g.scratch = raftpb.AppendSnapshotMeta(g.scratch[:0], *meta)
	g.add(recordInstall, key, g.scratch)
	g.Compact(key, meta.Index, meta.Term)
	g.scratch = raftpb.AppendConfigRecord(g.scratch[:0], meta.Config)
	g.add(recordConfig, key, g.scratch)
}

func (g *Group) checkSize(save *raftpb.Save) error {
	size := len(g.data)
	for _, batch := range save.Batches {
		size += len(batch)
		if len(batch) > maxRecordBytes-maxSavePrefix {
			return fmt.Errorf("%w: shard %d replica %d: batch of %d bytes, want at most %d",
				logdb.ErrInvalidSave, save.ShardID, save.ReplicaID, len(batch), maxRecordBytes-maxSavePrefix)
		}
	}
	if size > maxGroupBytes {
		return fmt.Errorf("%w: shard %d replica %d: the group would reach %d bytes, want at most %d",
			logdb.ErrInvalidSave, save.ShardID, save.ReplicaID, size, maxGroupBytes)
	}
	return nil
}

// Compact removes whole batches from the front of a log.
func (g *Group) Compact(key logdb.ReplicaKey, index, term uint64) {
	g.compact(recordCompact, key, index, term)
}

func (g *Group) compact(kind recordKind, key logdb.ReplicaKey, index, term uint64) {
	g.scratch = binary.AppendUvarint(g.scratch[:0], index)
	g.scratch = binary.AppendUvarint(g.scratch, term)
	g.add(kind, key, g.scratch)
	g.lasting = true
}

// Remove removes everything of a replica. Whoever removes waits for it.
func (g *Group) Remove(key logdb.ReplicaKey) {
	g.add(recordRemove, key, nil)
	g.mustSync, g.lasting = true, true
}

// Bytes returns the length of the encoded group.
func (g *Group) Bytes() int { return len(g.data) }

// MustSync reports whether something in the group waits for durability.
func (g *Group) MustSync() bool { return g.mustSync }

// Empty reports whether nothing was added.
func (g *Group) Empty() bool { return g.records == 0 }

// reset makes the group empty and keeps its memory, unless that is large.
func (g *Group) reset() {
	*g = Group{data: g.data[:0], room: g.room, scratch: g.scratch}
	if cap(g.data) > retainedGroupBytes {
		g.data, g.room = nil, nil
	}
}
