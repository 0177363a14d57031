package pebblelog

import "github.com/cockroachdb/pebble/v2"

// The goroutines of a store. There are two: one completes writes in their order, the other tells the owner about a failure. Both
// end in stop.

// openInBackground opens Pebble, and leaves it alone if the disk goes on failing: Open flushes what it found in the
// log and retries that for ever. The goroutine is then parked in the guard for good; a host whose log cannot be opened has
// to end anyway.
func openInBackground(dir string, options *pebble.Options, guard *guard) (*pebble.DB, error) {
	type result struct {
		db  *pebble.DB
		err error
	}
	opened := make(chan result, 1)
	go func() {
		db, err := recoverOpen(dir, options)
		opened <- result{db, err}
	}()
	select {
	case r := <-opened:
		return r.db, r.err
	case <-guard.givenUp:
		return nil, guard.latch.get()
	}
}

// start starts the goroutines.
func (s *Store) start(onFailure func(error)) {
	s.background.Go(s.complete)
	stopped := s.guard.closed
	s.background.Go(func() {
		select {
		case <-s.latch.failed:
			if onFailure != nil {
				onFailure(s.latch.get())
			}
		case <-stopped:
		}
	})
}

// stop lets the completion goroutine finish what is in the queue and waits until both goroutines have ended.
func (s *Store) stop() {
	s.queue.Lock()
	s.queue.stopped = true
	s.queue.filled.Signal()
	s.queue.Unlock()
	<-s.completed
	s.guard.release()
	s.background.Wait()
}

// enqueue adds a write to the queue.
func (s *Store) enqueue(w write) {
	s.queue.Lock()
	s.queue.writes = append(s.queue.writes, w)
	s.queue.Unlock()
	s.queue.filled.Signal()
}

// complete finishes writes until the store is stopped and the queue is empty. It takes the whole queue at a time and
// swaps two slices, so that it neither allocates nor holds the lock while a write waits for the disk.
func (s *Store) complete() {
	defer close(s.completed)
	var taken []write
	for {
		s.queue.Lock()
		for len(s.queue.writes) == 0 && !s.queue.stopped {
			s.queue.filled.Wait()
		}
		if len(s.queue.writes) == 0 {
			s.queue.Unlock()
			return
		}
		taken, s.queue.writes = s.queue.writes, taken[:0]
		s.queue.Unlock()
		for i := range taken {
			s.finish(taken[i])
			taken[i] = write{}
		}
	}
}
