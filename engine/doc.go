// Package engine schedules the replicas of one host: it owns the step workers, the log writer, the apply pool, and the replica that ties
// one shard's parts together.
//
// # Workers
//
// Everything runs in workers. A worker is a plain method, RunOnce, that takes what is in its inbox, does what is due and
// returns; loop (loop.go) is the one goroutine body that runs it when it is signalled or its deadline has come. Nothing
// else in this package starts a goroutine, reads a clock or sets a timer, so a test or simulator runs the very same code in
// one goroutine, in any order that production could have.
//
//	client ── Propose ──► proposalQueue ─┐
//	peers  ── Receive ──► inbox ─────────┼──► StepWorker ──► outboxes ──► transport          (1) messages that may go now
//	disk   ── saved ────► inbox ─────────┘        │ ├──────► logWriter ──► LogDB.Commit      (2) updates, all shards together
//	                                              │ └──────► applyPool ──► StateMachine      (3) committed and durable batches
//	                                              ├────────► logReads ──► LogDB.Read         (4) old log for who is behind
//	                                              └────────► promiseKeeper, eventQueue       (5) now and then
//	applyPool ── a snapshot is due ──► jobPool ──► StateMachine.Save, Sync ──► snapshotKeeper ──► StepWorker: log is let go of
//
// One iteration of a step worker: swap the inbox out; give saved events, messages, log reads and link events to the cores that
// they are for; fire the timer wheel; let every touched replica take requests and drain its core; send, Replicate first; hand
// one group to the log writer and go on without waiting; hand committed batches to the apply pool. Per iteration
// each target is locked once and signalled once, however many shards were touched. Replicas with nothing due are not touched.
//
// # Who owns what
//
//   - A core, and everything of a Replica that is not marked otherwise, belongs to its step worker: only RunOnce touches it.
//     Others ask by appending to the inbox.
//   - A proposalQueue is shared between callers and the step worker, under its mutex.
//   - A pendingBatch moves from the queue to the step worker and is then shared with one apply worker through an atomic claim.
//   - A state machine belongs to the apply worker that has the replica scheduled; at most one has. Save of a view, and Sync, run beside it
//     on a worker of a job pool: such a one counts in the apply queue, and no state machine is closed, exchanged or recovered before it is out.
//   - A group belongs to the step worker that fills it, then to the log writer, then to the store.
//   - Bytes of batches are immutable once the leader has stamped them; everybody may hold them.
//
// # What may interleave
//
// Saved events come in the order of the commits, any time after the submit, also after the replica has moved on to another
// term or cut its log: the core matches them by number (R7). Messages come in any order. Applied indexes are published by the apply
// worker and looked at when the replica is touched next; when a core waits for one it asks for a signal. A replica that is
// stopped keeps receiving saved events, which are ignored; its shard can be started again only after a barrier through the log
// writer and the close of its state machine.
//
// # Snapshots
//
// snapshot_take.go says how one is taken, in which order things become durable, and what a crash leaves; snapshot_start.go how a state machine comes up
// from one, and when it is believed. Whatever may stay in a user's code for long is a job (background.go): it has one of a bounded number of
// places, is watched, and nobody waits for it. A replica that is stopped or healed cancels its own, and what closes the state machine waits
// in the apply queue for its end (apply_hold.go). Which log may go is said by the snapshots that are kept and by SnapshotPolicy.KeepEntries; the core
// has the last word, for it knows who still reads.
//
// # Streams
//
//	core: Output.Installs ──► receiver ── pulls ──► another host's sender ──► file, or viewStream ──► streamPipe
//	receiver ──► whole, durable ──► StepWorker ──► Core.SnapshotReceived ──► saved ──► job: Recover ──► Core.SnapshotInstalled
//
// The receiver (stream_receiver.go, stream_pull.go) pulls, spools and checks; the sender (stream_source.go, stream_send.go) serves what is pulled, within
// its limits (stream_rate.go); a state machine on disk writes into a pipe as the receiver takes it (stream_view.go, stream_pipe.go). Both workers
// own their streams; others reach them by their inboxes. A stream counts as a view of the apply queue, at either end, so that nothing is closed or exchanged
// under it. install.go has the steps of an installation and what a crash between any two of them leaves.
//
// # The rule of the open batch
//
// A lone proposal never waits. While batches of a shard are uncommitted, as many as fit in the least round trip (one on a
// LAN), further proposals gather in the open batch until it holds twice the entries in flight, or is full, or a commit makes
// room. Without the rule ten thousand blocking callers travel in batches of two.
//
// Commands of client sessions carry session fields. A batch has them in all entries or in none: the first call of a session begins
// a batch, and later ones have room for fields from their beginning as long as there are sessions. Which calls are shown to the state
// machine is decided by package rsm.
//
// # What state machines are told
//
// Leadership (leadership.go) goes through the queue of what is to be applied, so that it is told in the order of the log: its beginning behind the
// first entry of the term, its end behind all that was handed over meanwhile.
//
// # Stopping
//
// StopReplica of a leader begins with a departure (departure.go): proposals are refused, leadership is transferred, and only then,
// or after one election timeout, the replica is stopped. What is pending is answered at the stop.
//
// # Failures
//
// A panic in a core or in the code round it fences that replica: what it had put out in the iteration is thrown away and it is silent
// until it is started again. An error or panic of a state machine quarantines its replica. A failed write of the log
// store is a latch for the host, and a store that panics has failed. A panic in a callback ends that call only; a transport that
// panics has refused, a log handler that panics has dropped a record. None of them ends the process. A state machine that does not
// return, or a write that does not end, cannot be interrupted: whoever stops the replica is told so after MaxStopWait.
//
// # The rate
//
// Proposals of a shard are refused as busy while its state machine here, or those of a majority, have more to apply than
// MaxBacklogBytes (raft/backlog.go). One slow or stopped follower changes nothing: what it lacks is read back from the log
// store later, by the log readers alone, which read ahead.
package engine
