package raft

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// fact is one thing that happened, or one part of the state, by named fields: what an expectation is held against. Its
// name and the names of its fields are those of factFields, so that a rule with a misspelt one is refused, not satisfied.
type fact struct {
	what   string
	fields map[string]string
}

// history is what happened to a network, in order. Marks are positions in it.
type history struct {
	facts []fact
	marks map[string]int
}

// factFields lists what rules can speak of. A new kind of fact, or a new field, is named here and filled where it arises.
var factFields = map[string]string{
	"sent": "type from to term index log-term commit request reason hint hint-term transfer through commands",
	// A write that a core asked for; first and last are those of its batches.
	"write": "n number term vote commit truncate first last installing installed",
	// A snapshot that a core asks for, and one that was brought to it; taken is what it said of it.
	"fetch":         "n source index",
	"fetch-instead": "n source",
	"snapshot":      "n from index taken",
	"compacted":     "n index",
	"event":         "n kind term leader replica id reason",
	"refused":       "n kind id reason maybe",
	"read":          "n id index",
	"applied":       "n first last term kind commands",
	"log-read":      "n first last follower",
	// What a call of the script returned at once.
	"answer": "n call reason",
}

// record adds a fact; fields are pairs of a name and a value.
func (n *network) record(what string, fields ...any) {
	if n.history == nil {
		return
	}
	n.history.facts = append(n.history.facts, newFact(what, fields...))
}

func newFact(what string, fields ...any) fact {
	f := fact{what: what, fields: make(map[string]string, len(fields)/2)}
	for i := 0; i < len(fields); i += 2 {
		f.fields[fields[i].(string)] = fmt.Sprint(fields[i+1])
	}
	return f
}

func commandsOf(batches []raftpb.Batch) string {
	var all []string
	for _, b := range batches {
		if len(b) >= raftpb.HeaderSize && b.Kind() == raftpb.KindCommands && b.Flags()&raftpb.FlagBodyOmitted == 0 {
			all = append(all, entries(b)...)
		}
	}
	return strings.Join(all, ",")
}

func (n *network) recordMessage(m *raftpb.Message) {
	if n.history == nil {
		return
	}
	through := uint64(0) // last entry that it carries
	if len(m.Batches) > 0 && m.Type != raftpb.MessagePropose {
		through = m.Batches[len(m.Batches)-1].Last()
	}
	n.record("sent", "type", m.Type, "from", m.From, "to", m.To, "term", m.Term, "index", m.LogIndex, "log-term", m.LogTerm,
		"commit", m.Commit, "request", m.Request, "reason", m.Reason, "hint", m.HintIndex, "hint-term", m.HintTerm,
		"transfer", m.Transfer, "through", through, "commands", commandsOf(m.Batches))
}

func (n *network) recordSave(node *testNode, s *raftpb.Save) {
	first, last := uint64(0), uint64(0)
	if len(s.Batches) > 0 {
		first, last = s.Batches[0].First(), s.Batches[len(s.Batches)-1].Last()
	}
	installing := uint64(0)
	if s.Installing != nil {
		installing = s.Installing.Index
	}
	n.record("write", "n", node.id, "number", s.Number, "term", s.State.Term, "vote", s.State.Vote, "commit", s.State.Commit,
		"truncate", s.TruncateFrom, "first", first, "last", last, "installing", installing, "installed", s.Installed)
}

func (n *network) recordEvent(node *testNode, e *Event) {
	n.record("event", "n", node.id, "kind", eventNames[e.Kind], "term", e.Term, "leader", e.Leader, "replica", e.Replica,
		"id", e.ID, "reason", e.Reason)
}

func (n *network) recordRefusal(node *testNode, r *Refusal) {
	n.record("refused", "n", node.id, "kind", refusalName(r.Kind), "id", r.ID, "reason", r.Reason, "maybe", r.MaybeApplied)
}

func (n *network) recordApply(node *testNode, b raftpb.Batch) {
	if n.history == nil {
		return
	}
	n.record("applied", "n", node.id, "first", b.First(), "last", b.Last(), "term", b.Term(), "kind", b.Kind(),
		"commands", commandsOf([]raftpb.Batch{b}))
}

// valueMatches holds a value against what a rule wants: alternatives divided by "/", each a text or, for numbers, a lower
// (3+) or upper (3-) bound; a "!" in front of all turns it round.
func valueMatches(value, wanted string) bool {
	if rest, negated := strings.CutPrefix(wanted, "!"); negated {
		return !valueMatches(value, rest)
	}
	return slices.ContainsFunc(strings.Split(wanted, "/"), func(alternative string) bool {
		if value == alternative {
			return true
		}
		bound, err := strconv.ParseUint(strings.TrimRight(alternative, "+-"), 10, 64)
		number, notNumber := strconv.ParseUint(value, 10, 64)
		if err != nil || notNumber != nil {
			return false
		}
		return strings.HasSuffix(alternative, "+") && number >= bound || strings.HasSuffix(alternative, "-") && number <= bound
	})
}
