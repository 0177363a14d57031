package rsm

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// ErrDiverged says that the state here is not what a majority of the shard's replicas have at the same index: the state machine does not do the
// same everywhere, or its data were damaged.
var ErrDiverged = errors.New("rsm: state differs from that of the other replicas")

// An audit compares the states of replicas. It goes through the log, so that all of them look at the same index and come to the same verdict in the same place,
// whoever leads meanwhile:
//
//	point                  the leader's, at intervals: each replica that applies it sums up its state, there
//	sum index replica sum  each replica's, soon after: what it found at the point
//
// Sums are counted as they are applied. Once a majority of those voters that have a state agree, every replica knows the right sum, and one that found
// another has diverged. The leader's word alone would not do: it may be the one that went wrong.
const (
	auditPoint byte = 1
	auditSum   byte = 2
)

// AuditPoint returns the body of an audit's first entry.
func AuditPoint() []byte { return []byte{auditPoint} }

// AuditSum returns the body of the entry that tells a replica's checksum at the point with an index.
func AuditSum(index, replicaID, sum uint64) []byte {
	body := binary.LittleEndian.AppendUint64([]byte{auditSum}, index)
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(body, replicaID), sum)
}

// IsAuditPoint reports whether a batch is an audit's first entry.
func IsAuditPoint(batch raftpb.Batch) bool {
	return batch.Kind() == raftpb.KindAudit && batch.PlainLength() == 2 // its length, and auditPoint
}

// auditEntry is the last entry of a turn, if it is one of an audit.
type auditEntry struct {
	kind                byte // 0: none, or one that is not understood: all replicas pass it over
	index, replica, sum uint64
}

func parseAudit(batch raftpb.Batch) (e auditEntry, err error) {
	plain, err := batch.Plain(nil)
	if err != nil {
		return e, err
	}
	iterator := plain.Iterator()
	if !iterator.Next() {
		return e, iterator.Err()
	}
	body := iterator.Command()
	switch {
	case batch.Count() != 1:
	case len(body) == 1 && body[0] == auditPoint:
		e.kind = auditPoint
	case len(body) == 25 && body[0] == auditSum:
		e = auditEntry{auditSum, binary.LittleEndian.Uint64(body[1:]), binary.LittleEndian.Uint64(body[9:]), binary.LittleEndian.Uint64(body[17:])}
	}
	return e, nil
}

// audit is the newest one. It belongs to the goroutine that applies, and is not a part of snapshots: a replica that has recovered takes part again from the next
// point on.
type audit struct {
	index   uint64 // of the point, 0 for none
	own     uint64
	took    bool // own was taken
	settled bool
	sums    []auditEntry
}

// Audited says what a turn's audit entry came to.
type Audited struct {
	// Index and Sum are those of a point, if Took: what AuditSum is to be told of.
	Index, Sum uint64
	Took       bool
	// Settled says that the audit at Index is over, here as on every replica.
	Settled bool
	// Undecided says, of one that is settled, that all have told and no majority agrees: somebody is wrong, and nobody knows who.
	Undecided bool
}

// Audited returns what the turn's audit entry came to, after Apply.
func (t *Turn) Audited() Audited { return t.audited }

// auditTurn does what the last entry of a turn asks for. It comes when everything before it is applied.
func (m *Manager) auditTurn(turn *Turn) error {
	switch turn.audit.kind {
	case auditPoint:
		return m.takeSum(turn)
	case auditSum:
		return m.countSum(turn)
	}
	return nil
}

func (m *Manager) takeSum(turn *Turn) error {
	m.audit = audit{index: turn.last, sums: m.audit.sums[:0]}
	machine, ok := m.machine.(Checksummer)
	if !ok || turn.last < m.opened { // an on-disk machine is ahead of what the log tells it again
		return nil
	}
	if failure := m.trying(func() (err error) { m.audit.own, err = machine.Checksum(); return err }); failure != nil {
		return failure
	}
	m.audit.took = true
	turn.audited = Audited{Index: turn.last, Sum: m.audit.own, Took: true}
	return nil
}

func (m *Manager) countSum(turn *Turn) error {
	a := &m.audit
	if a.settled || turn.audit.index != a.index {
		return nil
	}
	for i := range a.sums {
		if a.sums[i].replica == turn.audit.replica {
			return nil
		}
	}
	a.sums = append(a.sums, turn.audit)
	agree, told, voters := a.count(m.at.config.Membership.Members, turn.audit.sum)
	switch {
	case voters == 0: // the membership is not known yet
	case agree > voters/2:
		a.settled = true
		turn.audited = Audited{Index: a.index, Settled: true}
		if a.took && a.own != turn.audit.sum {
			return m.Quarantine(fmt.Errorf("%w: at index %d its checksum is %016x, that of %d of %d replicas %016x",
				ErrDiverged, a.index, a.own, agree, voters, turn.audit.sum))
		}
	case told == voters && a.split(m.at.config.Membership.Members, voters):
		a.settled = true
		turn.audited = Audited{Index: a.index, Settled: true, Undecided: true}
	}
	return nil
}

// count returns how many of the voters with a state found a sum, how many have told one, and how many there are.
func (a *audit) count(members []raftpb.Member, sum uint64) (agree, told, voters int) {
	for _, member := range members {
		if member.Kind != raftpb.Voter {
			continue
		}
		voters++
		for i := range a.sums {
			if a.sums[i].replica == member.ReplicaID {
				told++
				if a.sums[i].sum == sum {
					agree++
				}
			}
		}
	}
	return agree, told, voters
}

// split reports whether no sum has a majority.
func (a *audit) split(members []raftpb.Member, voters int) bool {
	for i := range a.sums {
		if agree, _, _ := a.count(members, a.sums[i].sum); agree > voters/2 {
			return false
		}
	}
	return true
}
