package engine

// What holds an apply queue up. A snapshot of a state machine that cannot be saved beside Updates, and the recovery from one, pause it:
// batches wait, confirmed reads in front of them do not, since Lookups go on. Whoever is inside the state machine beside the
// apply worker, as the Save of a prepared view or a Sync is, counts as a view: acts wait for it, so that no state machine is closed,
// exchanged or recovered under somebody's feet. No apply worker waits for either: a queue that is held up is not scheduled,
// and whoever lets go of it schedules it again.

// mayDo says whether an item may be done now.
func (q *applyQueue) mayDo(item *applyItem) bool {
	switch {
	case item.reads != nil:
		return true
	case item.last != nil:
		return !q.paused && q.views == 0
	}
	return !q.paused
}

// runnable says whether a turn would find something to do.
func (q *applyQueue) runnable() bool {
	return len(q.between) > 0 || len(q.items) > 0 && q.mayDo(&q.items[0])
}

// schedule reports whether the replica has to be handed to the pool, and notes that it is.
func (q *applyQueue) schedule() bool {
	if q.scheduled || !q.runnable() {
		return false
	}
	q.scheduled = true
	return true
}

// pushBetween lets act run between two Updates, as soon as the one under way is over; acts are run although the queue is held up.
func (q *applyQueue) pushBetween(act func()) (schedule bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.between = append(q.between, act)
	return q.schedule()
}

// runBetween runs those acts. It is called by the apply worker that has the replica.
func (q *applyQueue) runBetween() {
	for {
		q.mu.Lock()
		if len(q.between) == 0 {
			q.between = nil
			q.mu.Unlock()
			return
		}
		act := q.between[0]
		q.between = q.between[1:]
		q.mu.Unlock()
		act()
	}
}

// hold counts a view, and pauses the queue too if the state must not change. It is called by the apply worker that has the replica.
func (q *applyQueue) hold(pause bool) {
	q.mu.Lock()
	q.views++
	q.paused = q.paused || pause
	q.mu.Unlock()
}

// resume ends a pause and keeps the view.
func (q *applyQueue) resume() (schedule bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.paused = false
	return q.schedule()
}

// release takes a view back.
func (q *applyQueue) release() (schedule bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.views--
	return q.schedule()
}

// submitOne hands a replica to the apply pool if it has to be.
func (e *Engine) submitOne(r *Replica, schedule bool) {
	if schedule {
		e.apply.submit([]*Replica{r})
	}
}
