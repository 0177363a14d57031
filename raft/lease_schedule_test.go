package raft

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// TestLeaseSchedules looks for a leader that serves a read by its lease while another one was elected and has committed: leaders that
// are cut off, on one way too, answers that come late, restarts, hand-overs, terms that rise by the way, timeouts that change.
// The network checks every read against all that was committed before it began.
func TestLeaseSchedules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var initial raftpb.Membership
		for id := range rapid.SampledFrom([]uint64{3, 3, 3, 4, 5}).Draw(t, "replicas") {
			initial.Members = append(initial.Members, raftpb.Member{ReplicaID: id + 1, Kind: raftpb.Voter})
		}
		preVote, checkQuorum := rapid.Bool().Draw(t, "pre-vote"), rapid.Bool().Draw(t, "check-quorum")
		n := newNetworkOf(initial, func(o *Options) {
			o.LeaseRead, o.DisablePreVote, o.DisableCheckQuorum = true, !preVote, !checkQuorum
		}, t.Fatalf)
		n.advance(3 * time.Second)
		var late []raftpb.Message
		for range rapid.IntRange(20, 120).Draw(t, "steps") {
			n.leaseStep(t, &late)
		}
	})
}

func (n *network) leaseStep(t *rapid.T, late *[]raftpb.Message) {
	node := n.nodes[rapid.IntRange(0, len(n.nodes)-1).Draw(t, "node")]
	if leader := n.leader(); leader != nil && rapid.Bool().Draw(t, "leader") {
		node = leader
	}
	switch action := rapid.IntRange(0, 19).Draw(t, "action"); action {
	case 0, 1, 2:
		for _, other := range n.nodes {
			n.cut[[2]uint64{node.id, other.id}] = action != 1
			n.cut[[2]uint64{other.id, node.id}] = action != 2
		}
	case 3, 4:
		clear(n.cut)
		n.queue = append(n.queue, *late...)
		*late = nil
		n.settle()
	case 5: // what is said now comes late
		for _, node := range n.nodes {
			n.drain(node)
		}
		*late = append(*late, n.queue...)
		n.queue = nil
	case 6:
		n.queue = append(n.queue, *late...)
		*late = nil
		n.settle()
	case 7:
		n.crash(node)
		n.start(node)
	case 8:
		node.core.TransferLeader(n.now, 1, uint64(rapid.IntRange(0, len(n.nodes)).Draw(t, "target")))
		n.drain(node)
	case 9: // somebody's late answer of a higher term
		from := n.nodes[node.id%uint64(len(n.nodes))]
		n.queue = append(n.queue, raftpb.Message{
			Type: raftpb.MessageReplicateResponse, ShardID: testShard, Term: node.core.term + 1, From: from.id, FromIncarnation: 10 + from.id,
			FromSession: from.session, To: node.id, ToIncarnation: 10 + node.id, ToSession: node.session,
		})
	case 10:
		election := time.Duration(rapid.SampledFrom([]int{300, 1000, 3000}).Draw(t, "timeout")) * time.Millisecond
		if err := node.core.SetTimeouts(n.now, election, 0); err != nil {
			t.Fatal(err)
		}
	case 11, 12, 13, 14:
		n.advance(time.Duration(rapid.IntRange(1, 900).Draw(t, "ms")) * time.Millisecond)
	case 15, 16:
		for _, node := range n.nodes {
			if node.core.IsLeader() {
				n.propose(node, "x")
			}
		}
		n.settle()
	default:
		for _, node := range n.nodes {
			if node.core.IsLeader() {
				n.readSequence++
				n.read(node, n.readSequence)
			}
		}
		n.settle()
	}
}
