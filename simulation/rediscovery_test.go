package simulation

import (
	"slices"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// A replica whose newest snapshot is damaged, and whose older one was removed, is lost. A power cut may undo the removal: then it has all that it
// promised, and only then.
func TestARemovedSnapshotThatIsBackAfterAPowerCutServes(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(p *place)
		durable bool // is the removal
		damaged bool // is the older one, too
		lost    bool
	}{
		"the removal was not durable": {},
		"the removal was durable": {change: func(p *place) {
			if err := syncDirectory(p.host.snapshots.memory, snapshotDirectory); err != nil {
				t.Error(err)
			}
		}, durable: true, lost: true},
		"it was asked to be removed meanwhile, in vain": {change: func(p *place) {
			held := p.held
			p.host.world.lose(p)
			p.held = held
		}},
		"its log lost something, too":     {change: func(p *place) { p.host.disk.loseLog(p) }, lost: true},
		"the log is shorter":              {change: func(p *place) { m := p.host.disk.durable[keyOf(p)]; m.entries = m.entries[:4] }, lost: true},
		"nothing of the log is left":      {change: func(p *place) { delete(p.host.disk.durable, keyOf(p)) }, lost: true},
		"it began anew":                   {change: func(p *place) { p.host.disk.durable[keyOf(p)].incarnation++ }, lost: true},
		"an operator marked it":           {change: func(p *place) { p.host.promise.records[keyOf(p)] = raft.Lost() }, lost: true},
		"it is healed":                    {change: func(p *place) { p.healed = true }, lost: true},
		"the older one is of another log": {change: func(p *place) { p.host.disk.durable[keyOf(p)].entries[2].term = 2 }, lost: true},
		"the older one is damaged, too":   {damaged: true, lost: true},
	} {
		for seed := range uint64(5) {
			p := scratchedPlace(t, seed)
			w, h := p.host.world, p.host
			if test.change != nil {
				test.change(p)
			}
			h.snapshots.crash()
			older := snapshot.Name{ShardID: 1, ReplicaID: 1, Index: 3}
			if back := slices.Contains(h.snapshots.list(p), older); back == test.durable {
				t.Fatalf("%s, seed %d: the older snapshot is back: %v", name, seed, back)
			}
			if test.damaged {
				if err := h.snapshots.flip(older, &w.random); err != nil {
					t.Fatal(err)
				}
			}
			p.rediscovers()
			if p.lost != test.lost || p.resumed == test.lost || p.held != nil || w.violation != nil {
				t.Fatalf("%s, seed %d: lost: %v, resumed: %v, %v", name, seed, p.lost, p.resumed, w.violation)
			}
		}
	}
}

// scratchedPlace returns the place of a replica with a log of five entries that begins behind the second, whose snapshot at the fourth entry was
// damaged, and the one at the third removed: it said that it is damaged.
func scratchedPlace(t *testing.T, seed uint64) *place {
	t.Helper()
	w := &World{options: Options{LogDB: modelLogDB}, random: random{state: mix(seed)}}
	w.plan.snapshots.every = 10
	h := &host{world: w, promise: &promises{records: map[logdb.ReplicaKey]raft.Promised{}}, snapshots: newSnapshotFiles()}
	h.disk = newDisk(h)
	s := &shard{world: w, id: 1, begun: map[voter]int64{}, witnesses: make([]bool, 1), proven: 2}
	initial := raftpb.Membership{Members: []raftpb.Member{{ReplicaID: 1, Kind: raftpb.Voter}, {ReplicaID: 2, Kind: raftpb.Voter}}}
	s.configurations = []configuration{configurationOf(0, 0, &initial)}
	p := &place{host: h, shard: s, state: placeRunning}
	w.hosts, w.shards, s.places, h.places = []*host{h}, []*shard{s}, []*place{p}, []*place{p}

	group := h.disk.NewGroup()
	save := raftpb.Save{ShardID: 1, ReplicaID: 1, MustSync: true, StateChanged: true, State: raftpb.HardState{Term: 1, Vote: 2}, Bootstrap: &raftpb.Bootstrap{Incarnation: 7}}
	for index := uint64(1); index <= 5; index++ {
		save.Batches = append(save.Batches, logdbtest.Batch(1, 1, index, 1, 10))
	}
	if err := group.Save(&save); err != nil {
		t.Fatal(err)
	}
	group.Compact(keyOf(p), 2, 1)
	h.disk.Commit([]logdb.Group{group}, func(err error) {
		if err != nil {
			t.Error(err)
		}
	})
	h.disk.store.Complete(1)

	directory, err := h.snapshots.open(&w.random)
	if err != nil {
		t.Fatal(err)
	}
	for index := uint64(3); index <= 4; index++ {
		takeSnapshot(t, directory, index)
	}
	newest := snapshot.Name{ShardID: 1, ReplicaID: 1, Index: 4}
	if err := h.snapshots.flip(newest, &w.random); err != nil {
		t.Fatal(err)
	}
	if !p.reached() {
		t.Fatal("the older snapshot does not serve")
	}
	if err := directory.RemoveOne(snapshot.Name{ShardID: 1, ReplicaID: 1, Index: 3}); err != nil {
		t.Fatal(err)
	}
	if p.reached() {
		t.Fatal("a damaged snapshot serves")
	}
	w.checkDamagedSnapshot(h, engine.Event{Kind: engine.EventReplicaDamaged, ShardID: 1, ReplicaID: 1, Err: engine.ErrSnapshotDamaged})
	if !p.lost || p.held == nil || w.violation != nil {
		t.Fatalf("lost: %v, %v", p.lost, w.violation)
	}
	return p
}

func takeSnapshot(t *testing.T, directory *snapshot.Directory, index uint64) {
	t.Helper()
	pending, err := directory.Create()
	if err != nil {
		t.Fatal(err)
	}
	writer, err := snapshot.NewWriter(pending, raftpb.SnapshotMeta{ShardID: 1, ReplicaID: 1, Index: index, Term: 1, Kind: raftpb.SnapshotMemory}, snapshot.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	state, err := writer.State()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := state.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := pending.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := directory.Publish(snapshot.Finished{Pending: pending, Name: snapshot.Name{ShardID: 1, ReplicaID: 1, Index: index}}); err != nil {
		t.Fatal(err)
	}
}

// What a replica said before it found all of it again is heard late, and the shard may have made it another incarnation for that.
func TestWhoFoundAllAgainMayBeHealedForWhatItSaid(t *testing.T) {
	for name, test := range map[string]struct {
		written     int64 // the membership that heals it, after the damage was met
		from        int   // who says that the replica abstains
		violated    bool
		lost, rests bool
	}{
		"a leader heard of it":                    {from: 1},
		"it says so again":                        {violated: true},
		"it is told that it is healed":            {written: 1, lost: true, rests: true},
		"that membership was written before":      {written: -1, violated: true},
		"a leader heard of it, and has healed it": {written: 1, from: 1},
	} {
		p := resumedPlace(t)
		w := p.host.world
		if test.written != 0 {
			writesHealing(p, p.lostAt+test.written)
		}
		w.checkAbstaining(w.hosts[test.from], engine.Event{Kind: engine.EventReplicaAbstaining, ShardID: 1, Peer: 1})
		if violated := w.violation != nil; violated != test.violated || p.lost != test.lost || p.rests != test.rests {
			t.Errorf("%s: lost: %v, rests: %v, %v", name, p.lost, p.rests, w.violation)
		}
		if test.rests {
			p.awakes()
			if p.lost {
				t.Errorf("%s: it counts as lost after another start", name)
			}
		}
	}

	p := resumedPlace(t)
	writesHealing(p, p.lostAt+1)
	p.host.world.checkBegunAnew(p, 8)
	if w := p.host.world; w.violation != nil || !p.lost || !p.healed || p.resumed {
		t.Errorf("it began anew: lost: %v, healed: %v, %v", p.lost, p.healed, w.violation)
	}
	p = resumedPlace(t)
	p.host.world.checkBegunAnew(p, 8)
	if p.host.world.violation == nil {
		t.Error("it began anew, and nobody has healed it")
	}
}

// resumedPlace returns the place of a replica that has found all again.
func resumedPlace(t *testing.T) *place {
	t.Helper()
	p := scratchedPlace(t, 0)
	w := p.host.world
	w.hosts = append(w.hosts, &host{world: w, index: 1, places: []*place{nil}, disk: &disk{}})
	p.host.snapshots.crash()
	if p.rediscovers(); !p.resumed {
		t.Fatal("it has not resumed")
	}
	return p
}

// writesHealing notes that a membership in which a place's replica is another incarnation was written, and decided.
func writesHealing(p *place, at int64) {
	c := configurationOf(4, 1, &raftpb.Membership{ID: 4, Members: []raftpb.Member{{ReplicaID: 1, Kind: raftpb.Learner, Incarnation: 8}, {ReplicaID: 2, Kind: raftpb.Voter}}})
	c.at, c.decided = at, true
	p.shard.configurations = append(p.shard.configurations, c)
}

// Damage that is found behind the last fault may be that of a quorum: then nobody has to answer any more.
func TestAQuorumThatIsFoundLostBehindTheLastFaultNeedNotServe(t *testing.T) {
	p := resumedPlace(t)
	p.state = placeStopped
	w := p.host.world
	probes := w.newProbes()
	if len(probes.places) != 1 || probes.missing() != p {
		t.Fatalf("%d places are asked, %v has not answered", len(probes.places), probes.missing())
	}
	other := &place{host: w.hosts[1], shard: p.shard}
	p.shard.places = append(p.shard.places, other)
	w.lose(other)
	if !probes.done() || probes.missing() != nil {
		t.Error("a shard without a quorum has to answer")
	}
}

// A replica that was healed has promised something since, as what it is now, and may lose that, too: it is to be healed again.
func TestWhoWasHealedMayLoseSomethingAgain(t *testing.T) {
	for name, loses := range map[string]func(p *place){
		"its snapshots": func(p *place) {
			p.host.world.checkDamagedSnapshot(p.host, engine.Event{Kind: engine.EventReplicaDamaged, ShardID: 1, ReplicaID: 1, Err: engine.ErrSnapshotDamaged})
		},
		"what its running replica read": func(p *place) { p.host.disk.damageRead(keyOf(p), logdb.ErrDamaged) },
		"the end of its log": func(p *place) {
			p.host.promise.records[keyOf(p)] = raft.Promised{VoteTerm: 1, Term: 1, Index: 2}
			shorter := p.host.disk.durable[keyOf(p)].clone()
			shorter.entries = shorter.entries[:1]
			p.host.disk.lessThanDurable(content{logs: map[logdb.ReplicaKey]*mirror{keyOf(p): shorter}})
		},
	} {
		w, h := astrayWorld(t, 1, 1)
		p := h.places[0]
		h.snapshots = newSnapshotFiles()
		h.snapshots.flipped = []snapshot.Name{{ShardID: 1, ReplicaID: 1, Index: 1}}
		h.disk.damaged = true
		w.lose(p)
		p.healed = true
		w.now++
		loses(p)
		if !p.lost || p.healed || p.lostAt != w.now || w.violation != nil {
			t.Errorf("%s: lost: %v, healed: %v, at %d of %d, %v", name, p.lost, p.healed, p.lostAt, w.now, w.violation)
		}
	}
}

// An older disk that is put back under a replica which was healed takes what it promised since.
func TestAnOlderDiskTakesWhatAHealedReplicaPromised(t *testing.T) {
	p := scratchedPlace(t, 0)
	w, h := p.host.world, p.host
	w.hosts = []*host{h}
	w.nemesis = &nemesis{world: w}
	initial := &p.shard.configurations[0].membership
	initial.Members = append(initial.Members, raftpb.Member{ReplicaID: 3, Kind: raftpb.Voter})
	p.shard.configurations[0] = configurationOf(0, 0, initial)
	for i := 1; i < 3; i++ {
		other := &host{world: w, index: i, disk: &disk{}, snapshots: newSnapshotFiles(), promise: &promises{}}
		p.shard.places = append(p.shard.places, &place{host: other, shard: p.shard})
	}
	p.shard.committed = make([]entry, 5)
	p.healed = true
	h.promise.records[keyOf(p)] = raft.Promised{VoteTerm: 1, Term: 1, Index: 5}
	older := h.disk.clone()
	older[keyOf(p)].entries = older[keyOf(p)].entries[:4]
	h.disk.backup = &backup{store: h.disk.store, durable: older}
	h.snapshots = newSnapshotFiles()
	if !w.nemesis.putBack(h) {
		t.Fatal("it is not put back")
	}
	if !p.lost || p.healed {
		t.Errorf("lost: %v, healed: %v", p.lost, p.healed)
	}
}

// A power cut undoes the removal of a replica that was healed: it is what it was.
func TestARemovalOfWhoWasHealedMayBeUndone(t *testing.T) {
	for name, healed := range map[string]bool{"healed": true, "lost": false} {
		options := Options{Seed: 1, Profile: "calm", LogDB: modelLogDB, Hosts: 3, Shards: 1, Duration: time.Second}
		options.setDefaults()
		w := newWorld(options, nil)
		w.live()
		p := w.shards[0].places[0]
		w.lose(p)
		p.healed, p.removed, p.wanted = healed, true, false
		p.stop()
		w.runUntil(w.now+int64(10*time.Second), func() bool { return !p.removed })
		if w.violation != nil || p.removed || p.host.disk.durable[keyOf(p)] == nil {
			t.Fatalf("%s: its removal has not begun, or is over: %v", name, w.violation)
		}
		p.host.crash()
		if p.host.disk.durable[keyOf(p)] == nil || p.lost == healed {
			t.Errorf("%s: its log is there: %v, lost: %v", name, p.host.disk.durable[keyOf(p)] != nil, p.lost)
		}
		w.release()
	}
}
