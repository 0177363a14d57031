package simulation

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/rsm"
)

// host is one simulated machine: clock, disk and place survive a crash, the engine does not.
type host struct {
	world   *World
	index   int
	address string
	random  random
	clock   clock
	disk    *disk
	promise *promises
	// snapshots are those of its state machines, in files.
	snapshots *snapshotFiles
	running   *coroutine // whose turn it is
	machines  *machineFiles

	identity  uint64 // host ID, part of the data directory
	epoch     uint64 // likewise
	life      uint32 // counts the starts in this world
	up        bool
	paused    int64 // nothing runs here before this instant
	pausedAt  int64 // since when
	jumped    int64 // when the clock jumped last
	slowApply int64 // its state machines take their time for every turn before this instant
	lazy      bool  // workers of this host are often run late

	endpoint *endpoint
	engine   *engine.Engine
	slots    []slot
	places   []*place // by shard, nil where the shard has no member here
	// overtakes is the place in whose stead that of a former life is there, while an import into that one is finished.
	overtakes *place

	leaderChecks []leaderCheck
	commitChecks []commitCheck
	doom         int    // crash after so many more runs of workers; 0 for never
	doomed       func() // the crash
	stoppingAll  bool
}

// slot is a worker with what the world knows of it.
type slot struct {
	worker   engine.Worker
	routine  *coroutine // it is on its way inside a user's code
	queued   bool       // an eventWorker is scheduled
	deadline raft.Instant
	timer    int64 // the earliest eventTimer that is scheduled, 0 for none
}

type placeState uint8

const (
	placeStopped placeState = iota
	placeStarting
	placeRunning
	placeStopping
)

// place is where a host has a replica of a shard.
type place struct {
	host    *host
	shard   *shard
	replica *engine.Replica
	machine *machine
	state   placeState
	wanted  bool
	// runsSince is when the replica was started in this life of the host, 0 if it was not.
	runsSince int64
	// joins: it starts as a replica that waits for a leader to know it; told it was removed: gone.
	joins, gone bool
	changedAt   int64 // when its membership became another one
	// heard is when a message of each host's replica last came here, told when one came that tells it to campaign.
	heard [maxHosts]int64
	// answered is when it last answered to what a leader here had sent, silence when it last did after half an election timeout
	// without an answer.
	answered, silence [maxHosts]int64
	told              int64
	failure           failure
	untaken           untaken
	offeredAt         int64 // when something of a snapshot came last
	// ledAt is when a message of a leader came last, ledBy its host; handsOver: it has told another one to take over since it was started.
	ledAt     int64
	ledBy     int
	handsOver bool
	// removed: its data is to be removed once it is stopped; removing: that is on its way to the disk.
	removed, removing bool
	// lost says that the replica's storage lost what it had promised, so that it may abstain for good; the incarnation
	// before it does not vote any more.
	lost   bool
	lostAt int64
	// hurt is the life of the host in which the running replica met the damage that lost says: until that life ends it knows all that it promised.
	hurt uint32
	// held and resumed: see rediscovery.go.
	held    *mirror
	resumed bool
	// Of a state machine on disk: what it had applied when a Sync that has ended began, 0 since a Recover; and what it has written last.
	synced, written uint64
	durable         durableJournal
	acts            // what operators do
	// healed says that the shard knows the replica by another incarnation since, which has promised nothing yet.
	healed bool
}

func newHost(w *World, index int) *host {
	h := &host{
		world: w, index: index, address: fmt.Sprintf("host%d:1", index+1), random: w.random.fork(), life: 0,
		promise: &promises{records: map[logdb.ReplicaKey]raft.Promised{}},
	}
	h.identity = h.random.next() | 1
	h.snapshots, h.machines = newSnapshotFiles(), newMachineFiles()
	h.disk = newDisk(h)
	h.clock = clock{base: h.random.between(int64(time.Second), int64(1000*time.Hour)), pace: 1}
	return h
}

func (h *host) now() raft.Instant { return h.clock.at(h.world.now) }

// boot starts the process on what the disk has.
func (h *host) boot() {
	w := h.world
	h.life++
	h.epoch++
	h.up = true
	h.stoppingAll = false
	h.leaderChecks, h.commitChecks = nil, nil
	h.endpoint = newEndpoint(h)
	directory, err := h.openDirectories()
	if err != nil {
		w.violate("snapshot", "host %d: the directory of snapshots does not open: %v", h.index+1, err)
		return
	}
	if directory != nil {
		if err := h.finishImport(h.stores(directory, nil)); err != nil {
			w.violate("import", "host %d: an import that was decided is not finished: %v", h.index+1, err)
			return
		}
	}
	e, err := engine.New(engine.Options{
		Snapshots: directory, Yield: h.hand, SnapshotWorkers: 1 + int(h.epoch%2), RecoverWorkers: 2, StreamWorkers: 2,
		SnapshotChunkBytes: w.plan.snapshots.chunk, SnapshotWindowBytes: 2 * w.plan.snapshots.chunk,
		SnapshotStreamBytesPerSecond: w.plan.snapshots.rate,
		Address:                      h.address, LogDB: h.disk, Transport: h.endpoint, Promises: h.promise,
		Cache:       logdb.NewCache(logdb.CacheOptions{Bytes: w.plan.cacheBytes}),
		Random:      h.random.next,
		Clock:       hostClock{h},
		Listener:    h.listen,
		StepWorkers: w.plan.stepWorkers, ApplyWorkers: w.plan.applyWorkers,
		RequestTimeout: w.plan.requestTimeout, MaxStall: w.plan.maxStall,
		MaxWriteBytes: w.plan.writeBytes, MaxBatchBytes: w.plan.batchBytes,
	})
	if err != nil {
		w.violate("simulator", "engine of host %d: %v", h.index+1, err)
		return
	}
	h.engine = e
	h.slots = h.slots[:0]
	for _, worker := range e.Workers() {
		h.slots = append(h.slots, slot{worker: worker, deadline: raft.Never})
	}
	if err := h.endpoint.Start(e); err != nil {
		w.violate("simulator", "transport of host %d: %v", h.index+1, err)
	}
	h.fill(w.tight)
	for _, p := range h.places {
		if p != nil && p.erase {
			p.remove()
		} else if p != nil && p.wanted {
			p.start()
		}
	}
	h.wake()
}

// crash ends the process and cuts the power of its disk.
func (h *host) crash() {
	if !h.up {
		return
	}
	w := h.world
	h.up = false
	h.paused, h.pausedAt, h.doom, h.slowApply = 0, 0, 0, 0
	w.orphan(h)
	h.disk.interrupted()
	h.disk.crash()
	h.snapshots.crash()
	h.machines.crash()
	h.endRoutines()
	for _, p := range h.places {
		if p != nil {
			p.state, p.replica, p.machine, p.runsSince = placeStopped, nil, nil, 0
			if p.removing && h.disk.durable[keyOf(p)] != nil && p.reached() { // the removal was lost, not the data
				p.lost = false
			} else if p.removing {
				p.removeMachine()
			}
			p.removed, p.removing = false, false
			p.rediscovers()
			p.awakes()
		}
	}
	w.network.hostGone(h)
	if w.plan.backups && h.disk.backup == nil && h.random.chance(0.5) {
		h.disk.keepBackup()
	}
}

// start begins to run the replica of a place.
func (p *place) start() {
	h := p.host
	if !h.up || p.state != placeStopped || p.away || !p.present() {
		return
	}
	p.state = placeStarting
	p.cure()
	p.ledAt, p.handsOver = 0, false
	life := h.life
	options := engine.ReplicaOptions{ShardID: p.shard.id, ReplicaID: uint64(h.index + 1), Join: p.joins, Raft: h.world.plan.raft,
		Snapshots: h.world.plan.snapshots.policy(), Audit: h.world.options.Audit}
	if !p.joins {
		options.Members, options.Priorities = p.shard.members, p.shard.priorities(h.world.plan)
		options.Kinds = p.shard.kinds
	}
	p.gone = false
	factory := func(uint64, uint64) (rsm.StateMachine, error) {
		machine, err := newMachine(h, p.shard)
		p.machine = machine
		if err != nil {
			return nil, err
		}
		return machine.ofKind(p.shard.machineKind), nil
	}
	h.engine.StartReplica(options, factory, func(r *engine.Replica, err error) {
		if h.life != life || !h.up {
			return
		}
		if err != nil {
			p.state, p.machine = placeStopped, nil
			if !errors.Is(err, engine.ErrStorageFailed) && !(p.lost && errors.Is(err, logdb.ErrDamaged)) && !p.machineRefuses(err) {
				h.world.violate("start", "host %d cannot start shard %d: %v", h.index+1, p.shard.id, err)
			}
			return
		}
		p.state, p.replica, p.runsSince = placeRunning, r, h.world.now
		p.settle()
	})
	h.wake()
}

// stop stops the replica of a place.
func (p *place) stop() {
	h := p.host
	if !h.up || p.state != placeRunning {
		return
	}
	p.state = placeStopping
	life := h.life
	h.engine.StopReplica(p.replica, func(err error) {
		if h.life != life || !h.up {
			return
		}
		if errors.Is(err, engine.ErrStuck) { // a jump of the clock is enough; nobody can start it again before it has stopped
			h.world.after(0, func() { h.kill(life) })
			return
		}
		p.state, p.replica, p.machine = placeStopped, nil, nil
		p.settle()
	})
	h.wake()
}

// kill ends a life of the host whose process does not do what it is asked for, as an operator would, and starts the next one.
func (h *host) kill(life uint32) {
	if h.life == life && h.up {
		h.crash()
		h.world.after(h.random.between(0, int64(500*time.Millisecond)), func() { h.world.bootIfDown(h) })
	}
}

// settle does what was asked for while the place was busy.
func (p *place) settle() {
	switch {
	case p.state == placeRunning && (!p.wanted || p.host.stoppingAll):
		p.stop()
	case p.state == placeStopped && p.removed:
		p.remove()
	case p.state == placeStopped && p.wanted && !p.host.stoppingAll:
		p.start()
	case p.host.stoppingAll:
		p.host.closeIfQuiet()
	}
}

// remove removes the data of a stopped replica, as an operator might who has the wrong one in hand.
func (p *place) remove() {
	h := p.host
	p.removed, p.removing = false, p.sound() // what was lost before stays lost
	p.state = placeStarting
	life := h.life
	known := p.shard.knows(p)
	p.joins = p.joins || !known || p.shard.successor != nil // whoever starts it again knows that the shard exists
	held := p.held
	h.world.lose(p)
	p.held = held // a power cut may undo the removal, and what made it lost
	log := h.disk.memory[keyOf(p)]
	h.disk.backup = nil // with the data the record of its promises goes, and nothing would notice an older copy
	h.engine.RemoveReplicaData(p.shard.id, uint64(h.index+1), func(err error) {
		if h.life != life || !h.up {
			return
		}
		if err != nil && !errors.Is(err, engine.ErrStorageFailed) {
			p.keep(log)
		}
		p.removing = p.removing && err != nil
		if err == nil {
			p.removeMachine()
		}
		if err == nil && !known { // nobody counted on it
			p.lost, p.healed = false, false
		}
		p.state = placeStopped
		if err == nil && p.erased() {
			return
		}
		p.settle()
	})
}

// wake schedules the workers that were signalled. It is called after everything that may have reached the host.
func (h *host) wake() {
	if !h.up {
		return
	}
	for i := range h.slots {
		if s := &h.slots[i]; !s.queued && s.worker.Ready() {
			h.schedule(i)
		}
	}
}

// schedule lets a worker run soon: which of those that are woken comes first is drawn.
func (h *host) schedule(i int) {
	h.slots[i].queued = true
	delay := h.random.between(0, 4000)
	if h.lazy && h.random.chance(0.05) {
		delay = h.random.between(0, int64(5*time.Millisecond))
	}
	if h.slots[i].routine != nil { // a state machine takes its time
		delay = h.random.between(0, int64(2*time.Millisecond))
	}
	if h.world.now < h.slowApply && strings.HasPrefix(h.slots[i].worker.Name(), "apply") {
		delay = h.random.between(int64(5*time.Millisecond), int64(200*time.Millisecond))
	}
	h.world.agenda.push(event{at: h.world.now + delay, kind: eventWorker, host: int32(h.index), index: int32(i), life: h.life})
}

// run runs a worker, as production would: because it was signalled or its deadline has come (R29).
func (h *host) run(i int) {
	s := &h.slots[i]
	s.queued = false
	now := h.now()
	if s.routine == nil && !s.worker.Ready() && s.deadline > now {
		return
	}
	h.world.runs++
	switch {
	case !engine.CallsUser(s.worker):
		s.deadline = s.worker.RunOnce(now)
	case !h.resume(s, now):
		h.schedule(i)
		return
	}
	for len(h.leaderChecks) > 0 {
		check := h.leaderChecks[0]
		h.leaderChecks = h.leaderChecks[1:]
		h.world.checkLeaderComplete(h, check)
	}
	for _, check := range h.commitChecks {
		h.world.checkAnnounced(h, check)
	}
	h.commitChecks = h.commitChecks[:0]
	if h.doom > 0 {
		if h.doom--; h.doom == 0 {
			h.doomed()
			return
		}
	}
	h.arm(i)
}

// arm makes sure that a worker's deadline is noticed.
func (h *host) arm(i int) {
	s := &h.slots[i]
	switch {
	case s.deadline == raft.Never || s.queued:
	case s.deadline <= h.now():
		h.schedule(i)
	default:
		at := max(h.clock.world(s.deadline), h.world.now+1)
		if s.timer == 0 || at < s.timer {
			s.timer = at
			h.world.agenda.push(event{at: at, kind: eventTimer, host: int32(h.index), index: int32(i), life: h.life})
		}
	}
}

// timerDue notices that a deadline may be due.
func (h *host) timerDue(i int, at int64) {
	s := &h.slots[i]
	if s.timer != at {
		return
	}
	s.timer = 0
	h.arm(i)
}

// changeClock lets the clock jump or drift; deadlines are looked at anew.
func (h *host) changeClock(jump int64, pace float64) {
	h.clock.change(h.world.now, jump, pace)
	h.jumped = h.world.now
	if !h.up {
		return
	}
	for i := range h.slots {
		h.slots[i].timer = 0
		h.arm(i)
	}
}

// restartGracefully stops every replica, ends the process and starts it anew.
func (h *host) restartGracefully() {
	if !h.up || h.disk.failed || h.stoppingAll {
		return
	}
	h.stoppingAll = true
	for _, p := range h.places {
		if p != nil {
			p.stop()
		}
	}
	h.closeIfQuiet()
}

func (h *host) closeIfQuiet() {
	for _, p := range h.places {
		if p != nil && p.state != placeStopped {
			return
		}
	}
	h.stoppingAll = false
	life := h.life
	h.world.after(int64(time.Millisecond), func() {
		if h.life == life && h.up {
			_ = h.engine.Stop()
			h.crash()
			h.world.after(h.random.between(0, int64(200*time.Millisecond)), func() { h.world.bootIfDown(h) })
		}
	})
}

// listen is the engine's listener.
func (h *host) listen(e engine.Event) {
	if e.Kind == engine.EventSnapshotTaken {
		h.world.counters.add(countSnapshots, 1)
	}
	if e.Kind == engine.EventStorageFailed {
		h.disk.checkFailure(e.Err)
		h.disk.failedAt = h.world.now
	}
	h.world.reported(h, e)
}
