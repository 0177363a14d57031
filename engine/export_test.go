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
