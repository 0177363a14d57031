package nodehost_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

func TestEveryHostTakesProposalsAndReads(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll(1)
	var wanted []string
	for n := range 30 {
		command := fmt.Sprint("command ", n)
		result := c.propose(n%3, 1, command)
		if string(result.Data) != command {
			t.Fatalf("result of %q is for %q", command, result.Data)
		}
		wanted = append(wanted, command)
		// A read on another host sees what was acknowledged on this one.
		if lost, gone := missing(c.read((n+1)%3, 1), wanted); gone {
			t.Fatalf("a read on another host does not see %q", lost)
		}
	}
	for i := range 3 { // what was proposed again for want of an answer may come late
		c.eventually("hosts have the same", func() bool { return slices.Equal(c.read(i, 1), c.read(0, 1)) })
	}
}

func TestAsyncRequestsAreAnsweredOnceAndInOrder(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll(1)
	leader := c.hold(1)
	shard := c.shard(leader, 1)
	c.propose(leader, 1, "first")
	answers := make(chan rsm.Result, 100)
	for n := range 100 {
		err := shard.ProposeAsync([]byte(fmt.Sprint(n)), func(result rsm.Result, err error) {
			if err != nil {
				t.Error(err)
			}
			answers <- result
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for n := range 100 {
		if result := <-answers; string(result.Data) != fmt.Sprint(n) {
			t.Fatalf("answer %d is for %s", n, result.Data)
		}
	}
	read := make(chan []string, 1)
	err := shard.ReadAsync(nil, func(value any, err error) {
		commands, _ := value.([]string)
		read <- commands
	})
	if err != nil {
		t.Fatal(err)
	}
	if commands := <-read; len(commands) < 101 {
		t.Fatalf("the read sees %d commands", len(commands))
	}
}

func TestProposeBatchAnswersOnceWithAllResults(t *testing.T) {
	c := newCluster(t, 1)
	c.startAll(1)
	c.propose(0, 1, "first")
	shard := c.shard(0, 1)
	answer := make(chan []rsm.Result, 2)
	commands := [][]byte{[]byte("a"), []byte("b"), []byte("c")}
	err := shard.ProposeBatch(commands, func(results []rsm.Result, err error) {
		if err != nil {
			t.Error(err)
		}
		answer <- results
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, result := range <-answer {
		if string(result.Data) != string(commands[i]) {
			t.Fatalf("result %d is for %s", i, result.Data)
		}
	}
	if got := c.read(0, 1); !slices.Equal(got, []string{"first", "a", "b", "c"}) {
		t.Fatalf("applied %v", got)
	}
	if err := shard.ProposeBatch(nil, nil); !errors.Is(err, nodehost.ErrEmptyBatch) {
		t.Fatalf("an empty batch: %v", err)
	}
	if err := shard.ProposeBatch([][]byte{make([]byte, nodehost.DefaultMaxCommandBytes+1)}, nil); !errors.Is(err, nodehost.ErrTooLarge) {
		t.Fatalf("too large: %v", err)
	}
}

func TestARestartKeepsEveryAcknowledgedCommand(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll(1, 2)
	var wanted []string
	for round := range 3 {
		for n := range 20 {
			command := fmt.Sprint("round ", round, " command ", n)
			c.propose(n%3, 1, command)
			c.propose(n%3, 2, command)
			wanted = append(wanted, command)
		}
		c.stop(0, 1, 2)
		c.startAll(1, 2)
		for i := range 3 {
			for shard := uint64(1); shard <= 2; shard++ {
				if lost, gone := missing(c.read(i, shard), wanted); gone {
					t.Fatalf("host %d shard %d lost %q in round %d", i, shard, lost, round)
				}
			}
		}
	}
	if epoch := c.hosts[0].Info().Identity.Epoch; epoch != 4 {
		t.Fatalf("epoch of the fourth start is %d", epoch)
	}
}

func TestTheShardGoesOnWhenTheLeaderCloses(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll(1)
	c.propose(0, 1, "before")
	leader := c.leader(1)
	c.stop(leader)
	for i := range 3 {
		if i != leader {
			c.propose(i, 1, fmt.Sprint("after ", i))
		}
	}
	c.start(leader)
	c.startShards(leader, 1)
	if lost, gone := missing(c.read(leader, 1), []string{"before"}); gone {
		t.Fatalf("lost %q", lost)
	}
}

func TestLeadershipIsTransferred(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll(1)
	for range 4 {
		from := c.leader(1)
		to := (from + 1) % 3
		// Asked for on a replica that may not be the leader.
		c.eventually("the target leads", func() bool {
			if err := c.shard(from, 1).TransferLeader(patient(t), uint64(to+1)); err != nil {
				t.Log(err)
				return false
			}
			leader, _, _ := c.shard(to, 1).Leader()
			return leader == uint64(to+1) // unless another one was elected since
		})
	}
	(&mistake{"to a replica that is not there", func() error { return c.shard(c.leader(1), 1).TransferLeader(patient(t), 77) },
		[]error{nodehost.ErrTransferFailed, nodehost.ErrNotMember}, nil}).check(t)
}

func TestAJoinerIsPassive(t *testing.T) {
	c := newCluster(t, 1)
	c.start(0)
	config := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Join: true}
	if err := c.hosts[0].StartReplica(patient(t), config, c.factory(0)); err != nil {
		t.Fatal(err)
	}
	shard := c.shard(0, 1)
	status, err := shard.Status(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	if status.Role != raft.RoleFollower || status.Term != 0 || status.LastIndex != 0 {
		t.Fatalf("status is %+v", status)
	}
	if _, err := shard.Propose(patient(t), []byte("x")); !errors.Is(err, nodehost.ErrNoLeader) || nodehost.MaybeApplied(err) {
		t.Fatalf("propose: %v", err)
	}
	members, err := shard.Members(patient(t))
	if err != nil || len(members.Members) != 0 {
		t.Fatalf("members are %v, %v", members, err)
	}
	// Two hundred heartbeat intervals of another shard on the same host later it still has not campaigned.
	other := nodehost.ReplicaConfig{ShardID: 2, ReplicaID: 1, Members: c.members()}
	if err := c.hosts[0].StartReplica(patient(t), other, c.factory(0)); err != nil {
		t.Fatal(err)
	}
	c.propose(0, 2, "x")
	if status, err = shard.Status(patient(t)); err != nil || status.Term != 0 {
		t.Fatalf("status is %+v, %v", status, err)
	}
}

func TestInfoAndMembersDescribeTheHost(t *testing.T) {
	c := newCluster(t, 3)
	c.startAll(5, 3)
	c.propose(0, 3, "x")
	c.propose(0, 5, "x")
	leader := c.leader(3)
	members, err := c.shard(leader, 3).Members(patient(t))
	if err != nil || len(members.Members) != 3 {
		t.Fatalf("members are %v, %v", members, err)
	}
	for i, member := range members.Members {
		if member.Address != c.addresses[i] || member.Kind != raftpb.Voter || member.Incarnation == 0 {
			t.Fatalf("member %d is %+v", i, member)
		}
	}
	members.Members[0].Address = "changed" // a copy
	if again, _ := c.shard(leader, 3).Members(patient(t)); again.Members[0].Address == "changed" {
		t.Fatal("Members is not a copy")
	}
	info := c.hosts[0].Info()
	if len(info.Shards) != 2 || info.Shards[0].ShardID != 3 || info.Shards[1].ShardID != 5 || info.Shards[0].Applied == 0 {
		t.Fatalf("shards are %+v", info.Shards)
	}
	if len(info.Peers) != 2 || info.Peers[0].Counters.MessagesSent == 0 {
		t.Fatalf("peers are %+v", info.Peers)
	}
	if info.Identity.Address != c.addresses[0] || info.Identity.HostID == 0 || info.Identity.Epoch != 1 ||
		info.Identity.Deployment != nodehost.DefaultDeployment {
		t.Fatalf("identity is %+v", info.Identity)
	}
	if info.Engine.GroupCommits == 0 || info.StorageFailure != nil {
		t.Fatalf("info is %+v", info)
	}
}

func TestStopRemoveAndStartAgain(t *testing.T) {
	c := newCluster(t, 1)
	c.startAll(1)
	c.propose(0, 1, "x")
	host, ctx := c.hosts[0], patient(t)
	stale := c.shard(0, 1)
	config := nodehost.ReplicaConfig{ShardID: 1, ReplicaID: 1, Members: c.members()}
	if err := host.StartReplica(ctx, config, c.factory(0)); !errors.Is(err, nodehost.ErrAlreadyStarted) {
		t.Fatalf("started twice: %v", err)
	}
	if err := host.RemoveReplicaData(ctx, 1, 1); !errors.Is(err, nodehost.ErrAlreadyStarted) {
		t.Fatalf("removed while it runs: %v", err)
	}
	if err := host.StopReplica(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := host.StopReplica(ctx, 1); !errors.Is(err, nodehost.ErrNotStarted) {
		t.Fatalf("stopped twice: %v", err)
	}
	if _, err := host.Shard(1); !errors.Is(err, nodehost.ErrNotStarted) {
		t.Fatalf("shard: %v", err)
	}
	checkStopped(t, stale)
	// Started again without members: what is stored says who they are.
	config.Members = nil
	if err := host.StartReplica(ctx, config, c.factory(0)); err != nil {
		t.Fatal(err)
	}
	if lost, gone := missing(c.read(0, 1), []string{"x"}); gone {
		t.Fatalf("lost %q", lost)
	}
	if err := host.StopReplica(ctx, 1); err != nil {
		t.Fatal(err)
	}
	if err := host.RemoveReplicaData(ctx, 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := host.StartReplica(ctx, config, c.factory(0)); !errors.Is(err, nodehost.ErrInvalidConfig) {
		t.Fatalf("started without members and without data: %v", err)
	}
	// Under the same IDs a new replica: it remembers nothing, and its predecessor's promises do not bind it.
	config.Members = c.members()
	if err := host.StartReplica(ctx, config, c.factory(0)); err != nil {
		t.Fatal(err)
	}
	c.propose(0, 1, "y")
	if got := c.read(0, 1); !slices.Equal(got, []string{"y"}) {
		t.Fatalf("the new replica holds %v", got)
	}
}

// checkStopped makes every request on the handle of a stopped replica.
func checkStopped(t *testing.T, shard *nodehost.Shard) {
	t.Helper()
	ctx := patient(t)
	_, proposed := shard.Propose(ctx, []byte("x"))
	_, read := shard.Read(ctx, nil)
	_, stale := shard.StaleRead(context.Background(), nil, 0)
	_, status := shard.Status(ctx)
	_, waited := shard.WaitLeader(context.WithoutCancel(ctx))
	for what, err := range map[string]error{
		"Propose": proposed, "Read": read, "StaleRead": stale, "Status": status,
		"ProposeAsync":   shard.ProposeAsync([]byte("x"), nil),
		"ReadAsync":      shard.ReadAsync(nil, nil),
		"ProposeBatch":   shard.ProposeBatch([][]byte{[]byte("x")}, nil),
		"TransferLeader": shard.TransferLeader(ctx, 0),
	} {
		if !errors.Is(err, nodehost.ErrStopped) || nodehost.MaybeApplied(err) {
			t.Errorf("%s on a stopped replica: %v", what, err)
		}
	}
	if waited != nil && !errors.Is(waited, nodehost.ErrStopped) {
		t.Errorf("WaitLeader on a stopped replica: %v", waited)
	}
}
