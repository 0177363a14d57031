package simulation

import (
	"testing"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// Once all first members have empty disks they begin the shard a second time, which no host can notice: what shows that it exists is not taken from
// the last one that has it, although that one lost what it had promised before.
func TestTheLastThatRemembersTheShardKeepsThat(t *testing.T) {
	w := &World{}
	n := &nemesis{world: w}
	s := &shard{world: w, id: 1, committed: make([]entry, 3)}
	initial := raftpb.Membership{}
	for i := range 3 {
		h := &host{world: w, index: i, promise: &promises{records: map[logdb.ReplicaKey]raft.Promised{}}}
		h.disk = &disk{host: h, durable: map[logdb.ReplicaKey]*mirror{}}
		p := &place{host: h, shard: s, lost: true}
		s.places, h.places = append(s.places, p), []*place{p}
		kind := raftpb.Voter
		if i == 2 {
			kind = raftpb.Learner
		}
		initial.Members = append(initial.Members, raftpb.Member{ReplicaID: uint64(i + 1), Kind: kind})
	}
	s.configurations = []configuration{configurationOf(0, 0, &initial)}
	first, second, learner := s.places[0], s.places[1], s.places[2]
	may := func(p *place) bool { return n.mayLose([]*place{nil, p}) }

	learner.host.promise.records[keyOf(learner)] = raft.Promised{VoteTerm: 1}
	first.host.promise.records[keyOf(first)] = raft.Promised{VoteTerm: 1}
	if may(first) || !may(second) || !may(learner) {
		t.Errorf("the record of promises of one is left, and it may lose that: %v; of those that have nothing, and that do not begin the shard: %v, %v",
			may(first), may(second), may(learner))
	}
	second.host.disk.durable[keyOf(second)] = &mirror{incarnation: 7}
	if may(first) {
		t.Error("what asks whether the shard is new does not know that it exists")
	}
	second.host.disk.durable[keyOf(second)].state.Term = 1
	if !may(first) || !may(second) {
		t.Error("two have something left, and neither may lose it")
	}
	delete(second.host.disk.durable, keyOf(second))
	second.joins = true // it waits to be added, and does not say that it is empty too
	if !may(first) {
		t.Error("one that does not begin the shard keeps the others from it")
	}
}
