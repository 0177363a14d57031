package engine

import (
	"container/heap"
	"sync/atomic"
	"time"

	"github.com/flotilla-raft/flotilla/raft"
)

// A state machine on disk is synced some time after it was written to, however little that was: a shard with a few writes an hour reaches
// SnapshotPolicy.Entries and Bytes never, would be replayed from far back, and keep its log.
//
// The first batch that is applied behind a Sync begins an interval and gives the watch the instant of its end; no other one does anything, and a
// shard at rest has no entry there. At the instant the watch asks for a Sync, unless one was prepared meanwhile.

// syncInterval is the time of one replica.
type syncInterval struct {
	length time.Duration // 0: no Sync for the time alone
	// due is when an interval ends, 0 while nothing was applied behind the last Sync. The apply worker sets it, the watch reads it.
	due atomic.Int64
	// watched says that the watch has the replica. Whoever finds due set and this not brings the replica there. The apply worker sets due
	// before it looks, the watch clears this before it looks: one of them sees what the other did.
	watched atomic.Bool
}

// begin says that what was applied is in a Sync that follows.
func (s *syncInterval) begin() { s.due.Store(0) }

// noteSync begins an interval with the first batch that is applied in it. It is called by the apply worker.
func (r *Replica) noteSync(now raft.Instant) {
	s := &r.snapshots.meter.sync
	if s.length == 0 || s.due.Load() != 0 {
		return
	}
	due := now + raft.Instant(r.snapshots.meter.draw(uint64(s.length)))
	s.due.Store(int64(due))
	if !s.watched.Swap(true) {
		r.engine.watch.syncLater(r, due)
	}
}

// syncAt is the watch's when an interval that it knew of is over: that one, or one that has begun since.
func (r *Replica) syncAt(now raft.Instant) {
	s := &r.snapshots.meter.sync
	s.watched.Store(false)
	switch due := raft.Instant(s.due.Load()); {
	case due == 0:
	case due <= now:
		r.snapshotDue()
	case !s.watched.Swap(true):
		r.engine.watch.syncLater(r, due)
	}
}

// syncAgain is called behind a Sync. One that took longer than an interval was still under way when the interval that began behind its
// preparation ended: the watch asked for nothing then, and has the replica no more.
func (r *Replica) syncAgain() {
	s := &r.snapshots.meter.sync
	if due := s.due.Load(); due != 0 && !s.watched.Swap(true) {
		r.engine.watch.syncLater(r, raft.Instant(due))
	}
}

// timedSync is a replica that the watch has.
type timedSync struct {
	replica *Replica
	at      raft.Instant
}

// timedSyncs are a heap: the next one is the first.
type timedSyncs []timedSync

func (t timedSyncs) Len() int           { return len(t) }
func (t timedSyncs) Less(i, j int) bool { return t[i].at < t[j].at }
func (t timedSyncs) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }

// Push implements heap.Interface.
func (t *timedSyncs) Push(sync any) { *t = append(*t, sync.(timedSync)) }

// Pop implements heap.Interface.
func (t *timedSyncs) Pop() any {
	last := len(*t) - 1
	sync := (*t)[last]
	(*t)[last] = timedSync{}
	*t = (*t)[:last]
	return sync
}

// syncLater lets the watch look at a replica.
func (w *jobWatch) syncLater(r *Replica, at raft.Instant) {
	w.mu.Lock()
	heap.Push(&w.syncs, timedSync{r, at})
	w.mu.Unlock()
	w.sig.set()
}

// syncsDue looks at the replicas of which the instant has come, and returns the next instant.
func (w *jobWatch) syncsDue(now raft.Instant) (next raft.Instant) {
	for {
		w.mu.Lock()
		if len(w.syncs) == 0 || w.syncs[0].at > now {
			break
		}
		r := heap.Pop(&w.syncs).(timedSync).replica
		w.mu.Unlock()
		r.syncAt(now)
	}
	defer w.mu.Unlock()
	if len(w.syncs) == 0 {
		return raft.Never
	}
	return w.syncs[0].at
}
