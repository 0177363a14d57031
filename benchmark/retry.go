package benchmark

import "time"

// retrier issues requests again that were refused. It has a goroutine of its own, since the refusal may have come on a goroutine
// of the engine.
type retrier struct {
	load  *load
	queue chan retry // has room for every client, so adding never waits
	quit  chan struct{}
	ended chan struct{}
}

type retry struct {
	client *client
	due    time.Duration // on the load's clock
}

func newRetrier(l *load) *retrier {
	return &retrier{
		load:  l,
		queue: make(chan retry, l.inFlight),
		quit:  make(chan struct{}),
		ended: make(chan struct{}),
	}
}

func (r *retrier) start() { go r.run() }

// stop ends the goroutine. All clients have ended before.
func (r *retrier) stop() {
	close(r.quit)
	<-r.ended
}

func (r *retrier) add(c *client, pause time.Duration) {
	r.queue <- retry{c, r.load.now() + pause}
}

// run takes the requests in the order of their refusals. One that is due earlier than the one before it waits for that: a busy
// engine may get its retries up to one errorPause late, which is of no matter where errors are met at all.
func (r *retrier) run() {
	defer close(r.ended)
	for {
		select {
		case <-r.quit:
			return
		case next := <-r.queue:
			if wait := next.due - r.load.now(); wait > 0 {
				time.Sleep(wait)
			}
			if r.load.stopping.Load() {
				r.load.ended()
				continue
			}
			next.client.follow()
			next.client.issue()
		}
	}
}
