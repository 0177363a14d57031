package nodehost

import (
	"errors"
	"fmt"
	"testing"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// Every kind of event of the engine reaches its callback with what it carries, and none is called for another.
func TestEveryEventHasItsCallback(t *testing.T) {
	var got []string
	note := func(name string, values ...any) { got = append(got, fmt.Sprint(append([]any{name}, values...)...)) }
	events := Events{
		LeaderChanged:       func(r ReplicaName, leader, term uint64) { note("leader", r, leader, term) },
		ReplicaReady:        func(r ReplicaName) { note("ready", r) },
		ReplicaStopped:      func(r ReplicaName) { note("stopped", r) },
		ReplicaQuarantined:  func(r ReplicaName, err error) { note("quarantined", r, err) },
		ReplicaFenced:       func(r ReplicaName, err error) { note("fenced", r, err) },
		ReplicaAbstaining:   func(r ReplicaName) { note("abstaining", r) },
		ReplicaHealed:       func(r ReplicaName) { note("healed", r) },
		ReplicaHealFailed:   func(r ReplicaName, err error) { note("heal failed", r, err) },
		WitnessStandsIn:     func(r ReplicaName) { note("stands in", r) },
		DataLost:            func(r ReplicaName) { note("data lost", r) },
		ReplicaBootstrapped: func(r ReplicaName) { note("bootstrapped", r) },
		ReplicaRemoved:      func(r ReplicaName) { note("removed", r) },
		MembershipChanged:   func(r ReplicaName) { note("membership", r) },
		ProposalDropped:     func(r ReplicaName, reason string) { note("dropped", r, reason) },
		ReplicationRejected: func(r ReplicaName, follower uint64, reason string) { note("rejected", r, follower, reason) },
		FollowerOffline:     func(r ReplicaName, follower uint64, err error) { note("offline", r, follower, err) },
		FollowerOnline:      func(r ReplicaName, follower uint64) { note("online", r, follower) },
		FollowerCreated:     func(r ReplicaName, follower uint64) { note("created", r, follower) },
		FollowerDestroyed:   func(r ReplicaName, follower uint64) { note("destroyed", r, follower) },
		ClockDrift:          func(r ReplicaName, voter uint64) { note("drift", r, voter) },
		FollowerStuck:       func(r ReplicaName, follower uint64) { note("stuck", r, follower) },
		FollowerFailed:      func(r ReplicaName, follower uint64, err error) { note("failed", r, follower, err) },
		SecondLeader:        func(r ReplicaName, claimant, term uint64) { note("second", r, claimant, term) },
		ConnectionUp:        func(address string) { note("up", address) },
		ConnectionDown:      func(address string, err error) { note("down", address, err) },
		SnapshotTaken:       func(r ReplicaName, index uint64) { note("taken", r, index) },
		SnapshotFailed:      func(r ReplicaName, err error) { note("not taken", r, err) },
		SnapshotDamaged:     func(r ReplicaName, err error) { note("snapshot damaged", r, err) },
		SnapshotOffered:     func(r ReplicaName, source, index uint64) { note("offered", r, source, index) },
		SnapshotReceived:    func(r ReplicaName, source, index uint64) { note("received", r, source, index) },
		SnapshotInstalled:   func(r ReplicaName, index uint64) { note("installed", r, index) },
		SnapshotSent:        func(r ReplicaName, receiver, index uint64) { note("sent", r, receiver, index) },
		StreamFailed:        func(r ReplicaName, peer uint64, err error) { note("stream failed", r, peer, err) },
		MachineStuck:        func(r ReplicaName, err error) { note("machine stuck", r, err) },
		AuditUndecided:      func(r ReplicaName, index uint64) { note("undecided", r, index) },
		StorageFailed:       func(err error) { note("storage failed", err) },
		StorageStalled:      func() { note("stalled") },
		StorageRecovered:    func() { note("recovered") },
	}
	event := engine.Event{
		ShardID: 1, ReplicaID: 2, Term: 3, Leader: 4, Peer: 5, Reason: raftpb.ReasonBusy, Address: "host:1", Index: 6, Err: errors.New("why"),
	}
	busy := raftpb.ReasonBusy.String()
	for kind, want := range map[engine.EventKind]string{
		engine.EventLeaderChanged:       "leader{1 2} 4 3",
		engine.EventReplicaReady:        "ready{1 2}",
		engine.EventReplicaStopped:      "stopped{1 2}",
		engine.EventReplicaQuarantined:  "quarantined{1 2} why",
		engine.EventReplicaFenced:       "fenced{1 2} why",
		engine.EventAuditUndecided:      "undecided{1 2} 6",
		engine.EventReplicaAbstaining:   "abstaining{1 2}",
		engine.EventReplicaHealed:       "healed{1 2}",
		engine.EventReplicaHealFailed:   "heal failed{1 2} why",
		engine.EventWitnessStandsIn:     "stands in{1 2}",
		engine.EventDataLost:            "data lost{1 2}",
		engine.EventReplicaBootstrapped: "bootstrapped{1 2}",
		engine.EventReplicaRemoved:      "removed{1 2}",
		engine.EventMembershipChanged:   "membership{1 2}",
		engine.EventProposalDropped:     "dropped{1 2}" + busy,
		engine.EventReplicationRejected: "rejected{1 2} 5" + busy,
		engine.EventFollowerOffline:     "offline{1 2} 5 why",
		engine.EventFollowerOnline:      "online{1 2} 5",
		engine.EventFollowerCreated:     "created{1 2} 5",
		engine.EventFollowerDestroyed:   "destroyed{1 2} 5",
		engine.EventFollowerStuck:       "stuck{1 2} 5",
		engine.EventClockDrift:          "drift{1 2} 5",
		engine.EventFollowerFailed:      "failed{1 2} 5 why",
		engine.EventSecondLeader:        "second{1 2} 5 3",
		engine.EventConnectionUp:        "uphost:1",
		engine.EventConnectionDown:      "downhost:1why",
		engine.EventSnapshotTaken:       "taken{1 2} 6",
		engine.EventSnapshotFailed:      "not taken{1 2} why",
		engine.EventSnapshotDamaged:     "snapshot damaged{1 2} why",
		engine.EventSnapshotOffered:     "offered{1 2} 5 6",
		engine.EventSnapshotReceived:    "received{1 2} 5 6",
		engine.EventSnapshotInstalled:   "installed{1 2} 6",
		engine.EventSnapshotSent:        "sent{1 2} 5 6",
		engine.EventStreamFailed:        "stream failed{1 2} 5 why",
		engine.EventMachineStuck:        "machine stuck{1 2} why",
		engine.EventStorageFailed:       "storage failedwhy",
		engine.EventStorageStalled:      "stalled",
		engine.EventStorageRecovered:    "recovered",
	} {
		got = nil
		event.Kind = kind
		events.deliver(&event)
		if len(got) != 1 || got[0] != want {
			t.Errorf("kind %d: %q, want %q", kind, got, want)
		}
		(&Events{}).deliver(&event) // callbacks that are not set are not called
	}
	got = nil
	event.Kind = engine.EventAuditUndecided + 1
	events.deliver(&event)
	if len(got) != 0 {
		t.Errorf("a kind that is not known: %q", got)
	}
}
