package seglog

import (
	"fmt"

	"github.com/flotilla-raft/flotilla/logdb"
)

const (
	// maxFreeGroups is how many groups are kept for reuse: more than step workers fill and Commits hold at a time.
	maxFreeGroups = 64
	// joinBytes is the size up to which Commits that wait are joined in one group. Larger writes would hardly be faster, and while half of what is under
	// way is written the other half can be gathered.
	joinBytes = 256 << 10
	// restingBytes is how much may rest unwritten of what nobody waits for. It is half of joinBytes: so what does not fit behind a group that rests
	// is itself too much to rest, and no second one ever does.
	restingBytes = joinBytes / 2
	// retainedBatchBytes is the size up to which the buffer of a group commit is kept for the next.
	retainedBatchBytes = 8 << 20
)

// groupCommit is what becomes one group in the stream: the Commits that came while the one before was written.
type groupCommit struct {
	// data begins at a multiple of the block size: room for the group's header, then records, then, when it is written,
	// padding to the end of a block.
	data    []byte
	records int
	sync    bool
	// due says that it is to be written now; otherwise it rests until something else is written, or the writer is idle.
	due bool
	// seen is where the records begin whose hard states are not visible yet, 0 if none is.
	seen int
	// moving is the segment that its first records repeat, 0 for none.
	moving  uint32
	waiters []waiter
}

// waiter is one Commit in a group.
type waiter struct {
	done func(error) // nil once it was called
	err  error       // the Commit's own fault
}

func newGroupCommit() *groupCommit {
	return &groupCommit{data: alignedBuffer(inlineBytes)[:headerSize]}
}

func (c *groupCommit) reset() {
	clear(c.waiters)
	*c = groupCommit{data: c.data[:headerSize], waiters: c.waiters[:0]}
	if cap(c.data) > retainedBatchBytes {
		c.data = alignedBuffer(inlineBytes)[:headerSize]
	}
}

// takes reports whether the memory of a group becomes that of the group commit, which is empty: both keep what is large enough for what they mostly
// hold.
func (c *groupCommit) takes(g *Group) bool {
	return len(c.data) == headerSize && len(g.data) >= takenBytes && g.room != nil && cap(c.data) <= 2*cap(g.room)
}

// take exchanges the memory of a group with that of the group commit, which is empty.
func (c *groupCommit) take(g *Group) {
	own := c.data
	c.data = g.room[:headerSize+len(g.data)]
	g.room, g.data = own, own[headerSize:headerSize]
}

// append adds the records of a group, which alone is all there will soon be.
func (c *groupCommit) append(g *Group, alone bool) {
	if alone && c.takes(g) {
		c.take(g)
	} else {
		c.copy(g)
	}
	c.records += g.records
	c.sync = c.sync || g.mustSync
	c.due = c.due || g.lasting
}

func (c *groupCommit) copy(g *Group) {
	if need := len(c.data) + len(g.data); need > cap(c.data) {
		grown := alignedBuffer(2 * need)
		c.data = append(grown, c.data...)
	}
	c.data = append(c.data, g.data...)
}

// padded returns the bytes to write: whole blocks.
func (c *groupCommit) padded() []byte {
	end := len(c.data)
	whole := c.data[:alignUp(int64(end))]
	clear(whole[end:])
	return whole
}

// NewGroup returns an empty group.
func (s *Store) NewGroup() logdb.Group {
	s.groups.Lock()
	defer s.groups.Unlock()
	if n := len(s.groups.free); n > 0 {
		g := s.groups.free[n-1]
		s.groups.free = s.groups.free[:n-1]
		return g
	}
	return &Group{}
}

func (s *Store) recycle(groups []logdb.Group) {
	s.groups.Lock()
	defer s.groups.Unlock()
	for _, group := range groups {
		if g := group.(*Group); len(s.groups.free) < maxFreeGroups {
			g.reset()
			s.groups.free = append(s.groups.free, g)
		}
	}
}

// Commit writes the groups. See logdb.LogDB.
//
// Their records are copied behind those of the Commits that wait, while the disk may be busy with the group before, or their memory is taken. If
// nothing is under way, and it is small, the caller writes and syncs it itself before Commit returns, unless the options forbid it: so
// Commit belongs on a goroutine that may wait for the disk, as the log writer's may. A Commit that only changes hard
// states and that nobody waits for rests in memory until something else is written.
//
// Every group must have come from this store's NewGroup.
func (s *Store) Commit(groups []logdb.Group, done func(error)) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		done(fmt.Errorf("%w: commit", logdb.ErrClosed))
		return
	}
	s.counters.commits.Add(1)
	s.metrics.queue.Add(1)
	idle := !s.stepping && s.completing == 0 && !s.anythingDue()
	c := s.enqueue(groups, done)
	s.recycle(groups)
	switch {
	case !c.due && idle:
		s.rest(c)
		return
	case !c.due, s.options.Manual, s.stepping:
		s.mu.Unlock()
		return
	case idle && !s.options.HandOff && len(c.data) <= inlineBytes:
		s.stepping = true
		s.mu.Unlock()
		s.step()
		s.release()
		return
	}
	s.mu.Unlock()
	s.wakeWriter()
}

// anythingDue reports whether a group waits to be written. s.mu is held.
func (s *Store) anythingDue() bool {
	for _, c := range s.queue {
		if c.due {
			return true
		}
	}
	return false
}

// enqueue adds a Commit to the last group that waits, or begins another. s.mu is held.
func (s *Store) enqueue(groups []logdb.Group, done func(error)) *groupCommit {
	size := 0
	for _, group := range groups {
		size += group.Bytes()
	}
	c := s.lastGroup(size)
	if size > maxGroupBytes {
		err := fmt.Errorf("%w: %d bytes in one commit, want at most %d", logdb.ErrInvalidSave, size, maxGroupBytes)
		c.waiters = append(c.waiters, waiter{done: done, err: err})
		c.due = true
		return c
	}
	for _, group := range groups {
		c.append(group.(*Group), len(groups) == 1)
	}
	c.waiters = append(c.waiters, waiter{done: done})
	if len(c.data) > restingBytes {
		c.due = true
	}
	return c
}

// lastGroup returns the group to add so many bytes to. s.mu is held.
func (s *Store) lastGroup(size int) *groupCommit {
	if n := len(s.queue); n > 0 && (len(s.queue[n-1].data)+size <= joinBytes || s.queue[n-1].records == 0) {
		return s.queue[n-1]
	}
	return s.addGroup()
}

// addGroup begins another group behind those that wait. s.mu is held.
func (s *Store) addGroup() *groupCommit {
	var c *groupCommit
	if n := len(s.spare); n > 0 {
		c = s.spare[n-1]
		s.spare = s.spare[:n-1]
	} else {
		c = newGroupCommit()
	}
	s.queue = append(s.queue, c)
	return c
}

// rest completes the newest Commit of a group that is not written yet: its hard states are seen at once, and reach the disk with
// the next group. Nothing else is under way. s.mu is held, and released.
func (s *Store) rest(c *groupCommit) {
	w := &c.waiters[len(c.waiters)-1]
	done, err := w.done, s.latch.get()
	w.done = nil
	if err == nil {
		s.index.mu.Lock()
		s.applyStates(c)
		s.index.mu.Unlock()
	}
	wake := s.dirty()
	s.mu.Unlock()
	if wake {
		s.wakeKeeper()
	}
	s.metrics.queue.Add(-1)
	done(err)
}

// applyStates makes the hard states in a group that is not written yet visible, those that were added since it was called for it last. The locks of store and index are held.
func (s *Store) applyStates(c *groupCommit) {
	var o operation
	at := max(headerSize, c.seen)
	c.seen = len(c.data)
	for at < len(c.data) {
		h := rawRecordHeader(c.data[at:])
		body := c.data[at+recordHeaderSize : at+recordHeaderSize+int(h.length)]
		at += recordBytes(int(h.length))
		if err := decodeOperation(h, body, 0, false, &o); err != nil || o.flags&saveState == 0 {
			continue
		}
		if r := s.index.get(o.key); !r.damaged {
			r.state, r.stored = o.state, true
		}
	}
}
