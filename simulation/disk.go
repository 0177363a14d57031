package simulation

import (
	"errors"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

var errSync = errors.New("simulation: sync failed")

// disk is a host's log store: the model store, which completes a write when the world says so, with mirrors beside it. It
// implements logdb.LogDB and lives on when its host crashes.
type disk struct {
	host   *host
	store  store
	random random

	memory  map[logdb.ReplicaKey]*mirror // what was handed over; looked up, never iterated
	durable map[logdb.ReplicaKey]*mirror // what is known to survive a power cut
	keys    []logdb.ReplicaKey           // of durable, in the order of their first write

	uncertain []*write // handed over and not known durable, oldest first
	spare     []*write

	slowUntil, stalledUntil int64
	lastDue                 int64
	failed                  bool
	failedAt                int64 // when the host noticed, which it does at its next write
	full                    bool
	writes                  uint64
	lanes                   int // of a segmented log

	backup *backup

	disorder // of a disk on files
}

// backup is a copy of the disk that was made while the host was down.
type backup struct {
	store   store
	files   *vfs.MemFS // in place of store, if the disk is on files
	durable map[logdb.ReplicaKey]*mirror
	at      int64
}

// write is one Commit under way.
type write struct {
	number   uint64
	hand     uint64 // of a store on files
	life     uint32
	key      logdb.ReplicaKey // on a disk with lanes: whose it is
	mustSync bool
	updates  []update
}

func newDisk(h *host) *disk {
	d := &disk{host: h, random: h.world.random.fork(), lanes: drawLanes(&h.world.options, h.index)}
	d.wipe()
	return d
}

// wipe makes the disk empty.
func (d *disk) wipe() {
	d.memory, d.durable = map[logdb.ReplicaKey]*mirror{}, map[logdb.ReplicaKey]*mirror{}
	d.keys, d.uncertain, d.failed, d.failedAt = nil, nil, false, 0
	if isFiled(d.host.world.options.LogDB) {
		d.restoreFiles(vfs.NewCrashableMem())
	} else {
		d.store = modellog.New(modellog.Options{})
	}
}

// Name implements logdb.LogDB.
func (d *disk) Name() string { return "simulation" }

// group wraps a group of the store and notes what it is given.
type group struct {
	disk    *disk
	inner   logdb.Group
	updates []update
}

// NewGroup implements logdb.LogDB.
func (d *disk) NewGroup() logdb.Group { return &group{disk: d, inner: d.store.NewGroup()} }

// Save implements logdb.Group.
func (g *group) Save(save *raftpb.Save) error {
	if err := g.disk.refuses(save); err != nil {
		return err
	}
	if err := g.inner.Save(save); err != nil {
		return err
	}
	g.updates = append(g.updates, update{})
	u := &g.updates[len(g.updates)-1]
	updateOf(save, u)
	h, w := g.disk.host, g.disk.host.world
	w.trace.add(record{at: w.now, kind: recordWrite, host: int32(h.index), shard: save.ShardID, numbers: [6]uint64{
		save.Number, save.State.Term, save.State.Vote, save.TruncateFrom, uint64(len(save.Batches)), u.first + uint64(len(u.entries)) - 1}})
	if s := w.shardAt(h, save.ShardID); s != nil {
		s.noteConfigurations(save)
		s.sessions.note(save)
	}
	w.checkWrite(h, u)
	return nil
}

// Compact implements logdb.Group.
func (g *group) Compact(key logdb.ReplicaKey, index, term uint64) {
	g.inner.Compact(key, index, term)
	u := update{key: key, compact: index}
	g.updates = append(g.updates, u)
	g.disk.host.world.checkCompaction(g.disk.host, &u, term)
}

// Remove implements logdb.Group.
func (g *group) Remove(key logdb.ReplicaKey) {
	g.inner.Remove(key)
	g.updates = append(g.updates, update{key: key, remove: true, mustSync: true})
	delete(g.disk.memory, key)
}

// Bytes implements logdb.Group.
func (g *group) Bytes() int { return g.inner.Bytes() }

// MustSync implements logdb.Group.
func (g *group) MustSync() bool { return g.inner.MustSync() }

// Empty implements logdb.Group.
func (g *group) Empty() bool { return g.inner.Empty() }

// Commit implements logdb.LogDB: the write completes after a drawn time, in order.
func (d *disk) Commit(groups []logdb.Group, done func(error)) {
	inner := make([]logdb.Group, len(groups))
	if d.failed && d.onFiles() == nil {
		for i, g := range groups {
			inner[i] = g.(*group).inner
		}
		d.store.Commit(inner, done)
		return
	}
	d.writes++
	wr := &write{number: d.writes, life: d.host.life}
	if n := len(d.spare); n > 0 {
		wr, d.spare = d.spare[n-1], d.spare[:n-1]
		*wr = write{number: d.writes, life: d.host.life, updates: wr.updates[:0]}
	}
	for i, g := range groups {
		own := g.(*group)
		inner[i] = own.inner
		wr.mustSync = wr.mustSync || own.MustSync()
		wr.updates = append(wr.updates, own.updates...)
	}
	parts := d.split(wr)
	d.uncertain = append(d.uncertain, parts...)
	d.store.Commit(inner, func(err error) { d.completed(wr.number, parts, err, done) })
	d.schedule()
}

// schedule lets the oldest write complete after a while.
func (d *disk) schedule() {
	w := d.host.world
	latency := d.random.between(int64(50*time.Microsecond), int64(600*time.Microsecond))
	if w.now < d.slowUntil {
		latency = d.random.between(int64(5*time.Millisecond), int64(250*time.Millisecond))
	}
	d.lastDue = max(d.lastDue, w.now) + latency
	w.agenda.push(event{at: d.lastDue, kind: eventDisk, host: int32(d.host.index), life: d.host.life})
}

// due completes the oldest write, unless the disk is stalled.
func (d *disk) due() {
	w := d.host.world
	if w.now < d.stalledUntil {
		w.agenda.push(event{at: d.stalledUntil, kind: eventDisk, host: int32(d.host.index), life: d.host.life})
		return
	}
	d.store.Complete(1)
}

// completed follows the store: the write, and all before it, are durable if it was to be synced.
func (d *disk) completed(number uint64, parts []*write, err error, done func(error)) {
	h, w := d.host, d.host.world
	r := record{at: w.now, kind: recordSync, host: int32(h.index), numbers: [6]uint64{number}}
	if err != nil {
		r.text = " failed"
		d.noteFailure()
	}
	w.trace.add(r)
	for _, wr := range parts {
		if err == nil && wr.mustSync {
			d.hardenUpTo(wr)
		}
	}
	done(err)
}

// harden makes a write durable in the mirror.
func (d *disk) harden(wr *write) {
	if d.onFiles() != nil {
		d.follow(wr)
	}
	for i := range wr.updates {
		u := &wr.updates[i]
		if u.remove {
			delete(d.durable, u.key)
			continue
		}
		m := d.durable[u.key]
		if m == nil {
			m = &mirror{}
			d.durable[u.key] = m
			d.remember(u.key)
		}
		m.apply(u)
		if i > 0 && wr.updates[i-1].remove && wr.updates[i-1].key == u.key && u.incarnation != 0 {
			d.host.world.checkBegunAnew(d.host.places[u.key.ShardID-1], u.incarnation)
		}
		d.host.world.checkDurable(d.host, m, u)
	}
}

func (d *disk) remember(key logdb.ReplicaKey) {
	for _, known := range d.keys {
		if known == key {
			return
		}
	}
	d.keys = append(d.keys, key)
}

// fail makes every write from now on fail, as after a failed sync (R9).
func (d *disk) fail() {
	if d.onFiles() == nil { // files fail when they are synced next
		d.noteFailure()
	}
	d.store.Fail(errSync)
}

func (d *disk) noteFailure() {
	d.failed = true
}

// crash cuts the power: of what is not known durable a drawn prefix is there afterwards.
func (d *disk) crash() {
	model, ok := d.store.(*modellog.Log)
	if !ok {
		d.crashFiles()
		return
	}
	kept := 0
	d.store = model.Crash(func(n int) int {
		if n != len(d.uncertain) {
			d.host.world.violate("simulator", "host %d: the store has %d uncertain writes, the mirror %d", d.host.index+1, n, len(d.uncertain))
			return 0
		}
		if d.random.chance(0.5) {
			kept = d.random.below(n + 1)
		}
		return kept
	})
	if len(d.uncertain) > kept {
		d.host.world.counters.add(countLostWrites, len(d.uncertain)-kept)
	}
	for _, wr := range d.uncertain[:min(kept, len(d.uncertain))] {
		d.harden(wr)
	}
	d.uncertain = nil
	d.settle()
}

// settle begins a life of the host: what is durable is what there is.
func (d *disk) settle() {
	d.memory = make(map[logdb.ReplicaKey]*mirror, len(d.durable))
	for _, key := range d.keys {
		if m := d.durable[key]; m != nil {
			d.memory[key] = m.clone()
		}
	}
	d.failed, d.failedAt, d.full, d.slowUntil, d.stalledUntil, d.lastDue = false, 0, false, 0, 0, 0
}

// keepBackup copies the disk of a host that is down.
func (d *disk) keepBackup() {
	if d.damaged {
		return
	}
	b := &backup{durable: d.clone(), at: d.host.world.now}
	if s := d.onFiles(); s != nil {
		b.files = s.files.copy()
	} else {
		closed := d.store.(*modellog.Log)
		_ = closed.Close()
		d.store, b.store = closed.Reopen(), closed.Reopen()
	}
	d.backup = b
}

// restoreBackup puts the old copy back.
func (d *disk) restoreBackup() {
	d.durable = d.backup.durable
	if d.backup.files != nil {
		d.restoreFiles(d.backup.files)
	} else {
		d.store = d.backup.store
	}
	d.backup = nil
	d.settle()
}

// Load implements logdb.LogDB.
func (d *disk) Load(key logdb.ReplicaKey) (raftpb.Stored, error) {
	stored, err := d.store.Load(key)
	if errors.Is(err, logdb.ErrDamaged) {
		d.damageRead(key, err)
		d.host.places[key.ShardID-1].hurt = 0 // whoever is started on that remembers nothing
	}
	return stored, err
}

// Read implements logdb.LogDB.
func (d *disk) Read(key logdb.ReplicaKey, from, to uint64, maxBytes int, into []raftpb.Batch) ([]raftpb.Batch, error) {
	d.host.world.counters.add(countLogReads, 1)
	batches, err := d.store.Read(key, from, to, maxBytes, into)
	if errors.Is(err, logdb.ErrDamaged) {
		d.damageRead(key, err)
	}
	return batches, err
}

// List implements logdb.LogDB.
func (d *disk) List() ([]logdb.ReplicaKey, error) { return d.store.List() }

// Close implements logdb.LogDB.
func (d *disk) Close() error { return nil }

// hash reads everything that is stored.
func (d *disk) hash() uint64 {
	keys, err := d.store.List()
	if err != nil {
		return 0
	}
	h := uint64(len(keys))
	for _, key := range keys {
		stored, err := d.store.Load(key)
		if err != nil {
			return 0
		}
		h = mix(h ^ key.ShardID<<32 ^ key.ReplicaID ^ stored.State.Term<<16 ^ stored.State.Vote ^ stored.Bootstrap.Incarnation)
		for next := stored.Compacted + 1; next <= stored.Last; {
			batches, err := d.store.Read(key, next, stored.Last, 1<<20, nil)
			if err != nil {
				return 0
			}
			for _, batch := range batches {
				h = hashBytes(h, batch)
				next = batch.Last() + 1
			}
		}
	}
	return h
}

// promises is a host's promise store (R14). A record is durable when Record returns.
type promises struct {
	records map[logdb.ReplicaKey]raft.Promised // looked up, never iterated
}

// Promised implements engine.PromiseStore.
func (p *promises) Promised(key logdb.ReplicaKey) raft.Promised { return p.records[key] }

// Record implements engine.PromiseStore.
func (p *promises) Record(records []engine.PromiseRecord) error {
	for _, r := range records {
		if r.Forgotten {
			delete(p.records, r.Key)
			continue
		}
		p.records[r.Key] = r.Promised
	}
	return nil
}
