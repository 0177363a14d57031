package memnet

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// linkState says what a link does with messages; the states and their meaning are those of any transport.
type linkState uint8

const (
	linkIdle       linkState = iota // never used: the first Send queues and makes it connect
	linkConnecting                  // for the first time: messages queue
	linkUp
	linkDown   // refuses; tries again while somebody wants to send
	linkClosed // refuses for ever
)

// errUnreachable is why a connection could not be made.
var errUnreachable = errors.New("memnet: no host at that address, or partitioned from it")

const (
	sparePackets     = 16
	sparePacketBytes = 256 << 10
)

// link is one lane from one host to an address. Callers of Send put packets in; one deliverer at a time (RunOnce, or the
// link's own goroutine) takes them out and calls the handlers. What a connection is made of on the receiver's side, the
// chunk above all, belongs to the deliverer.
type link struct {
	network *Network
	sender  *Host
	peer    *peer
	route   route
	lane    transport.Lane
	limit   int
	faults  atomic.Pointer[Faults]
	wake    chan struct{} // capacity 1; used in running mode only
	inbound receiver      // of the deliverer

	mu      sync.Mutex
	random  *rand.Rand // faults of this link
	state   linkState
	started bool // its goroutine runs
	waiting bool // its goroutine needs a signal
	wanted  bool // somebody called Send since the last attempt
	attempt int64
	broken  error // the connection ended, the sender's handler does not know yet
	target  *Host // while up
	// queued is the sum of the lengths of packets, delivering that of the one that the deliverer holds. Together they
	// are at most limit, plus one message that came when they were 0 (and what duplication adds).
	packets            packetQueue
	queued, delivering int
	lastDue            int64 // of the packets that keep the order
	spare              [][]byte
}

// newLink is called under Network.mu.
func newLink(h *Host, p *peer, lane transport.Lane) *link {
	r := route{h.identity.Address, p.address}
	hash := fnv.New64a()
	_, _ = fmt.Fprintf(hash, "%q %q %d %d", r.from, r.to, lane, h.identity.Epoch)
	l := &link{
		network: h.network, sender: h, peer: p, route: r, lane: lane,
		limit: h.network.options.BulkQueueBytes, wake: make(chan struct{}, 1),
		random: rand.New(rand.NewPCG(h.network.options.Seed, hash.Sum64())),
	}
	switch lane {
	case transport.LaneControl:
		l.limit = h.network.options.ControlQueueBytes
	case transport.LaneSnapshot:
		l.limit = h.network.options.SnapshotQueueBytes
	}
	l.faults.Store(h.network.faultsLocked(r))
	return l
}

// send queues a prefix of messages as one frame.
func (l *link) send(messages []raftpb.Message) int {
	taken := 0
	running := l.sender.live.Load()
	l.mu.Lock()
	switch {
	case !running || l.state == linkClosed:
	case l.state == linkDown:
		l.wanted = true
	default:
		if l.state == linkIdle {
			l.state, l.attempt = linkConnecting, 0
		}
		taken = l.queueLocked(messages)
	}
	l.signalLocked()
	l.mu.Unlock()
	l.peer.counters.MessagesSent.Add(uint64(taken))
	l.peer.counters.MessagesRefused.Add(uint64(len(messages) - taken))
	return taken
}

func (l *link) queueLocked(messages []raftpb.Message) int {
	taken, size := 0, 0
	for i := range messages {
		next := raftpb.MessageSize(&messages[i])
		if used := l.queued + l.delivering + size; used > 0 && used+next > l.limit {
			break
		}
		taken, size = taken+1, size+next
	}
	if taken == 0 {
		return 0
	}
	frame := raftpb.AppendMessages(l.bufferLocked(size), messages[:taken])
	l.peer.counters.FramesSent.Add(1)
	l.peer.counters.BytesSent.Add(uint64(len(frame)))
	l.dispatchLocked(packet{frame: frame})
	return taken
}

// dispatchLocked gives a packet the fate that the link's faults draw for it.
func (l *link) dispatchLocked(p packet) {
	faults := l.faults.Load()
	if faults.Partitioned || faults.Loss > 0 && l.random.Float64() < faults.Loss {
		l.recycleLocked(p.frame)
		return
	}
	var now int64
	if *faults != (Faults{}) {
		now = l.network.clock()
	}
	if faults.Duplicate > 0 && l.random.Float64() < faults.Duplicate {
		second := packet{frame: append(l.bufferLocked(len(p.frame)), p.frame...)}
		second.due = now + l.delay(0, 2*faults.DelayMax.Nanoseconds())
		l.insertLocked(second)
	}
	if faults.Reorder > 0 && l.random.Float64() < faults.Reorder {
		p.due = now + l.delay(0, 2*faults.DelayMax.Nanoseconds())
	} else {
		p.due = max(l.lastDue, now+l.delay(faults.DelayMin.Nanoseconds(), faults.DelayMax.Nanoseconds()))
		l.lastDue = p.due
	}
	l.insertLocked(p)
}

func (l *link) delay(least, most int64) int64 {
	if most <= least {
		return least
	}
	return least + l.random.Int64N(most-least+1)
}

func (l *link) insertLocked(p packet) {
	p.sequence = l.network.sequence.Add(1)
	l.queued += len(p.frame)
	l.packets.insert(p)
}

func (l *link) bufferLocked(size int) []byte {
	if n := len(l.spare); n > 0 {
		buffer := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return buffer[:0]
	}
	return make([]byte, 0, size)
}

func (l *link) recycleLocked(frame []byte) {
	if len(l.spare) < sparePackets && cap(frame) <= sparePacketBytes {
		l.spare = append(l.spare, frame)
	}
}

// discardLocked throws away what is under way.
func (l *link) discardLocked() {
	for l.packets.len() > 0 {
		l.recycleLocked(l.packets.take().frame)
	}
	l.queued, l.lastDue = 0, 0
}

// breakConnection ends the connection, if there is one; the deliverer tells the sender's handler.
func (l *link) breakConnection(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != linkUp {
		return
	}
	l.downLocked()
	l.broken = reason
	l.signalLocked()
}

// downLocked refuses messages from now on. The next attempt comes a pause later.
func (l *link) downLocked() {
	l.discardLocked()
	l.state, l.wanted, l.target = linkDown, false, nil
	l.attempt = l.network.clock() + l.network.options.ReconnectPause.Nanoseconds()
}

// close refuses messages for ever and ends the link's goroutine.
func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.discardLocked()
	l.state, l.target, l.broken = linkClosed, nil, nil
	l.signalLocked()
}

func (l *link) connectedTo(h *Host) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.target == h
}
