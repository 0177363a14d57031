package limit

import (
	"slices"
	"sync"

	"github.com/flotilla-raft/flotilla/benchmark"
)

// maxBatches is how many batches of a shard may be in flight.
const maxBatches = 2

// shard is the leading side of one shard. The other hosts hold nothing of it but what is in their logs.
//
// Lock order: shard.mu, then the mutex of a link or log. A batch is handed to all of them under shard.mu, which is what keeps the
// frames of a shard in order everywhere. No callback runs under it.
type shard struct {
	cluster  *cluster
	number   uint32
	leader   *host
	majority int

	mu       sync.Mutex
	err      error  // set once the cluster has failed or was closed; nothing is taken afterwards
	frame    []byte // the open batch: room for a header, then commands
	count    int    // commands in it
	done     []func(benchmark.Outcome)
	waiting  *waiting // of the blocking calls in it, or nil
	next     uint64   // index of its first command
	inFlight []*batch // at most maxBatches, oldest first
	entries  int      // commands in them

	// For reuse: an emptied frame and batches that have completed.
	spareFrame []byte
	spare      []*batch
}

// batch is what is left of a batch once its bytes are with the logs and links.
type batch struct {
	last    uint64 // index of its last command
	count   int
	acks    int
	done    []func(benchmark.Outcome)
	waiting *waiting
}

// waiting is shared by the blocking calls of a batch. The outcome is written before the channel is closed.
type waiting struct {
	closed  chan struct{}
	outcome benchmark.Outcome
}

func newShard(c *cluster, number int, leader *host) *shard {
	return &shard{
		cluster: c, number: uint32(number), leader: leader, majority: len(c.hosts)/2 + 1, next: 1,
		frame: make([]byte, headerSize), spareFrame: make([]byte, headerSize),
	}
}

// propose adds a command to the open batch. With a nil done it returns what the caller has to wait for.
func (s *shard) propose(command []byte, done func(benchmark.Outcome)) (*waiting, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	s.frame = appendCommand(s.frame, command)
	s.count++
	var wait *waiting
	if done != nil {
		s.done = append(s.done, done)
	} else {
		if s.waiting == nil {
			s.waiting = &waiting{closed: make(chan struct{})}
		}
		wait = s.waiting
	}
	if s.worthTaking() {
		s.take(s.count)
	}
	return wait, nil
}

// worthTaking is the rule for commands that come one by one: a lone one goes at once, and a second batch is taken only if it
// is twice what is in flight.
func (s *shard) worthTaking() bool {
	return len(s.inFlight) == 0 || len(s.inFlight) < maxBatches && s.count >= 2*s.entries
}

// takeAfter takes what should go after a batch has completed and its callbacks have issued the next commands.
func (s *shard) takeAfter() {
	for s.count > 0 && len(s.inFlight) < maxBatches {
		if s.waiting != nil {
			if s.worthTaking() {
				s.take(s.count)
			}
			return
		}
		s.take(min(s.count, (s.count+s.entries+1)/2))
	}
}

// take hands the first commands of the open batch to the leader's log and all links. It is called with mu held. Fewer than all are
// taken only if nobody waits, since the calls that wait cannot tell which half they are in.
func (s *shard) take(count int) {
	b := s.newBatch()
	frame := s.frame
	rest := append(s.spareFrame[:0], frame[:headerSize]...)
	if count == s.count {
		b.done, s.done = s.done, b.done[:0]
		b.waiting, s.waiting = s.waiting, nil
	} else {
		body := frame[headerSize:]
		for range count {
			_, body, _ = nextCommand(body) // propose wrote it
		}
		rest = append(rest, body...)
		frame = frame[:len(frame)-len(body)]
		b.done = append(b.done, s.done[:count]...)
		s.done = slices.Delete(s.done, 0, count)
	}
	h := header{
		kind: kindBatch, leader: uint8(s.leader.number), length: uint32(len(frame) - headerSize), count: uint32(count),
		shard: s.number, index: s.next,
	}
	h.seal(frame)
	s.next += uint64(count)
	b.last, b.count = h.last(), count
	s.inFlight = append(s.inFlight, b)
	s.entries += count
	s.count -= count
	s.frame, s.spareFrame = rest, frame

	s.cluster.batches.Add(1)
	for _, l := range s.leader.links {
		if l != nil {
			l.append(frame)
		}
	}
	s.leader.log.append(frame, h)
}

func (s *shard) newBatch() *batch {
	if n := len(s.spare); n > 0 {
		b := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return b
	}
	return new(batch)
}

// ack counts one host's acknowledgement of the batch that ends at an index, and completes the batch if that makes a majority.
// A batch that is not in flight any more had its majority before.
func (s *shard) ack(last uint64) {
	s.mu.Lock()
	var complete *batch
	for _, b := range s.inFlight {
		if b.last == last {
			if b.acks++; b.acks == s.majority {
				complete = b
			}
			break
		}
	}
	s.mu.Unlock()
	if complete != nil {
		s.complete(complete)
	}
}

// complete ends the requests of a batch. The batch still counts as in flight while the callbacks issue the next commands, or the
// first of these would be taken alone. Only the goroutine that brought the last needed acknowledgement gets here, once per batch,
// unless fail was faster: then the batch is no longer in flight and its requests have ended.
func (s *shard) complete(b *batch) {
	s.mu.Lock()
	done, waiting := b.done, b.waiting
	b.done, b.waiting = nil, nil
	s.mu.Unlock()
	if waiting != nil {
		close(waiting.closed)
	}
	for _, f := range done {
		f(benchmark.Outcome{})
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.Index(s.inFlight, b)
	if i < 0 {
		return
	}
	s.inFlight = slices.Delete(s.inFlight, i, i+1)
	s.entries -= b.count
	clear(done)
	*b = batch{done: done[:0]}
	s.spare = append(s.spare, b)
	if s.err == nil {
		s.takeAfter()
	}
}

// fail ends every request that is pending and refuses all later ones.
func (s *shard) fail(err error) {
	s.mu.Lock()
	if s.err != nil {
		s.mu.Unlock()
		return
	}
	s.err = err
	type ending struct {
		done    []func(benchmark.Outcome)
		waiting *waiting
		outcome benchmark.Outcome
	}
	endings := []ending{{s.done, s.waiting, benchmark.Outcome{Err: err}}}
	for _, b := range s.inFlight {
		endings = append(endings, ending{b.done, b.waiting, benchmark.Outcome{Err: err, MayBeApplied: true}})
		b.done, b.waiting = nil, nil
	}
	s.done, s.waiting, s.inFlight = nil, nil, nil
	s.mu.Unlock()
	for _, e := range endings {
		if e.waiting != nil {
			e.waiting.outcome = e.outcome
			close(e.waiting.closed)
		}
		for _, f := range e.done {
			f(e.outcome)
		}
	}
}
