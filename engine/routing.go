package engine

import (
	"slices"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// The order in which one iteration's messages to a host are sent: Replicate first, since a follower's disk can start on it
// (thesis 10.2.1), then the rest of the bulk lane, then control, which has a connection of its own.
const (
	sendReplicate = iota
	sendBulk
	sendControl
	sendClasses
)

var laneOfClass = [sendClasses]transport.Lane{transport.LaneBulk, transport.LaneBulk, transport.LaneControl}

// outbox collects one step worker's messages to one host during an iteration. Owned by the step worker.
type outbox struct {
	peer     transport.Peer
	messages [sendClasses][]raftpb.Message
	queued   bool
	// replicas has the replicas with a member on that host, for telling them when it cannot be reached. A route knows its place
	// in there, so that leaving costs the same however many shards two hosts share.
	replicas []routed
	online   bool
	failure  error // why it is not online
}

// route says where a member of a replica's shard is.
type route struct {
	replicaID uint64
	outbox    *outbox
	place     int  // in outbox.replicas
	learned   bool // not from the membership but from where a message of it came from
}

// routed is a replica with a route to a host, and which of its routes that is.
type routed struct {
	replica *Replica
	route   int
}

func classOf(t raftpb.MessageType) int {
	switch {
	case t == raftpb.MessageReplicate || t == raftpb.MessageProbe:
		return sendReplicate
	case transport.LaneOf(t) == transport.LaneBulk:
		return sendBulk
	}
	return sendControl
}

// outboxOf returns the worker's outbox to an address.
func (w *StepWorker) outboxOf(address string) *outbox {
	if box, ok := w.outboxes[address]; ok {
		return box
	}
	box := &outbox{peer: w.engine.peer(address), online: true}
	w.outboxes[address] = box
	return box
}

// refreshRoutes follows the replica's effective membership.
func (w *StepWorker) refreshRoutes(r *Replica) {
	membership := r.core.Membership()
	if membership == r.routesOf {
		return
	}
	r.routesOf = membership
	before := slices.Clone(r.routes)
	w.dropRoutes(r)
	if membership == nil {
		return
	}
	for _, members := range [...][]raftpb.Member{membership.Members, membership.Outgoing} {
		for i := range members {
			if member := &members[i]; member.Address != "" && member.ReplicaID != r.replicaID {
				r.addRoute(route{replicaID: member.ReplicaID}, w.outboxOf(member.Address))
			}
		}
	}
	// Who is no member any more is still to be told so, and a membership that does not say where a member is does not make it unreachable.
	for _, former := range before {
		if len(r.routes) < maxRoutes+len(membership.Members) {
			r.addRoute(route{replicaID: former.replicaID, learned: true}, former.outbox)
		}
	}
}

// addRoute adds where a replica is, unless that is known. What the incoming configuration says comes first.
func (r *Replica) addRoute(added route, box *outbox) {
	if slices.ContainsFunc(r.routes, func(known route) bool { return known.replicaID == added.replicaID }) {
		return
	}
	r.routes = append(r.routes, added)
	r.lead(len(r.routes)-1, box)
}

func (w *StepWorker) dropRoutes(r *Replica) {
	for i := range r.routes {
		r.leave(i)
	}
	r.routes = r.routes[:0]
}

// lead makes a route of r lead to box; leave undoes it. The last one on the list takes the free place.
func (r *Replica) lead(route int, box *outbox) {
	r.routes[route].outbox, r.routes[route].place = box, len(box.replicas)
	box.replicas = append(box.replicas, routed{r, route})
}

func (r *Replica) leave(route int) {
	box, place := r.routes[route].outbox, r.routes[route].place
	last := len(box.replicas) - 1
	moved := box.replicas[last]
	box.replicas[place] = moved
	moved.replica.routes[moved.route].place = place
	box.replicas[last] = routed{}
	box.replicas = box.replicas[:last]
}

// learn remembers where a message came from, if the membership does not say: a joining replica answers its leader. What was learned
// follows its sender to another host.
func (w *StepWorker) learn(r *Replica, replicaID uint64, address string) {
	at := len(r.routes)
	for i := range r.routes {
		if r.routes[i].replicaID == replicaID {
			at = i
			break
		}
	}
	if at < len(r.routes) && !r.routes[at].learned || address == "" || at > maxRoutes {
		return
	}
	box := w.outboxOf(address)
	switch {
	case at == len(r.routes):
		r.routes = append(r.routes, route{replicaID: replicaID, learned: true})
	case r.routes[at].outbox == box:
		return
	default:
		r.leave(at)
	}
	r.lead(at, box)
}

// maxRoutes bounds what a replica learns from senders that no membership names.
const maxRoutes = 64

// post puts a message into the outbox of its destination's host; it is lost if nobody knows where that is.
func (w *StepWorker) post(r *Replica, m *raftpb.Message) {
	for i := range r.routes {
		if r.routes[i].replicaID != m.To {
			continue
		}
		box := r.routes[i].outbox
		class := classOf(m.Type)
		box.messages[class] = append(box.messages[class], *m)
		if !box.queued {
			box.queued = true
			w.posted = append(w.posted, box)
		}
		return
	}
	w.counters.unroutable++
}

// send hands the outboxes to the transport. What a transport refuses is told to the core that sent it: that follower goes
// back to probing, and forwarded proposals end.
func (w *StepWorker) send() {
	for _, box := range w.posted {
		box.queued = false
		for class := range box.messages {
			messages := box.messages[class]
			if len(messages) == 0 {
				continue
			}
			if n := w.engine.sendTo(box.peer, laneOfClass[class], messages); n < len(messages) {
				w.refused = append(w.refused, messages[n:]...)
			}
			clear(messages)
			box.messages[class] = messages[:0]
		}
	}
	w.posted = w.posted[:0]
	for i := range w.refused {
		m := &w.refused[i]
		if r := w.replicas[m.ShardID]; r != nil && r.replicaID == m.From && classOf(m.Type) != sendControl {
			w.unsent(r, m.To)
		}
	}
	clear(w.refused)
	w.refused = w.refused[:0]
}
