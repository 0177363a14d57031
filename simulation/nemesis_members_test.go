package simulation

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// A voter whose snapshot is damaged says nothing until it reads that, and is lost then: the operator leaves no membership that would stand still.
func TestTheOperatorCountsOnNoReplicaWithADamagedSnapshot(t *testing.T) {
	w := &World{}
	n := &nemesis{world: w}
	s := &shard{world: w, id: 1}
	initial := raftpb.Membership{}
	for i := range 3 {
		p := &place{host: &host{world: w, index: i, snapshots: newSnapshotFiles()}, shard: s, state: placeRunning}
		s.places = append(s.places, p)
		initial.Members = append(initial.Members, raftpb.Member{ReplicaID: uint64(i + 1), Kind: raftpb.Voter})
	}
	s.configurations = []configuration{configurationOf(0, 0, &initial)}
	may := func(replica uint64, kind raftpb.MemberKind) bool {
		return n.mayBecome(s, &initial, &raftpb.MembershipChange{Members: []raftpb.MemberChange{{ReplicaID: replica, Kind: kind}}})
	}

	files, name := s.places[2].host.snapshots, snapshot.Name{ShardID: 1, ReplicaID: 3, Index: 10}
	directory, err := files.open(&w.random)
	if err != nil {
		t.Fatal(err)
	}
	file, err := files.memory.Create(directory.Path(name), vfs.WriteCategoryUnspecified)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Write([]byte("a snapshot")); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	for replica := uint64(1); replica <= 3; replica++ {
		if !may(replica, 0) || !may(replica, raftpb.Learner) {
			t.Errorf("three voters are well, and the operator does not dare to go on without replica %d", replica)
		}
	}
	if err := files.flip(name, &w.random); err != nil {
		t.Fatal(err)
	}
	if may(1, 0) || may(2, raftpb.Learner) {
		t.Error("of the two voters that would be left one is about to find that it lost its state")
	}
	if !may(3, 0) || !may(3, raftpb.Voter) {
		t.Error("two of two, or of three, are well")
	}
}
