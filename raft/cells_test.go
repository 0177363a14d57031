package raft

import (
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// emptyCells lists every cell of the handler table that is empty on purpose, with the reason. A message that falls into
// one is counted and ignored.
var emptyCells = map[Role]map[raftpb.MessageType]string{
	RoleFollower: {
		raftpb.MessagePreVoteResponse:   "answers a campaign that is over",
		raftpb.MessageVoteResponse:      "answers a campaign that is over: another leader was heard, or the votes were denied",
		raftpb.MessageReplicateResponse: "answers a leader of this term that stepped down within it",
		raftpb.MessageHeartbeatResponse: "answers a leader of this term that stepped down within it",
		raftpb.MessageSnapshotStatus:    "only a leader keeps progress",
		raftpb.MessageBootstrapResponse: "the exchange is complete",
	},
	RolePreCandidate: {
		raftpb.MessageVoteResponse:           "its own campaign of this term was denied or timed out",
		raftpb.MessageReplicateResponse:      "answers a leader of this term that stepped down within it",
		raftpb.MessageHeartbeatResponse:      "answers a leader of this term that stepped down within it",
		raftpb.MessageReadIndexResponse:      "forwarded reads ended when the leader was lost",
		raftpb.MessageProposeResponse:        "forwarded proposals ended when the leader was lost",
		raftpb.MessageTransferLeaderResponse: "the leader that was asked is lost; the wait ends by the next leader or by time",
		raftpb.MessageChangeMembersResponse:  "the leader that was asked is lost, and what waited for it ended",
		raftpb.MessageTimeoutNow:             "it campaigns already",
		raftpb.MessageSnapshotStatus:         "only a leader keeps progress",
		raftpb.MessageBootstrapResponse:      "the exchange is complete",
	},
	RoleCandidate: {
		raftpb.MessagePreVoteResponse:        "the pre-vote was won already",
		raftpb.MessageReplicateResponse:      "nobody led this term before",
		raftpb.MessageHeartbeatResponse:      "nobody led this term before",
		raftpb.MessageReadIndexResponse:      "forwarded reads ended when the leader was lost",
		raftpb.MessageProposeResponse:        "forwarded proposals ended when the leader was lost",
		raftpb.MessageTransferLeaderResponse: "the leader that was asked is lost; the wait ends by the next leader or by time",
		raftpb.MessageChangeMembersResponse:  "the leader that was asked is lost, and what waited for it ended",
		raftpb.MessageTimeoutNow:             "it campaigns already",
		raftpb.MessageSnapshotStatus:         "only a leader keeps progress",
		raftpb.MessageBootstrapResponse:      "the exchange is complete",
	},
	RoleLeader: {
		raftpb.MessagePull:                  "it replicates to whoever lacks entries",
		raftpb.MessagePullResponse:          "it was elected meanwhile",
		raftpb.MessageHealResponse:          "only a follower is told what it lost, and a leader asks for nothing",
		raftpb.MessagePreVoteResponse:       "a pre-vote from before the election was won",
		raftpb.MessageVoteResponse:          "the election is won",
		raftpb.MessageReadIndexResponse:     "a leader forwards no reads",
		raftpb.MessageProposeResponse:       "a leader forwards no proposals",
		raftpb.MessageTimeoutNow:            "it leads already",
		raftpb.MessageBootstrapResponse:     "the exchange is complete",
		raftpb.MessageChangeMembersResponse: "a leader asks nobody",
	},
	RoleBootstrapping: {
		raftpb.MessageInstallSnapshot:        "a leader offers a snapshot to who has answered it, and it answers as a follower",
		raftpb.MessagePull:                   "its log is empty",
		raftpb.MessagePullResponse:           "it never campaigned",
		raftpb.MessageHealResponse:           "it asked for nothing",
		raftpb.MessagePreVote:                "it votes only when every initial voter has answered (R16)",
		raftpb.MessagePreVoteResponse:        "it never campaigned",
		raftpb.MessageVote:                   "it votes only when every initial voter has answered (R16)",
		raftpb.MessageVoteResponse:           "it never campaigned",
		raftpb.MessageReplicateResponse:      "it never led",
		raftpb.MessageHeartbeatResponse:      "it never led",
		raftpb.MessageReadIndex:              "it never led in this session",
		raftpb.MessageReadIndexResponse:      "it knows no leader to forward to",
		raftpb.MessagePropose:                "it never led in this session",
		raftpb.MessageProposeResponse:        "it knows no leader to forward to",
		raftpb.MessageTimeoutNow:             "it may not campaign",
		raftpb.MessageTransferLeader:         "it never led in this session",
		raftpb.MessageTransferLeaderResponse: "it knows no leader to forward to",
		raftpb.MessageChangeMembers:          "it never led in this session",
		raftpb.MessageChangeMembersResponse:  "it knows no leader to forward to",
		raftpb.MessageSnapshotStatus:         "only a leader keeps progress",
	},
	RoleAbstaining: everythingBut("it forgot what it promised, or is no member: whatever it said could break a promise",
		raftpb.MessageRemoved, raftpb.MessageHeal, raftpb.MessageHealResponse),
	RoleStopped: everything("it is stopped"),
}

// unspoken are types that nobody sends yet.
var unspoken = []raftpb.MessageType{}

// engines are types that the engine takes before they reach a core.
var engines = []raftpb.MessageType{raftpb.MessageSnapshotPull, raftpb.MessageSnapshotChunk}

func init() {
	for role := range emptyCells {
		for _, t := range unspoken {
			emptyCells[role][t] = "nobody sends it yet"
		}
		for _, t := range engines {
			emptyCells[role][t] = "the engine's own: bytes of a snapshot"
		}
	}
}

func everythingBut(reason string, handled ...raftpb.MessageType) map[raftpb.MessageType]string {
	cells := everything(reason)
	for _, t := range handled {
		delete(cells, t)
	}
	return cells
}

func everything(reason string) map[raftpb.MessageType]string {
	cells := map[raftpb.MessageType]string{}
	for t := raftpb.MessageType(1); t < raftpb.MessageTypeCount; t++ {
		cells[t] = reason
	}
	return cells
}

func TestEmptyCellsOfTheHandlerTableAreListed(t *testing.T) {
	for role := range roleCount {
		for message := raftpb.MessageType(1); message < raftpb.MessageTypeCount; message++ {
			reason, listed := emptyCells[role][message]
			empty := handlers[role][message] == nil
			if empty != listed {
				t.Errorf("%s × %s: empty %t, listed as empty %t", role, message, empty, listed)
			}
			if listed && reason == "" {
				t.Errorf("%s × %s: no reason", role, message)
			}
		}
		if handlers[role][0] != nil {
			t.Errorf("%s handles the message type 0", role)
		}
	}
}

func TestMessageForAnEmptyCellIsCountedAndIgnored(t *testing.T) {
	n := newNetwork(3, t.Errorf)
	n.advance(3 * 1e9)
	leader := n.leader()
	m := raftpb.Message{
		Type: raftpb.MessageTimeoutNow, ShardID: testShard, From: 1 + leader.id%3, To: leader.id,
		FromIncarnation: 10 + 1 + leader.id%3, FromSession: n.node(1 + leader.id%3).session, ToSession: leader.session,
		Term: leader.core.term,
	}
	leader.core.Step(n.now, &m)
	n.out.Reset()
	leader.core.Drain(&n.out)
	if got := leader.core.Status().Ignored[raftpb.MessageTimeoutNow]; got != 1 {
		t.Errorf("counted %d, want 1", got)
	}
	if len(n.out.Events) != 1 || n.out.Events[0].Kind != EventIgnored || len(n.out.Messages) != 0 {
		t.Errorf("events %v, messages %v", n.out.Events, n.out.Messages)
	}
	if !leader.core.IsLeader() {
		t.Error("the leader stepped down")
	}
}
