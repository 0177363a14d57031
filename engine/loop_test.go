package engine

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/flotilla-raft/flotilla/internal/leaktest"
	"github.com/flotilla-raft/flotilla/raft"
)

// countingWorker is a worker as all others are: an inbox under a mutex, a signal, a deadline of its own. It checks what the loop
// promises: it is run only when it was signalled or its deadline has come.
type countingWorker struct {
	sig signal
	t   *testing.T

	mu    sync.Mutex
	inbox []int

	// Owned by RunOnce.
	work     []int
	seen     []int // by producer: the last number that was taken
	total    int
	want     int
	deadline raft.Instant
	random   *rand.Rand
	runs     int
	done     chan struct{} // closed when all is taken
	timers   int           // deadlines that are still to be asked for
	fired    chan struct{} // closed when they all came
}

func (w *countingWorker) Name() string    { return "counting" }
func (w *countingWorker) Ready() bool     { return w.sig.ready() }
func (w *countingWorker) signal() *signal { return &w.sig }

func (w *countingWorker) RunOnce(now raft.Instant) raft.Instant {
	if !w.sig.ready() && now < w.deadline {
		w.t.Errorf("run at %d without a signal, %d before the deadline", now, w.deadline-now)
	}
	byTimer := !w.sig.ready()
	w.sig.clear()
	w.runs++
	w.mu.Lock()
	w.inbox, w.work = w.work[:0], w.inbox
	w.mu.Unlock()
	for _, item := range w.work {
		producer, number := item>>32, item&(1<<32-1)
		if w.seen[producer]+1 != number {
			w.t.Errorf("producer %d: %d follows %d", producer, number, w.seen[producer])
		}
		w.seen[producer] = number
	}
	if w.total += len(w.work); w.total == w.want && len(w.work) > 0 {
		close(w.done)
	}
	if byTimer && w.timers > 0 {
		if w.timers--; w.timers == 0 {
			close(w.fired)
		}
	}
	w.deadline = raft.Never
	switch n := w.random.IntN(8); {
	case n == 0:
		w.deadline = now
	case n == 1 || w.timers > 0 && w.total == w.want:
		w.deadline = now + raft.Instant(time.Duration(w.random.IntN(200))*time.Microsecond)
	}
	return w.deadline
}

func (w *countingWorker) put(item int) {
	w.mu.Lock()
	w.inbox = append(w.inbox, item)
	w.mu.Unlock()
	w.sig.set()
}

// The one loop round RunOnce under many producers (R29): nothing that was put in stays there, nothing is taken twice or out of
// its order, and no run comes without a signal or a deadline.
func TestTheLoopLosesNoWakeUp(t *testing.T) {
	defer leaktest.Verify(t, goleak.IgnoreCurrent())
	const rounds, producers, each = 20, 8, 500
	for round := range rounds {
		w := &countingWorker{
			t: t, sig: newSignal(), seen: make([]int, producers), want: producers * each, deadline: raft.Never,
			random: rand.New(rand.NewPCG(uint64(round), 1)), done: make(chan struct{}), timers: 5, fired: make(chan struct{}),
		}
		clock := NewSystemClock()
		stop := make(chan struct{})
		var looping, producing sync.WaitGroup
		looping.Go(func() { loop(w, clock, stop) })
		for producer := range producers {
			random := rand.New(rand.NewPCG(uint64(round), uint64(producer)))
			producing.Go(func() {
				for number := 1; number <= each; number++ {
					w.put(producer<<32 | number)
					for range random.IntN(4) * random.IntN(200) {
						clock.Now() // lets the worker fall asleep now and then
					}
				}
			})
		}
		<-w.done // hangs if a wake-up is lost
		producing.Wait()
		<-w.fired
		close(stop)
		looping.Wait()
		if len(w.inbox) > 0 || w.total != w.want {
			t.Fatalf("round %d: %d of %d taken, %d left", round, w.total, w.want, len(w.inbox))
		}
	}
}

// A loop that is busy for ever, or sleeps for ever, ends all the same when it is told to.
func TestTheLoopEndsWhenTold(t *testing.T) {
	defer leaktest.Verify(t, goleak.IgnoreCurrent())
	for name, deadline := range map[string]raft.Instant{"busy": 0, "asleep": raft.Never} {
		t.Run(name, func(t *testing.T) {
			w := &steadyWorker{sig: newSignal(), deadline: deadline, ran: make(chan struct{})}
			stop := make(chan struct{})
			var looping sync.WaitGroup
			looping.Go(func() { loop(w, NewSystemClock(), stop) })
			w.sig.set()
			<-w.ran
			close(stop)
			looping.Wait()
		})
	}
}

type steadyWorker struct {
	sig      signal
	deadline raft.Instant
	once     sync.Once
	ran      chan struct{}
}

func (w *steadyWorker) Name() string    { return "steady" }
func (w *steadyWorker) Ready() bool     { return w.sig.ready() }
func (w *steadyWorker) signal() *signal { return &w.sig }

func (w *steadyWorker) RunOnce(raft.Instant) raft.Instant {
	w.sig.clear()
	w.once.Do(func() { close(w.ran) })
	return w.deadline
}
