package nodehost

import (
	"context"
	"errors"
	"fmt"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// MembershipChange asks for members to become something else, all at once: ChangeMembers takes it.
type MembershipChange = raftpb.MembershipChange

// MemberChange says what one member is to be in the end; Kind 0 removes it.
type MemberChange = raftpb.MemberChange

// ChangeMembers makes a change of the membership and returns once it is done, with the membership that it led to. It may be called on
// any replica. Whatever the change holds happens in one step: there is no moment at which a part of it is in effect for decisions.
//
// A new voter first receives the log as a learner and counts for no majority. Once all those that are to be promoted have
// caught up (thesis 4.2.1), the change takes effect, by the single-server rule if it allows that (thesis 4.1) and by joint
// consensus otherwise (4.3). Until then the members that are to leave or to be demoted stay what they are. The change is in the log: should the leader
// fail, the next one goes on with it. Its replicas have to be started, with ReplicaConfig.Join, by whoever asks for it, before or after.
//
// change.IfID, if not 0, is the ID of the only membership that the change may follow (Members tells it); it keeps two operators
// from undoing each other's work, and a change that was asked for twice from being made twice.
//
// A change takes as long as the slowest new member needs for the log, and Config.RequestTimeout does not end it: bound the waiting by
// ctx. When ctx ends first, or the leader fails or is deposed, MaybeApplied is true: the change may be under way, or done, and
// Members shows which. CancelChange takes back one that is stuck.
//
// Errors: ErrInvalidChange, ErrNotMember, ErrStaleChange, ErrPendingChange, ErrChangeCanceled, ErrTransferring, ErrBusy (the leader
// could commit nothing for Config.RequestTimeout), ErrNoLeader, ErrNotLeader, ErrRemoved, ErrDataLost; if MaybeApplied is true,
// ErrLeaderChanged, ErrTimeout (the leader's answer was lost), ErrStopped, the cause of ctx.
func (s *Shard) ChangeMembers(ctx context.Context, change MembershipChange) (raftpb.Membership, error) {
	if err := checkAddresses(s.ID(), &change); err != nil {
		return raftpb.Membership{}, err
	}
	return ask(ctx, s, mayChange, func(done func(raftpb.Membership, error)) { s.replica.ChangeMembers(change, done) })
}

// CancelChange takes back the change of the membership that is under way, as one that waits for a new member which never comes: the
// members that it added are removed, all others stay what they were, and whoever waits for the change gets ErrChangeCanceled. It
// returns once that is done, with the membership then. A voter that lost its state meanwhile and is being healed is to have its vote again, and
// that is waited for too; canceled once more, or if nothing else is under way, it stays a learner. A change that has begun to take effect goes on: ErrInvalidChange, as when
// there is none. Other errors are those of ChangeMembers.
func (s *Shard) CancelChange(ctx context.Context) (raftpb.Membership, error) {
	return ask(ctx, s, mayChange, s.replica.CancelChange)
}

// AddReplica adds a member of the given kind at a host's address, and returns once it has caught up and is one. An ID
// that is a member's already is refused with ErrInvalidChange: IDs are not shared by chance.
func (s *Shard) AddReplica(ctx context.Context, replicaID uint64, kind raftpb.MemberKind, address string) (raftpb.Membership, error) {
	added := MemberChange{ReplicaID: replicaID, Kind: kind, Address: address}
	return s.changeGuarded(ctx, func(present *raftpb.Membership) (MembershipChange, error) {
		if member := memberOf(present, replicaID); member != nil {
			return MembershipChange{}, fmt.Errorf("%w: shard %d: replica %d is a %v already, at %s", ErrInvalidChange, s.ID(), replicaID,
				member.Kind, member.Address)
		}
		return MembershipChange{Members: []MemberChange{added}}, nil
	})
}

// RemoveReplica removes a member. One that leads steps down when its removal is committed. The replica is told, stops taking part,
// and keeps its data. ErrNotMember if it is none.
func (s *Shard) RemoveReplica(ctx context.Context, replicaID uint64) (raftpb.Membership, error) {
	return s.changeGuarded(ctx, func(present *raftpb.Membership) (MembershipChange, error) {
		_, err := s.require(present, replicaID)
		return MembershipChange{Members: []MemberChange{{ReplicaID: replicaID}}}, err
	})
}

// ReplaceReplica puts a new member in the place of another one, of the same kind and priority, in one step: the shard never has one
// member less, or more, than before. ErrNotMember if the old one is none.
func (s *Shard) ReplaceReplica(ctx context.Context, oldID, newID uint64, address string) (raftpb.Membership, error) {
	return s.changeGuarded(ctx, func(present *raftpb.Membership) (MembershipChange, error) {
		old, err := s.require(present, oldID)
		if err != nil {
			return MembershipChange{}, err
		}
		if member := memberOf(present, newID); member != nil {
			return MembershipChange{}, fmt.Errorf("%w: shard %d: replica %d is a %v already, at %s", ErrInvalidChange, s.ID(), newID,
				member.Kind, member.Address)
		}
		return MembershipChange{Members: []MemberChange{
			{ReplicaID: newID, Kind: old.Kind, Address: address, Priority: old.Priority},
			{ReplicaID: oldID},
		}}, nil
	})
}

// Promote makes a learner a voter once it has caught up. A member that votes already stays what it is. ErrNotMember if it is none.
func (s *Shard) Promote(ctx context.Context, replicaID uint64) (raftpb.Membership, error) {
	return s.changeGuarded(ctx, func(present *raftpb.Membership) (MembershipChange, error) {
		_, err := s.require(present, replicaID)
		return MembershipChange{Members: []MemberChange{{ReplicaID: replicaID, Kind: raftpb.Voter}}}, err
	})
}

// changeAttempts bounds how often changeGuarded looks again. Memberships change seldom: the second attempt succeeds unless
// somebody else changes them all the time.
const changeAttempts = 4

// changeGuarded makes a change that was computed from the present membership, on the condition that this still is the present one.
// What is known here may be a little old, so it looks again after a refusal, when everything that was committed before has come here.
func (s *Shard) changeGuarded(ctx context.Context, compute func(*raftpb.Membership) (MembershipChange, error)) (raftpb.Membership, error) {
	for attempt := 1; ; attempt++ {
		present, err := s.Members(ctx)
		if err != nil {
			return raftpb.Membership{}, err
		}
		change, invalid := compute(&present)
		if invalid == nil {
			change.IfID = present.ID
			changed, err := s.ChangeMembers(ctx, change)
			if !errors.Is(err, ErrStaleChange) || attempt == changeAttempts {
				return changed, err
			}
		}
		if invalid != nil && attempt > 1 {
			return raftpb.Membership{}, invalid
		}
		if err := s.catchUp(ctx); err != nil {
			return raftpb.Membership{}, err
		}
	}
}

// catchUp returns once this replica has applied what was committed before the call.
func (s *Shard) catchUp(ctx context.Context) error {
	ticket, err := s.replica.ReadTicket()
	if err != nil {
		return err
	}
	select {
	case <-ticket.Done():
		return ticket.Err()
	case <-ctx.Done():
		return context.Cause(ctx) // nothing was asked for yet
	}
}

// require returns a member, or ErrNotMember.
func (s *Shard) require(present *raftpb.Membership, replicaID uint64) (raftpb.Member, error) {
	member := memberOf(present, replicaID)
	if member == nil {
		return raftpb.Member{}, fmt.Errorf("%w: shard %d: replica %d", ErrNotMember, s.ID(), replicaID)
	}
	return *member, nil
}

func memberOf(membership *raftpb.Membership, replicaID uint64) *raftpb.Member {
	for i := range membership.Members {
		if membership.Members[i].ReplicaID == replicaID {
			return &membership.Members[i]
		}
	}
	return nil
}

// checkAddresses refuses what could not be dialled; everything else is for the leader to judge.
func checkAddresses(shardID uint64, change *MembershipChange) error {
	var f faults
	for i := range change.Members {
		f.address(fmt.Sprintf("address of replica %d", change.Members[i].ReplicaID), change.Members[i].Address, false)
	}
	if f.all == nil {
		return nil
	}
	return fmt.Errorf("%w: shard %d: %w", ErrInvalidChange, shardID, f.all)
}
