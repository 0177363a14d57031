package rsm

import "github.com/flotilla-raft/flotilla/raftpb"

// HearsOfLeaders reports whether the state machine is a LeaderListener. It is safe for concurrent use.
func (m *Manager) HearsOfLeaders() bool { return m.hearsOfLeaders.Load() }

// TellLeaderStarted tells a LeaderListener that the replica leads. The error is a *Failure.
func (m *Manager) TellLeaderStarted(term uint64) error {
	listener, ok := m.machine.(LeaderListener)
	if !ok {
		return nil
	}
	return m.tell(func() { listener.LeaderStarted(term) })
}

// TellLeaderStopped tells a LeaderListener that the replica does not lead any more. The error is a *Failure.
func (m *Manager) TellLeaderStopped(term uint64) error {
	listener, ok := m.machine.(LeaderListener)
	if !ok {
		return nil
	}
	return m.tell(func() { listener.LeaderStopped(term) })
}

func (m *Manager) tellMembership(index uint64, membership raftpb.Membership) error {
	listener, ok := m.machine.(MembershipListener)
	if !ok || index <= m.opened {
		return nil
	}
	return m.tell(func() { listener.MembershipApplied(index, membership) })
}

// tellRecovered tells what came with a snapshot.
func (m *Manager) tellRecovered(at place) error {
	if listener, ok := m.machine.(MembershipListener); ok && at.config.Index != 0 {
		if err := m.tell(func() { listener.MembershipApplied(at.config.Index, at.config.Membership) }); err != nil {
			return err
		}
	}
	listener, ok := m.machine.(SnapshotListener)
	if !ok {
		return nil
	}
	return m.tell(func() { listener.SnapshotInstalled(at.index, at.term) })
}

// tell calls a listener, unless the state machine has failed. A typed nil must not become an error.
func (m *Manager) tell(call func()) error {
	failure := m.failure.Load()
	if failure == nil {
		failure = m.trying(func() error { call(); return nil })
	}
	if failure != nil {
		return failure
	}
	return nil
}
