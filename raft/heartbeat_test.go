package raft

import (
	"errors"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// At most one heartbeat is on its way to each follower, whatever is lost, late or asked for; and an interval after the last one
// to a follower that is not heard there is another.
func TestOneHeartbeatIsUnderWay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := newNetwork(3, t.Fatalf)
		n.advance(3 * time.Second)
		leader := n.leader()
		interval := Instant(leader.options.ElectionTimeout / 10)
		type beat struct {
			round uint64
			at    Instant
		}
		open := map[uint64]beat{}
		var answers []raftpb.Message
		take := func() {
			n.out.Reset()
			leader.core.Drain(&n.out)
			for _, m := range n.out.Messages {
				if m.Type != raftpb.MessageHeartbeat {
					continue
				}
				if before := open[m.To]; before.round != 0 && n.now < before.at+interval/2 {
					t.Fatalf("heartbeat %d leaves %s after %d, which is not answered", m.Request, time.Duration(n.now-before.at), before.round)
				}
				open[m.To] = beat{m.Request, n.now}
				answers = append(answers, raftpb.Message{
					Type: raftpb.MessageHeartbeatResponse, ShardID: testShard, From: m.To, To: m.From, FromIncarnation: m.ToIncarnation,
					ToIncarnation: m.FromIncarnation, FromSession: m.ToSession, ToSession: m.FromSession, Term: m.Term,
					Request: m.Request, LogIndex: leader.core.log.last, LogTerm: leader.core.term,
				})
			}
		}
		for id := range rapid.IntRange(20, 120).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "step") {
			case 0:
				leader.core.ReadIndex(n.now, uint64(id))
			case 1, 2:
				n.now += Instant(rapid.IntRange(1, 120).Draw(t, "ms")) * Instant(time.Millisecond)
				if leader.core.Deadline() <= n.now {
					leader.core.Tick(n.now)
				}
			default:
				if len(answers) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(answers)-1).Draw(t, "answer")
				if open[answers[i].From].round == answers[i].Request {
					open[answers[i].From] = beat{}
				}
				leader.core.Step(n.now, &answers[i])
				answers = append(answers[:i], answers[i+1:]...)
			}
			if !leader.core.IsLeader() {
				return // check-quorum
			}
			take()
			for to, last := range open {
				if last.round != 0 && n.now >= last.at+2*interval && leader.core.Deadline() > n.now {
					t.Fatalf("nothing to %d for %s", to, time.Duration(n.now-last.at))
				}
			}
		}
	})
}

// A log store that answers a read with nothing and no error, or with something else, is asked again after a heartbeat interval, not
// for ever at once.
func TestLogReadThatAnswersNothingDoesNotLoop(t *testing.T) {
	n := newNetwork(3, t.Errorf)
	n.advance(3 * time.Second)
	leader := n.leader()
	behind := n.nodes[leader.id%3]
	n.cut[[2]uint64{leader.id, behind.id}] = true
	for range 3 {
		n.propose(leader, "x")
		n.settle()
	}
	clear(leader.cache.chunks)
	leader.core.log.unpin(leader.core.log.last, leader.core.save.next, 0)
	delete(n.cut, [2]uint64{leader.id, behind.id})
	leader.core.Unreachable(n.now, behind.id)
	n.drain(leader)
	if len(leader.reads) != 1 {
		t.Fatalf("%d log reads, want one", len(leader.reads))
	}
	for _, answer := range []struct {
		batches []raftpb.Batch
		err     error
	}{{}, {batches: []raftpb.Batch{}}, {batches: leader.disk.batches[:1]}, {err: errors.New("not now")}} {
		r := leader.reads[0]
		leader.reads = nil
		leader.core.LogReadDone(n.now, r, answer.batches, answer.err)
		for n.drain(leader) {
			if len(leader.reads) > 0 {
				t.Fatalf("asked again at once after %v, %v", answer.batches, answer.err)
			}
		}
		failures := leader.core.peer(behind.id).failures
		if failures == 0 {
			t.Error("a failed log read is no failure of the follower's replication")
		}
		if leader.core.Deadline() > n.now+Instant(leader.options.ElectionTimeout/10) {
			t.Fatal("nothing makes the leader ask again")
		}
		n.now += Instant(leader.options.ElectionTimeout / 10)
		leader.core.Tick(n.now)
		n.drain(leader)
		if len(leader.reads) != 1 {
			t.Fatalf("%d log reads after an interval, want one", len(leader.reads))
		}
	}
	n.settle()
	n.advance(time.Second)
	if behind.core.log.last != leader.core.log.last {
		t.Errorf("the follower has entry %d of %d", behind.core.log.last, leader.core.log.last)
	}
}
