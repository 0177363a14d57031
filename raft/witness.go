package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// A witness votes and acknowledges like a voter, and holds no commands (R19): it gets every batch as its header, memberships alone
// whole, since they are in effect from the append on. Its log has all indexes and terms, so elections, conflicts and catching up need
// no rules of their own. It never campaigns, leads, applies or serves.
//
// Its acknowledgement says that an entry was stamped, not that the entry is anywhere. Without a further rule a leader and a
// witness, two of three, would commit what one disk holds, while the other data voter is well and merely a moment late. So what
// is committed has a majority of the data voters too, in which a witness stands in for a data voter only while that one has not been
// heard for an election timeout:
//
//	a majority of data voters and witnesses together, and
//	data voters + min(witnesses, data voters not heard) >= a majority of the data voters
//
// Elections are by the first line alone, and never weakened: any two majorities overlap, and what a witness knows of the log's length
// keeps a data voter from being elected that lacks what was committed in its absence.

// witnessState is a leader's account of the witnesses' standing in.
type witnessState struct {
	standsIn bool
	count    uint64  // times that the commit index moved by it
	awake    Instant // since then this leader has not stood still
}

// silent says that a data voter was not heard for an election timeout. The time in which this replica itself stood still is not counted: its
// clock may have jumped, or its process was not run, and the voter was well all the while. How long that was shows at the beat of
// heartbeats, which is late then; what is handed in before it sees the clock as it stood when the beat was due.
func (c *Core) silent(p *peer) bool {
	return max(p.lastContact, c.standIns.awake)+c.electionTimeout() <= min(c.now, c.heartbeatAt)
}

// noteStandstill takes how late the beat is.
func (c *Core) noteStandstill(now Instant) {
	if now > c.heartbeatAt+Instant(c.options.HeartbeatInterval) {
		c.standIns.awake = now
	}
}

// headersOnly says that a member gets headers: a witness, or what is to become one.
func headersOnly(member *raftpb.Member) bool {
	return member != nil && (member.Kind == raftpb.Witness || member.Goal == raftpb.GoalWitness)
}

// takesHeaders says that what comes here may be headers: this is a witness, or one is what its former incarnation was, so that it may
// be about to become one again.
func (c *Core) takesHeaders() bool {
	return c.witness || headersOnly(memberOf(c.membership, c.options.ReplicaID))
}

// sendLimit returns the last entry that a follower may be sent. Who gets headers is sent what a data voter holds durably, and no more. Else a
// leader that loses power before its own write leaves a witness behind that knows of entries which are nowhere: where the other
// data voters are away or being replaced it denies that leader its vote for ever, and nothing that was decided is lost.
func (c *Core) sendLimit(p *peer) uint64 {
	if !p.headersOnly {
		return c.log.last
	}
	limit := c.log.durable
	for _, other := range c.peers {
		if other.votes() && other.kind == raftpb.Voter {
			limit = max(limit, other.countedMatch())
		}
	}
	return min(limit, c.log.last)
}

// headersOf replaces batches, but memberships, by their headers and returns the size in bytes of all of them.
func headersOf(batches []raftpb.Batch) (size int) {
	for i, b := range batches {
		if b.Kind() != raftpb.KindMembership && b.Flags()&raftpb.FlagBodyOmitted == 0 {
			batches[i] = b.WithoutBody()
		}
		size += len(batches[i])
	}
	return size
}

// passOver moves a witness's applied index along: there is nothing to hand over.
func (c *Core) passOver() {
	if !c.witness {
		return
	}
	c.handed = max(c.handed, min(c.commit, c.log.durable))
	c.applied, c.apply.waiting = c.handed, 0
}

// dataMatch returns the highest index that a majority of the data voters holds, in each electorate. While standIn is true the
// witnesses count as far as they may.
func (c *Core) dataMatch(standIn bool) uint64 {
	index := c.dataMatchOf(incoming, c.membership.Members, standIn)
	if c.membership.Joint() {
		index = min(index, c.dataMatchOf(outgoing, c.membership.Outgoing, standIn))
	}
	return index
}

func (c *Core) dataMatchOf(e electorate, members []raftpb.Member, standIn bool) uint64 {
	var dataSpace, witnessSpace [16]uint64
	data, witnesses := dataSpace[:0], witnessSpace[:0]
	if c.voters.self&e != 0 {
		data = append(data, c.log.durable)
	}
	silent := 0
	for _, p := range c.peers {
		switch {
		case p.votesIn&e == 0:
		case p.kind == raftpb.Witness:
			witnesses = insertSorted(witnesses, p.countedMatch())
		default:
			data = insertSorted(data, p.countedMatch())
			if c.silent(p) {
				silent++
			}
		}
	}
	needed := countDataVoters(members)/2 + 1
	replaced := 0
	if standIn {
		replaced = min(silent, len(witnesses), needed-1)
	}
	best := uint64(0)
	for k := 0; k <= replaced; k++ {
		if needed-k > len(data) {
			continue
		}
		index := data[needed-k-1]
		if k > 0 {
			index = min(index, witnesses[k-1])
		}
		best = max(best, index)
	}
	return best
}

func countDataVoters(members []raftpb.Member) int {
	n := 0
	for i := range members {
		if members[i].Kind == raftpb.Voter {
			n++
		}
	}
	return n
}

// noteStandIn follows a commit in a shard with witnesses. That one stands in is said once in each stretch of time.
func (c *Core) noteStandIn() {
	if !c.voters.witnesses {
		return
	}
	stands := c.dataMatch(false) < c.commit
	if stands {
		c.standIns.count++
	}
	if stands && !c.standIns.standsIn {
		c.event(Event{Kind: EventWitnessStandsIn, ID: c.commit})
	}
	c.standIns.standsIn = stands
}

// onlyWitnessHas says that entries are lost which a witness acknowledged: this replica is denied its vote, and every other data voter
// either has no more of the log, as it granted its vote, or says that it lost what it had.
func (c *Core) onlyWitnessHas(now Instant) bool {
	if !c.voters.witnesses || !c.electable() || c.role == RoleLeader {
		return false
	}
	ahead := false
	for _, p := range c.peers {
		switch {
		case !p.votes():
		case p.kind == raftpb.Witness:
			ahead = ahead || p.ahead
		case p.ballot != ballotGranted && !c.saysLost(p.id, now):
			return false
		}
	}
	return ahead
}
