package nodehost

import (
	"github.com/flotilla-raft/flotilla/engine"
)

// Events are callbacks for what happens on a host; those left nil cost nothing. They are called one at a time, in order, on a
// goroutine of their own, so a slow one delays the others and never the engine: what does not fit into the bounded queue is
// dropped and counted in Info. A callback may call the host's methods, except that Close called from one does not return.
type Events struct {
	// LeaderChanged says that a replica here learned of a leader, or lost it (leader 0).
	LeaderChanged func(replica ReplicaName, leader, term uint64)
	// ReplicaReady says that a replica was started, ReplicaStopped that it was stopped.
	ReplicaReady, ReplicaStopped func(replica ReplicaName)
	// ReplicaQuarantined says that a state machine returned an error or panicked: its replica goes on voting, but neither
	// leads, reads nor applies until it is restarted.
	ReplicaQuarantined func(replica ReplicaName, err error)
	// ReplicaFenced says that an assertion failed in a replica: it is silent until it is restarted.
	ReplicaFenced func(replica ReplicaName, err error)
	// ReplicaAbstaining says that a replica, here or followed by a leader here, came back with less than it had promised, and takes
	// no part until it is healed.
	ReplicaAbstaining func(replica ReplicaName)
	// ReplicaDamaged says that what is stored of a replica cannot be read, and where. It is started all the same, takes no part, and
	// asks the others to heal it.
	ReplicaDamaged func(replica ReplicaName, err error)
	// ReplicaHealed says that the shard has admitted such a replica under another incarnation: what was left of its state is
	// removed, and it is brought up again like a new member, with a state machine from the same factory. ReplicaHealFailed says
	// that it could not begin anew and is out of service until it is started again.
	ReplicaHealed     func(replica ReplicaName)
	ReplicaHealFailed func(replica ReplicaName, err error)
	// SnapshotTaken says that a snapshot is durable, or that a state machine on disk has synced, up to an index.
	SnapshotTaken func(replica ReplicaName, index uint64)
	// SnapshotFailed says that a snapshot could not be taken. The replica goes on, and it is tried again, after a second at first and later
	// each time.
	SnapshotFailed func(replica ReplicaName, err error)
	// SnapshotDamaged says that a snapshot cannot be recovered from, and where it is damaged. An older one is tried; if there is none,
	// ReplicaDamaged follows.
	SnapshotDamaged func(replica ReplicaName, err error)
	// SnapshotOffered says that a replica here lacks what the others have compacted, and fetches a snapshot, at index or later, from another
	// one. SnapshotReceived says that it is durable here, and that the log begins anew behind it; SnapshotInstalled that the state machine has
	// recovered from it.
	SnapshotOffered   func(replica ReplicaName, source, index uint64)
	SnapshotReceived  func(replica ReplicaName, source, index uint64)
	SnapshotInstalled func(replica ReplicaName, index uint64)
	// SnapshotSent says that another replica has received all of a snapshot from this host.
	SnapshotSent func(replica ReplicaName, receiver, index uint64)
	// StreamFailed says that a snapshot was not sent to another replica, not received from one, or not installed, and why. The leader tries
	// again, later, or with another source; a state machine that failed to recover is quarantined.
	StreamFailed func(replica ReplicaName, peer uint64, err error)
	// MachineStuck says that a state machine has not moved for 4 s inside Save, Recover, Sync or Open; once in such a stretch. It keeps one place of
	// Tuning.SnapshotWorkers, or RecoverWorkers.
	MachineStuck func(replica ReplicaName, err error)
	// AuditUndecided says that an audit found replicas that differ, at an index, and no majority that agrees: nobody is taken out of service, and who is
	// right is for people to find out.
	AuditUndecided func(replica ReplicaName, index uint64)
	// DataLost says that the replicas which lost their state leave no quorum: the shard decides nothing more, and its requests end with
	// ErrDataLost, until lost data is put back or the shard is rebuilt.
	DataLost func(replica ReplicaName)
	// WitnessStandsIn says that the leader here commits with a witness in the place of a data voter that has not been heard for an
	// election timeout: what is committed meanwhile is on one disk less than usual. It is said once in such a stretch.
	WitnessStandsIn func(replica ReplicaName)
	// ReplicaBootstrapped says that all first members have answered, so that the shard may elect its first leader.
	ReplicaBootstrapped func(replica ReplicaName)
	// ReplicaRemoved says that the replica is no member of its shard any more.
	ReplicaRemoved func(replica ReplicaName)
	// MembershipChanged says that another membership is in effect here.
	MembershipChanged func(replica ReplicaName)

	// ProposalDropped says that a batch of proposals was refused after it had been accepted.
	ProposalDropped func(replica ReplicaName, reason string)
	// ReplicationRejected says that a follower refused what this leader sent.
	ReplicationRejected func(replica ReplicaName, follower uint64, reason string)
	// FollowerCreated says that the leader here deals with a follower from now on, FollowerDestroyed that it does not any more:
	// the leader leads no more, or the follower is no member any more.
	FollowerCreated, FollowerDestroyed func(replica ReplicaName, follower uint64)
	// FollowerOnline says that a follower answers, for the first time or again; FollowerOffline that the connection to it
	// was lost, with the reason if it is known, or that it has not answered for an election timeout.
	FollowerOffline func(replica ReplicaName, follower uint64, err error)
	FollowerOnline  func(replica ReplicaName, follower uint64)
	// FollowerStuck says that a follower answers heartbeats, but that its log has not moved for several election timeouts although
	// it lacks entries: its disk may be full, or its log store stands still. It is said once in such a stretch.
	FollowerStuck func(replica ReplicaName, follower uint64)
	// ClockDrift says that the clock of a voter gains more on this leader's than MaxClockDrift allows: it does not count for leases
	// until it has behaved for a while.
	ClockDrift func(replica ReplicaName, voter uint64)
	// FollowerFailed says that replication to a follower met an error.
	FollowerFailed func(replica ReplicaName, follower uint64, err error)
	// SecondLeader says that another replica claimed to lead in this one's term: storage is broken somewhere, or a
	// message was forged.
	SecondLeader func(replica ReplicaName, claimant, term uint64)

	// ConnectionUp and ConnectionDown say that a connection to another host was made, or lost, or could not be made.
	ConnectionUp   func(address string)
	ConnectionDown func(address string, err error)

	// StorageFailed says that the log store failed: the host takes no writes until it is restarted.
	StorageFailed func(err error)
	// StorageStalled says that a write takes longer than Tuning.MaxStall, StorageRecovered that it ended.
	StorageStalled, StorageRecovered func()
}

// ReplicaName names a replica.
type ReplicaName struct{ ShardID, ReplicaID uint64 }

// deliver calls the callback for an event, if there is one.
func (e *Events) deliver(event *engine.Event) {
	replica := ReplicaName{event.ShardID, event.ReplicaID}
	switch event.Kind {
	case engine.EventReplicaReady:
		call(e.ReplicaReady, replica)
	case engine.EventReplicaStopped:
		call(e.ReplicaStopped, replica)
	case engine.EventReplicaAbstaining:
		call(e.ReplicaAbstaining, replica)
	case engine.EventReplicaHealed:
		call(e.ReplicaHealed, replica)
	case engine.EventWitnessStandsIn:
		call(e.WitnessStandsIn, replica)
	case engine.EventDataLost:
		call(e.DataLost, replica)
	case engine.EventReplicaDamaged:
		call2(e.ReplicaDamaged, replica, event.Err)
	case engine.EventReplicaHealFailed:
		call2(e.ReplicaHealFailed, replica, event.Err)
	case engine.EventReplicaBootstrapped:
		call(e.ReplicaBootstrapped, replica)
	case engine.EventReplicaRemoved:
		call(e.ReplicaRemoved, replica)
	case engine.EventMembershipChanged:
		call(e.MembershipChanged, replica)
	case engine.EventReplicaQuarantined:
		call2(e.ReplicaQuarantined, replica, event.Err)
	case engine.EventReplicaFenced:
		call2(e.ReplicaFenced, replica, event.Err)
	case engine.EventProposalDropped:
		call2(e.ProposalDropped, replica, event.Reason.String())
	case engine.EventSnapshotTaken:
		call2(e.SnapshotTaken, replica, event.Index)
	case engine.EventSnapshotFailed:
		call2(e.SnapshotFailed, replica, event.Err)
	case engine.EventSnapshotDamaged:
		call2(e.SnapshotDamaged, replica, event.Err)
	case engine.EventMachineStuck:
		call2(e.MachineStuck, replica, event.Err)
	case engine.EventAuditUndecided:
		call2(e.AuditUndecided, replica, event.Index)
	case engine.EventSnapshotInstalled:
		call2(e.SnapshotInstalled, replica, event.Index)
	case engine.EventFollowerCreated:
		call2(e.FollowerCreated, replica, event.Peer)
	case engine.EventFollowerDestroyed:
		call2(e.FollowerDestroyed, replica, event.Peer)
	case engine.EventClockDrift:
		call2(e.ClockDrift, replica, event.Peer)
	case engine.EventFollowerStuck:
		call2(e.FollowerStuck, replica, event.Peer)
	case engine.EventFollowerOnline:
		call2(e.FollowerOnline, replica, event.Peer)
	case engine.EventLeaderChanged:
		call3(e.LeaderChanged, replica, event.Leader, event.Term)
	case engine.EventReplicationRejected:
		call3(e.ReplicationRejected, replica, event.Peer, event.Reason.String())
	case engine.EventFollowerOffline:
		call3(e.FollowerOffline, replica, event.Peer, event.Err)
	case engine.EventFollowerFailed:
		call3(e.FollowerFailed, replica, event.Peer, event.Err)
	case engine.EventSecondLeader:
		call3(e.SecondLeader, replica, event.Peer, event.Term)
	case engine.EventSnapshotOffered:
		call3(e.SnapshotOffered, replica, event.Peer, event.Index)
	case engine.EventSnapshotReceived:
		call3(e.SnapshotReceived, replica, event.Peer, event.Index)
	case engine.EventSnapshotSent:
		call3(e.SnapshotSent, replica, event.Peer, event.Index)
	case engine.EventStreamFailed:
		call3(e.StreamFailed, replica, event.Peer, event.Err)
	default:
		e.deliverHost(event)
	}
}

// deliverHost calls the callback for an event that concerns no single replica.
func (e *Events) deliverHost(event *engine.Event) {
	switch event.Kind {
	case engine.EventConnectionUp:
		call(e.ConnectionUp, event.Address)
	case engine.EventConnectionDown:
		call2(e.ConnectionDown, event.Address, event.Err)
	case engine.EventStorageFailed:
		call(e.StorageFailed, event.Err)
	case engine.EventStorageStalled:
		if e.StorageStalled != nil {
			e.StorageStalled()
		}
	case engine.EventStorageRecovered:
		if e.StorageRecovered != nil {
			e.StorageRecovered()
		}
	}
}

func call[A any](f func(A), a A) {
	if f != nil {
		f(a)
	}
}

func call2[A, B any](f func(A, B), a A, b B) {
	if f != nil {
		f(a, b)
	}
}

func call3[A, B, C any](f func(A, B, C), a A, b B, c C) {
	if f != nil {
		f(a, b, c)
	}
}
