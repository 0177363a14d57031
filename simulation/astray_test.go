package simulation

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// A write that goes astray may overwrite all that a log holds of a replica, and what bears witness of it: then the record of promises has to show it, and
// the replica is lost. It was durable, so nothing else excuses that it is not there: not one struck place, and not a record that lacks it.
func TestALogThatIsGoneShowsInTheRecordOfPromises(t *testing.T) {
	for _, test := range []struct {
		name            string
		astray, promise bool
		violated        bool
	}{
		{name: "a write that went astray, promises recorded", astray: true, promise: true},
		{name: "a write that went astray, nothing recorded", astray: true, violated: true},
		{name: "another fault", promise: true, violated: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, lanes := range []int{1, maxLanes} {
				for seed := range uint64(5) {
					w, h := astrayWorld(t, seed, lanes)
					p := h.places[0]
					if test.promise {
						h.promise.records[keyOf(p)] = raft.Promised{VoteTerm: 1, Term: 1, Index: 2}
					}
					overwrite(t, h.disk)
					h.disk.onFiles().files.overlog = test.astray
					h.disk.crash()
					if v := w.violation; (v != nil) != test.violated || v != nil && (v.Property != "durability" || !strings.Contains(v.Detail, "there false, durable true")) {
						t.Fatalf("seed %d, %d lanes: %v", seed, lanes, v)
					}
					if !test.violated && (!p.lost || h.disk.durable[keyOf(p)] != nil || h.disk.memory[keyOf(p)] != nil) {
						t.Errorf("seed %d, %d lanes: a replica of which nothing is left does not count as lost", seed, lanes)
					}
				}
			}
		})
	}
}

// astrayWorld returns a world with a host that has one replica, which has written twice, with a store that was idle since.
func astrayWorld(t *testing.T, seed uint64, lanes int) (*World, *host) {
	t.Helper()
	w := &World{options: Options{LogDB: seglogLogDB}, random: random{state: mix(seed)}}
	w.nemesis = &nemesis{world: w}
	h := &host{world: w, promise: &promises{records: map[logdb.ReplicaKey]raft.Promised{}}}
	w.hosts = []*host{h}
	s := &shard{world: w, id: 1, begun: map[voter]int64{}}
	initial := raftpb.Membership{Members: []raftpb.Member{{ReplicaID: 1, Kind: raftpb.Voter}}}
	s.configurations = []configuration{configurationOf(0, 0, &initial)}
	p := &place{host: h, shard: s, state: placeRunning, runsSince: 1}
	s.places, h.places, w.shards = []*place{p}, []*place{p}, []*shard{s}
	h.disk = &disk{host: h, random: w.random.fork(), lanes: lanes}
	h.disk.wipe()
	for index := uint64(1); index <= 2; index++ {
		save := &raftpb.Save{ShardID: 1, ReplicaID: 1, MustSync: true, State: raftpb.HardState{Term: 1, Vote: 1}, Batches: []raftpb.Batch{logdbtest.Batch(1, 1, index, 1, 300)}}
		if index == 1 {
			save.Bootstrap = &raftpb.Bootstrap{Incarnation: 7}
		}
		group := h.disk.NewGroup()
		if err := group.Save(save); err != nil {
			t.Fatal(err)
		}
		h.disk.Commit([]logdb.Group{group}, func(err error) {
			if err != nil {
				t.Error(err)
			}
		})
		h.disk.store.Complete(1)
		h.disk.remain()
	}
	for range 10 {
		w.now += 1e8
		h.disk.onFiles().work(4) // the group that bears witness
	}
	w.now += promiseDelay
	return w, h
}

// overwrite overwrites a log from the second sector on, up to the last group, which is empty and bears witness of those before it.
func overwrite(t *testing.T, d *disk) {
	t.Helper()
	f := d.onFiles().files
	for _, directory := range f.directories {
		names, err := f.memory.List(directory)
		if err != nil {
			t.Fatal(err)
		}
		for _, base := range names {
			name := f.memory.PathJoin(directory, base)
			last := bytes.LastIndex(fileContent(t, f.memory, name), []byte("flotgrup"))
			if last < 0 {
				continue // not a segment, or not begun
			}
			file, err := f.memory.OpenReadWrite(name, vfs.WriteCategoryUnspecified)
			if err != nil {
				t.Fatal(err)
			}
			_, err = file.WriteAt(make([]byte, last-sector), sector)
			if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.damaged, f.hit[fileLog] = true, true
}

// What was in the log when the store was opened may have lost its newest groups to a write that went astray: the log is what it was before. That
// shows in the record of promises, unless the replica was started less than a second ago.
func TestALogThatIsShorterShowsInTheRecordOfPromises(t *testing.T) {
	longer := mirror{incarnation: 7, state: raftpb.HardState{Term: 1, Vote: 1, Commit: 2}, entries: []entry{{1, 11}, {1, 12}, {1, 13}}}
	shorter := mirror{incarnation: 7, state: raftpb.HardState{Term: 1, Vote: 1, Commit: 1}, entries: longer.entries[:2]}
	for name, test := range map[string]struct {
		promise uint64
		since   int64
		change  func(d *disk, found *mirror)
		want    bool
	}{
		"recorded":               {promise: 3, since: 1, want: true},
		"not recorded":           {promise: 2, since: 1},
		"not recorded yet":       {promise: 2, since: 3 * promiseDelay / 2, want: true},
		"not started yet":        {promise: 2, want: true},
		"another fault":          {promise: 3, since: 1, change: func(d *disk, _ *mirror) { d.astray = false }},
		"not what it was before": {promise: 3, since: 1, change: func(_ *disk, found *mirror) { found.entries = []entry{{1, 11}, {1, 14}} }},
		"another incarnation":    {promise: 3, since: 1, change: func(_ *disk, found *mirror) { found.incarnation = 8 }},
		"another vote":           {promise: 3, since: 1, change: func(_ *disk, found *mirror) { found.state.Vote = 2 }},
		"it was not there":       {promise: 3, since: 1, change: func(d *disk, _ *mirror) { clear(d.durable) }},
		"it recovered meanwhile": {promise: 3, since: 1, change: func(_ *disk, found *mirror) { found.installing = 1 }},
		"the front is not there": {promise: 3, since: 1, change: func(_ *disk, found *mirror) { found.compacted = 1 }},
		"it begins where it did not": {promise: 3, since: 1, change: func(d *disk, _ *mirror) {
			d.durable[keyOf(d.host.places[0])].floor = 1
		}},
	} {
		w := &World{now: 2 * promiseDelay}
		h := &host{world: w, promise: &promises{records: map[logdb.ReplicaKey]raft.Promised{}}}
		p := &place{host: h, shard: &shard{id: 1}, state: placeRunning, runsSince: test.since}
		h.places = []*place{p}
		h.promise.records[keyOf(p)] = raft.Promised{VoteTerm: 1, Term: 1, Index: test.promise}
		h.disk = &disk{host: h, durable: map[logdb.ReplicaKey]*mirror{keyOf(p): longer.clone()}}
		h.disk.astray = true
		found := shorter.clone()
		if test.change != nil {
			test.change(h.disk, found)
		}
		if got := h.disk.gone(p, content{logs: map[logdb.ReplicaKey]*mirror{keyOf(p): found}}); got != test.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
