package seglog

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// Lanes is a log store on several directories, one for each device: as many stores of this package, lanes, each of which has the logs of some
// shards. OpenLanes makes it.
//
// A shard stays in the lane that it was begun in, and what the lanes hold when they are opened says which that is; new ones are spread over
// all by a hash. The lanes write and sync side by side. A Commit is done when all lanes have done their part of it, in the order of
// the Commits. What it holds of one replica is one atomic write, and what a replica saved without a sync is durable no later than its next write
// that syncs; of replicas in different lanes a power cut may leave one and not the other. A lane that fails is the failure of all (R9).
type Lanes struct {
	stores []*Store

	mu     sync.RWMutex
	places map[logdb.ReplicaKey]int

	// queue has the Commits that are not told done, oldest first. delivering is set while somebody tells.
	commits struct {
		sync.Mutex
		queue      []*laneCommit
		delivering bool
		failure    error
		closed     bool
	}
	groups sync.Pool // of *laneGroup
}

// laneCommit is a Commit under way.
type laneCommit struct {
	waiting int // lanes that have not done their part
	err     error
	done    func(error)
}

// OpenLanes opens a store whose lanes are in options.Dir and options.Directories, or makes one. Directories may be added to a store, at the end; one
// that is missing, or in another place of the list, is refused with ErrLanes.
func OpenLanes(options Options) (lanes *Lanes, err error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	options = options.withDefaults()
	table, err := openLaneTable(options)
	if err != nil {
		return nil, fmt.Errorf("seglog: %w", err)
	}
	l := &Lanes{places: map[logdb.ReplicaKey]int{}}
	defer func() {
		if err != nil {
			for _, s := range l.stores {
				err = errors.Join(err, s.Close())
			}
			lanes = nil
		}
	}()
	var told sync.Once
	for _, directory := range table.directories {
		lane := options
		lane.Dir, lane.Directories, lane.isLane = directory, nil, true
		lane.HandOff = lane.HandOff || len(table.directories) > 1 // or one would wait for the other
		lane.OnFailure = func(err error) {
			l.fail(err) // what other lanes complete is not believed from then on, also if no Commit has met the failure
			if options.OnFailure != nil {
				told.Do(func() { options.OnFailure(err) })
			}
		}
		s, err := Open(lane)
		if err != nil {
			return nil, err
		}
		l.stores = append(l.stores, s)
	}
	if err := l.place(); err != nil {
		return nil, err
	}
	return l, table.record() // last: a lane counts only once it is there
}

// place finds out which lane each replica is in.
func (l *Lanes) place() error {
	for i, s := range l.stores {
		keys, err := s.List()
		if err != nil {
			return err
		}
		for _, key := range keys {
			if other, twice := l.places[key]; twice {
				return fmt.Errorf("%w: %v is in lane %d and in lane %d", ErrLanes, key, other, i)
			}
			l.places[key] = i
		}
	}
	return nil
}

// laneOf returns the lane of a replica. One that is new gets its place when it is first written to.
func (l *Lanes) laneOf(key logdb.ReplicaKey) int {
	l.mu.RLock()
	lane, known := l.places[key]
	l.mu.RUnlock()
	if known {
		return lane
	}
	mixed := key.ShardID * 0x9e3779b97f4a7c15
	mixed ^= mixed >> 32
	return int(mixed * 0xd6e8feb86659fd93 >> 33 % uint64(len(l.stores)))
}

// settle makes the place of a replica final, until the store is opened anew.
func (l *Lanes) settle(key logdb.ReplicaKey) int {
	lane := l.laneOf(key)
	l.mu.Lock()
	defer l.mu.Unlock()
	if before, known := l.places[key]; known {
		return before
	}
	l.places[key] = lane
	return lane
}

// Name returns "seglog".
func (l *Lanes) Name() string { return l.stores[0].Name() }

// Directories returns those of the lanes: see logdb.DirectoryReporter.
func (l *Lanes) Directories() (all []string) {
	for _, s := range l.stores {
		all = append(all, s.options.Dir)
	}
	return all
}

// Load returns what is stored for a replica.
func (l *Lanes) Load(key logdb.ReplicaKey) (raftpb.Stored, error) {
	return l.stores[l.laneOf(key)].Load(key)
}

// Read reads batches of a replica's log.
func (l *Lanes) Read(key logdb.ReplicaKey, from, to uint64, maxBytes int, into []raftpb.Batch) ([]raftpb.Batch, error) {
	return l.stores[l.laneOf(key)].Read(key, from, to, maxBytes, into)
}

// List returns the keys of all replicas, ascending.
func (l *Lanes) List() (keys []logdb.ReplicaKey, err error) {
	for _, s := range l.stores {
		some, err := s.List()
		if err != nil {
			return nil, err
		}
		keys = append(keys, some...)
	}
	slices.SortFunc(keys, logdb.ReplicaKey.Compare)
	return keys, nil
}

// Commit hands each lane its part.
func (l *Lanes) Commit(groups []logdb.Group, done func(error)) {
	parts := make([][]logdb.Group, len(l.stores))
	lanes := 0
	for _, group := range groups {
		g := group.(*laneGroup)
		for i, part := range g.parts {
			if part == nil {
				continue
			}
			if parts[i] == nil {
				lanes++
			}
			parts[i] = append(parts[i], part)
		}
		clear(g.parts)
		l.groups.Put(g)
	}
	c := &laneCommit{waiting: lanes, done: done}
	if !l.enqueue(c) {
		done(fmt.Errorf("%w: commit", logdb.ErrClosed))
		return
	}
	for i, part := range parts {
		if part != nil {
			l.stores[i].Commit(part, func(err error) { l.completed(c, err) })
		}
	}
	if lanes == 0 {
		l.deliver()
	}
}

// enqueue reports false once the store is closed.
func (l *Lanes) enqueue(c *laneCommit) bool {
	l.commits.Lock()
	defer l.commits.Unlock()
	if !l.commits.closed {
		l.commits.queue = append(l.commits.queue, c)
	}
	return !l.commits.closed
}

// completed notes that a lane has done its part.
func (l *Lanes) completed(c *laneCommit, err error) {
	l.commits.Lock()
	c.waiting--
	if c.err == nil {
		c.err = err
	}
	l.commits.Unlock()
	l.deliver()
}

// fail notes the first failure.
func (l *Lanes) fail(err error) {
	l.commits.Lock()
	defer l.commits.Unlock()
	if l.commits.failure == nil {
		l.commits.failure = err
	}
}

// deliver tells those Commits done that are, in their order. Whoever is at it tells what others complete meanwhile, too.
func (l *Lanes) deliver() {
	s := &l.commits
	s.Lock()
	defer s.Unlock()
	if s.delivering {
		return
	}
	s.delivering = true
	for len(s.queue) > 0 && s.queue[0].waiting == 0 {
		c := s.queue[0]
		s.queue[0] = nil
		s.queue = s.queue[1:]
		if s.failure == nil && errors.Is(c.err, logdb.ErrFailed) {
			s.failure = c.err
		}
		err := c.err
		if err == nil {
			err = s.failure // what comes behind a failure is not believed, whichever lane it was
		}
		s.Unlock()
		c.done(err)
		s.Lock()
	}
	s.delivering = false
}

// RunOnce does, in a Manual store, what is due in each lane: see Store.RunOnce.
func (l *Lanes) RunOnce(now time.Duration) (next time.Duration) {
	next = -1
	for _, s := range l.stores {
		if at := s.RunOnce(now); at >= 0 && (next < 0 || at < next) {
			next = at
		}
	}
	return next
}

// Close closes all lanes.
func (l *Lanes) Close() (err error) {
	l.commits.Lock()
	twice := l.commits.closed
	l.commits.closed = true
	l.commits.Unlock()
	if twice {
		return fmt.Errorf("%w: closed twice", logdb.ErrClosed)
	}
	for _, s := range l.stores {
		err = errors.Join(err, s.Close())
	}
	return err
}

// Metrics returns the sum over the lanes. A Commit counts in each lane that has a part of it.
func (l *Lanes) Metrics() (sum logdb.Metrics) {
	for _, s := range l.stores {
		m := s.Metrics()
		sum.Commits += m.Commits
		sum.Queue += m.Queue
		sum.GroupBytes.Add(&m.GroupBytes)
		sum.Gathered.Add(&m.Gathered)
		sum.WriteLatency.Add(&m.WriteLatency)
		sum.SyncLatency.Add(&m.SyncLatency)
		sum.LogBytes += m.LogBytes
		sum.Rewrites += m.Rewrites
		sum.RewrittenBytes += m.RewrittenBytes
		sum.DiskBytes += m.DiskBytes
		sum.LiveBytes += m.LiveBytes
	}
	return sum
}

// Space returns what the files of all lanes take; the names of segments are preceded by their directory's.
func (l *Lanes) Space() (sum logdb.Space, err error) {
	for _, s := range l.stores {
		space, err := s.Space()
		if err != nil {
			return sum, err
		}
		sum.DiskBytes += space.DiskBytes
		sum.LiveBytes += space.LiveBytes
		for _, segment := range space.Segments {
			segment.Name = s.directory.join(segment.Name)
			sum.Segments = append(sum.Segments, segment)
		}
	}
	return sum, nil
}

var (
	_ logdb.LogDB             = (*Lanes)(nil)
	_ logdb.SpaceReporter     = (*Lanes)(nil)
	_ logdb.MetricsReporter   = (*Lanes)(nil)
	_ logdb.DirectoryReporter = (*Lanes)(nil)
)
