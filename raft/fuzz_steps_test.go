package raft

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

func stepAnything(t *testing.T, data []byte) {
	r := &fuzzReader{data: data}
	n := r.network()
	for len(r.data) > 0 {
		node := n.nodes[int(r.byte())%len(n.nodes)]
		for range r.byte()%3 + 1 {
			m := r.message(node)
			node.core.Step(n.now, &m)
			checkInvariants(t, node.core)
		}
		n.fuzzCall(r, node)
		checkInvariants(t, node.core)
	}
}

func (n *network) fuzzCall(r *fuzzReader, node *testNode) {
	switch r.byte() % 28 {
	case 0:
		n.now += Instant(r.byte()) * Instant(10*time.Millisecond)
		node.core.Tick(n.now)
	case 1:
		node.core.Saved(n.now, r.number())
	case 2:
		read := LogRead{Follower: r.number(), Number: r.number(), From: r.number(), To: r.number(), Term: r.number()}
		node.core.LogReadDone(n.now, read, []raftpb.Batch{n.batch(node, 1, "x")}, nil)
	case 3:
		node.core.Applied(r.number())
	case 4:
		node.core.SetStorage(n.now, StorageState(r.byte()/85))
	case 5:
		node.core.ReadIndex(n.now, r.number())
	case 6:
		node.core.TransferLeader(n.now, r.number(), r.number())
	case 7:
		if r.byte() > 200 {
			node.core.CancelChange(n.now, r.number())
			return
		}
		node.core.ChangeMembers(n.now, r.number(), r.memberChange())
	case 8:
		node.core.Propose(n.now, n.batch(node, r.number(), "x", "y"))
	case 9:
		node.core.Unreachable(n.now, r.number())
	case 10:
		clear(node.cache.chunks)
	case 11:
		node.core.Compact(n.now, r.number())
	case 12, 13:
		n.win(node)
	case 14:
		n.lastCall(r, node)
	case 15:
		node.core.Refused(n.now, r.number())
	case 16:
		_ = node.core.SetTimeouts(n.now, time.Duration(r.number())*time.Millisecond, time.Duration(r.number())*time.Millisecond)
	case 18, 19:
		node.core.SnapshotReceived(n.now, r.snapshot())
	case 17:
		if len(node.reads) > 0 {
			node.core.LogReadDone(n.now, node.reads[0], []raftpb.Batch{r.batch(&raftpb.Message{From: 1, Term: 1}, node.reads[0].From)}, nil)
		}
	default:
		n.drain(node)
		for n.save(node) || n.readLog(node) {
		}
		for range min(len(n.queue), int(r.byte()%4)) {
			n.deliver(0)
		}
	}
}

// network is a shard in one of the shapes that memberships have; most of the time it has elected.
func (r *fuzzReader) network() *network {
	shape := r.byte()
	n := newNetwork(int(shape%5)+1, func(string, ...any) {})
	if shape > 60 {
		n.advance(3 * time.Second)
	}
	for _, node := range n.nodes { // many have nothing but a snapshot for who is behind
		if shape%4 == 0 {
			node.core.Compact(n.now, node.core.applied)
			n.drain(node)
		}
	}
	if shape <= 120 {
		return n
	}
	// As after a restart with a membership that was stored with the last entry: of all kinds, joint, with goals.
	m := r.membership()
	for _, node := range n.nodes {
		stored := &node.disk.stored
		m.ID = node.disk.last()
		if m.Validate() != nil || m.ID == 0 || len(m.Members) == 0 {
			continue
		}
		stored.Configs = []raftpb.ConfigRecord{{Index: m.ID, Membership: m}}
		node.options.DisablePreVote, node.options.DisableCheckQuorum = r.byte() > 200, r.byte() > 200
		n.start(node)
	}
	return n
}

// win makes a replica campaign and grants it what it asks for, so that also memberships that nobody elected have leaders.
func (n *network) win(node *testNode) {
	c := node.core
	if c.electionAt == Never {
		return
	}
	n.now = max(n.now, c.electionAt)
	c.Tick(n.now)
	for range 2 {
		n.out.Reset()
		c.Drain(&n.out)
		n.drained(node)
		for n.save(node) {
		}
		n.out.Reset()
		c.Drain(&n.out)
		asked := append([]raftpb.Message(nil), n.out.Messages...)
		n.drained(node)
		for i := range asked {
			m := &asked[i]
			response := m.Type + 1
			if m.Type != raftpb.MessagePreVote && m.Type != raftpb.MessageVote {
				continue
			}
			c.Step(n.now, &raftpb.Message{
				Type: response, ShardID: testShard, From: m.To, To: m.From, FromIncarnation: max(m.ToIncarnation, 1),
				FromSession: max(m.ToSession, 100+m.To), ToSession: m.FromSession, Term: m.Term, Request: m.Request,
			})
		}
	}
}

// lastCall is what a replica seldom gets over.
func (n *network) lastCall(r *fuzzReader, node *testNode) {
	switch r.byte() % 6 {
	case 0:
		node.core.Quarantine(n.now)
	case 1:
		node.core.Stop(n.now)
	case 2:
		node.core.SnapshotInstalled(n.now)
	case 3:
		node.core.SnapshotFailed(n.now, raftpb.Reason(r.byte())%raftpb.ReasonCount)
	case 4:
		_, _ = node.core.Promise()
	default:
		if len(node.reads) > 0 {
			node.core.LogReadDone(n.now, node.reads[0], nil, raftpb.ErrBodyChecksum)
		}
	}
}

func (r *fuzzReader) memberChange() raftpb.MembershipChange {
	var change raftpb.MembershipChange
	if r.byte() > 200 {
		change.IfID = r.number()
	}
	for range r.byte() % 4 {
		change.Members = append(change.Members, raftpb.MemberChange{
			ReplicaID: uint64(r.byte() % 7), Kind: raftpb.MemberKind(r.byte() % 4), Priority: raftpb.Priority(r.byte()),
		})
	}
	return change
}
