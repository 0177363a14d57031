package engine

import "github.com/flotilla-raft/flotilla/rsm"

// SabotageApply makes the next apply violate an invariant: the applied index is not what it has to be.
func (r *Replica) SabotageApply(machine rsm.StateMachine) {
	r.machine = rsm.NewManager(machine, 0)
}
