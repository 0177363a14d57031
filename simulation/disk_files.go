package simulation

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// disorder is what a disk on files keeps beside the mirrors: what may be missing without a word once files were damaged (R11).
type disorder struct {
	damaged bool // files were damaged, or may have been, since the disk was empty
	harm    damage
	// logHit says that a write-ahead log is among what is damaged: its end may be missing without a word, see take.
	logHit bool
	// manifestHit: likewise a manifest, whose last record may be missing without a word, and with it tables.
	manifestHit bool
	// struck: the files were well until the power went, and then one place in them was damaged.
	struck bool
	// astray: a write went astray over a log, which may take more of a replica than a struck place, see gone.
	astray bool
	// older is what was durable before the writes of trail.
	older map[logdb.ReplicaKey]*mirror
	trail []*write
}

// trailWrites is how many writes are remembered in the trail: more than most logs have.
const trailWrites = 1000

// onFiles returns the disk's store if it is on files, else nil.
func (d *disk) onFiles() *fileStore {
	s, _ := d.store.(*fileStore)
	return s
}

// openFiles opens the store on what is in memory. The power may be cut while it is opened, and then it is opened again.
func (d *disk) openFiles(memory *vfs.MemFS) error {
	w := d.host.world
	for d.random.chance(0.25) {
		image, err := d.openCut(memory)
		if err != nil {
			return err
		}
		w.counters.add(countCutOpen, 1)
		memory = image
	}
	s, err := openFileStore(w.options.LogDB, memory, d.lanes, d.random.fork(), 0, func() int64 { return w.now })
	if err != nil {
		return err
	}
	s.files.ignoreSyncs = w.options.ignoreSyncs
	d.store = s
	return nil
}

// openCut opens the store with a power cut in the midst and returns what that leaves.
func (d *disk) openCut(memory *vfs.MemFS) (*vfs.MemFS, error) {
	w := d.host.world
	s, err := openFileStore(w.options.LogDB, memory, d.lanes, d.random.fork(), 1+d.random.below(24), func() int64 { return w.now })
	if err != nil {
		return nil, err
	}
	image, what := s.cut()
	d.countCut(what)
	return image, nil
}

func (d *disk) countCut(what cutting) {
	c := &d.host.world.counters
	if what.torn {
		c.add(countTornWrite, 1)
	}
	if what.unsynced {
		c.add(countPartlyKept, 1)
	}
	c.add(countLostName, what.lostNames)
	if what.apart {
		c.add(countCutApart, 1)
	}
}

// closeFiles ends the store's goroutines.
func (d *disk) closeFiles() {
	if s := d.onFiles(); s != nil {
		_ = s.Close() // it may have failed
	}
}

// crashFiles cuts the power of a disk on files, opens what is left, and finds out what that is.
func (d *disk) crashFiles() {
	w, s := d.host.world, d.onFiles()
	image, what := s.cut()
	d.countCut(what)
	d.countFaults(s.files)
	d.addLane()
	d.damaged = d.damaged || s.files.isDamaged()
	d.logHit, d.manifestHit = s.files.isHit(fileLog), s.files.isHit(fileManifest)
	d.struck, d.astray = d.harm != damageNone && !d.damaged, s.files.overlog
	if d.harm != damageNone {
		d.damaged = true
		name, err := harm(image, d.harm, &d.random)
		d.logHit = d.logHit || classOf(name) == fileLog
		d.manifestHit = d.manifestHit || classOf(name) == fileManifest
		if err != nil {
			w.violate("simulator", "host %d: damaging a file: %v", d.host.index+1, err)
		}
		if name != "" {
			w.nemesis.note(d.host, "damage to "+name, uint64(d.harm), 0)
			w.counters.add(map[damage]counter{damageFlip: countFlippedBit, damageZero: countZeroedSector}[d.harm], 1)
		}
		d.harm = damageNone
	}
	d.reopen(image)
	d.uncertain = nil
	d.settle()
}

func (d *disk) countFaults(f *files) {
	c := &d.host.world.counters
	c.add(countFileSyncFailed, int(f.counts.failedSyncs))
	c.add(countNoSpace, int(f.counts.full))
	c.add(countLostFileWrite, int(f.counts.lost))
	c.add(countMisdirected, int(f.counts.misdirected))
}

// reopen opens what a power cut left. Undamaged files have everything that was durable and of what was under way the first
// writes, whole. Damaged files are refused, or the logs that lack something are known.
func (d *disk) reopen(image *vfs.MemFS) {
	w := d.host.world
	err := d.openFiles(image)
	switch {
	case err != nil && d.damaged && errors.Is(err, logdb.ErrDamaged):
		w.counters.add(countRefusedDisk, 1)
		d.replace()
		return
	case err != nil:
		w.violate("durability", "host %d: the log store does not open after a power cut: %v", d.host.index+1, err)
		d.replace()
		return
	}
	found, err := d.found()
	if err != nil {
		w.violate("durability", "host %d: the log store cannot be read after a power cut: %v", d.host.index+1, err)
		return
	}
	d.take(found)
}

// replace puts an empty disk in the place of one that cannot be used. The record of promises is elsewhere.
func (d *disk) replace() {
	w := d.host.world
	d.host.snapshots = newSnapshotFiles()
	d.host.replaceMachines()
	d.wipe()
	d.backup = nil
	for _, p := range d.host.places {
		if p != nil {
			w.lose(p)
		}
	}
}

// content is what a store holds.
type content struct {
	logs    map[logdb.ReplicaKey]*mirror
	damaged map[logdb.ReplicaKey]bool
}

// found reads everything that the store holds.
func (d *disk) found() (content, error) {
	c := content{map[logdb.ReplicaKey]*mirror{}, map[logdb.ReplicaKey]bool{}}
	for _, p := range d.host.places {
		if p == nil {
			continue
		}
		key := keyOf(p)
		m, err := d.readMirror(key)
		switch {
		case errors.Is(err, logdb.ErrNotFound):
		case errors.Is(err, logdb.ErrDamaged) && d.damaged:
			c.damaged[key] = true
		case err != nil:
			return c, err
		default:
			c.logs[key] = m
		}
	}
	return c, nil
}

// readMirror reads a whole log.
func (d *disk) readMirror(key logdb.ReplicaKey) (*mirror, error) {
	db := d.store
	stored, err := db.Load(key)
	if err != nil {
		return nil, err
	}
	m := &mirror{incarnation: stored.Bootstrap.Incarnation, state: stored.State}
	known := append([]*mirror{d.durable[key], d.memory[key], d.older[key]}, d.removals(key)...)
	if !d.prefix(m, &stored, known...) {
		return nil, fmt.Errorf("%v: the log begins behind entry %d of term %d, which it never held", key, stored.Compacted, stored.CompactedTerm)
	}
	for m.last() < stored.Last {
		batches, err := db.Read(key, m.last()+1, stored.Last, 1<<20, nil)
		if err != nil {
			return nil, err
		}
		if len(batches) > 0 && batches[0].First() <= m.last() && batches[0].Last() > m.last() && m.last() == stored.Compacted {
			if batches[0], err = batches[0].Cut(m.last()+1, batches[0].Last()); err != nil {
				return nil, err
			}
		}
		if len(batches) == 0 || batches[0].First() != m.last()+1 {
			return nil, fmt.Errorf("%v: nothing is read at entry %d, the log ends at %d", key, m.last()+1, stored.Last)
		}
		var u update
		updateOf(&raftpb.Save{Batches: batches}, &u)
		m.entries = append(m.entries, u.entries...)
	}
	return m, nil
}

// take finds out which of the writes that are not known durable are there, and makes that what is durable.
//
// What was durable is there, whole and unchanged, with two exceptions. A log that is damaged is known to its owner. And damage in
// the newest write-ahead log may look like its torn end: Pebble's chunks say how far the log was synced before them, but what is written in
// whole blocks is not counted there, so they lag behind. All that is demanded then is that nothing is missing in the middle. Nor does
// anything bear witness of the last record of a manifest; what is missing then must show in the record of promises (R14).
func (d *disk) take(found content) {
	w := d.host.world
	base, doubtful := d.durable, []*write(nil)
	if d.damaged {
		base, doubtful = d.older, d.trail
	}
	known := len(doubtful)
	least := known
	if d.logHit {
		least = d.witnessed()
	}
	doubtful = append(slices.Clone(doubtful), d.uncertain...)
	if d.lanes > 1 {
		d.takeApart(found, base, doubtful, known, least)
		d.taken(found)
		return
	}
	kept := d.match(base, doubtful, found)
	if kept < least && !d.manifestHit && !d.apart(base, doubtful, found) {
		w.violate("durability", "host %d: after a power cut the log store has not what was durable with the first of the %d writes under way , of which only "+
			"the last %d may be missing (%d are there, files damaged: %v): %s", d.host.index+1, len(doubtful), len(doubtful)-least, kept, d.damaged, d.difference(found))
		return
	}
	if lost := len(doubtful) - max(kept, known); lost > 0 {
		w.counters.add(countLostWrites, lost)
	}
	if kept < known {
		d.lessThanDurable(found)
	} else {
		for _, wr := range d.uncertain[:kept-known] {
			d.harden(wr)
		}
	}
	d.taken(found)
}

// taken notes which logs are damaged, and where the others begin.
func (d *disk) taken(found content) {
	for _, key := range d.keys {
		if m, log := d.durable[key], found.logs[key]; m != nil && log != nil {
			m.begins = log.compacted
		}
	}
	for _, p := range d.host.places {
		if p != nil && found.damaged[keyOf(p)] {
			d.host.world.counters.add(countDamagedLog, 1)
			d.loseLog(p)
		}
	}
	d.damaged = len(found.damaged) > 0
	d.remain()
}

// remain begins the trail anew: what was found is in tables by now.
func (d *disk) remain() {
	d.older, d.trail = d.clone(), nil
}

func (d *disk) clone() map[logdb.ReplicaKey]*mirror {
	c := make(map[logdb.ReplicaKey]*mirror, len(d.durable))
	for _, key := range d.keys {
		if m := d.durable[key]; m != nil {
			c[key] = m.clone()
		}
	}
	return c
}

// match returns with how many of the writes the base is what was found, the most if there are several such numbers, -1 if none.
// Damaged logs are not looked at.
func (d *disk) match(base map[logdb.ReplicaKey]*mirror, writes []*write, found content) int {
	var keys []logdb.ReplicaKey
	state := map[logdb.ReplicaKey]*mirror{}
	for _, p := range d.host.places {
		if p == nil || found.damaged[keyOf(p)] {
			continue
		}
		key := keyOf(p)
		keys = append(keys, key)
		if m := base[key]; m != nil {
			state[key] = m.clone()
		}
	}
	best := -1
	for n := 0; ; n++ {
		if !slices.ContainsFunc(keys, func(key logdb.ReplicaKey) bool { return !state[key].equal(found.logs[key]) }) {
			best = n
		}
		if n == len(writes) {
			return best
		}
		for i := range writes[n].updates {
			applyTo(state, &writes[n].updates[i])
		}
	}
}

// apart reports whether a segmented log that was hit holds for each replica what it held at some time, though not for all at the same. If the
// header of a record is damaged nothing tells whose it was but the next record of that replica; so whoever has none is as it was before.
func (d *disk) apart(base map[logdb.ReplicaKey]*mirror, writes []*write, found content) bool {
	if d.host.world.options.LogDB != seglogLogDB || !d.logHit {
		return false
	}
	for _, p := range d.host.places {
		if p == nil || found.damaged[keyOf(p)] {
			continue
		}
		if m := base[keyOf(p)]; m != nil && len(m.entries) == 0 && found.logs[keyOf(p)] == nil && !writtenTwice(writes, keyOf(p)) {
			continue // all that it had may be the one record that was hit, which nothing tells the owner of
		}
		if d.gone(p, found) {
			continue
		}
		alone := content{logs: found.logs, damaged: map[logdb.ReplicaKey]bool{}}
		for _, other := range d.host.places {
			if other != nil && other != p {
				alone.damaged[keyOf(other)] = true
			}
		}
		kept := d.match(base, writes, alone)
		if kept < 0 || d.struck && groupsOf(writes[kept:max(kept, len(d.trail))], keyOf(p)) > struckGroups {
			return false
		}
	}
	return true
}

// struckGroups is how many groups of the segmented log one struck place reaches at most: they begin at blocks, and it is no longer than one.
const struckGroups = 2

// witnessed returns how many writes of the trail cannot be missing without a word, although a log was hit. In the segmented log each group bears
// witness of those before it (R11), so one struck place can take the last ones with it and no others.
func (d *disk) witnessed() int {
	if !d.struck || d.host.world.options.LogDB != seglogLogDB {
		return 0
	}
	least, groups := len(d.trail), 0
	for last := uint64(0); least > 0; least-- {
		if hand := d.trail[least-1].hand; hand != last {
			last = hand
			if groups++; groups > struckGroups {
				break
			}
		}
	}
	return least
}

// groupsOf returns in how many groups there is something of a replica.
func groupsOf(writes []*write, key logdb.ReplicaKey) (groups int) {
	last := uint64(0)
	for _, wr := range writes {
		if wr.hand != last && slices.ContainsFunc(wr.updates, func(u update) bool { return u.key == key && u.compact == 0 }) {
			last = wr.hand
			groups++
		}
	}
	return groups
}

// writtenTwice reports whether more than one of the writes is of a replica: what one fault hits of it is not all then, and the rest tells.
func writtenTwice(writes []*write, key logdb.ReplicaKey) bool {
	count := 0
	for _, wr := range writes {
		if slices.ContainsFunc(wr.updates, func(u update) bool { return u.key == key }) {
			count++
		}
	}
	return count > 1
}

func applyTo(logs map[logdb.ReplicaKey]*mirror, u *update) {
	if u.remove {
		delete(logs, u.key)
		return
	}
	if logs[u.key] == nil {
		logs[u.key] = &mirror{}
	}
	logs[u.key].apply(u)
}

// equal compares a log with one that was found; nil is one that does not exist. What was compacted last may be there yet.
func (m *mirror) equal(other *mirror) bool {
	if m == nil || other == nil {
		return m == other
	}
	return m.incarnation == other.incarnation && m.state == other.state && slices.Equal(m.entries, other.entries) &&
		m.installing == other.installing && m.floor <= other.compacted && other.compacted <= m.compacted
}

// lessThanDurable: damage took the last writes of the log, of which none bore witness. Where the record of promises shows it,
// the replicas have to abstain (R14). Where it does not nothing is guaranteed; then the disk is replaced.
func (d *disk) lessThanDurable(found content) {
	w := d.host.world
	w.counters.add(countTailDamaged, 1)
	var less []*place
	for _, p := range d.host.places {
		if p == nil || found.damaged[keyOf(p)] || d.durable[keyOf(p)].equal(found.logs[keyOf(p)]) {
			continue
		}
		m := found.logs[keyOf(p)]
		if m == nil {
			m = &mirror{}
		}
		if !noticed(m, d.host.promise.records[keyOf(p)]) {
			d.replace()
			return
		}
		p.held = nil
		if p.sound() {
			less = append(less, p)
		}
	}
	for _, p := range d.host.places {
		if p == nil || found.damaged[keyOf(p)] {
			continue
		}
		delete(d.durable, keyOf(p))
		if m := found.logs[keyOf(p)]; m != nil {
			d.durable[keyOf(p)] = m
		}
	}
	for _, p := range less {
		d.loseLog(p)
	}
}

// difference describes the first log that is not as it was durable.
func (d *disk) difference(found content) string {
	for _, p := range d.host.places {
		if p == nil || found.damaged[keyOf(p)] {
			continue
		}
		want, got := d.durable[keyOf(p)], found.logs[keyOf(p)]
		switch {
		case want.equal(got):
		case want == nil || got == nil:
			return fmt.Sprintf("%s: there %v, durable %v", p.describe(), got != nil, want != nil)
		default:
			return fmt.Sprintf("%s: found incarnation %x, %+v, last entry %d of term %d; durable were incarnation %x, %+v, last entry %d of term %d",
				p.describe(), got.incarnation, got.state, got.last(), got.lastTerm(), want.incarnation, want.state, want.last(), want.lastTerm())
		}
	}
	return "every log is as it was durable, writes under way are there in part"
}

// follow keeps the trail of a write that became durable.
func (d *disk) follow(wr *write) {
	copied := &write{number: wr.number, hand: d.onFiles().told, updates: make([]update, len(wr.updates))}
	for i := range wr.updates {
		copied.updates[i] = wr.updates[i]
		copied.updates[i].entries = slices.Clone(wr.updates[i].entries)
	}
	d.trail = append(d.trail, copied)
	for len(d.trail) > trailWrites {
		for i := range d.trail[0].updates {
			applyTo(d.older, &d.trail[0].updates[i])
		}
		d.trail = d.trail[1:]
	}
}

// restoreFiles opens the store on other files than before, which are not damaged.
func (d *disk) restoreFiles(memory *vfs.MemFS) {
	d.closeFiles()
	d.damaged = false
	if err := d.openFiles(memory); err != nil {
		d.host.world.violate("durability", "host %d: the log store does not open: %v", d.host.index+1, err)
	}
	d.remain()
}

// damageRead notes that a running replica has met damage in its log.
func (d *disk) damageRead(key logdb.ReplicaKey, err error) {
	w, s := d.host.world, d.onFiles()
	if s == nil || !d.damaged && !s.files.isDamaged() {
		w.violate("durability", "host %d: reading what nobody has damaged: %v", d.host.index+1, err)
		return
	}
	if p := d.host.places[key.ShardID-1]; p.sound() {
		w.counters.add(countDamagedLog, 1)
		d.loseLog(p)
		p.hurt = d.host.life
		p.notesHeld()
	}
}

// loseLog notes that a log is lost to damage. An older copy of it may be whole, and nothing would notice that it comes back.
func (d *disk) loseLog(p *place) {
	d.backup = nil
	d.host.world.lose(p)
}

// checkFailure: a log store on files fails only after a fault of them.
func (d *disk) checkFailure(err error) {
	s := d.onFiles()
	if s == nil || d.mayFail() {
		return
	}
	s.files.mu.Lock()
	faults := s.files.counts.failedSyncs + s.files.counts.full
	s.files.mu.Unlock()
	if faults == 0 {
		d.host.world.violate("durability", "host %d: the log store fails although nothing was wrong with its files: %v", d.host.index+1, err)
	}
}
