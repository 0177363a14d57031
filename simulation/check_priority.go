package simulation

import (
	"github.com/flotilla-raft/flotilla/raftpb"
)

// led notes that a message of a leader has reached a place.
func (p *place) led(from *host, m *raftpb.Message) {
	if m.Type != raftpb.MessageHeartbeat && m.Type != raftpb.MessageReplicate {
		return
	}
	if log := p.host.disk.memory[keyOf(p)]; log != nil && m.Term >= log.state.Term {
		p.ledAt, p.ledBy = p.host.world.now, from.index
	}
}

// rankOf returns how much a member is wanted as leader.
func (s *shard) rankOf(c *configuration, member *raftpb.Member) int {
	if c.index == 0 {
		return s.world.plan.priorities[member.ReplicaID].Rank()
	}
	return member.Priority.Rank()
}

// outranked says whether a place is to lead last, and the membership that it knows has another voter that is to come before it: one that is there,
// is to stay, and is not on a certain host.
func (p *place) outranked(besides int) bool {
	c := p.shard.effective(p.host.disk.memory[keyOf(p)])
	self := findMember(&c.membership, p)
	if self == nil || p.shard.rankOf(c, self) > raftpb.PriorityLast.Rank() {
		return false
	}
	for i := range c.membership.Members {
		member := &c.membership.Members[i]
		if member.Kind == raftpb.Voter && member.Goal == raftpb.GoalStay && member.ReplicaID != self.ReplicaID && int(member.ReplicaID-1) != besides &&
			p.shard.rankOf(c, member) > raftpb.PriorityLast.Rank() {
			return true
		}
	}
	return false
}

// checkLastResort: who is to lead last gives way for two election timeouts on top of its own before it begins a term, so that others come first
// (R21). What it heard in the last moment may have come too late to stop it.
func (w *World) checkLastResort(p *place, term uint64) {
	timeout := int64(w.plan.raft.ElectionTimeout)
	ledAt, silent := p.ledAt, w.now-p.ledAt
	p.ledAt = 0 // a candidate that has not won tries again as any other
	if w.plan.rates[countNewTimeouts] > 0 || ledAt == 0 || silent < timeout/2 || silent > timeout*19/10 || p.host.jumped > ledAt || p.host.paused > ledAt || p.host.clock.pace != 1 ||
		p.told >= ledAt || !p.outranked(p.ledBy) {
		return
	}
	w.violate("priority", "%s is to lead last, and begins term %d although replica %d led no more than two election timeouts ago", p.describe(), term, p.ledBy+1)
}

// keepsTheLead says which replica leads that is to lead last and has not tried to hand over, though another one could take over; empty if none.
func (w *World) keepsTheLead() string {
	for _, s := range w.shards {
		for _, p := range s.places {
			if s.recoverable() && p.state == placeRunning && p.replica.Leading() && !p.handsOver && p.serves() && p.outranked(-1) && s.whole() {
				return p.describe() + " is to lead last and keeps the lead"
			}
		}
	}
	return ""
}
