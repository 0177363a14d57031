package raft

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// TestScripts runs the histories in testdata: each is named for the rule that it shows and prints what every replica says,
// writes and applies, and ends in expectations that state the rule, which -rewrite never touches. The network's checks (see
// apply, checkSent, checkCommit, checkInvariants) run along; a violation fails the test.
func TestScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/scripts", func(t *testing.T, path string) {
		s := &script{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			var trace strings.Builder
			s.d, s.t, s.trace = d, t, &trace
			if s.n != nil {
				s.n.trace = &trace
			}
			run, ok := scriptCommands[d.Cmd]
			if !ok {
				t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
			}
			run(s)
			s.last = d.Cmd
			for _, node := range s.n.nodes {
				s.n.check(node)
			}
			switch {
			case *expectsOnly:
				return d.Expected
			case d.HasArg("quiet"), trace.Len() == 0:
				return "ok\n"
			}
			return trace.String()
		})
		if s.last != "expect" {
			t.Errorf("%s does not end in an expect line that states its rule; see testdata/README.md", path)
		}
	})
}

type script struct {
	n     *network
	d     *datadriven.TestData
	t     *testing.T
	trace *strings.Builder
	last  string // command

	slowReads []slowRead
}

func (s *script) number(key string) uint64 {
	var v uint64
	if s.d.HasArg(key) {
		s.d.ScanArgs(s.t, key, &v)
	}
	return v
}

func (s *script) text(key string) string {
	var v string
	if s.d.HasArg(key) {
		s.d.ScanArgs(s.t, key, &v)
	}
	return v
}

func (s *script) node() *testNode {
	node := s.n.node(s.number("n"))
	if node == nil {
		s.t.Fatalf("%s: no such replica", s.d.Pos)
	}
	return node
}

// runOutTimer moves the clock to the end of a replica's election timeout.
func (s *script) runOutTimer(node *testNode) {
	if node.core.electionAt == Never {
		s.t.Fatalf("%s: a %s has no election timer", s.d.Pos, node.core.role)
	}
	s.n.now = max(s.n.now, node.core.electionAt)
	node.core.Tick(s.n.now)
}

// elect delivers what a candidate and some voters say to each other, but no entries.
func (n *network) elect(node *testNode, voters []*testNode) {
	all := append(slices.Clone(voters), node)
	for _, each := range all {
		n.drain(each)
		n.save(each)
	}
	queue := n.queue
	n.queue = nil
	var others []raftpb.Message
	for _, m := range queue {
		switch {
		case m.From != node.id && m.To != node.id:
			others = append(others, m)
		case m.Type != raftpb.MessageReplicate && slices.Contains(all, n.node(m.From)) && slices.Contains(all, n.node(m.To)):
			n.queue = append(n.queue, m)
		}
	}
	for len(n.queue) > 0 {
		n.deliver(0)
	}
	n.queue = others
}

// replicas are those of an argument such as with=2/3.
func (s *script) replicas(key string) []*testNode {
	var found []*testNode
	for _, field := range strings.Split(s.text(key), "/") {
		var id uint64
		if _, err := fmt.Sscan(field, &id); err != nil || s.n.node(id) == nil {
			s.t.Fatalf("%s: no replica %q", s.d.Pos, field)
		}
		found = append(found, s.n.node(id))
	}
	return found
}

func (s *script) violation(format string, arguments ...any) {
	if !*expectsOnly {
		s.t.Errorf(s.d.Pos+": VIOLATION: "+format, arguments...)
	}
}

// matches selects messages on their way by type=, from= and to=.
func (s *script) matches(m *raftpb.Message) bool {
	kind := s.text("type")
	return (kind == "" || kind == m.Type.String()) && (!s.d.HasArg("from") || s.number("from") == m.From) &&
		(!s.d.HasArg("to") || s.number("to") == m.To)
}

// each calls do with the position of every message that matches, and that was on its way before.
func (s *script) each(do func(i int)) {
	last := s.n.queue
	for i := len(last) - 1; i >= 0; i-- {
		if s.matches(&s.n.queue[i]) {
			do(i)
		}
	}
}

func (s *script) deliver() {
	var due []raftpb.Message
	s.each(func(i int) {
		due = append(due, s.n.queue[i])
		s.n.queue = slices.Delete(s.n.queue, i, i+1)
	})
	for i := len(due) - 1; i >= 0; i-- {
		s.n.queue = append(s.n.queue, due[i])
		s.n.deliver(len(s.n.queue) - 1)
	}
	fmt.Fprintf(s.trace, "delivered %d\n", len(due))
}

func (s *script) status() {
	for _, node := range s.n.nodes {
		if node.core != nil {
			fmt.Fprintln(s.trace, describeStatus(node.core.Status()))
		} else {
			fmt.Fprintf(s.trace, "%d: down\n", node.id)
		}
	}
}

// reason prints what a call returned at once.
func (s *script) reason(r raftpb.Reason) {
	fmt.Fprintf(s.trace, "%s\n", r)
	s.n.record("answer", "n", s.number("n"), "call", s.d.Cmd, "reason", r)
}

func (s *script) commands() []string { return strings.Split(s.text("commands"), "/") }

// payload reads members=1/2 id=3: voters of a committed membership.
func (s *script) payload() raftpb.Membership {
	m := raftpb.Membership{ID: s.number("id")}
	for _, field := range strings.Split(s.text("members"), "/") {
		var id uint64
		if _, err := fmt.Sscan(field, &id); err == nil {
			m.Members = append(m.Members, raftpb.Member{ReplicaID: id, Kind: raftpb.Voter})
		}
	}
	return m
}

// message builds one from arguments, with the right addressing unless from-session, to-session or from-incarnation say otherwise.
func (s *script) message() raftpb.Message {
	from, to := s.n.node(s.number("from")), s.n.node(s.number("to"))
	m := raftpb.Message{
		ShardID: testShard, From: from.id, To: to.id, FromIncarnation: from.disk.stored.Bootstrap.Incarnation,
		FromSession: from.session, ToSession: to.session, Term: s.number("term"), LogIndex: s.number("index"),
		LogTerm: s.number("log-term"), Commit: s.number("commit"),
		HintTerm: s.number("hint-term"),
	}
	if s.text("hint") != "offer" {
		m.HintIndex = s.number("hint")
	}
	if p := to.core.peer(from.id); s.text("hint") == "offer" && p != nil && p.offer != nil { // the stream of the receiver's newest offer
		m.HintIndex = p.offer.stream
	}
	for t := raftpb.MessageType(1); t < raftpb.MessageTypeCount; t++ {
		if t.String() == s.text("type") {
			m.Type = t
		}
	}
	for r := raftpb.Reason(0); r < raftpb.ReasonCount; r++ {
		if r.String() == s.text("reason") {
			m.Reason = r
		}
	}
	if m.Request = to.core.request; s.text("request") != "last" { // the newest that the receiver sent
		m.Request = s.number("request")
	}
	if s.d.HasArg("from-session") {
		m.FromSession = s.number("from-session")
	}
	if s.d.HasArg("to-session") {
		m.ToSession = s.number("to-session")
	}
	m.ToIncarnation = s.number("to-incarnation")
	if s.d.HasArg("from-incarnation") {
		m.FromIncarnation = s.number("from-incarnation")
	}
	if s.d.HasArg("members") { // of a Removed
		m.Payload = raftpb.EncodeMembership(s.payload())
	}
	if s.d.HasArg("commands") {
		b := s.n.batch(from, s.number("request"), s.commands()...)
		if m.Type != raftpb.MessagePropose {
			b.Stamp(s.number("batch-term"), m.LogIndex+1)
		}
		if s.d.HasArg("damaged") {
			b[len(b)-1] ^= 1
		}
		m.Batches = []raftpb.Batch{b}
	}
	return m
}

// initial reads replicas=3 priorities=1:200/3:1.
func (s *script) initial() raftpb.Membership {
	var initial raftpb.Membership
	for id := uint64(1); id <= s.number("replicas"); id++ {
		initial.Members = append(initial.Members, raftpb.Member{ReplicaID: id, Kind: raftpb.Voter})
	}
	for _, field := range strings.Split(s.text("witnesses"), "/") {
		var id uint64
		if _, err := fmt.Sscan(field, &id); err == nil {
			initial.Members[id-1].Kind = raftpb.Witness
		}
	}
	for _, field := range strings.Split(s.text("priorities"), "/") {
		var id, priority uint64
		if _, err := fmt.Sscanf(field, "%d:%d", &id, &priority); err == nil {
			initial.Members[id-1].Priority = raftpb.Priority(priority)
		}
	}
	return initial
}

// change sets options of a replica: lease for all; without=pre-vote/check-quorum for all, or each with a replica in front (2:pre-vote).
func (s *script) change(o *Options) {
	o.LeaseRead = s.d.HasArg("lease")
	for _, field := range strings.Split(s.text("without"), "/") {
		id, what, one := strings.Cut(field, ":")
		if !one {
			what = field
		} else if id != fmt.Sprint(o.ReplicaID) {
			continue
		}
		switch what {
		case "":
		case "pre-vote":
			o.DisablePreVote = true
		case "check-quorum":
			o.DisableCheckQuorum = true
		case "lease":
			o.LeaseRead = false
		default:
			s.t.Fatalf("%s: without %q", s.d.Pos, what)
		}
	}
}

var scriptCommands = map[string]func(*script){
	"new": func(s *script) { // witnesses=3 priorities=1:200/3:1, and what change says
		s.n = newNetworkOf(s.initial(), s.change, s.violation)
		s.n.trace = s.trace
		s.n.history = &history{marks: map[string]int{}}
		if !s.d.HasArg("unsettled") {
			s.n.settle()
		}
	},
	"add": func(s *script) { // a replica that joins, as a witness if that is said
		node := s.n.addNode(s.number("n"))
		node.options.Witness = s.d.HasArg("witness")
		node.disk.stored.Bootstrap.Join = true
		s.n.start(node)
	},
	"elect": func(s *script) { // lets one replica's election timer run out
		s.runOutTimer(s.node())
		s.n.settle()
	},
	"insist": func(s *script) { // the same until it leads: a replica that is behind learns of a higher term first
		for range 4 {
			if s.node().core.IsLeader() {
				return
			}
			s.runOutTimer(s.node())
			s.n.settle()
		}
	},
	"elect-only": func(s *script) { // elects n with the votes of with=2/3, and loses whatever the new leader says
		node, voters := s.node(), s.replicas("with")
		for range 4 {
			s.runOutTimer(node)
			for range 8 {
				s.n.elect(node, voters)
				if node.core.IsLeader() {
					return
				}
			}
		}
	},
	"campaign": func(s *script) { // lets the timer run out, and nothing else happens
		s.runOutTimer(s.node())
	},
	"propose": func(s *script) { s.reason(s.n.propose(s.node(), s.commands()...)) },
	"propose-at-term": func(s *script) {
		node := s.node()
		node.proposed++
		b := s.n.batch(node, node.proposed, "x")
		var builder raftpb.Builder
		builder.Reset(nil)
		builder.Add([]byte("x"))
		b = builder.Seal(testShard, raftpb.KindCommands, b.Origin(), s.number("term"))
		s.reason(node.core.Propose(s.n.now, b))
	},
	"read":     func(s *script) { s.reason(s.n.read(s.node(), s.number("id"))) },
	"transfer": func(s *script) { s.reason(s.node().core.TransferLeader(s.n.now, s.number("id"), s.number("target"))) },
	"timeouts": func(s *script) { // election=ms heartbeat=ms
		err := s.node().core.SetTimeouts(s.n.now, time.Duration(s.number("election"))*time.Millisecond, time.Duration(s.number("heartbeat"))*time.Millisecond)
		if err != nil {
			fmt.Fprintln(s.trace, err)
		}
	},
	"settle":      func(s *script) { s.n.settle() },
	"pace":        func(s *script) { s.node().pace = s.number("percent") },                            // of the clock that its answers to heartbeats show
	"pass":        func(s *script) { s.n.now += Instant(s.number("ms")) * Instant(time.Millisecond) }, // and nothing happens
	"tick":        func(s *script) { s.node().core.Tick(s.n.now) },
	"advance":     func(s *script) { s.n.advance(time.Duration(s.number("ms")) * time.Millisecond) },
	"drain":       func(s *script) { s.n.drain(s.node()) },
	"save":        func(s *script) { fmt.Fprintf(s.trace, "saved %t\n", s.n.save(s.node())) },
	"hold":        func(s *script) { s.n.holdSave[s.node().id] = true },
	"release":     func(s *script) { s.n.holdSave[s.node().id] = false; s.n.settle() },
	"deliver":     func(s *script) { s.deliver() },
	"drop":        func(s *script) { s.each(func(i int) { s.n.queue = slices.Delete(s.n.queue, i, i+1) }) },
	"double":      func(s *script) { s.each(func(i int) { s.n.queue = append(s.n.queue, s.n.queue[i]) }) },
	"status":      func(s *script) { s.status() },
	"unreachable": func(s *script) { s.node().core.Unreachable(s.n.now, s.number("peer")) },
	"quarantine":  func(s *script) { s.node().core.Quarantine(s.n.now); s.n.settle() },
	"repair":      func(s *script) { s.reason(s.node().core.Repair(s.n.now)); s.n.settle() },
	"stop":        func(s *script) { s.node().core.Stop(s.n.now); s.n.settle() },
	"crash":       func(s *script) { s.n.crash(s.node()) },
	"restart":     func(s *script) { s.n.crash(s.node()); s.n.start(s.node()); s.n.settle() },
	"evict":       func(s *script) { clear(s.node().cache.chunks) },
	"messages": func(s *script) {
		for i := range s.n.queue {
			fmt.Fprintf(s.trace, "  %s\n", describe(&s.n.queue[i]))
		}
	},
	"isolate": func(s *script) {
		for _, other := range s.n.nodes {
			s.n.cut[[2]uint64{s.node().id, other.id}], s.n.cut[[2]uint64{other.id, s.node().id}] = true, true
		}
	},
	"mark": func(s *script) { // the begin of a period that rules can speak of with since=
		s.n.history.marks[s.text("name")] = len(s.n.history.facts)
	},
	"expect": func(s *script) { s.expect() },
	"heal":   func(s *script) { clear(s.n.cut) },
	"sever": func(s *script) { // the link between two, on both ways
		s.n.cut[[2]uint64{s.number("n"), s.number("peer")}], s.n.cut[[2]uint64{s.number("peer"), s.number("n")}] = true, true
	},
	"wipe": func(s *script) { // the disk is lost; the replica is started again as it was at first, but for a data member if that is said
		node := s.node()
		node.options.Witness = node.options.Witness && !s.d.HasArg("data")
		s.n.crash(node)
		first := node.disk.stored.Bootstrap
		node.disk = disk{}
		node.disk.stored.Bootstrap = raftpb.Bootstrap{Incarnation: first.Incarnation + 100, Join: first.Join}
		for _, member := range first.Initial.Members {
			member.Incarnation = 0
			node.disk.stored.Bootstrap.Initial.Members = append(node.disk.stored.Bootstrap.Initial.Members, member)
		}
	},
	"limit": func(s *script) { // what a state machine may be behind, at all replicas
		for _, node := range s.n.nodes {
			node.options.MaxBacklogBytes = int(s.number("bytes"))
			node.core.options.MaxBacklogBytes = node.options.MaxBacklogBytes
		}
	},
	"hold-apply": func(s *script) { s.node().slow = true },
	"release-apply": func(s *script) {
		s.node().slow = false
		s.node().core.Applied(s.node().upTo)
		s.n.settle()
	},
	"begin-install": func(s *script) { s.node().core.beginInstall() },
	"end-install":   func(s *script) { s.node().core.SnapshotFailed(s.n.now, raftpb.ReasonFailed) },
	"start":         func(s *script) { s.n.start(s.node()); s.n.settle() },
	"lose": func(s *script) { // the log store forgets its newest batches, the host's record of promises does not
		node := s.node()
		node.promised, _ = node.core.Promise()
		s.n.crash(node)
		node.disk.batches = node.disk.batches[:len(node.disk.batches)-int(s.number("batches"))]
	},
	"record": func(s *script) { // the host records what the replica promises
		s.node().promised, _ = s.node().core.Promise()
	},
	"half-renewed": func(s *script) { // as after a crash in the middle of a renewal: the promises of the incarnation before are there
		node := s.node()
		node.disk = disk{stored: raftpb.Stored{Bootstrap: raftpb.Bootstrap{
			Incarnation: node.disk.stored.Bootstrap.Incarnation, Join: true,
		}}}
		node.promised = Promised{VoteTerm: 1, Term: 1, Index: 3}
	},
	"keep": func(s *script) { // a copy of the data directory
		node := s.node()
		node.kept = &testNode{disk: node.disk, promised: node.promised}
		node.kept.disk.batches = slices.Clone(node.disk.batches)
	},
	"put-back": func(s *script) { // the copy takes the place of what is there
		node := s.node()
		s.n.crash(node)
		node.disk, node.promised = node.kept.disk, node.kept.promised
	},
	"wipe-promise": func(s *script) { s.node().promised = Promised{} },
	"compact": func(s *script) {
		node := s.node()
		node.core.Compact(s.n.now, s.number("index"))
		s.n.drain(node)
		clear(node.cache.chunks)
	},
	"storage": func(s *script) {
		for state, name := range storageNames {
			if name == s.text("state") {
				s.node().core.SetStorage(s.n.now, StorageState(state))
			}
		}
		s.n.settle()
	},
	"step": func(s *script) {
		m := s.message()
		s.n.node(m.To).core.Step(s.n.now, &m)
		s.n.drain(s.n.node(m.To))
	},
}
