package seglog

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// Open opens the store in a directory, or makes one. Only one process, and one Store in it, can have a directory open.
//
// The footers of all segments are read, and the last segment whole. That one is copied into a new file, which is synced, before anything in
// it is believed: after a sync that failed, what is read may stand in the page cache alone (R9).
//
// Damage does not keep a store from being opened: the replicas that it concerns are out of service, with logdb.ErrDamaged. Errors are
// those of the file system, ErrOwner, ErrVersion, and logdb.ErrDamaged if the FORMAT file is damaged.
func Open(options Options) (store *Store, err error) {
	if err := options.Validate(); err != nil {
		return nil, err
	}
	if len(options.Directories) > 0 {
		return nil, fmt.Errorf("%w: Directories has %d entries, want OpenLanes for them", ErrOptions, len(options.Directories))
	}
	options = options.withDefaults()
	s := &Store{options: options, directory: directory{fs: options.FS, path: options.Dir}, index: newIndex()}
	s.freed, s.settled = sync.NewCond(&s.mu), sync.NewCond(&s.mu)
	s.latch.failed = make(chan struct{})
	s.background.init()
	defer func() {
		if err != nil {
			err = fmt.Errorf("seglog: %s: %w", options.Dir, err)
			_ = s.closeFiles() // the failure is what matters
			store = nil
		}
	}()
	if err := s.occupy(); err != nil {
		return nil, err
	}
	if err := s.recover(); err != nil {
		return nil, err
	}
	if !options.Manual {
		s.start()
	}
	return s, nil
}

// occupy locks the directory and checks that it is a store of this host's, or makes it one.
func (s *Store) occupy() error {
	d := &s.directory
	if err := d.make(); err != nil {
		return err
	}
	lock, err := d.fs.Lock(d.join(lockName))
	if err != nil {
		return fmt.Errorf("lock: %w", err)
	}
	s.lock = lock
	if err := s.checkAlone(); err != nil {
		return err
	}
	if err := s.checkFormat(); err != nil {
		return err
	}
	if !s.options.Buffered {
		if d.direct, err = d.probe(); err != nil {
			return err
		}
	}
	return nil
}

// found is a segment file as it was found.
type found struct {
	segment
	header segmentHeader
	begun  bool // its header, or at least one of its groups, can be read
	footer []byte
	data   []byte // the whole file, if it has no footer that can be read
}

// recovery opens what is in a directory.
type recovery struct {
	store *Store
	files []*found // by number
	// old are segments that were emptied before, and whose files are still there.
	old []*found
	// damage is what was found of damage, for replicas that are known.
	damage []damaged
	unread []unread
	floor  uint64
	next   uint64 // the number of the group that comes next
}

func (s *Store) recover() error {
	r := &recovery{store: s}
	s.index.replaying = true
	if err := r.run(); err != nil {
		for _, f := range append(r.files, r.old...) {
			if !slices.Contains(s.order, &f.segment) {
				err = errors.Join(err, closeSegment(&f.segment))
			}
		}
		return err
	}
	return nil
}

func (r *recovery) run() error {
	if err := r.list(); err != nil {
		return err
	}
	if err := r.readFiles(); err != nil {
		return err
	}
	if err := r.dropReplaced(); err != nil {
		return err
	}
	if err := r.replay(); err != nil {
		return err
	}
	if err := r.begin(); err != nil {
		return err
	}
	return r.giveBackOld()
}

// list finds the files of the directory. What was in preparation is removed, a spare file is kept.
func (r *recovery) list() error {
	s, d := r.store, &r.store.directory
	names, err := d.fs.List(d.path)
	if err != nil {
		return fmt.Errorf("list: %w", err)
	}
	slices.Sort(names)
	s.pool.next = 1
	for _, name := range names {
		number, suffix, ok := parseName(name)
		if !ok {
			continue
		}
		s.pool.next = max(s.pool.next, number+1)
		switch suffix {
		case segmentSuffix:
			size, err := d.fileSize(name)
			if err != nil {
				return err
			}
			r.files = append(r.files, &found{segment: segment{number: number, name: name, size: size, filled: size}})
		case spareSuffix:
			if err := r.keepSpare(name); err != nil {
				return err
			}
		case tempSuffix:
			d.remove(name)
		}
	}
	return nil
}

// keepSpare keeps one file for the next segment.
func (r *recovery) keepSpare(name string) error {
	p, d := &r.store.pool, &r.store.directory
	size, err := d.fileSize(name)
	if err != nil {
		return err
	}
	if wanted := int64(r.store.options.SegmentBytes); len(p.spares) > 0 || size < wanted/2 || size > 2*wanted {
		d.remove(name)
		return nil
	}
	p.spares = append(p.spares, spare{name, size})
	return nil
}

// readFiles opens every segment and reads its footer, or all of it.
func (r *recovery) readFiles() error {
	for _, f := range r.files {
		var err error
		if f.file, err = r.store.directory.openRead(f.name); err != nil {
			return err
		}
		if err := r.readFile(f); err != nil {
			return err
		}
	}
	return nil
}

func (r *recovery) readFile(f *found) error {
	head, failure := r.readAt(f, 0, headerSize)
	var err error
	f.header, err = decodeSegmentHeader(head, f.number)
	f.begun = err == nil
	if r.readFooter(f) {
		return nil
	}
	f.data = r.store.directory.readAll(f.file, f.size)
	if f.begun {
		return nil
	}
	// The header cannot be read: the segment was not begun, or the header is damaged. In the latter case its groups are there.
	s := scanner{data: f.data, segment: f.number}
	if h, at := s.nextGroup(blockSize); at >= 0 {
		f.begun = true
		f.header = segmentHeader{segment: f.number, first: h.seq}
		return nil
	}
	return failure // whether it was begun is not known: it must not be taken for a file that was only prepared
}

// readAt reads up to length bytes.
func (r *recovery) readAt(f *found, offset int64, length int) ([]byte, error) {
	data := make([]byte, max(0, min(int64(length), f.size-offset)))
	if len(data) == 0 {
		return nil, nil
	}
	if n, err := f.file.ReadAt(data, offset); n < len(data) {
		return nil, fmt.Errorf("read %d bytes at %d of %s: %w", len(data), offset, f.name, err)
	}
	return data, nil
}

// readFooter reads the footer of a sealed segment. A footer that cannot be read is no loss: what it says stands in the segment.
// A block that the disk does not give back is one of the reasons.
func (r *recovery) readFooter(f *found) (read bool) {
	end := f.size &^ (blockSize - 1)
	if end < 2*blockSize {
		return false
	}
	last, err := r.readAt(f, end-blockSize, headerSize)
	if err != nil {
		return false
	}
	t, err := decodeTrailer(last, f.number)
	if err != nil {
		return false // it is not sealed, or it is read whole
	}
	data, err := r.readAt(f, t.footerOffset, int(t.footerLength))
	if err != nil || len(data) != int(t.footerLength) || footerChecksum(data) != t.footerSum {
		return false
	}
	if !f.begun {
		f.begun, f.header = true, segmentHeader{segment: f.number, first: t.first}
	}
	f.footer, f.first, f.next = data, t.first, t.last+1
	return true
}

// dropReplaced removes segments of which another is the copy, before anything else is changed: a copy of the copy must not be
// there without the copy while the original is. Files that were never begun become spare.
func (r *recovery) dropReplaced() error {
	s := r.store
	replaced := map[uint64]bool{}
	for _, f := range r.files {
		if f.begun && f.header.replaces != 0 {
			replaced[f.header.replaces] = true
		}
	}
	var gone []*found
	r.files = slices.DeleteFunc(r.files, func(f *found) bool {
		drop := replaced[f.number] || !f.begun
		if drop {
			gone = append(gone, f)
		}
		return drop
	})
	if len(gone) == 0 {
		return nil
	}
	// The name of a copy may stand in memory alone: a process that was killed before it synced the directory leaves it so.
	if err := s.directory.sync(); err != nil {
		return err
	}
	for _, f := range gone {
		if err := s.giveBack(&f.segment); err != nil {
			return err
		}
	}
	return s.directory.sync()
}

// replay builds the index. The last segment is applied from its copy, not from where it is. It is looked at first, since it
// says where the stream begins.
func (r *recovery) replay() error {
	s := r.store
	if len(r.files) == 0 {
		r.next = 1
		return nil
	}
	last := r.files[len(r.files)-1]
	tail := r.scanLast(last)
	r.floor = max(last.header.floor, tail.floor)
	r.dropOld()
	r.next = r.files[0].header.first
	s.index.oldest = r.next
	if r.floor != 0 && r.floor < r.next {
		s.options.Logger.Error("seglog: the oldest segments are missing", "dir", s.options.Dir, "from", r.floor, "to", r.next)
		s.index.oldest = r.floor
	}
	for i, f := range r.files {
		if f.header.first != r.next {
			r.gap(f)
		}
		f.first = f.header.first
		r.next = f.first
		var err error
		switch {
		case f == last:
			err = r.copyLast(f, tail)
		case f.footer != nil:
			err = r.replayFooter(f)
		default:
			r.replayData(f, r.files[i+1].header.first-1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// dropOld leaves segments out that were emptied, and whose files are still there: one of them without another would look like a hole.
//
// Their files stay until giveBackOld. That they were emptied is read in the last segment, and so is perhaps what was moved out of them:
// both may stand in the page cache alone until the copy is synced.
func (r *recovery) dropOld() {
	for len(r.files) > 1 && r.files[1].header.first <= r.floor {
		r.old = append(r.old, r.files[0])
		r.files = r.files[1:]
	}
}

// giveBackOld gives back what dropOld left out, once the segment that was begun says durably where the stream begins.
func (r *recovery) giveBackOld() error {
	for len(r.old) > 0 {
		old := r.old[0]
		r.old = r.old[1:]
		if err := r.store.giveBack(&old.segment); err != nil {
			return err
		}
	}
	return nil
}

// scanLast scans the last segment, also if it has a footer.
func (r *recovery) scanLast(f *found) scan {
	demanded := uint64(0)
	if f.footer != nil {
		demanded = f.next - 1
		f.data = r.store.directory.readAll(f.file, f.size)
	}
	return scanSegment(f.data, f.number, f.header.first, demanded)
}

// gap notes that a segment does not begin where the one before ended.
func (r *recovery) gap(f *found) {
	r.store.options.Logger.Error("seglog: groups are missing", "dir", r.store.options.Dir,
		"from", r.next, "to", f.header.first, "before", f.name)
}

// keepSegment makes a segment part of the stream.
func (r *recovery) keepSegment(kept *segment) {
	s := r.store
	s.order = append(s.order, kept)
	s.index.segments[uint32(kept.number)] = kept
}

func (r *recovery) replayFooter(f *found) error {
	x := r.store.index
	r.keepSegment(&f.segment)
	r.next = f.next
	var reader footerReader
	if err := reader.begin(f.footer); err != nil {
		return fmt.Errorf("%w: %s: %w", logdb.ErrDamaged, f.name, err)
	}
	var o operation
	for {
		more, first, err := reader.next(&o)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", logdb.ErrDamaged, f.name, err)
		}
		if !more {
			break
		}
		if first {
			r.follows(&o, uint32(f.number))
		}
		x.apply(&o, uint32(f.number))
	}
	f.footer = nil
	return nil
}

// replayData applies what is in a segment whose footer cannot be read, and which is not the last.
func (r *recovery) replayData(f *found, demanded uint64) {
	found := scanSegment(f.data, f.number, f.first, demanded)
	r.report(f, &found)
	r.keepSegment(&f.segment)
	f.next = demanded + 1
	r.next = f.next
	for i := range found.groups {
		r.apply(&found.groups[i], uint32(f.number))
	}
	f.data = nil
}

// apply applies the records of a group that was scanned.
func (r *recovery) apply(g *scanned, segment uint32) {
	x := r.store.index
	for i := range g.records {
		o := &g.records[i].operation
		r.identify(o, g.header.seq, segment)
		x.apply(o, segment)
	}
}

// identify gives a scanned record its id and checks that none is missing before it.
func (r *recovery) identify(o *operation, seq uint64, segment uint32) {
	x := r.store.index
	if o.kind == recordVoid {
		return
	}
	var last uint64
	if known := x.replicas[o.key]; known != nil {
		last = known.last
	}
	o.id = nextID(last, seq)
	r.follows(o, segment)
}

// report tells the log what a scan has found, and remembers whose damage it is.
func (r *recovery) report(f *found, found *scan) {
	logger := r.store.options.Logger
	if found.torn != 0 {
		logger.Info("seglog: the end of the stream is not whole and is cut off: nothing says that it was ever durable",
			"file", f.name, "offset", found.torn, "group", found.next)
	}
	for _, d := range found.damage {
		if !d.known {
			r.unread = append(r.unread, unread{f.name, d})
			logger.Error("seglog: damage whose owner cannot be read", "file", f.name, "offset", d.offset, "what", d.why)
			continue
		}
		logger.Error("seglog: damage", "file", f.name, "offset", d.offset, "replica", d.key, "what", d.why)
		d.why = fmt.Sprintf("%s at %d: %s", f.name, d.offset, d.why)
		r.damage = append(r.damage, d)
	}
}

// judge fences whoever lost something.
func (r *recovery) judge() {
	x := r.store.index
	for _, d := range r.damage {
		p := x.get(d.key)
		x.fence(d.key, p, fmt.Sprintf("%s; %s", d.why, p.extent()))
	}
	for _, key := range x.keys() {
		p := x.replicas[key]
		x.dropOldConfigs(p) // those that a compaction left since a newer one had been moved behind it
		v := view{store: r.store, key: key, replica: *p}
		if err := v.loadIndex(&raftpb.Stored{Compacted: p.compacted}); err != nil {
			x.fence(key, p, fmt.Sprintf("%s; %s", reasonOf(key, err), p.extent()))
		}
	}
}

// begin makes the store ready to write: a new segment, whose header is synced. It bears witness that all before it was synced.
func (r *recovery) begin() error {
	s, w := r.store, &r.store.writer
	w.seq = r.next - 1
	w.durable, w.witness, w.lastData = w.seq, w.seq, w.seq
	w.header = alignedBuffer(blockSize)[:blockSize]
	w.floor = r.next
	if len(s.order) > 0 {
		w.floor = s.order[0].first
	}
	s.index.oldest, s.index.replaying = w.floor, false
	for _, p := range s.index.replicas { // any order
		p.runs = fitRuns(p.runs)
	}
	s.index.died, s.index.wasted = 0, 0
	for _, segment := range s.order {
		s.index.wasted += segment.size - segment.live
	}
	next, err := s.nextSegment()
	if err != nil {
		return err
	}
	if err := s.begin(next); err != nil {
		return errors.Join(err, closeSegment(next))
	}
	return s.syncActive()
}
