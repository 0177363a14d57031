package nodehost_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// mistake is a call that has to be refused: with an error that matches all of want, names the values in says, and says that it surely
// had no effect.
type mistake struct {
	what string
	call func() error
	want []error
	says []string
}

// settled makes a call until it is answered with what is left when no election comes between, which it may on a busy machine: an error
// that says so is the answer only where it is wanted.
func settled(t *testing.T, call func() error, want ...error) (err error) {
	t.Helper()
	eventually(t, "an answer of a leader that stays", func() bool {
		err = call()
		return !passing(err, want...)
	})
	return err
}

// passing says that an error is one that an election, or a machine that stood still, brings about, and none of those that are wanted.
func passing(err error, want ...error) bool {
	return slices.ContainsFunc([]error{
		nodehost.ErrNoLeader, nodehost.ErrNotLeader, nodehost.ErrLeaderChanged, nodehost.ErrTransferring, nodehost.ErrBusy, nodehost.ErrTimeout,
	}, func(e error) bool { return errors.Is(err, e) && !slices.Contains(want, e) })
}

func (m *mistake) check(t *testing.T) {
	t.Helper()
	err := settled(t, m.call, m.want...)
	if err == nil {
		t.Errorf("%s: accepted", m.what)
		return
	}
	for _, want := range m.want {
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", m.what, err, want)
		}
	}
	for _, text := range m.says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: no %q in %v", m.what, text, err)
		}
	}
	if nodehost.MaybeApplied(err) {
		t.Errorf("%s: %v: may be applied", m.what, err)
	}
}

// startWithLearner starts a shard on three hosts whose replica 3 is a learner, which is started when the others have a leader.
func (c *cluster) startWithLearner(id uint64, priorities map[uint64]raftpb.Priority) {
	c.t.Helper()
	for i := range c.hosts {
		c.start(i)
		if i == 2 {
			if _, err := c.shard(0, id).WaitLeader(patient(c.t)); err != nil {
				c.t.Fatal(err)
			}
		}
		config := nodehost.ReplicaConfig{ShardID: id, ReplicaID: uint64(i + 1), Members: c.members(), Learners: []uint64{3}, Priorities: priorities}
		if err := c.hosts[i].StartReplica(patient(c.t), config, c.factory(i)); err != nil {
			c.t.Fatal(err)
		}
	}
}

func TestALearnerIsNoVoterFromTheStart(t *testing.T) {
	c := newCluster(t, 3)
	c.startWithLearner(1, map[uint64]raftpb.Priority{2: 150})
	c.propose(2, 1, "asked of the learner")
	if got := slices.Compact(c.read(2, 1)); !slices.Equal(got, []string{"asked of the learner"}) {
		t.Errorf("the learner reads %q", got)
	}
	c.eventually("recorded everywhere", func() bool {
		for i := range 3 {
			members, err := c.shard(i, 1).Members(patient(t))
			if err != nil {
				t.Fatal(err)
			}
			if len(members.Members) != 3 || members.ID == 0 {
				return false
			}
			for j, want := range []raftpb.Member{{Kind: raftpb.Voter}, {Kind: raftpb.Voter, Priority: 150}, {Kind: raftpb.Learner}} {
				if m := members.Members[j]; m.Kind != want.Kind || m.Priority != want.Priority {
					t.Fatalf("host %d: member %d is %+v", i, j, m)
				}
			}
		}
		return true
	})
}

// Every way to ask for what cannot be is refused with an error of its own that names the value, on every host, and changes nothing.
func TestMistakesAreNamed(t *testing.T) {
	c := newCluster(t, 3)
	c.startWithLearner(1, nil)
	c.propose(0, 1, "x")
	c.eventually("a second term, so that there is one that is no more", func() bool {
		leader := c.leader(1)
		_ = c.shard(leader, 1).TransferLeader(patient(t), uint64(2-leader))
		_, term, _ := c.shard(2, 1).Leader()
		return term > 1
	})
	c.hold(1)
	c.eventually("the leader knows the learner", func() bool {
		return !errors.Is(c.shard(2, 1).TransferLeader(patient(t), 77), nodehost.ErrBusy)
	})
	for i, host := range c.hosts {
		shard := c.shard(i, 1)
		large := make([]byte, nodehost.DefaultMaxCommandBytes+1)
		for _, m := range []mistake{
			{"an unknown shard", func() error { _, err := host.Shard(99); return err }, []error{nodehost.ErrNotStarted}, []string{"shard 99"}},
			{"to stop an unknown shard", func() error { return host.StopReplica(patient(t), 99) }, []error{nodehost.ErrNotStarted}, []string{"shard 99"}},
			{"transfer to an unknown replica", func() error { return shard.TransferLeader(patient(t), 77) },
				[]error{nodehost.ErrTransferFailed, nodehost.ErrNotMember}, []string{"shard 1", "replica 77"}},
			{"transfer to a learner", func() error { return shard.TransferLeader(patient(t), 3) },
				[]error{nodehost.ErrTransferFailed, nodehost.ErrNotVoter}, []string{"shard 1", "replica 3"}},
			{"a large command", func() error { _, err := shard.Propose(patient(t), large); return err },
				[]error{nodehost.ErrTooLarge}, []string{"shard 1", fmt.Sprint(len(large)), fmt.Sprint(nodehost.DefaultMaxCommandBytes)}},
			{"a large command, asynchronously", func() error { return shard.ProposeAsync(large, nil) }, []error{nodehost.ErrTooLarge}, []string{fmt.Sprint(len(large))}},
			{"a large command among others", func() error { return shard.ProposeBatch([][]byte{nil, large}, nil) },
				[]error{nodehost.ErrTooLarge}, []string{"command 1", fmt.Sprint(len(large))}},
			{"no commands", func() error { return shard.ProposeBatch(nil, nil) }, []error{nodehost.ErrEmptyBatch}, nil},
			{"a term that is no more", func() error { _, err := shard.ProposeAtTerm(patient(t), 1, []byte("y")); return err },
				[]error{nodehost.ErrTermMismatch}, []string{"shard 1", "term 1"}},
			{"no term", func() error { _, err := shard.ProposeAtTerm(patient(t), 0, []byte("y")); return err },
				[]error{nodehost.ErrTermMismatch}, []string{"shard 1", "term 0"}},
		} {
			m.what = fmt.Sprintf("host %d: %s", i+1, m.what)
			m.check(t)
		}
	}
	if got := slices.Compact(c.read(0, 1)); !slices.Equal(got, []string{"x"}) {
		t.Errorf("after all mistakes the commands are %q", got)
	}
}

// A witness votes and serves nothing: whoever asks it is told so, and it is no target of a transfer.
func TestAWitnessServesNothing(t *testing.T) {
	c := newCluster(t, 3)
	for i := range c.hosts {
		c.start(i)
		config := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: uint64(i + 1), Members: c.members(), Witnesses: []uint64{3}}
		factory := c.factory(i)
		if i == 2 {
			factory = nil
		}
		if err := c.hosts[i].StartReplica(patient(t), config, factory); err != nil {
			t.Fatal(err)
		}
	}
	c.propose(0, 1, "x")
	witness := c.shard(2, 1)
	for _, m := range []mistake{
		{"propose", func() error { _, err := witness.Propose(patient(t), []byte("y")); return err }, []error{nodehost.ErrWitness}, []string{"shard 1"}},
		{"propose asynchronously", func() error { return witness.ProposeAsync([]byte("y"), nil) }, []error{nodehost.ErrWitness}, nil},
		{"read", func() error { _, err := witness.Read(patient(t), nil); return err }, []error{nodehost.ErrWitness}, nil},
		{"stale read", func() error { _, err := witness.StaleRead(patient(t), nil, 0); return err }, []error{nodehost.ErrWitness}, nil},
		{"transfer", func() error { return witness.TransferLeader(patient(t), 3) }, []error{nodehost.ErrTransferFailed, nodehost.ErrNotVoter}, []string{"replica 3"}},
		{"no state machine for a voter", func() error {
			config := nodehost.ReplicaConfig{ShardID: 2, ReplicaID: 1, Members: c.members()}
			return c.hosts[0].StartReplica(patient(t), config, nil)
		}, []error{nodehost.ErrInvalidConfig}, []string{"factory is nil"}},
	} {
		m.check(t)
	}
	if got := slices.Compact(c.read(0, 1)); !slices.Equal(got, []string{"x"}) {
		t.Errorf("the commands are %q", got)
	}
}
