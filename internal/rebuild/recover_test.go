package rebuild_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/internal/rebuild"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// noPromises is the record of a host that has recorded nothing.
type noPromises struct{}

func (noPromises) Promised(logdb.ReplicaKey) raft.Promised { return raft.Promised{} }
func (noPromises) Record([]engine.PromiseRecord) error     { return nil }
func (noPromises) Replicas() []logdb.ReplicaKey            { return nil }

// A survivor without its bootstrap record was rebuilt without one, and no start believes such a log: the shard would have been lost for good.
func TestASurvivorWithoutItsBootstrapIsGivenOne(t *testing.T) {
	log := modellog.New(modellog.Options{})
	log.SetAutomatic(true)
	defer func() { _ = log.Close() }()
	config := raftpb.Membership{ID: 1, Members: []raftpb.Member{{ReplicaID: 1, Kind: raftpb.Voter, Address: "a"}, {ReplicaID: 2, Kind: raftpb.Voter, Address: "b"}}}
	batch := raftpb.NewMembership(5, config)
	batch.Stamp(3, 1)
	group := log.NewGroup()
	err := group.Save(&raftpb.Save{
		ShardID: 5, ReplicaID: 1, State: raftpb.HardState{Term: 3, Commit: 1}, StateChanged: true, MustSync: true,
		Batches: []raftpb.Batch{batch}, Configs: []raftpb.ConfigRecord{{Index: 1, Membership: config}},
	})
	if err != nil {
		t.Fatal(err)
	}
	log.Commit([]logdb.Group{group}, func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	recovery, err := rebuild.Find(&rebuild.Stores{Dir: "data", Log: log, Promises: noPromises{}}, 5, 1)
	if err != nil {
		t.Fatal(err)
	}
	if risks := recovery.Risks(); !slices.ContainsFunc(risks, func(risk string) bool { return strings.Contains(risk, "who it is") }) {
		t.Errorf("risks %q", risks)
	}
	rebuilt, err := recovery.Write("a")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := log.Load(recovery.Key)
	if err != nil {
		t.Fatal(err)
	}
	if own := stored.Bootstrap.Incarnation; own == 0 || !stored.Bootstrap.Complete || rebuilt.Members[0].Incarnation != own {
		t.Errorf("bootstrap %+v of %+v", stored.Bootstrap, rebuilt)
	}
}
