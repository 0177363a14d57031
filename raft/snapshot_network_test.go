package raft

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// testSnapshot is a snapshot file: what a state machine had applied up to an entry.
type testSnapshot struct {
	meta    raftpb.SnapshotMeta
	applied []raftpb.Batch
}

// usableFile drops a file that was received and that the log was not restarted for: it may lie beyond the log, or beside it.
func (d *disk) usableFile() {
	stored, at := d.load(), d.file.meta
	terms := termList{before: entryID{stored.Compacted, stored.CompactedTerm}, starts: stored.Terms}
	if at.Index > stored.Last || at.Index >= stored.Compacted && terms.term(at.Index) != at.Term {
		d.file = d.former
	}
}

// recover gives a state machine what is in the file.
func (node *testNode) recover() {
	node.upTo, node.applied = node.disk.file.meta.Index, slices.Clone(node.disk.file.applied)
}

// snapshot is one of what the node's state machine holds at the moment.
func (n *network) snapshot(node *testNode) testSnapshot {
	meta := raftpb.SnapshotMeta{ShardID: testShard, ReplicaID: node.id, Index: node.upTo, Kind: raftpb.SnapshotMemory}
	if _, err := fmt.Sscanf(n.bodies[node.upTo], "%d:", &meta.Term); err != nil && node.upTo != 0 {
		n.violate("entry %d, of which a snapshot is taken, was applied nowhere", node.upTo)
	}
	for _, config := range n.configs {
		if config.Index <= node.upTo {
			meta.Config = config
		}
	}
	return testSnapshot{meta, slices.Clone(node.applied)}
}

// compacted does what the engine does with a Compaction. What goes is in a snapshot first, and nobody reads it.
func (n *network) compacted(node *testNode, compaction *Compaction) {
	n.printf("  compacted at %d: up to %d/%d", node.id, compaction.Index, compaction.Term)
	n.record("compacted", "n", node.id, "index", compaction.Index)
	if compaction.Index > node.upTo && !node.core.witness {
		n.violate("replica %d compacts up to %d and has applied %d", node.id, compaction.Index, node.upTo)
	}
	for _, r := range node.reads {
		if r.From <= compaction.Index {
			n.violate("replica %d compacts up to %d while [%d,%d] is read", node.id, compaction.Index, r.From, r.To)
		}
	}
	if node.disk.file.meta.Index < compaction.Index {
		node.disk.file = n.snapshot(node)
	}
	node.disk.compact(compaction.Index, compaction.Term)
}

// fetch ends the oldest fetch of a node: with a snapshot of the source, if that runs, is reached and has got far enough. If not, another source
// may have been named meanwhile.
func (n *network) fetch(node *testNode) bool {
	if node.core == nil || len(node.installs) == 0 {
		return false
	}
	install := node.installs[0]
	node.installs = node.installs[1:]
	source := n.node(install.Source)
	if source == nil || source.core == nil || source.core.role >= RoleAbstaining || source.upTo < install.LogIndex ||
		n.cut[[2]uint64{source.id, node.id}] || n.cut[[2]uint64{node.id, source.id}] {
		n.printf("  no snapshot for %d of %d", node.id, install.Source)
		if len(node.installs) > 0 {
			return n.fetch(node)
		}
		node.core.SnapshotFailed(n.now, raftpb.ReasonNotReady)
		n.check(node)
		return true
	}
	node.installs = nil
	n.receive(node, n.snapshot(source))
	return true
}

func (n *network) receive(node *testNode, snapshot testSnapshot) {
	taken := node.core.SnapshotReceived(n.now, snapshot.meta)
	n.printf("  snapshot up to %d/%d of %d received by %d: %t", snapshot.meta.Index, snapshot.meta.Term, snapshot.meta.ReplicaID, node.id, taken)
	n.record("snapshot", "n", node.id, "from", snapshot.meta.ReplicaID, "index", snapshot.meta.Index, "taken", taken)
	if taken {
		node.disk.former, node.disk.file = node.disk.file, snapshot
	}
	n.check(node)
}

// restarted is what follows a write: a log that begins behind a snapshot has the state machine recovered from it.
func (n *network) restarted(node *testNode, s *raftpb.Save) {
	if s.Installing == nil || s.Installed || node.slow {
		return
	}
	n.recovered(node)
}

func (n *network) recovered(node *testNode) {
	node.recover()
	n.printf("  recovered at %d: up to %d", node.id, node.upTo)
	node.core.SnapshotInstalled(n.now)
}

// leaveBehind lets everybody else get on, and forget what they have applied, while a node is cut off.
func (n *network) leaveBehind(t *rapid.T, node *testNode) {
	for _, other := range n.nodes {
		n.cut[[2]uint64{node.id, other.id}], n.cut[[2]uint64{other.id, node.id}] = true, true
	}
	n.advance(time.Duration(rapid.IntRange(0, 4000).Draw(t, "ms")) * time.Millisecond)
	if leader := n.leader(); leader != nil {
		n.propose(leader, fmt.Sprint("behind ", n.now))
		n.settle()
	}
	for _, other := range n.nodes {
		if other != node && other.core != nil {
			other.core.Compact(n.now, other.core.applied)
		}
	}
	n.settle()
	for _, other := range n.nodes {
		delete(n.cut, [2]uint64{node.id, other.id})
		delete(n.cut, [2]uint64{other.id, node.id})
	}
	n.advance(time.Duration(rapid.IntRange(0, 400).Draw(t, "ms")) * time.Millisecond)
}

// What snapshots need.
func init() {
	scriptCommands["hold-fetch"] = func(s *script) { s.n.holdFetch[s.node().id] = true }
	scriptCommands["release-fetch"] = func(s *script) { s.n.holdFetch[s.node().id] = false; s.n.settle() }
	scriptCommands["fetch"] = func(s *script) { // ends the fetch of n, and nothing else
		fmt.Fprintf(s.trace, "fetched %t\n", s.n.fetch(s.node()))
	}
	scriptCommands["fail-fetch"] = func(s *script) {
		node := s.node()
		node.installs = nil
		node.core.SnapshotFailed(s.n.now, raftpb.ReasonNotReady)
		s.n.settle()
	}
	scriptCommands["received"] = func(s *script) { // a snapshot that says what is said: index=, term=, of from=
		snapshot := s.n.snapshot(s.n.node(s.number("from")))
		snapshot.meta.Index, snapshot.meta.Term = s.number("index"), s.number("term")
		snapshot.meta.Config.Index = min(snapshot.meta.Config.Index, snapshot.meta.Index)
		snapshot.meta.Config.Membership.ID = snapshot.meta.Config.Index
		if s.d.HasArg("shard") {
			snapshot.meta.ShardID = s.number("shard")
		}
		s.n.receive(s.node(), snapshot)
		s.n.settle()
	}
	scriptCommands["snapshot"] = func(s *script) { // of n, of what it had applied up to index=
		file := s.n.snapshot(s.node())
		file.meta.Index = s.number("index")
		s.node().disk.file = file
	}
	scriptCommands["recover"] = func(s *script) { // the state machine of n, slow until now, has recovered
		s.node().slow = false
		s.n.recovered(s.node())
		s.n.settle()
	}
}

// describeInstall is what a core asks for, without the stream's number.
func describeInstall(i *Install) string {
	if i.Source == 0 {
		return fmt.Sprintf("fetch at %d: the leader has the log", i.ReplicaID)
	}
	return strings.TrimSpace(fmt.Sprintf("fetch at %d: from %d, up to %d/%d at least", i.ReplicaID, i.Source, i.LogIndex, i.LogTerm))
}
