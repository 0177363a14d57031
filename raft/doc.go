// Package raft is the deterministic protocol core of one replica of one shard: a value that is stepped by hand.
//
// Messages, completions and the time go in (Step, Saved, LogReadDone, Applied, Tick, Propose, ReadIndex ...); Drain moves
// what is to be done into an Output: messages that may leave now, at most one write, batches to apply, reads that are
// ready, refusals, events. The package has no goroutine, clock, disk, network or global randomness, so the same inputs
// give the same outputs, and what a simulator runs is what production runs.
//
// # Who owns what
//
// One step worker owns a core and makes all calls, one at a time. The core owns a batch from Propose on and stamps it in
// place; from the stamp on a batch is immutable and shared by the log, the messages, the writer, the cache and the state
// machine. Of a message Step keeps nothing but the bytes of its batches. An Output is read before its next Reset.
//
// Between two calls anything may interleave: writes and log reads complete late, messages are lost, doubled and reordered,
// the replica changes its role. Completions are therefore matched: a write by its number, and what it made durable falls
// when entries of it are cut; a log read by number, term and log generation; an answer by incarnation, session, term
// and request number, and an acknowledged entry by its term in the leader's own log.
//
// # The path of an entry
//
//	Propose ── stamp(term, index), append, pin ──┬── Drain: Replicate to each follower (before the local write, thesis 10.2.1)
//	  (a follower: forward once to the leader)   └── Drain: Save ── Saved: durable index moves up ──┐
//	                                                                                                ├─ majority of durable
//	follower: term gate ─ verify ─ cut what conflicts ─ append ─ Save ─ Saved ── ReplicateResponse ─┘  matches: commit
//	                                                                                                │
//	state machine ◄── Output.Apply: whole batches, in order, each once ◄── committed AND durable here
//
// # Invariants
//
// Each is checked by checkInvariants, the network of the tests, or invariant.Check, and no message can break one.
//
//   - Nothing is said in a term before (term, vote) is durable: the outbox, the ack and the heartbeat answer wait for
//     saveState.stateDurable. A candidate's own vote counts when its write completed.
//   - An ack speaks of min(durable, what is known to agree with this leader), and dies with its term.
//   - Only an entry of the leader's own term is committed by counting durable copies of voters, its own included only up to
//     its durable index (thesis 3.6.2). Entries at or below commit are never cut.
//   - compacted <= durable <= last; applied <= handed over <= commit <= last. Runs are contiguous and end at last; a run that
//     is not durable, or in no Save yet, is pinned in memory.
//   - The effective membership is the newest in the log, committed or not (thesis 4.1), and goes back when its entry is cut. Two
//     that follow each other have no disjoint quorums; while it is joint a quorum is a majority of both configurations (quorum.go).
//   - A change of the membership is an operation whose intent is in the log: whoever leads finishes it (change.go).
//   - A proposal ends exactly once: handed over for apply or refused. A forward of a session is decided once, for ever.
//   - A log begins anew only behind a snapshot of what is committed that it does not hold; from then on nothing is said before that is
//     durable, and nothing handed over before the state machine has recovered (install.go). A leader reopens replication when it has
//     heard that the follower's log has got as far as its own reaches back (offer.go).
//   - Log is let go of only when it is applied here, no log read under way wants it, and no snapshot is on its way to or within this
//     replica, or to a living follower that goes on there (compact.go).
//   - A read is confirmed by a heartbeat round that was sent after it arrived, in the same term, by voters.
//
// # The log in memory
//
// A list of runs without pointers {first, count, term, bytes, BatchRef} for the newest part; the bytes of the tail that is
// not durable or not yet handed over (pins); and the terms of the whole log, so that no term is ever read from disk. Bytes
// that are in neither pins nor cache are asked for with a LogRead. After a restart the list is empty and grows again.
//
// # Messages
//
//	message                   to        says                                     waits for
//	PreVote, PreVoteResponse  all       would you elect me? promises nothing     (term, vote) of the sender
//	Vote                      voters    elect me                                 own vote durable
//	VoteResponse              candidate granted                                  the vote durable
//	Replicate                 members   batches after (index, term), commit      leaders: nothing. Request 0: only the commit
//	                                                                             index, not answered
//	Probe                     members   do you hold (index, term)?               nothing; answered by ReplicateResponse
//	ReplicateResponse         leader    durable up to (index, term), or a reason the entries durable
//	Heartbeat                 members   I lead; round; min(commit, match)        the last one to that member: answered, or given
//	                                                                             up after an interval
//	HeartbeatResponse         leader    round, last durable entry                (term, vote)
//	ReadIndex(Response)       leader    a batch of reads; the index              the round
//	Propose(Response)         leader    a forwarded batch; only refusals answer  (term, vote)
//	TransferLeader(Response)  leader    hand over; only refusals answer, also    (term, vote)
//	                                    of a target that cannot campaign
//	TimeoutNow                target    campaign at once                         the target holds the whole log
//	InstallSnapshot           members   what you need is compacted: fetch a      nothing
//	                                    snapshot of that one (offer.go)
//	SnapshotStatus            leader    my log has got there, or why not         (term, vote), the log's restart
//	SnapshotPull, -Chunk                the engine's own: bytes of a snapshot
//	Bootstrap(Response)       initial   empty too? outside of terms              nothing
//	Pull(Response)            voter     entries of a longer log, for a voter     nothing
//	                                    that campaigns in vain (pull.go)
//	Removed                   former    a committed membership without you       nothing
//	ChangeMembers(Response)   leader    make members something else; the         (term, vote)
//	                                    operation's ID, or a reason
//	Heal                      members   I lost what I promised: know me by another incarnation. Outside of terms; heal.go
//	HealResponse              lost one  ask again with this number; or an entry that you acknowledged and have not
//
// The table of handlers, role × message, is in handlers.go; its empty cells are listed with reasons in cells_test.go. One
// gate (step.go) compares terms before any handler: lower ones are answered, higher ones adopted, but for pre-votes and for
// votes that are refused while a leader is alive.
//
// # Where to start
//
// core.go (the state), step.go (the gate), handlers.go (the table), then election.go, leader.go with replicate.go,
// progress.go and heartbeat.go, follow.go, save.go and drain.go. testdata/scripts holds a readable history for each rule,
// testdata/guards the lines of the core that each would notice the absence of; testdata/README.md tells how to write them.
package raft
