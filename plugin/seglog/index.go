package seglog

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"sync"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// recordCost is what a record other than a batch counts for in the live bytes of its segment.
const recordCost = 64

// place is where a record is, 0 for none.
type place struct {
	segment uint32
	offset  uint32 // of its header
	length  uint32 // of its body
}

// replica is what the index holds of one replica.
type replica struct {
	runs   []run       // by index; without a gap once the directory is open
	config configPlace // the newest configuration; older ones are rare

	state                    raftpb.HardState
	compacted, compactedTerm uint64

	last      uint64 // id of its last record: seq<<16 | ordinal within the group
	bootstrap place
	// Segments of the records that hold state and compaction, 0 for none.
	stateAt, compactAt uint32

	// stored is false while the replica's first record is on its way to the disk.
	stored bool
	// damaged says that something of this replica was lost: index.damage says what. Its log takes part in nothing any more but
	// its removal.
	damaged bool
	marked  bool // only while the writer completes a group

	// rare is nil most of the time. What it points to never changes, since copies of the replica are read without the lock.
	rare *rareState
}

// index says where everything live is. The writer alone changes it, with mu held; it reads without. Others read with mu held shared.
type index struct {
	mu       sync.RWMutex
	replicas map[logdb.ReplicaKey]*replica
	damage   map[logdb.ReplicaKey]string
	segments map[uint32]*segment
	// noted are the replicas whose damage was found by reading, and is written down or about to be.
	noted map[logdb.ReplicaKey]bool
	// oldest is the number of the first group that is still there: a record that names an earlier one as its predecessor has
	// lost nothing.
	oldest uint64
	// replaying is set while a directory is opened: the front of the stream may be gone, and what was moved behind it comes late.
	replaying bool
	// died counts the bytes that have become dead, other than by being moved, since the store was opened. wasted counts those that Commits took of the
	// files and that never lived, padding above all; at first, all that the store was opened with and that is not live.
	died, wasted int64
	born         int64 // bytes that have become live
}

func newIndex() *index {
	return &index{
		replicas: map[logdb.ReplicaKey]*replica{}, damage: map[logdb.ReplicaKey]string{}, segments: map[uint32]*segment{}, noted: map[logdb.ReplicaKey]bool{},
	}
}

// nextID returns the id of a replica's record in a group, after the record with the id last.
func nextID(last, seq uint64) uint64 {
	if last>>16 == seq && last != 0 {
		return min(last+1, seq<<16|0xffff)
	}
	return seq << 16
}

func (x *index) get(key logdb.ReplicaKey) *replica {
	r := x.replicas[key]
	if r == nil {
		r = &replica{}
		x.replicas[key] = r
	}
	return r
}

// live changes the live bytes of a segment.
func (x *index) live(segment uint32, bytes int64) {
	if segment == 0 {
		return
	}
	x.died -= min(0, bytes)
	x.born += max(0, bytes)
	if s := x.segments[segment]; s != nil {
		s.live += bytes
		if s.live < 0 {
			invariant.Fail("seglog: %d live bytes in segment %d", s.live, segment)
		}
	}
}

// move sets one of a replica's segment numbers.
func (x *index) move(at *uint32, segment uint32) {
	x.live(*at, -recordCost)
	*at = segment
	x.live(segment, recordCost)
}

// apply does to the index what a record says; segment is where the record is. x.mu is held.
func (x *index) apply(o *operation, segment uint32) {
	if o.kind == recordVoid {
		return
	}
	if o.kind == recordRemove {
		x.remove(o.key)
		return
	}
	r := x.get(o.key)
	r.stored, r.last = true, o.id
	if r.damaged && o.kind&recordMoved == 0 && o.kind != recordDamage {
		return
	}
	if o.kind&recordMoved != 0 {
		defer func(died int64) { x.died = died }(x.died) // what is moved has not died
	}
	at := place{segment: segment, offset: uint32(o.offset), length: o.length}
	switch o.kind &^ recordMoved {
	case recordSave:
		x.save(r, o, segment)
	case recordCompact:
		x.compact(r, o, segment)
	case recordBootstrap:
		x.live(r.bootstrap.segment, -recordCost)
		r.bootstrap = at
		x.live(segment, recordCost)
	case recordConfig:
		x.addConfig(r, configPlace{o.index, at})
	case recordInstall:
		x.install(r, o, at)
	case recordDamage:
		at := r.damageAt()
		x.move(&at, segment)
		r.changeRare(func(rare *rareState) { rare.damageAt = at })
		x.damage[o.key] = o.damage
		// In a running store whoever reads the damage is told; the rest of the log may still serve.
		r.damaged = r.damaged || x.replaying
	}
}

func (x *index) remove(key logdb.ReplicaKey) {
	r := x.replicas[key]
	if r == nil {
		return
	}
	x.countDead(r.runs)
	x.setConfigs(r, nil)
	for _, segment := range [...]uint32{r.bootstrap.segment, r.installing().segment, r.stateAt, r.compactAt, r.damageAt()} {
		x.live(segment, -recordCost)
	}
	delete(x.replicas, key)
	delete(x.damage, key)
	delete(x.noted, key)
}

func (x *index) save(r *replica, o *operation, segment uint32) {
	if o.flags&saveState != 0 {
		r.state = o.state
		x.move(&r.stateAt, segment)
	}
	if o.flags&saveTruncate != 0 {
		x.truncate(r, o)
	}
	if o.flags&saveBatch == 0 {
		return
	}
	added := run{
		first: o.first, term: o.term, count: o.count, segment: segment,
		offset: uint32(o.offset) + o.batch, length: o.batchBytes(),
	}
	switch {
	case o.kind&recordMoved != 0:
		x.relocate(r, added)
	case !x.appends(r, added.first):
		x.fence(o.key, r, fmt.Sprintf("batch [%d, %d] does not follow index %d", added.first, added.last(), r.runs[len(r.runs)-1].last()))
	default:
		r.runs = append(roomForRun(r.runs), added)
		x.live(segment, int64(added.length))
	}
}

// truncate removes everything from an index on.
func (x *index) truncate(r *replica, o *operation) {
	i := sort.Search(len(r.runs), func(i int) bool { return r.runs[i].first >= o.truncate })
	x.countDead(r.runs[i:])
	r.runs = r.runs[:i]
	if o.flags&saveBatch == 0 { // otherwise the memory is about to be used
		r.runs = shrinkRuns(r.runs)
	}
	if r.config.segment == 0 || r.config.index < o.truncate {
		return
	}
	x.setConfigs(r, slices.DeleteFunc(r.configs(), func(c configPlace) bool { return c.index >= o.truncate }))
}

// appends reports whether a batch that begins at an index can follow the runs. While a directory is opened there may be a gap: what was
// between was moved behind this batch before its segment went, and will come. There is none left in the end (recovery.judge).
func (x *index) appends(r *replica, first uint64) bool {
	if len(r.runs) == 0 {
		return true
	}
	next := r.runs[len(r.runs)-1].last() + 1
	return first == next || x.replaying && first > next
}

// relocate gives a batch its new place. While a directory is opened the old one may be gone.
func (x *index) relocate(r *replica, moved run) {
	if i, found := r.findRun(moved.first); found {
		x.live(r.runs[i].segment, -int64(r.runs[i].length))
		r.runs[i] = moved
	} else {
		r.runs = slices.Insert(roomForRun(r.runs), i, moved)
	}
	x.live(moved.segment, int64(moved.length))
}

// countDead takes runs that are about to be forgotten out of what is live.
func (x *index) countDead(runs []run) {
	for i := range runs {
		x.live(runs[i].segment, -int64(runs[i].length))
	}
}

// install removes a log, for the records behind this one to begin it anew, or notes that the state machine has recovered. One that was
// moved has done that before: what is there belongs to the log that was begun.
func (x *index) install(r *replica, o *operation, at place) {
	x.live(r.installing().segment, -recordCost)
	if o.length == 0 {
		at = place{}
	}
	r.changeRare(func(rare *rareState) { rare.installing = at })
	x.live(at.segment, recordCost)
	if o.length == 0 || o.kind&recordMoved != 0 {
		return
	}
	x.countDead(r.runs)
	r.runs = nil
	x.setConfigs(r, nil)
	r.compacted, r.compactedTerm = 0, 0
}

func (x *index) compact(r *replica, o *operation, segment uint32) {
	x.move(&r.compactAt, segment)
	if o.index < r.compacted {
		return
	}
	r.compacted, r.compactedTerm = o.index, o.indexTerm
	i := sort.Search(len(r.runs), func(i int) bool { return r.runs[i].last() > o.index })
	if i > 0 {
		x.countDead(r.runs[:i])
		r.runs = shrinkRuns(slices.Delete(r.runs, 0, i))
	}
	x.dropOldConfigs(r)
}

// fence takes a replica out of service. The first reason is kept.
func (x *index) fence(key logdb.ReplicaKey, r *replica, reason string) {
	r.stored = true
	if r.damaged {
		return
	}
	r.damaged = true
	x.damage[key] = reason
}

// follows checks that a record is the next in the chain of its replica, and fences the replica if one is missing before it.
func (x *index) follows(o *operation) {
	if o.kind == recordVoid {
		return
	}
	r := x.replicas[o.key]
	switch {
	case r != nil && r.damaged, r != nil && r.last == o.previous:
	case r == nil && (o.previous == 0 || o.previous>>16 < x.oldest):
	default:
		var last uint64
		if r != nil {
			last = r.last
		}
		x.fence(o.key, x.get(o.key), fmt.Sprintf("a record is missing: that in group %d follows one of group %d, the last one found is of group %d",
			o.id>>16, o.previous>>16, last>>16))
	}
}

// keys returns the keys of all replicas, ascending. x.mu is held.
func (x *index) keys() []logdb.ReplicaKey {
	keys := slices.SortedFunc(maps.Keys(x.replicas), logdb.ReplicaKey.Compare)
	return slices.DeleteFunc(keys, func(key logdb.ReplicaKey) bool { return !x.replicas[key].stored })
}

// findRun returns the position of the batch that begins at an index, or where it would stand.
func (r *replica) findRun(first uint64) (int, bool) {
	i := sort.Search(len(r.runs), func(i int) bool { return r.runs[i].first >= first })
	return i, i < len(r.runs) && r.runs[i].first == first
}

// lastIndex returns the index of the last entry of a log.
func (r *replica) lastIndex() uint64 {
	if len(r.runs) == 0 {
		return r.compacted
	}
	return r.runs[len(r.runs)-1].last()
}

// usesSegment reports whether something live of a replica is in a segment.
func (r *replica) usesSegment(segment uint32) bool {
	if r.bootstrap.segment == segment || r.installing().segment == segment || r.stateAt == segment || r.compactAt == segment || r.damageAt() == segment {
		return true
	}
	return r.configIn(segment) || slices.ContainsFunc(r.runs, func(c run) bool { return c.segment == segment })
}
