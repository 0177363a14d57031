package snapshots

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/flotilla-raft/flotilla/nodehost"
	"github.com/flotilla-raft/flotilla/rsm"
)

// load keeps a fixed number of commands in flight, or sends a fixed number and ends.
type load struct {
	shard    *nodehost.Shard
	command  []byte
	left     atomic.Int64 // to be sent yet
	accepted atomic.Uint64
	failures atomic.Uint64
	unknown  atomic.Uint64 // of the failures, those that may have been applied all the same
	last     atomic.Int64  // when the last command was acknowledged
	gap      atomic.Int64  // longest time between two acknowledgements since it was reset
	clients  sync.WaitGroup
}

const retryPause = time.Millisecond

func startLoad(shard *nodehost.Shard, payload, inFlight int, commands int64) *load {
	l := &load{shard: shard, command: make([]byte, payload)}
	l.left.Store(commands)
	l.last.Store(time.Now().UnixNano())
	l.clients.Add(inFlight)
	for range inFlight {
		l.next()
	}
	return l
}

// next sends a command, or ends the client.
func (l *load) next() {
	if l.left.Add(-1) < 0 {
		l.clients.Done()
		return
	}
	l.send()
}

func (l *load) send() {
	if err := l.shard.ProposeAsync(l.command, l.done); err != nil {
		l.later()
	}
}

// later tries again after a pause: busy is an answer, too.
func (l *load) later() {
	l.failures.Add(1)
	time.AfterFunc(retryPause, l.send)
}

func (l *load) done(_ rsm.Result, err error) {
	if err != nil {
		if nodehost.MaybeApplied(err) {
			l.unknown.Add(1)
		}
		l.later()
		return
	}
	l.accepted.Add(1)
	now := time.Now().UnixNano()
	if gap := now - l.last.Swap(now); gap > l.gap.Load() {
		l.gap.Store(gap)
	}
	l.next()
}

// phase is what a load did in some time.
type phase struct {
	rate    float64
	longest time.Duration
}

// measure waits for something to end and returns what the load did meanwhile.
func (l *load) measure(during func() error) (p phase, err error) {
	began, before := time.Now(), l.accepted.Load()
	l.gap.Store(0)
	err = during()
	p.rate = float64(l.accepted.Load()-before) / time.Since(began).Seconds()
	p.longest = time.Duration(max(l.gap.Load(), time.Now().UnixNano()-l.last.Load()))
	return p, err
}

// stop lets every client end with its next answer.
func (l *load) stop() {
	l.left.Store(0)
	l.clients.Wait()
}
