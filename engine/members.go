package engine

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/flotilla-raft/flotilla/raft"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// memberChange is a caller who waits for the membership to be changed. It has no deadline here: a learner may take long to catch up.
// The core ends it when the operation is done, when the leader is lost, and when a forward is not answered.
type memberChange struct {
	id     uint64
	change raftpb.MembershipChange // without members: a cancellation
	done   func(raftpb.Membership, error)
	at     raft.Instant // when it was asked for
	again  raft.Instant // when it is asked for again; Never while the core has it
}

// changeAgain is how soon a change is asked for again that came too early: the leader is new, or has to note first what it learned
// of a new member. That takes it a round trip, and nobody should have to know of it.
const changeAgain = raft.Instant(10 * time.Millisecond)

// ChangeMembers makes members of the shard what the change says, atomically, and calls done once: with the membership that it has led
// to when that is committed, or with the reason why it is not. May be asked of any replica; a follower passes
// it on. New members need an Address. Errors: ErrInvalidChange, ErrNotMember, ErrStaleChange, ErrPendingChange,
// ErrChangeCanceled, ErrTransferring, ErrBusy (the leader could not commit anything for Options.RequestTimeout), ErrNoLeader,
// ErrNotLeader, and, if MaybeApplied is true of them, ErrLeaderChanged and ErrTimeout: the leader or its answer was
// lost, and whoever leads goes on with the operation if it got into the log. Safe for concurrent use.
func (r *Replica) ChangeMembers(change raftpb.MembershipChange, done func(raftpb.Membership, error)) {
	change.Members = slices.Clone(change.Members)
	done = guardedValue(done)
	if len(change.Members) == 0 {
		done(raftpb.Membership{}, fmt.Errorf("%w: shard %d: the change names no members", ErrInvalidChange, r.shardID))
		return
	}
	r.worker.control(func(w *StepWorker) { w.changeMembers(r, change, done) })
}

// CancelChange takes back the operation under way: those that it added are removed, and all others stay what they are. That is
// possible until it has come to its joint membership, or its last one; then, and when there is none, the error is ErrInvalidChange.
// It ends as ChangeMembers does; whoever waits for the operation itself gets ErrChangeCanceled.
func (r *Replica) CancelChange(done func(raftpb.Membership, error)) {
	done = guardedValue(done)
	r.worker.control(func(w *StepWorker) { w.changeMembers(r, raftpb.MembershipChange{}, done) })
}

func (w *StepWorker) changeMembers(r *Replica, change raftpb.MembershipChange, done func(raftpb.Membership, error)) {
	if r.stopped || r.fenced {
		done(raftpb.Membership{}, r.endedErr())
		return
	}
	defer w.guard(r)
	w.enter(r)
	if homeless := withoutAddress(r.core.Membership(), &change); homeless != 0 {
		done(raftpb.Membership{}, fmt.Errorf("%w: shard %d: the new replica %d has no address", ErrInvalidChange, r.shardID, homeless))
		return
	}
	r.changes = append(r.changes, memberChange{change: change, done: done, at: w.now})
	w.submitChange(r, &r.changes[len(r.changes)-1])
}

// submitChange hands a change to the core, under a new ID.
func (w *StepWorker) submitChange(r *Replica, c *memberChange) {
	w.changeID++
	id := w.changeID
	c.id, c.again = id, raft.Never
	var reason raftpb.Reason
	if len(c.change.Members) == 0 {
		reason = r.core.CancelChange(w.now, id)
	} else {
		reason = r.core.ChangeMembers(w.now, id, c.change)
	}
	if reason != raftpb.ReasonNone {
		w.refuseChange(r, id, reason, false)
	}
}

// changeDeadline is when the next change is asked for again.
func (r *Replica) changeDeadline() raft.Instant {
	deadline := raft.Never
	for i := range r.changes {
		deadline = min(deadline, r.changes[i].again)
	}
	return deadline
}

func (w *StepWorker) retryChanges(r *Replica) {
	for i := 0; i < len(r.changes); i++ {
		if before := len(r.changes); r.changes[i].again <= w.now {
			w.submitChange(r, &r.changes[i])
			i -= before - len(r.changes)
		}
	}
}

// withoutAddress returns a new member that nobody could send anything to, 0 if there is none.
func withoutAddress(m *raftpb.Membership, change *raftpb.MembershipChange) uint64 {
	for i := range change.Members {
		member := &change.Members[i]
		if member.Kind != 0 && member.Address == "" && findMember(m, member.ReplicaID) == nil {
			return member.ReplicaID
		}
	}
	return 0
}

func findMember(m *raftpb.Membership, id uint64) *raftpb.Member {
	for i := range m.Members {
		if m.Members[i].ReplicaID == id {
			return &m.Members[i]
		}
	}
	return nil
}

// endChange calls back, without an error with the membership that the change has led to.
func (w *StepWorker) endChange(r *Replica, id uint64, membership *raftpb.Membership, err error) {
	i := slices.IndexFunc(r.changes, func(c memberChange) bool { return c.id == id })
	if i < 0 {
		return
	}
	done := r.changes[i].done
	r.changes = slices.Delete(r.changes, i, i+1)
	if err != nil {
		done(raftpb.Membership{}, err)
		return
	}
	led := *membership
	led.Members = slices.Clone(led.Members)
	done(led, nil)
}

// refuseChange says to a caller why the members were not changed, with the values that matter.
func (w *StepWorker) refuseChange(r *Replica, id uint64, reason raftpb.Reason, maybe bool) {
	i := slices.IndexFunc(r.changes, func(c memberChange) bool { return c.id == id })
	if i < 0 {
		return
	}
	if c := &r.changes[i]; !maybe && reason == raftpb.ReasonNotReady && w.now < c.at+raft.Instant(w.engine.options.RequestTimeout) {
		c.again = w.now + changeAgain
		return
	}
	cause := w.errorOf(r, reason)
	switch {
	case maybe && reason == raftpb.ReasonNotReady:
		cause = errTimeoutUnknown
	case maybe && reason == raftpb.ReasonStopped:
		cause = errStoppedUnknown
	case maybe && reason == raftpb.ReasonNotLeader:
		cause = errLeaderChangedUnknown
	case maybe:
		cause = &unknown{cause}
	}
	detail := explainChange(r.core.Membership(), &r.changes[i].change, reason)
	w.endChange(r, id, nil, fmt.Errorf("%w: shard %d%s", cause, r.shardID, detail))
}

// explainChange names what a change was refused for, as far as the membership that is known here shows it.
func explainChange(m *raftpb.Membership, change *raftpb.MembershipChange, reason raftpb.Reason) string {
	switch reason {
	case raftpb.ReasonPendingChange:
		return fmt.Sprintf(": membership %d belongs to operation %d, which is not done", m.ID, m.Operation)
	case raftpb.ReasonStaleChange:
		return fmt.Sprintf(": made for membership %d, known here is %d", change.IfID, m.ID)
	case raftpb.ReasonNotMember:
		var unknown []string
		for i := range change.Members {
			if member := &change.Members[i]; member.Kind == 0 && findMember(m, member.ReplicaID) == nil {
				unknown = append(unknown, fmt.Sprint(member.ReplicaID))
			}
		}
		return fmt.Sprintf(": membership %d has no replica %s to remove", m.ID, strings.Join(unknown, ", "))
	case raftpb.ReasonInvalidChange:
		return ": " + impossible(m, change)
	}
	return ""
}

// impossible says what is wrong with a change that leads to no membership.
func impossible(m *raftpb.Membership, change *raftpb.MembershipChange) string {
	if len(change.Members) == 0 {
		return fmt.Sprintf("membership %d has no change under way that could be canceled", m.ID)
	}
	kinds := map[uint64]raftpb.MemberKind{}
	for i := range m.Members {
		kinds[m.Members[i].ReplicaID] = m.Members[i].Kind
	}
	seen := map[uint64]bool{}
	for i := range change.Members {
		member := &change.Members[i]
		id, before := member.ReplicaID, kinds[member.ReplicaID]
		switch {
		case id == 0:
			return "replica 0, want another number"
		case seen[id]:
			return fmt.Sprintf("replica %d is named twice", id)
		case member.Kind > raftpb.Witness:
			return fmt.Sprintf("replica %d is to be a %v", id, member.Kind)
		case before != 0 && member.Kind != 0 && before != member.Kind && before != raftpb.Learner && member.Kind != raftpb.Learner:
			return fmt.Sprintf("replica %d is a %v and is to be a %v; make it a learner first", id, before, member.Kind)
		case len(member.Address) > raftpb.MaxAddressLength:
			return fmt.Sprintf("replica %d: the address has %d bytes, accepted are up to %d", id, len(member.Address), raftpb.MaxAddressLength)
		}
		seen[id], kinds[id] = true, member.Kind
	}
	voters, members := 0, 0
	for _, kind := range kinds { // in any order: they are counted
		if kind == raftpb.Voter {
			voters++
		}
		if kind != 0 {
			members++
		}
	}
	if voters == 0 {
		return fmt.Sprintf("%d members would be left and no voter among them", members)
	}
	return fmt.Sprintf("%d members would be left, accepted are up to %d", members, raftpb.MaxMembers)
}
