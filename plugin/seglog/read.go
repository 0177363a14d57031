package seglog

import (
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

const (
	// readBytes bounds one read of several batches that stand near each other.
	readBytes = 1 << 20
	// readGap is the most that is read in vain between two of them.
	readGap = 4 << 10
)

// view is a replica as it was at one moment. The segments that it names keep their files until it is released.
type view struct {
	store    *Store
	key      logdb.ReplicaKey
	replica  replica
	damage   string
	segments []*segment // pinned
}

// view returns what the index holds of a replica, or ErrNotFound.
func (s *Store) view(key logdb.ReplicaKey) (*view, error) {
	return s.viewRuns(key, func(r *replica) ([]run, error) { return slices.Clone(r.runs), nil })
}

// viewRuns returns a view with those runs that choose returns, which have to be a copy.
func (s *Store) viewRuns(key logdb.ReplicaKey, choose func(*replica) ([]run, error)) (*view, error) {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	r := s.index.replicas[key]
	if r == nil || !r.stored {
		return nil, fmt.Errorf("%w: %v", logdb.ErrNotFound, key)
	}
	runs, err := choose(r)
	if err != nil {
		return nil, err
	}
	v := &view{store: s, key: key, replica: *r, damage: s.index.damage[key]}
	v.replica.runs = runs
	v.pin(r.bootstrap.segment)
	v.pin(r.installing().segment)
	for i := range runs {
		v.pin(runs[i].segment)
	}
	v.pin(r.config.segment)
	for _, config := range r.olderConfigs() {
		v.pin(config.segment)
	}
	return v, nil
}

func (v *view) find(number uint32) *segment {
	for i := len(v.segments) - 1; i >= 0; i-- {
		if uint32(v.segments[i].number) == number {
			return v.segments[i]
		}
	}
	return nil
}

func (v *view) pin(number uint32) {
	if number == 0 || v.find(number) != nil {
		return
	}
	if segment := v.store.index.segments[number]; segment != nil {
		segment.pins.Add(1)
		v.segments = append(v.segments, segment)
	}
}

func (v *view) release() {
	if v == nil {
		return
	}
	for _, segment := range v.segments {
		segment.pins.Add(-1)
	}
	v.segments = nil
}

// fenced returns an error if the replica is known to be damaged.
func (v *view) fenced() error {
	if !v.replica.damaged {
		return nil
	}
	return fmt.Errorf("%w: %v: %s", logdb.ErrDamaged, v.key, v.damage)
}

// read reads bytes of a segment.
func (v *view) read(number uint32, offset int64, into []byte) error {
	segment := v.find(number)
	if segment == nil {
		return fmt.Errorf("%w: %v: %s is missing, with %d bytes at %d", logdb.ErrDamaged, v.key, segmentName(uint64(number)), len(into), offset)
	}
	if n, err := segment.file.ReadAt(into, offset); n < len(into) {
		if size, statErr := v.store.directory.fileSize(segment.name); statErr == nil && offset+int64(len(into)) > size {
			return fmt.Errorf("%w: %v: %s ends at %d, %d bytes are wanted at %d", logdb.ErrDamaged, v.key, segment.name, size, len(into), offset)
		}
		return fmt.Errorf("seglog: %v: read %d bytes at %d of %s: %w", v.key, len(into), offset, segment.name, err)
	}
	return nil
}

// readRun reads and verifies one batch.
func (v *view) readRun(r *run) (raftpb.Batch, error) {
	data := make([]byte, r.length)
	if err := v.read(r.segment, int64(r.offset), data); err != nil {
		return nil, err
	}
	return v.checkRun(r, data)
}

// checkRun verifies the bytes of a batch, and that it is the one that belongs there.
func (v *view) checkRun(r *run, data []byte) (raftpb.Batch, error) {
	batch, err := logdb.VerifyBatch(v.key, data)
	if err != nil {
		return nil, fmt.Errorf("%w (batch [%d, %d] at %d of %s)", err, r.first, r.last(), r.offset, segmentName(uint64(r.segment)))
	}
	if batch.First() != r.first || batch.Count() != r.count || batch.Term() != r.term {
		return nil, fmt.Errorf("%w: %v: batch [%d, %d] of term %d stands at %d of %s in the place of [%d, %d] of term %d", logdb.ErrDamaged,
			v.key, batch.First(), batch.Last(), batch.Term(), r.offset, segmentName(uint64(r.segment)), r.first, r.last(), r.term)
	}
	return batch, nil
}

// readRuns reads batches and appends them. Those that stand near each other are read at once, and share memory that is theirs alone.
func (v *view) readRuns(runs []run, into []raftpb.Batch) ([]raftpb.Batch, error) {
	kept := len(into)
	for len(runs) > 0 {
		n, end := 1, int64(runs[0].offset)+int64(runs[0].length)
		for ; n < len(runs); n++ {
			next := &runs[n]
			gap := int64(next.offset) - end
			if next.segment != runs[0].segment || gap < 0 || gap > readGap || int64(next.offset)+int64(next.length)-int64(runs[0].offset) > readBytes {
				break
			}
			end = int64(next.offset) + int64(next.length)
		}
		start := int64(runs[0].offset)
		data := make([]byte, end-start)
		if err := v.read(runs[0].segment, start, data); err != nil {
			return into[:kept], fmt.Errorf("batches [%d, %d]: %w", runs[0].first, runs[n-1].last(), err)
		}
		for i := range runs[:n] {
			from := int64(runs[i].offset) - start
			to := from + int64(runs[i].length)
			batch, err := v.checkRun(&runs[i], data[from:to:to])
			if err != nil {
				return into[:kept], err
			}
			into = append(into, batch)
		}
		runs = runs[n:]
	}
	return into, nil
}

// readRecord reads and verifies the body of a record that is not a batch.
func (v *view) readRecord(kind recordKind, at place) ([]byte, error) {
	data := make([]byte, recordHeaderSize+int(at.length))
	if err := v.read(at.segment, int64(at.offset), data); err != nil {
		return nil, err
	}
	damaged := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("%w: %v: record at %d of %s: %w", logdb.ErrDamaged, v.key, at.offset, segmentName(uint64(at.segment)), err)
	}
	h, err := decodeRecordHeader(data, uint64(at.segment), int64(at.offset))
	if err != nil {
		return damaged(err)
	}
	if h.key != v.key || h.kind&^recordMoved != kind || h.length != at.length {
		return damaged(fmt.Errorf("it is of kind %d, of %v", h.kind, h.key))
	}
	var o operation
	body := data[recordHeaderSize:]
	if err := decodeOperation(h, body, int64(at.offset), true, &o); err != nil {
		return damaged(err)
	}
	return body, nil
}

// Load returns what is stored for a replica. Unless the options say otherwise it reads and verifies the whole log of the
// replica, so that damage is known before the replica says anything.
func (s *Store) Load(key logdb.ReplicaKey) (raftpb.Stored, error) {
	s.reads.RLock()
	defer s.reads.RUnlock()
	if s.closed.Load() {
		return raftpb.Stored{}, fmt.Errorf("%w: %v", logdb.ErrClosed, key)
	}
	v, err := s.view(key)
	if err != nil {
		return raftpb.Stored{}, err
	}
	defer v.release()
	if err := v.fenced(); err != nil {
		return raftpb.Stored{}, err
	}
	r := &v.replica
	stored := raftpb.Stored{State: r.state, Compacted: r.compacted, CompactedTerm: r.compactedTerm}
	err = s.twice(key, func() error {
		stored.Configs = nil
		if err := v.loadRecords(&stored); err != nil {
			return err
		}
		if s.options.TrustIndex {
			return v.loadIndex(&stored)
		}
		return v.loadLog(&stored)
	})
	if err != nil {
		return raftpb.Stored{}, err
	}
	return stored, nil
}

// twice reads again what was found damaged, in case the disk has only been read wrongly, and writes down what still is: after a restart nothing
// else might know, if what was lost is the end of the stream.
func (s *Store) twice(key logdb.ReplicaKey, read func() error) error {
	err := read()
	if !errors.Is(err, logdb.ErrDamaged) {
		return err
	}
	if err = read(); errors.Is(err, logdb.ErrDamaged) {
		s.noteDamage(key, err)
	}
	return err
}

// noteDamage writes down that a replica is damaged, once, unless that is known.
func (s *Store) noteDamage(key logdb.ReplicaKey, damage error) {
	s.index.mu.Lock()
	r := s.index.replicas[key]
	known := r == nil || r.damageAt() != 0 || s.index.noted[key]
	s.index.noted[key] = s.index.noted[key] || r != nil
	s.index.mu.Unlock()
	s.mu.Lock()
	if known || s.closing {
		s.mu.Unlock()
		return
	}
	group := Group{mustSync: true, lasting: true}
	group.add(recordDamage, key, []byte(reasonOf(key, damage)))
	s.lastGroup(group.Bytes()).append(&group, false)
	s.mu.Unlock()
	s.options.Logger.Error("seglog: damage", "replica", key, "error", damage)
	s.wakeWriter()
}

func (v *view) loadRecords(stored *raftpb.Stored) error {
	if v.replica.bootstrap.segment != 0 {
		body, err := v.readRecord(recordBootstrap, v.replica.bootstrap)
		if err != nil {
			return err
		}
		if stored.Bootstrap, err = raftpb.DecodeBootstrap(body); err != nil {
			return fmt.Errorf("%w: %v: bootstrap: %w", logdb.ErrDamaged, v.key, err)
		}
	}
	stored.Installing = nil
	if v.replica.installing().segment != 0 {
		body, err := v.readRecord(recordInstall, v.replica.installing())
		if err != nil {
			return err
		}
		meta, err := raftpb.DecodeSnapshotMeta(body)
		if err != nil {
			return fmt.Errorf("%w: %v: snapshot: %w", logdb.ErrDamaged, v.key, err)
		}
		stored.Installing = &meta
	}
	for _, at := range v.replica.configs() {
		body, err := v.readRecord(recordConfig, at.place)
		if err != nil {
			return err
		}
		config, err := raftpb.DecodeConfigRecord(body)
		if err != nil || config.Index != at.index {
			return fmt.Errorf("%w: %v: configuration at %d: %w", logdb.ErrDamaged, v.key, at.index, errors.Join(err, errNotOurs))
		}
		stored.Configs = append(stored.Configs, config)
	}
	return nil
}

// loadLog reads and checks the log, a piece at a time.
func (v *view) loadLog(stored *raftpb.Stored) error {
	loader := logdb.NewLoader(v.key, stored.Compacted, stored.CompactedTerm)
	var batches []raftpb.Batch
	for runs := v.replica.runs; len(runs) > 0; {
		n := 1
		for size := int(runs[0].length); n < len(runs) && size < readBytes; n++ {
			size += int(runs[n].length)
		}
		var err error
		if batches, err = v.readRuns(runs[:n], batches[:0]); err != nil {
			return err
		}
		for _, batch := range batches {
			if _, err := loader.Add(batch); err != nil {
				return err
			}
		}
		runs = runs[n:]
	}
	stored.Last, stored.Terms = loader.Last, loader.Terms
	return nil
}

// loadIndex does what loadLog does, from the index alone.
func (v *view) loadIndex(stored *raftpb.Stored) error {
	stored.Last = stored.Compacted
	var term uint64
	for i := range v.replica.runs {
		r := &v.replica.runs[i]
		if r.first > stored.Last+1 || i > 0 && r.first != stored.Last+1 || r.last() <= stored.Last || r.term < term {
			return fmt.Errorf("%w: %v: batch [%d, %d] of term %d at %d of %s follows index %d of term %d",
				logdb.ErrDamaged, v.key, r.first, r.last(), r.term, r.offset, segmentName(uint64(r.segment)), stored.Last, term)
		}
		if term != r.term {
			stored.Terms = append(stored.Terms, raftpb.TermStart{Term: r.term, First: max(r.first, stored.Compacted+1)})
		}
		term, stored.Last = r.term, r.last()
	}
	return nil
}

// Read returns stored batches. See logdb.LogDB.
func (s *Store) Read(
	key logdb.ReplicaKey, from, to uint64, maxBytes int, into []raftpb.Batch,
) ([]raftpb.Batch, error) {
	s.reads.RLock()
	defer s.reads.RUnlock()
	if s.closed.Load() {
		return into, fmt.Errorf("%w: %v", logdb.ErrClosed, key)
	}
	v, err := s.viewRuns(key, func(r *replica) ([]run, error) { return r.choose(key, from, to, maxBytes) })
	if err != nil {
		return into, err
	}
	defer v.release()
	if err := v.fenced(); err != nil {
		return into, err
	}
	kept, read := len(into), into
	err = s.twice(key, func() (err error) {
		read, err = v.readRuns(v.replica.runs, read[:kept])
		return err
	})
	return read, err
}

// choose returns a copy of the runs that a Read is to return.
func (r *replica) choose(key logdb.ReplicaKey, from, to uint64, maxBytes int) ([]run, error) {
	if r.damaged {
		return nil, nil
	}
	if from <= r.compacted {
		return nil, fmt.Errorf("%w: %v: index %d, compacted up to %d", logdb.ErrCompacted, key, from, r.compacted)
	}
	if from > r.lastIndex() || from > to {
		return nil, fmt.Errorf("%w: %v: indexes %d to %d, the log ends at %d", logdb.ErrUnavailable, key, from, to, r.lastIndex())
	}
	i := sort.Search(len(r.runs), func(i int) bool { return r.runs[i].last() >= from })
	j := i
	for size := 0; j < len(r.runs) && r.runs[j].first <= to; {
		size += int(r.runs[j].length)
		if j++; size >= maxBytes {
			break
		}
	}
	return slices.Clone(r.runs[i:j]), nil
}
