// Package transporttest is the conformance suite of the transport contract: any transport.Transport must pass it.
//
//	func TestConformance(t *testing.T) {
//		transporttest.Run(t, func(t *testing.T) transporttest.Network { return myNetwork{} })
//	}
//
// Each case begins with the clause of the contract that it tests. A case makes its hosts, uses them only through the
// contract, waits for conditions (never for a time to pass), closes them, and fails if a goroutine is left over. A
// [Recorder] stands in for the host: besides keeping what it is told it checks, in every case and at every call, what must
// hold always:
//
//   - PeerUp and PeerDown of an address and lane alternate, a failed attempt being a PeerDown too;
//   - nothing is called after Close has returned;
//   - a message that carries batches or a payload names a chunk that this very handler handed out, its bytes lie inside
//     that chunk, and the offset follows from the capacities; on the snapshot lane it names none;
//   - what was delivered stays byte for byte what it was until the end of the case, lists of batches included.
package transporttest
