package nodehost

import (
	"context"
	"slices"
	"sync"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// Shard is the handle of a shard that runs on this host; NodeHost.Shard returns it. Requests may be made on any host that has a
// replica of the shard: those on a follower go to the leader and come back, one network round trip later.
//
// All methods are safe for concurrent use. A handle of a stopped replica answers ErrStopped.
type Shard struct {
	host    *NodeHost
	replica *engine.Replica
	stopped chan struct{} // closed when the replica has stopped

	maxSessions int

	mu      sync.Mutex
	changed chan struct{} // closed at the next change of leader; nil while nobody waits
}

// ID returns the shard's ID.
func (s *Shard) ID() uint64 { return s.replica.ShardID() }

// ReplicaID returns the ID of the replica on this host.
func (s *Shard) ReplicaID() uint64 { return s.replica.ReplicaID() }

// Leader returns the leader that is known here and its term; ok is false when there is none. It is a hint: who leads
// may have changed since.
func (s *Shard) Leader() (replicaID, term uint64, ok bool) {
	replicaID, term = s.replica.Leader()
	return replicaID, term, replicaID != 0
}

// TransferLeader asks for leadership to be handed to a voter, target 0 meaning the best one (the highest priority, then the
// most of the log), and returns once that replica has committed an entry as leader, which is known here. It may be called on any
// replica. Meanwhile proposals are refused with ErrTransferring; a target that is not ready within an election timeout is given
// up, and the leader goes on. Errors: ErrTransferFailed, which matches the reason, too: ErrNotMember, ErrNotVoter,
// ErrTargetBehind, ErrTargetFailed, ErrNotLeader (another one came to lead), ErrNoLeader, ErrTransferring (another transfer is
// under way), ErrBusy (this learner is new to the leader), ErrTimeout. If MaybeApplied is true of it, the target was told to take over and may yet do so.
func (s *Shard) TransferLeader(ctx context.Context, target uint64) error {
	_, err := ask(ctx, s, mayChange, func(done func(struct{}, error)) {
		s.replica.Transfer(target, func(err error) { done(struct{}{}, err) })
	})
	return err
}

// Status returns a copy of what the replica's protocol core knows. Errors: ErrStopped, ErrFenced, the cause of ctx.
func (s *Shard) Status(ctx context.Context) (raft.Status, error) {
	return ask(ctx, s, nothingChanges, s.replica.Status)
}

// Members returns a copy of the membership that is in effect on this replica: the newest that it has, committed or not, without members
// if it has none yet. While Membership.Joint, two of them are in effect. Errors are those of Status.
func (s *Shard) Members(ctx context.Context) (raftpb.Membership, error) {
	status, err := s.Status(ctx)
	if err != nil || status.Membership == nil {
		return raftpb.Membership{}, err
	}
	return copyOf(status.Membership), nil
}

// Whether what is asked of a step worker can have an effect though nobody waits for the answer any more.
const (
	nothingChanges = false
	mayChange      = true
)

// ask puts a question to the replica's step worker and waits for the answer, the end of ctx or that of the host. If that
// comes first and the question asks for a change, the outcome is unknown.
func ask[T any](ctx context.Context, s *Shard, change bool, question func(done func(T, error))) (value T, err error) {
	if ctx.Err() != nil {
		return value, context.Cause(ctx)
	}
	type answer struct {
		value T
		err   error
	}
	answered := make(chan answer, 1)
	question(func(value T, err error) { answered <- answer{value, err} })
	select {
	case a := <-answered:
		return a.value, a.err
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-s.host.stopped:
		// Every answer that was ever to come is there by now: what was asked earlier was answered when its replica stopped.
		select {
		case a := <-answered:
			return a.value, a.err
		default:
			return value, ErrStopped // asked of a step worker that does not run any more
		}
	}
	if change {
		err = &abandoned{err}
	}
	return value, err
}

// leaderChange returns a channel that is closed at the next change of leader.
func (s *Shard) leaderChange() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return s.changed
}

func (s *Shard) announce() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// copyOf keeps callers away from a membership that the protocol core goes on using.
func copyOf(membership *raftpb.Membership) raftpb.Membership {
	copied := *membership
	copied.Members = slices.Clone(membership.Members)
	copied.Outgoing = slices.Clone(membership.Outgoing)
	return copied
}
