// Package tcp is the TCP implementation of the transport contract, with mutual TLS if it is configured.
//
// # From Send to Receive
//
//	caller of Send (a step worker)        sender goroutine          connection        receiving goroutine
//	 encodes into the lane's last frame ─► takes all frames,         ───────────►     reads into a chunk, checks frames,
//	 under lane.mu, one signal at most     seals them (CRC-32C),                      decodes in place: batches alias
//	                                       one write or writev                        the chunk; Handler.Receive
//
// Encoding is done by the caller because it has the messages in its cache and is spread over all step workers; the one sender of a
// lane does checksums and system calls only. While it writes, callers fill the next frames, and many calls of Send share a frame
// of up to 64 KiB without waiting for each other: a lone message is written at once, a busy lane batches by itself. Batches below 16 KiB
// are copied into the frame; longer ones are referenced and written by writev, which is cheaper from about there.
//
// # The handshake
//
// The host that dials sends a hello; the other answers with a welcome or a refusal. All three have one layout (little endian):
//
//	 0        8         10     11     12         16       24      32        40        42
//	┌────────┬─────────┬──────┬──────┬──────────┬────────┬───────┬─────────┬─────────┬─────────────────────┬────────┐
//	│FLOTILLA│ version │ kind │ lane │ length   │host id │ epoch │ process │ refusal │ four texts          │ CRC-32C│
//	│ 8      │ 2       │ 1    │ 1    │ 4        │ 8      │ 8     │ 8       │ 2       │ each 2 + at most 512│ 4      │
//	└────────┴─────────┴──────┴──────┴──────────┴────────┴───────┴─────────┴─────────┴─────────────────────┴────────┘
//	 kind     1 hello, 2 welcome, 3 refusal
//	 length   of what follows it, at most 4096
//	 process  random number of this transport; tells two processes with one epoch apart
//	 refusal  1 version, 2 deployment, 3 wrong host, 4 stale epoch, 5 garbage; 0 but in a refusal
//	 texts    deployment, own address, address that was dialled (hello), detail (refusal); each with its length in front
//	 CRC-32C  of everything before it
//
// The first 16 bytes stay as they are in every version, so that two versions can at least tell each other which they are. What is
// checked, on both sides, each with its error: version (ErrVersion), deployment (ErrDeployment), host id other than our own unless it
// is this very process, and by the acceptor that it was meant by the address dialled (ErrWrongHost), epoch not below any seen and of the same
// process if equal (ErrStaleEpoch). A newer epoch ends the connections of the older process. After the welcome only the host
// that dialled sends; it keeps reading all the same, to learn of the end at once.
//
// # The frame
//
//	 0      4       8        12        16
//	┌──────┬───────┬────────┬─────────┬───────────────────────────────────┐
//	│ FLFR │ flags │ length │ CRC-32C │ payload: a protobuf MessageBatch  │
//	│ 4    │ 4     │ 4      │ 4       │ length bytes                      │
//	└──────┴───────┴────────┴─────────┴───────────────────────────────────┘
//	 flags    0; others are refused
//	 length   1 to Options.MaxFrameBytes
//	 CRC-32C  of the first 12 bytes and the payload
//
// The payload is a sequence of records, so that a frame grows message by message. A frame that fails any check ends its connection
// (ErrFrame) and is counted; the host dials again. The bodies of batches have checksums of their own, which the
// receiving replica checks: damage that happened before framing is not the connection's fault.
//
// # Receiving in place
//
// A connection reads into a chunk from Handler.NewChunk: 256 KiB for bulk, 64 KiB for control; the snapshot lane makes its own,
// of 1 MiB. Whole frames are decoded where
// they lie; what messages alias is pinned, frames that nothing aliases leave their room to the next read. When the
// chunk is full the partial frame at its end moves to the next chunk, the only copy there is. A frame that is larger than a chunk gets one of its own
// size, beyond 1 MiB only after half of it has arrived. See frameReader.
//
// # Goroutines and locks
//
//   - accept loop: one; survives errors of accept.
//   - sender: one per lane that was ever used. It dials, writes, and makes all calls of PeerUp and PeerDown of its lane.
//   - watcher: one per outgoing connection; notices its end, and closes it so that a stuck write ends.
//   - receiver: one per accepted connection; handshake, then Receive.
//
// Locks: lane.mu (queue and state of a lane), Transport.mu (peers, open connections, starting goroutines), hostTable.mu (epochs,
// incoming connections). The order is lane.mu before Transport.mu; hostTable.mu is taken alone. No handler is called and
// nothing is written under a lock. Close closes every connection and waits for all goroutines.
//
// # Noticing the dead
//
// A peer whose process ends is noticed at once. One whose machine or network vanished is noticed when sent bytes
// stay unacknowledged for the lane's write timeout (TCP_USER_TIMEOUT on Linux; elsewhere when the socket's buffer is full), an idle one
// by keepalive. One that stays connected but reads nothing fills the lane's bounded queue, which then refuses, until the
// write timeout. The control lane's timeout is the shorter one. None of this replaces the core's own timeouts.
package tcp
