package engine_test

import (
	"errors"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

// forgetfulWire loses some messages between the network and the engine.
type forgetfulWire struct {
	transport.Handler
	loses func(m *raftpb.Message) bool
	lost  int
}

func losesReads(m *raftpb.Message) bool { return m.Type == raftpb.MessageReadIndex }
func losesNothing(*raftpb.Message) bool { return false }

func (f *forgetfulWire) Receive(from transport.HostIdentity, lane transport.Lane, messages []raftpb.Message) {
	kept := messages[:0:0]
	for i := range messages {
		if f.loses(&messages[i]) {
			f.lost++
			continue
		}
		kept = append(kept, messages[i])
	}
	if len(kept) > 0 {
		f.Handler.Receive(from, lane, kept)
	}
}

// A read that a follower passes on is asked for again when the message was lost, until it is answered or the caller's deadline comes: it
// changes nothing, so nobody has to know. It used to end in ErrBusy after an election timeout.
func TestAReadIsAskedAgainWhenItsMessageIsLost(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	leader := c.waitLeader(1)
	if _, err := c.propose(leader, 1, "a"); err != nil {
		t.Fatal(err)
	}
	follower := c.hosts[0]
	if follower == leader {
		follower = c.hosts[1]
	}
	c.until(time.Second, "the follower knows the leader", func() bool { return c.status(follower, 1).Leader == c.status(leader, 1).Leader })
	wire := &forgetfulWire{Handler: leader.wire.Handler, loses: losesReads}
	leader.wire.Handler = wire
	var answered bool
	var value any
	var failure error
	if err := follower.replicas[1].Read(nil, func(v any, err error) { value, failure, answered = v, err, true }); err != nil {
		t.Fatal(err)
	}
	c.until(30*time.Second, "the read was lost twice", func() bool { return wire.lost >= 2 || answered })
	if answered {
		t.Fatalf("answered with %v, %v although no request arrived", value, failure)
	}
	wire.loses = losesNothing
	c.until(10*time.Second, "answered", func() bool { return answered })
	if failure != nil || value != 1 {
		t.Errorf("read %v, %v", value, failure)
	}
}

// A read whose every request is lost ends in ErrTimeout at the request timeout, and not before.
func TestAReadThatIsNeverAnsweredTimesOut(t *testing.T) {
	const timeout = 5 * time.Second
	c := newTestCluster(t, 3, func(o *engine.Options) { o.RequestTimeout = timeout })
	c.start(1)
	leader := c.waitLeader(1)
	follower := c.hosts[0]
	if follower == leader {
		follower = c.hosts[1]
	}
	c.run(time.Second)
	leader.wire.Handler = &forgetfulWire{Handler: leader.wire.Handler, loses: losesReads}
	asked := c.now
	var failure error
	if err := follower.replicas[1].Read(nil, func(_ any, err error) { failure = err }); err != nil {
		t.Fatal(err)
	}
	c.until(2*timeout, "answered", func() bool { return failure != nil })
	if took := time.Duration(c.now - asked); !errors.Is(failure, engine.ErrTimeout) || took < timeout {
		t.Errorf("ended with %v after %v", failure, took)
	}
}

// Until the leader knows a new learner by its first answer, it drops what the learner passes on: a proposal is refused there, surely not
// applied, and a read is answered. The proposal used to end after ten election timeouts, with an unknown outcome.
func TestANewLearnerRefusesWhatTheLeaderWouldDrop(t *testing.T) {
	c := newTestCluster(t, 4, nil)
	c.someOf(1, 2, 3)
	leader := c.waitLeader(1)
	if _, err := c.propose(leader, 1, "a"); err != nil {
		t.Fatal(err)
	}
	c.join(4)
	learner := c.hosts[3]
	c.until(time.Second, "started", func() bool { return learner.replicas[1] != nil })
	wire := &forgetfulWire{Handler: leader.wire.Handler}
	wire.loses = func(m *raftpb.Message) bool {
		return m.From == 4 && (m.Type == raftpb.MessageReplicateResponse || m.Type == raftpb.MessageHeartbeatResponse)
	}
	leader.wire.Handler = wire
	outcome := c.changing(leader, raftpb.MembershipChange{
		Members: []raftpb.MemberChange{{ReplicaID: 4, Kind: raftpb.Learner, Address: learner.address}},
	})
	c.until(time.Minute, "the learner knows the leader", func() bool { id, _ := learner.replicas[1].Leader(); return id != 0 })
	if _, err := c.propose(learner, 1, "b"); !errors.Is(err, engine.ErrBusy) {
		t.Errorf("a proposal on a learner that its leader does not know: %v, want %v", err, engine.ErrBusy)
	}
	if wire.lost == 0 {
		t.Fatal("no answer of the learner was lost: its leader may know it")
	}
	wire.loses = losesNothing
	c.until(time.Minute, "the learner is added", func() bool { return outcome.over })
	if outcome.err != nil {
		t.Error(outcome.err)
	}
	c.until(time.Minute, "the learner has what was committed", func() bool { return len(learner.machines[1].commands) == 1 })
	if _, err := c.propose(learner, 1, "c"); err != nil {
		t.Error(err)
	}
}
