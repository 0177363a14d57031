package raft

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// TestFollowerAgainstItsDisk gives a follower the entries of one leader after another, each of which cuts some of the former's
// tail, while writes complete late and the replica crashes between them. What it takes for durable, acknowledges and hands over is
// the very entry that its disk has (R6 to R8, T-17); the network checks that at each step.
func TestFollowerAgainstItsDisk(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := newNetwork(3, t.Fatalf)
		n.advance(3 * time.Second)
		node, leader := n.nodes[0], n.nodes[1]
		for _, other := range n.nodes[1:] {
			n.cut[[2]uint64{other.id, 1}], n.cut[[2]uint64{1, other.id}] = true, true
		}
		term, keep := node.core.term, node.core.log.last
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0, 1:
				n.save(node)
			case 2:
				n.readLog(node)
			case 3:
				if rapid.IntRange(0, 4).Draw(t, "crash") == 0 {
					n.crash(node)
					n.start(node)
				}
			case 4, 5:
				n.drain(node)
			default:
				n.sendEntries(t, node, leader, &term, keep)
			}
			n.check(node)
		}
		for n.drain(node) || n.save(node) || n.readLog(node) {
		}
		if c := node.core; c.log.durable != c.log.last {
			t.Fatalf("durable %d, last entry %d", c.log.durable, c.log.last)
		}
	})
}

// sendEntries is a Replicate of a leader of this term or, often, of the next, whose log agrees up to some entry of the follower's.
func (n *network) sendEntries(t *rapid.T, node, leader *testNode, term *uint64, keep uint64) {
	c := node.core
	if rapid.Bool().Draw(t, "new leader") || *term <= c.term && c.leader != leader.id {
		*term = max(*term, c.term) + 1
	}
	before := c.log.last
	if *term > c.term {
		before = rapid.Uint64Range(min(max(keep, c.commit), c.log.last), c.log.last).Draw(t, "agrees up to")
	}
	m := raftpb.Message{
		Type: raftpb.MessageReplicate, ShardID: testShard, From: leader.id, To: node.id,
		FromIncarnation: leader.disk.stored.Bootstrap.Incarnation, FromSession: leader.session, Term: *term,
		LogIndex: before, LogTerm: c.log.terms.term(before), Commit: c.commit, Request: *term,
	}
	next := before + 1
	for range rapid.IntRange(1, 3).Draw(t, "batches") {
		b := commandBatch(*term, next, fmt.Sprint(next), rapid.IntRange(1, 3).Draw(t, "count"))
		m.Batches = append(m.Batches, b)
		next = b.Last() + 1
	}
	c.Step(n.now, &m)
}
