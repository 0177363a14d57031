package raft

import "github.com/flotilla-raft/flotilla/raftpb"

// forwardedTransfers remembers the newest requests of followers, so that each is decided once (R2). The network may double a request:
// its copy would find the hand-over that the first one began and be answered "transferring", or begin another one later, and
// either way a caller would be told that what happens surely does not.
type forwardedTransfers struct {
	newest [16]forwardedTransfer // a ring
	next   int
}

type forwardedTransfer struct{ session, request uint64 }

// take notes a request and says whether it is new.
func (f *forwardedTransfers) take(m *raftpb.Message) bool {
	key := forwardedTransfer{m.FromSession, m.Request}
	for i := range f.newest {
		if f.newest[i] == key {
			return false
		}
	}
	f.newest[f.next] = key
	f.next = (f.next + 1) % len(f.newest)
	return true
}

func (c *Core) handleTransferLeader(now Instant, m *raftpb.Message, p *peer) {
	if !c.transfer.taken.take(m) {
		c.dropped++
		return
	}
	t := leaderTransfer{target: m.HintIndex, replica: p.id, request: m.Request}
	if t.target == c.options.ReplicaID {
		return // it leads already, and the follower sees that
	}
	if reason := c.beginTransfer(now, t); reason != raftpb.ReasonNone {
		c.answer(m, raftpb.MessageTransferLeaderResponse, reason)
	}
}

func (c *Core) refuseTransfer(_ Instant, m *raftpb.Message, _ *peer) {
	c.answer(m, raftpb.MessageTransferLeaderResponse, raftpb.ReasonNotLeader)
}
