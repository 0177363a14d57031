package memnet

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/flotilla-raft/flotilla/transport"
)

// Never is the instant that RunOnce returns when nothing is under way.
const Never = int64(1<<63 - 1)

// errBroken is why a connection ended that BreakConnection or the end of a host broke.
var errBroken = errors.New("memnet: connection broken")

// Network connects hosts in one process. Its zero value is not usable.
type Network struct {
	options Options
	// now is the latest instant that RunOnce was given; sequence numbers packets in the order they were sent.
	now      atomic.Int64
	sequence atomic.Uint64
	random   *rand.Rand // of RunOnce only
	due      []*link    // scratch of RunOnce
	// background says that the network is in running mode; began is written before.
	background atomic.Bool
	began      time.Time

	// mu guards what follows. Lock order: Network.mu, link.mu, Host.mu. No handler is called under any of them.
	mu       sync.Mutex
	hosts    map[string]*Host // running hosts by address
	links    []*link          // of hosts that are not closed, in the order they were made: map order must decide nothing
	faults   map[route]*Faults
	standard *Faults
}

// route names a link by its two addresses.
type route struct{ from, to string }

// NewNetwork makes a network without hosts, in manual mode: nothing moves until RunOnce or Start. The error wraps
// transport.ErrConfig.
func NewNetwork(options Options) (*Network, error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	n := &Network{
		options: options.withDefaults(),
		random:  rand.New(rand.NewPCG(options.Seed, 0)),
		hosts:   make(map[string]*Host),
		faults:  make(map[route]*Faults),
	}
	n.standard = &n.options.Faults
	return n, nil
}

// Host makes the transport of one host, which others reach by identity.Address.
func (n *Network) Host(identity transport.HostIdentity) *Host {
	return newHost(n, identity)
}

// SetFaults changes the faults of the link from one address to another, from the next frame on. The other direction keeps its own.
func (n *Network) SetFaults(from, to string, faults Faults) error {
	if err := faults.Validate(); err != nil {
		return fmt.Errorf("%s to %s: %w", from, to, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.setFaultsLocked(route{from, to}, faults)
	return nil
}

func (n *Network) setFaultsLocked(r route, faults Faults) {
	n.faults[r] = &faults
	for _, l := range n.links {
		if l.route == r {
			l.faults.Store(&faults)
		}
	}
}

// Faults returns the faults of the link from one address to another.
func (n *Network) Faults(from, to string) Faults {
	n.mu.Lock()
	defer n.mu.Unlock()
	return *n.faultsLocked(route{from, to})
}

func (n *Network) faultsLocked(r route) *Faults {
	if faults := n.faults[r]; faults != nil {
		return faults
	}
	return n.standard
}

// SetPartitioned changes only Faults.Partitioned of the link from one address to another.
func (n *Network) SetPartitioned(from, to string, partitioned bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	faults := *n.faultsLocked(route{from, to})
	faults.Partitioned = partitioned
	n.setFaultsLocked(route{from, to}, faults)
}

// BreakConnection ends the connections of all lanes from one address to another: what is under way is lost, and the
// sender's handler gets PeerDown. They are made again as after any loss.
func (n *Network) BreakConnection(from, to string) {
	n.breakLinks(func(l *link) bool { return l.route == route{from, to} })
}

func (n *Network) breakLinks(which func(*link) bool) {
	n.mu.Lock()
	links := slices.Clone(n.links)
	n.mu.Unlock()
	for _, l := range links {
		if which(l) {
			l.breakConnection(errBroken)
		}
	}
}

// lookup returns the running host at an address, or nil.
func (n *Network) lookup(address string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hosts[address]
}

// partitioned says whether a connection cannot be made: it needs both directions.
func (n *Network) partitioned(r route) bool {
	return n.Faults(r.from, r.to).Partitioned || n.Faults(r.to, r.from).Partitioned
}
