package engine_test

import (
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// countedPromises counts what is recorded.
type countedPromises struct {
	*memoryPromises
	recorded int
}

func (p *countedPromises) Record(records []engine.PromiseRecord) error {
	p.recorded += len(records)
	return p.memoryPromises.Record(records)
}

// TestWhatACrashLeftUnrecordedIsRecordedAtTheNextStart crashes a follower before the last of what it acknowledged is recorded. It writes nothing in
// its next life, since nobody leads; what its log holds of the present term is recorded all the same, once, and a log store that loses it
// later is noticed. Without that the loss of an entry that had been acknowledged long before went unnoticed.
func TestWhatACrashLeftUnrecordedIsRecordedAtTheNextStart(t *testing.T) {
	c := newTestCluster(t, 3, nil)
	c.start(1)
	leader := c.waitLeader(1)
	for _, command := range []string{"a", "b"} {
		if _, err := c.propose(leader, 1, command); err != nil {
			t.Fatal(err)
		}
	}
	at := 0
	for c.hosts[at] == leader {
		at++
	}
	h, id := c.hosts[at], uint64(at+1)
	last := leader.replicas[1].Applied()
	c.until(10*time.Second, "the follower has everything", func() bool { return h.stored(t, 1, id).Last == last })
	stored := h.stored(t, 1, id)
	want := raft.Promised{VoteTerm: stored.State.Term, Term: stored.State.Term, Index: last}
	for _, other := range c.hosts {
		other.crash(nil)
	}
	h.promises.records[keyOf(1, id)] = raft.Promised{VoteTerm: want.VoteTerm, Term: want.Term, Index: last - 1}
	restart := func() *countedPromises {
		promises := &countedPromises{memoryPromises: h.promises}
		h.crash(func(o *engine.Options) { o.Promises = promises })
		h.start(engine.ReplicaOptions{ShardID: 1, ReplicaID: id, Members: c.members()})
		c.run(time.Second)
		return promises
	}

	if got := restart(); got.records[keyOf(1, id)] != want || got.recorded != 1 {
		t.Fatalf("recorded %d times, last %+v, want once %+v", got.recorded, got.records[keyOf(1, id)], want)
	}
	if got := restart(); got.recorded != 0 {
		t.Errorf("recorded %d times what was recorded already", got.recorded)
	}
	group := h.log.NewGroup()
	if err := group.Save(&raftpb.Save{
		ShardID: 1, ReplicaID: id, MustSync: true, StateChanged: true, TruncateFrom: last,
		State: raftpb.HardState{Term: stored.State.Term, Vote: stored.State.Vote},
	}); err != nil {
		t.Fatal(err)
	}
	h.log.Commit(groupsOf(group), func(error) {})
	if got := h.stored(t, 1, id).Last; got != last-1 {
		t.Fatalf("the log was not cut: last entry %d of %d", got, last)
	}
	restart()
	if !c.sawEvent(engine.EventReplicaAbstaining, id) {
		t.Error("the loss of what had been acknowledged went unnoticed")
	}
}
