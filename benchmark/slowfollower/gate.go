package slowfollower

import (
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
	"github.com/flotilla-raft/flotilla/transport/tcp"
)

// gate stands between one host and all others. While it is closed messages are taken and thrown away: a sender cannot tell that from
// a receiver that stands still.
type gate struct {
	host   string // the address of the host behind it
	closed atomic.Bool
}

// transportOf makes a host's transport, TCP with the gate in front.
func (g *gate) transportOf(c nodehost.TransportContext) (transport.Transport, error) {
	made, err := tcp.New(tcp.Options{
		ListenAddress: c.ListenAddress, AdvertiseAddress: c.Identity.Address, Identity: c.Identity, TLS: c.TLS, Logger: c.Logger,
		MaxFrameBytes: c.MaxFrameBytes, Seed: c.Seed,
	})
	if err != nil {
		return nil, err
	}
	return gatedTransport{made, g, c.Identity.Address}, nil
}

type gatedTransport struct {
	transport.Transport
	gate *gate
	own  string
}

// Peer implements transport.Transport.
func (t gatedTransport) Peer(address string) transport.Peer {
	if t.own != t.gate.host && address != t.gate.host {
		return t.Transport.Peer(address)
	}
	return gatedPeer{t.Transport.Peer(address), t.gate}
}

type gatedPeer struct {
	transport.Peer
	gate *gate
}

// Send implements transport.Peer.
func (p gatedPeer) Send(lane transport.Lane, messages []raftpb.Message) int {
	if p.gate.closed.Load() {
		return len(messages)
	}
	return p.Peer.Send(lane, messages)
}
