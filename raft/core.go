package raft

import (
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// Core is the protocol state of one replica of one shard: a value that is stepped by hand. It has no goroutine, clock,
// disk, network or global randomness; whoever owns it makes all calls, one at a time, and Drain hands out what is to be
// done. doc.go tells the whole story.
type Core struct {
	// What every event touches comes first and together: with a thousand busy shards each line of memory is one that an input waits
	// for. See warm.go.
	role        Role
	storage     StorageState
	quarantined bool
	witness     bool // gets headers only, applies nothing
	sendDue     bool // leader: Drain looks at what each follower lacks

	heartbeatsDue bool // leader: a heartbeat that waited for an answer may go out
	crowded       bool // leader: a quorum has more to apply than MaxBacklogBytes
	installing    bool // a snapshot is being fetched
	leaderKnows   bool // a message of the leader named this replica's incarnation
	changing      bool // leader: continueChange has something to do
	term          uint64
	vote          uint64 // every Save has it
	leader        uint64 // 0 when none is known
	claim         claim  // who leads or led this term, as far as it is known
	commit        uint64
	handed        uint64  // last entry handed over for apply
	applied       uint64  // last entry reported as applied
	now           Instant // of the last call that had one
	electionAt    Instant
	heartbeatAt   Instant // leader; also the pace of bootstrap requests
	checkAt       Instant // leader: check-quorum
	retryAt       Instant // a log read failed and is tried again
	heardAt       Instant // when the leader was last heard
	timeout       Instant // the randomized election timeout now in force

	ack   acknowledgement
	beat  heartbeatAnswer
	log   raftLog
	save  saveState
	peers []*peer // members but this replica, ascending by ID

	termStart       uint64 // leader: index of the first entry of its term
	uncommitted     int    // leader: bytes above commit
	leaderSession   uint64
	leaderIncarnate uint64
	request         uint64 // number of the last request sent; counts up for the whole session
	compactTo       uint64 // see Compact

	apply      applyState
	pending    pendingState
	reads      readState
	lease      leaseState
	fresh      freshnessState
	configs    []raftpb.ConfigRecord // the newest committed one and all above
	membership *raftpb.Membership
	voters     electorates
	roundTrip  roundTrip
	pull       pullState
	install    installState
	yield      yield

	outbox   []raftpb.Message // waits for (term, vote) to be durable (R6)
	readsOut []ReadState
	refusals []Refusal
	events   []Event
	logReads []LogRead
	installs []Install

	options   Options
	bootstrap raftpb.Bootstrap
	changes   changeState
	transfer  transferState // its first line

	// The rest is for what happens now and then.
	heal     healState
	standIns witnessState
	tail     tailState
	sealed   uint64 // a term of a former session in which a vote may be forgotten: none is given in it (R14)
	asked    uint64 // bootstrapping: how often the other initial members were asked
	addedAt  uint64 // ID of the first membership known here that has this replica
	readSeq  uint64 // number of the last log read
	random   random
	ignored  *[raftpb.MessageTypeCount]uint64 // nil while there was none
	dropped  uint64
}

// acknowledgement is what a follower owes its leader: at most one answer, for the newest request of this leader and term.
type acknowledgement struct {
	due     bool
	request uint64
	match   uint64 // last entry known to agree with this leader's log, durable or not
	sent    uint64 // last entry acknowledged in this term
}

// claim is who leads a term. It is remembered to the end of the term, also when that leader has stepped down or was given up: nobody
// else can lead the same term (R20).
type claim struct{ replica, session, incarnation uint64 }

// heartbeatAnswer is the answer to the newest heartbeat.
type heartbeatAnswer struct {
	due   bool
	round uint64
	time  int64
	bound Instant // for how long the replica has promised to vote for nobody else
}

// applyState bounds what the state machine has in hand.
type applyState struct {
	outstanding deque[span] // handed over and not yet applied
	bytes       int
	waiting     int    // bytes that are committed and not handed over, of batches that end behind uncounted
	uncounted   uint64 // what is left of the log of the start: how many bytes are in front of its end is not known
	reading     uint64 // number of the log read under way, 0 for none
	batches     []raftpb.Batch
}

// span is a stretch of the log by its last entry and its size.
type span struct {
	last  uint64
	bytes int
}

// Membership returns the effective membership. It is immutable; a change makes a new one.
func (c *Core) Membership() *raftpb.Membership { return c.membership }

// CommittedMembership returns the newest membership that is known to be committed.
func (c *Core) CommittedMembership() *raftpb.Membership {
	m := c.committedConfig().Membership
	return &m
}

// Leader returns the known leader, 0 if none, and the current term.
func (c *Core) Leader() (replica, term uint64) { return c.leader, c.term }

// Role returns what the replica is at the moment.
func (c *Core) Role() Role { return c.role }

// IsLeader says whether the replica leads its term.
func (c *Core) IsLeader() bool { return c.role == RoleLeader }

// Commit returns the highest index known to be committed.
func (c *Core) Commit() uint64 { return c.commit }

// LastIndex returns the index of the last entry, durable or not.
func (c *Core) LastIndex() uint64 { return c.log.last }

// Durable returns the index of the last entry that is durable here.
func (c *Core) Durable() uint64 { return c.log.durable }

// UncommittedBatches returns how many batches of this host are appended or forwarded here and not known to be committed.
func (c *Core) UncommittedBatches() int {
	return c.pending.uncommitted.len() + c.pending.forwardedBatches
}

// UncommittedEntries returns the entries of the batches that UncommittedBatches counts.
func (c *Core) UncommittedEntries() int {
	return c.pending.uncommittedEntries + c.pending.forwardedEntries
}

// MinRoundTrip returns the least round trip of the recent heartbeats over all voters, 0 when none is known.
func (c *Core) MinRoundTrip() time.Duration { return c.roundTrip.least() }

// Status returns a copy of the core's state.
func (c *Core) Status() Status {
	s := Status{
		ShardID: c.options.ShardID, ReplicaID: c.options.ReplicaID, Role: c.role, Term: c.term, Vote: c.vote,
		Leader: c.leader, Commit: c.commit, LastIndex: c.log.last, Durable: c.log.durable, Applied: c.applied,
		Storage: c.storage, Quarantined: c.quarantined, WitnessStandIns: c.standIns.count, Installing: c.installing || c.install.recovering, Backlog: c.backlog(), Membership: c.membership, Dropped: c.dropped,
		ElectionTimeout: c.options.ElectionTimeout, HeartbeatInterval: c.options.HeartbeatInterval,
	}
	if c.ignored != nil {
		s.Ignored = *c.ignored
	}
	if c.role != RoleLeader {
		return s
	}
	if c.hasLease(c.now) {
		s.LeaseEnd = c.leaseEnd()
	}
	for _, p := range c.peers {
		s.Followers = append(s.Followers, p.status())
	}
	return s
}

// event queues an event of the current term.
func (c *Core) event(e Event) {
	e.Term = c.term
	c.events = append(c.events, e)
}
