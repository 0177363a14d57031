package modellog

import (
	"slices"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// recordBytes is what a group counts for every part of a save that is not a batch.
const recordBytes = 64

// operation is one call of a group's methods: a save, a removal or else a compaction.
type operation struct {
	key         logdb.ReplicaKey
	save        *raftpb.Save
	remove      bool
	index, term uint64
}

// Group implements logdb.Group.
type Group struct {
	operations []operation
	bytes      int
	mustSync   bool
}

// Save adds a deep copy of a save.
func (g *Group) Save(save *raftpb.Save) error {
	if err := logdb.CheckSave(save); err != nil {
		return err
	}
	copied := *save
	g.bytes += recordBytes * (1 + len(save.Configs))
	if save.Bootstrap != nil {
		bootstrap := cloneBootstrap(*save.Bootstrap)
		copied.Bootstrap = &bootstrap
	}
	if save.Installing != nil {
		meta := *save.Installing
		meta.Config.Membership = cloneMembership(meta.Config.Membership)
		copied.Installing = &meta
	}
	copied.Configs = slices.Clone(save.Configs)
	for i := range copied.Configs {
		copied.Configs[i].Membership = cloneMembership(copied.Configs[i].Membership)
	}
	copied.Batches = make([]raftpb.Batch, len(save.Batches))
	for i, batch := range save.Batches {
		copied.Batches[i] = slices.Clone(batch)
		g.bytes += len(batch)
	}
	key := logdb.ReplicaKey{ShardID: save.ShardID, ReplicaID: save.ReplicaID}
	g.operations = append(g.operations, operation{key: key, save: &copied})
	g.mustSync = g.mustSync || save.MustSync
	return nil
}

// Compact adds a compaction.
func (g *Group) Compact(key logdb.ReplicaKey, index, term uint64) {
	g.bytes += recordBytes
	g.operations = append(g.operations, operation{key: key, index: index, term: term})
}

// Remove adds a removal.
func (g *Group) Remove(key logdb.ReplicaKey) {
	g.mustSync = true
	g.bytes += recordBytes
	g.operations = append(g.operations, operation{key: key, remove: true})
}

// Bytes returns the size of the batches, and a flat count for the rest.
func (g *Group) Bytes() int { return g.bytes }

// MustSync reports whether a save in the group has MustSync.
func (g *Group) MustSync() bool { return g.mustSync }

// Empty reports whether nothing was added.
func (g *Group) Empty() bool { return len(g.operations) == 0 }
