package modellog

import (
	"fmt"
	"maps"
	"slices"
	"sort"

	"github.com/flotilla-raft/flotilla/internal/invariant"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// replica is what is stored of one replica.
type replica struct {
	bootstrap     raftpb.Bootstrap
	state         raftpb.HardState
	compacted     uint64
	compactedTerm uint64
	batches       []raftpb.Batch // without a gap; the first may begin at or below compacted and reaches beyond it
	configs       []raftpb.ConfigRecord
	installing    *raftpb.SnapshotMeta
}

// table holds the replicas of a host.
type table map[logdb.ReplicaKey]*replica

func (t table) apply(o *operation) {
	if o.remove {
		delete(t, o.key)
		return
	}
	r := t[o.key]
	if r == nil {
		r = &replica{}
		t[o.key] = r
	}
	if o.save != nil {
		r.save(o.key, o.save)
		return
	}
	r.compact(o.key, o.index, o.term)
}

// clone copies a table so that neither of the two sees what is applied to the other. Batches are shared: they never change.
func (t table) clone() table {
	copied := make(table, len(t))
	for key, r := range t { // any order: each copy stands for itself
		c := *r
		c.batches = slices.Clone(r.batches)
		c.configs = slices.Clone(r.configs)
		copied[key] = &c
	}
	return copied
}

func (t table) keys() []logdb.ReplicaKey {
	return slices.SortedFunc(maps.Keys(t), logdb.ReplicaKey.Compare)
}

func (r *replica) last() uint64 {
	if len(r.batches) == 0 {
		return r.compacted
	}
	return r.batches[len(r.batches)-1].Last()
}

func (r *replica) save(key logdb.ReplicaKey, save *raftpb.Save) {
	if save.Bootstrap != nil {
		r.bootstrap = cloneBootstrap(*save.Bootstrap)
	}
	if save.StateChanged {
		r.state = save.State
	}
	if save.Installing != nil {
		r.install(*save.Installing)
	}
	if save.Installed {
		r.installing = nil
	}
	if save.TruncateFrom != 0 {
		r.truncate(key, save.TruncateFrom)
	}
	for _, batch := range save.Batches {
		// If the log was cut inside the batch that holds the compacted index, the piece of it comes first.
		piece := len(r.batches) == 0 && batch.First() <= r.compacted && batch.Last() > r.compacted
		if batch.First() != r.last()+1 && !piece {
			invariant.Fail("modellog: %v: batch [%d, %d] is appended after %d", key, batch.First(), batch.Last(), r.last())
		}
		r.batches = append(r.batches, batch)
	}
	for _, config := range save.Configs {
		config.Membership = cloneMembership(config.Membership)
		r.configs = append(r.configs, config)
	}
}

// install begins the log anew behind a snapshot.
func (r *replica) install(meta raftpb.SnapshotMeta) {
	meta.Config.Membership = cloneMembership(meta.Config.Membership)
	r.installing = &meta
	r.compacted, r.compactedTerm = meta.Index, meta.Term
	r.batches, r.configs = nil, []raftpb.ConfigRecord{meta.Config}
}

func (r *replica) truncate(key logdb.ReplicaKey, from uint64) {
	i := sort.Search(len(r.batches), func(i int) bool { return r.batches[i].First() >= from })
	if i == len(r.batches) || r.batches[i].First() != from {
		invariant.Fail("modellog: %v: truncated from %d, which is the first index of no batch", key, from)
	}
	r.batches = slices.Clone(r.batches[:i])
	j := sort.Search(len(r.configs), func(j int) bool { return r.configs[j].Index >= from })
	r.configs = slices.Clone(r.configs[:j])
}

func (r *replica) compact(key logdb.ReplicaKey, index, term uint64) {
	if index < r.compacted {
		invariant.Fail("modellog: %v: compacted up to %d after %d", key, index, r.compacted)
	}
	r.compacted, r.compactedTerm = index, term
	i := sort.Search(len(r.batches), func(i int) bool { return r.batches[i].Last() > index })
	r.batches = slices.Clone(r.batches[i:])
	if len(r.batches) > 0 && r.batches[0].First() > index+1 {
		invariant.Fail("modellog: %v: compacted up to %d before the log begins at %d", key, index, r.batches[0].First())
	}
	j := sort.Search(len(r.configs), func(j int) bool { return r.configs[j].Index > index })
	r.configs = slices.Clone(r.configs[max(0, j-1):])
}

// load returns what is stored, from copies: the caller may change it.
func (r *replica) load(key logdb.ReplicaKey) (raftpb.Stored, error) {
	loader := logdb.NewLoader(key, r.compacted, r.compactedTerm)
	for _, batch := range r.batches {
		if _, err := loader.Add(batch); err != nil {
			return raftpb.Stored{}, err
		}
	}
	stored := raftpb.Stored{
		Bootstrap:     cloneBootstrap(r.bootstrap),
		State:         r.state,
		Compacted:     r.compacted,
		CompactedTerm: r.compactedTerm,
		Last:          loader.Last,
		Terms:         loader.Terms,
	}
	if r.installing != nil {
		meta := *r.installing
		meta.Config.Membership = cloneMembership(meta.Config.Membership)
		stored.Installing = &meta
	}
	for _, config := range r.configs {
		config.Membership = cloneMembership(config.Membership)
		stored.Configs = append(stored.Configs, config)
	}
	return stored, nil
}

func (r *replica) read(
	key logdb.ReplicaKey, from, to uint64, maxBytes int, into []raftpb.Batch,
) ([]raftpb.Batch, error) {
	if from <= r.compacted {
		return into, fmt.Errorf("%w: %v: index %d, compacted up to %d", logdb.ErrCompacted, key, from, r.compacted)
	}
	if from > r.last() || from > to {
		return into, fmt.Errorf("%w: %v: indexes %d to %d, the log ends at %d", logdb.ErrUnavailable, key, from, to, r.last())
	}
	i := sort.Search(len(r.batches), func(i int) bool { return r.batches[i].Last() >= from })
	for size := 0; i < len(r.batches) && r.batches[i].First() <= to; i++ {
		into = append(into, r.batches[i])
		if size += len(r.batches[i]); size >= maxBytes {
			break
		}
	}
	return into, nil
}

func cloneMembership(membership raftpb.Membership) raftpb.Membership {
	membership.Members, membership.Outgoing = slices.Clone(membership.Members), slices.Clone(membership.Outgoing)
	return membership
}

func cloneBootstrap(bootstrap raftpb.Bootstrap) raftpb.Bootstrap {
	bootstrap.Initial = cloneMembership(bootstrap.Initial)
	return bootstrap
}
