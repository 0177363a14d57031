package seglog

import (
	"slices"

	"github.com/flotilla-raft/flotilla/logdb"
)

// bearWitness adds, for each replica whose newest record was moved, one that holds nothing: a successor in its chain, so that the loss of what
// was moved shows. What is moved may be old. The record of promises (R14) tells that the newest entries or votes are missing, but not
// that a bootstrap or a configuration is, whose only copy it was; and a replica that nobody writes to may have no later record for long.
//
// A replica that has saved something since needs none. The loss of the records made here costs nothing, unless what they speak for
// is lost too: so they keep a block's distance from it, farther than one fault of a few sectors reaches.
func (s *Store) bearWitness(marker *groupCommit, c *cleaning) {
	if len(c.written) == 0 {
		return
	}
	var group Group
	for _, key := range c.keys {
		if r := s.index.replicas[key]; r == nil || !slices.ContainsFunc(c.written, func(g writtenGroup) bool { return r.last>>16 == g.seq }) {
			continue
		}
		if group.Empty() {
			group.add(recordVoid, key, make([]byte, blockSize))
		}
		group.addNothing(key)
	}
	marker.append(&group, false)
	s.counters.rewritten.Add(uint64(group.Bytes()))
}

// addNothing adds a record that changes nothing.
func (g *Group) addNothing(key logdb.ReplicaKey) { g.add(recordSave, key, []byte{0}) }
