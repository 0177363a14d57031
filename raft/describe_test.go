package raft

import (
	"fmt"
	"strings"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// describe is a message without what never matters in a script.
func describe(m *raftpb.Message) string {
	short := *m
	short.ShardID, short.FromIncarnation, short.ToIncarnation, short.FromSession, short.ToSession, short.Time, short.Backlog = 0, 0, 0, 0, 0, 0, 0
	switch short.Type {
	case raftpb.MessageHeartbeat:
		short.HintIndex, short.HintTerm = 0, 0 // how fresh the receiver's state is: clocks, which no script is about
	case raftpb.MessageHeartbeatResponse:
		short.HintTerm = 0
	}
	return short.String()
}

func describeSave(s *raftpb.Save) string {
	text := fmt.Sprintf("term=%d vote=%d commit=%d", s.State.Term, s.State.Vote, s.State.Commit)
	if s.Bootstrap != nil {
		text += fmt.Sprintf(" bootstrap complete=%t", s.Bootstrap.Complete)
	}
	if s.Installing != nil {
		text += fmt.Sprintf(" installing=%d/%d", s.Installing.Index, s.Installing.Term)
	}
	if s.Installed {
		text += " installed"
	}
	if s.TruncateFrom != 0 {
		text += fmt.Sprintf(" truncate=%d", s.TruncateFrom)
	}
	for _, b := range s.Batches {
		text += " {" + b.String() + "}"
	}
	return text
}

var eventNames = [...]string{
	"", "leader-changed", "replication-rejected", "membership-changed", "transfer-done", "second-leader", "abstaining",
	"bootstrapped", "removed", "follower-created", "follower-online", "follower-offline", "follower-destroyed", "follower-stuck", "healed", "witness-stands-in", "data-lost", "ignored",
	"members-changed", "clock-drift", "pulled", "snapshot-failed", "snapshot-received",
}

func describeEvent(e *Event) string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s term=%d", eventNames[e.Kind], e.Term)
	if e.Kind == EventLeaderChanged {
		fmt.Fprintf(&s, " leader=%d", e.Leader)
	}
	if e.Replica != 0 {
		fmt.Fprintf(&s, " replica=%d", e.Replica)
	}
	if e.Kind == EventIgnored {
		fmt.Fprintf(&s, " %s", raftpb.MessageType(e.ID))
	} else if e.ID != 0 {
		fmt.Fprintf(&s, " id=%d", e.ID)
	}
	if e.Reason != 0 {
		fmt.Fprintf(&s, " %s", e.Reason)
	}
	return s.String()
}

var refusalNames = [...]string{"", "proposal", "read", "transfer", "change"}

func refusalName(k RefusalKind) string { return refusalNames[k] }

func describeStatus(s Status) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d: %s term=%d leader=%d last=%d durable=%d commit=%d applied=%d",
		s.ReplicaID, s.Role, s.Term, s.Leader, s.LastIndex, s.Durable, s.Commit, s.Applied)
	for _, f := range s.Followers {
		fmt.Fprintf(&b, "\n   follower %d: %s match=%d next=%d", f.ReplicaID, f.State, f.Match, f.Next)
		if f.Paused {
			b.WriteString(" paused")
		}
	}
	if m := s.Membership; !finished(m) || members(m, raftpb.Learner) != "none" || members(m, raftpb.Witness) != "none" {
		fmt.Fprintf(&b, "\n   %s", describeMembership(m))
	}
	return b.String()
}
