package memnet

import "time"

// Start puts the network into running mode: from now on every link that is used has a goroutine of its own, which
// delivers by the machine's clock. Like the connections of a real network, links do not wait for each other: a handler that blocks
// on one lane delays no other. There is no way back to manual mode; closing the hosts ends the goroutines.
func (n *Network) Start() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.background.Load() {
		return
	}
	n.began = time.Now().Add(-time.Duration(n.now.Load()))
	n.background.Store(true)
	for _, l := range n.links {
		l.mu.Lock()
		l.signalLocked()
		l.mu.Unlock()
	}
}

// clock returns the current instant: the last one that RunOnce was given, or that of the machine in running mode.
func (n *Network) clock() int64 {
	if n.background.Load() {
		return time.Since(n.began).Nanoseconds()
	}
	return n.now.Load()
}

// signalLocked makes the link's goroutine look, if there is one or should be.
func (l *link) signalLocked() {
	if !l.network.background.Load() || l.nextLocked(^uint64(0)) == Never && l.state != linkClosed {
		return
	}
	if !l.started {
		l.started = l.sender.spawn(l.run)
		return
	}
	if l.waiting {
		l.waiting = false
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

// run is the goroutine of a link.
func (l *link) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		for l.step(l.stepTime(), ^uint64(0)) {
		}
		l.mu.Lock()
		if l.state == linkClosed {
			l.mu.Unlock()
			return
		}
		due, now := l.nextLocked(^uint64(0)), l.network.clock()
		l.waiting = due > now
		l.mu.Unlock()
		if due <= now {
			continue
		}
		timer.Reset(time.Duration(due - now))
		select {
		case <-l.wake:
		case <-timer.C:
		}
	}
}

// stepTime spares the clock where nothing depends on it: packets of a link without faults are due at 0.
func (l *link) stepTime() int64 {
	if *l.faults.Load() == (Faults{}) {
		l.mu.Lock()
		settled := l.state == linkUp && l.lastDue == 0
		l.mu.Unlock()
		if settled {
			return 0
		}
	}
	return l.network.clock()
}

// spawn runs f on a goroutine that Close waits for, unless Close was called. Host.mu makes the check and the start one step:
// Stopper.Stop holds the stopper's own mutex until the last worker has ended, and must not be met by a late start.
func (h *Host) spawn(f func()) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.stopper.RunWorker(f)
	return true
}
