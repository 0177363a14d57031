package nodehost_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// startLiveSpare starts hosts of which only the first ones have the shard, and the load on those.
func startLiveSpare(t testing.TB, members, hosts int) *live {
	l := newLiveCluster(t, hosts)
	first := l.c.members()
	maps.DeleteFunc(first, func(id uint64, _ string) bool { return id > uint64(members) })
	for host := range hosts {
		l.c.start(host)
		if host < members {
			l.startReplica(host, nodehost.ReplicaConfig{Members: first})
		}
	}
	l.load()
	return l
}

// join starts a replica that the shard is to take in.
func (l *live) join(host int) {
	l.c.t.Helper()
	l.startReplica(host, nodehost.ReplicaConfig{Join: true})
}

// change makes a change of the membership through a host, in one call. If an election comes between, as it may on a busy machine, it is asked for
// again, and may be found to be under way or done.
func (l *live) change(host int, change func(context.Context, *nodehost.Shard) (raftpb.Membership, error)) {
	l.c.t.Helper()
	unknown := false
	l.c.eventually("a change is made", func() bool {
		_, err := change(patient(l.c.t), l.c.shard(host, liveShard))
		if err == nil {
			return true
		}
		l.c.t.Log(err)
		if unknown && (errors.Is(err, nodehost.ErrNotMember) || errors.Is(err, nodehost.ErrInvalidChange) || errors.Is(err, nodehost.ErrRemoved)) {
			return true
		}
		unknown = unknown || nodehost.MaybeApplied(err)
		if !passing(err) && !errors.Is(err, nodehost.ErrPendingChange) && !errors.Is(err, nodehost.ErrStaleChange) {
			l.c.t.Fatal(err)
		}
		return false
	})
}

func (l *live) voter(host int) raftpb.MemberChange {
	return raftpb.MemberChange{ReplicaID: uint64(host + 1), Kind: raftpb.Voter, Address: l.c.addresses[host]}
}

// kinds is what the shard's members are, by replica, as a host sees it.
func (l *live) kinds(host int) map[uint64]raftpb.MemberKind {
	l.c.t.Helper()
	members, err := l.c.shard(host, liveShard).Members(patient(l.c.t))
	if err != nil {
		l.c.t.Fatal(err)
	}
	kinds := make(map[uint64]raftpb.MemberKind)
	for _, m := range members.Members {
		kinds[m.ReplicaID] = m.Kind
	}
	if members.Joint() {
		kinds[0] = 0
	}
	return kinds
}

// become waits until a host knows the shard's members as these voters and no others.
func (l *live) become(host int, voters ...uint64) {
	l.c.t.Helper()
	l.c.eventually(fmt.Sprint("the voters are ", voters), func() bool {
		kinds := l.kinds(host)
		for _, id := range voters {
			if kinds[id] != raftpb.Voter {
				return false
			}
		}
		return len(kinds) == len(voters)
	})
}

// told counts, by replica, how many said that they were removed.
func (l *live) told() []atomic.Int32 {
	told := make([]atomic.Int32, len(l.c.hosts)+1)
	l.c.configure = func(_ int, config *nodehost.Config) {
		config.Events.ReplicaRemoved = func(r nodehost.ReplicaName) { told[r.ReplicaID].Add(1) }
	}
	return told
}

// One replica is put in the place of another in one call, first a follower, then the leader itself. Those that are replaced
// learn it and say so.
func TestLiveReplace(t *testing.T) {
	l := newLiveCluster(t, 5)
	told := l.told()
	first := l.c.members()
	delete(first, 4)
	delete(first, 5)
	for host := range 5 {
		l.c.start(host)
		if host < 3 {
			l.startReplica(host, nodehost.ReplicaConfig{Members: first})
		}
	}
	l.load()
	l.some()
	voters := []uint64{1, 2, 3}
	for _, spare := range []int{3, 4} {
		leader := l.leader()
		replaced := leader
		if spare == 3 {
			replaced = (leader + 1) % 3
		}
		l.join(spare)
		l.during(fmt.Sprintf("replace %d, led by %d", replaced, leader), func() {
			l.change(leader, func(ctx context.Context, s *nodehost.Shard) (raftpb.Membership, error) {
				return s.ReplaceReplica(ctx, uint64(replaced+1), uint64(spare+1), l.c.addresses[spare])
			})
			l.attach(spare)
			l.detach(replaced)
		})
		voters[slices.Index(voters, uint64(replaced+1))] = uint64(spare + 1)
		l.become(spare, voters...)
		l.c.eventually("the replaced one is told", func() bool { return told[replaced+1].Load() > 0 })
		shard := l.c.shard(replaced, liveShard)
		propose := func() error { _, err := shard.Propose(patient(t), make([]byte, 16)); return err }
		if err := settled(t, propose); !errors.Is(err, nodehost.ErrRemoved) {
			t.Errorf("the replaced replica answers %v", err)
		}
	}
	l.finish()
}

// A shard grows from three to five voters in one call and shrinks to the two new ones and one of the old in another.
func TestLiveGrowAndShrink(t *testing.T) {
	l := startLiveSpare(t, 3, 5)
	l.some()
	l.join(3)
	l.join(4)
	l.during("3 to 5", func() {
		l.change(l.leader(), func(ctx context.Context, s *nodehost.Shard) (raftpb.Membership, error) {
			return s.ChangeMembers(ctx, nodehost.MembershipChange{Members: []nodehost.MemberChange{l.voter(3), l.voter(4)}})
		})
	})
	l.attach(3)
	l.attach(4)
	l.become(3, 1, 2, 3, 4, 5)
	l.some()
	leader := l.leader()
	other := (leader + 1) % 3
	stays := uint64((leader+2)%3 + 1)
	if leader > 2 {
		leader, other, stays = 0, 1, 3
	}
	l.during("5 to 3, the leader among those that go", func() {
		l.change(3, func(ctx context.Context, s *nodehost.Shard) (raftpb.Membership, error) {
			return s.ChangeMembers(ctx, nodehost.MembershipChange{Members: []nodehost.MemberChange{
				{ReplicaID: uint64(leader + 1)}, {ReplicaID: uint64(other + 1)},
			}})
		})
		l.detach(leader)
		l.detach(other)
	})
	l.become(4, stays, 4, 5)
	l.finish()
}

// A learner serves reads and forwards writes, and becomes a voter by itself once it has caught up, though the leader's host goes
// right after it was asked to see to that.
func TestLivePromotion(t *testing.T) {
	l := startLiveSpare(t, 3, 4)
	l.some()
	l.join(3)
	l.during("a learner is added", func() {
		l.change(l.leader(), func(ctx context.Context, s *nodehost.Shard) (raftpb.Membership, error) {
			return s.AddReplica(ctx, 4, raftpb.Learner, l.c.addresses[3])
		})
		l.attach(3)
	})
	l.c.eventually("it knows itself as a learner", func() bool { return l.kinds(3)[4] == raftpb.Learner })
	leader := l.leader()
	l.during("its promotion, and the leader's host goes", func() {
		asked := make(chan error, 1)
		shard := l.c.shard(leader, liveShard)
		go func() {
			_, err := shard.Promote(patient(t), 4)
			asked <- err
		}()
		l.c.stop(leader)
		l.detach(leader)
		if err := <-asked; err != nil { // it came too late, or nobody knows: a member that votes already stays what it is
			t.Logf("the promotion ended with %v", err)
			l.change(l.leader(), func(ctx context.Context, s *nodehost.Shard) (raftpb.Membership, error) { return s.Promote(ctx, 4) })
		}
		l.become(3, 1, 2, 3, 4)
	})
	l.during("that host's return", func() {
		l.c.start(leader)
		l.startReplica(leader, nodehost.ReplicaConfig{Members: l.c.members()})
		l.attach(leader)
	})
	l.finish()
}

// A replica that was removed while its host was down comes back with its old state: it is told, takes no part and deposes nobody. Its ID may
// be used again.
func TestLiveRemovedReplicaComesBack(t *testing.T) {
	l := newLiveCluster(t, 3)
	told := l.told()
	l.c.startAll(liveShard)
	l.load()
	l.some()
	removed := (l.leader() + 1) % 3
	l.c.stop(removed)
	l.detach(removed)
	l.during("removal", func() {
		l.change(l.leader(), func(ctx context.Context, s *nodehost.Shard) (raftpb.Membership, error) {
			return s.RemoveReplica(ctx, uint64(removed+1))
		})
	})
	leader := l.c.hold(liveShard)
	_, term, _ := l.c.shard(leader, liveShard).Leader()
	l.during("its return", func() {
		l.c.start(removed)
		l.c.startShards(removed, liveShard)
		l.c.eventually("it is told", func() bool { return told[removed+1].Load() > 0 })
	})
	if _, now, _ := l.c.shard(leader, liveShard).Leader(); now != term {
		t.Errorf("the term went from %d to %d", term, now)
	}
	l.during("it is added again", func() {
		if err := l.c.hosts[removed].StopReplica(patient(t), liveShard); err != nil {
			t.Fatal(err)
		}
		if err := l.c.hosts[removed].RemoveReplicaData(patient(t), liveShard, uint64(removed+1)); err != nil {
			t.Fatal(err)
		}
		l.join(removed)
		l.change(l.leader(), func(ctx context.Context, s *nodehost.Shard) (raftpb.Membership, error) {
			return s.AddReplica(ctx, uint64(removed+1), raftpb.Voter, l.c.addresses[removed])
		})
	})
	l.attach(removed)
	l.become(removed, 1, 2, 3)
	l.finish()
}
