package engine

import (
	"errors"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

var errNothingComes = errors.New("nothing comes")

// pull asks for more where that is due, gives up streams of which nothing comes, and returns when to look again.
func (r *receiver) pull(now raft.Instant) (next raft.Instant) {
	next = raft.Never
	for i := 0; i < len(r.streams); {
		stream := r.streams[i]
		if now-stream.movedAt >= stream.patience() {
			r.fail(now, stream, raftpb.ReasonNotReady, errNothingComes)
			continue
		}
		i++
		if stream.askAt <= now {
			r.askAgain(now, stream, raftpb.ReasonNone)
		} else {
			r.pullMore(stream)
		}
		next = min(next, stream.askAt, stream.movedAt+stream.patience())
	}
	return next
}

// pullMore asks for more once half of the window has come. That is looked at after each chunk: the source goes on while others wait here, where it would
// otherwise find nothing to do until all of them were written.
func (r *receiver) pullMore(stream *incoming) {
	if window := stream.window(r.engine); stream.asked < stream.offset+window/2 && (stream.total == 0 || stream.asked < stream.total) {
		r.send(stream, window, raftpb.ReasonNone)
	}
}

// patience is how long nothing may come. It is long, so that a stream goes on after a long cut, unless there is another way: then
// the replica, which is busy to appends meanwhile, is not to miss it because its source has died.
func (i *incoming) patience() raft.Instant {
	if i.instead != nil || i.needless {
		return raft.Instant(sourceSilent)
	}
	return raft.Instant(streamIdle)
}

// window is how much may be in flight. It bounds what a cut costs, so it grows with the snapshot, or while its length is not known with
// what has come, from two chunks up to the limit.
func (i *incoming) window(e *Engine) uint64 {
	part := max(i.total, i.offset) / windowPart
	return min(max(part, uint64(2*e.options.SnapshotChunkBytes)), uint64(e.options.SnapshotWindowBytes))
}

// askAgain asks for what did not come, later each time. With a reason it is lost for sure.
func (r *receiver) askAgain(now raft.Instant, stream *incoming, reason raftpb.Reason) {
	stream.attempt++
	stream.askAt = now + raft.Instant(stream.pause)
	stream.pause = min(2*stream.pause, pullAgainMost)
	if r.send(stream, stream.window(r.engine), reason) == 0 {
		stream.askAt = now + raft.Instant(sendAgain) // the connection is being made
	}
}

// send sends a pull.
func (r *receiver) send(stream *incoming, window uint64, reason raftpb.Reason) int {
	in := &stream.install
	stream.asked = stream.offset + window
	return r.engine.sendTo(stream.peer, transport.LaneSnapshot, []raftpb.Message{{
		Type: raftpb.MessageSnapshotPull, ShardID: in.ShardID, From: in.ReplicaID, To: in.Source, FromSession: stream.replica.session,
		ToSession: stream.life, HintIndex: in.StreamID, LogIndex: in.LogIndex, HintTerm: stream.offset, Backlog: window,
		Request: stream.attempt, Reason: reason,
	}})
}
