package engine

import (
	"sync"
	"sync/atomic"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// Completion is called exactly once with the outcome of an accepted proposal, on an engine goroutine, in the order of the
// log for those that were applied. It must be short and must not block; it may propose again.
type Completion func(result rsm.Result, err error)

// pendingBatch is one batch of proposals of this host from the first Propose until its last entry is answered.
//
// Ownership moves with it. While it is open, callers append to it under proposalQueue.mu. Once taken, the arena belongs to
// the core (it is the batch, immutable after the leader's stamp) and the other fields to the step worker, which attaches
// the pendingBatch to the committed batch that it hands to the apply pool. From then on both the apply worker (results) and
// the step worker (deadline, stop) may want to answer it: whoever moves `claimed` forward over a range of entries
// answers that range, and nobody else does. That is how every request ends exactly once (R3) without a lock.
type pendingBatch struct {
	arena        []byte
	count        uint32
	expectedTerm uint64
	completions  []Completion         // one per entry, nil entries for blocking callers; shorter than count if the rest is blocking
	alone        bool                 // takes no further commands (ProposeAtTerm)
	kind         raftpb.Kind          // 0: commands
	fields       bool                 // entries carry session fields, empty ones for plain commands
	sessions     bool                 // some of them are of a session
	lastFields   raftpb.SessionFields // of the last one that is

	// group is what blocking callers wait on; nil if there are none.
	group *waitGroup

	sequence uint64
	bytes    int          // what pendingTable counts for it
	seen     raft.Instant // when the step worker first saw it wait in the queue, 0 if it never did
	taken    raft.Instant // from when its deadline counts: seen, or when it left the queue
	last     uint64       // index of the last entry if it was appended here, else 0

	claimed atomic.Uint32 // entries, from the front, that somebody answers or has answered
	settled atomic.Uint32 // entries whose answer is complete
}

// waitGroup lets all blocking callers of one batch wait on one channel, which is closed once; each then reads its outcome by
// position. Its memory belongs to the callers from then on, so it is never reused.
type waitGroup struct {
	done     chan struct{}
	outcomes []outcome // by position; made when the batch is taken or failed
}

type outcome struct {
	result rsm.Result
	err    error
}

// prepare makes room for the outcomes of blocking callers once the count is final.
func (p *pendingBatch) prepare() {
	if p.group != nil && p.group.outcomes == nil {
		p.group.outcomes = make([]outcome, p.count)
	}
}

// claim takes the entries up to to for answering and returns the range that nobody else has claimed. Pieces of a batch are
// applied in index order, so a claim that starts behind from covers entries whose piece never came: those are
// answered as unknown.
func (p *pendingBatch) claim(to uint32) (start, end uint32) {
	for {
		start = p.claimed.Load()
		if start >= to {
			return to, to
		}
		if p.claimed.CompareAndSwap(start, to) {
			return start, to
		}
	}
}

// complete answers the entries from position from on of the original batch with the results in entries, or with errs for those that were
// refused; errs is nil if none was.
func (p *pendingBatch) complete(from uint32, entries []rsm.Entry, errs []error) {
	start, end := p.claim(from + uint32(len(entries)))
	for position := start; position < end; {
		position = p.completeSome(position, end, from, entries, errs)
	}
	p.settle(end - start)
}

// completeSome answers up to end and returns where to go on: short of end only after a completion that panicked, which
// costs its caller nothing but that call.
func (p *pendingBatch) completeSome(position, end, from uint32, entries []rsm.Entry, errs []error) (next uint32) {
	next = position
	defer func() { _ = recover() }()
	for next < end {
		position = next
		next++
		if position < from {
			p.answer(position, rsm.Result{}, errLeaderChangedUnknown)
			continue
		}
		var err error
		if errs != nil {
			err = errs[position-from]
		}
		p.answer(position, entries[position-from].Result, err)
	}
	return next
}

// fail answers every entry that nobody has claimed yet.
func (p *pendingBatch) fail(err error) {
	p.prepare()
	start, end := p.claim(p.count)
	for position := start; position < end; {
		position = p.failSome(position, end, err)
	}
	p.settle(end - start)
}

func (p *pendingBatch) failSome(position, end uint32, err error) (next uint32) {
	next = position
	defer func() { _ = recover() }()
	for next < end {
		position = next
		next++
		p.answer(position, rsm.Result{}, err)
	}
	return next
}

func (p *pendingBatch) answer(position uint32, result rsm.Result, err error) {
	if int(position) < len(p.completions) {
		if completion := p.completions[position]; completion != nil {
			p.completions[position] = nil
			completion(result, err)
			return
		}
	}
	p.group.outcomes[position] = outcome{result, err}
}

// settle counts answers that are complete; two claimants may finish in any order, and the one that completes the
// last answer lets the blocking callers go.
func (p *pendingBatch) settle(answers uint32) {
	if answers > 0 && p.settled.Add(answers) == p.count && p.group != nil {
		close(p.group.done)
	}
}

// over reports whether every entry is answered or being answered.
func (p *pendingBatch) over() bool { return p.claimed.Load() >= p.count }

// proposalQueue is where callers meet the step worker. Everything in it is guarded by mu.
type proposalQueue struct {
	mu sync.Mutex
	// open holds the batches that were not taken yet, oldest first; commands go to the last one.
	open  []*pendingBatch
	bytes int
	// The worker is signalled when the entries that wait reach takeAt, and then not again until it has looked. takeAt is 1
	// while no batch of the shard is uncommitted, so a lone proposal never waits.
	entries   uint32
	takeAt    uint32
	signalled bool
	closed    error // set once: nothing is accepted any more
	// full says to callers without the lock that a command found no room. It is raised only while batches wait, and lowered by whatever takes
	// one away, so it is never left behind; until then even a command that would fit is refused, and none gets ahead of a larger one.
	full  atomic.Bool
	reads []*readBatch // at most one, the open one

	// Sizes of the last batch, so that the next one is allocated at its likely size at once.
	lastBytes, lastCount int
	lastSessions         bool // and whether it had commands of sessions: then the next one is likely to have some, too
}

// limits bound a proposal queue.
type queueLimits struct {
	maxCommand    int
	maxBatchBytes int
	maxOpenBytes  int
}

// add appends a command to the open batch, or to a batch of its own if expectedTerm is not 0. It returns the batch, the
// command's position in it, and whether the worker has to be signalled. fields is nil for a command without a session.
func (q *proposalQueue) add(
	limits *queueLimits, command []byte, expectedTerm uint64, fields *SessionFields, completion Completion,
) (*pendingBatch, uint32, bool, error) {
	if q.full.Load() {
		return nil, 0, false, ErrBusy
	}
	q.mu.Lock()
	if q.closed != nil {
		q.mu.Unlock()
		return nil, 0, false, q.closed
	}
	if q.bytes+len(command) > limits.maxOpenBytes && len(q.open) > 0 {
		q.full.Store(true)
		q.mu.Unlock()
		return nil, 0, false, ErrBusy
	}
	p := q.tail(limits, len(command), expectedTerm, fields != nil)
	before := len(p.arena)
	switch {
	case !p.fields:
		p.arena = raftpb.AppendEntry(p.arena, command)
	case fields == nil:
		p.arena = raftpb.AppendSessionEntry(p.arena, &p.lastFields, raftpb.SessionFields{}, command)
	default:
		p.arena = raftpb.AppendSessionEntry(p.arena, &p.lastFields, raftpb.SessionFields(*fields), command)
		p.sessions = true
	}
	q.bytes += len(p.arena) - before
	position := p.count
	p.count++
	q.entries++
	switch {
	case completion == nil && p.group == nil:
		p.group = &waitGroup{done: make(chan struct{})}
	case completion != nil:
		for len(p.completions) < int(position) {
			p.completions = append(p.completions, nil)
		}
		p.completions = append(p.completions, completion)
	}
	signal := !q.signalled && (q.entries >= q.takeAt || q.bytes >= limits.maxBatchBytes)
	if signal {
		q.signalled = true
	}
	q.mu.Unlock()
	return p, position, signal, nil
}

// tail returns the batch that the next command goes to. A batch has session fields in all of its entries or in none, so that plain
// commands pay for them only beside those of sessions: the first command of a session begins a new batch, later batches have room for them from their
// beginning as long as there are some.
func (q *proposalQueue) tail(limits *queueLimits, size int, expectedTerm uint64, session bool) *pendingBatch {
	if n := len(q.open); n > 0 && expectedTerm == 0 {
		if p := q.open[n-1]; !p.alone && (p.fields || !session) && len(p.arena)+size <= limits.maxBatchBytes && p.count < raftpb.MaxBatchEntries {
			return p
		}
	}
	capacity := max(raftpb.HeaderSize+size+8, min(q.lastBytes+q.lastBytes/8, limits.maxBatchBytes))
	p := &pendingBatch{
		arena:        make([]byte, raftpb.HeaderSize, capacity),
		expectedTerm: expectedTerm,
		alone:        expectedTerm != 0,
		fields:       session || q.lastSessions && expectedTerm == 0,
	}
	if q.lastCount > 1 {
		p.completions = make([]Completion, 0, q.lastCount+q.lastCount/8)
	}
	q.open = append(q.open, p)
	return p
}

// take removes and returns the oldest batch if the rule of the open batch allows it: fewer batches of the shard are uncommitted than
// may be in flight, or what waits is twice the entries in flight, or a batch is full. Otherwise it returns nil and notes when callers
// have to signal again; waiting says that the caller has to look again after the next commit, since callers may not.
func (q *proposalQueue) take(limits *queueLimits, inFlight uint32, mayTake bool) (p *pendingBatch, waiting bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.signalled = false
	if mayTake {
		q.takeAt = 1
	} else {
		q.takeAt = max(2*inFlight, 1)
	}
	if len(q.open) == 0 {
		return nil, !mayTake
	}
	if !mayTake && q.entries < q.takeAt && q.bytes < limits.maxBatchBytes && len(q.open) == 1 {
		return nil, true
	}
	head := q.open[0]
	q.remove(head)
	return head, false
}

// age notes since when batches wait, removes those that do since limit or longer and returns them, with the instant since
// which the oldest of the rest waits, 0 if there is none. Callers have no clock, so a batch's time begins when the worker
// first looks.
func (q *proposalQueue) age(now, limit raft.Instant) (expired []*pendingBatch, oldest raft.Instant) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range q.open {
		if p.seen == 0 {
			p.seen = now
		}
	}
	for len(q.open) > 0 && q.open[0].seen <= limit {
		expired = append(expired, q.open[0])
		q.remove(q.open[0])
	}
	if len(q.open) > 0 {
		oldest = q.open[0].seen
	}
	return expired, oldest
}

// holds reports whether proposals wait.
func (q *proposalQueue) holds() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.open) > 0
}

func (q *proposalQueue) remove(head *pendingBatch) {
	copy(q.open, q.open[1:])
	q.open[len(q.open)-1] = nil
	q.open = q.open[:len(q.open)-1]
	q.entries -= head.count
	q.bytes -= len(head.arena) - raftpb.HeaderSize
	q.full.Store(false)
	q.lastBytes, q.lastCount, q.lastSessions = len(head.arena), int(head.count), head.sessions
}

// takeOpen removes the batches that were not taken, for answering them with an error. Reads stay.
func (q *proposalQueue) takeOpen() []*pendingBatch {
	q.mu.Lock()
	defer q.mu.Unlock()
	batches := q.open
	q.open, q.entries, q.bytes = nil, 0, 0
	q.full.Store(false)
	return batches
}

// reopen accepts requests again, for a replica that begins anew.
func (q *proposalQueue) reopen() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = nil
}

// takeAll removes everything that was not taken, for answering it with an error; if closed is not nil nothing is accepted
// from then on.
func (q *proposalQueue) takeAll(closed error) ([]*pendingBatch, []*readBatch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if closed != nil && q.closed == nil {
		q.closed = closed
	}
	batches, reads := q.open, q.reads
	q.open, q.reads, q.entries, q.bytes = nil, nil, 0, 0
	q.takeAt, q.signalled = 1, false
	q.full.Store(false)
	return batches, reads
}
