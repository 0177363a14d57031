package engine

import (
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
	"github.com/flotilla-raft/flotilla/transport"
)

// sink takes everything, and counts the bytes and the messages of each stream.
type sink struct {
	transport.Peer
	bytes, messages map[uint64]int
}

func (s *sink) Send(_ transport.Lane, messages []raftpb.Message) int {
	for i := range messages {
		s.bytes[messages[i].HintIndex] += len(messages[i].Payload)
		s.messages[messages[i].HintIndex]++
	}
	return len(messages)
}

// endless has bytes for ever.
type endless struct{}

func (endless) chunk(_ uint64, most int) ([]byte, uint64, error) { return make([]byte, most), 0, nil }
func (endless) forget(uint64)                                    {}
func (endless) close()                                           {}

// crowded is a sender with streams that are all pulled without end.
func crowded(streams int, bytesPerSecond int64) (*sender, *sink) {
	e := &Engine{options: Options{SnapshotChunkBytes: 1000, SnapshotSendBytesPerSecond: bytesPerSecond, Logger: slog.New(slog.DiscardHandler)}}
	s := newSender(e)
	out := &sink{bytes: map[uint64]int{}, messages: map[uint64]int{}}
	for i := range streams {
		s.streams = append(s.streams, &outgoing{
			key: streamKey{stream: uint64(i + 1)}, peer: out, bytes: endless{}, index: 1, limit: 1 << 40, pulledAt: raft.Instant(time.Hour), sentAt: 1,
		})
	}
	return s, out
}

// drive drives the sender for a time, at exactly the instants that it asks for.
func (s *sender) drive(from raft.Instant, length time.Duration) {
	for now := from; now < from+raft.Instant(length); {
		now = max(now+1, s.serve(now))
	}
}

// A sender that looked at every stream after each chunk came to the first one again, and sent of that one alone under a host's limit: all others
// had to wait for its end, and were given up by their receivers after streamIdle.
func TestTheHostsLimitIsSharedByAllStreams(t *testing.T) {
	for _, streams := range []int{2, 3, 7} {
		s, out := crowded(streams, 100_000)
		s.drive(1e9, 2*time.Second)
		for stream := 1; stream <= streams; stream++ {
			if got, want := out.bytes[uint64(stream)], 200_000/streams; got < want*9/10 || got > want*11/10+1000 {
				t.Errorf("%d streams: %d bytes of stream %d, want about %d", streams, got, stream, want)
			}
		}
	}
}

// A stream that waits for its turn under a limit longer than a receiver waits for a stream of which nothing comes shows that it lives.
func TestAStreamThatTheLimitHoldsUpShowsThatItLives(t *testing.T) {
	s, out := crowded(100, 1000) // each has its turn after 100 s
	s.drive(1e9, 30*time.Second)
	for stream := 1; stream <= 100; stream++ {
		if out.messages[uint64(stream)] < 20 {
			t.Fatalf("%d messages of stream %d in 30 s", out.messages[uint64(stream)], stream)
		}
	}
	if sent := s.engine.counts.streamBytesSent.Load(); sent > 33_000 {
		t.Errorf("%d bytes in 30 s, the limit is 1000 a second", sent)
	}
}

// A replica that began anew was sent a snapshot while the worker that receives was in a long sync. Then it took note of both, but in the wrong
// order: the new stream was dropped, its core was told nothing, and took no entries any more until a restart.
func TestAStreamThatBeginsBehindACancelIsKept(t *testing.T) {
	e := &Engine{options: Options{SnapshotChunkBytes: 1000, SnapshotWindowBytes: 8000, Logger: slog.New(slog.DiscardHandler)}}
	r := &receiver{engine: e, sig: newSignal()}
	out := &sink{bytes: map[uint64]int{}, messages: map[uint64]int{}}
	replica := &Replica{}
	former, stream := &incoming{replica: replica, peer: out}, &incoming{replica: replica, peer: out}
	replica.applyQueue.hold(false)
	replica.applyQueue.hold(false)
	r.begin(former)
	r.cancel(replica)
	r.begin(stream)
	r.RunOnce(1)
	if !slices.Equal(r.streams, []*incoming{stream}) || replica.applyQueue.views != 1 {
		t.Fatalf("%d streams and %d views are left, want the stream that was begun last", len(r.streams), replica.applyQueue.views)
	}
	r.cancel(replica)
	r.RunOnce(2)
	if len(r.streams) != 0 || replica.applyQueue.views != 0 {
		t.Fatalf("%d streams and %d views are left of a canceled one", len(r.streams), replica.applyQueue.views)
	}
}

// The file of a state machine on disk is removed when it has recovered. When the removal was late it took the next snapshot with it, which had
// been received meanwhile and from which the machine was to recover.
func TestALateRemovalKeepsTheNextSnapshot(t *testing.T) {
	directory, err := snapshot.OpenDirectory(vfs.NewMem(), "snapshots")
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range []uint64{5, 7, 9} {
		pending, err := directory.Create()
		if err != nil {
			t.Fatal(err)
		}
		if err := directory.Publish(snapshot.Finished{Pending: pending, Name: snapshot.Name{ShardID: 1, ReplicaID: 2, Index: index}}); err != nil {
			t.Fatal(err)
		}
	}
	k := &snapshotKeeper{engine: &Engine{options: Options{Snapshots: directory}}, sig: newSignal()}
	answered := 0
	done := func(err error) {
		if answered++; err != nil {
			t.Error(err)
		}
	}
	k.removeUpTo(logdb.ReplicaKey{ShardID: 1, ReplicaID: 2}, 7, done)
	k.RunOnce(1)
	if names := directory.List(1, 2); len(names) != 1 || names[0].Index != 9 {
		t.Errorf("left are %v, want the one at index 9", names)
	}
	k.remove(logdb.ReplicaKey{ShardID: 1, ReplicaID: 2}, done)
	k.RunOnce(2)
	if names := directory.List(1, 2); len(names) != 0 || answered != 2 {
		t.Errorf("left are %v after %d answers", names, answered)
	}
}
