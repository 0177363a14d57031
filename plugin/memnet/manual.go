package memnet

// RunOnce delivers what is due at an instant (nanoseconds on whatever clock the caller keeps; it never goes back), one frame
// or connection event at a time, in an order drawn from the seed among the links that have something due. It returns how many
// it did and the instant of the next thing under way: at or before now if handlers queued more meanwhile, Never if there
// is nothing. What handlers send during the call waits for the next call, so that hosts that answer each other without
// delay cannot keep one call busy for ever.
//
// The handlers' calls come from the caller's goroutine. RunOnce is not safe for concurrent use, and not for a network
// that was started.
func (n *Network) RunOnce(now int64) (delivered int, nextDue int64) {
	if n.background.Load() {
		return 0, Never
	}
	n.now.Store(max(now, n.now.Load()))
	bound := n.sequence.Load()
	due := n.dueLinks(now, bound)
	for len(due) > 0 {
		i := n.random.IntN(len(due))
		if due[i].step(now, bound) {
			delivered++
		}
		if due[i].next(bound) > now {
			due[i] = due[len(due)-1]
			due = due[:len(due)-1]
		}
	}
	return delivered, n.nextDue()
}

// dueLinks returns the links that have something to do at now, in the order they were made.
func (n *Network) dueLinks(now int64, bound uint64) []*link {
	n.mu.Lock()
	defer n.mu.Unlock()
	due := n.due[:0]
	for _, l := range n.links {
		if l.next(bound) <= now {
			due = append(due, l)
		}
	}
	n.due = due
	return due
}

func (n *Network) nextDue() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := Never
	for _, l := range n.links {
		next = min(next, l.next(^uint64(0)))
	}
	return next
}
