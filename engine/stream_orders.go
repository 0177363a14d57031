package engine

import (
	"slices"

	"github.com/flotilla-raft/flotilla/raft"
)

// receiveOrder begins a stream, or has it begin once nothing comes of the one under way, or says that this one is needless; with neither it
// gives up what is received for a replica. Orders are followed as they were given: a replica
// that begins anew may be sent a snapshot before this worker, in a long sync, has seen that what it received before was canceled.
type receiveOrder struct {
	replica  *Replica
	stream   *incoming
	needless bool
}

// begin starts to receive, at once or in the place of a stream of which nothing comes. The stream holds its replica's apply queue.
func (r *receiver) begin(stream *incoming) {
	r.order(receiveOrder{replica: stream.replica, stream: stream})
}

// endSilent gives up what is received for a replica if nothing comes of it.
func (r *receiver) endSilent(replica *Replica) {
	r.order(receiveOrder{replica: replica, needless: true})
}

// cancel gives up what is received for a replica.
func (r *receiver) cancel(replica *Replica) { r.order(receiveOrder{replica: replica}) }

func (r *receiver) order(order receiveOrder) {
	r.mu.Lock()
	r.orders = append(r.orders, order)
	r.mu.Unlock()
	r.sig.set()
}

// of returns what is received for a replica, nil if nothing is.
func (r *receiver) of(replica *Replica) *incoming {
	for _, stream := range r.streams {
		if stream.replica == replica {
			return stream
		}
	}
	return nil
}

func (r *receiver) follow(now raft.Instant, order receiveOrder) {
	current := r.of(order.replica)
	switch {
	case order.stream != nil && current == nil:
		r.add(now, order.stream)
	case order.stream != nil:
		r.dropInstead(current)
		current.instead, current.needless = order.stream, false
	case current == nil:
	case order.needless:
		current.needless = true
		if current.instead != nil { // or the leader's log would wait for its source, too
			current.instead.needless = true
		}
	default:
		r.remove(current)
		r.abandon(current)
		r.release(current)
	}
}

// add begins to pull.
func (r *receiver) add(now raft.Instant, stream *incoming) {
	stream.movedAt, stream.askAt, stream.pause = now, now, pullAgain
	r.streams = append(r.streams, stream)
	if stream.refused != nil {
		r.fail(now, stream, stream.reason, stream.refused)
	}
}

func (r *receiver) remove(stream *incoming) {
	r.dropInstead(stream)
	r.streams = slices.DeleteFunc(r.streams, func(other *incoming) bool { return other == stream })
}

// release lets go of a replica: until then it cannot be closed.
func (r *receiver) release(stream *incoming) {
	r.engine.submitOne(stream.replica, stream.replica.applyQueue.release())
}

func (r *receiver) dropInstead(stream *incoming) {
	if stream.instead != nil {
		r.release(stream.instead)
		stream.instead = nil
	}
}
