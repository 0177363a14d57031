package raft

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
)

const testShard = 7

// testNode is a replica with its disk and what came out of it.
type testNode struct {
	id       uint64
	core     *Core // nil while it is down
	options  Options
	disk     disk
	cache    *memoryCache
	promised Promised
	session  uint64
	saves    []raftpb.Save
	reads    []LogRead
	applied  []raftpb.Batch
	upTo     uint64
	kept     *testNode // a copy of disk and promises
	proposed uint64
	pace     uint64            // of its clock in per cent, as its answers show it; 0 for that of all others
	slow     bool              // its state machine gets on with nothing
	installs []Install         // snapshots that it fetches
	ended    map[uint64]string // outcome of each proposal of this session
	ready    []ReadState
	pulls    int               // answers whose entries it appended, over all sessions
	changes  map[uint64]string // outcome of each change of the membership, "" while it is open
}

// network runs replicas in one goroutine: nothing happens unless a test says so.
type network struct {
	now       Instant
	nodes     []*testNode
	queue     []raftpb.Message
	cut       map[[2]uint64]bool
	change    func(*Options) // of every replica that is added
	sessions  uint64
	trace     *strings.Builder // nil: silent
	out       Output
	violate   func(format string, arguments ...any)
	holdSave  map[uint64]bool
	holdFetch map[uint64]bool
	configs   []raftpb.ConfigRecord // that were applied, in order
	leaders   map[uint64]uint64     // term -> leader, for election safety
	bodies    map[uint64]string     // applied entries by index, for state machine safety
	places    map[[3]uint64]uint64  // first index of each proposal

	readSequence   uint64
	changeSequence uint64
	history        *history // nil: not kept
	reading        readHistory
}

func newNetwork(count int, violate func(string, ...any)) *network {
	var initial raftpb.Membership
	for id := uint64(1); id <= uint64(count); id++ {
		initial.Members = append(initial.Members, raftpb.Member{ReplicaID: id, Kind: raftpb.Voter})
	}
	return newNetworkOf(initial, nil, violate)
}

// newNetworkOf starts a shard with these first members; change, if not nil, changes the options of each replica.
func newNetworkOf(initial raftpb.Membership, change func(*Options), violate func(string, ...any)) *network {
	n := &network{
		now: Instant(time.Second), cut: map[[2]uint64]bool{}, holdSave: map[uint64]bool{}, holdFetch: map[uint64]bool{}, leaders: map[uint64]uint64{},
		bodies: map[uint64]string{}, places: map[[3]uint64]uint64{}, violate: violate, sessions: 100,
		reading: readHistory{floors: map[[2]uint64]uint64{}, told: map[uint64]Freshness{}},
	}
	n.change = change
	for _, member := range initial.Members {
		node := n.addNode(member.ReplicaID)
		node.disk.stored.Bootstrap.Initial = initial
		n.start(node)
	}
	return n
}

func (n *network) addNode(id uint64) *testNode {
	node := &testNode{id: id}
	node.disk.stored.Bootstrap.Incarnation = 10 + id
	node.options = Options{ShardID: testShard, ReplicaID: id, Seed: id, ElectionTimeout: time.Second}
	if n.change != nil {
		n.change(&node.options)
	}
	n.nodes = append(n.nodes, node)
	return node
}

func (n *network) node(id uint64) *testNode {
	for _, node := range n.nodes {
		if node.id == id {
			return node
		}
	}
	return nil
}

func (n *network) start(node *testNode) {
	n.sessions++
	node.session = n.sessions
	node.options.Session = n.sessions
	node.options.NextIncarnation = 1000*node.id + n.sessions
	node.cache = &memoryCache{}
	node.disk.usableFile()
	node.recover()
	node.options.Applied = node.upTo
	core, err := New(n.now, node.options, node.disk.load(), node.promised, node.cache)
	if err != nil {
		n.violate("start of %d: %v", node.id, err)
		return
	}
	node.core, node.saves, node.reads, node.installs = core, nil, nil, nil
	node.proposed, node.ended, node.ready, node.changes = 0, map[uint64]string{}, nil, map[uint64]string{}
}

func (n *network) crash(node *testNode) {
	node.core, node.saves, node.reads, node.installs = nil, nil, nil, nil
}

// renew does what the owner of a core has to do when it is healed: nothing is left of the former incarnation.
func (n *network) renew(node *testNode, incarnation uint64) {
	n.crash(node)
	node.disk, node.promised = disk{}, Promised{}
	node.disk.stored.Bootstrap = raftpb.Bootstrap{Incarnation: incarnation, Join: true}
	n.printf("  %d is started anew as incarnation %d", node.id, incarnation)
	n.start(node)
}

func (n *network) printf(format string, arguments ...any) {
	if n.trace != nil {
		fmt.Fprintf(n.trace, format+"\n", arguments...)
	}
}

// drain takes what a core has to say and checks it.
func (n *network) drain(node *testNode) bool {
	if node.core == nil || !node.core.Dirty() {
		return false
	}
	n.out.Reset()
	node.core.Drain(&n.out)
	n.check(node)
	n.drained(node)
	if node.core.ClockDue() {
		node.core.Observe(n.now)
	}
	return true
}

func (n *network) drained(node *testNode) {
	for _, m := range n.out.Messages {
		m.Batches = slices.Clone(m.Batches)
		if node.pace != 0 && m.Type == raftpb.MessageHeartbeatResponse {
			m.HintTerm = m.HintTerm * node.pace / 100
		}
		n.printf("  %s", describe(&m))
		n.recordMessage(&m)
		n.checkSent(node, &m)
		if !n.cut[[2]uint64{m.From, m.To}] {
			n.queue = append(n.queue, m)
		}
	}
	for _, s := range n.out.Saves {
		s.Batches = slices.Clone(s.Batches)
		n.printf("  save %d at %d: %s", s.Number, node.id, describeSave(&s))
		n.recordSave(node, &s)
		node.saves = append(node.saves, s)
	}
	node.reads = append(node.reads, n.out.LogReads...)
	for _, r := range n.out.LogReads {
		n.printf("  log read at %d: [%d,%d] for follower %d", node.id, r.From, r.To, r.Follower)
		n.record("log-read", "n", node.id, "first", r.From, "last", r.To, "follower", r.Follower)
	}
	for i := range n.out.Installs {
		install := &n.out.Installs[i]
		n.printf("  %s", describeInstall(install))
		if len(node.installs) == 0 {
			n.record("fetch", "n", node.id, "source", install.Source, "index", install.LogIndex)
		} else {
			n.record("fetch-instead", "n", node.id, "source", install.Source)
		}
		if install.Source != 0 {
			node.installs = append(node.installs, *install)
		}
	}
	for i := range n.out.Compactions {
		n.compacted(node, &n.out.Compactions[i])
	}
	for _, r := range n.out.Reads {
		n.printf("  read %d at %d: index %d", r.ID, node.id, r.Index)
		n.record("read", "n", node.id, "id", r.ID, "index", r.Index)
		node.ready = append(node.ready, r)
		n.checkRead(node, &r)
	}
	for _, r := range n.out.Refusals {
		n.printf("  refused at %d: %s %d %s maybe=%t", node.id, refusalName(r.Kind), r.ID, r.Reason, r.MaybeApplied)
		n.recordRefusal(node, &r)
		if r.Kind == RefusedProposal {
			n.end(node, r.ID, fmt.Sprintf("refused maybe=%t", r.MaybeApplied))
		}
	}
	// After the refusals: what one Drain refuses and hands over was refused first.
	for _, b := range n.out.Apply {
		n.apply(node, b)
	}
	for _, r := range n.out.Refusals {
		if r.Kind == RefusedChange {
			n.endChange(node, r.ID, fmt.Sprintf("refused maybe=%t", r.MaybeApplied))
		}
	}
	healed := uint64(0)
	for _, e := range n.out.Events {
		if e.Kind == EventMembersChanged {
			n.endChange(node, e.ID, "done")
		}
		if e.Kind == EventPulled {
			node.pulls++
		}
		if e.Kind == EventHealed {
			healed = e.ID
		}
		if e.Kind < EventFollowerCreated || e.Kind > EventFollowerDestroyed { // they come with every leader, and are recorded
			n.printf("  event at %d: %s", node.id, describeEvent(&e))
		}
		n.recordEvent(node, &e)
		if e.Kind == EventLeaderChanged && e.Leader == node.id {
			if other, ok := n.leaders[e.Term]; ok && other != node.id {
				n.violate("replicas %d and %d lead term %d", other, node.id, e.Term)
			}
			n.leaders[e.Term] = node.id
		}
	}
	if healed != 0 {
		n.renew(node, healed)
	}
}

func (n *network) endChange(node *testNode, id uint64, how string) {
	before, asked := node.changes[id]
	if asked && before != "" {
		n.violate("change %d of %d ended twice: %s, then %s", id, node.id, before, how)
	}
	node.changes[id] = how
}

func (n *network) end(node *testNode, sequence uint64, how string) {
	if before, ok := node.ended[sequence]; ok {
		n.violate("proposal %d of %d ended twice: %s, then %s", sequence, node.id, before, how)
	}
	node.ended[sequence] = how
}

// apply checks state machine safety, log matching over committed entries, and that commit stands on a durable majority.
func (n *network) apply(node *testNode, b raftpb.Batch) {
	n.printf("  apply at %d: %s", node.id, b)
	n.recordApply(node, b)
	if b.First() != node.upTo+1 {
		n.violate("replica %d applies %s after entry %d", node.id, b, node.upTo)
	}
	if b.Last() > node.disk.last() {
		n.violate("replica %d applies %s, durable up to %d", node.id, b, node.disk.last())
	}
	body := entries(b)
	for i, index := 0, b.First(); index <= b.Last(); i, index = i+1, index+1 {
		text := fmt.Sprintf("%d:%s", b.Term(), body[i])
		if before, ok := n.bodies[index]; ok && before != text {
			n.violate("entry %d is %q at replica %d and was %q", index, text, node.id, before)
		}
		n.bodies[index] = text
	}
	if membership, err := b.Membership(); b.Kind() == raftpb.KindMembership && err == nil && (len(n.configs) == 0 || n.configs[len(n.configs)-1].Index < b.First()) {
		n.configs = append(n.configs, raftpb.ConfigRecord{Index: b.First(), Membership: membership})
	}
	if origin := b.Origin(); origin.Sequence != 0 {
		key := [3]uint64{origin.Session, origin.Sequence, uint64(origin.Piece)}
		if before, ok := n.places[key]; ok && before != b.First() {
			n.violate("proposal %d of session %d stands at %d and at %d", origin.Sequence, origin.Session, before, b.First())
		}
		n.places[key] = b.First()
	}
	node.upTo = b.Last()
	node.applied = append(node.applied, b)
	origin := b.Origin()
	if origin.Replica == node.id && origin.Session == node.session && origin.Piece+b.Count() == origin.Count {
		if how, ok := node.ended[origin.Sequence]; !ok {
			n.end(node, origin.Sequence, "applied")
		} else if how == "refused maybe=false" {
			n.violate("proposal %d of %d was surely not applied, and is", origin.Sequence, node.id)
		}
	}
	for _, other := range n.nodes {
		if other.session == origin.Session && other.ended[origin.Sequence] == "refused maybe=false" && origin.Sequence != 0 {
			n.violate("proposal %d of %d was surely not applied, and is at %d", origin.Sequence, other.id, node.id)
		}
	}
	if !node.slow {
		node.core.Applied(b.Last())
	}
}

func entries(b raftpb.Batch) []string {
	var all []string
	it := b.Iterator()
	for it.Next() {
		all = append(all, string(it.Command()))
	}
	return all
}

// checkSent holds R6: what a message promises is durable when it leaves.
func (n *network) checkSent(node *testNode, m *raftpb.Message) {
	state := node.disk.stored.State
	switch m.Type {
	case raftpb.MessageBootstrap, raftpb.MessageBootstrapResponse, raftpb.MessageRemoved,
		raftpb.MessagePreVote, raftpb.MessagePreVoteResponse:
		return
	}
	if m.Term > state.Term {
		n.violate("%s leaves before term %d is durable", m, m.Term)
	}
	if m.Type == raftpb.MessageVoteResponse && m.Reason == raftpb.ReasonNone && (state.Term != m.Term || state.Vote != m.To) {
		n.violate("%s leaves before the vote is durable (%+v)", m, state)
	}
	if m.Type == raftpb.MessageReplicateResponse && m.Reason == raftpb.ReasonNone && m.LogIndex > node.disk.last() {
		n.violate("%s speaks of entries beyond the durable %d", m, node.disk.last())
	}
}

// save makes the oldest write of a node durable.
func (n *network) save(node *testNode) bool {
	if node.core == nil || len(node.saves) == 0 {
		return false
	}
	s := node.saves[0]
	node.saves = node.saves[1:]
	if err := node.disk.write(&s); err != nil {
		n.violate("write %d at %d: %v", s.Number, node.id, err)
	}
	before := n.before(node)
	node.core.Saved(n.now, s.Number)
	n.restarted(node, &s)
	n.check(node)
	n.checkCommit(node, before)
	return true
}

func (n *network) readLog(node *testNode) bool {
	if node.core == nil || len(node.reads) == 0 {
		return false
	}
	r := node.reads[0]
	node.reads = node.reads[1:]
	node.core.LogReadDone(n.now, r, node.disk.read(r), nil)
	n.check(node)
	return true
}

// deliver hands over the i-th message on its way.
func (n *network) deliver(i int) {
	m := n.queue[i]
	n.queue = slices.Delete(n.queue, i, i+1)
	if node := n.node(m.To); node != nil && node.core != nil && !n.cut[[2]uint64{m.From, m.To}] {
		before := n.before(node)
		node.core.Step(n.now, &m)
		n.check(node)
		n.checkCommit(node, before)
	}
}

// beforeStep is what commit is counted by: the membership may change in the very step, after it.
type beforeStep struct {
	commit     uint64
	membership *raftpb.Membership
}

func (n *network) before(node *testNode) beforeStep {
	return beforeStep{node.core.commit, node.core.membership}
}

// checkCommit holds that a commit index that moved stands on durable copies at a quorum, and that leaders have all of it.
func (n *network) checkCommit(node *testNode, before beforeStep) {
	c := node.core
	if c.commit == before.commit || c.role != RoleLeader {
		return
	}
	for _, members := range [][]raftpb.Member{before.membership.Members, before.membership.Outgoing} {
		copies, voters, data := n.copies(members, c.commit, c.log.terms.term(c.commit))
		if len(members) > 0 && copies <= voters/2 {
			n.violate("replica %d commits %d with %d durable copies of %d", node.id, c.commit, copies, voters)
		}
		if len(members) > 0 && !data {
			n.violate("replica %d commits %d, which only witnesses have", node.id, c.commit)
		}
	}
	for index := range n.bodies {
		if index > c.log.last {
			n.violate("leader %d of term %d lacks the committed entry %d", node.id, c.term, index)
		}
	}
}

// copies counts the voters that have an entry durably; data says that there is one among them that is no witness.
func (n *network) copies(members []raftpb.Member, index, term uint64) (copies, voters int, data bool) {
	for _, member := range members {
		if member.Kind == raftpb.Learner {
			continue
		}
		voters++
		other := n.node(member.ReplicaID)
		if other == nil {
			continue
		}
		stored := other.disk.load()
		terms := termList{before: entryID{stored.Compacted, stored.CompactedTerm}, starts: stored.Terms}
		if stored.Last >= index && terms.term(index) == term || stored.Compacted >= index {
			copies++
			data = data || member.Kind == raftpb.Voter
		}
	}
	return copies, voters, data
}

// settle lets everything happen at once until nothing is left to do.
func (n *network) settle() {
	for round := 0; ; round++ {
		busy := false
		for _, node := range n.nodes {
			busy = n.drain(node) || busy
			for !n.holdSave[node.id] && n.save(node) {
				busy = true
			}
			for n.readLog(node) || !n.holdFetch[node.id] && n.fetch(node) {
				busy = true
			}
		}
		for len(n.queue) > 0 {
			n.deliver(0)
			busy = true
		}
		if !busy {
			return
		}
		if round > 10000 {
			n.violate("the network does not settle")
			return
		}
	}
}

// advance moves the clock in steps to the next deadline and settles at each.
func (n *network) advance(d time.Duration) {
	end := n.now + Instant(d)
	for {
		next := end
		for _, node := range n.nodes {
			if node.core != nil {
				next = min(next, node.core.Deadline())
			}
		}
		n.now = max(n.now, next)
		for _, node := range n.nodes {
			if node.core != nil && node.core.Deadline() <= n.now {
				node.core.Tick(n.now)
				n.check(node)
			}
		}
		n.settle()
		if next >= end {
			return
		}
	}
}

// propose makes a batch at a node.
func (n *network) propose(node *testNode, commands ...string) raftpb.Reason {
	node.proposed++
	reason := node.core.Propose(n.now, n.batch(node, node.proposed, commands...))
	if reason != raftpb.ReasonNone {
		n.end(node, node.proposed, "refused maybe=false")
	}
	return reason
}

func (n *network) batch(node *testNode, sequence uint64, commands ...string) raftpb.Batch {
	var b raftpb.Builder
	b.Reset(nil)
	for _, command := range commands {
		b.Add([]byte(command))
	}
	return b.Seal(testShard, raftpb.KindCommands, raftpb.Origin{
		Replica: node.id, Session: node.session, Sequence: sequence,
	}, 0)
}

func (n *network) leader() *testNode {
	var found *testNode
	for _, node := range n.nodes {
		if node.core != nil && node.core.IsLeader() && (found == nil || node.core.term > found.core.term) {
			found = node
		}
	}
	return found
}
