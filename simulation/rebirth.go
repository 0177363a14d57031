package simulation

import (
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// A shard that its operator rebuilds begins another life, which is another shard to the checkers: with exactly the entries that it was rebuilt
// from, all of them decided, and with the registers as they were there. What was decided behind them is gone with the former life, answers to
// callers included, and that is the one loss that is documented. The two lives are checked each by itself, and must not mix: whoever is
// left of the former one goes by its own record of the shard, and leads and answers nothing any more.

// rebirth makes the next life of a shard from the entries of one of its lives. At the cut no replica of it runs.
func (s *shard) rebirth(of *shard, entries []entry) *shard {
	n := &shard{
		world: s.world, id: s.id, machineKind: s.machineKind, former: s, spares: true, exports: s.exports,
		members: map[uint64]string{}, kinds: map[uint64]raftpb.MemberKind{}, witnesses: make([]bool, len(s.witnesses)),
		leaders: map[uint64]claim{}, votes: map[voteKey]uint64{}, pulls: map[uint64]uint64{}, begun: s.begun,
	}
	n.committed = append(n.committed, entries...)
	n.proven = uint64(len(entries))
	n.commands = make([]command, len(entries))
	known := of.births // up to here it is known what the entries did
	for i := range of.commands {
		if of.commands[i].operation != 0 {
			known = max(known, uint64(i+1))
		}
	}
	for i, e := range entries {
		previous := uint64(0)
		if i > 0 {
			previous = entries[i-1].term
		}
		n.addVariant(uint64(i+1), variant{entry: e, previousTerm: previous})
		if uint64(i) == n.births && n.births < known && of.committed[i] == e {
			n.births++
			n.commands[i] = of.commands[i]
		}
	}
	for i := range n.commands {
		if id := n.commands[i].operation; id != 0 {
			n.base[s.world.clients.operations[id-1].key]++
			n.floor = uint64(i + 1)
		}
	}
	s.successor = n
	s.world.shards[s.id-1] = n
	return n
}

// begin makes the first membership of a life, with an entry that is its own or is the last that the life began with.
func (s *shard) begin(index, term uint64, m *raftpb.Membership) {
	c := configurationOf(index, term, m)
	c.at, c.decided = s.world.now, true
	s.configurations = append(s.configurations, c)
	for i := range m.Members {
		host := int(m.Members[i].ReplicaID - 1)
		s.voters = append(s.voters, host)
		s.members[m.Members[i].ReplicaID] = m.Members[i].Address
	}
}

// settleOn gives the shard a place on a host, in place of that of a former life.
func (s *shard) settleOn(h *host, joins bool) *place {
	p := &place{host: h, shard: s, wanted: true, joins: joins, acts: acts{former: h.places[s.id-1]}}
	h.places[s.id-1] = p
	at := len(s.places)
	for i, other := range s.places {
		if other.host.index > h.index && at == len(s.places) {
			at = i
		}
	}
	s.places = append(s.places[:at:at], append([]*place{p}, s.places[at:]...)...)
	return p
}

// present says that the place is the one that its host has of the shard.
func (p *place) present() bool { return p.host.places[p.shard.id-1] == p }

// askedPlace draws whom a client asks: now and then one that is left of a former life of the shard.
func (s *shard) askedPlace(r *random) *place {
	if s.former != nil && r.chance(0.05) {
		for _, h := range s.world.hosts {
			if p := h.places[s.id-1]; p != nil && p.shard != s && p.replica != nil {
				return p
			}
		}
	}
	return pick(r, s.places)
}

// checkFormer: nothing is answered by a replica that is left of a former life of the shard.
func (c *clients) checkFormer(o *operation) {
	if o.shard.successor != nil {
		c.world.violate("former life", "shard %d: operation %d is answered by replica %d, of a shard that was rebuilt without it", o.shard.id, o.id, o.host.index+1)
	}
}

// erased gives a host of which a former life was removed a place in the present one.
func (p *place) erased() bool {
	if p.shard.successor == nil || !p.present() {
		return false
	}
	next := p.host.world.shards[p.shard.id-1].settleOn(p.host, true)
	next.start()
	return true
}

// unaware returns a replica that is left of a former life, and ought to have been told so by one of the present: it knows a host that has one.
func (s *shard) unaware() *place {
	for _, h := range s.world.hosts {
		p := h.places[s.id-1]
		if p == nil || p.shard == s || p.lost {
			continue
		}
		m := h.disk.memory[keyOf(p)]
		known := p.shard.effective(m)
		if m == nil || m.last() == 0 || p.witness() || !known.votes(h.index, p.incarnation()) {
			continue // it asks nobody for anything
		}
		for _, member := range known.members {
			other := s.world.hosts[member.host].places[s.id-1]
			if other == nil || other.shard != s || !other.belongs() || other.lost || !known.votes(member.host, member.incarnation) {
				continue // a candidate asks voters alone
			}
			// That it is told by a shard that was rebuilt shows in the numbers of the memberships, or in the term.
			if known.index < s.committedConfiguration().index || h.disk.memory[keyOf(p)].state.Term+raft.RebuiltTerms <= h.world.hosts[member.host].disk.memory[keyOf(other)].state.Term {
				return p
			}
		}
	}
	return nil
}
