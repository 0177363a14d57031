// Package network gives the hosts of a cluster under test loopback addresses, and, if asked, a distance between them.
//
// With a delay each host is reached through a relay, a listener of its own in this process that passes bytes on to the address on
// which the host really listens, both ways the given time later. An engine notices nothing of it: it is told to advertise one
// address and to listen on another. So every engine meets the same network, at the same price: each byte is copied twice more and
// passes the loopback interface twice.
//
//	host A ──► relay of B: read ─► queue, due = now + delay ─► write ──► host B
//	       ◄──               write ◄─ queue, due = now + delay ◄─ read ◄──
//
// Order is kept, nothing is lost, and bandwidth is bounded only by what the queue holds (MaxQueuedBytes in each direction of a
// connection).
package network
