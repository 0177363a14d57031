package raft

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/cockroachdb/datadriven"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// expectsOnly runs scripts for their expectations alone: neither what they print nor the network's own checks count. With it
// `make guards` shows that it is the expectation that notices when a guard is taken out.
var expectsOnly = flag.Bool("expects-only", false, "let scripts fail by their expect lines only")

// expectationFalse begins the report of a rule that does not hold; `make guards` looks for it.
const expectationFalse = "EXPECTATION FALSE"

// expect holds the rules of a directive, one on its own line or several in the lines below, against the cluster as it is and
// against what happened. A rule that does not hold fails the test before datadriven looks at any output, so that -rewrite
// neither satisfies nor hides it. testdata/README.md lists the rules.
func (s *script) expect() {
	lines := strings.Split(s.d.Input, "\n")
	if len(s.d.CmdArgs) > 0 {
		words := make([]string, len(s.d.CmdArgs))
		for i, argument := range s.d.CmdArgs {
			words[i] = argument.String()
		}
		lines = append(lines, strings.Join(words, " "))
	}
	rules := 0
	for _, line := range lines {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		rules++
		if why := s.holds(line); why != "" {
			s.t.Errorf("%s: %s: %s\n%s", s.d.Pos, expectationFalse, line, why)
		}
	}
	if rules == 0 {
		s.t.Fatalf("%s: expect without a rule", s.d.Pos)
	}
}

// rule is one line of an expect directive, taken apart.
type rule struct {
	name   string
	never  bool
	wanted map[string]string
	count  string // how often, "" for at least once
	since  string
}

// holds returns why a rule does not hold, "" if it does.
func (s *script) holds(line string) string {
	name, arguments, err := datadriven.ParseLine(line)
	if err != nil {
		s.t.Fatalf("%s: %s: %v", s.d.Pos, line, err)
	}
	r := rule{name: name, wanted: map[string]string{}}
	if name == "never" {
		if len(arguments) == 0 || len(arguments[0].Vals) > 0 {
			s.t.Fatalf("%s: %s: never what?", s.d.Pos, line)
		}
		r.never, r.name, arguments = true, arguments[0].Key, arguments[1:]
	}
	for _, argument := range arguments {
		if len(argument.Vals) != 1 || argument.Vals[0] == "" {
			s.t.Fatalf("%s: %s: %s has no value", s.d.Pos, line, argument.Key)
		}
		switch argument.Key {
		case "count":
			r.count = argument.Vals[0]
		case "since":
			r.since = argument.Vals[0]
		default:
			r.wanted[argument.Key] = argument.Vals[0]
		}
	}
	s.checkWords(line, &r)
	if factFields[r.name] != "" {
		return s.happened(&r)
	}
	check, ok := stateRules[r.name]
	if !ok || r.never || r.count != "" || r.since != "" {
		s.t.Fatalf("%s: %s: no such rule", s.d.Pos, line)
	}
	return check(s, &r)
}

// vocabulary are the values that a field of a rule can have, where they are names: a rule about a name that does not exist
// would hold for ever.
func vocabulary(what, field string) []string {
	var names []string
	switch field {
	case "type":
		for t := raftpb.MessageType(1); t < raftpb.MessageTypeCount; t++ {
			names = append(names, t.String())
		}
	case "reason":
		for r := raftpb.Reason(0); r < raftpb.ReasonCount; r++ {
			names = append(names, r.String())
		}
	case "role":
		names = roleNames[:]
	case "storage":
		names = storageNames[:]
	case "state":
		names = progressNames[:]
	case "installing":
		if what == "replica" {
			names = []string{"true", "false"}
		}
	case "maybe", "transfer", "quarantined", "paused", "lost", "taken", "installed":
		names = []string{"true", "false"}
	case "is":
		names = []string{"open", "refused", "maybe", "applied"}
	case "kind":
		names = map[string][]string{
			"event": eventNames[1:], "refused": refusalNames[1:],
			"applied": {raftpb.KindCommands.String(), raftpb.KindNoOp.String(), raftpb.KindMembership.String()},
		}[what]
	}
	return names
}

func (s *script) checkWords(line string, r *rule) {
	fields := strings.Fields(factFields[r.name])
	for key, value := range r.wanted {
		if len(fields) > 0 && !slices.Contains(fields, key) {
			s.t.Fatalf("%s: %s: %s has no field %s", s.d.Pos, line, r.name, key)
		}
		names := vocabulary(r.name, key)
		for _, each := range strings.Split(strings.TrimPrefix(value, "!"), "/") {
			if names != nil && !slices.Contains(names, each) {
				s.t.Fatalf("%s: %s: %s is no %s; there are %v", s.d.Pos, line, each, key, names)
			}
		}
	}
}

// happened counts the facts that match since the mark, or since the script's begin.
func (s *script) happened(r *rule) string {
	from := 0
	if r.since != "" {
		position, ok := s.n.history.marks[r.since]
		if !ok {
			s.t.Fatalf("%s: no mark %s", s.d.Pos, r.since)
		}
		from = position
	}
	var found []string
	for i := from; i < len(s.n.history.facts); i++ {
		if f := &s.n.history.facts[i]; f.what == r.name && f.differs(r) == "" {
			found = append(found, f.String())
		}
	}
	how := "1+"
	switch {
	case r.never && r.count != "":
		s.t.Fatalf("%s: never has no count", s.d.Pos)
	case r.never:
		how = "0"
	case r.count != "":
		how = r.count
	}
	if valueMatches(strconv.Itoa(len(found)), how) {
		return ""
	}
	return fmt.Sprintf("it happened %d times\n%s", len(found), strings.Join(found, "\n"))
}

func (f *fact) String() string {
	text := "  " + f.what
	for _, key := range strings.Fields(factFields[f.what]) {
		if value := f.fields[key]; value != "" {
			text += " " + key + "=" + value
		}
	}
	return text
}

// differs returns the first field of the rule that the fact does not have as wanted.
func (f *fact) differs(r *rule) string {
	keys := make([]string, 0, len(r.wanted))
	for key := range r.wanted {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	for _, key := range keys {
		if value := f.fields[key]; !valueMatches(value, r.wanted[key]) {
			return fmt.Sprintf("  %s is %q", key, value)
		}
	}
	return ""
}

// held compares a fact of the present state; a field that there is not is a mistake of the script.
func (s *script) held(f fact, r *rule) string {
	if len(r.wanted) == 0 {
		s.t.Fatalf("%s: %s says nothing", s.d.Pos, r.name)
	}
	for key := range r.wanted {
		if _, ok := f.fields[key]; !ok {
			s.t.Fatalf("%s: %s has no field %s", s.d.Pos, r.name, key)
		}
	}
	return f.differs(r)
}
