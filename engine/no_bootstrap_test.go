package engine_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// A log without the bootstrap record that is written before it has lost that, whatever else: the replica takes no part, and says why. It was taken for one
// whose incarnation is 0, which nobody's membership has, and which voted all the same.
func TestALogWithoutItsBootstrapIsDamaged(t *testing.T) {
	for name, save := range map[string]*raftpb.Save{
		"entries": {Batches: []raftpb.Batch{logdbtest.Batch(5, 1, 1, 3, 16)}, StateChanged: true, State: raftpb.HardState{Term: 1}},
		"a vote":  {StateChanged: true, State: raftpb.HardState{Term: 3, Vote: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestCluster(t, 1, nil)
			h := c.hosts[0]
			save.ShardID, save.ReplicaID, save.MustSync = 5, 1, true
			group := h.log.NewGroup()
			if err := group.Save(save); err != nil {
				t.Fatal(err)
			}
			h.log.Commit([]logdb.Group{group}, func(err error) {
				if err != nil {
					t.Fatal(err)
				}
			})
			start := func(healing bool) (replica *engine.Replica, err error) {
				err = errors.New("not told")
				h.engine.StartReplica(engine.ReplicaOptions{ShardID: 5, ReplicaID: 1, Members: c.members(), Raft: raft.Options{DisableHealing: !healing}},
					func(uint64, uint64) (rsm.StateMachine, error) { return &recorder{}, nil },
					func(r *engine.Replica, failure error) { replica, err = r, failure })
				c.run(10 * time.Second)
				return replica, err
			}
			if _, err := start(false); !errors.Is(err, logdb.ErrDamaged) {
				t.Errorf("with healing turned off: %v", err)
			}
			replica, err := start(true)
			if err != nil {
				t.Fatal(err)
			}
			if replica.Leading() {
				t.Error("it leads")
			}
			if !slices.ContainsFunc(c.events, func(e engine.Event) bool {
				return e.Kind == engine.EventReplicaDamaged && e.ShardID == 5 && errors.Is(e.Err, logdb.ErrDamaged)
			}) {
				t.Errorf("%+v", c.events)
			}
			if stored, err := h.log.Load(logdb.ReplicaKey{ShardID: 5, ReplicaID: 1}); err != nil || stored.State.Term != save.State.Term {
				t.Errorf("what is left is not kept: %+v, %v", stored, err)
			}
		})
	}
}
