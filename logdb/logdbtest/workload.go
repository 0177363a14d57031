package logdbtest

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// step is one call of a group's methods.
type step struct {
	save        *raftpb.Save
	compact     bool
	remove      bool
	key         logdb.ReplicaKey
	index, term uint64
}

// plan is one Commit of a workload: its groups, each with its steps.
type plan struct {
	groups   [][]step
	mustSync bool
}

// fill builds the groups of a plan in a store.
func (p *plan) fill(db logdb.LogDB) ([]logdb.Group, error) {
	groups := make([]logdb.Group, len(p.groups))
	for i, steps := range p.groups {
		groups[i] = db.NewGroup()
		for _, s := range steps {
			switch {
			case s.compact:
				groups[i].Compact(s.key, s.index, s.term)
			case s.remove:
				groups[i].Remove(s.key)
			default:
				if err := groups[i].Save(s.save); err != nil {
					return nil, err
				}
			}
		}
	}
	return groups, nil
}

// workload draws plans that keep to the contract.
type workload struct {
	random   *rand.Rand
	replicas []*replicaLog
	commits  uint64
	large    int // one in so many batches has a command of 50 KB; 0 for none
}

// replicaLog is what a workload knows of a replica's log: enough to draw the next step.
type replicaLog struct {
	key       logdb.ReplicaKey
	term      uint64
	compacted uint64
	batches   []raftpb.Batch
	installed bool // a snapshot was, since the replica is there: it may be said again
}

func newWorkload(seed uint64, replicas, large int) *workload {
	w := &workload{random: rand.New(rand.NewPCG(seed, 1)), large: large}
	for i := range replicas {
		w.replicas = append(w.replicas, &replicaLog{key: key(uint64(1+i/2), uint64(1+i%2)), term: 1})
	}
	return w
}

func (w *workload) keys() []logdb.ReplicaKey {
	keys := make([]logdb.ReplicaKey, len(w.replicas))
	for i, r := range w.replicas {
		keys[i] = r.key
	}
	return keys
}

// next draws a Commit of one or two groups. Every plan changes something, so that the states before and after differ.
func (w *workload) next() plan {
	w.commits++
	var p plan
	if w.random.IntN(5) == 0 {
		r := w.pick()
		p.groups = [][]step{{{save: &raftpb.Save{
			ShardID: r.key.ShardID, ReplicaID: r.key.ReplicaID,
			StateChanged: true, State: raftpb.HardState{Term: r.term, Commit: w.commits},
		}}}}
		return p
	}
	p.mustSync = true
	for range 1 + w.random.IntN(2) {
		var steps []step
		for range 1 + w.random.IntN(3) {
			steps = append(steps, w.step()...)
		}
		p.groups = append(p.groups, steps)
	}
	return p
}

func (w *workload) pick() *replicaLog { return w.replicas[w.random.IntN(len(w.replicas))] }

func (w *workload) step() []step {
	r := w.pick()
	switch choice := w.random.IntN(20); {
	case choice == 0:
		*r = replicaLog{key: r.key, term: 1}
		return []step{{remove: true, key: r.key}, {save: w.append(r)}}
	case choice <= 3 && len(r.batches) > 0:
		return []step{r.compact(w.random), {save: w.append(r)}}
	case choice == 4:
		return []step{{save: w.install(r)}}
	case choice == 9 && r.installed:
		return []step{{save: &raftpb.Save{ShardID: r.key.ShardID, ReplicaID: r.key.ReplicaID, Installed: true, MustSync: true}}}
	case choice <= 8 && len(r.batches) > 0:
		return []step{{save: w.truncate(r)}}
	default:
		return []step{{save: w.append(r)}}
	}
}

func (r *replicaLog) last() uint64 {
	if len(r.batches) == 0 {
		return r.compacted
	}
	return r.batches[len(r.batches)-1].Last()
}

// compact draws an index within the log, often inside a batch.
func (r *replicaLog) compact(random *rand.Rand) step {
	index := r.compacted + 1 + random.Uint64N(r.last()-r.compacted)
	for len(r.batches) > 0 && r.batches[0].Last() <= index {
		r.batches = r.batches[1:]
	}
	r.compacted = index
	return step{compact: true, key: r.key, index: index, term: 1}
}

// install begins the log anew behind a snapshot, and goes on with it in the same save, or not.
func (w *workload) install(r *replicaLog) *raftpb.Save {
	r.term++
	r.compacted, r.batches, r.installed = r.last()+1+w.random.Uint64N(50), nil, true
	save := &raftpb.Save{
		ShardID: r.key.ShardID, ReplicaID: r.key.ReplicaID, MustSync: true, Installed: w.random.IntN(4) == 0,
		Installing: snapshotOf(r.key.ShardID, r.compacted, r.term, r.compacted-w.random.Uint64N(r.compacted)),
	}
	if w.random.IntN(2) == 0 {
		w.extend(r, save)
	}
	return save
}

// append draws a save of some batches with everything else that may be in one.
func (w *workload) append(r *replicaLog) *raftpb.Save {
	save := &raftpb.Save{ShardID: r.key.ShardID, ReplicaID: r.key.ReplicaID, MustSync: true}
	w.extend(r, save)
	save.StateChanged = true
	save.State = raftpb.HardState{Term: r.term, Vote: w.random.Uint64N(3), Commit: w.commits}
	if w.random.IntN(8) == 0 {
		save.Bootstrap = &raftpb.Bootstrap{Incarnation: w.random.Uint64(), Initial: membership(w.random.Uint64N(5))}
	}
	return save
}

// extend adds one to three batches to a save and to the log.
func (w *workload) extend(r *replicaLog, save *raftpb.Save) {
	for range 1 + w.random.IntN(3) {
		size := w.random.IntN(200)
		if w.large > 0 && w.random.IntN(w.large) == 0 {
			size = 50_000
		}
		batch := Batch(r.key.ShardID, r.term, r.last()+1, 1+w.random.IntN(4), size)
		save.Batches = append(save.Batches, batch)
		r.batches = append(r.batches, batch)
	}
	if w.random.IntN(6) == 0 {
		save.Configs = append(save.Configs, config(r.last()))
	}
}

// truncate draws the first index of a batch behind what was compacted, keeps a piece of that batch if it can, and appends
// in a new term.
func (w *workload) truncate(r *replicaLog) *raftpb.Save {
	save := &raftpb.Save{ShardID: r.key.ShardID, ReplicaID: r.key.ReplicaID, MustSync: true}
	i := w.random.IntN(len(r.batches))
	old := r.batches[i]
	save.TruncateFrom = old.First()
	r.batches = r.batches[:i:i]
	if keep := max(old.First(), r.compacted+1); keep < old.Last() || old.First() <= r.compacted {
		piece := cut(old, min(keep, old.Last()))
		save.Batches = append(save.Batches, piece)
		r.batches = append(r.batches, piece)
	}
	r.term++
	w.extend(r, save)
	return save
}

// fingerprint describes everything that a store holds of some replicas, in one line for each.
func fingerprint(db logdb.LogDB, keys []logdb.ReplicaKey) (string, error) {
	var text []byte
	listed, err := db.List()
	if err != nil {
		return "", err
	}
	text = fmt.Appendf(text, "%v\n", listed)
	for _, k := range keys {
		stored, err := db.Load(k)
		if err != nil {
			if isNotFound(err) {
				text = fmt.Appendf(text, "%v: nothing\n", k)
				continue
			}
			return "", err
		}
		hash := fnv.New64a()
		if stored.Last > stored.Compacted {
			batches, err := db.Read(k, stored.Compacted+1, stored.Last, 1<<30, nil)
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
		text = fmt.Appendf(text, "%v: %+v installing %+v batches %x\n", k, stored, installing, hash.Sum64())
	}
	return string(text), nil
}
