package seglog

import (
	"errors"
	"slices"
	"time"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

const (
	// moveBytes is about how much is moved at a time: a Commit may have to wait for one such write. It is less if segments are so small that what
	// does not fit at their end would come to much.
	moveBytes = 256 << 10
	// moveKeys bounds how many replicas are looked at for one piece.
	moveKeys = 4096
	// unreadableDelay is how long the keeper leaves a segment alone that cannot be read.
	unreadableDelay = 10 * time.Second
)

// moved is what one piece of moving has collected.
type moved struct {
	group  Group
	from   uint32
	limit  int // of the group's bytes
	broken []brokenRun
}

// pieceBytes is about how much is moved at a time.
func (s *Store) pieceBytes() int {
	return min(moveBytes, max(moveBytes/16, s.options.SegmentBytes/32))
}

// full reports whether a record of so many bytes is better left to the next piece: it goes on beyond the limit as long as there is
// room in the last block, which is written anyway.
func (m *moved) full(bytes int) bool {
	used := headerSize + m.group.Bytes()
	return used >= m.limit && used+bytes > int(alignUp(int64(used)))
}

// brokenRun is a batch that cannot be moved, since it is damaged.
type brokenRun struct {
	key   logdb.ReplicaKey
	first uint64
	why   string
}

// movePiece repeats some of what is live in the oldest segment at the end of the stream. What is changed between the reading here and the
// write is left out by the write.
func (s *Store) movePiece(c *cleaning) error {
	m := &moved{from: uint32(c.segment.number), limit: s.pieceBytes()}
	for n := 0; n < moveKeys && c.at < len(c.keys) && !m.full(2*recordCost); n++ {
		key := c.keys[c.at]
		more, err := s.collect(m, key)
		if err != nil {
			s.options.Logger.Warn("seglog: an old segment cannot be emptied now", "segment", c.segment.name, "error", err)
			s.keeper.rest = s.keeper.now + unreadableDelay
			c.at = 0
			return nil // a read that failed is no failed write
		}
		if more {
			break
		}
		c.at++
	}
	at, err := s.writeMoved(m)
	if at.segment != nil {
		c.written = append(c.written, at)
	}
	return err
}

// collect adds what is live of a replica in the segment, up to the size of a piece. It reports whether there is more.
func (s *Store) collect(m *moved, key logdb.ReplicaKey) (more bool, err error) {
	view, err := s.viewRuns(key, func(r *replica) ([]run, error) { return r.piece(m.from, m.limit+blockSize-m.group.Bytes()), nil })
	if errors.Is(err, logdb.ErrNotFound) {
		return false, nil
	}
	defer view.release()
	r := &view.replica
	if r.damageAt() == m.from {
		m.group.add(recordDamage|recordMoved, key, []byte(view.damage))
	}
	if r.stateAt == m.from {
		m.group.addSave(recordSave|recordMoved, key, saveState, r.state, 0, nil)
	}
	if r.compactAt == m.from {
		m.group.compact(recordCompact|recordMoved, key, r.compacted, r.compactedTerm)
	}
	if err := s.collectRecords(m, view); err != nil {
		return false, err
	}
	for i := range r.runs {
		if r.runs[i].segment != m.from {
			continue
		}
		if m.full(recordBytes(int(r.runs[i].length) + 1)) {
			return true, nil
		}
		batch, err := view.readRun(&r.runs[i])
		if errors.Is(err, logdb.ErrDamaged) {
			m.broken = append(m.broken, brokenRun{key, r.runs[i].first, reasonOf(key, err)})
			continue
		}
		if err != nil {
			return false, err
		}
		m.group.addSave(recordSave|recordMoved, key, saveBatch, raftpb.HardState{}, 0, batch)
	}
	return false, nil
}

// piece returns a copy of the runs in a segment, up to the size of a piece and one more, so that a log of any length is looked through
// without being copied. What is left out behind damaged ones is found when the segment is looked through again.
func (r *replica) piece(segment uint32, bytes int) (runs []run) {
	for i := range r.runs {
		if r.runs[i].segment != segment {
			continue
		}
		if runs = append(runs, r.runs[i]); bytes < 0 {
			break
		}
		bytes -= int(r.runs[i].length)
	}
	return runs
}

// collectRecords adds the bootstrap and the configurations that are in the segment.
func (s *Store) collectRecords(m *moved, view *view) error {
	r := &view.replica
	add := func(kind recordKind, at place) error {
		body, err := view.readRecord(kind, at)
		if errors.Is(err, logdb.ErrDamaged) {
			m.broken = append(m.broken, brokenRun{view.key, 0, reasonOf(view.key, err)})
			return nil
		}
		if err != nil {
			return err
		}
		m.group.add(kind|recordMoved, view.key, body)
		return nil
	}
	if r.bootstrap.segment == m.from {
		if err := add(recordBootstrap, r.bootstrap); err != nil {
			return err
		}
	}
	if r.installing().segment == m.from {
		if err := add(recordInstall, r.installing()); err != nil {
			return err
		}
	}
	for _, config := range r.configs() {
		if config.segment == m.from {
			if err := add(recordConfig, config.place); err != nil {
				return err
			}
		}
	}
	return nil
}

// writeMoved writes one piece. It is synced with the next Commit, or when the segment is dropped.
func (s *Store) writeMoved(m *moved) (at writtenGroup, err error) {
	for _, b := range m.broken {
		s.options.Logger.Error("seglog: damage found while an old segment was emptied", "replica", b.key, "error", b.why)
		m.group.add(recordDamage, b.key, []byte(b.why))
	}
	s.keeper.budget -= int64(m.group.Bytes())
	s.counters.rewritten.Add(uint64(m.group.Bytes()))
	if m.group.Empty() {
		return at, nil
	}
	s.run(func() {
		// What rests is seen already, and may have been collected here: it has to reach the disk first, or the stream would hold a later
		// state of one replica without the earlier ones of others.
		for s.queued() {
			s.step()
		}
		c := newGroupCommit()
		c.append(&m.group, false)
		c.moving = m.from
		if err = s.append(c); err == nil {
			w := &s.writer
			at = writtenGroup{w.active, w.position - alignUp(int64(len(c.data))), len(c.data), w.seq}
			s.forget(m)
		}
	})
	s.keeper.seen = s.counters.groups.Load()
	return at, err
}

// forget takes what is damaged out of the index, once the replica is known to be damaged without it.
func (s *Store) forget(m *moved) {
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	for _, b := range m.broken {
		r := s.index.replicas[b.key]
		if r == nil {
			continue
		}
		r.damaged = true // now that something of it is gone
		if i, found := r.findRun(b.first); found && r.runs[i].segment == m.from {
			s.index.live(m.from, -int64(r.runs[i].length))
			r.runs = shrinkRuns(slices.Delete(r.runs, i, i+1))
		}
		if b.first != 0 {
			continue
		}
		if r.bootstrap.segment == m.from {
			s.index.live(m.from, -recordCost)
			r.bootstrap = place{}
		}
		if r.installing().segment == m.from {
			s.index.live(m.from, -recordCost)
			r.changeRare(func(rare *rareState) { rare.installing = place{} })
		}
		if r.configIn(m.from) {
			s.index.setConfigs(r, slices.DeleteFunc(r.configs(), func(c configPlace) bool { return c.segment == m.from }))
		}
	}
}
