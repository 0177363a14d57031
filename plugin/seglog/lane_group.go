package seglog

import (
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// laneGroup implements logdb.Group for Lanes: a group for each lane that something in it is for.
type laneGroup struct {
	lanes *Lanes
	parts []logdb.Group // nil where there is nothing
}

// NewGroup returns an empty group.
func (l *Lanes) NewGroup() logdb.Group {
	if g, ok := l.groups.Get().(*laneGroup); ok {
		return g
	}
	return &laneGroup{lanes: l, parts: make([]logdb.Group, len(l.stores))}
}

// part returns the group of the lane that a replica is in.
func (g *laneGroup) part(key logdb.ReplicaKey) logdb.Group {
	lane := g.lanes.settle(key)
	if g.parts[lane] == nil {
		g.parts[lane] = g.lanes.stores[lane].NewGroup()
	}
	return g.parts[lane]
}

// Save adds what one replica wants written.
func (g *laneGroup) Save(save *raftpb.Save) error {
	return g.part(logdb.ReplicaKey{ShardID: save.ShardID, ReplicaID: save.ReplicaID}).Save(save)
}

// Compact removes whole batches from the front of a log.
func (g *laneGroup) Compact(key logdb.ReplicaKey, index, term uint64) {
	g.part(key).Compact(key, index, term)
}

// Remove removes everything of a replica.
func (g *laneGroup) Remove(key logdb.ReplicaKey) { g.part(key).Remove(key) }

// Bytes returns the length of what was added.
func (g *laneGroup) Bytes() (bytes int) {
	for _, part := range g.parts {
		if part != nil {
			bytes += part.Bytes()
		}
	}
	return bytes
}

// MustSync reports whether something in the group waits for durability.
func (g *laneGroup) MustSync() bool {
	for _, part := range g.parts {
		if part != nil && part.MustSync() {
			return true
		}
	}
	return false
}

// Empty reports whether nothing was added.
func (g *laneGroup) Empty() bool {
	for _, part := range g.parts {
		if part != nil && !part.Empty() {
			return false
		}
	}
	return true
}
