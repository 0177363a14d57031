package engine

import (
	"errors"
	"fmt"
	"hash/crc32"
	"sync"
	"syscall"
	"time"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
	"github.com/flotilla-raft/flotilla/transport"
)

const (
	// sourceSilent is how long a source that another one may take the place of may be silent. One that lives is heard every half second.
	sourceSilent = 2 * time.Second
	// pullAgain is how long nothing may come until the receiver asks again; the pause doubles up to pullAgainMost.
	pullAgain     = time.Second
	pullAgainMost = 8 * time.Second
	// windowPart bounds what a cut can cost: at most one part in so many of the snapshot is under way.
	windowPart = 64
	// snapshotReceivers is how many workers receive, so that one which syncs a large snapshot holds up some of the shards only.
	snapshotReceivers = 2
	// maxChunkBytesWaiting bounds the chunks that wait for one receiver; more are dropped, and asked for again.
	maxChunkBytesWaiting = 64 << 20
)

// incoming is a snapshot that is being received. Owned by the receiver's RunOnce.
type incoming struct {
	replica *Replica
	install raft.Install
	peer    transport.Peer
	address string
	refused error // why it cannot even be asked for; with reason
	reason  raftpb.Reason
	// instead takes its place when nothing comes of it; needless says that the leader needs no snapshot to go on. Either is said by a leader
	// that may be wrong about the source, so what moves goes on.
	instead  *incoming
	needless bool
	pending  *snapshot.Pending // nil until the first byte
	check    *snapshot.Check

	life        uint64 // of the source's stream; 0 until something came
	index, term uint64
	approved    bool // the metadata have come, and are what this replica can use
	offset      uint64
	total       uint64 // 0 while it is not known
	asked       uint64 // up to where the source may send
	attempt     uint64
	gapAt       uint64 // where a gap was met, so that it is reported once; plus one
	pause       time.Duration
	askAt       raft.Instant
	movedAt     raft.Instant
}

// receiver is the worker that receives the snapshots of some of the shards: it pulls, checks what comes, spools it into a pending file,
// and hands a whole one that is durable to the step worker (install.go). It writes and syncs, and so waits for the disk; nobody
// waits for it.
//
// What is lost, late, doubled or out of order is dealt with in one way: chunks are taken only where the last one ended, and the receiver asks
// again, from there, when it sees a gap or nothing has come for a while. A cut costs what was in flight, which is at most one part in
// windowPart of the snapshot.
type receiver struct {
	engine *Engine
	name   string
	sig    signal

	mu      sync.Mutex
	orders  []receiveOrder
	chunks  []received
	waiting int // bytes of chunks

	streams []*incoming // owned by RunOnce
	work    []received
}

func (r *receiver) Name() string    { return r.name }
func (r *receiver) Ready() bool     { return r.sig.ready() }
func (r *receiver) signal() *signal { return &r.sig }

// receiverOf spreads shards over the receivers.
func (e *Engine) receiverOf(shardID uint64) *receiver {
	return e.receivers[shardID%uint64(len(e.receivers))]
}

// receiveStreams takes what came on the lane of snapshots.
func (e *Engine) receiveStreams(messages []raftpb.Message, from string) {
	e.sender.receive(messages, from)
	for _, r := range e.receivers {
		r.receive(messages, from)
	}
}

// receive takes chunks, all of whose bytes are ours. Safe for concurrent use.
func (r *receiver) receive(messages []raftpb.Message, from string) {
	added := false
	r.mu.Lock()
	for i := range messages {
		m := &messages[i]
		if m.Type != raftpb.MessageSnapshotChunk || r.engine.receiverOf(m.ShardID) != r || r.waiting+len(m.Payload) > maxChunkBytesWaiting {
			continue
		}
		r.waiting += len(m.Payload) + 1
		r.chunks = append(r.chunks, received{*m, from})
		added = true
	}
	r.mu.Unlock()
	if added {
		r.sig.set()
	}
}

// RunOnce takes what came.
func (r *receiver) RunOnce(now raft.Instant) raft.Instant {
	r.sig.clear()
	r.mu.Lock()
	orders, chunks := r.orders, r.chunks
	r.orders, r.chunks, r.waiting = nil, r.work[:0], 0
	r.mu.Unlock()
	for _, order := range orders {
		r.follow(now, order)
	}
	for i := range chunks {
		r.take(now, &chunks[i].message)
	}
	clear(chunks)
	r.work = recycled(chunks)
	return r.pull(now)
}

func (r *receiver) abandon(stream *incoming) {
	if stream.pending == nil {
		return
	}
	if err := stream.pending.Abandon(); err != nil {
		r.engine.options.Logger.Warn("what is left of a snapshot stays until the next start", "shard", stream.install.ShardID, "error", err)
	}
	stream.pending = nil
}

// end ends a stream, and tells the step worker what became of it. The queue is released last.
func (r *receiver) end(stream *incoming, tell func(w *StepWorker)) {
	r.remove(stream)
	r.abandon(stream)
	stream.replica.worker.control(tell)
	r.release(stream)
}

// fail gives a stream up, for the one that waits to take its place if there is one.
func (r *receiver) fail(now raft.Instant, stream *incoming, reason raftpb.Reason, cause error) {
	in := &stream.install
	err := fmt.Errorf("%w: shard %d, from replica %d at %s: at byte %d of %d: %w", ErrStreamFailed, in.ShardID, in.Source, stream.address,
		stream.offset, stream.total, cause)
	instead := stream.instead
	stream.instead = nil
	r.end(stream, func(w *StepWorker) { w.receiveFailed(stream, reason, err) })
	if instead != nil {
		r.add(now, instead)
	}
}

// find returns the stream that a chunk belongs to.
func (r *receiver) find(m *raftpb.Message) *incoming {
	for _, stream := range r.streams {
		in := &stream.install
		if in.ShardID == m.ShardID && in.ReplicaID == m.To && in.Source == m.From && in.StreamID == m.HintIndex && stream.replica.session == m.ToSession {
			return stream
		}
	}
	return nil
}

// take follows one chunk.
func (r *receiver) take(now raft.Instant, m *raftpb.Message) {
	stream := r.find(m)
	if stream == nil {
		r.engine.counts.chunksStray.Add(1)
		return
	}
	if m.Reason != raftpb.ReasonNone {
		r.fail(now, stream, m.Reason, fmt.Errorf("its source has none, or no more: %v", m.Reason))
		return
	}
	if !r.sameLife(now, stream, m) {
		return
	}
	stream.movedAt = now
	if m.Commit > 0 {
		stream.total = m.Commit
	}
	if len(m.Payload) > 0 && !r.store(now, stream, m) {
		return
	}
	if stream.total > 0 && stream.offset >= stream.total {
		r.finish(now, stream)
		return
	}
	r.pullMore(stream)
}

// sameLife sees to it that bytes of two lives of a source's stream are never mixed: a source that was started again, or had given the stream up,
// sends another file under the same number. Then the receiver begins anew with it.
func (r *receiver) sameLife(now raft.Instant, stream *incoming, m *raftpb.Message) bool {
	if m.LogIndex == 0 { // a sign of life of a source that has no snapshot yet
		stream.movedAt = now
		return false
	}
	if stream.life == m.FromSession {
		return m.LogIndex == stream.index && m.LogTerm == stream.term
	}
	if m.HintTerm != 0 { // the old life's, or the new one's beginning is lost
		return false
	}
	if stream.offset > 0 {
		r.engine.counts.streamsRestarted.Add(1)
		stream.attempt++
	}
	r.abandon(stream)
	stream.life, stream.index, stream.term = m.FromSession, m.LogIndex, m.LogTerm
	stream.check, stream.approved, stream.offset, stream.total, stream.asked, stream.gapAt = snapshot.NewCheck(), false, 0, 0, 0, 0
	return true
}

// store takes a chunk's bytes, if they follow what is there. It returns false if there is nothing more to do with the chunk.
func (r *receiver) store(now raft.Instant, stream *incoming, m *raftpb.Message) bool {
	end := m.HintTerm + uint64(len(m.Payload))
	switch {
	case m.HintTerm > stream.offset:
		if stream.gapAt != stream.offset+1 { // the first one that shows it
			stream.gapAt = stream.offset + 1
			r.askAgain(now, stream, raftpb.ReasonConflict)
		}
		return false
	case end <= stream.offset: // again
		return false
	case uint64(crc32.Checksum(m.Payload, castagnoli)) != m.Request:
		r.engine.counts.chunksDamaged.Add(1)
		r.askAgain(now, stream, raftpb.ReasonConflict)
		return false
	case stream.total > 0 && end > stream.total:
		r.fail(now, stream, raftpb.ReasonDamaged, fmt.Errorf("%w: a chunk up to byte %d", snapshot.ErrDamaged, end))
		return false
	}
	data := m.Payload[stream.offset-m.HintTerm:]
	if err := r.write(stream, data); err != nil {
		r.doubt(stream, err)
		r.fail(now, stream, reasonOfReceive(err), err)
		return false
	}
	stream.offset = end
	stream.pause, stream.askAt = pullAgain, now+raft.Instant(pullAgain)
	r.engine.counts.streamBytesReceived.Add(uint64(len(data)))
	return true
}

// write checks bytes and spools them.
func (r *receiver) write(stream *incoming, data []byte) (err error) {
	if r.engine.full.Load() {
		return fmt.Errorf("%w: nothing is received", ErrDiskFull)
	}
	if _, err := stream.check.Write(data); err != nil {
		return err
	}
	if meta, known := stream.check.Meta(); known && !stream.approved {
		if err := stream.approve(&meta); err != nil {
			return err
		}
	}
	if stream.pending == nil {
		if stream.pending, err = r.engine.options.Snapshots.Create(); err != nil {
			return err
		}
	}
	_, err = stream.pending.Write(data)
	return err
}

// approve refuses a snapshot that this replica could not recover from, before anything of it has an effect.
func (i *incoming) approve(meta *raftpb.SnapshotMeta) error {
	switch in := &i.install; {
	case meta.ShardID != in.ShardID:
		return fmt.Errorf("%w: it is of shard %d", snapshot.ErrForeign, meta.ShardID)
	case meta.Index != i.index || meta.Term != i.term:
		return fmt.Errorf("%w: it stands at index %d of term %d, announced was %d of %d", snapshot.ErrForeign, meta.Index, meta.Term, i.index, i.term)
	case meta.Index < in.LogIndex || meta.Index == in.LogIndex && meta.Term != in.LogTerm:
		return fmt.Errorf("%w: it stands at index %d of term %d, asked for is %d of %d", snapshot.ErrForeign, meta.Index, meta.Term, in.LogIndex, in.LogTerm)
	}
	if err := i.replica.machine.Accepts(meta); err != nil {
		return err
	}
	i.approved = true
	return nil
}

// finish makes a whole snapshot durable.
func (r *receiver) finish(now raft.Instant, stream *incoming) {
	summary, err := stream.check.Close()
	if err != nil {
		r.doubt(stream, err)
		r.fail(now, stream, raftpb.ReasonDamaged, err)
		return
	}
	// The farewell: the source need not wait for more. If it is lost the source finds out by itself.
	stream.asked = stream.offset
	r.send(stream, 0, raftpb.ReasonNone)
	replica := stream.replica
	name := snapshot.Name{ShardID: replica.shardID, ReplicaID: replica.replicaID, Index: summary.Meta.Index}
	// One that says less than what is applied here is not published: it might take the place of one that was taken here.
	if replica.machine.Applied() < name.Index {
		pending := stream.pending
		stream.pending = nil
		if err := r.engine.options.Snapshots.Publish(snapshot.Finished{Pending: pending, Name: name}); err != nil {
			r.fail(now, stream, reasonOfReceive(err), err)
			return
		}
	}
	r.engine.counts.streamsReceived.Add(1)
	r.end(stream, func(w *StepWorker) { w.receivedSnapshot(stream, summary) })
}

// reasonOfReceive says to the leader why nothing was received.
func reasonOfReceive(err error) raftpb.Reason {
	switch {
	case errors.Is(err, ErrDiskFull), errors.Is(err, syscall.ENOSPC):
		return raftpb.ReasonFull
	case errors.Is(err, snapshot.ErrDamaged), errors.Is(err, snapshot.ErrForeign), errors.Is(err, snapshot.ErrVersion), errors.Is(err, snapshot.ErrTruncated):
		return raftpb.ReasonDamaged
	}
	return raftpb.ReasonFailed
}
