package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
	"github.com/flotilla-raft/flotilla/transport"
)

const (
	// streamIdle ends what nobody asks for any more, at the source, and what nothing comes of any more, at the receiver.
	streamIdle = 30 * time.Second
	// What the transport refused is tried again after sendAgainSoon, for its queue is full of some milliseconds' worth, and after twice as long each time up
	// to sendAgain, for then the connection is being made.
	sendAgainSoon = 500 * time.Microsecond
	sendAgain     = 10 * time.Millisecond
	// sendsPerRun bounds the chunks of one iteration, so that pulls and ends are seen in between.
	sendsPerRun = 16
	// maxStreamsSent bounds the streams that a host serves at a time. A pull beyond is not answered, and comes again.
	maxStreamsSent = 256
	// maxPullsWaiting bounds the pulls that wait for the sender; more are dropped, and come again.
	maxPullsWaiting = 4096
)

// streamKey names a stream: who receives it, in which session, and the number that the leader gave it.
type streamKey struct {
	shardID, receiver, session, stream uint64
	address                            string
}

// outgoing is a snapshot that is being sent. Owned by the sender's RunOnce, but for what it was made with.
//
//	     forgotten   held for a cut     │ in flight, or lost │  may be sent   │ not pulled yet
//	0 ───────────────────┬──────────────┴────────────────────┴────────────────┴─────────────── total
//	                   safe                                 next            limit
type outgoing struct {
	key     streamKey
	source  uint64 // the replica here
	life    uint64 // random: the bytes of another life, under the same key, are others
	least   uint64 // the index that the snapshot has to reach
	peer    transport.Peer
	replica *Replica // set once it was found
	tries   int      // to open a snapshot that was removed before it was open

	bytes       streamBytes // nil while there are none
	index, term uint64
	total, told uint64 // length of the whole, 0 while it is not known; and as the receiver was told it
	safe        uint64 // the receiver has it up to here
	next        uint64
	sentTo      uint64 // the highest next so far: what is sent below it is sent again
	limit       uint64
	attempt     uint64 // of the receiver: a higher one says that what is in flight may be lost
	rate        rate
	unsent      *raftpb.Message // that the transport refused
	blocked     raft.Instant    // until then
	pause       time.Duration   // the last one that it was blocked for, 0 since a chunk was sent
	pulledAt    raft.Instant
	sentAt      raft.Instant // a chunk, or a sign of life
	chunkAt     raft.Instant
}

// sender is the worker that sends snapshots to other hosts. The receiver pulls: it says what it has and how much more it takes, which is
// flow control, resumption after a cut and repair of what was lost in one (stream_receiver.go). The sender holds one stream for
// each that is asked for, serves them in turn, a chunk each, within the limits of the host and of the stream, and forgets what nobody
// asks for any more. It reads files; what a state machine on disk writes is made by jobs (stream_view.go).
type sender struct {
	engine *Engine
	sig    signal

	mu     sync.Mutex
	pulls  []received
	opened []openedStream
	ended  []*Replica

	streams []*outgoing // owned by RunOnce
	first   int         // whose turn it is
	rate    rate        // of the host
	work    []received
}

// openedStream is where a stream's bytes are to come from, or why there are none.
type openedStream struct {
	stream  *outgoing
	replica *Replica
	name    snapshot.Name // of a file to be opened
	bytes   streamBytes
	meta    raftpb.SnapshotMeta // of bytes
	reason  raftpb.Reason
	err     error
}

func newSender(e *Engine) *sender {
	return &sender{engine: e, sig: newSignal(), rate: rate{perSecond: e.options.SnapshotSendBytesPerSecond}}
}

func (s *sender) Name() string    { return "snapshot sender" }
func (s *sender) Ready() bool     { return s.sig.ready() }
func (s *sender) signal() *signal { return &s.sig }

// receive takes pulls. Safe for concurrent use.
func (s *sender) receive(messages []raftpb.Message, from string) {
	added := false
	s.mu.Lock()
	for i := range messages {
		if messages[i].Type == raftpb.MessageSnapshotPull && len(s.pulls) < maxPullsWaiting {
			s.pulls = append(s.pulls, received{messages[i], from})
			added = true
		}
	}
	s.mu.Unlock()
	if added {
		s.sig.set()
	}
}

// open says where a stream's bytes come from.
func (s *sender) open(opened openedStream) {
	s.mu.Lock()
	s.opened = append(s.opened, opened)
	s.mu.Unlock()
	s.sig.set()
}

// end ends the streams of a replica that stops or begins anew.
func (s *sender) end(r *Replica) {
	s.mu.Lock()
	s.ended = append(s.ended, r)
	s.mu.Unlock()
	s.sig.set()
}

// RunOnce takes what came and sends what may be sent.
func (s *sender) RunOnce(now raft.Instant) raft.Instant {
	s.sig.clear()
	s.mu.Lock()
	pulls, opened, ended := s.pulls, s.opened, s.ended
	s.pulls, s.opened, s.ended = s.work[:0], nil, nil
	s.mu.Unlock()
	for i := range opened {
		s.takeOpened(now, &opened[i])
	}
	for _, r := range ended {
		for _, stream := range slices.Clone(s.streams) {
			if stream.replica == r {
				s.refuse(stream, raftpb.ReasonStopped, ErrStopped)
			}
		}
	}
	for i := range pulls {
		s.pulled(now, &pulls[i].message, pulls[i].from)
	}
	clear(pulls)
	s.work = recycled(pulls)
	return s.serve(now)
}

// pulled follows one pull.
func (s *sender) pulled(now raft.Instant, m *raftpb.Message, from string) {
	if m.Reason == raftpb.ReasonDamaged {
		s.doubted(m, from)
		return
	}
	key := streamKey{m.ShardID, m.From, m.FromSession, m.HintIndex, from}
	stream := s.find(key)
	if stream == nil {
		if len(s.streams) >= maxStreamsSent || m.HintTerm > 0 && m.Backlog == 0 {
			return // too many; or the farewell of a stream that is over
		}
		stream = s.begin(now, key, m)
	}
	stream.pulledAt = now
	has := m.HintTerm
	if m.ToSession != stream.life {
		has = 0 // of this one it has nothing
	}
	if m.Request < stream.attempt || has < stream.safe && m.Request == stream.attempt {
		return // overtaken by a later one
	}
	s.advance(now, stream, m, has)
	if stream.total > 0 && stream.safe >= stream.total {
		s.sent(stream)
	}
}

// advance takes over what the receiver has and takes.
func (s *sender) advance(now raft.Instant, stream *outgoing, m *raftpb.Message, has uint64) {
	safe := min(has, stream.sentTo)
	stream.limit = safe + m.Backlog
	// A pull that is repeated says that something did not come in time. If it was sent a moment ago it is on its way, unless
	// what was sent behind it has come.
	if m.Request > stream.attempt {
		stream.attempt = m.Request
		if lost := m.Reason != raftpb.ReasonNone; lost || now-stream.chunkAt >= raft.Instant(pullAgain)/4 {
			stream.next, stream.told, stream.unsent = safe, 0, nil
		}
	}
	stream.safe, stream.next = safe, max(stream.next, safe)
	if stream.bytes != nil {
		stream.bytes.forget(safe)
	}
}

func (s *sender) find(key streamKey) *outgoing {
	for _, stream := range s.streams {
		if stream.key == key {
			return stream
		}
	}
	return nil
}

// begin makes a stream and asks its step worker for the replica.
func (s *sender) begin(now raft.Instant, key streamKey, m *raftpb.Message) *outgoing {
	e := s.engine
	stream := &outgoing{
		key: key, source: m.To, life: e.nonZeroRandom(), least: m.LogIndex, peer: e.peer(key.address), attempt: m.Request,
		rate: rate{perSecond: e.options.SnapshotStreamBytesPerSecond}, sentAt: now,
	}
	// A receiver fetches one snapshot of a shard at a time: another one that is still sent to it is not wanted any more.
	for _, other := range slices.Clone(s.streams) {
		if other.key.shardID == key.shardID && other.key.receiver == key.receiver && other.source == stream.source {
			s.drop(other)
		}
	}
	s.streams = append(s.streams, stream)
	e.workerOf(key.shardID).control(func(w *StepWorker) {
		r := w.replicas[key.shardID]
		switch {
		case r == nil || r.replicaID != stream.source:
			s.open(openedStream{stream: stream, reason: raftpb.ReasonNotMember, err: ErrNotStarted})
		case r.absent() || r.quarantined || r.install != nil:
			s.open(openedStream{stream: stream, reason: raftpb.ReasonNotReady, err: r.endedErr()})
		default:
			r.openStream(stream)
		}
	})
	return stream
}

// openStream looks for what can be sent of a replica. It is called by its step worker.
func (r *Replica) openStream(stream *outgoing) {
	e := r.engine
	if err := r.takesSnapshots(); err != nil {
		e.sender.open(openedStream{stream: stream, reason: raftpb.ReasonNotReady, err: err})
		return
	}
	if r.machine.Kind() == rsm.KindOnDisk {
		r.openView(stream)
		return
	}
	if names := r.Snapshots(); len(names) > 0 && names[0].Index >= stream.least {
		e.sender.open(openedStream{stream: stream, replica: r, name: names[0]})
		return
	}
	r.Snapshot(func(index uint64, err error) {
		opened := openedStream{stream: stream, replica: r, name: snapshot.Name{ShardID: r.shardID, ReplicaID: r.replicaID, Index: index}}
		if err == nil && index < stream.least {
			err = fmt.Errorf("%w: its snapshot stands at index %d, asked for is %d", ErrSnapshotFailed, index, stream.least)
		}
		if err != nil {
			opened.reason, opened.err = raftpb.ReasonNotReady, err
		}
		e.sender.open(opened)
	})
}

// takeOpened gives a stream its bytes.
func (s *sender) takeOpened(now raft.Instant, opened *openedStream) {
	stream := opened.stream
	if s.find(stream.key) != stream { // it was given up meanwhile
		if opened.bytes != nil {
			opened.bytes.close()
		}
		return
	}
	stream.replica = opened.replica
	if opened.reason != raftpb.ReasonNone {
		s.refuse(stream, opened.reason, opened.err)
		return
	}
	meta := opened.meta
	if stream.bytes = opened.bytes; stream.bytes == nil {
		file, found, err := s.openFile(opened.name)
		if err != nil {
			s.reopen(stream, opened.replica, err)
			return
		}
		stream.bytes, meta = file, found
	}
	stream.index, stream.term, stream.sentAt = meta.Index, meta.Term, now
	s.engine.counts.streamsBegun.Add(1)
}

// openFile opens a snapshot. One that does not begin as it should is not sent.
func (s *sender) openFile(name snapshot.Name) (*fileBytes, raftpb.SnapshotMeta, error) {
	bytes, err := openFileBytes(s.engine.options.Snapshots, name)
	if err != nil {
		return nil, raftpb.SnapshotMeta{}, err
	}
	meta, err := bytes.meta()
	if err == nil && (meta.ShardID != name.ShardID || meta.Index != name.Index) {
		err = fmt.Errorf("%w: it is of shard %d at index %d", snapshot.ErrForeign, meta.ShardID, meta.Index)
	}
	if err != nil {
		bytes.close()
		return nil, meta, fmt.Errorf("%w: %s: %w", ErrSnapshotDamaged, s.engine.options.Snapshots.Path(name), err)
	}
	return bytes, meta, nil
}

// reopen looks for another snapshot where one is gone: a newer one has taken its place. A damaged one is the end.
func (s *sender) reopen(stream *outgoing, r *Replica, err error) {
	if stream.tries++; errors.Is(err, ErrSnapshotDamaged) || stream.tries > 3 {
		s.refuse(stream, raftpb.ReasonDamaged, err)
		return
	}
	r.worker.control(func(*StepWorker) { r.openStream(stream) })
}

// drop forgets a stream.
func (s *sender) drop(stream *outgoing) {
	if stream.bytes != nil {
		stream.bytes.close()
	}
	s.streams = slices.DeleteFunc(s.streams, func(other *outgoing) bool { return other == stream })
}

// sent ends a stream whose receiver has everything.
func (s *sender) sent(stream *outgoing) {
	s.drop(stream)
	s.engine.counts.streamsSent.Add(1)
	s.engine.events.publish(Event{
		Kind: EventSnapshotSent, ShardID: stream.key.shardID, ReplicaID: stream.source, Peer: stream.key.receiver, Index: stream.index,
	})
}

// refuse ends a stream of which no more will come, and says so to the receiver. If that is lost it asks again, and is told again.
func (s *sender) refuse(stream *outgoing, reason raftpb.Reason, err error) {
	s.drop(stream)
	m := stream.message()
	m.Reason = reason
	s.engine.sendTo(stream.peer, transport.LaneSnapshot, []raftpb.Message{m})
	s.engine.counts.streamsFailed.Add(1)
	s.engine.options.Logger.Warn("a snapshot is not sent", "shard", stream.key.shardID, "replica", stream.source, "to", stream.key.receiver,
		"reason", reason, "error", err)
	s.engine.events.publish(Event{
		Kind: EventStreamFailed, ShardID: stream.key.shardID, ReplicaID: stream.source, Peer: stream.key.receiver, Index: stream.index,
		Reason: reason, Err: err,
	})
}

// message is what every chunk of a stream has in common.
func (o *outgoing) message() raftpb.Message {
	return raftpb.Message{
		Type: raftpb.MessageSnapshotChunk, ShardID: o.key.shardID, From: o.source, To: o.key.receiver, FromSession: o.life,
		ToSession: o.key.session, HintIndex: o.key.stream, LogIndex: o.index, LogTerm: o.term, HintTerm: o.next,
	}
}
