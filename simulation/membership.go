package simulation

import (
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// configuration is a membership as the checkers see it: who has to agree while it is in effect, which is from when a leader
// appends it on (R17). Replicas are named by their hosts; a shard has one on each.
type configuration struct {
	index, term uint64 // of its entry; 0 for the initial one
	at          int64  // when it was written first
	decided     bool
	sets        [][]voter
	members     []voter // all, learners too
	membership  raftpb.Membership
}

// voter is a replica that votes, in the incarnation that does (R15); 0 stands for whichever there is.
type voter struct {
	host        int
	incarnation uint64
	witness     bool
}

// agreed says whether a majority of every set has a property.
func (c *configuration) agreed(has func(v voter) bool) bool {
	for _, set := range c.sets {
		n := 0
		for _, v := range set {
			if has(v) {
				n++
			}
		}
		if n <= len(set)/2 {
			return false
		}
	}
	return true
}

func (c *configuration) votes(host int, incarnation uint64) bool {
	for _, set := range c.sets {
		for _, v := range set {
			if v.host == host && (v.incarnation == 0 || v.incarnation == incarnation) {
				return true
			}
		}
	}
	return false
}

func configurationOf(index, term uint64, m *raftpb.Membership) configuration {
	c := configuration{index: index, term: term, sets: [][]voter{votersOf(m.Members)}, membership: *m}
	if m.Joint() {
		c.sets = append(c.sets, votersOf(m.Outgoing))
	}
	for i := range m.Members {
		c.members = append(c.members, voter{host: int(m.Members[i].ReplicaID - 1), incarnation: m.Members[i].Incarnation})
	}
	return c
}

func votersOf(members []raftpb.Member) []voter {
	var voters []voter
	for i := range members {
		if members[i].Kind != raftpb.Learner {
			voters = append(voters, voter{int(members[i].ReplicaID - 1), members[i].Incarnation, members[i].Kind == raftpb.Witness})
		}
	}
	return voters
}

// noteConfigurations remembers the memberships that a Save holds, each once.
func (s *shard) noteConfigurations(save *raftpb.Save) {
	if p := s.world.hosts[save.ReplicaID-1].places[s.id-1]; p != nil && (len(save.Configs) > 0 || save.Installing != nil) {
		p.changedAt = s.world.now
	}
	for i := range save.Configs {
		index, term := save.Configs[i].Index, uint64(0)
		for _, batch := range save.Batches {
			if batch.First() == index {
				term = batch.Term()
			}
		}
		known := false
		for j := range s.configurations {
			known = known || s.configurations[j].index == index && s.configurations[j].term == term
		}
		if !known {
			c := configurationOf(index, term, &save.Configs[i].Membership)
			c.at = s.world.now
			s.checkVotersExist(&c)
			s.checkChange(save, &c)
			s.configurations = append(s.configurations, c)
		}
	}
}

// checkVotersExist: nobody is made a voter by an incarnation that has not begun to be. A replica that lost its promises votes again
// only as one that has promised nothing and was caught up (R15).
func (s *shard) checkVotersExist(c *configuration) {
	for _, set := range c.sets {
		for _, v := range set {
			if v.incarnation != 0 && s.begun[voter{host: v.host, incarnation: v.incarnation}] == 0 {
				s.world.violate("healing", "shard %d: membership %d makes replica %d a voter by an incarnation that was never stored", s.id, c.index, v.host+1)
			}
		}
	}
}

// admits says whether a decided membership knows a replica by an incarnation.
func (s *shard) admits(host int, incarnation uint64) bool {
	for i := range s.configurations {
		c := &s.configurations[i]
		for _, v := range c.members {
			if c.decided && v.host == host && v.incarnation == incarnation {
				return true
			}
		}
	}
	return false
}

// effective returns the newest membership that a log holds.
func (s *shard) effective(m *mirror) *configuration {
	newest := &s.configurations[0]
	for i := range s.configurations {
		if c := &s.configurations[i]; c.index > newest.index && m != nil && m.holds(c.index, c.term) {
			newest = c
		}
	}
	return newest
}

// committedConfiguration returns the newest one that is known to be decided.
func (s *shard) committedConfiguration() *configuration {
	newest := &s.configurations[0]
	for i := range s.configurations {
		c := &s.configurations[i]
		if c.index > newest.index && c.decided {
			newest = c
		}
	}
	return newest
}

// keepsQuorum says whether every membership that is, or may yet come to be, in effect has a majority that kept what it
// promised, also without the replicas on some hosts.
func (s *shard) keepsQuorum(without []*place) bool {
	committed := s.committedConfiguration()
	for i := range s.configurations {
		c := &s.configurations[i]
		if c != committed && c.index <= committed.index {
			continue
		}
		if !c.agreed(func(v voter) bool { return s.keeps(v, without) }) {
			return false
		}
		for _, v := range c.sets[0] { // what a witness stood in for may be on one disk only
			if len(s.kinds) > 0 && !v.witness && !s.keeps(v, without) {
				return false
			}
		}
	}
	return true
}

// keeps says whether a voter holds what it promised.
func (s *shard) keeps(v voter, without []*place) bool {
	for _, p := range s.places {
		if p.host.index != v.host {
			continue
		}
		for _, other := range without {
			if other == p {
				return false
			}
		}
		return !p.removed && (!p.lost || p.anew() && p.incarnation() == v.incarnation)
	}
	return true // on no host of this run's members: it is not the nemesis's to break
}

// anew says that a replica that lost its state is known by an incarnation that began since. Mostly it was healed; one that was added, and
// lost its state before it ever answered, is made a member as what answers first, and there is nothing to heal. So is one that was no member, under
// no membership ever written, when its storage was found damaged, and that came back from a power cut as what it had been: it had promised nothing.
func (p *place) anew() bool {
	own := voter{host: p.host.index, incarnation: p.incarnation()}
	if p.healed || p.shard.begun[own] <= p.lostAt && !p.promisedNothing(own) {
		return p.healed
	}
	for i := range p.shard.configurations {
		for _, v := range p.shard.configurations[i].members {
			if v.host == own.host && v.incarnation == own.incarnation {
				return true
			}
		}
	}
	return false
}

// promisedNothing says that no membership that was written before a replica lost something names what it is now.
func (p *place) promisedNothing(own voter) bool {
	for i := range p.shard.configurations {
		c := &p.shard.configurations[i]
		for _, v := range c.members {
			if c.at <= p.lostAt && v.host == own.host && (v.incarnation == own.incarnation || v.incarnation == 0) {
				return false
			}
		}
	}
	return own.incarnation != 0
}

// incarnation returns what the place's replica is, 0 if nothing is stored of it.
func (p *place) incarnation() uint64 {
	if m := p.host.disk.memory[keyOf(p)]; m != nil {
		return m.incarnation
	}
	return 0
}

// followHealing notes that a healed replica votes again: what it promises since, it has to keep.
func (s *shard) followHealing() {
	c := s.committedConfiguration()
	for _, p := range s.places {
		if p.lost && p.anew() && c.votes(p.host.index, p.incarnation()) {
			p.lost, p.healed = false, false
			s.world.counters.add(countPromoted, 1)
		}
	}
}

// incarnationBit returns the bit of a replica's incarnation in variant.holders, 0 if there are too many to tell apart.
func (s *shard) incarnationBit(v voter) uint64 {
	for i, known := range s.incarnations {
		if known == v {
			return 1 << i
		}
	}
	if len(s.incarnations) == 64 {
		return 0
	}
	s.incarnations = append(s.incarnations, v)
	return 1 << (len(s.incarnations) - 1)
}

// holds says whether a voter had an entry durable in the entry's own term.
func (s *shard) holds(holders uint64, v voter) bool {
	for i, known := range s.incarnations {
		if holders&(1<<i) != 0 && known.host == v.host && (v.incarnation == 0 || v.incarnation == known.incarnation) {
			return true
		}
	}
	return false
}

// prove looks whether an entry of term at index is held by a quorum of what is in effect at the leader of its term.
func (s *shard) prove(index, term uint64) {
	v := s.variant(index, term)
	if v == nil || index <= s.proven || s.successor != nil { // a former life decides nothing any more
		return
	}
	leader := s.world.hosts[v.leader]
	c := s.effective(leader.disk.memory[keyOfShard(s, leader)])
	if c.agreed(func(voter voter) bool { return s.holds(v.holders, voter) }) && s.dataAgreed(c, v, leader) {
		s.proven = index
		s.proofs = append(s.proofs, proof{index, term})
		s.decide(leader, index)
	}
}

// decidedBefore returns the last entry that was decided in a term before one, of those that were applied anywhere. An entry of an older
// term may be decided late: a leader of a term in between, who may be slow to learn that it is one, need not have it.
func (s *shard) decidedBefore(term uint64) uint64 {
	for i := len(s.proofs) - 1; i >= 0; i-- {
		if s.proofs[i].term < term {
			return min(s.proofs[i].index, uint64(len(s.committed)))
		}
	}
	return 0
}

// proveByTime looks again in a shard with witnesses: a data voter may have been silent for long enough by now, and nothing else have
// happened.
func (s *shard) proveByTime(upTo, term uint64) {
	for index := s.proven + 1; index <= upTo && len(s.kinds) > 0; index++ {
		s.prove(index, term)
	}
}

// dataAgreed is the second line of R19: of the data voters a majority holds the entry, a witness standing in only for one that the
// leader had not heard when it counted. The leader's clock may be fast, so half an election timeout is what is held against it.
func (s *shard) dataAgreed(c *configuration, v *variant, leader *host) bool {
	for _, set := range c.sets {
		data, acks, witnesses, silent := 0, 0, 0, 0
		for _, voter := range set {
			holds := s.holds(v.holders, voter)
			switch {
			case voter.witness && holds:
				witnesses++
			case voter.witness:
			default:
				data++
				if holds {
					acks++
				}
				p, now := leader.places[s.id-1], s.world.now
				missed := now-p.answered[voter.host] > int64(s.world.plan.raft.ElectionTimeout)/2
				if voter.host != leader.index && (missed || now-p.silence[voter.host] < int64(silenceShows)) {
					silent++
				}
			}
		}
		if acks+min(witnesses, silent) <= data/2 {
			return false
		}
	}
	return true
}

// silenceShows is for how long after a silence its effect may be seen first: what was committed in it may be applied later, by a
// process that stood still meanwhile.
const silenceShows = 8 * time.Second

// decide notes the memberships in a leader's log up to an entry that is committed by it.
func (s *shard) decide(leader *host, index uint64) {
	m := leader.disk.memory[keyOfShard(s, leader)]
	for i := range s.configurations {
		c := &s.configurations[i]
		c.decided = c.decided || c.index <= index && m != nil && m.holds(c.index, c.term)
	}
	s.followHealing()
}
