package transporttest

import (
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// Network makes the transports of one case. Queue bounds of at most a few MiB keep the cases that fill queues short;
// pauses between attempts to connect should be a few milliseconds.
type Network interface {
	// Address returns an address at which a host can listen, and listen again after it was closed, and which no
	// other host has.
	Address(t *testing.T) string
	// Host makes the transport of one host, not started.
	Host(t *testing.T, identity transport.HostIdentity) transport.Transport
}

// Patience is how long a case waits for something that must happen; it only bounds a failing run.
const Patience = time.Minute

const deployment = "conformance"

// Run runs all cases, each on a network of its own.
func Run(t *testing.T, newNetwork func(t *testing.T) Network) {
	for _, c := range []struct {
		name string
		run  func(*suite)
	}{
		{"Delivery", testDelivery},
		{"Order", testOrder},
		{"SmallBatchesAreCopied", testSmallBatchesAreCopied},
		{"Batches", testBatches},
		{"ChunkReuse", testChunkReuse},
		{"SnapshotChunks", testSnapshotChunks},
		{"OwnAddress", testOwnAddress},
		{"Lifecycle", testLifecycle},
		{"UpAndDown", testUpAndDown},
		{"Unreachable", testUnreachable},
		{"Restart", testRestart},
		{"StaleEpoch", testStaleEpoch},
		{"Deployment", testDeployment},
		{"StuckBulk", testStuckBulk},
		{"StuckSnapshot", testStuckSnapshot},
		{"ManyPeers", testManyPeers},
		{"Concurrency", testConcurrency},
		{"CloseDuringTraffic", testCloseDuringTraffic},
		{"Counters", testCounters},
	} {
		t.Run(c.name, func(t *testing.T) {
			current := goleak.IgnoreCurrent()
			s := &suite{T: t, network: newNetwork(t)}
			defer func() {
				s.closeAll()
				leaktest.Verify(t, current)
			}()
			c.run(s)
		})
	}
}

// suite is one running case.
type suite struct {
	*testing.T
	network Network
	hosts   []*host
	nextID  uint64
}

// host is a transport and what stands in for its owner.
type host struct {
	transport.Transport
	*Recorder
	identity transport.HostIdentity
}

// host makes and starts a host with a new address and epoch 1.
func (s *suite) host() *host {
	s.Helper()
	s.nextID++
	return s.hostAs(transport.HostIdentity{
		Deployment: deployment, HostID: s.nextID, Epoch: 1, Address: s.network.Address(s.T),
	})
}

func (s *suite) hostAs(identity transport.HostIdentity) *host {
	s.Helper()
	h := &host{Transport: s.network.Host(s.T, identity), Recorder: NewRecorder(s.T), identity: identity}
	s.hosts = append(s.hosts, h)
	// A host that has just been closed may hold its address for a moment longer.
	s.eventually("the host starts", func() bool { return h.Start(h.Recorder) == nil })
	return h
}

// stop closes a host and checks what its recorder holds.
func (s *suite) stop(h *host) {
	s.Helper()
	if err := h.Close(); err != nil {
		s.Errorf("Close: %v", err)
	}
	h.Finish()
}

func (s *suite) closeAll() {
	for _, h := range s.hosts {
		for lane := range transport.LaneCount {
			h.Unblock(lane)
		}
	}
	for _, h := range s.hosts {
		s.stop(h)
	}
}

// eventually tries again and again until attempt succeeds. It is for what only the caller can bring about, such as
// sending until a connection is back; what is told to a recorder is waited for there.
func (s *suite) eventually(what string, attempt func() bool) {
	s.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	for !attempt() {
		select {
		case <-ticker.C:
		case <-deadline.C:
			s.Fatalf("waited %v until %s", Patience, what)
		}
	}
}

// sendAll sends every message, trying again with the refused suffix.
func (s *suite) sendAll(to transport.Peer, lane transport.Lane, messages []raftpb.Message) {
	s.Helper()
	s.eventually("all messages are taken", func() bool {
		taken := to.Send(lane, messages)
		if taken < 0 || taken > len(messages) {
			s.Fatalf("Send of %d messages took %d", len(messages), taken)
		}
		messages = messages[taken:]
		return len(messages) == 0
	})
}

// connect makes all lanes from one host to another.
func (s *suite) connect(from, to *host) transport.Peer {
	s.Helper()
	p := from.Peer(to.identity.Address)
	for lane := range transport.LaneCount {
		s.sendAll(p, lane, []raftpb.Message{ping(0)})
		from.Wait("PeerUp", func(r *Recorder) bool { return r.up(to.identity.Address, lane) })
		to.Wait("the first message", func(r *Recorder) bool { return len(r.received[lane]) > 0 })
	}
	return p
}
