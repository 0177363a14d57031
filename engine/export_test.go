package engine

// Sabotage makes the replica's next step panic, as a violated invariant would.
func (r *Replica) Sabotage() {
	r.worker.control(func(*StepWorker) { r.core = nil })
}
