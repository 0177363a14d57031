package raft

import (
	"fmt"
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// checkInvariants holds what is written at the fields. The network of the tests does the same after every step.
func checkInvariants(t *testing.T, c *Core) {
	t.Helper()
	if fault := faultOf(c); fault != "" {
		t.Fatal(fault)
	}
}

// faultOf returns an invariant that the core's state breaks, "" if there is none.
func faultOf(c *Core) string {
	for _, check := range []func(*Core) string{
		faultOfIndexes, faultOfLog, faultOfInstall, faultOfWrites, faultOfMembership, faultOfProgress, faultOfPending, faultOfBacklog,
	} {
		if fault := check(c); fault != "" {
			return fault
		}
	}
	return ""
}

func faultOfIndexes(c *Core) string {
	l := &c.log
	if l.compacted() > l.durable || l.durable > l.last || c.commit > l.last || c.handed > c.commit || c.applied > c.handed {
		return fmt.Sprintf("compacted %d, durable %d, last %d, commit %d, handed %d, applied %d",
			l.compacted(), l.durable, l.last, c.commit, c.handed, c.applied)
	}
	if c.leader == c.options.ReplicaID && c.role != RoleLeader && c.role != RoleStopped {
		return fmt.Sprintf("a %s takes itself for the leader", c.role)
	}
	if c.role == RoleLeader && c.leader != c.options.ReplicaID {
		return fmt.Sprintf("a leader takes %d for the leader", c.leader)
	}
	return ""
}

// faultOfInstall: whoever fetches a snapshot or recovers from one does not campaign, nothing is handed over before it has recovered, and
// what waits for the write that restarts the log is everything.
func faultOfInstall(c *Core) string {
	waits := c.installing || c.install.recovering
	if waits && (c.role == RolePreCandidate || c.role == RoleCandidate || c.role == RoleLeader) {
		return fmt.Sprintf("a %s installs a snapshot", c.role)
	}
	if c.installing && c.install.recovering {
		return "a snapshot is fetched while the state machine recovers from another"
	}
	if c.install.recovering && c.handed != c.log.compacted() {
		return fmt.Sprintf("handed over up to %d before it has recovered from the snapshot up to %d", c.handed, c.log.compacted())
	}
	if c.save.installing != nil && (c.save.installing.Index != c.log.compacted() || c.save.stateDurable()) {
		return fmt.Sprintf("a log behind %d is to be restarted behind %d", c.log.compacted(), c.save.installing.Index)
	}
	return ""
}

func faultOfLog(c *Core) string {
	l := &c.log
	if l.pins.len() > l.runs.len() {
		return fmt.Sprintf("%d pins for %d runs", l.pins.len(), l.runs.len())
	}
	next := l.last + 1
	for i := l.runs.len() - 1; i >= 0; i-- {
		r := l.runs.at(i)
		if r.last()+1 != next || l.terms.term(r.first) != r.term {
			return fmt.Sprintf("run [%d,%d] of term %d before entry %d", r.first, r.last(), r.term, next)
		}
		next = r.first
		if pinned := i >= l.runs.len()-l.pins.len(); !pinned && r.last() > l.durable {
			return fmt.Sprintf("entry %d is not durable and not pinned", r.last())
		}
	}
	for i := range l.terms.starts {
		if i > 0 && l.terms.starts[i-1].Term >= l.terms.starts[i].Term {
			return fmt.Sprintf("terms %v", l.terms.starts)
		}
	}
	return ""
}

// faultOfWrites: the log is durable, then in a write, then in none; what a write under way will make durable is still there. The
// piece of a cut batch that stays is durable and yet to be written again, with the cut.
func faultOfWrites(c *Core) string {
	rewritten := c.save.cut != 0 && c.save.cut <= c.log.durable
	if c.log.durable >= c.save.next && !rewritten || c.save.next > c.log.last+1 {
		return fmt.Sprintf("durable %d, in no write from %d on, last entry %d", c.log.durable, c.save.next, c.log.last)
	}
	previous := c.save.saved
	for i := range c.save.writes.len() {
		w := c.save.writes.at(i)
		if w.number <= previous || w.last > c.log.last {
			return fmt.Sprintf("write %d up to entry %d after %d, last entry %d", w.number, w.last, previous, c.log.last)
		}
		previous = w.number
	}
	return ""
}

// faultOfMembership: the newest membership is the effective one, only the oldest kept is committed, and the peers are its members.
func faultOfMembership(c *Core) string {
	for i := range c.configs {
		index := c.configs[i].Index
		if index > c.log.last || i > 0 && (c.configs[i-1].Index >= index || index <= c.commit) {
			return fmt.Sprintf("memberships %v, commit %d, last entry %d", c.configs, c.commit, c.log.last)
		}
	}
	if newest := c.configs[len(c.configs)-1].Membership; c.membership.ID != newest.ID {
		return fmt.Sprintf("membership %d in effect, %d in the log", c.membership.ID, newest.ID)
	}
	members := map[uint64]bool{}
	for _, list := range [][]raftpb.Member{c.membership.Members, c.membership.Outgoing} {
		for i := range list {
			members[list[i].ReplicaID] = true
		}
	}
	delete(members, c.options.ReplicaID)
	previous := uint64(0)
	for _, p := range c.peers {
		if !members[p.id] || p.id <= previous {
			return fmt.Sprintf("peer %d after %d, members %v", p.id, previous, c.membership.Members)
		}
		previous = p.id
	}
	if len(c.peers) != len(members) {
		return fmt.Sprintf("%d peers, members %v", len(c.peers), c.membership.Members)
	}
	return ""
}

func faultOfProgress(c *Core) string {
	for _, p := range c.peers {
		if (p.offer != nil) != (p.state == ProgressSnapshot) || p.offer != nil && (p.match >= c.log.compacted() || c.role != RoleLeader) {
			return fmt.Sprintf("follower %d: state %s, offer %+v, match %d, compacted %d", p.id, p.state, p.offer, p.match, c.log.compacted())
		}
		if p.match > c.log.last || p.state == ProgressReplicate && p.next <= p.match || p.inflightBytes < 0 {
			return fmt.Sprintf("follower %d: match %d, next %d, last entry %d, in flight %d",
				p.id, p.match, p.next, c.log.last, p.inflightBytes)
		}
		bytes, previous := 0, p.match
		for i := range p.inflight.len() {
			s := p.inflight.at(i)
			if s.last <= previous || s.last >= p.next {
				return fmt.Sprintf("follower %d: in flight up to %d after %d, next %d", p.id, s.last, previous, p.next)
			}
			bytes, previous = bytes+s.bytes, s.last
		}
		if bytes != p.inflightBytes || p.inflight.len() > 0 && p.state != ProgressReplicate {
			return fmt.Sprintf("follower %d: %d bytes in flight in state %s, said to be %d", p.id, bytes, p.state, p.inflightBytes)
		}
	}
	return ""
}

// faultOfBacklog counts again what is committed and not handed over, where all of it is in memory. What the cache let go before it was
// committed is not counted.
func faultOfBacklog(c *Core) string {
	from := max(c.handed, c.apply.uncounted) + 1
	if n := c.log.runs.len(); c.quarantined || c.witness || from <= c.commit && (n == 0 || c.log.runs.front().first > from) {
		return ""
	}
	waiting := 0
	for i := range c.log.runs.len() {
		if r := c.log.runs.at(i); r.last() >= from && r.last() <= c.commit {
			waiting += int(r.bytes)
		}
	}
	forgotten := c.log.runs.len() > 0 && c.log.runs.front().first > c.apply.uncounted+1
	if c.apply.waiting > waiting || c.apply.waiting < waiting && !forgotten {
		return fmt.Sprintf("%d bytes wait for apply, counted are %d", waiting, c.apply.waiting)
	}
	return ""
}

// faultOfPending: the proposals of this host are counted once each.
func faultOfPending(c *Core) string {
	entries := 0
	for i := range c.pending.uncommitted.len() {
		q := c.pending.uncommitted.at(i)
		entries += int(q.entries)
		if q.last <= c.commit || q.last > c.log.last {
			return fmt.Sprintf("proposal %d ends at %d, commit %d, last entry %d", q.sequence, q.last, c.commit, c.log.last)
		}
	}
	forwarded := 0
	for i := range c.pending.proposals.len() {
		if c.pending.proposals.at(i).forwarded {
			forwarded++
		}
	}
	if entries != c.pending.uncommittedEntries || forwarded != c.pending.forwardedBatches {
		return fmt.Sprintf("%d entries uncommitted, said to be %d; %d batches forwarded, said to be %d",
			entries, c.pending.uncommittedEntries, forwarded, c.pending.forwardedBatches)
	}
	return ""
}

// check holds the invariants of a node's core after a step.
func (n *network) check(node *testNode) {
	if node.core == nil {
		return
	}
	fault := faultOf(node.core)
	if fault == "" {
		fault = faultOfChange(node.core)
	}
	if fault != "" {
		n.violate("replica %d: %s", node.id, fault)
	}
	n.checkReads(node)
}
