package seglog

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"testing"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/logdbtest"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// change is one Commit of a workload: what it does to a group of any store.
type change struct {
	key      logdb.ReplicaKey // the one replica that it concerns
	fill     func(logdb.Group) error
	mustSync bool
}

// workload draws Commits that keep to the contract. Unlike logdbtest's, it can be told what to do.
type workload struct {
	random *rand.Rand
	logs   []*simpleLog
	count  uint64
	size   int // of commands, at most
}

// simpleLog is what the next Commit has to know of a log.
type simpleLog struct {
	key       logdb.ReplicaKey
	term      uint64
	compacted uint64
	batches   []raftpb.Batch
	installed bool // a snapshot was, since the replica is there
}

func newWorkload(seed uint64, replicas, size int) *workload {
	w := &workload{random: rand.New(rand.NewPCG(seed, 3)), size: size}
	for i := range replicas {
		w.logs = append(w.logs, &simpleLog{key: logdb.ReplicaKey{ShardID: uint64(i + 1), ReplicaID: 1}, term: 1})
	}
	return w
}

func (w *workload) keys() []logdb.ReplicaKey {
	keys := make([]logdb.ReplicaKey, len(w.logs))
	for i, l := range w.logs {
		keys[i] = l.key
	}
	return keys
}

func (l *simpleLog) last() uint64 {
	if len(l.batches) == 0 {
		return l.compacted
	}
	return l.batches[len(l.batches)-1].Last()
}

func testMembership(id uint64) raftpb.Membership {
	return raftpb.Membership{ID: id, Members: []raftpb.Member{{ReplicaID: 1, Kind: raftpb.Voter, Incarnation: id + 1, Address: "a:1"}}}
}

// next draws a Commit.
func (w *workload) next() change {
	l := w.logs[w.random.IntN(len(w.logs))]
	w.count++
	c := w.draw(l)
	c.key = l.key
	return c
}

func (w *workload) draw(l *simpleLog) change {
	switch choice := w.random.IntN(24); {
	case choice == 0:
		return w.remove(l)
	case choice <= 3 && len(l.batches) > 0:
		return w.compact(l, l.compacted+1+w.random.Uint64N(l.last()-l.compacted))
	case choice <= 6 && len(l.batches) > 1:
		return w.truncate(l, 1+w.random.IntN(len(l.batches)-1))
	case choice <= 10:
		return w.state(l)
	case choice == 11:
		return w.install(l)
	case choice == 12 && l.installed:
		s := save(l)
		s.Installed = true
		return change{mustSync: true, fill: saves(s)}
	default:
		return w.append(l, 1+w.random.IntN(3))
	}
}

func save(l *simpleLog) *raftpb.Save {
	return &raftpb.Save{ShardID: l.key.ShardID, ReplicaID: l.key.ReplicaID, MustSync: true}
}

func saves(list ...*raftpb.Save) func(logdb.Group) error {
	return func(g logdb.Group) error {
		for _, save := range list {
			if err := g.Save(save); err != nil {
				return err
			}
		}
		return nil
	}
}

// state changes the commit index, which nobody waits for.
func (w *workload) state(l *simpleLog) change {
	s := save(l)
	s.MustSync = false
	s.StateChanged, s.State = true, raftpb.HardState{Term: l.term, Vote: 1, Commit: w.count}
	return change{fill: saves(s)}
}

func (w *workload) append(l *simpleLog, batches int) change {
	s := save(l)
	for range batches {
		batch := logdbtest.Batch(l.key.ShardID, l.term, l.last()+1, 1+w.random.IntN(3), 1+w.random.IntN(w.size))
		s.Batches = append(s.Batches, batch)
		l.batches = append(l.batches, batch)
	}
	s.StateChanged, s.State = true, raftpb.HardState{Term: l.term, Vote: 2, Commit: w.count}
	if w.random.IntN(5) == 0 {
		s.Configs = []raftpb.ConfigRecord{{Index: l.last(), Membership: testMembership(l.last())}}
	}
	if w.random.IntN(8) == 0 {
		s.Bootstrap = &raftpb.Bootstrap{Incarnation: w.random.Uint64(), Initial: testMembership(1)}
	}
	return change{fill: saves(s), mustSync: true}
}

func (w *workload) truncate(l *simpleLog, from int) change {
	first := l.batches[from].First()
	l.batches = l.batches[:from:from]
	l.term++
	c := w.append(l, 1)
	truncating := save(l)
	truncating.TruncateFrom = first
	truncating.Batches = l.batches[len(l.batches)-1:]
	return change{mustSync: true, fill: func(g logdb.Group) error {
		_ = c
		return g.Save(truncating)
	}}
}

func (w *workload) compact(l *simpleLog, index uint64) change {
	l.compacted = index
	for len(l.batches) > 0 && l.batches[0].Last() <= index {
		l.batches = l.batches[1:]
	}
	s := save(l)
	s.StateChanged, s.State = true, raftpb.HardState{Term: l.term, Commit: w.count}
	return change{mustSync: true, fill: func(g logdb.Group) error {
		g.Compact(l.key, index, 1)
		return g.Save(s)
	}}
}

// install begins the log anew behind a snapshot.
func (w *workload) install(l *simpleLog) change {
	l.term++
	l.compacted, l.batches, l.installed = l.last()+1+w.random.Uint64N(9), nil, true
	s := save(l)
	s.Installing = &raftpb.SnapshotMeta{
		ShardID: l.key.ShardID, ReplicaID: 2, Index: l.compacted, Term: l.term,
		Config: raftpb.ConfigRecord{Index: l.compacted, Membership: testMembership(l.compacted)}, Kind: raftpb.SnapshotDisk,
	}
	return change{mustSync: true, fill: saves(s)}
}

func (w *workload) remove(l *simpleLog) change {
	key := l.key
	*l = simpleLog{key: key, term: 1}
	c := w.append(l, 1)
	return change{mustSync: true, fill: func(g logdb.Group) error {
		g.Remove(key)
		return c.fill(g)
	}}
}

// fingerprint describes everything that a store holds of some replicas, one line for each. Damaged ones are named as such.
func fingerprint(t testing.TB, db logdb.LogDB, keys []logdb.ReplicaKey) []string {
	t.Helper()
	lines := make([]string, len(keys))
	for i, key := range keys {
		line, err := fingerprintOne(db, key)
		switch {
		case errors.Is(err, logdb.ErrDamaged):
			line = "damaged"
		case err != nil:
			t.Fatalf("%v: %v", key, err)
		}
		lines[i] = line
	}
	return lines
}

func fingerprintOne(db logdb.LogDB, key logdb.ReplicaKey) (string, error) {
	stored, err := db.Load(key)
	if errors.Is(err, logdb.ErrNotFound) {
		return "nothing", nil
	}
	if err != nil {
		return "", err
	}
	hash := fnv.New64a()
	if stored.Last > stored.Compacted {
		batches, err := db.Read(key, stored.Compacted+1, stored.Last, 1<<30, nil)
		if err != nil {
			return "", err
		}
		for _, batch := range batches {
			_, _ = hash.Write(batch)
		}
	}
	var installing raftpb.SnapshotMeta
	if stored.Installing != nil {
		installing, stored.Installing = *stored.Installing, nil
	}
	return fmt.Sprintf("%+v installing %+v %x", stored, installing, hash.Sum64()), nil
}

// history is a workload with the state after each of its Commits: states[n] is that after the first n.
type history struct {
	changes []change
	states  [][]string
	keys    []logdb.ReplicaKey
}

func (h *history) begin(t testing.TB, keys []logdb.ReplicaKey) *modellog.Log {
	model := modellog.New(modellog.Options{Automatic: true})
	h.keys = keys
	h.states = [][]string{fingerprint(t, model, keys)}
	return model
}

func (h *history) add(t testing.TB, model *modellog.Log, c change) {
	t.Helper()
	commit(t, model, c, func(error) {})
	h.changes = append(h.changes, c)
	h.states = append(h.states, fingerprint(t, model, h.keys))
}

func commit(t testing.TB, db logdb.LogDB, c change, done func(error)) {
	t.Helper()
	group := db.NewGroup()
	if err := c.fill(group); err != nil {
		t.Fatal(err)
	}
	db.Commit([]logdb.Group{group}, done)
}

// draw makes a history of so many Commits.
func draw(t testing.TB, w *workload, commits int) *history {
	h := &history{}
	model := h.begin(t, w.keys())
	for range commits {
		h.add(t, model, w.next())
	}
	return h
}
