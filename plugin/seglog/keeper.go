package seglog

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/flotilla-raft/flotilla/logdb"
)

// keeper does what is not urgent, in small pieces: the marker behind the last group, the next segment's file, the emptying of old
// segments. In production one goroutine runs it, in a Manual store RunOnce.
type keeper struct {
	seen      uint64        // groups that were written when it last looked
	lastWrite time.Duration // when that number last changed
	filling   filling
	full      uint64 // one more than the segments that were filled when the disk had no room for a new file, 0 for never
	cleaning  *cleaning
	retired   []*segment // out of the index, their readers not gone yet
	now       time.Duration
	budget    int64 // bytes that may be moved now
	refilled  time.Duration
	rest      time.Duration // nothing is cleaned before that
	told      bool          // OnFailure was called
	round     round
	// calm says that Commits wasted little between measured and the time of calm before that, with taken then.
	calm     bool
	measured time.Duration
	taken    int64
}

func (k *keeper) close() error {
	var err error
	if k.filling.file != nil {
		err = k.filling.file.Close()
	}
	for _, s := range k.retired {
		err = errors.Join(err, closeSegment(s))
	}
	return err
}

// keep does one piece of work and returns when it wants to be called again at the latest: see RunOnce.
func (s *Store) keep(now time.Duration) time.Duration {
	k := &s.keeper
	k.now = now
	if groups := s.counters.groups.Load(); groups != k.seen {
		k.seen, k.lastWrite = groups, now
	}
	s.measure()
	if s.latch.get() != nil {
		return -1
	}
	for _, piece := range [...]func() (bool, error){s.retire, s.prepareNext, s.clean, s.mark} {
		more, err := piece()
		if err != nil {
			s.run(func() { s.fail(err) })
			return -1
		}
		if more {
			return now
		}
	}
	return s.nextPiece(now)
}

// nextPiece says when there may be something to do if nobody commits until then.
func (s *Store) nextPiece(now time.Duration) time.Duration {
	k := &s.keeper
	wait := time.Duration(-1)
	s.mu.Lock()
	if s.isDirty {
		wait = s.options.IdleDelay
	}
	s.mu.Unlock()
	switch {
	case len(k.retired) > 0 || k.cleaning != nil:
		wait = s.options.IdleDelay
	case !s.idle() || !k.calm:
		wait = max(s.options.IdleDelay, k.lastWrite+10*s.options.IdleDelay-now)
	}
	if wait < 0 {
		return wait
	}
	return now + wait
}

// mark writes a marker once nothing was written for a while: what is written last has no witness of its durability before (R11). What
// rests unwritten goes with it.
func (s *Store) mark() (more bool, err error) {
	k := &s.keeper
	if k.now-k.lastWrite < s.options.IdleDelay {
		return false, nil
	}
	s.run(func() {
		if s.latch.get() != nil {
			return
		}
		for s.queued() {
			s.step()
		}
		s.finish()
		s.mu.Lock()
		s.isDirty = false
		s.mu.Unlock()
	})
	k.seen = s.counters.groups.Load()
	return false, nil
}

// retire gives the files of emptied segments back once their last readers are gone.
func (s *Store) retire() (more bool, err error) {
	k := &s.keeper
	if s.idle() && s.trim() {
		return true, nil
	}
	for i, old := range k.retired {
		if old.pins.Load() != 0 {
			continue
		}
		k.retired = append(k.retired[:i], k.retired[i+1:]...)
		return true, s.giveBack(old)
	}
	return false, nil
}

// busySpares is how many files are kept spare while somebody writes. Segments do not empty one by one: all shards have to compact past the
// end of one, and often several are empty then.
const busySpares = 3

// giveBack makes a file spare, if one is wanted, or removes it. While somebody writes some are wanted whatever the disk use: without them new files
// would soon be filled with zeros, which costs as many bytes as the segments have. Once nobody does they go (trim).
func (s *Store) giveBack(old *segment) error {
	if err := closeSegment(old); err != nil {
		return fmt.Errorf("close %s: %w", old.name, err)
	}
	s.counters.removed.Add(1)
	size := int64(s.options.SegmentBytes)
	usable := old.filled >= size/2 && old.filled <= 2*size
	p := &s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	wanted := len(p.spares) < busySpares
	if s.idle() {
		wanted = len(p.spares) == 0 && (p.prepared == nil || !s.tooLarge(size+p.prepared.filled))
	}
	name := spareName(old.number)
	// A power cut may leave a file that was given back under both names, where a rename is two entries of a journal.
	known := slices.ContainsFunc(p.spares, func(s spare) bool { return s.name == name })
	if !usable || !wanted || known {
		s.directory.remove(old.name)
		return nil
	}
	if err := s.directory.rename(old.name, name); err != nil {
		return err
	}
	p.spares = append(p.spares, spare{name, old.filled})
	return nil
}

// trim removes a spare file that the disk use does not allow any more.
func (s *Store) trim() bool {
	p := &s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.spares)
	if n == 0 || p.prepared == nil {
		return false
	}
	more := p.prepared.filled
	for _, spare := range p.spares {
		more += spare.size
	}
	if !s.tooLarge(more) {
		return false
	}
	s.directory.remove(p.spares[n-1].name)
	p.spares = p.spares[:n-1]
	return true
}

// tooLarge reports whether so many bytes more would make the segments larger than what toClean leaves of an idle store, and one.
func (s *Store) tooLarge(more int64) bool {
	files, live := s.sizes()
	return files+more > live+2*live/5+2*int64(s.options.SegmentBytes)
}

// cleaning is the emptying of the oldest segment.
type cleaning struct {
	segment *segment
	keys    []logdb.ReplicaKey
	at      int
	written []writtenGroup
	again   bool // it was looked through before, and something was left
}

// writtenGroup is where something was moved to.
type writtenGroup struct {
	segment *segment
	offset  int64
	length  int
	seq     uint64
}

// clean empties the oldest segment, a piece at a time, if the segments take too much room for what is live in them. Segments go
// strictly in the order of the stream: then what a truncation or removal made dead is gone before the record that says so.
func (s *Store) clean() (more bool, err error) {
	k := &s.keeper
	if k.now < k.rest {
		return false, nil
	}
	if k.cleaning == nil {
		oldest := s.toClean()
		if oldest == nil {
			return false, nil
		}
		s.index.mu.RLock()
		k.cleaning = &cleaning{segment: oldest, keys: s.index.keys()}
		s.index.mu.RUnlock()
	}
	if k.cleaning.at < len(k.cleaning.keys) && !s.died(k.cleaning) {
		if !s.affords() {
			return false, nil
		}
		return true, s.movePiece(k.cleaning)
	}
	done := k.cleaning
	if s.inUse(done.segment) {
		done.at, done.again = 0, true // something could not be moved: again from the start
		return true, nil
	}
	k.cleaning = nil
	return true, s.drop(done)
}

// died reports whether nothing counts as live in the segment any more, so that there is nothing to look for.
func (s *Store) died(c *cleaning) bool {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return c.segment.live == 0 && !c.again
}

// toClean returns the oldest segment if it is to be emptied now: if the segments take more than one and a half times what is live and two of
// their size. When nobody has written for a while it is one of their size, since the next is prepared, and a little less than half: then what batches
// take is kept to the limit although compactions and hard states are live, too.
//
// No more than twice the bytes is ever moved that have died or never lived, as the padding behind a small Commit. That is enough to keep the limit: where
// it is exceeded, what came to be dead since the last round through all segments is at least half of what is live. And without it the
// same bytes would be moved round and round for a gain that headers of records and the unused end of each segment eat up: these stay where the keeper
// itself has written, whence no leave to move comes.
//
// While much is written, what never lived gives leave for a quarter of it only. A round through all segments moves everything that is live, and each
// small Commit makes sixteen times its size of padding: the disk would do three times as much as the Commits ask for. So until it
// is calm again the files may take up to five times what is live, where there are small Commits alone.
//
// Where batches are so small that the headers of their records are half, or segments so small that their ends are, the limit is not reached: then what is live is
// moved once, and not again before much more is dead.
//
// A segment of which not a quarter is live is moved all the same: what is moved stands close together, so more bytes are gained than are moved. One of
// which next to nothing is live is emptied at once, whatever the files take: votes and bootstraps that hardly ever change would hold up all that is
// dead behind it, until many files come free together, more than are kept, and meanwhile none is there to be written again.
func (s *Store) toClean() *segment {
	files, live := s.sizes()
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	if len(s.order) < 2 {
		return nil
	}
	oldest, size := s.order[0], int64(s.options.SegmentBytes)
	if oldest.live <= oldest.size/nearlyEmpty {
		return oldest
	}
	allowed := live + live/2 + 2*size
	if s.idle() {
		allowed = live + 2*live/5 + size
	}
	leave := s.index.wasted / 4
	if s.keeper.calm {
		leave = 2 * s.index.wasted
	}
	credit := 2*s.index.died + leave - int64(s.counters.rewritten.Load())
	if files <= allowed || credit < oldest.live && 4*oldest.live > oldest.size {
		return nil
	}
	if s.keeper.round.fruitless(oldest, s.order[len(s.order)-1], files, live, s.index.died+s.index.wasted) {
		return nil
	}
	return oldest
}

// round is the emptying of all segments that there were at its beginning.
type round struct {
	until       uint64 // the newest of them
	waste, dead int64  // what was not live then, and how much had become so
	resume      int64  // after a fruitless round, how much has to have become so before the next
}

// fruitless reports whether the last round has gained less than a sixteenth of the files: then so will the next, until a quarter more is dead.
func (r *round) fruitless(oldest, newest *segment, files, live, dead int64) bool {
	switch {
	case oldest.number <= r.until:
		return false
	case dead < r.resume:
		return true
	case r.until != 0 && r.waste+dead-r.dead-(files-live) < files/16:
		*r = round{resume: dead + files/4}
		return true
	}
	*r = round{until: newest.number, waste: files - live, dead: dead}
	return false
}

// nearlyEmpty is the part of a segment up to which what is live in it is next to nothing.
const nearlyEmpty = 256

// idle reports whether nobody has written for a while.
func (s *Store) idle() bool { return s.keeper.now-s.keeper.lastWrite >= 10*s.options.IdleDelay }

// calmShare is the part of the bytes that may be moved in a second up to which Commits may waste bytes and it is still calm.
const calmShare = 64

// measure finds out whether it is calm.
func (s *Store) measure() {
	k := &s.keeper
	span := k.now - k.measured
	if span < 10*s.options.IdleDelay {
		return
	}
	taken := s.counters.taken.Load()
	k.calm = float64(taken-k.taken)*calmShare <= float64(s.options.RewriteBytesPerSecond)*span.Seconds()
	k.measured, k.taken = k.now, taken
}

// affords reports whether more may be moved now.
func (s *Store) affords() bool {
	k := &s.keeper
	rate := int64(s.options.RewriteBytesPerSecond)
	earned := int64(float64(rate) * min(1, (k.now-k.refilled).Seconds()))
	k.refilled = k.now
	k.budget = min(k.budget+earned, rate/4+1)
	return k.budget > 0
}

// inUse looks through the whole index for something in a segment.
func (s *Store) inUse(old *segment) bool {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	for _, r := range s.index.replicas { // any order
		if r.usesSegment(uint32(old.number)) {
			return true
		}
	}
	return false
}

// drop takes the oldest segment, in which nothing is live, out of the stream. Before its file is touched a group is durable which says
// that the stream begins behind it: so a file that is missing otherwise is noticed.
//
// What was moved is read back before: a write that the disk has lost would otherwise take with it what had been safe for long. A disk that does
// that has failed.
func (s *Store) drop(c *cleaning) (err error) {
	oldest := c.segment
	s.run(func() {
		if err = s.readBack(c.written); err != nil {
			s.fail(err)
			return
		}
		s.writer.floor = s.order[1].first
		marker := newGroupCommit()
		marker.sync = true
		s.bearWitness(marker, c)
		if err = s.append(marker); err != nil {
			return
		}
		s.index.mu.Lock()
		s.order = append(s.order[:0], s.order[1:]...)
		delete(s.index.segments, uint32(oldest.number))
		s.index.oldest = s.writer.floor
		s.index.mu.Unlock()
		s.keeper.retired = append(s.keeper.retired, oldest)
	})
	s.keeper.seen = s.counters.groups.Load()
	return err
}

// readBack syncs what was moved and checks that it is there.
func (s *Store) readBack(written []writtenGroup) error {
	if s.latch.get() != nil || len(written) == 0 {
		return s.latch.get()
	}
	if err := s.syncActive(); err != nil {
		return err
	}
	for _, g := range written {
		data := make([]byte, alignUp(int64(g.length)))
		if n, err := g.segment.file.ReadAt(data, g.offset); n < len(data) {
			return fmt.Errorf("read back %d bytes at %d of %s: %w", len(data), g.offset, g.segment.name, err)
		}
		if !groupWhole(data, g.segment.number, g.offset) {
			return fmt.Errorf("%d bytes at %d of %s were written and synced, and are not there", g.length, g.offset, g.segment.name)
		}
	}
	return nil
}
