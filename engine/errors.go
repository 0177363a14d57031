package engine

import (
	"errors"

	"github.com/flotilla-raft/flotilla/rsm"
)

// Errors of requests. Those that match ErrMaybeApplied leave the outcome unknown: the request may have been or may yet be
// applied. All others say that it surely was not.
var (
	// ErrMaybeApplied is matched by every error after which the outcome is unknown.
	ErrMaybeApplied = errors.New("flotilla: outcome unknown, may be applied")

	// ErrBusy refuses a request at once because bounded queues are full or move too slowly, or a proposal because the leader has yet to
	// hear of the new learner that it was made on. Try again later.
	ErrBusy = errors.New("flotilla: busy")
	// ErrDiskFull refuses a proposal because the disk of a needed host is below its reserve.
	ErrDiskFull = errors.New("flotilla: disk full")
	// ErrNoLeader refuses a request because no leader is known. Try again later.
	ErrNoLeader = errors.New("flotilla: no leader")
	// ErrNotLeader refuses a request that the replica it was sent to cannot serve, because leadership moved meanwhile.
	ErrNotLeader = errors.New("flotilla: not the leader")
	// ErrTermMismatch refuses a proposal made for another term than the leader's.
	ErrTermMismatch = errors.New("flotilla: leader is in another term")
	// ErrTransferring refuses a proposal while leadership is being handed over.
	ErrTransferring = errors.New("flotilla: leadership is being transferred")
	// ErrTransferFailed says that a leadership transfer did not happen; the error matches the reason, too.
	ErrTransferFailed = errors.New("flotilla: leadership transfer failed")
	// ErrTargetBehind says that the target of a transfer did not have the whole log in time; the leader goes on.
	ErrTargetBehind = errors.New("flotilla: target has not caught up in time")
	// ErrTargetFailed says that the target of a transfer is not heard, cannot campaign, or did not win; the leader goes on.
	ErrTargetFailed = errors.New("flotilla: target cannot take over")
	// ErrRepairRefused says that a replica cannot be rebuilt from others.
	ErrRepairRefused = errors.New("flotilla: repair refused")
	// ErrNotMember says that a replica named in a request is not a member of the shard.
	ErrNotMember = errors.New("flotilla: not a member")
	// ErrNotVoter refuses to make a replica the leader that cannot lead: a learner, a witness.
	ErrNotVoter = errors.New("flotilla: not a voter")
	// ErrWitness refuses a request made of a witness, which holds no data: it neither proposes nor reads.
	ErrWitness = errors.New("flotilla: replica is a witness")
	// ErrStaleChange refuses a membership change made for another membership than the present one.
	ErrStaleChange = errors.New("flotilla: membership has changed meanwhile")
	// ErrInvalidChange refuses a membership change that leads to no possible membership.
	ErrInvalidChange = errors.New("flotilla: impossible membership")
	// ErrPendingChange refuses a membership change while another one is under way.
	ErrPendingChange = errors.New("flotilla: another membership change is under way")
	// ErrChangeCanceled says that a membership change was canceled before it was done.
	ErrChangeCanceled = errors.New("flotilla: membership change was canceled")
	// ErrRemoved says that the replica is no member of its shard any more.
	ErrRemoved = errors.New("flotilla: replica was removed")
	// ErrDataLost says that the data of a quorum is lost: the shard decides nothing until it is rebuilt.
	ErrDataLost = errors.New("flotilla: data of a quorum is lost")
	// ErrTooStale says that the state here cannot be shown to be as fresh as was asked.
	ErrTooStale = errors.New("flotilla: state is too old")
	// ErrTooLarge refuses a command above the configured limit.
	ErrTooLarge = errors.New("flotilla: command too large")
	// ErrEmptyBatch refuses a batch without commands.
	ErrEmptyBatch = errors.New("flotilla: no commands")
	// ErrTimeout says that a request's deadline passed. It is joined with ErrMaybeApplied if it had left the queue.
	ErrTimeout = errors.New("flotilla: deadline passed")
	// ErrLeaderChanged says that leadership moved while the request was under way.
	ErrLeaderChanged = errors.New("flotilla: leader changed")
	// ErrStopped says that the replica or its host is stopped.
	ErrStopped = errors.New("flotilla: stopped")
	// ErrQuarantined says that the replica's state machine failed (R24); it is the error of the state machine's manager.
	ErrQuarantined = rsm.ErrQuarantined
	// ErrSessionExpired says that a client session is not there any more, ErrNoSessions that the state machine keeps none, and ErrCallForgotten
	// that a call was acknowledged or abandoned before. They are rsm's, and the call was not applied by this attempt.
	ErrSessionExpired = rsm.ErrSessionExpired
	ErrNoSessions     = rsm.ErrNoSessions
	ErrCallForgotten  = rsm.ErrCallForgotten
	ErrSessionWindow  = rsm.ErrSessionWindow
	// ErrFenced says that an assertion failed in the replica; it is silent until a restart (R24).
	ErrFenced = errors.New("flotilla: replica is fenced")
	// ErrStorageFailed says that the host's log store failed; it takes no writes until a restart (R9).
	ErrStorageFailed = errors.New("flotilla: log store failed")
	// ErrAlreadyStarted says that the shard already runs on this host.
	ErrAlreadyStarted = errors.New("flotilla: shard already started")
	// ErrStuck says that a replica did not stop in time, and what it waits for; it goes on stopping by itself.
	ErrStuck = errors.New("flotilla: replica does not stop")
	// ErrNotStarted says that the shard does not run on this host.
	ErrNotStarted = errors.New("flotilla: shard not started")
	// ErrNoSnapshots says that a replica's state machine takes no snapshots, or that its host keeps none.
	ErrNoSnapshots = rsm.ErrNoSnapshots
	// ErrNothingApplied says that there is nothing to take a snapshot of yet.
	ErrNothingApplied = rsm.ErrNothingApplied
	// ErrSnapshotFailed says that a snapshot could not be taken, and why. What was there before is untouched.
	ErrSnapshotFailed = errors.New("flotilla: snapshot failed")
	// ErrStreamFailed says that a snapshot was not received from another host, and why. The replica is as it was.
	ErrStreamFailed = errors.New("flotilla: snapshot was not received")
	// ErrInstallFailed says that a state machine did not recover from a snapshot that was received.
	ErrInstallFailed = errors.New("flotilla: snapshot was not installed")
	// ErrInstalling says that the replica's state is being replaced, by a snapshot of another replica or because it begins anew, so that none is
	// taken or exported of it. Once it has another state, one can be.
	ErrInstalling = errors.New("flotilla: the state is being replaced")
	// ErrSnapshotDamaged says that a snapshot cannot be recovered from: the text names the file, and the error is that of the file, too.
	ErrSnapshotDamaged = errors.New("flotilla: snapshot cannot be used")
	// ErrMachineStuck says that a state machine stands still inside a call that goes through its whole state.
	ErrMachineStuck = errors.New("flotilla: state machine stands still")
	// ErrInvalidOptions says that options are wrong; the text lists every fault.
	ErrInvalidOptions = errors.New("flotilla: invalid options")
)

// unknown is an error that matches its cause and ErrMaybeApplied.
type unknown struct{ cause error }

func (u *unknown) Error() string   { return u.cause.Error() + " (may be applied)" }
func (u *unknown) Unwrap() []error { return []error{u.cause, ErrMaybeApplied} }

// The joined errors are made once: a batch of a thousand waiters costs no allocation for its error.
var (
	errTimeoutUnknown       error = &unknown{ErrTimeout}
	errLeaderChangedUnknown error = &unknown{ErrLeaderChanged}
	errStoppedUnknown       error = &unknown{ErrStopped}
	errQuarantinedUnknown   error = &unknown{ErrQuarantined}
	errFencedUnknown        error = &unknown{ErrFenced}
)

// MaybeApplied reports whether the request that ended with err may nevertheless have been, or yet be, applied.
func MaybeApplied(err error) bool { return errors.Is(err, ErrMaybeApplied) }
