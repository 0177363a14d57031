package benchmark

import (
	"runtime"
	"sync"
)

// runners go on with clients whose engine keeps answering within the call, on goroutines of the harness, one for each processor.
type runners struct {
	queue chan *client // has room for every client, so adding never waits
	work  sync.WaitGroup
}

func newRunners(l *load) *runners { return &runners{queue: make(chan *client, l.inFlight)} }

func (r *runners) start() {
	for range runtime.GOMAXPROCS(0) {
		r.work.Go(func() {
			for c := range r.queue {
				c.issue()
			}
		})
	}
}

func (r *runners) add(c *client) { r.queue <- c }

// stop ends the goroutines. All clients have ended before.
func (r *runners) stop() {
	close(r.queue)
	r.work.Wait()
}
