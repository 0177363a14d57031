// Package rsm holds the contracts of user state machines, applies committed batches to them, and keeps the client sessions that make a
// retried command run once.
//
// A Manager stands between the engine's apply pool and one user state machine. It owns the applied index, the sessions, the lock that
// keeps Lookups out of Updates, and the quarantine. The engine calls Apply from at most one goroutine at a time (a shard is in at most one
// apply worker); Lookups come from any goroutine.
//
//	apply pool ── Add(turn, batch)... ──► entries (sub-slices of the batches) ──► sessions: which of them are shown
//	           ── Apply(turn)         ──► StateMachine.Update ──► results ──► sessions, waiters
//	callers    ── Lookup(query)       ──► StateMachine.Lookup
//	snapshots  ── Prepare ──► Image.Save, beside Updates; Recover; Sync, beside Updates
//
// # Kinds
//
// A state machine is what it has methods for; kinds.go holds the contracts.
//
//	              Update, Lookup, Close, and   at a start                                 a snapshot holds up Updates
//	StateMachine  nothing                      is replayed from the beginning of the log  takes none: its log is never compacted
//	Snapshotter   Save, Recover                recovers from the newest snapshot          for as long as Save takes
//	Concurrent    Prepare, Recover             recovers from the newest snapshot          for Prepare
//	OnDisk        Prepare, Recover,            opens its own data, and says at which      for Prepare
//	              Open, Sync                   index it is
//
// An OnDisk that is to have client sessions is a SessionKeeper; the others have them without doing anything. Optional for all:
// StateVersioner, LeaderListener, MembershipListener, SnapshotListener.
//
// # What holds
//
//   - Every index is applied once and in order. A batch that does not follow the applied index is a fault of the engine and
//     ends in a violated invariant, which fences the replica.
//   - The applied index is published after Update has returned and before any result is handed out: whoever has a result, or a
//     read that was confirmed at an index, finds the state machine at least there.
//   - Entries of the engine's own (a leader's no-op, a membership) move the applied index and are not shown to the state machine. An
//     on-disk machine counts by what it is shown, so after a restart it may say less than had been applied, by such entries only; images and
//     SyncedIndex go by its count.
//   - Commands are handed over as sub-slices of the batch, with capacity equal to their length, so that appending to one cannot
//     reach into the next (R4). The batch is the very buffer that was proposed or received; nothing is copied.
//   - An error or a panic of the state machine ends its service: the Manager is quarantined, says so to every later call, and keeps the
//     error and the stack. How much of the last Update took effect is unknown, so nothing that it held is reported as applied.
//     The replica itself goes on voting and acknowledging, since these promises do not depend on its state (R24). A Lookup, a Prepare or a
//     Save that fails is its caller's alone: reading does not change the state.
//
// # Sessions
//
// An entry with a client ID is a call of that client's session; its series numbers the session's calls from 1, and the same number means the same
// call. The table of sessions follows from the log alone, so that it is the same on every replica at the same index:
//
//	entry                           what becomes of it
//	series 0, command = capacity    the session is made; above the capacity those that were used longest ago go
//	series max                      the session is removed
//	any, and no such session        ErrSessionExpired
//	series at or below responded    ErrCallForgotten: the client has the response, or does not want it
//	series that has a result        that result; also within the same turn
//	any other                       shown to the state machine, and its result is kept until responded passes it
//
// "responded" comes with every entry: the call up to which the client needs no response any more. An entry of a session makes it the one that was
// used last. Eviction is what makes "exactly once" depend on something: a call whose session is evicted before it was answered ends with an
// error that says so.
//
// Clients draw a new ID for each attempt to register. An attempt that is delivered late then makes a session that nobody uses; with
// the ID of a session that has been evicted meanwhile it would bring that one back, empty, and old calls would run again.
//
// Sessions are a section of every snapshot (session_codec.go has its format). On disk they belong to the state machine's own atomic writes (R26): with each Update
// it is handed the SessionDelta to write, and after Open it hands all that was written to LoadSessions. A crash then finds both, data and
// result, or neither.
//
// # Audits
//
// Entries of an audit (audit.go) end their turn, as memberships do: at the first the state is summed up as it is there, the others tell what the replicas
// found. The verdict follows from the log, so that it is the same everywhere. The engine decides when there is an audit.
//
// # Where to begin
//
// kinds.go says what a state machine may be. Packages kv and pebblekv are two to use or to copy, and rsmtest is the suite to hold one's own against.
package rsm
