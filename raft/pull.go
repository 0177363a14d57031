package raft

import (
	"slices"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// A voter that can reach a quorum may be the only one that can, and have a shorter log than the others: their votes are denied to it, and
// they cannot win, for they do not reach each other. Plain Raft elects nobody then, for as long as the network stays so
// (the constrained election of Omni-Paxos; T-10). Such a voter pulls what it lacks from one that denied its vote, and
// campaigns again.
//
// It begins with the second campaign in a row that is lost that way: where the network is whole the one with the longer log has won
// by then. It asks for one message's worth at a time, and each answer goes through the checks that a leader's append
// goes through. What it appends it acknowledges to nobody, so nothing is counted as committed because of it; it may be
// cut by the next leader like any tail.
//
// # Why cutting cannot lose what is committed
//
// A tail that conflicts with the other's log is cut only if the other's last entry has a higher term than the last one here, though none
// above the replica's own, and the replica enters a new term with the same write. Let e be an entry that a leader of term s
// committed, so that each of a quorum acknowledged it in term s. The claim is the usual one (Leader Completeness, thesis 3.6.3):
// every leader of a later term has e. It goes by induction over those terms; pulls add one step. Let t be such a term. The
// voters that elected its leader share a member v with the quorum that acknowledged e, and v did so before it voted in t. If v
// still had e when it voted, the comparison of logs shows as always that the new leader has it: by its last term, and the
// induction. Else look at how v first lost e. Not to a leader of a term below t, which has e by the induction. So by a pull,
// and v's last entry had a term of s or above then, for e was in its log. The log that v was shown ended in a term u above that,
// and at most v's own; and v entered a higher one at once and voted in t not before. So s < u < t. A log that ends in u is the
// beginning of the log of u's leader, up to there; that leader has e by the induction, at a place before any entry of its own
// term. So the log that v was shown has e, and v did not cut it.
//
// Two things follow. It does not matter that the answer may be old, or hold a part of the other's log only: the argument is about a log
// that was once. And at an equal last term nothing needs to be cut: both logs are then beginnings of that term's leader's.
//
// The new term is for what the replica acknowledged in the present one. Its leader counts on that, and would take less for lost data
// (R14); in a later term it has to begin anew. The host's record of promises stays true for the same reason.

// pullState is a replica's own part: what it asks for and of whom.
type pullState struct {
	lost    int  // campaigns in a row that were denied for the sake of a longer log, with no leader heard since
	denied  bool // so was the present one
	from    uint64
	target  entryID // the other's last entry, as far as it is known
	asked   entryID // the entry behind which it is asked for more
	request uint64
	at      Instant // asks again
}

// pullAfter is how many campaigns have to be lost before a pull.
const pullAfter = 1

// newCampaign counts the last one.
func (s *pullState) newCampaign() {
	if s.denied {
		s.lost++
	} else {
		s.lost = 0
	}
	s.denied, s.from = false, 0
}

// deniedForLongerLog takes a denial that says where the other's log ends.
func (c *Core) deniedForLongerLog(m *raftpb.Message, p *peer) {
	s := &c.pull
	s.denied = true
	target := entryID{Index: m.HintIndex, Term: m.HintTerm}
	if s.lost < pullAfter || s.from != 0 && s.target.atLeast(target) || c.witness || !c.electable() {
		return
	}
	s.from, s.target, s.asked = p.id, target, c.log.lastEntry()
	c.askToPull(c.now)
}

func (c *Core) askToPull(now Instant) {
	s := &c.pull
	p := c.peer(s.from)
	if p == nil {
		s.from = 0
		return
	}
	c.request++
	s.request, s.at = c.request, now+Instant(c.options.HeartbeatInterval)
	m := c.message(raftpb.MessagePull, p)
	m.LogIndex, m.LogTerm, m.Request = s.asked.Index, s.asked.Term, s.request
	c.post(m)
}

// pullDeadline is when an answer is missed.
func (c *Core) pullDeadline() Instant {
	if c.pull.from == 0 {
		return Never
	}
	return c.pull.at
}

func (c *Core) expirePull(now Instant) {
	if c.pull.from != 0 && now >= c.pull.at {
		c.askToPull(now)
	}
}

// handlePullResponse appends what came, and campaigns when it has all that the other had.
func (c *Core) handlePullResponse(now Instant, m *raftpb.Message, p *peer) {
	s := &c.pull
	if s.from != p.id || m.Request != s.request || c.leader != 0 {
		c.dropped++
		return
	}
	s.target = entryID{Index: m.HintIndex, Term: m.HintTerm}
	switch m.Reason {
	case raftpb.ReasonConflict:
		c.pullFurtherBack(now, m)
	case raftpb.ReasonNone:
		c.appendPulled(now, m)
	case raftpb.ReasonCompacted:
		c.pullSnapshot(m)
	default:
		s.from = 0
	}
}

// pullFurtherBack asks behind the entry in which the two logs can agree at best. Each answer skips a term at least.
func (c *Core) pullFurtherBack(now Instant, m *raftpb.Message) {
	s := &c.pull
	guess := c.log.terms.lastAtMost(min(m.LogIndex, c.log.last), m.LogTerm)
	if guess.Index >= s.asked.Index || guess.Index < c.commit {
		s.from = 0 // not credible: what is committed every log has that may win
		return
	}
	s.asked = guess
	c.askToPull(now)
}

// pullSnapshot fetches what the other has compacted. The replica campaigns again when the snapshot is installed, and pulls the rest. It
// holds what is committed, so that it needs none of the argument above; see install.go.
func (c *Core) pullSnapshot(m *raftpb.Message) {
	c.pull.from = 0
	if m.LogIndex <= c.commit || c.installing || c.install.recovering || c.refusesInstall() != raftpb.ReasonNone {
		c.dropped++
		return
	}
	c.fetchSnapshot(offered{session: c.options.Session, stream: c.newStream()}, m.From, "", entryID{Index: m.LogIndex, Term: m.LogTerm})
}

// appendPulled treats the batches as an append of a leader, but for what is said above.
func (c *Core) appendPulled(now Instant, m *raftpb.Message) {
	s := &c.pull
	full := c.storage == StorageFull && slices.ContainsFunc(m.Batches, func(b raftpb.Batch) bool { return !spaceIsKept(b) })
	if len(m.Batches) == 0 || full || c.refusesAppend(m) != raftpb.ReasonNone || !c.log.holds(m.LogIndex, m.LogTerm) {
		s.from = 0
		return
	}
	appended := *m
	appended.Term = c.term // no entry may be of a later term than this replica's
	plan, reason := c.planAppend(&appended)
	switch {
	case reason == raftpb.ReasonDenied:
		return // the batch round the cut is read from the log store; asked again in a while
	case reason != raftpb.ReasonNone || plan.from <= c.log.last && !c.mayCutFor(s.target):
		c.event(Event{Kind: EventReplicationRejected, Replica: m.From, Reason: raftpb.ReasonConflict})
		s.from = 0
		return
	}
	if plan.truncate != 0 {
		c.becomeFollower(now, c.term+1)
	}
	c.execute(now, &appended, plan)
	c.event(Event{Kind: EventPulled, Replica: m.From, ID: c.log.last})
	if c.log.lastEntry().atLeast(s.target) {
		s.from = 0
		c.electionDue(now)
		return
	}
	if plan.last < c.log.last { // it had that already
		s.from = 0
		return
	}
	s.asked = c.log.lastEntry()
	c.askToPull(now)
}

// mayCutFor says whether a tail may be cut for the sake of a log that ends like this.
func (c *Core) mayCutFor(end entryID) bool {
	return end.Term > c.log.lastEntry().Term && end.Term <= c.term
}

// handlePull answers a voter that lacks entries. Whoever hears a leader leaves it to that one.
func (c *Core) handlePull(now Instant, m *raftpb.Message, p *peer) {
	if c.witness || c.storage.halted() || c.leaderAlive(now) {
		c.dropped++
		return
	}
	if m.LogIndex < c.log.compacted() {
		c.answerPull(m, raftpb.ReasonCompacted, c.log.terms.before)
		return
	}
	if !c.log.holds(m.LogIndex, m.LogTerm) {
		c.answerPull(m, raftpb.ReasonConflict, c.log.terms.lastAtMost(min(c.log.last, max(m.LogIndex, 1)-1), m.LogTerm))
		return
	}
	if m.LogIndex == c.log.last {
		c.dropped++ // it has everything
		return
	}
	batches := c.pulled(m.LogIndex+1, p)
	if len(batches) == 0 || !c.cutFront(batches) {
		return // it is read from the log store; the sender asks again, or somebody else
	}
	before := batches[0].First() - 1
	answer := c.answerPull(m, raftpb.ReasonNone, entryID{Index: before, Term: c.log.terms.term(before)})
	answer.Batches = batches
}

func (c *Core) answerPull(m *raftpb.Message, reason raftpb.Reason, at entryID) *raftpb.Message {
	answer := c.answer(m, raftpb.MessagePullResponse, reason)
	last := c.log.lastEntry()
	answer.LogIndex, answer.LogTerm, answer.HintIndex, answer.HintTerm = at.Index, at.Term, last.Index, last.Term
	return answer
}

// pulled returns whole batches from the one that holds first on, one message's worth, from memory or from what was read for p; else it
// asks for them.
func (c *Core) pulled(first uint64, p *peer) []raftpb.Batch {
	if read := p.batches; len(read) > 0 {
		p.batches = nil
		if read[0].First() <= first && first <= read[0].Last() && c.holdsAll(read) {
			return read
		}
	}
	var batches []raftpb.Batch
	i, ok := c.log.find(first)
	size := 0
	for ; ok && i < c.log.runs.len(); i++ {
		b, here := c.log.bytes(i)
		if !here || size > 0 && size+len(b) > c.options.MaxMessageBytes {
			break
		}
		batches = append(batches, b)
		size += len(b)
	}
	if len(batches) == 0 && first > c.log.compacted() && first <= c.log.durable && p.reading == 0 {
		p.reading, p.readFrom = c.readLog(p.id, first, c.log.durable, c.options.MaxMessageBytes), first
	}
	return batches
}

func (c *Core) holdsAll(batches []raftpb.Batch) bool {
	for _, b := range batches {
		if !c.log.holds(b.Last(), b.Term()) {
			return false
		}
	}
	return true
}
