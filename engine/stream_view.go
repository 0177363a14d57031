package engine

import (
	"context"
	"fmt"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// viewStream is a state machine on disk that is being sent: a view is prepared between two Updates, and its bytes, in the format of a
// snapshot's file, are made as they are sent. No file is written here; the receiver spools (R25).
//
// The job holds a place of a pool of its own until the last byte is confirmed, so that streams to slow receivers do not keep other replicas
// from taking their snapshots, and that no more than a window for each place is kept in memory, however many streams there are. A receiver that goes away, and a replica that stops, close the pipe, which ends the Save.
type viewStream struct {
	*userJob
	stream *outgoing
	pipe   *streamPipe
	close  func() error // of the image; nil while there is none
	saved  bool         // and it was called
	err    error
}

// openView begins to make a stream's bytes. It is called by the replica's step worker.
func (r *Replica) openView(stream *outgoing) {
	e := r.engine
	view := &viewStream{userJob: newUserJob("Save of its state machine to another host", r.shardID, r.replicaID), stream: stream}
	view.replica = r
	view.heldUp = func() bool { return view.pipe.heldUp() }
	yield := e.options.Yield
	if !e.options.coroutines {
		yield = nil
	}
	size := e.options.SnapshotChunkBytes
	view.pipe = newStreamPipe(size, uint64(e.options.SnapshotWindowBytes), e.sender.sig.set, yield, func(n int) { view.moved.Add(uint64(n)) })
	view.prepare = func() bool { return r.prepareView(view) }
	view.after = func() { r.viewOver(view) }
	if err := r.views.add(view); err != nil {
		e.sender.open(openedStream{stream: stream, replica: r, reason: raftpb.ReasonStopped, err: err})
		return
	}
	e.streaming.submit(view.userJob)
}

// prepareView fixes the state. It runs on the apply worker that has the replica.
func (r *Replica) prepareView(view *viewStream) bool {
	if view.err = context.Cause(view.ctx); view.err != nil {
		return false
	}
	image, err := r.machine.Prepare(view.ctx)
	if err != nil {
		view.err = r.snapshotError(err)
		return false
	}
	meta := image.Meta()
	meta.ShardID, meta.ReplicaID = r.shardID, r.replicaID
	if meta.Index < view.stream.least {
		view.err = fmt.Errorf("%w: its state stands at index %d, asked for is %d", ErrSnapshotFailed, meta.Index, view.stream.least)
		_ = image.Close()
		return false
	}
	r.applyQueue.hold(false)
	view.close = image.Close
	view.run = func() {
		view.err = r.snapshotError(errStreamClosed) // unless it comes to its end
		r.engine.sender.open(openedStream{stream: view.stream, replica: r, bytes: view.pipe, meta: meta})
		writer, err := snapshot.NewWriter(view.pipe, meta, snapshot.WriterOptions{Compress: r.snapshots.policy.Compress})
		if err == nil {
			err = image.Save(view.ctx, writer)
		}
		if err == nil {
			_, err = writer.Close()
		}
		view.err = err
		r.viewSaved(view)
		view.pipe.drain()
	}
	return true
}

// viewSaved lets go of the state machine, whatever became of the Save. The pipe's last bytes are still to be sent.
func (r *Replica) viewSaved(view *viewStream) {
	if view.err != nil {
		view.err = fmt.Errorf("%w: shard %d, replica %d: %w", ErrSnapshotFailed, r.shardID, r.replicaID, view.err)
	}
	view.pipe.finish(view.err)
	if view.close == nil {
		return
	}
	if err := view.close(); err != nil {
		r.engine.options.Logger.Warn("a view was not closed", "shard", r.shardID, "replica", r.replicaID, "error", err)
	}
	view.saved = true
	r.engine.submitOne(r, r.applyQueue.release())
}

// viewOver ends the job, whatever became of it.
func (r *Replica) viewOver(view *viewStream) {
	if cause := context.Cause(view.ctx); view.close == nil && view.err == nil && cause != nil {
		view.err = cause // it was canceled before it had a place
	}
	if !view.saved { // it never ran, or broke off
		r.viewSaved(view)
	}
	r.views.remove(view)
	if view.close == nil {
		r.engine.sender.open(openedStream{stream: view.stream, replica: r, reason: raftpb.ReasonNotReady, err: view.err})
	}
}
