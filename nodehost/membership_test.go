package nodehost_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// startFirst starts all hosts, and the shard with the first n of them as members.
func (c *cluster) startFirst(id uint64, n int) {
	c.t.Helper()
	members := c.members()
	for i := range c.hosts {
		if i >= n {
			delete(members, uint64(i+1))
		}
	}
	for i := range c.hosts {
		c.start(i)
		if i < n {
			config := nodehost.ReplicaConfig{ShardID: id, ReplicaID: uint64(i + 1), Members: members}
			if err := c.hosts[i].StartReplica(patient(c.t), config, c.factory(i)); err != nil {
				c.t.Fatal(err)
			}
		}
	}
}

// join starts a replica that waits to be added.
func (c *cluster) join(i int, id, replica uint64) {
	c.t.Helper()
	config := nodehost.ReplicaConfig{ShardID: id, ReplicaID: replica, Join: true}
	if err := c.hosts[i].StartReplica(patient(c.t), config, c.factory(i)); err != nil {
		c.t.Fatal(err)
	}
}

// change makes a change until it is done, and returns the membership. One whose outcome is unknown counts as done once the members are
// those that are wanted.
func (c *cluster) change(host int, id uint64, want string, change func(*nodehost.Shard) (raftpb.Membership, error)) raftpb.Membership {
	c.t.Helper()
	shard := c.shard(host, id)
	var membership raftpb.Membership
	c.eventually("members "+want, func() bool {
		var err error
		membership, err = change(shard)
		if err != nil {
			c.t.Log(err)
			membership, err = shard.Members(patient(c.t))
		}
		return err == nil && kinds(&membership) == want
	})
	return membership
}

// kinds writes a membership down, like "1 2 3learner": what is not settled shows.
func kinds(m *raftpb.Membership) string {
	text := ""
	for i := range m.Members {
		member := &m.Members[i]
		text += fmt.Sprint(" ", member.ReplicaID)
		if member.Kind != raftpb.Voter {
			text += member.Kind.String()
		}
		if member.Goal != raftpb.GoalStay {
			text += "!"
		}
	}
	if m.Joint() {
		text += " joint"
	}
	return text[min(1, len(text)):]
}

// lastMembers waits until all hosts have the same membership and nothing follows it by itself: no change is under way, and the leader, which
// notes the incarnation of a member when it first hears it, has noted all of them. It returns that membership, which any later leader has.
func (c *cluster) lastMembers(id uint64) (last raftpb.Membership) {
	c.t.Helper()
	c.eventually("nothing follows the membership", func() bool {
		for i := range c.hosts {
			members, err := c.shard(i, id).Members(patient(c.t))
			if err != nil || members.ID == 0 || members.Joint() || i > 0 && members.ID != last.ID {
				return false
			}
			if slices.ContainsFunc(members.Members, func(m raftpb.Member) bool { return m.Incarnation == 0 || m.Goal != raftpb.GoalStay }) {
				return false
			}
			last = members
		}
		return true
	})
	return last
}

// Members come, are promoted, replaced, demoted and leave, each change asked of another host, and every member has all commands.
func TestMembersChange(t *testing.T) {
	c := newCluster(t, 5)
	c.startFirst(1, 3)
	c.propose(0, 1, "first")

	c.join(3, 1, 4)
	added := c.change(0, 1, "1 2 3 4", func(s *nodehost.Shard) (raftpb.Membership, error) {
		return s.AddReplica(patient(t), 4, raftpb.Voter, c.addresses[3])
	})
	if m := added.Members[3]; m.Address != c.addresses[3] || m.Incarnation == 0 {
		t.Errorf("the new member is %+v", m)
	}
	c.join(4, 1, 5)
	c.change(1, 1, "1 2 3 4 5learner", func(s *nodehost.Shard) (raftpb.Membership, error) {
		return s.AddReplica(patient(t), 5, raftpb.Learner, c.addresses[4])
	})
	if got := slices.Compact(c.read(4, 1)); !slices.Equal(got, []string{"first"}) {
		t.Errorf("the learner reads %q", got)
	}
	c.change(4, 1, "1 2 3 4 5", func(s *nodehost.Shard) (raftpb.Membership, error) { return s.Promote(patient(t), 5) })
	c.propose(4, 1, "second")
	// Three at once, by joint consensus: two leave and one is demoted.
	c.change(3, 1, "3learner 4 5", func(s *nodehost.Shard) (raftpb.Membership, error) {
		return s.ChangeMembers(patient(t), nodehost.MembershipChange{Members: []nodehost.MemberChange{
			{ReplicaID: 1}, {ReplicaID: 2}, {ReplicaID: 3, Kind: raftpb.Learner},
		}})
	})
	for _, i := range []int{2, 3, 4} {
		c.propose(i, 1, fmt.Sprint("third from ", i))
		if lost, gone := missing(c.read(i, 1), []string{"first", "second"}); gone {
			t.Errorf("host %d lost %q", i, lost)
		}
	}
}

// One replica takes the place of another in one call, the same kind and priority, and the one that left says so from then on. Its ID may
// be used again.
func TestAReplacedReplicaLeavesAndComesBack(t *testing.T) {
	c := newCluster(t, 4)
	c.startFirst(1, 3)
	c.propose(0, 1, "first")
	c.eventually("the priority is set", func() bool { // asked for twice it is set all the same
		_, err := c.shard(0, 1).ChangeMembers(patient(t), nodehost.MembershipChange{Members: []nodehost.MemberChange{{ReplicaID: 3, Kind: raftpb.Voter, Priority: 50}}})
		return err == nil
	})
	c.join(3, 1, 4)
	replaced := c.change(0, 1, "1 2 4", func(s *nodehost.Shard) (raftpb.Membership, error) {
		return s.ReplaceReplica(patient(t), 3, 4, c.addresses[3])
	})
	if m := replaced.Members[2]; m.Priority != 50 || m.Address != c.addresses[3] {
		t.Errorf("the new member is %+v", m)
	}
	gone := c.shard(2, 1)
	c.eventually("told", func() bool {
		_, err := gone.Propose(patient(t), []byte("lost"))
		return errors.Is(err, nodehost.ErrRemoved)
	})
	for _, m := range []mistake{
		{"propose", func() error { _, err := gone.Propose(patient(t), []byte("lost")); return err }, []error{nodehost.ErrRemoved}, []string{"shard 1", "replica 3"}},
		{"read", func() error { _, err := gone.Read(patient(t), nil); return err }, []error{nodehost.ErrRemoved}, []string{"shard 1", "replica 3"}},
		{"transfer", func() error { return gone.TransferLeader(patient(t), 1) }, []error{nodehost.ErrTransferFailed, nodehost.ErrRemoved}, nil},
		{"change", func() error { _, err := gone.RemoveReplica(patient(t), 3); return err }, []error{nodehost.ErrRemoved}, nil},
	} {
		m.check(t)
	}
	if err := c.hosts[2].StopReplica(patient(t), 1); err != nil {
		t.Fatal(err)
	}
	if err := c.hosts[2].RemoveReplicaData(patient(t), 1, 3); err != nil {
		t.Fatal(err)
	}
	c.join(2, 1, 3)
	c.change(1, 1, "1 2 3 4", func(s *nodehost.Shard) (raftpb.Membership, error) {
		return s.AddReplica(patient(t), 3, raftpb.Voter, c.addresses[2])
	})
	if got := slices.Compact(c.read(2, 1)); !slices.Equal(got, []string{"first"}) {
		t.Errorf("the replica that came back reads %q", got)
	}
}

// Every impossible change is refused with an error that names the value, on every host, and changes nothing.
func TestImpossibleChangesAreNamed(t *testing.T) {
	c := newCluster(t, 3)
	c.startWithLearner(1, nil)
	c.propose(0, 1, "x")
	before := c.lastMembers(1)
	many := make([]nodehost.MemberChange, raftpb.MaxMembers)
	for i := range many {
		many[i] = nodehost.MemberChange{ReplicaID: uint64(i + 100), Kind: raftpb.Learner, Address: "host:1"}
	}
	members := func(list ...nodehost.MemberChange) nodehost.MembershipChange {
		return nodehost.MembershipChange{Members: list}
	}
	for i := range c.hosts {
		shard := c.shard(i, 1)
		change := func(change nodehost.MembershipChange) func() error {
			return func() error { _, err := shard.ChangeMembers(patient(t), change); return err }
		}
		invalid := []error{nodehost.ErrInvalidChange}
		for _, m := range []mistake{
			{"nothing", change(members()), invalid, []string{"shard 1"}},
			{"replica 0", change(members(nodehost.MemberChange{Kind: raftpb.Voter, Address: "host:1"})), invalid, []string{"replica 0"}},
			{"twice", change(members(nodehost.MemberChange{ReplicaID: 2}, nodehost.MemberChange{ReplicaID: 2, Kind: raftpb.Learner})), invalid, []string{"replica 2"}},
			{"unknown kind", change(members(nodehost.MemberChange{ReplicaID: 2, Kind: 9})), invalid, []string{"replica 2", "9"}},
			{"no address", change(members(nodehost.MemberChange{ReplicaID: 9, Kind: raftpb.Voter})), invalid, []string{"replica 9"}},
			{"bad address", change(members(nodehost.MemberChange{ReplicaID: 9, Kind: raftpb.Voter, Address: "nowhere"})), invalid, []string{"replica 9", `"nowhere"`}},
			{"nobody left", change(members(nodehost.MemberChange{ReplicaID: 1}, nodehost.MemberChange{ReplicaID: 2}, nodehost.MemberChange{ReplicaID: 3})), invalid, nil},
			{"no voters left", change(members(nodehost.MemberChange{ReplicaID: 1}, nodehost.MemberChange{ReplicaID: 2})), invalid, []string{"no voter"}},
			{"only witnesses left", change(members(nodehost.MemberChange{ReplicaID: 1}, nodehost.MemberChange{ReplicaID: 2},
				nodehost.MemberChange{ReplicaID: 3, Kind: raftpb.Witness})), invalid, []string{"no voter"}},
			{"a voter made a witness", change(members(nodehost.MemberChange{ReplicaID: 2, Kind: raftpb.Witness})), invalid, []string{"replica 2", "voter", "witness"}},
			{"too many", change(members(many...)), invalid, []string{fmt.Sprint(raftpb.MaxMembers)}},
			{"removal of an unknown replica", change(members(nodehost.MemberChange{ReplicaID: 77})), []error{nodehost.ErrNotMember}, []string{"shard 1", "77"}},
			{"removal of an unknown replica by name", func() error { _, err := shard.RemoveReplica(patient(t), 77); return err }, []error{nodehost.ErrNotMember}, []string{"shard 1", "77"}},
			{"replacement of an unknown replica", func() error { _, err := shard.ReplaceReplica(patient(t), 77, 78, "host:1"); return err },
				[]error{nodehost.ErrNotMember}, []string{"77"}},
			{"replacement by a member", func() error { _, err := shard.ReplaceReplica(patient(t), 1, 2, "host:1"); return err }, invalid, []string{"replica 2", "already"}},
			{"promotion of an unknown replica", func() error { _, err := shard.Promote(patient(t), 77); return err }, []error{nodehost.ErrNotMember}, []string{"77"}},
			{"addition of a member", func() error { _, err := shard.AddReplica(patient(t), 2, raftpb.Learner, "host:1"); return err }, invalid, []string{"replica 2", "already", c.addresses[1]}},
			{"a stale change", change(nodehost.MembershipChange{IfID: before.ID + 7, Members: []nodehost.MemberChange{{ReplicaID: 3}}}),
				[]error{nodehost.ErrStaleChange}, []string{"shard 1", fmt.Sprint(before.ID + 7), fmt.Sprint(before.ID)}},
			{"cancellation of nothing", func() error { _, err := shard.CancelChange(patient(t)); return err }, invalid, []string{"shard 1"}},
		} {
			m.what = fmt.Sprintf("host %d: %s", i+1, m.what)
			m.check(t)
		}
	}
	if after := c.lastMembers(1); after.ID != before.ID || kinds(&after) != kinds(&before) {
		t.Errorf("after all mistakes the members are %s of %d; before %s of %d", kinds(&after), after.ID, kinds(&before), before.ID)
	}
}

// While a change waits for a new member that does not come another one is refused, commands go on, and it can be taken back.
func TestAChangeThatIsStuckCanBeCanceled(t *testing.T) {
	c := newCluster(t, 4)
	c.startFirst(1, 3)
	c.propose(0, 1, "x")
	leader := c.hold(1)
	follower := (leader + 1) % 3
	add := func(i int) error {
		_, err := c.shard(i, 1).AddReplica(patient(t), 4, raftpb.Voter, c.addresses[3])
		return err
	}
	waiting := make(chan error, 1)
	go func() { waiting <- add(leader) }()
	c.eventually("under way", func() bool {
		for i := range 3 { // nobody can be elected who does not go on with it
			if members, err := c.shard(i, 1).Members(patient(t)); err != nil || len(members.Members) != 4 {
				return false
			}
		}
		return true
	})
	// The second one finds the first under way.
	if err := settled(t, func() error { return add(follower) }); !errors.Is(err, nodehost.ErrInvalidChange) || nodehost.MaybeApplied(err) {
		t.Errorf("the same change a second time: %v", err)
	}
	for _, i := range []int{leader, follower} {
		(&mistake{"another change", func() error { _, err := c.shard(i, 1).RemoveReplica(patient(t), 2); return err },
			[]error{nodehost.ErrPendingChange}, []string{"shard 1"}}).check(t)
		(&mistake{"another change, of whichever membership", func() error {
			_, err := c.shard(i, 1).ChangeMembers(patient(t), nodehost.MembershipChange{Members: []nodehost.MemberChange{{ReplicaID: 3}}})
			return err
		}, []error{nodehost.ErrPendingChange}, []string{"shard 1"}}).check(t)
	}
	c.propose(follower, 1, "meanwhile")
	cause := errors.New("cause")
	ctx, cancel := context.WithCancelCause(patient(t))
	cancel(cause)
	if _, err := c.shard(leader, 1).RemoveReplica(ctx, 3); !errors.Is(err, cause) || nodehost.MaybeApplied(err) {
		t.Errorf("a change of a caller who has left: %v", err)
	}
	c.change(follower, 1, "1 2 3", func(s *nodehost.Shard) (raftpb.Membership, error) { return s.CancelChange(patient(t)) })
	if err := <-waiting; !errors.Is(err, nodehost.ErrChangeCanceled) && !nodehost.MaybeApplied(err) {
		t.Errorf("the change that was canceled: %v", err)
	}
	c.join(3, 1, 4)
	c.change(follower, 1, "1 2 3 4", func(s *nodehost.Shard) (raftpb.Membership, error) {
		return s.AddReplica(patient(t), 4, raftpb.Voter, c.addresses[3])
	})
}

// Whoever waits for a change, a transfer or a read on a leader that is cut off is told when it steps down; the change goes on under the next
// leader, and a caller who left early finds it done.
func TestWaitersAreToldWhenTheLeaderStepsDown(t *testing.T) {
	c, network := newMemoryCluster(t, 4)
	c.startFirst(1, 3)
	c.propose(0, 1, "x")
	leader := c.leader(1)
	other := (leader + 1) % 3
	shard := c.shard(leader, 1)
	changed, asked := make(chan error, 1), 0
	ask := func() {
		asked++
		go func() {
			_, err := shard.AddReplica(patient(t), 4, raftpb.Voter, c.addresses[3])
			changed <- err
		}()
	}
	ask()
	c.eventually("under way everywhere", func() bool {
		select {
		case err := <-changed: // on a busy machine an election may come between
			t.Log(err)
			ask()
		default:
		}
		for i := range 3 {
			if members, err := c.shard(i, 1).Members(patient(t)); err != nil || kinds(&members) != "1 2 3 4learner!" {
				return false
			}
		}
		return true
	})
	c.isolate(network, leader, true)
	read, transferred := make(chan error, 1), make(chan error, 1)
	go func() { _, err := shard.Read(patient(t), nil); read <- err }()
	go func() { transferred <- shard.TransferLeader(patient(t), uint64(other+1)) }()
	if err := <-changed; err == nil || asked == 1 && !nodehost.MaybeApplied(err) {
		t.Errorf("the change of a leader that was lost: %v", err)
	}
	if err := <-read; err == nil || nodehost.MaybeApplied(err) {
		t.Errorf("the read of a leader that was lost: %v", err)
	}
	if err := <-transferred; !errors.Is(err, nodehost.ErrTransferFailed) {
		t.Errorf("the transfer of a leader that was lost: %v", err)
	}
	c.join(3, 1, 4)
	c.eventually("the next leader finishes it", func() bool {
		members, err := c.shard(other, 1).Members(patient(t))
		return err == nil && kinds(&members) == "1 2 3 4"
	})
	c.isolate(network, leader, false)
	c.propose(leader, 1, "after")
}
