package simulation

import (
	"fmt"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// checkChange looks at a membership as its leader writes it: it follows one that is decided, after an entry of the leader's own term was,
// and no two disjoint sets of replicas could decide by the one and by the other (R17).
func (s *shard) checkChange(save *raftpb.Save, c *configuration) {
	w := s.world
	h := w.hosts[save.ReplicaID-1]
	m := h.disk.memory[keyOfShard(s, h)]
	previous := s.effective(m)
	if c.membership.Joint() {
		w.counters.add(countJoint, 1)
	}
	if c.index == 1 {
		return // the first leader records the first members
	}
	s.checkAsked(previous, c)
	s.proveByTime(previous.index, previous.term)
	s.proveByTime(c.index-1, c.term)
	switch {
	case !overlapping(previous, c):
		w.violate("membership", "shard %d: replica %d puts membership %d after %d in term %d, and two disjoint majorities could decide: %v after %v",
			s.id, save.ReplicaID, c.index, previous.index, c.term, c.sets, previous.sets)
	case previous.index > s.proven:
		w.violate("membership", "shard %d: replica %d puts membership %d after %d in term %d, which is not decided yet", s.id, save.ReplicaID,
			c.index, previous.index, c.term)
	case m == nil || s.proven == 0 || m.entries[min(s.proven, m.last())-1].term != c.term:
		w.violate("membership", "shard %d: replica %d changes the membership in term %d before an entry of that term is decided", s.id,
			save.ReplicaID, c.term)
	}
}

// overlapping says whether every majority by one configuration meets every majority by the other. A voter in another incarnation is
// another voter.
func overlapping(a, b *configuration) bool {
	var voters []voter
	position := func(v voter) int {
		for i, known := range voters {
			if known.host == v.host && (known.incarnation == v.incarnation || known.incarnation == 0 || v.incarnation == 0) {
				return i
			}
		}
		voters = append(voters, v)
		return len(voters) - 1
	}
	for _, c := range []*configuration{a, b} {
		for _, set := range c.sets {
			for _, v := range set {
				position(v)
			}
		}
	}
	for chosen := range 1 << len(voters) {
		if a.agreed(func(v voter) bool { return chosen&(1<<position(v)) != 0 }) &&
			b.agreed(func(v voter) bool { return chosen&(1<<position(v)) == 0 }) {
			return false
		}
	}
	return true
}

// checkDone looks at the membership that ends a change: it is decided, and nothing is left to do in it.
func (s *shard) checkDone(m *raftpb.Membership) {
	done := !m.Joint() && m.ID <= s.proven
	for i := range m.Members {
		done = done && m.Members[i].Goal == raftpb.GoalStay
	}
	if !done {
		s.world.violate("membership", "shard %d: a change is said to be done with membership %+v, decided is up to entry %d", s.id, *m, s.proven)
	}
}

// present returns the membership that the newest leader has, the newest decided one if there is none. Those who follow what state
// machines are given do not know of a membership that no command came after.
func (s *shard) present() *configuration {
	found, highest := s.committedConfiguration(), uint64(0)
	for _, p := range s.places {
		if p.state != placeRunning || !p.replica.Leading() {
			continue
		}
		if _, term := p.replica.Leader(); term > highest {
			found, highest = s.effective(p.host.disk.memory[keyOf(p)]), term
		}
	}
	return found
}

// belongs says whether the present membership has a place.
func (p *place) belongs() bool { return findMember(&p.shard.present().membership, p) != nil }

// ought says whether the present membership has a place as a voter.
func (p *place) ought() bool {
	member := findMember(&p.shard.present().membership, p)
	return member != nil && member.Kind == raftpb.Voter
}

// serves says whether a place has to answer once all faults are gone.
func (p *place) serves() bool { return p.belongs() && !p.lost && !p.removed }

// unfinished says which change of a shard has not come to an end, though everything runs; empty if none.
func (w *World) unfinished() string {
	for _, s := range w.shards {
		if s.recoverable() && s.left(s.present()) {
			return fmt.Sprintf("shard %d has not finished the change of its members", s.id)
		}
	}
	for _, c := range w.changes {
		if c.shard.recoverable() && c.host.up && c.host.life == c.life {
			return fmt.Sprintf("a change of the members of shard %d has not ended", c.shard.id)
		}
	}
	return w.keepsTheLead()
}

// left says whether whoever leads has something to do in the decided membership. A learner that never starts again is waited for in
// vain.
func (s *shard) left(c *configuration) bool {
	left := c.membership.Joint()
	for i := range c.membership.Members {
		member := &c.membership.Members[i]
		if member.Goal == raftpb.GoalStay {
			continue
		}
		left = true
		for _, p := range s.places {
			if p.host.index == int(member.ReplicaID-1) && p.state != placeRunning && p.lost {
				return false
			}
		}
	}
	return left
}
