package memnet_test

import (
	"fmt"
	"time"

	"github.com/flotilla-raft/flotilla/plugin/memnet"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// printer is a handler that prints.
type printer struct{ name string }

func (p printer) NewChunk(size int) transport.Chunk {
	return transport.Chunk{Number: 1, Bytes: make([]byte, size)}
}

func (p printer) Receive(from transport.HostIdentity, lane transport.Lane, messages []raftpb.Message) {
	fmt.Printf("%s: %d from %s on the %v lane\n", p.name, len(messages), from.Address, lane)
}

func (p printer) PeerUp(address string, lane transport.Lane, _ transport.HostIdentity) {
	fmt.Printf("%s: %s is up on the %v lane\n", p.name, address, lane)
}

func (p printer) PeerDown(address string, lane transport.Lane, err error) {
	fmt.Printf("%s: %s is down on the %v lane: %v\n", p.name, address, lane, err)
}

// A network in manual mode moves only when it is told to, to an instant that it is told.
func ExampleNetwork_RunOnce() {
	network, err := memnet.NewNetwork(memnet.Options{
		Faults: memnet.Faults{DelayMin: time.Millisecond, DelayMax: time.Millisecond},
	})
	if err != nil {
		panic(err)
	}
	a := network.Host(transport.HostIdentity{Deployment: "d", HostID: 1, Epoch: 1, Address: "a"})
	b := network.Host(transport.HostIdentity{Deployment: "d", HostID: 2, Epoch: 1, Address: "b"})
	fmt.Println(a.Start(printer{"a"}), b.Start(printer{"b"}))

	a.Peer("b").Send(transport.LaneControl, []raftpb.Message{{Type: raftpb.MessageHeartbeat, ShardID: 1, From: 1, To: 2}})
	_, next := network.RunOnce(0)
	fmt.Println("the next thing is due at", time.Duration(next))
	network.RunOnce(next)

	network.BreakConnection("a", "b")
	network.RunOnce(next)
	// Output:
	// <nil> <nil>
	// a: b is up on the control lane
	// the next thing is due at 1ms
	// b: 1 from a on the control lane
	// a: b is down on the control lane: memnet: connection broken
}
