package simulation

import (
	"errors"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// memberChange is a change of a shard's members that was asked for.
type memberChange struct {
	shard *shard
	host  *host
	life  uint32
}

// injectChange is the operator: it asks a replica for other members, or for a change to be canceled.
func (n *nemesis) injectChange(kind counter, h *host) bool {
	p := h.places[n.random.below(len(h.places))]
	if p == nil || p.state != placeRunning || len(p.shard.kinds) > 0 { // witnesses stay what they are
		return false
	}
	if kind == countCancelChange {
		n.note(h, "cancel change", p.shard.id, 0)
		p.replica.CancelChange(n.ended(p, raftpb.MembershipChange{}))
		h.wake()
		return true
	}
	m := &p.shard.committedConfiguration().membership
	change := raftpb.MembershipChange{Members: n.drawChange(p.shard, m)}
	if n.random.chance(0.2) {
		change.IfID = m.ID
	}
	if !n.mayBecome(p.shard, m, &change) {
		return false
	}
	n.note(h, "change members", p.shard.id, uint64(len(change.Members)))
	p.replica.ChangeMembers(change, n.ended(p, change))
	h.wake()
	return true
}

// ended returns the callback of a change, which has to be called once, unless the host's process ends.
func (n *nemesis) ended(p *place, change raftpb.MembershipChange) func(raftpb.Membership, error) {
	w := n.world
	c := &memberChange{shard: p.shard, host: p.host, life: p.host.life}
	w.changes = append(w.changes, c)
	over, ended := false, p.shard.changeAsked(change)
	return func(m raftpb.Membership, err error) {
		if over {
			w.violate("answers", "shard %d: a change of members asked of host %d has ended twice", c.shard.id, c.host.index+1)
		}
		over = true
		ended(err)
		for i := range w.changes {
			if w.changes[i] == c {
				w.changes = append(w.changes[:i], w.changes[i+1:]...)
				break
			}
		}
		switch {
		case err == nil:
			w.counters.add(countChangeDone, 1)
			c.shard.checkDone(&m)
		case errors.Is(err, engine.ErrChangeCanceled):
			w.counters.add(countChangeCanceled, 1)
		}
	}
}

// drawChange draws what one to four members are to be: often one is replaced by another, or one is added, promoted, demoted or
// removed, and now and then several become whatever comes up.
func (n *nemesis) drawChange(s *shard, m *raftpb.Membership) []raftpb.MemberChange {
	var present, absent []*place
	for _, p := range s.places {
		if findMember(m, p) != nil {
			present = append(present, p)
		} else if p.state == placeRunning {
			absent = append(absent, p)
		}
	}
	var changes []raftpb.MemberChange
	add := func(p *place, kind raftpb.MemberKind) {
		for i := range changes {
			if changes[i].ReplicaID == uint64(p.host.index+1) {
				return
			}
		}
		changes = append(changes, raftpb.MemberChange{ReplicaID: uint64(p.host.index + 1), Kind: kind, Address: p.host.address})
	}
	draw := n.random.below(10)
	if len(absent) > 0 && draw < 5 {
		kind := raftpb.Voter
		if n.random.chance(0.25) {
			kind = raftpb.Learner
		}
		add(pick(&n.random, absent), kind)
		if draw < 3 {
			add(pick(&n.random, present), 0)
		}
		return changes
	}
	if draw < 8 {
		add(pick(&n.random, present), raftpb.MemberKind(n.random.below(3)))
		return changes
	}
	for range 1 + n.random.below(4) {
		add(pick(&n.random, s.places), raftpb.MemberKind(n.random.below(3)))
	}
	return changes
}

// mayBecome says whether the shard would be left with a majority that kept what it promised, not counting on replicas that are to find that their
// snapshots are damaged: the operator is careful.
func (n *nemesis) mayBecome(s *shard, m *raftpb.Membership, change *raftpb.MembershipChange) bool {
	if len(change.Members) == 0 {
		return false
	}
	voters, good := 0, 0
	for _, p := range s.places {
		kind := raftpb.MemberKind(0)
		if member := findMember(m, p); member != nil {
			kind = member.Kind
		}
		for i := range change.Members {
			if change.Members[i].ReplicaID == uint64(p.host.index+1) {
				kind = change.Members[i].Kind
			}
		}
		if kind == raftpb.Voter {
			voters++
			if !p.lost && !p.removed && p.state == placeRunning && !p.scratched() {
				good++
			}
		}
	}
	return good > voters/2 && s.keepsQuorum(nil)
}

func findMember(m *raftpb.Membership, p *place) *raftpb.Member {
	for _, members := range [...][]raftpb.Member{m.Members, m.Outgoing} {
		for i := range members {
			if members[i].ReplicaID == uint64(p.host.index+1) {
				return &members[i]
			}
		}
	}
	return nil
}

// knows says whether the shard counts on a place: a membership that is or may yet come to be decided names it.
func (s *shard) knows(p *place) bool {
	committed := s.committedConfiguration()
	for i := range s.configurations {
		c := &s.configurations[i]
		if (c == committed || c.index > committed.index) && findMember(&c.membership, p) != nil {
			return true
		}
	}
	return false
}

// leave is what an operator does with a replica that was told that it is no member any more: it is started again, with its data or
// without, and may be added again.
func (p *place) leave() {
	if p.state != placeRunning || !p.gone {
		return
	}
	p.gone = false
	p.wanted = true
	if p.shard.successor != nil { // for good
		p.away, p.erase = true, true
	}
	p.removed = p.erase || !p.shard.knows(p) && p.host.random.chance(0.6)
	p.stop()
}

// checkRemoved: only a replica that a decided membership does not have is told so.
func (w *World) checkRemoved(h *host, e engine.Event) {
	p := h.places[e.ShardID-1]
	s := p.shard
	said := s.successor != nil
	if said {
		w.counters.add(countFormerTold, 1)
	}
	for i := range s.configurations {
		c := &s.configurations[i]
		said = said || c.index <= uint64(len(s.committed)) && findMember(&c.membership, p) == nil
		said = said || c.index <= s.proven && findMember(&c.membership, p) == nil
	}
	if !said {
		w.violate("removal", "shard %d: replica %d was told that it is no member, but every decided membership has it", s.id, e.ReplicaID)
	}
	p.gone = true
	life := h.life
	w.after(h.random.between(int64(time.Millisecond), int64(2*time.Second)), func() {
		if h.life == life && h.up {
			p.leave()
		}
	})
}
