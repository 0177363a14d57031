package seglog

import (
	"sync"
	"time"
)

// background has the goroutines of a store. There are four: one writes what Commits leave to it, one completes what that has written, one is the
// keeper's, one tells the owner about a failure. All end in stop. A Manual store has none.
type background struct {
	group   sync.WaitGroup
	writer  chan struct{}
	keeper  chan struct{}
	written chan written // to the completer, in order
	stopped chan struct{}
	once    sync.Once
}

func (b *background) init() {
	b.writer, b.keeper, b.stopped = make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{})
	b.written = make(chan written, 2)
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it will look anyway
	}
}

func (s *Store) wakeWriter() {
	if !s.options.Manual {
		wake(s.background.writer)
	}
}

func (s *Store) wakeKeeper() {
	if !s.options.Manual {
		wake(s.background.keeper)
	}
}

// start starts the goroutines.
func (s *Store) start() {
	b := &s.background
	b.group.Go(func() {
		for w := range b.written {
			s.completed(w)
		}
	})
	b.group.Go(func() {
		defer close(b.written)
		for {
			select {
			case <-b.writer:
				s.drain()
			case <-b.stopped:
				return
			}
		}
	})
	b.group.Go(s.keepOn)
	b.group.Go(func() {
		select {
		case <-s.latch.failed:
			if s.options.OnFailure != nil {
				s.options.OnFailure(s.latch.get())
			}
		case <-b.stopped:
		}
	})
}

// keepOn runs the keeper whenever it is woken or wants to run again.
func (s *Store) keepOn() {
	b := &s.background
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.stopped:
			return
		case <-b.keeper:
		case <-timer.C:
		}
		now := time.Since(began)
		if next := s.keep(now); next >= 0 {
			timer.Reset(next - now)
		}
	}
}

// stop ends the goroutines and waits for them. What they leave undone Close does.
func (b *background) stop() {
	b.once.Do(func() { close(b.stopped) })
	b.group.Wait()
}
