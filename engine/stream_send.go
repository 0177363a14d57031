package engine

import (
	"errors"
	"hash/crc32"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/transport"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// serve sends, a chunk of each stream in turn, what may be sent at now, and returns when more may be. Whose turn it is moves on with what is
// sent, not with who is looked at: under the host's limit one chunk may be sent at a time, all the others are looked at in vain, and the same
// stream would come first again, for ever.
func (s *sender) serve(now raft.Instant) (next raft.Instant) {
	next = raft.Never
	sends := 0
	for progress := true; progress && len(s.streams) > 0; {
		progress = false
		next = raft.Never
		place := s.first
		for range len(s.streams) {
			if place >= len(s.streams) {
				place = 0
			}
			if sends >= sendsPerRun {
				return now
			}
			count := len(s.streams)
			sent, again := s.serveOne(now, s.streams[place])
			next = min(next, again)
			if len(s.streams) != count { // the next one has taken its place
				progress = true
				break
			}
			place++
			if sent {
				progress, sends, s.first = true, sends+1, place
			}
		}
	}
	return next
}

// serveOne sends the next chunk of a stream if it may be sent, and returns when the stream is to be looked at again.
func (s *sender) serveOne(now raft.Instant, stream *outgoing) (sent bool, again raft.Instant) {
	idle := stream.pulledAt + raft.Instant(streamIdle)
	if idle <= now {
		if stream.total > 0 && stream.next >= stream.total {
			s.sent(stream) // its farewell was lost
			return false, raft.Never
		}
		s.refuse(stream, raftpb.ReasonStopped, errStreamClosed)
		return false, raft.Never
	}
	if stream.blocked > now {
		return false, min(idle, stream.blocked)
	}
	if stream.next >= stream.limit && stream.unsent == nil { // all that was pulled is sent
		return false, idle
	}
	if at := max(stream.rate.allowed(), s.rate.allowed()); at > now {
		return false, min(idle, at, s.alive(now, stream)) // with many streams it may be longer than a receiver waits for
	}
	m := stream.unsent
	if m == nil {
		var err error
		if m, err = s.nextChunk(stream); err != nil {
			s.refuse(stream, reasonOfStream(err), err)
			return false, raft.Never
		}
	}
	if m == nil { // nothing was written yet, or nothing is left
		return false, min(idle, s.alive(now, stream))
	}
	if s.engine.sendTo(stream.peer, transport.LaneSnapshot, []raftpb.Message{*m}) == 0 {
		stream.pause = min(max(2*stream.pause, sendAgainSoon), sendAgain)
		stream.unsent, stream.blocked = m, now+raft.Instant(stream.pause)
		return false, min(idle, stream.blocked)
	}
	s.account(now, stream, m)
	return true, idle
}

// nextChunk makes the next chunk of a stream, nil if there are no bytes for one.
func (s *sender) nextChunk(stream *outgoing) (*raftpb.Message, error) {
	if stream.bytes == nil {
		return nil, nil
	}
	most := min(uint64(s.engine.options.SnapshotChunkBytes), stream.limit-stream.next)
	data, total, err := stream.bytes.chunk(stream.next, int(most))
	if err != nil {
		return nil, err
	}
	stream.total = total
	if len(data) == 0 && total == stream.told {
		return nil, nil
	}
	m := stream.message() // without bytes if it was not known that the chunk before would be the last
	m.Payload, m.Commit, m.Request = data, total, uint64(crc32.Checksum(data, castagnoli))
	return &m, nil
}

// account notes that a chunk was sent.
func (s *sender) account(now raft.Instant, stream *outgoing, m *raftpb.Message) {
	bytes := len(m.Payload)
	end := m.HintTerm + uint64(bytes)
	counts := &s.engine.counts
	counts.streamBytesSent.Add(uint64(bytes))
	if m.HintTerm < stream.sentTo {
		counts.streamBytesAgain.Add(min(end, stream.sentTo) - m.HintTerm)
	}
	stream.rate.spend(now, bytes)
	s.rate.spend(now, bytes)
	stream.unsent, stream.pause, stream.told = nil, 0, m.Commit
	stream.next = max(stream.next, end)
	stream.sentTo = max(stream.sentTo, end)
	stream.sentAt, stream.chunkAt = now, now
}

// alive tells a receiver whose source has nothing for it yet that it is still wanted: a snapshot is being taken, or a view waits for its
// place, or a state machine takes its time, or a limit does not let a chunk go. Returns when to do so again.
func (s *sender) alive(now raft.Instant, stream *outgoing) raft.Instant {
	if stream.total > 0 && stream.next >= stream.total {
		return raft.Never // all is sent
	}
	due := stream.sentAt + raft.Instant(pullAgain)/2
	if due > now {
		return due
	}
	m := stream.message()
	s.engine.sendTo(stream.peer, transport.LaneSnapshot, []raftpb.Message{m})
	stream.sentAt = now
	return now + raft.Instant(pullAgain)/2
}

// reasonOfStream says to a receiver why it gets no more.
func reasonOfStream(err error) raftpb.Reason {
	switch {
	case errors.Is(err, ErrStopped), errors.Is(err, ErrInstalling), errors.Is(err, errStreamClosed):
		return raftpb.ReasonStopped
	case errors.Is(err, errStreamForgotten):
		return raftpb.ReasonConflict
	}
	return raftpb.ReasonDamaged
}
