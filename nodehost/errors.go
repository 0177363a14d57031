package nodehost

import (
	"context"
	"errors"
	"fmt"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/rsm"
)

// Errors of requests, for errors.Is. Those that MaybeApplied says true of leave the outcome unknown; after all others the
// request surely had no effect and may be made again.
var (
	// ErrMaybeApplied is matched by every error after which the outcome is unknown; see MaybeApplied.
	ErrMaybeApplied = engine.ErrMaybeApplied
	// ErrBusy refuses a request at once because bounded queues are full or move too slowly, or a proposal because the leader has yet to
	// hear of the new learner that it was made on. Try again later.
	ErrBusy = engine.ErrBusy
	// ErrDiskFull refuses a proposal because the disk of a needed host is below its reserve.
	ErrDiskFull = engine.ErrDiskFull
	// ErrNoLeader refuses a request because no leader is known. Try again later.
	ErrNoLeader = engine.ErrNoLeader
	// ErrNotLeader refuses a request because leadership moved on its way. Try again.
	ErrNotLeader = engine.ErrNotLeader
	// ErrTermMismatch refuses a ProposeAtTerm made for another term than the leader's.
	ErrTermMismatch = engine.ErrTermMismatch
	// ErrTransferring refuses a proposal while leadership is being handed over. Try again.
	ErrTransferring = engine.ErrTransferring
	// ErrTransferFailed says that a TransferLeader did not happen; the error matches the reason, too.
	ErrTransferFailed = engine.ErrTransferFailed
	// ErrTargetBehind says that the target of a TransferLeader did not have the whole log in time; the leader goes on.
	ErrTargetBehind = engine.ErrTargetBehind
	// ErrTargetFailed says that the target of a TransferLeader is not heard, cannot campaign, or did not win; the leader goes on.
	ErrTargetFailed = engine.ErrTargetFailed
	// ErrRepairRefused says that a replica cannot be rebuilt from others, or is none that the data directory holds.
	ErrRepairRefused = engine.ErrRepairRefused
	// ErrNotMember says that a replica named in a request is not a member of the shard.
	ErrNotMember = engine.ErrNotMember
	// ErrNotVoter refuses to make a replica the leader that cannot lead: a learner, a witness.
	ErrNotVoter = engine.ErrNotVoter
	// ErrWitness refuses a request made of a witness, which holds no data: it neither proposes nor reads.
	ErrWitness = engine.ErrWitness
	// ErrStaleChange refuses a MembershipChange whose IfID is not the ID of the present membership.
	ErrStaleChange = engine.ErrStaleChange
	// ErrInvalidChange refuses a MembershipChange that leads to no possible membership; the text says why.
	ErrInvalidChange = engine.ErrInvalidChange
	// ErrPendingChange refuses a MembershipChange while another one is under way. Try again when it is done, or cancel it.
	ErrPendingChange = engine.ErrPendingChange
	// ErrChangeCanceled ends a MembershipChange that was canceled before it was done: it promoted, demoted and removed nobody.
	ErrChangeCanceled = engine.ErrChangeCanceled
	// ErrRemoved says that the replica here is no member of its shard any more. Stop it; its data is kept until
	// RemoveReplicaData.
	ErrRemoved = engine.ErrRemoved
	// ErrDataLost says that the data of a quorum is lost: the shard decides nothing until it is rebuilt.
	ErrDataLost = engine.ErrDataLost
	// ErrTooStale says that the state here cannot be shown to be as fresh as was asked. Try again, elsewhere, or Read.
	ErrTooStale = engine.ErrTooStale
	// ErrTooLarge refuses a command above Config.MaxCommandBytes.
	ErrTooLarge = engine.ErrTooLarge
	// ErrEmptyBatch refuses a ProposeBatch without commands.
	ErrEmptyBatch = engine.ErrEmptyBatch
	// ErrTimeout says that Config.RequestTimeout passed.
	ErrTimeout = engine.ErrTimeout
	// ErrLeaderChanged says that leadership moved while the request was under way.
	ErrLeaderChanged = engine.ErrLeaderChanged
	// ErrStopped says that the replica, or the host, is stopped.
	ErrStopped = engine.ErrStopped
	// ErrQuarantined says that the replica's state machine failed; a restart of the replica tries again.
	ErrQuarantined = engine.ErrQuarantined
	// ErrNoSessions refuses to open a session with a shard whose state machine is on disk and keeps no sessions (rsm.SessionKeeper).
	ErrNoSessions = engine.ErrNoSessions
	// ErrSessionExpired says that a session is not there any more: a shard holds so many, and evicts the one that was not used for longest.
	ErrSessionExpired = engine.ErrSessionExpired
	// ErrSessionClosed says that Session.Close was called.
	ErrSessionClosed = errors.New("flotilla: session is closed")
	// ErrSessionBusy refuses a call of a session that has MaxSessionCalls behind the oldest one that has not ended.
	ErrSessionBusy = errors.New("flotilla: too many calls of the session are under way")
	// ErrCallForgotten says that a call was abandoned.
	ErrCallForgotten = engine.ErrCallForgotten
	// ErrOtherShard refuses to let a session go through a handle of another shard.
	ErrOtherShard = errors.New("flotilla: handle is of another shard")
	// ErrFenced says that an assertion failed in the replica; it is silent until a restart.
	ErrFenced = engine.ErrFenced
	// ErrStorageFailed says that the host's log store failed; the host takes no writes until a restart.
	ErrStorageFailed = engine.ErrStorageFailed
	// ErrAlreadyStarted says that the shard runs on this host.
	ErrAlreadyStarted = engine.ErrAlreadyStarted
	// ErrStuck says that a replica did not stop within Tuning.MaxStopWait, and what it waits for: a state machine that does not return, or
	// writes that do not end. It goes on stopping by itself.
	ErrStuck = engine.ErrStuck
	// ErrDiverged says that an audit found the state here to differ from that of a majority; it is in the failure of a quarantined replica. A restart recovers
	// from its own snapshots and so is no cure: replace the replica, or remove its data.
	ErrDiverged = rsm.ErrDiverged
	// ErrNoSnapshots says that the state machine takes no snapshots: it has none of the optional interfaces of package rsm.
	ErrNoSnapshots = engine.ErrNoSnapshots
	// ErrNothingApplied says that there is nothing to take a snapshot of yet.
	ErrNothingApplied = engine.ErrNothingApplied
	// ErrStreamFailed says that a snapshot was not received from another host, and why; the replica is as it was. ErrInstallFailed says that a
	// state machine did not recover from one that was received. Both come with Events.StreamFailed.
	ErrStreamFailed  = engine.ErrStreamFailed
	ErrInstallFailed = engine.ErrInstallFailed
	// ErrInstalling says that the replica's state is being replaced, by a snapshot of another replica or because it begins anew, so that none is
	// taken or exported of it. Once it has another state, one can be.
	ErrInstalling = engine.ErrInstalling
	// ErrSnapshotFailed says that a snapshot could not be taken, and why; the error matches the cause, too. The ones before are untouched.
	ErrSnapshotFailed = engine.ErrSnapshotFailed
	// ErrSnapshotDamaged says that a snapshot cannot be recovered from: the text names file, block and reason. It is told by Events, and is the
	// error of a start that has nothing else to go by, with ReplicaConfig.DisableHealing.
	ErrSnapshotDamaged = engine.ErrSnapshotDamaged
	// ErrMachineStuck says that a state machine has not moved for some seconds inside a call that goes through its whole state. It is told by
	// Events.
	ErrMachineStuck = engine.ErrMachineStuck
	// ErrNotStarted says that the shard does not run on this host.
	ErrNotStarted = engine.ErrNotStarted
)

// Errors of configuration and of the data directory.
var (
	// ErrInvalidConfig says that a Config or ReplicaConfig is wrong; the text lists every fault.
	ErrInvalidConfig = engine.ErrInvalidOptions
	// ErrDirectoryLocked says that another NodeHost, of this process or another, has the data directory open.
	ErrDirectoryLocked = errors.New("flotilla: data directory is in use")
	// ErrIdentityMismatch says that the data directory belongs to another deployment or address; the error is an
	// *IdentityMismatch.
	ErrIdentityMismatch = errors.New("flotilla: data directory belongs to another host")
	// ErrIdentityDamaged says that the host's identity file cannot be read, or is missing beside existing data.
	ErrIdentityDamaged = errors.New("flotilla: host identity is damaged")
	// ErrRestoredDirectory says that the data directory is an older copy: another host has seen a later start of this one. The host
	// takes no part any more; started again, it comes back with replicas that abstain until they are healed. It is what
	// Events.StorageFailed and Info.StorageFailure name.
	ErrRestoredDirectory = errors.New("flotilla: data directory was put back from an older copy")
	// ErrOtherLogStore says that the data directory was begun with another log store than Config.LogDB makes.
	ErrOtherLogStore = logdb.ErrOtherStore
	// ErrPromisesDamaged says that the file of promises is not one.
	ErrPromisesDamaged = errors.New("flotilla: file of promises is damaged")
)

// MaybeApplied reports whether the request that ended with err may nevertheless have been, or yet be, applied. If it is
// false the request surely had no effect.
func MaybeApplied(err error) bool { return engine.MaybeApplied(err) }

// IdentityMismatch says in which field the stored identity of a data directory differs from the configured one. It matches
// ErrIdentityMismatch.
type IdentityMismatch struct {
	Path               string // of the identity file
	Field              string // of Config: "Deployment" or "Address"
	Stored, Configured string
}

// Error names both values.
func (m *IdentityMismatch) Error() string {
	return fmt.Sprintf("%v: %s: %s is %q there, configured is %q", ErrIdentityMismatch, m.Path, m.Field, m.Stored, m.Configured)
}

// Unwrap returns ErrIdentityMismatch.
func (m *IdentityMismatch) Unwrap() error { return ErrIdentityMismatch }

// abandoned is the error of a caller whose context ended while its request was under way.
type abandoned struct{ cause error }

func (a *abandoned) Error() string {
	return fmt.Sprintf("flotilla: caller left: %v (may be applied)", a.cause)
}
func (a *abandoned) Unwrap() []error { return []error{a.cause, ErrMaybeApplied} }

func abandon(ctx context.Context) error { return &abandoned{context.Cause(ctx)} }
