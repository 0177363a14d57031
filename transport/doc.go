// Package transport is the contract for moving messages between hosts.
//
// A host has one [Transport]. It asks it for a [Peer] per address, sends with [Peer.Send], and is told everything else
// through its [Handler]. Package transport/tcp is the implementation for production, plugin/memnet the one for tests,
// simulation and comparison; transport/transporttest is the suite that any implementation must pass.
//
// # What may be relied upon, and what not
//
// Delivery is best effort: a message may be lost (with its connection, or in a queue that a lost connection left behind), doubled
// or reordered across connections. It is never damaged and never comes from another deployment, and one connection keeps its order. The Raft
// core is written for exactly this. What a transport may not do is lose in silence what it refuses: Send returns how many messages it
// took, always a prefix, so that the caller knows at once what was not sent.
//
// # Lanes
//
// Everything between two hosts travels on one of three lanes, each with a connection and a queue of its own: [LaneControl] for what
// is small and urgent, [LaneBulk] for entries and all that waits for entries, [LaneSnapshot] for the chunks of snapshots and what
// asks for them. A peer that chews on bulk data goes on hearing heartbeats, and one that receives gigabytes of state goes on
// replicating. Lanes are one-way: A's messages to B travel on connections that A made, and B's answers on B's, so that
// no side waits for the other's reader.
//
// # A lane's life
//
//	        first Send             connected
//	(idle) ───────────► connecting ─────────► up ◄────────────────┐
//	                        │                  │ lost             │ connected
//	                        │ failed           ▼                  │
//	                        └──────────────► down ── a Send and a pause ──► connecting again
//	                          PeerDown       PeerDown                       (PeerDown if it fails)
//
// Idle lanes cost nothing. While the first connection is being made messages queue, so that a lone message needs no
// retry; while down Send refuses. The queue of a lost connection is discarded, since nobody knows how much of it arrived: the shards
// that care learn of it by PeerDown and probe. A lane that is down is tried again only while somebody calls Send, so that nobody
// dials for ever a host that left.
//
// # Who owns which bytes
//
//   - The slice given to Send is the caller's again when Send returns. Small batches and payloads have been copied by then; large
//     ones are referenced until they are written or discarded, and must never change (R4: a batch is immutable from its
//     stamp on).
//   - A [Chunk] belongs to the transport from Handler.NewChunk until messages out of it are delivered; the part that those
//     messages alias is immutable from then on, and the rest is filled by later frames. Chunks are the unit of the log
//     cache, which is why the handler hands them out. What comes on [LaneSnapshot] is not cached: its bytes alias memory of
//     their own, which is the handler's from the delivery on.
//   - Batches keep their chunk's capacity (two-index slices): cap(chunk.Bytes) - cap(batch) is a batch's offset, which the log
//     cache stores instead of a pointer. Therefore nobody may append to a batch.
//   - The slice given to Handler.Receive is the transport's again when Receive returns; the lists of batches in the
//     messages are fresh and may be kept ([OwnBatches]).
//
// # Identity
//
// Each connection begins with both hosts saying who they are: deployment, host id, address, and the host epoch, which is one
// higher at every start of the process. An epoch that went back means that an old data directory was put back, whose promises
// are void; such a host is refused ([ErrStaleEpoch], R14), and is told so ([ErrOwnEpoch]).
//
// # Calling back
//
// Handler's methods are called from the transport's goroutines, for different connections concurrently; for one address and lane
// PeerUp and PeerDown come from one goroutine, in order. They may call Send, which never blocks on the network; they may not
// call Close, which waits for them.
package transport
