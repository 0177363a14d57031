package engine

import (
	"fmt"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// witness says that the replica is started as one: it needs no state machine, and refuses requests at once (R19). A replica of
// which only a later membership says so refuses them too, by its core.
func (o *ReplicaOptions) witness() bool {
	return o.Raft.Witness || o.Kinds[o.ReplicaID] == raftpb.Witness
}

// noMachine stands in a witness where others have a state machine. It is never given anything.
type noMachine struct{}

func (noMachine) Update([]rsm.Entry) error              { return ErrWitness }
func (noMachine) Lookup(any) (any, error)               { return nil, ErrWitness }
func (noMachine) Close() error                          { return nil }
func makeNothing(_, _ uint64) (rsm.StateMachine, error) { return noMachine{}, nil }

// refuseAll makes a witness answer proposals at once.
func (r *Replica) refuseAll() {
	if r.witness {
		r.refuse(fmt.Errorf("%w: shard %d: replica %d", ErrWitness, r.shardID, r.replicaID))
	}
}
