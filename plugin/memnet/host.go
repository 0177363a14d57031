package memnet

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/lni/goutils/syncutil"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// Host is one host's transport in a Network.
type Host struct {
	network  *Network
	identity transport.HostIdentity
	stopper  *syncutil.Stopper // of its outgoing links in running mode
	closing  sync.Once
	live     atomic.Bool // started and not closed; handler is written before

	mu      sync.Mutex
	handler transport.Handler // nil until started
	closed  bool
	peers   map[string]*peer
	epochs  map[uint64]uint64 // highest epoch seen of each host id
	// deliveries counts calls of the handler by other hosts' goroutines; it only grows while closed is false.
	deliveries sync.WaitGroup
}

var _ transport.Transport = (*Host)(nil)

func newHost(n *Network, identity transport.HostIdentity) *Host {
	return &Host{
		network: n, identity: identity, stopper: syncutil.NewStopper(),
		peers: make(map[string]*peer), epochs: make(map[uint64]uint64),
	}
}

// Name implements transport.Transport.
func (h *Host) Name() string { return "memnet" }

// Start implements transport.Transport. An address at which another host runs is refused.
func (h *Host) Start(handler transport.Handler) error {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.handler != nil {
		return fmt.Errorf("%w or already started", transport.ErrClosed)
	}
	if h.identity.Address == "" || h.network.hosts[h.identity.Address] != nil {
		return fmt.Errorf("%w: address %q is empty or taken", transport.ErrConfig, h.identity.Address)
	}
	h.handler = handler
	h.live.Store(true)
	h.network.hosts[h.identity.Address] = h
	return nil
}

// Peer implements transport.Transport.
func (h *Host) Peer(address string) transport.Peer { return h.peer(address) }

func (h *Host) peer(address string) *peer {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.peers[address]
	if p != nil {
		return p
	}
	p = &peer{address: address}
	h.peers[address] = p
	for lane := range p.links {
		p.links[lane] = newLink(h, p, transport.Lane(lane))
		if !h.closed {
			h.network.links = append(h.network.links, p.links[lane])
		}
	}
	return p
}

// enter begins a call of the handler from another host's link; leave ends it. It returns nil if the host runs no more.
func (h *Host) enter() transport.Handler {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.handler == nil {
		return nil
	}
	h.deliveries.Add(1)
	return h.handler
}

func (h *Host) leave() { h.deliveries.Done() }

// admit checks what another host says of itself when a connection is made.
func (h *Host) admit(theirs transport.HostIdentity) error {
	if theirs.Deployment != h.identity.Deployment {
		return fmt.Errorf("%w: ours %q, theirs %q", transport.ErrDeployment, h.identity.Deployment, theirs.Deployment)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if seen := h.epochs[theirs.HostID]; theirs.Epoch < seen {
		return fmt.Errorf("%w: host %x presents epoch %d, was seen with %d", transport.ErrStaleEpoch, theirs.HostID, theirs.Epoch, seen)
	}
	h.epochs[theirs.HostID] = theirs.Epoch
	return nil
}

// Close implements transport.Transport. Connections to this host break. It must not be called from a call of a handler
// in running mode.
func (h *Host) Close() error {
	h.closing.Do(h.close)
	return nil
}

func (h *Host) close() {
	n := h.network
	n.mu.Lock()
	h.mu.Lock()
	h.closed = true
	h.live.Store(false)
	h.mu.Unlock()
	if n.hosts[h.identity.Address] == h {
		delete(n.hosts, h.identity.Address)
	}
	var own []*link
	n.links = slices.DeleteFunc(n.links, func(l *link) bool {
		if l.sender == h {
			own = append(own, l)
		}
		return l.sender == h
	})
	n.mu.Unlock()
	for _, l := range own {
		l.close()
	}
	n.breakLinks(func(l *link) bool { return l.connectedTo(h) })
	h.stopper.Stop()
	h.deliveries.Wait()
}

// peer is the way to one other host.
type peer struct {
	address  string
	links    [transport.LaneCount]*link
	counters transport.LiveCounters
}

// Address implements transport.Peer.
func (p *peer) Address() string { return p.address }

// Send implements transport.Peer. A lane that does not exist refuses.
func (p *peer) Send(lane transport.Lane, messages []raftpb.Message) int {
	if lane >= transport.LaneCount || len(messages) == 0 {
		return 0
	}
	return p.links[lane].send(messages)
}

// Counters implements transport.Peer.
func (p *peer) Counters() transport.Counters { return p.counters.Load() }
