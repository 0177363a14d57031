// Package memnet is a network inside one process, behind the transport contract. Tests and simulations run whole hosts on it
// without sockets, and the benchmark measures with it what sockets cost.
//
//	network, err := memnet.NewNetwork(memnet.Options{Seed: 1})
//	a := network.Host(transport.HostIdentity{Deployment: "d", HostID: 1, Epoch: 1, Address: "a"})
//	b := network.Host(transport.HostIdentity{Deployment: "d", HostID: 2, Epoch: 1, Address: "b"})
//
// # What is real
//
// Every Send is encoded by the codec that TCP uses into bytes of its own; on delivery these are copied into a chunk from the
// receiver's Handler.NewChunk and decoded there. So hosts share no memory, batches alias the receiver's buffers, and whatever
// breaks on the wire breaks here. Connections are made, refused (deployment, epoch), lost and made again as in any
// transport; queues are bounded and refuse.
//
// # Faults
//
// [Faults] belong to a link, the way from one address to another, and can be changed at any time: delay, loss, reordering, duplication,
// partition, each direction for itself; [Network.BreakConnection] ends connections. All is drawn from the seed.
// A frame is what one Send took; it is lost, delayed or doubled as a whole. Loss, reordering and duplication within a
// connection are harsher than TCP, which never does them, but the contract allows them across connections and the core must bear them.
//
// # Two modes
//
// In manual mode, the one that a network begins in, there is no goroutine and no clock. [Network.RunOnce] does what is due at an instant
// that the caller names, and says when the next thing is due. What is due at once on several links is done in an order drawn from the seed.
// Same seed, same calls: same run.
//
// [Network.Start] puts the network into running mode: each link that is used gets a goroutine, and the machine's clock
// decides what is due. Links are independent then: a handler that blocks on one delays no other.
//
// # Locks
//
// Network.mu (hosts, links, faults), link.mu (queue and state of a link), Host.mu (peers, closing), always taken in this order; none is
// held while a handler is called. The receiving end of a link, its chunk and decoder, is touched only by the one that
// delivers: RunOnce, or the link's goroutine.
package memnet
