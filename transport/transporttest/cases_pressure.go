package transporttest

import (
	"fmt"
	"sync"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// Clause: queues are bounded and report what they refuse, always a suffix. A peer that stops reading bulk delays nothing on its
// control lane. What was taken arrives once it reads again.
func testStuckBulk(s *suite) { stuck(s, transport.LaneBulk, transport.LaneControl) }

// Clause: a peer that stops reading snapshots delays neither entries nor control.
func testStuckSnapshot(s *suite) {
	stuck(s, transport.LaneSnapshot, transport.LaneControl, transport.LaneBulk)
}

func stuck(s *suite, full transport.Lane, free ...transport.Lane) {
	a, b := s.host(), s.host()
	p := s.connect(a, b)
	b.Block(full)
	const bound = 512 << 20 // of bytes, to end a run whose queue has none
	var taken uint64
	refused := false
	for bytes := 0; !refused; {
		group := []raftpb.Message{replicate(taken+1, 1000), replicate(taken+2, 40_000), replicate(taken+3, 10)}
		n := p.Send(full, group)
		taken += uint64(n)
		refused = n < len(group)
		if bytes += 41_000; bytes > bound {
			s.Fatalf("the queue for a peer that reads nothing took %d bytes", bytes)
		}
	}
	if p.Counters().MessagesRefused == 0 {
		s.Error("refused messages were not counted")
	}
	for _, lane := range free {
		before := len(b.WaitReceived(lane, 1))
		for i := range 200 { // each at once: none waits for the full lane, or for a message after it
			if p.Send(lane, pings(uint64(i), 1)) != 1 {
				s.Fatalf("the %v lane refuses because the %v lane is full", lane, full)
			}
			b.WaitReceived(lane, before+i+1)
		}
	}
	b.Unblock(full)
	got := b.WaitReceived(full, int(taken)+1)[1:]
	for i := range got {
		if got[i].Message.Request != uint64(i)+1 {
			s.Fatalf("message %d of those that were taken has number %d", i+1, got[i].Message.Request)
		}
	}
	s.sendAll(p, full, []raftpb.Message{ping(taken + 1)})
	got = b.WaitReceived(full, int(taken)+2)
	if len(got) != int(taken)+2 {
		s.Errorf("%d messages arrived, %d were taken: refused ones must not be sent", len(got), taken+2)
	}
}

// Clause: connections of different peers are independent and concurrent.
func testManyPeers(s *suite) {
	const count, each = 7, 50
	var hosts []*host
	for range count {
		hosts = append(hosts, s.host())
	}
	for _, from := range hosts {
		for _, to := range hosts {
			for lane := range transport.LaneCount {
				s.sendAll(from.Peer(to.identity.Address), lane, pings(0, each))
			}
		}
	}
	for _, to := range hosts {
		for lane := range transport.LaneCount {
			next := make(map[uint64]uint64)
			for _, got := range to.WaitReceived(lane, count*each) {
				if got.Message.Request != next[got.From.HostID] {
					s.Fatalf("host %d sent number %d, want %d", got.From.HostID, got.Message.Request, next[got.From.HostID])
				}
				next[got.From.HostID]++
			}
		}
	}
}

// Clause: Peer and Send are safe for concurrent use; the messages of one goroutine keep their order.
func testConcurrency(s *suite) {
	a, b, c := s.host(), s.host(), s.host()
	const senders, each = 4, 500
	targets := []*host{b, c}
	var group sync.WaitGroup
	for sender := range senders {
		group.Go(func() {
			for i := range uint64(each) {
				for _, to := range targets {
					m := replicate(i, int(i)%300)
					m.From = uint64(sender) + 1
					control := ping(i)
					control.From = m.From
					s.sendAll(a.Peer(to.identity.Address), transport.LaneBulk, []raftpb.Message{m})
					s.sendAll(a.Peer(to.identity.Address), transport.LaneControl, []raftpb.Message{control})
					s.sendAll(a.Peer(to.identity.Address), transport.LaneSnapshot, []raftpb.Message{control})
				}
			}
		})
	}
	group.Wait()
	for _, to := range targets {
		for lane := range transport.LaneCount {
			next := make(map[uint64]uint64)
			for _, got := range to.WaitReceived(lane, senders*each) {
				if from := got.Message.From; got.Message.Request != next[from] {
					s.Fatalf("%v: sender %d, number %d, want %d", lane, from, got.Message.Request, next[from])
				}
				next[got.Message.From]++
			}
		}
	}
}

// Clause: Close stops everything and waits, at either end, also in the middle of traffic; no call of the handler comes after it
// returns (the recorder checks). Senders see refusals, nothing blocks.
func testCloseDuringTraffic(s *suite) {
	for _, receiverFirst := range []bool{true, false} {
		a, b := s.host(), s.host()
		s.connect(a, b)
		s.connect(b, a)
		stop := make(chan struct{})
		var group sync.WaitGroup
		for _, route := range [][2]*host{{a, b}, {b, a}} {
			for lane := range transport.LaneCount {
				group.Go(func() {
					message := []raftpb.Message{replicate(1, 100, 20_000)}
					for {
						select {
						case <-stop:
							return
						default:
							route[0].Peer(route[1].identity.Address).Send(lane, message)
						}
					}
				})
			}
		}
		a.WaitReceived(transport.LaneBulk, 100)
		b.WaitReceived(transport.LaneBulk, 100)
		first, second := a, b
		if receiverFirst {
			first, second = b, a
		}
		s.stop(first)
		second.Wait(fmt.Sprintf("PeerDown of %s", first.identity.Address), func(r *Recorder) bool {
			return !r.up(first.identity.Address, transport.LaneBulk)
		})
		s.stop(second)
		close(stop)
		group.Wait()
	}
}

// Clause: counters are totals for one peer, of both directions.
func testCounters(s *suite) {
	a, b := s.host(), s.host()
	p := a.Peer(b.identity.Address)
	s.sendAll(p, transport.LaneBulk, pings(0, 10))
	s.sendAll(p, transport.LaneControl, pings(0, 5))
	b.WaitReceived(transport.LaneBulk, 10)
	b.WaitReceived(transport.LaneControl, 5)
	s.eventually("the sender has counted", func() bool { return p.Counters().MessagesSent == 15 })
	sent, received := p.Counters(), b.Peer(a.identity.Address).Counters()
	if sent.Connects != 2 || sent.Disconnects != 0 || sent.MessagesRefused != 0 || sent.FramesSent == 0 {
		s.Errorf("sender's counters: %+v", sent)
	}
	if received.MessagesReceived != 15 || received.BytesReceived != sent.BytesSent || received.FramesReceived != sent.FramesSent {
		s.Errorf("receiver's counters: %+v\nsender's: %+v", received, sent)
	}
}
