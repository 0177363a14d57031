package engine

import "github.com/flotilla-raft/flotilla/raft"

// followerEvent passes on what became of a follower; why it went offline the link knows, if it was that.
func (w *StepWorker) followerEvent(r *Replica, event *raft.Event, out *Event) {
	switch event.Kind {
	case raft.EventFollowerCreated:
		out.Kind = EventFollowerCreated
	case raft.EventFollowerOnline:
		out.Kind = EventFollowerOnline
	case raft.EventFollowerDestroyed:
		out.Kind = EventFollowerDestroyed
	case raft.EventFollowerStuck:
		out.Kind = EventFollowerStuck
		w.counters.stuck++
		w.engine.options.Logger.Warn("a follower answers and does not get on", "shard", r.shardID, "follower", event.Replica, "entry", event.ID)
	case raft.EventFollowerOffline:
		out.Kind = EventFollowerOffline
		for i := range r.routes {
			if r.routes[i].replicaID == event.Replica {
				out.Err = r.routes[i].outbox.failure
			}
		}
	}
}
