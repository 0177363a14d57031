package simulation

import (
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// heard notes that a message has reached a place.
func (w *World) heard(target, from *host, m *raftpb.Message) {
	s := w.shardAt(target, m.ShardID)
	if s == nil {
		return
	}
	if p := target.places[s.id-1]; p != nil {
		p.heard[from.index] = w.now
		if m.Type == raftpb.MessageReplicateResponse || m.Type == raftpb.MessageHeartbeatResponse {
			if w.now-p.answered[from.index] > int64(w.plan.raft.ElectionTimeout)/2 {
				p.silence[from.index] = w.now
			}
			p.answered[from.index] = w.now
		}
		if m.Type == raftpb.MessageTimeoutNow {
			p.told = w.now
		}
		p.led(from, m)
		if w.network.ways[from.index][target.index].damage == 0 {
			p.checkTakes(m)
		}
	}
}

// inTouch says whether, with this one, a majority of the voters was heard here within the time before now.
func (p *place) inTouch(within time.Duration) bool {
	c := p.shard.effective(p.host.disk.memory[keyOf(p)])
	if c.index != 0 && p.host.world.now-c.at <= int64(within) {
		return true // with another membership in effect it counts from now on
	}
	return c.agreed(func(v voter) bool {
		at := p.heard[v.host]
		return v.host == p.host.index || at != 0 && p.host.world.now-at <= int64(within)
	})
}

// leaderPatience is how long a leader may go on that hears no majority: with check-quorum a little more than two election timeouts of
// a clock that may be slow, and more if its process stood still.
func (w *World) leaderPatience() time.Duration { return 5*w.plan.raft.ElectionTimeout + time.Second }

// checkDeposed: a leader that was cut off from a majority knows it in time (thesis 6.2), and one whose storage failed gives its
// leadership up (R9).
func (w *World) checkDeposed() {
	for _, h := range w.hosts {
		if !h.up || w.now-h.paused < int64(w.leaderPatience()) {
			continue
		}
		failed := h.disk.failed && h.disk.failedAt != 0 && w.now-h.disk.failedAt > int64(w.leaderPatience())
		for _, p := range h.places {
			switch {
			case p == nil || p.state != placeRunning || !p.replica.Leading():
			case failed:
				w.violate("failed storage", "shard %d: replica %d still leads %v after a write of its log store failed", p.shard.id, h.index+1,
					time.Duration(w.now-h.disk.failedAt))
			case p.failedFor() > w.leaderPatience():
				w.violate("quarantine", "shard %d: replica %d still leads %v after its state machine failed", p.shard.id, h.index+1, p.failedFor())
			case w.now-p.changedAt < int64(w.leaderPatience()): // others have to be heard since
			case !w.plan.raft.DisableCheckQuorum && !p.inTouch(w.leaderPatience()):
				w.violate("check-quorum", "shard %d: replica %d still leads although it has heard no majority for %v", p.shard.id, h.index+1, w.leaderPatience())
			}
		}
	}
}

// checkCampaign: with pre-vote a replica begins a term only after a majority said that it would win (thesis 9.6), or when the
// leader told it to. So one that is cut off does not drive the term up.
func (w *World) checkCampaign(h *host, u *update, before raftpb.HardState) {
	p := h.places[u.key.ShardID-1]
	campaigns := u.stateSet && u.state.Vote == u.key.ReplicaID && (u.state.Term != before.Term || before.Vote == 0)
	if campaigns && p != nil && p.failedFor() > time.Second {
		w.violate("quarantine", "shard %d: replica %d begins term %d %v after its state machine failed", p.shard.id, u.key.ReplicaID, u.state.Term, p.failedFor())
	}
	if campaigns && p != nil {
		w.checkLastResort(p, u.state.Term)
	}
	if !campaigns || p == nil || w.plan.raft.DisablePreVote {
		return
	}
	attempt := 4*w.plan.raft.ElectionTimeout + 100*time.Millisecond
	if w.now-h.paused <= int64(attempt) { // what it had heard before its process stood still it has heard
		attempt += time.Duration(h.paused - h.pausedAt)
	}
	if p.told != 0 && w.now-p.told <= int64(attempt) {
		return
	}
	if !p.inTouch(attempt) {
		w.violate("pre-vote", "shard %d: replica %d begins term %d although it has heard no majority for %v", p.shard.id, u.key.ReplicaID, u.state.Term, attempt)
	}
}
