package transporttest

import (
	"errors"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// Clause: Start once, Close any number of times; a transport that does not run refuses. Peer returns the same value for the same
// address and connects nothing.
func testLifecycle(s *suite) {
	a := s.host()
	if a.Name() == "" {
		s.Error("Name is empty")
	}
	if p := a.Peer("somewhere:1"); p != a.Peer("somewhere:1") || p.Address() != "somewhere:1" {
		s.Error("Peer does not return the same value for the same address")
	}
	if a.Start(a.Recorder) == nil {
		s.Error("a second Start succeeded")
	}
	if taken := a.Peer(a.identity.Address).Send(transport.LaneCount, pings(0, 1)); taken != 0 {
		s.Error("a lane that does not exist took a message")
	}
	s.stop(a)
	s.stop(a)
	if err := a.Start(a.Recorder); !errors.Is(err, transport.ErrClosed) {
		s.Errorf("Start after Close: %v, want ErrClosed", err)
	}
	if taken := a.Peer(a.identity.Address).Send(transport.LaneControl, pings(0, 1)); taken != 0 {
		s.Error("Send after Close took a message")
	}

	identity := transport.HostIdentity{Deployment: deployment, HostID: 99, Epoch: 1, Address: s.network.Address(s.T)}
	never := &host{Transport: s.network.Host(s.T, identity), Recorder: NewRecorder(s.T)}
	if taken := never.Peer(a.identity.Address).Send(transport.LaneBulk, pings(0, 1)); taken != 0 {
		s.Error("Send before Start took a message")
	}
	s.stop(never)
}

// Clause: PeerUp says that an outgoing lane is connected, and to whom; PeerDown that it is lost, once for each lane. From then on
// Send refuses until the lane is up again.
func testUpAndDown(s *suite) {
	a, b := s.host(), s.host()
	p := s.connect(a, b)
	a.Wait("the identity", func(r *Recorder) bool {
		return r.Last(b.identity.Address, transport.LaneBulk).Identity == b.identity
	})
	b.mu.Lock()
	if len(b.connections) != 0 {
		s.Error("the accepting side was told of an outgoing lane")
	}
	b.mu.Unlock()
	s.stop(b)
	for lane := range transport.LaneCount {
		a.Wait("PeerDown", func(r *Recorder) bool { return !r.up(b.identity.Address, lane) })
		if taken := p.Send(lane, pings(0, 2)); taken != 0 {
			s.Errorf("Send on the lost %v lane took %d messages", lane, taken)
		}
	}
}

// Clause: a lane that could not be made is a PeerDown; what waited for it is discarded, and from then on Send refuses, and
// says so. While somebody wants to send it is tried again.
func testUnreachable(s *suite) {
	a := s.host()
	address := s.network.Address(s.T)
	p := a.Peer(address)
	if taken := p.Send(transport.LaneControl, pings(0, 2)); taken != 2 {
		s.Errorf("the first Send took %d of 2 messages; it should wait for the connection", taken)
	}
	a.Wait("PeerDown", func(r *Recorder) bool { return r.Last(address, transport.LaneControl) != nil })
	if taken := p.Send(transport.LaneControl, pings(2, 3)); taken != 0 {
		s.Errorf("Send to nobody took %d messages", taken)
	}
	if got := p.Counters(); got.MessagesRefused != 3 || got.ConnectFailures == 0 || got.Connects != 0 {
		s.Errorf("counters after 3 refused messages: %+v", got)
	}
	b := s.hostAs(transport.HostIdentity{Deployment: deployment, HostID: 99, Epoch: 1, Address: address})
	s.sendAll(p, transport.LaneControl, pings(9, 1))
	if got := b.WaitReceived(transport.LaneControl, 1); got[0].Message.Request != 9 {
		s.Errorf("number %d arrived, which was queued for a connection that could not be made", got[0].Message.Request)
	}
}

// Clause: while somebody wants to send, a lost lane is made again; a peer that restarted has a higher epoch, and messages flow.
func testRestart(s *suite) {
	a, b := s.host(), s.host()
	p := s.connect(a, b)
	s.connect(b, a)
	for epoch := uint64(2); epoch < 5; epoch++ {
		s.stop(b)
		a.Wait("PeerDown", func(r *Recorder) bool { return !r.up(b.identity.Address, transport.LaneBulk) })
		identity := b.identity
		identity.Epoch = epoch
		b = s.hostAs(identity)
		s.sendAll(p, transport.LaneBulk, []raftpb.Message{ping(epoch)})
		got := b.WaitReceived(transport.LaneBulk, 1)
		if got[0].Message.Request != epoch {
			s.Errorf("the restarted peer first receives number %d, want %d: what was queued for a lost connection is discarded",
				got[0].Message.Request, epoch)
		}
		a.Wait("PeerUp with the new epoch", func(r *Recorder) bool {
			return r.Last(b.identity.Address, transport.LaneBulk).Identity == identity
		})
		s.connect(b, a)
	}
}

// Clause (R14): a host whose epoch went back is refused, by those who dial it and by those whom it dials, and learns that from the
// latter.
func testStaleEpoch(s *suite) {
	a, b := s.host(), s.host()
	s.stop(b)
	identity := b.identity
	identity.Epoch = 5
	b = s.hostAs(identity)
	p := s.connect(a, b)
	s.stop(b)
	a.Wait("PeerDown", func(r *Recorder) bool { return !r.up(identity.Address, transport.LaneControl) })

	identity.Epoch = 4
	b = s.hostAs(identity)
	s.eventually("the refusal is reported", func() bool {
		if p.Send(transport.LaneControl, pings(0, 1)) != 0 {
			s.Fatal("a host with a stale epoch was sent to")
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		err := a.Last(identity.Address, transport.LaneControl).Err
		return errors.Is(err, transport.ErrStaleEpoch) && !errors.Is(err, transport.ErrOwnEpoch)
	})
	b.Peer(a.identity.Address).Send(transport.LaneControl, pings(0, 1))
	b.Wait("the refusal", func(r *Recorder) bool {
		last := r.Last(a.identity.Address, transport.LaneControl)
		return last != nil && errors.Is(last.Err, transport.ErrStaleEpoch) && errors.Is(last.Err, transport.ErrOwnEpoch)
	})
}

// Clause: hosts of different deployments refuse each other, and nothing is delivered.
func testDeployment(s *suite) {
	a := s.host()
	other := s.hostAs(transport.HostIdentity{Deployment: "another", HostID: 99, Epoch: 1, Address: s.network.Address(s.T)})
	a.Peer(other.identity.Address).Send(transport.LaneBulk, pings(0, 1))
	a.Wait("ErrDeployment", func(r *Recorder) bool {
		last := r.Last(other.identity.Address, transport.LaneBulk)
		return last != nil && errors.Is(last.Err, transport.ErrDeployment)
	})
	other.mu.Lock()
	defer other.mu.Unlock()
	if len(other.received[transport.LaneBulk]) != 0 {
		s.Error("a message crossed into another deployment")
	}
}
