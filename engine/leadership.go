package engine

// A state machine that asks for it is told when its replica begins and ceases to lead. The step worker knows, and the queue of what is
// to be applied carries the news, so that they come in the order of the log: the beginning right behind the first entry of the
// leader's term, the end behind everything that was handed over while it led. A leadership that ends before its first entry is
// committed is never told of.

// leadershipBegins reports whether a batch of this term, handed over last, is the first one of the term that this replica leads.
func (w *StepWorker) leadershipBegins(r *Replica, term uint64) bool {
	return r.startedTerm == 0 && r.leading.Load() && term == r.publishedTerm.Load() && r.machine.HearsOfLeaders()
}

func (w *StepWorker) leaderStarted(r *Replica) applyItem {
	term := r.publishedTerm.Load()
	r.startedTerm = term
	return r.news(func() error { return r.machine.TellLeaderStarted(term) })
}

// leadershipEnds tells the end of a leadership whose beginning was told.
func (w *StepWorker) leadershipEnds(r *Replica) {
	term := r.startedTerm
	if term == 0 {
		return
	}
	r.startedTerm = 0
	if r.applyQueue.push(r.news(func() error { return r.machine.TellLeaderStopped(term) })) {
		w.applied = append(w.applied, r)
	}
}

// news is told on the apply worker. A state machine that panics over it is quarantined; one that has failed is told nothing.
func (r *Replica) news(tell func() error) applyItem {
	return applyItem{last: func() {
		if r.machine.Failure() != nil || tell() == nil {
			return
		}
		failure := r.machine.Failure()
		r.worker.control(func(w *StepWorker) { w.quarantine(r, failure) })
	}}
}
