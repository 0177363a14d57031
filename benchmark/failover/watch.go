package failover

import (
	"sync"
	"time"
)

// Watched is what one host saw of a shard since the watch began. Times are nanoseconds of the wall clock, 0 for never.
type Watched struct {
	// Leader and Term are what the host knew when the watch began.
	Leader, Term uint64
	// Elected is when the host learned of a leader that is not the watched one, in NewTerm.
	Elected int64
	NewTerm uint64
	// Accepted is when a client here first had a write acknowledged that it made under such a leader.
	Accepted int64
	// Gap is the longest time between two acknowledgements, up to now, and GapEnd its end.
	Gap, GapEnd int64
	// Failures counts requests that were not acknowledged, LastFailure is the newest of them.
	Failures    int
	LastFailure string
}

// watch is the shared record of a shard's clients.
type watch struct {
	mu      sync.Mutex
	lost    uint64 // the replica whose host is to go
	last    int64  // acknowledgement
	watched Watched
}

func wallClock() int64 { return time.Now().UnixNano() }

// begin forgets what was seen. The time since the last acknowledgement goes on.
func (w *watch) begin(lost, leader, term uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = lost
	w.watched = Watched{Leader: leader, Term: term}
}

// accepted notes an acknowledgement of a write that was made when leader was known.
func (w *watch) accepted(at int64, leader uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.close(at)
	w.last = max(w.last, at)
	if w.watched.Accepted == 0 && leader != w.lost && leader != 0 {
		w.watched.Accepted = at
	}
}

func (w *watch) close(at int64) {
	if gap := at - w.last; w.last != 0 && gap > w.watched.Gap {
		w.watched.Gap, w.watched.GapEnd = gap, at
	}
}

func (w *watch) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.watched.Failures++
	w.watched.LastFailure = err.Error()
}

// led notes that a leader is known.
func (w *watch) led(at int64, leader, term uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.watched.Elected == 0 && leader != 0 && leader != w.lost {
		w.watched.Elected, w.watched.NewTerm = at, term
	}
}

// report returns what was seen until now.
func (w *watch) report() Watched {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.close(wallClock())
	return w.watched
}
