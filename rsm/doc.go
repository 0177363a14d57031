// Package rsm holds the contracts of user state machines and applies committed batches to them.
//
// A Manager stands between the engine's apply pool and one user state machine. It owns three things: the applied
// index, the lock that keeps Lookups out of Updates, and the quarantine. The engine calls Apply from at most one goroutine
// at a time (a shard is in at most one apply worker); Lookups come from any goroutine.
//
//	apply pool ── Apply(batches) ──► entries (sub-slices of the batches) ──► StateMachine.Update ──► results
//	callers    ── Lookup(query)  ──► StateMachine.Lookup
//
// # What holds
//
//   - Every index is applied once and in order. A batch that does not follow the applied index is a fault of the engine and
//     ends in a violated invariant, which fences the replica.
//   - The applied index is published after Update has returned and before any result is handed out: whoever has a result, or a
//     read that was confirmed at an index, finds the state machine at least there.
//   - Entries of the engine's own (a leader's no-op, a membership) move the applied index and are not shown to the state machine.
//   - Commands are handed over as sub-slices of the batch, with capacity equal to their length, so that appending to one cannot
//     reach into the next (R4). The batch is the very buffer that was proposed or received; nothing is copied.
//   - An error or a panic of the state machine ends its service: the Manager is quarantined, says so to every later call, and keeps the
//     error and the stack. How much of the last Update took effect is unknown, so nothing that it held is reported as applied.
//     The replica itself goes on voting and acknowledging, since these promises do not depend on its state (R24).
package rsm
