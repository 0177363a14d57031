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

// witnessInterval is at least how many entries a witness lets go of at a time: each time costs a record.
const witnessInterval = 1024

// compactWitness lets a witness's log go. It has no state to lose and is never asked for log, so what is committed is not needed, but for
// KeepEntries: a leader that is behind then finds where their logs meet.
func (w *StepWorker) compactWitness(r *Replica) {
	policy := &r.snapshots.policy
	keep := uint64(policy.KeepEntries)
	if commit := r.core.Commit(); !policy.Disabled && commit >= r.witnessCompacted+keep+max(keep, witnessInterval) {
		r.witnessCompacted = commit - keep
		r.core.Compact(w.now, r.witnessCompacted)
	}
}

// refuseAll makes a witness answer proposals at once.
func (r *Replica) refuseAll() {
	if r.witness {
		r.refuse(fmt.Errorf("%w: shard %d: replica %d", ErrWitness, r.shardID, r.replicaID))
	}
}
