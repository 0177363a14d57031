package raft

import (
	"fmt"
	"slices"
	"strings"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// stateRules are the rules about the cluster as it is; they return why they do not hold.
var stateRules = map[string]func(*script, *rule) string{
	"replica":   (*script).expectReplica,
	"follower":  (*script).expectFollower,
	"leader":    (*script).expectLeader,
	"no-leader": (*script).expectNoLeader,
	"down":      (*script).expectDown,
	"equal":     (*script).expectEqual,
	"log":       (*script).expectLog,
	"entry":     (*script).expectEntry,
	"state":     (*script).expectState,
	"outcome":   (*script).expectOutcome,
	"agreed":    (*script).expectAgreed,
}

// take removes an argument of a rule.
func (r *rule) take(key string) string {
	value := r.wanted[key]
	delete(r.wanted, key)
	return value
}

// nodes are those named by n=1/2/3; each has to satisfy the rule.
func (s *script) nodes(r *rule) []*testNode {
	var found []*testNode
	for _, field := range strings.Split(r.take("n"), "/") {
		var id uint64
		_, err := fmt.Sscan(field, &id)
		node := s.n.node(id)
		if err != nil || node == nil {
			s.t.Fatalf("%s: %s: no replica %q", s.d.Pos, r.name, field)
		}
		found = append(found, node)
	}
	return found
}

// members are the IDs of one kind, such as 1,2,3; "none" if there are none.
func members(m *raftpb.Membership, kind raftpb.MemberKind) string {
	var ids []string
	for i := range m.Members {
		if m.Members[i].Kind == kind {
			ids = append(ids, fmt.Sprint(m.Members[i].ReplicaID))
		}
	}
	if len(ids) == 0 {
		return "none"
	}
	return strings.Join(ids, ",")
}

// incarnations are those of the members in the order of their IDs; 0 stands for one that is not known yet.
func incarnations(m *raftpb.Membership) string {
	var all []string
	for i := range m.Members {
		all = append(all, fmt.Sprint(m.Members[i].Incarnation))
	}
	return strings.Join(all, ",")
}

// replicaFact is what a rule about a replica can speak of.
func replicaFact(c *Core) fact {
	s := c.Status()
	return newFact("replica", "role", s.Role, "term", s.Term, "vote", s.Vote, "leader", s.Leader, "commit", s.Commit,
		"last", s.LastIndex, "durable", s.Durable, "applied", s.Applied, "storage", storageNames[s.Storage],
		"quarantined", s.Quarantined, "dropped", s.Dropped, "voters", members(s.Membership, raftpb.Voter),
		"learners", members(s.Membership, raftpb.Learner), "witnesses", members(s.Membership, raftpb.Witness),
		"incarnations", incarnations(s.Membership), "change", s.Membership.ID, "outgoing", outgoingVoters(s.Membership),
		"goals", goals(s.Membership), "operation", s.Membership.Operation, "addresses", addresses(s.Membership),
		"priorities", priorities(s.Membership), "members", c.CommittedMembership().ID, "uncommitted", c.UncommittedBatches(),
		"backlog", s.Backlog, "installing", s.Installing, "compacted", c.log.compacted())
}

func (s *script) expectReplica(r *rule) string {
	for _, node := range s.nodes(r) {
		if node.core == nil {
			return fmt.Sprintf("  replica %d is down", node.id)
		}
		if why := s.held(replicaFact(node.core), r); why != "" {
			return fmt.Sprintf("  replica %d: %s", node.id, why)
		}
	}
	return ""
}

// expectFollower is about what the leader of= knows of the follower n=.
func (s *script) expectFollower(r *rule) string {
	var of uint64
	if _, err := fmt.Sscan(r.take("of"), &of); err != nil || s.n.node(of) == nil {
		s.t.Fatalf("%s: follower of whom?", s.d.Pos)
	}
	leader := s.n.node(of).core
	for _, node := range s.nodes(r) {
		if leader == nil || leader.peer(node.id) == nil {
			return fmt.Sprintf("  replica %d has no member %d", of, node.id)
		}
		p := leader.peer(node.id)
		f := newFact("follower", "state", p.state, "match", p.match, "next", p.next, "paused", p.paused, "lost", p.lost,
			"kind", p.kind, "incarnation", p.incarnation, "inflight", p.inflight.len(), "inflight-bytes", p.inflightBytes,
			"online", p.online, "failures", p.failures, "heartbeats", p.sent.Heartbeats, "probes", p.sent.Probes,
			"appends", p.sent.Appends, "installs", p.sent.Installs, "backlog", p.backlog)
		if why := s.held(f, r); why != "" {
			return fmt.Sprintf("  follower %d: %s", node.id, why)
		}
	}
	return ""
}

// expectLeader holds when n is the one leader among the replicas that run, and has what else is said.
func (s *script) expectLeader(r *rule) string {
	wanted := r.wanted["n"]
	for _, node := range s.n.nodes {
		if leads := node.core != nil && node.core.IsLeader(); leads != (fmt.Sprint(node.id) == wanted) {
			return fmt.Sprintf("  replica %d leads: %t", node.id, leads)
		}
	}
	if len(r.wanted) == 1 {
		return ""
	}
	return s.expectReplica(r)
}

func (s *script) expectNoLeader(r *rule) string {
	if len(r.wanted) > 0 {
		s.t.Fatalf("%s: no-leader takes no arguments", s.d.Pos)
	}
	for _, node := range s.n.nodes {
		if node.core != nil && node.core.IsLeader() {
			return fmt.Sprintf("  replica %d leads", node.id)
		}
	}
	return ""
}

func (s *script) expectDown(r *rule) string {
	for _, node := range s.nodes(r) {
		if node.core != nil {
			return fmt.Sprintf("  replica %d runs", node.id)
		}
	}
	return ""
}

// expectEqual holds when the durable logs are the same, byte for byte above what either compacted.
func (s *script) expectEqual(r *rule) string {
	nodes := s.nodes(r)
	if len(nodes) < 2 || len(r.wanted) > 0 {
		s.t.Fatalf("%s: equal n=1/2", s.d.Pos)
	}
	for _, node := range nodes[1:] {
		a, b := &nodes[0].disk, &node.disk
		if a.last() != b.last() {
			return fmt.Sprintf("  replica %d ends at %d, replica %d at %d", nodes[0].id, a.last(), node.id, b.last())
		}
		for index := max(a.stored.Compacted, b.stored.Compacted) + 1; index <= a.last(); index++ {
			if x, y := a.entry(index), b.entry(index); x != y {
				return fmt.Sprintf("  entry %d is %q at replica %d and %q at replica %d", index, x, nodes[0].id, y, node.id)
			}
		}
	}
	return ""
}

// entry is one entry in the log store by kind, term and command.
func (d *disk) entry(index uint64) string {
	for _, b := range d.batches {
		if index < b.First() || index > b.Last() {
			continue
		}
		text := ""
		if b.Flags()&raftpb.FlagBodyOmitted == 0 {
			text = entries(b)[index-b.First()]
		}
		return fmt.Sprintf("%s %d %s", b.Kind(), b.Term(), text)
	}
	return ""
}

// expectLog is about the commands in the log store: has=a,b lacks=c commands=a,b,c.
func (s *script) expectLog(r *rule) string {
	for _, node := range s.nodes(&rule{name: r.name, wanted: map[string]string{"n": r.wanted["n"]}}) {
		if why := s.holdsCommands(r, strings.Split(commandsOf(node.disk.batches), ",")); why != "" {
			return fmt.Sprintf("  replica %d: %s", node.id, why)
		}
	}
	return ""
}

// expectState is the same about the commands that the state machine was handed since the replica started.
func (s *script) expectState(r *rule) string {
	for _, node := range s.nodes(&rule{name: r.name, wanted: map[string]string{"n": r.wanted["n"]}}) {
		if why := s.holdsCommands(r, strings.Split(commandsOf(node.applied), ",")); why != "" {
			return fmt.Sprintf("  replica %d: %s", node.id, why)
		}
	}
	return ""
}

func (s *script) holdsCommands(r *rule, commands []string) string {
	for key, value := range r.wanted {
		for _, command := range strings.Split(value, ",") {
			if has := slices.Contains(commands, command); key == "has" && !has || key == "lacks" && has {
				return fmt.Sprintf("commands are %v", commands)
			}
		}
		switch key {
		case "n", "has", "lacks":
		case "commands":
			if all := strings.Join(commands, ","); all != value && !(all == "" && value == "none") {
				return fmt.Sprintf("commands are %v", commands)
			}
		default:
			s.t.Fatalf("%s: %s has no field %s", s.d.Pos, r.name, key)
		}
	}
	if len(r.wanted) < 2 {
		s.t.Fatalf("%s: %s: say has=, lacks= or commands=", s.d.Pos, r.name)
	}
	return ""
}

// expectEntry is about one entry of the log as the core has it: term=0 stands for none.
func (s *script) expectEntry(r *rule) string {
	var index uint64
	if _, err := fmt.Sscan(r.take("index"), &index); err != nil {
		s.t.Fatalf("%s: entry n= index= term=", s.d.Pos)
	}
	for _, node := range s.nodes(r) {
		term := uint64(0)
		if node.core != nil && index <= node.core.log.last {
			term = node.core.log.terms.term(index)
		}
		if why := s.held(newFact("entry", "term", term), r); why != "" {
			return fmt.Sprintf("  replica %d: %s", node.id, why)
		}
	}
	return ""
}

// expectOutcome is about how a proposal of a replica's present session ended: applied, refused (surely not applied), maybe, or
// open. Proposals count from 1 in every session.
func (s *script) expectOutcome(r *rule) string {
	var number uint64
	if _, err := fmt.Sscan(r.take("proposal"), &number); err != nil {
		s.t.Fatalf("%s: outcome n= proposal= is=", s.d.Pos)
	}
	for _, node := range s.nodes(r) {
		how := map[string]string{"": "open", "refused maybe=false": "refused", "refused maybe=true": "maybe", "applied": "applied"}
		if why := s.held(newFact("outcome", "is", how[node.ended[number]]), r); why != "" {
			return fmt.Sprintf("  replica %d: %s", node.id, why)
		}
	}
	return ""
}

// expectAgreed holds when no two replicas, or lives of one, ever applied different entries at one index (state machine safety,
// thesis 3.6.3).
func (s *script) expectAgreed(r *rule) string {
	if len(r.wanted) > 0 {
		s.t.Fatalf("%s: agreed takes no arguments", s.d.Pos)
	}
	type entry struct{ text, who string }
	seen := map[string]entry{}
	for _, f := range s.n.history.facts {
		if f.what != "applied" {
			continue
		}
		now := entry{f.fields["term"] + " " + f.fields["kind"] + " " + f.fields["commands"], f.fields["n"]}
		before, ok := seen[f.fields["first"]]
		if ok && before.text != now.text {
			return fmt.Sprintf("  entry %s is %q at replica %s and %q at replica %s", f.fields["first"],
				before.text, before.who, now.text, now.who)
		}
		seen[f.fields["first"]] = now
	}
	return ""
}
