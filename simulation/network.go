package simulation

import (
	"errors"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

var (
	errCut    = errors.New("simulation: the network is cut")
	errBroken = errors.New("simulation: the connection broke")
	errStale  = errors.New("simulation: the host presents an old epoch")
)

// weather is what the network does to frames on the way from one host to another.
type weather struct {
	delayMin, delayMax       int64
	loss, duplicate, reorder float64
	damage                   float64 // a batch arrives with a flipped bit
	late                     int64   // beside the delay
	cut                      bool    // frames vanish, and no connection can be made
}

// queueBytes bounds what is under way on a link; more is refused, as by any transport.
const queueBytes = 4 << 20

// network moves frames between the hosts through the world's agenda. Every message is encoded and decoded by the codec of the
// product, so hosts share no memory.
type network struct {
	world  *World
	random random
	ways   [][]weather // from, to
	frames uint64
	spare  []*frame
}

// frame is what one Send took, on its way.
type frame struct {
	number     uint64
	link       *link
	connection uint32
	life       uint32 // of the receiver when the connection was made
	bytes      []byte
}

func newNetwork(w *World, hosts int) *network {
	n := &network{world: w, random: w.random.fork(), ways: make([][]weather, hosts)}
	for i := range n.ways {
		n.ways[i] = make([]weather, hosts)
	}
	n.calm()
	return n
}

// calm takes every fault away.
func (n *network) calm() {
	for _, row := range n.ways {
		for i := range row {
			row[i] = weather{delayMin: int64(100 * time.Microsecond), delayMax: int64(400 * time.Microsecond)}
		}
	}
}

type linkState uint8

const (
	linkIdle       linkState = iota // never used
	linkConnecting                  // for the first time: messages queue
	linkUp
	linkDown // refuses; tries again while somebody wants to send
)

// link is one lane of a host's way to another. A frame belongs to one connection of it and dies with that.
type link struct {
	endpoint   *endpoint
	to         int
	lane       transport.Lane
	state      linkState
	attempting bool // an eventConnect is scheduled
	connection uint32
	targetLife uint32
	lastDue    int64
	queued     int
	waiting    []*frame // while connecting

	chunk   transport.Chunk // the receiver's, filled from the front
	used    int
	decoder raftpb.Decoder
}

// endpoint is the transport of one life of a host. It implements transport.Transport.
type endpoint struct {
	host    *host
	network *network
	handler transport.Handler
	life    uint32
	peers   []*peer // by host
	epochs  map[uint64]uint64
}

type peer struct {
	address string
	links   [transport.LaneCount]*link
}

func newEndpoint(h *host) *endpoint {
	e := &endpoint{host: h, network: h.world.network, life: h.life, epochs: make(map[uint64]uint64)}
	for _, other := range h.world.hosts {
		p := &peer{address: other.address}
		for lane := range p.links {
			p.links[lane] = &link{endpoint: e, to: other.index, lane: transport.Lane(lane)}
		}
		e.peers = append(e.peers, p)
	}
	return e
}

// Name implements transport.Transport.
func (e *endpoint) Name() string { return "simulation" }

// Start implements transport.Transport.
func (e *endpoint) Start(handler transport.Handler) error {
	e.handler = handler
	return nil
}

// Peer implements transport.Transport.
func (e *endpoint) Peer(address string) transport.Peer {
	for _, p := range e.peers {
		if p.address == address {
			return p
		}
	}
	return &peer{address: address}
}

// Close implements transport.Transport.
func (e *endpoint) Close() error { return nil }

func (e *endpoint) alive() bool { return e.host.up && e.host.life == e.life }

// Address implements transport.Peer.
func (p *peer) Address() string { return p.address }

// Counters implements transport.Peer; nobody looks at them here.
func (p *peer) Counters() transport.Counters { return transport.Counters{} }

// Send implements transport.Peer.
func (p *peer) Send(lane transport.Lane, messages []raftpb.Message) int {
	l := p.links[lane]
	if l == nil || !l.endpoint.alive() {
		return 0
	}
	return l.send(messages)
}

func (l *link) send(messages []raftpb.Message) int {
	w := l.endpoint.host.world
	switch l.state {
	case linkDown:
		l.attempt(int64(20 * time.Millisecond))
		w.counters.add(countRefused, len(messages))
		return 0
	case linkIdle:
		l.state = linkConnecting
		l.attempt(int64(200 * time.Microsecond))
	}
	taken, size := 0, 0
	for i := range messages {
		next := raftpb.MessageSize(&messages[i])
		if l.queued+size > 0 && l.queued+size+next > queueBytes {
			break
		}
		taken, size = taken+1, size+next
	}
	for i := range messages[:taken] {
		w.sent(l.endpoint.host, l.to, &messages[i])
	}
	if taken == 0 {
		return 0
	}
	n := l.endpoint.network
	n.frames++
	f := n.frame(l)
	f.number = n.frames
	f.bytes = raftpb.AppendMessages(f.bytes[:0], messages[:taken])
	l.queued += len(f.bytes)
	if l.state == linkConnecting {
		l.waiting = append(l.waiting, f)
	} else {
		n.dispatch(f)
	}
	return taken
}

func (n *network) frame(l *link) *frame {
	f := &frame{}
	if last := len(n.spare) - 1; last >= 0 {
		f = n.spare[last]
		n.spare = n.spare[:last]
	}
	f.link, f.connection, f.life = l, l.connection, l.targetLife
	return f
}

func (n *network) free(f *frame) {
	if cap(f.bytes) <= 1<<16 && len(n.spare) < 256 {
		n.spare = append(n.spare, f)
	}
}

// dispatch draws a frame's fate.
func (n *network) dispatch(f *frame) {
	w, l := n.world, f.link
	way := &n.ways[l.endpoint.host.index][l.to]
	if way.cut || n.random.chance(way.loss) {
		if way.cut {
			w.counters.add(countCutFrames, 1)
		} else {
			w.counters.add(countLost, 1)
		}
		n.drop(f)
		return
	}
	if n.random.chance(way.duplicate) {
		w.counters.add(countDuplicated, 1)
		second := n.frame(l)
		second.number, second.connection, second.life = f.number, f.connection, f.life
		second.bytes = append(second.bytes[:0], f.bytes...)
		l.queued += len(second.bytes)
		n.deliverAt(second, w.now+n.random.between(way.delayMin, 3*way.delayMax))
	}
	if n.random.chance(way.reorder) {
		w.counters.add(countReordered, 1)
		n.deliverAt(f, w.now+n.random.between(way.delayMin, 3*way.delayMax))
		return
	}
	l.lastDue = max(l.lastDue, w.now+way.late+n.random.between(way.delayMin, way.delayMax))
	n.deliverAt(f, l.lastDue)
}

func (n *network) deliverAt(f *frame, at int64) {
	n.world.agenda.push(event{at: at, kind: eventDeliver, host: int32(f.link.to), life: f.life, frame: f})
}

func (n *network) drop(f *frame) {
	if f.connection == f.link.connection {
		f.link.queued -= len(f.bytes)
	}
	n.world.trace.add(record{at: n.world.now, kind: recordDrop, host: int32(f.link.to), other: int32(f.link.endpoint.host.index),
		numbers: [6]uint64{f.number, uint64(len(f.bytes))}})
	n.free(f)
}

// deliver hands a frame to its host, if the connection that it was sent on still exists.
func (n *network) deliver(f *frame) {
	l, w := f.link, n.world
	from, target := l.endpoint.host, w.hosts[l.to]
	if f.connection != l.connection || l.state != linkUp || !target.up || target.life != f.life || n.ways[from.index][l.to].cut {
		n.drop(f)
		return
	}
	l.queued -= len(f.bytes)
	w.trace.add(record{at: w.now, kind: recordDeliver, host: int32(l.to), other: int32(from.index),
		numbers: [6]uint64{f.number, uint64(len(f.bytes))}})
	handler := target.endpoint.handler
	if l.used+len(f.bytes) > len(l.chunk.Bytes) {
		newChunk := handler.NewChunk
		if l.lane == transport.LaneSnapshot {
			newChunk = transport.PrivateChunk
		}
		l.chunk, l.used = newChunk(max(16<<10, len(f.bytes))), 0
	}
	end := l.used + copy(l.chunk.Bytes[l.used:], f.bytes)
	l.decoder.Reset()
	messages, err := l.decoder.Decode(l.chunk.Bytes[l.used:end])
	if err != nil {
		w.violate("wire format", "host %d cannot decode what host %d sent: %v", l.to+1, from.index+1, err)
		return
	}
	if transport.OwnBatches(messages, l.chunk.Number) {
		l.used = end
	}
	n.free(f)
	for i := range messages {
		w.heard(target, from, &messages[i])
	}
	if way := &n.ways[from.index][l.to]; way.damage > 0 {
		n.damage(messages, way.damage)
	}
	handler.Receive(l.endpoint.identity(), l.lane, messages)
}

// damage flips a bit of a batch, as bad memory might behind the checksums of the wire: in its body (R4), or in its header (R5).
func (n *network) damage(messages []raftpb.Message, probability float64) {
	for i := range messages {
		for _, batch := range messages[i].Batches {
			if len(batch) <= raftpb.HeaderSize || !n.random.chance(probability) {
				continue
			}
			at := raftpb.HeaderSize + n.random.below(len(batch)-raftpb.HeaderSize)
			if n.random.chance(0.25) {
				at = n.random.below(raftpb.HeaderSize)
			}
			batch[at] ^= 1 << n.random.below(8)
			n.world.counters.add(countDamaged, 1)
		}
	}
}

func (e *endpoint) identity() transport.HostIdentity {
	return transport.HostIdentity{Deployment: "simulation", HostID: e.host.identity, Epoch: e.host.epoch, Address: e.host.address}
}

// attempt schedules the next try to connect.
func (l *link) attempt(after int64) {
	if l.attempting {
		return
	}
	l.attempting = true
	w := l.endpoint.host.world
	w.agenda.push(event{at: w.now + after, kind: eventConnect, host: int32(l.endpoint.host.index), life: l.endpoint.life, link: l})
}

// connect makes the connection, which needs both directions, or tells the host that it cannot be made.
func (l *link) connect() {
	l.attempting = false
	from, n := l.endpoint.host, l.endpoint.network
	target := from.world.hosts[l.to]
	err := n.meet(from, target)
	if err != nil {
		l.lose()
		from.endpoint.handler.PeerDown(target.address, l.lane, err)
		return
	}
	l.connection++
	l.state, l.targetLife, l.lastDue = linkUp, target.life, 0
	l.chunk, l.used = transport.Chunk{}, 0
	waiting := l.waiting
	l.waiting = nil
	from.endpoint.handler.PeerUp(target.address, l.lane, target.endpoint.identity())
	for _, f := range waiting {
		f.connection, f.life = l.connection, l.targetLife
		n.dispatch(f)
	}
}

func (n *network) meet(from, target *host) error {
	if !target.up || n.ways[from.index][target.index].cut || n.ways[target.index][from.index].cut {
		return errCut
	}
	if !target.endpoint.admit(from) || !from.endpoint.admit(target) {
		return errStale
	}
	return nil
}

// admit refuses a host that presents an epoch below one that was seen (R14).
func (e *endpoint) admit(other *host) bool {
	if other.epoch < e.epochs[other.identity] {
		return false
	}
	e.epochs[other.identity] = other.epoch
	return true
}

// lose makes the link refuse, and voids what is under way on it.
func (l *link) lose() {
	l.connection++
	l.state, l.queued = linkDown, 0
	for _, f := range l.waiting {
		l.endpoint.network.free(f)
	}
	l.waiting = nil
}

// broken is what a host does when it learns that a connection is lost.
func (l *link) broken() {
	if l.state != linkUp {
		return
	}
	l.lose()
	h := l.endpoint.host
	h.world.counters.add(countBroken, 1)
	h.endpoint.handler.PeerDown(h.world.hosts[l.to].address, l.lane, errBroken)
}

// breakLink lets a host learn, after a while, that its connection is lost.
func (n *network) breakLink(l *link, after int64) {
	n.world.agenda.push(event{at: n.world.now + after, kind: eventBroken, host: int32(l.endpoint.host.index), life: l.endpoint.life, link: l})
}

// hostGone breaks the connections to a host that crashed. Who had one learns it soon, or only when a keep-alive misses.
func (n *network) hostGone(gone *host) {
	for _, h := range n.world.hosts {
		if h == gone || !h.up {
			continue
		}
		for _, l := range h.endpoint.peers[gone.index].links {
			after := n.random.between(0, int64(time.Millisecond))
			if n.random.chance(0.3) {
				after = n.random.between(0, int64(2*time.Second))
			}
			n.breakLink(l, after)
		}
	}
}
