package nodehost

import (
	"slices"
	"strings"
	"sync"

	"github.com/flotilla-raft/flotilla/transport"
)

// peerList is a transport that remembers whom the engine has spoken to, for Info.
type peerList struct {
	transport.Transport

	mu    sync.Mutex
	peers map[string]transport.Peer
}

// Peer implements transport.Transport.
func (l *peerList) Peer(address string) transport.Peer {
	peer := l.Transport.Peer(address)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.peers == nil {
		l.peers = make(map[string]transport.Peer)
	}
	l.peers[address] = peer
	return peer
}

// info returns the counters of all peers, ordered by address.
func (l *peerList) info() []PeerInfo {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]PeerInfo, 0, len(l.peers))
	for address, peer := range l.peers {
		all = append(all, PeerInfo{Address: address, Counters: peer.Counters()})
	}
	slices.SortFunc(all, func(a, b PeerInfo) int { return strings.Compare(a.Address, b.Address) })
	return all
}
