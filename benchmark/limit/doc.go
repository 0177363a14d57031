// Package limit is the engine that other engines are measured against: hosts that do what replication cannot do without, and
// nothing else. There is no consensus in it, no election, no reading and no recovery. It is a straightforward program, not a
// proven bound.
//
// A command is copied into the open batch of its shard on the host that leads it (shard number modulo hosts, for ever). A batch
// that is taken gets a header with a CRC-32C and is copied to the log of the leader and to one link for each other host. A
// link writes what has gathered to its TCP connection over loopback; the other end checks the checksum and copies the batch
// to its log. A log writes what has gathered to a file whose space was allocated beforehand, makes it durable with one fdatasync,
// one such group commit at a time, and acknowledges each batch of it to its leader. A batch is complete when a majority of the
// hosts, the leader counted, has acknowledged it.
//
//	Propose ─► open batch ─┬─► log ─► write, fdatasync ─────────────► completer ─┐
//	                       ├─► link ═ TCP ═► log ─► write, fdatasync ─► link ═► ack ├─► done
//	                       └─► link ═ TCP ═► log ─► write, fdatasync ─► link ═► ack ┘
//
// At most two batches of a shard are in flight. While callbacks issue the commands, a batch that completes takes half of what
// the shard then has outstanding with it, so that the two stay equal and take turns. When goroutines wait in Propose, the second
// batch is taken only if it is twice the first: they come one by one, and would be taken one by one.
//
// Files are neither reused nor removed while the cluster runs: a minute of 5 million small commands a second takes some 20 GB.
//
// Overwriting is the same program with another file technique, for information: files that were written before are written over, past the
// page cache, as the segmented log does (ring.go). Its measure is no other engine's target.
//
// # What is on the wire and in the files
//
// Both hold frames, one behind the other; numbers are little-endian. In a file a checksum of 0 with a length of 0 ends the
// frames: space that was allocated and not written reads as zeros.
//
//	 0       4      5        6      8         12       16      20      24            32
//	+-------+------+--------+------+---------+--------+-------+-------+-------------+--------------------------------+
//	| CRC   | kind | leader | zero | length  | count  | shard | zero  | index       | body: length bytes             |
//	+-------+------+--------+------+---------+--------+-------+-------+-------------+--------------------------------+
//
// The checksum covers all that follows it. Kind 1 is a batch: count commands, each behind its length as a varint; index is that of
// the first. Kind 2 is an acknowledgement: no body, and index is that of the last command of the batch.
//
// # State machines
//
// Applying commands is no part of the limit, so it is done when the load is over: Settle reads the files of all hosts back, checks
// every checksum and hands the commands to the machines. So the harness's end check covers what really lies on the disks.
package limit
