package snapshot

import (
	"cmp"
	"slices"
)

// catalog is what a directory holds, kept in memory: with the snapshots of ten thousand replicas in one directory, listing it for each
// of them would be work that grows with the square of their number. It is read once, and right from then on because nobody but its
// Directory changes the files.
type catalog struct {
	indexes map[owner][]uint64 // ascending
}

// owner is whose snapshots they are.
type owner struct{ shardID, replicaID uint64 }

func ownerOf(n Name) owner { return owner{n.ShardID, n.ReplicaID} }

func (c *catalog) add(n Name) {
	if c.indexes == nil {
		c.indexes = make(map[owner][]uint64)
	}
	of := c.indexes[ownerOf(n)]
	if place, there := slices.BinarySearch(of, n.Index); !there {
		c.indexes[ownerOf(n)] = slices.Insert(of, place, n.Index)
	}
}

func (c *catalog) remove(n Name) {
	of := c.indexes[ownerOf(n)]
	place, there := slices.BinarySearch(of, n.Index)
	switch {
	case !there:
	case len(of) == 1:
		delete(c.indexes, ownerOf(n))
	default:
		c.indexes[ownerOf(n)] = slices.Delete(of, place, place+1)
	}
}

// list returns the snapshots of one owner, newest first.
func (c *catalog) list(o owner) []Name {
	of := c.indexes[o]
	names := make([]Name, 0, len(of))
	for _, index := range slices.Backward(of) {
		names = append(names, Name{o.shardID, o.replicaID, index})
	}
	return names
}

// all returns every snapshot, by shard and replica, newest first.
func (c *catalog) all() []Name {
	var names []Name
	for o := range c.indexes { // in any order: they are sorted
		names = append(names, c.list(o)...)
	}
	slices.SortFunc(names, func(a, b Name) int {
		return cmp.Or(cmp.Compare(a.ShardID, b.ShardID), cmp.Compare(a.ReplicaID, b.ReplicaID), cmp.Compare(b.Index, a.Index))
	})
	return names
}
