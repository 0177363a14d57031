package raft

import (
	"slices"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// peer is what this replica knows of another member. The upper half is kept in every role, the lower half belongs to a
// leader and is reset when a term of leadership begins.
type peer struct {
	id          uint64
	incarnation uint64          // as the membership has it, or as first heard while the membership does not know it
	session     uint64          // 0 until it is heard
	former      []formerSession // oldest first; their late messages are stale
	changed     uint64          // round of heartbeats that was sent last when session changed
	kind        raftpb.MemberKind
	votesIn     electorate
	headersOnly bool // a witness, or to become one
	promoting   bool // a learner that is to vote
	ballot      ballot
	ahead       bool   // denied the vote, for its log has more
	taken       window // forwarded proposals that were decided (R2)
	heal        healRequest
	exchange    exchange
	after       uint64 // entry that has to be committed before a leader addresses this incarnation; see unhealed

	state       ProgressState
	paused      bool // said busy, full or failed; tried again after its next heartbeat response
	lost        bool // came back with less than it had acknowledged (R14); does not count any more
	damage      damage
	match       uint64
	next        uint64
	acked       entryID // the most that this incarnation acknowledged, over its sessions
	since       uint64  // requests up to this one belong to an earlier state
	probe       uint64  // the outstanding probe, 0 for none
	probeLast   uint64  // last entry sent with it
	inflight    deque[span]
	lastContact Instant
	round       uint64 // highest round of heartbeats answered
	commitSent  uint64
	waitIndex   uint64  // the follower waits until this entry is committed (forwarded requests)
	stalledAt   uint64  // match when the present stretch of waiting began
	nudgeAt     Instant // when that stretch is long enough to ask again
	reading     uint64  // number of the log read under way, 0 for none
	batches     []raftpb.Batch
	declinedAt  Instant       // when it last said that it cannot campaign, 0 if it did not
	refuses     raftpb.Reason // what its host's storage does not take, by its last heartbeat response
	rounds      catchingUp
	readFrom    uint64         // first entry that reading, or what is in batches, is for
	offer       *snapshotOffer // in ProgressSnapshot

	inflightBytes int

	boundUntil Instant // a lease may count on its vote for nobody else up to then
	clock      clockWatch
	clockThen  uint64 // its clock as it was known when the round of freshnessState was sent
	clockShown uint64 // the same of the last one that was confirmed

	heartbeat heartbeatState
	followerState
}

// votes says that the member is a voter or a witness in a configuration that is in effect.
func (p *peer) votes() bool { return p.votesIn != 0 }

// peer returns the member with that ID, nil if there is none.
func (c *Core) peer(id uint64) *peer {
	for _, p := range c.peers {
		if p.id == id {
			return p
		}
	}
	return nil
}

// sender finds the member that sent m in its current incarnation and notes its session. ok is false for a message of a
// session that is over. A replica that is no member is (nil, true): requests of it may still be answered.
func (c *Core) sender(m *raftpb.Message) (p *peer, ok bool) {
	p = c.peer(m.From)
	if p == nil {
		return nil, true
	}
	if p.incarnation == 0 && c.introduces(m, p) {
		p.incarnation = m.FromIncarnation
	}
	if p.incarnation != m.FromIncarnation {
		return nil, true
	}
	if p.session == m.FromSession {
		return p, true
	}
	i := slices.IndexFunc(p.former, func(f formerSession) bool { return f.session == m.FromSession })
	if i >= 0 && !(m.Type == raftpb.MessageHeartbeatResponse && m.Request > p.changed) {
		return p, !ofSession[m.Type]
	}
	restarted := p.session != 0
	p.beginSession(m.FromSession, i)
	p.changed = c.reads.round
	if c.role == RoleLeader && restarted {
		c.restartProgress(p)
	}
	return p, true
}

// introduces says whether m shows which incarnation a member is that the membership does not know yet. An initial voter is
// what it says first. One that was added is what answers this leader, and answers what was sent to it since: a former
// replica under that ID may still be heard, and answers to what was sent to it may still be on their way.
func (c *Core) introduces(m *raftpb.Message, p *peer) bool {
	switch {
	case p.votes():
		return true
	case c.role != RoleLeader:
		return false
	case m.Type == raftpb.MessageHeartbeatResponse:
		return m.Request > p.changed && m.Request <= c.reads.round
	}
	return m.Type == raftpb.MessageReplicateResponse && m.Request > p.since && m.Request <= c.request
}

// ofSession are the messages that a session which is over must not move anything with. All others mean the same whenever
// they come.
var ofSession = [raftpb.MessageTypeCount]bool{
	raftpb.MessageReplicateResponse: true, raftpb.MessageHeartbeatResponse: true, raftpb.MessageReadIndex: true,
	raftpb.MessagePropose: true, raftpb.MessageTransferLeader: true, raftpb.MessageSnapshotStatus: true,
	raftpb.MessageChangeMembers: true,
}

// formerSession is a session that is over, or seems to be: when the first message of an older one comes late, the living one
// is taken for over, until it answers a heartbeat that was sent since. Therefore its forwards are remembered.
type formerSession struct {
	session uint64
	taken   window
}

// maxFormerSessions is how many former sessions of a member are known. A message would have to outlive that many restarts of
// its sender to be taken for one of a new session.
const maxFormerSessions = 16

// beginSession makes session the present one. former is its place among the former ones, -1 if it is new.
func (p *peer) beginSession(session uint64, former int) {
	var taken window
	if former >= 0 {
		taken = p.former[former].taken
		p.former = slices.Delete(p.former, former, former+1)
	}
	if p.session != 0 {
		if len(p.former) == maxFormerSessions {
			p.former = slices.Delete(p.former, 0, 1)
		}
		p.former = append(p.former, formerSession{p.session, p.taken})
	}
	p.session, p.taken = session, taken
}

// window remembers which numbers of a session were seen: the highest, and a bit for each of the 128 below it. What is
// older counts as seen, so a number is never taken twice (R2).
type window struct {
	highest uint64
	seen    [2]uint64 // bit i: highest-i
}

// take notes number and says whether it is new.
func (w *window) take(number uint64) bool {
	if number > w.highest {
		w.shift(number - w.highest)
		w.highest = number
		w.seen[0] |= 1
		return true
	}
	back := w.highest - number
	if back >= 128 {
		return false
	}
	bit := uint64(1) << (back % 64)
	if w.seen[back/64]&bit != 0 {
		return false
	}
	w.seen[back/64] |= bit
	return true
}

func (w *window) shift(n uint64) {
	switch {
	case n >= 128:
		w.seen = [2]uint64{}
	case n >= 64:
		w.seen = [2]uint64{0, w.seen[0] << (n - 64)}
	default:
		w.seen = [2]uint64{w.seen[0] << n, w.seen[1]<<n | w.seen[0]>>(64-n)}
	}
}

// damage is how far the answer to a follower's report of a damaged batch has come (R4).
type damage uint8

const (
	damageNone     damage = iota
	damageReported        // the next send reads the log store instead of memory
	damageReread          // what was read from the log store has been sent
)
