package raft

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// TestRandomSchedules runs shards of one to five replicas through random orders of everything that can happen, with
// messages lost, doubled and reordered, writes delayed, crashes that lose what was not written, evicted caches, cut links
// and clocks. The network checks as it goes: one leader a term, one value an index, whole and ordered apply, commit on a
// durable majority, leaders that have all that is committed, no promise before its write, every proposal ended at most
// once and truly. At the end the faults stop, and everybody has to agree on everything and make progress.
func TestRandomSchedules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var initial raftpb.Membership
		for id := range rapid.SampledFrom([]uint64{1, 2, 3, 3, 4, 5}).Draw(t, "replicas") {
			initial.Members = append(initial.Members, raftpb.Member{
				ReplicaID: id + 1, Kind: raftpb.Voter, Priority: rapid.SampledFrom([]raftpb.Priority{0, 0, 0, raftpb.PriorityLast, 200}).Draw(t, "priority"),
			})
		}
		leases := rapid.Bool().Draw(t, "leases")
		n := newNetworkOf(initial, func(o *Options) { o.LeaseRead = leases }, t.Fatalf)
		if rapid.Bool().Draw(t, "elected") {
			n.advance(3 * time.Second)
		}
		steps := rapid.IntRange(50, 400).Draw(t, "steps")
		for range steps {
			n.randomStep(t)
			for _, node := range n.nodes {
				n.check(node)
			}
		}
		n.checkRecovery(t)
	})
}

// storages are the states that may end.
var storages = []StorageState{StorageOK, StorageBusy, StorageFull, StorageStalled}

func (n *network) randomStep(t *rapid.T) {
	node := n.nodes[rapid.IntRange(0, len(n.nodes)-1).Draw(t, "node")]
	action := rapid.IntRange(0, 99).Draw(t, "action")
	switch {
	case action < 40:
		n.randomDelivery(t)
	case action < 55:
		n.drain(node)
	case action < 68:
		n.save(node)
	case action < 80:
		n.randomCall(t, node)
	case action < 86:
		n.now += Instant(rapid.IntRange(1, 400).Draw(t, "ms")) * Instant(time.Millisecond)
		if node.core != nil && rapid.Bool().Draw(t, "tick") {
			node.core.Tick(n.now)
		}
	case action < 90:
		n.randomCrash(t, node)
	case action < 93:
		other := n.nodes[rapid.IntRange(0, len(n.nodes)-1).Draw(t, "other")]
		link := [2]uint64{node.id, other.id}
		n.cut[link] = !n.cut[link]
	case action < 95:
		clear(node.cache.chunks)
		n.readLog(node)
	case action < 96:
		n.settle()
	case action < 97:
		n.leaveBehind(t, node)
	default:
		n.advance(time.Duration(rapid.IntRange(1, 2000).Draw(t, "ms")) * time.Millisecond)
	}
}

func (n *network) randomDelivery(t *rapid.T) {
	if len(n.queue) == 0 {
		for _, node := range n.nodes {
			n.drain(node)
		}
		return
	}
	i := 0
	if rapid.IntRange(0, 3).Draw(t, "reorder") == 0 {
		i = rapid.IntRange(0, len(n.queue)-1).Draw(t, "message")
	}
	switch rapid.IntRange(0, 19).Draw(t, "fate") {
	case 0:
		n.queue = slices.Delete(n.queue, i, i+1)
	case 1:
		n.queue = append(n.queue, n.queue[i])
		n.deliver(i)
	default:
		n.deliver(i)
	}
}

func (n *network) randomCall(t *rapid.T, node *testNode) {
	if node.core == nil {
		return
	}
	switch rapid.IntRange(0, 21).Draw(t, "call") {
	case 16:
		election := time.Duration(rapid.SampledFrom([]int{400, 1000, 1000, 2500}).Draw(t, "timeout")) * time.Millisecond
		if err := node.core.SetTimeouts(n.now, election, 0); err != nil {
			t.Fatal(err)
		}
	case 0, 17:
		n.readSequence++
		n.read(node, n.readSequence)
	case 18, 19:
		node.core.Compact(n.now, node.core.applied-min(node.core.applied, uint64(rapid.IntRange(0, 4).Draw(t, "kept"))))
	case 20:
		n.fetch(node)
	case 21:
		if node.installs != nil && rapid.Bool().Draw(t, "fails") {
			node.installs = nil
			node.core.SnapshotFailed(n.now, raftpb.ReasonNotReady)
		}
	case 1:
		node.core.TransferLeader(n.now, 1, uint64(rapid.IntRange(0, len(n.nodes)).Draw(t, "target")))
	case 2:
		node.core.Unreachable(n.now, uint64(rapid.IntRange(1, len(n.nodes)).Draw(t, "peer")))
	case 3:
		n.readLog(node)
	case 4:
		node.core.SetStorage(n.now, storages[rapid.IntRange(0, len(storages)-1).Draw(t, "storage")])
	case 5, 6:
		n.randomChange(t, node)
	case 7:
		if rapid.IntRange(0, 9).Draw(t, "quarantine") == 0 {
			node.core.Quarantine(n.now)
		}
	default:
		commands := make([]string, rapid.IntRange(1, 4).Draw(t, "entries"))
		for i := range commands {
			commands[i] = fmt.Sprintf("%d/%d/%d", node.session, node.proposed+1, i)
		}
		n.propose(node, commands...)
	}
}

// randomChange asks for one to three members to become something else, or for the operation under way to be canceled. Many are
// refused; what is not must keep everything safe. The faults of a schedule may take one voter for good, so two are left.
func (n *network) randomChange(t *rapid.T, node *testNode) {
	n.changeSequence++
	if rapid.IntRange(0, 9).Draw(t, "cancel") == 0 {
		n.expectEnd(node, node.core.CancelChange(n.now, n.changeSequence))
		return
	}
	ids := rapid.SliceOfNDistinct(rapid.Uint64Range(1, uint64(len(n.nodes))), 1, 3, rapid.ID[uint64]).Draw(t, "members")
	var change raftpb.MembershipChange
	if rapid.IntRange(0, 3).Draw(t, "guarded") == 0 {
		change.IfID = node.core.Membership().ID
	}
	voters := 0
	for _, member := range node.core.Membership().Members {
		if member.Kind == raftpb.Voter && !slices.Contains(ids, member.ReplicaID) {
			voters++
		}
	}
	for _, id := range ids {
		kind := raftpb.MemberKind(rapid.IntRange(0, 2).Draw(t, "kind"))
		if kind == raftpb.Voter {
			voters++
		}
		change.Members = append(change.Members, raftpb.MemberChange{ReplicaID: id, Kind: kind})
	}
	if voters >= 2 {
		n.expectEnd(node, node.core.ChangeMembers(n.now, n.changeSequence, change))
	}
}

// expectEnd notes that a change was taken: it has to end once.
func (n *network) expectEnd(node *testNode, reason raftpb.Reason) {
	if reason == raftpb.ReasonNone {
		node.changes[n.changeSequence] = ""
	}
}

func (n *network) randomCrash(t *rapid.T, node *testNode) {
	if node.core == nil {
		n.restart(t, node)
		return
	}
	if promised, ok := node.core.Promise(); ok && rapid.Bool().Draw(t, "recorded") {
		node.promised = promised
	}
	if rapid.Bool().Draw(t, "written") {
		n.save(node)
	}
	n.crash(node)
	if rapid.Bool().Draw(t, "restart") {
		n.restart(t, node)
	}
}

// restart starts a replica again. Its log store kept everything that it said to be durable, so what it promised is there (R14).
func (n *network) restart(t *rapid.T, node *testNode) {
	n.start(node)
	if node.core.Role() == RoleAbstaining {
		t.Fatalf("replica %d abstains with %+v and promised %+v", node.id, node.disk.stored, node.promised)
	}
}

// checkRecovery ends all faults: the shard has to elect, commit a new proposal and bring every member to the same state.
func (n *network) checkRecovery(t *rapid.T) {
	clear(n.cut)
	for _, node := range n.nodes {
		if node.core == nil || node.core.quarantined || node.core.heal.removed { // the last may have been added again since
			n.restart(t, node)
		}
		node.core.SetStorage(n.now, StorageOK)
		if err := node.core.SetTimeouts(n.now, time.Second, 0); err != nil {
			t.Fatal(err)
		}
	}
	n.settle()
	n.advance(forwardPatience*2500*time.Millisecond + 5*time.Second) // a change that was passed on waits as long as the timeout of its time says
	leader := n.leader()
	if leader == nil {
		n.dump(t)
		t.Fatalf("no leader long after the last fault")
	}
	if reason := n.propose(leader, "last"); reason != raftpb.ReasonNone {
		n.dump(t)
		t.Fatalf("the leader refuses: %s", reason)
	}
	n.advance(3 * time.Second)
	for _, node := range n.nodes {
		n.checkEnded(t, node)
		if node != leader && memberOf(leader.core.Membership(), node.id) == nil {
			continue
		}
		if node.core.Role() == RoleAbstaining { // it was removed, told so, and added again: it needs a restart
			continue
		}
		if node.upTo != leader.core.LastIndex() || node.core.Commit() != leader.core.Commit() {
			n.dump(t)
			t.Fatalf("replica %d is behind", node.id)
		}
	}
}

// checkEnded holds R3: nothing waits for ever.
func (n *network) checkEnded(t *rapid.T, node *testNode) {
	if node.core.UncommittedBatches() != 0 || node.core.UncommittedEntries() != 0 {
		n.dump(t)
		t.Fatalf("replica %d still counts %d batches as uncommitted", node.id, node.core.UncommittedBatches())
	}
	for id, how := range node.changes {
		if how == "" {
			n.dump(t)
			t.Fatalf("change %d of replica %d never ended", id, node.id)
		}
	}
	for sequence := uint64(1); sequence <= node.proposed; sequence++ {
		if _, ok := node.ended[sequence]; !ok {
			n.dump(t)
			t.Fatalf("proposal %d of replica %d never ended", sequence, node.id)
		}
	}
}

func (n *network) dump(t *rapid.T) {
	for _, node := range n.nodes {
		t.Log(describeStatus(node.core.Status()))
		t.Log(node.core.Membership())
	}
}
