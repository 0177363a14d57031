package raft

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// followerModel is a follower by the book: a log of terms, what was sent to it and is on its way, and what it has ever said.
type followerModel struct {
	terms []uint64 // by index; as the leader's, for this follower never has another log
	sent  []raftpb.Message
	acked uint64
}

// TestProgressAgainstAFollower lets a leader send to a follower whose messages are lost, doubled, reordered and answered late,
// and whose answers are too. The window is never exceeded, match is never more than what was acknowledged, and when the
// faults end everything arrives.
func TestProgressAgainstAFollower(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := newNetwork(3, t.Fatalf)
		for _, node := range n.nodes {
			node.options.MaxInflightBytes, node.options.MaxInflightMessages, node.options.MaxMessageBytes = 900, 6, 300
			n.crash(node)
			n.start(node)
		}
		n.settle()
		n.advance(3 * time.Second)
		leader := n.leader()
		if leader == nil {
			t.Fatal("no leader")
		}
		p := leader.core.peers[0]
		m := &followerModel{terms: make([]uint64, leader.core.log.last+1), acked: p.match}
		for index := range m.terms {
			m.terms[index] = leader.core.log.terms.term(uint64(index))
		}
		m.terms[0] = 0
		n.cut[[2]uint64{leader.id, p.id}], n.cut[[2]uint64{p.id, leader.id}] = true, true
		var answers []raftpb.Message
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			answers = m.step(t, n, leader, p, answers)
			m.check(t, leader.core, p)
			if p.state == ProgressReplicate && p.next <= leader.core.log.last && leader.core.windowOpen(p) {
				t.Fatalf("the window is open, and %d is not sent", p.next)
			}
		}
		m.finish(t, n, leader, p)
	})
}

func (m *followerModel) step(t *rapid.T, n *network, leader *testNode, p *peer, answers []raftpb.Message) []raftpb.Message {
	switch rapid.IntRange(0, 9).Draw(t, "step") {
	case 0, 1, 2:
		n.propose(leader, string(make([]byte, rapid.IntRange(1, 200).Draw(t, "bytes"))))
	case 3, 4, 5:
		if len(m.sent) > 0 {
			i := rapid.IntRange(0, len(m.sent)-1).Draw(t, "message")
			answers = append(answers, m.answer(t, leader, p, m.sent[i]))
			if rapid.IntRange(0, 3).Draw(t, "again") > 0 {
				m.sent = append(m.sent[:i:i], m.sent[i+1:]...)
			}
		}
	case 6, 7, 8:
		if len(answers) > 0 {
			i := rapid.IntRange(0, len(answers)-1).Draw(t, "answer")
			leader.core.Step(n.now, &answers[i])
			if rapid.IntRange(0, 3).Draw(t, "again") > 0 {
				answers = append(answers[:i:i], answers[i+1:]...)
			}
		}
	default:
		if rapid.Bool().Draw(t, "unreachable") {
			leader.core.Unreachable(n.now, p.id)
			break
		}
		m.sent = nil
	}
	m.drain(n, leader, p)
	return answers
}

// drain collects what the leader sends to this follower.
func (m *followerModel) drain(n *network, leader *testNode, p *peer) {
	n.out.Reset()
	leader.core.Drain(&n.out)
	for _, message := range n.out.Messages {
		if message.To == p.id && message.Type == raftpb.MessageReplicate && message.Request != 0 {
			message.Batches = append([]raftpb.Batch(nil), message.Batches...)
			m.sent = append(m.sent, message)
		}
	}
	n.drained(leader)
	for n.save(leader) || n.readLog(leader) {
	}
}

// answer is what a follower with this log says. It may be busy; it acknowledges what it then has.
func (m *followerModel) answer(t *rapid.T, leader *testNode, p *peer, sent raftpb.Message) raftpb.Message {
	a := raftpb.Message{
		Type: raftpb.MessageReplicateResponse, ShardID: testShard, From: p.id, FromIncarnation: p.incarnation,
		FromSession: p.session, To: leader.id, ToSession: leader.session, Term: leader.core.term, Request: sent.Request,
	}
	last := uint64(len(m.terms) - 1)
	switch {
	case len(sent.Batches) > 0 && rapid.IntRange(0, 9).Draw(t, "busy") == 0:
		a.Reason = raftpb.ReasonBusy
	case sent.LogIndex > last:
		a.Reason, a.HintIndex, a.HintTerm = raftpb.ReasonConflict, last, m.terms[last]
	default:
		a.LogIndex = sent.LogIndex
		for _, b := range sent.Batches {
			for index := b.First(); index <= b.Last(); index++ {
				if index == uint64(len(m.terms)) {
					m.terms = append(m.terms, b.Term())
				}
			}
			a.LogIndex = b.Last()
		}
		a.LogTerm = m.terms[a.LogIndex]
		m.acked = max(m.acked, a.LogIndex)
	}
	return a
}

func (m *followerModel) check(t *rapid.T, c *Core, p *peer) {
	if fault := faultOf(c); fault != "" {
		t.Fatal(fault)
	}
	if p.match > m.acked {
		t.Fatalf("match %d, acknowledged %d", p.match, m.acked)
	}
	if p.inflight.len() > c.options.MaxInflightMessages {
		t.Fatalf("%d messages in flight", p.inflight.len())
	}
	if p.inflightBytes > c.options.MaxInflightBytes+c.options.MaxMessageBytes {
		t.Fatalf("%d bytes in flight", p.inflightBytes)
	}
}

// finish answers everything in order until the follower has the whole log.
func (m *followerModel) finish(t *rapid.T, n *network, leader *testNode, p *peer) {
	p.paused = false
	leader.core.probeFrom(p, p.match+1) // as a nudge does, when a heartbeat is answered
	m.sent = nil
	for range 400 {
		m.drain(n, leader, p)
		if len(m.sent) == 0 {
			break
		}
		message := m.sent[0]
		m.sent = m.sent[1:]
		var a raftpb.Message
		for ok := false; !ok; ok = a.Reason != raftpb.ReasonBusy {
			a = m.answer(t, leader, p, message)
		}
		leader.core.Step(n.now, &a)
		m.check(t, leader.core, p)
	}
	if p.match != leader.core.log.last || p.inflight.len() != 0 || p.inflightBytes != 0 {
		t.Fatalf("match %d of %d, %d messages of %d bytes in flight", p.match, leader.core.log.last, p.inflight.len(), p.inflightBytes)
	}
}
