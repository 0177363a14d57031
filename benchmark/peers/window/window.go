package window

import "sync"

// Window holds the requests that are under way, oldest first, and ends them in that order. P is a request that waits.
type Window[P any] struct {
	end     func(P)
	mu      sync.Mutex
	wake    sync.Cond
	pending []P
	closed  bool
	ended   chan struct{}
}

// New returns a window that calls end for each request, on its goroutine; end waits for the request's answer.
func New[P any](end func(P)) *Window[P] {
	w := &Window[P]{end: end, ended: make(chan struct{})}
	w.wake.L = &w.mu
	go w.run()
	return w
}

// Add adds a request. Safe for concurrent use.
func (w *Window[P]) Add(p P) {
	w.mu.Lock()
	w.pending = append(w.pending, p)
	first := len(w.pending) == 1
	w.mu.Unlock()
	if first {
		w.wake.Signal()
	}
}

// Close ends the goroutine once nothing is pending. The hosts are closed before, so that everything is answered.
func (w *Window[P]) Close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wake.Signal()
	<-w.ended
}

func (w *Window[P]) run() {
	defer close(w.ended)
	var taken []P
	for {
		w.mu.Lock()
		for len(w.pending) == 0 && !w.closed {
			w.wake.Wait()
		}
		if len(w.pending) == 0 {
			w.mu.Unlock()
			return
		}
		taken, w.pending = w.pending, taken[:0]
		w.mu.Unlock()
		for i := range taken {
			w.end(taken[i])
		}
		clear(taken)
	}
}
