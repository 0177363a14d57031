package engine

// Sabotage makes the replica's next step panic, as a violated invariant would.
func (r *Replica) Sabotage() {
	r.worker.control(func(*StepWorker) { r.core = nil })
}

// SabotageOpenBatches makes the batches that wait violate an invariant when they are given to the core.
func (r *Replica) SabotageOpenBatches() {
	r.queue.mu.Lock()
	defer r.queue.mu.Unlock()
	for _, p := range r.queue.open {
		p.arena = p.arena[:0]
	}
}

// VerifyNewest reads the newest snapshot as if a receiver had doubted it.
func (r *Replica) VerifyNewest() { r.verifySnapshot(r.snapshots.newest) }

// EndSnapshots ends them as the renewal or the stop of the replica does.
func (r *Replica) EndSnapshots(cause error) { r.endSnapshots(cause) }
