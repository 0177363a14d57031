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

// onePromise is the record of a host that has recorded something of one replica, until that is forgotten.
type onePromise struct{ promised *raft.Promised }

func (p onePromise) Promised(logdb.ReplicaKey) raft.Promised { return *p.promised }
func (p onePromise) Replicas() []logdb.ReplicaKey            { return nil }

func (p onePromise) Record(records []engine.PromiseRecord) error {
	if len(records) == 1 && records[0].Forgotten {
		*p.promised = raft.Promised{}
	}
	return nil
}

// written returns a log store that holds one write.
func written(t *testing.T, save *raftpb.Save) *modellog.Log {
	t.Helper()
	log := modellog.New(modellog.Options{})
	log.SetAutomatic(true)
	t.Cleanup(func() { _ = log.Close() })
	group := log.NewGroup()
	if err := group.Save(save); err != nil {
		t.Fatal(err)
	}
	log.Commit([]logdb.Group{group}, func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	return log
}

// A survivor that had lost something, and is taken all the same, would abstain for ever if what it had promised in the former shard were remembered.
func TestASurvivorIsRidOfWhatItHadPromised(t *testing.T) {
	log := written(t, &raftpb.Save{
		ShardID: 5, ReplicaID: 1, State: raftpb.HardState{Term: 3, Commit: 1}, StateChanged: true, MustSync: true,
		Bootstrap: &raftpb.Bootstrap{Incarnation: 7, Complete: true, Initial: raftpb.Membership{ID: 1, Members: []raftpb.Member{{ReplicaID: 1, Kind: raftpb.Voter, Incarnation: 7, Address: "a"}}}},
		Batches:   []raftpb.Batch{stampedNoOp(5, 3, 1)},
	})
	promises := onePromise{&raft.Promised{VoteTerm: 9, Index: 4, Term: 3}}
	recovery, err := rebuild.Find(&rebuild.Stores{Dir: "data", Log: log, Promises: promises}, 5, 1)
	if err != nil {
		t.Fatal(err)
	}
	if risks := recovery.Risks(); len(risks) != 2 {
		t.Errorf("risks %q, want that of a lost vote and that of lost entries", risks)
	}
	if _, err := recovery.Write("a"); err != nil {
		t.Fatal(err)
	}
	if *promises.promised != (raft.Promised{}) {
		t.Errorf("remembered: %+v", *promises.promised)
	}
}

func stampedNoOp(shard, term, index uint64) raftpb.Batch {
	batch := raftpb.NewNoOp(shard)
	batch.Stamp(term, index)
	return batch
}

// A survivor without its bootstrap record was rebuilt without one, and no start believes such a log: the shard would have been lost for good.
func TestASurvivorWithoutItsBootstrapIsGivenOne(t *testing.T) {
	config := raftpb.Membership{ID: 1, Members: []raftpb.Member{{ReplicaID: 1, Kind: raftpb.Voter, Address: "a"}, {ReplicaID: 2, Kind: raftpb.Voter, Address: "b"}}}
	batch := raftpb.NewMembership(5, config)
	batch.Stamp(3, 1)
	log := written(t, &raftpb.Save{
		ShardID: 5, ReplicaID: 1, State: raftpb.HardState{Term: 3, Commit: 1}, StateChanged: true, MustSync: true,
		Batches: []raftpb.Batch{batch}, Configs: []raftpb.ConfigRecord{{Index: 1, Membership: config}},
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
