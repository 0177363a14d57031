package rsm

import (
	"errors"
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// summedMachine has the checksum that it is told to have.
type summedMachine struct {
	memoryMachine
	sum    uint64
	broken error
}

func (m *summedMachine) Checksum() (uint64, error) { return m.sum, m.broken }

func auditBatch(first uint64, body []byte) raftpb.Batch {
	var builder raftpb.Builder
	builder.Reset(nil)
	builder.Add(body)
	batch := builder.Seal(1, raftpb.KindAudit, raftpb.Origin{Replica: 1, Session: 1, Sequence: 1}, 0)
	batch.Stamp(1, first)
	return batch
}

// auditTo applies one entry of an audit.
func auditTo(t testing.TB, m *Manager, body []byte) (Audited, error) {
	t.Helper()
	turn := turnOf(t, m, auditBatch(m.Applied()+1, body))
	err := m.Apply(turn)
	return turn.Audited(), err
}

// auditing returns a manager at index 1 with three voters, a learner and a witness, and its point at index 2.
func auditing(t testing.TB, machine StateMachine) *Manager {
	t.Helper()
	m := open(t, machine)
	members := []raftpb.Member{{ReplicaID: 1, Kind: raftpb.Voter}, {ReplicaID: 2, Kind: raftpb.Voter}, {ReplicaID: 3, Kind: raftpb.Voter},
		{ReplicaID: 4, Kind: raftpb.Learner}, {ReplicaID: 5, Kind: raftpb.Witness}}
	if err := m.StartAt(1, 1, raftpb.ConfigRecord{Index: 1, Membership: raftpb.Membership{Members: members}}); err != nil {
		t.Fatal(err)
	}
	if _, err := auditTo(t, m, AuditPoint()); err != nil {
		t.Fatal(err)
	}
	return m
}

type told struct{ index, replica, sum uint64 }

func TestVerdictsOfAudits(t *testing.T) {
	const mine = 10
	for name, test := range map[string]struct {
		told                         []told
		settled, undecided, diverged bool
	}{
		"too few":            {told: []told{{2, 1, mine}}},
		"two agree":          {told: []told{{2, 1, mine}, {2, 2, mine}}, settled: true},
		"one is wrong":       {told: []told{{2, 1, mine}, {2, 2, 11}, {2, 3, mine}}, settled: true},
		"the one here":       {told: []told{{2, 2, 11}, {2, 3, 11}}, settled: true, diverged: true},
		"told twice":         {told: []told{{2, 2, 11}, {2, 2, 11}}},
		"told differently":   {told: []told{{2, 2, mine}, {2, 2, 11}, {2, 3, mine}}, settled: true},
		"of another point":   {told: []told{{1, 2, 11}, {1, 3, 11}}},
		"learners":           {told: []told{{2, 2, 11}, {2, 4, 11}}},
		"witnesses":          {told: []told{{2, 2, 11}, {2, 5, 11}}},
		"strangers":          {told: []told{{2, 2, 11}, {2, 9, 11}}},
		"all differ":         {told: []told{{2, 1, mine}, {2, 2, 11}, {2, 3, 12}}, settled: true, undecided: true},
		"late after verdict": {told: []told{{2, 1, mine}, {2, 2, mine}, {2, 3, 11}}, settled: true},
	} {
		m := auditing(t, &summedMachine{sum: mine})
		var got Audited
		var failure error
		for _, sum := range test.told {
			a, err := auditTo(t, m, AuditSum(sum.index, sum.replica, sum.sum))
			if a.Settled {
				got = a
			}
			failure = err
		}
		if got.Undecided != test.undecided || errors.Is(failure, ErrDiverged) != test.diverged || errors.Is(m.lastFailure(), ErrQuarantined) != test.diverged ||
			!test.diverged && got.Settled != test.settled || got.Settled && got.Index != 2 {
			t.Errorf("%s: %+v, %v", name, got, failure)
		}
	}
}

func (m *Manager) lastFailure() error {
	if failure := m.Failure(); failure != nil {
		return failure
	}
	return nil
}

// Who took no sum at the point is not judged: it has recovered since, has no checksum, or its data are ahead of the log.
func TestWhoHasNoSumIsNotJudged(t *testing.T) {
	machines := map[string]*Manager{"no checksum": auditing(t, &memoryMachine{})}
	source := auditing(t, &summedMachine{sum: 10})
	recovered := auditing(t, &summedMachine{sum: 10})
	if err := recoverFrom(recovered, snapshotOf(t, source)); err != nil {
		t.Fatal(err)
	}
	machines["recovered"] = recovered
	for name, m := range machines {
		for replica := uint64(1); replica <= 3; replica++ {
			if a, err := auditTo(t, m, AuditSum(2, replica, 77)); err != nil || a.Took {
				t.Errorf("%s: %+v, %v", name, a, err)
			}
		}
	}
	ahead := newDisk()
	ahead.newest().Applied = 5
	m := open(t, &summedDisk{diskMachine{disk: ahead}})
	if err := m.StartAt(1, 1, raftpb.ConfigRecord{}); err != nil {
		t.Fatal(err)
	}
	if a, err := auditTo(t, m, AuditPoint()); err != nil || a.Took {
		t.Errorf("ahead: %+v, %v", a, err)
	}
}

type summedDisk struct{ diskMachine }

func (m *summedDisk) Checksum() (uint64, error) { return 1, nil }

func TestAChecksumThatFailsQuarantines(t *testing.T) {
	broken := errors.New("cannot sum up")
	m := open(t, &summedMachine{broken: broken})
	if _, err := auditTo(t, m, AuditPoint()); !errors.Is(err, broken) || !errors.Is(err, ErrQuarantined) {
		t.Errorf("got %v", err)
	}
	if !m.HasChecksum() || open(t, &memoryMachine{}).HasChecksum() {
		t.Error("who has a checksum is mistaken")
	}
}

// The state at a point is that of the entries before it, in the same turn too, and entries that nobody understands are passed over.
func TestAnAuditEndsItsTurn(t *testing.T) {
	m := open(t, &summedMachine{sum: 1})
	turn := turnOf(t, m, batchOf(1, "one", "two"), auditBatch(3, AuditPoint()))
	if !turn.Full() {
		t.Error("more may be added behind a point")
	}
	if err := m.Apply(turn); err != nil || turn.Audited() != (Audited{Index: 3, Sum: 1, Took: true}) || m.Applied() != 3 {
		t.Errorf("%+v, %v, applied %d", turn.Audited(), err, m.Applied())
	}
	for _, body := range [][]byte{{}, {9}, {auditPoint, 0}, AuditSum(3, 1, 1)[:20]} {
		if a, err := auditTo(t, m, body); err != nil || a != (Audited{}) {
			t.Errorf("%x: %+v, %v", body, a, err)
		}
	}
	if !IsAuditPoint(auditBatch(1, AuditPoint())) || IsAuditPoint(auditBatch(1, AuditSum(1, 2, 3))) || IsAuditPoint(batchOf(1, "\x01")) {
		t.Error("points are mistaken")
	}
}

func FuzzAudit(f *testing.F) {
	f.Add(AuditPoint())
	f.Add(AuditSum(2, 3, 11))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		m := auditing(t, &summedMachine{sum: 10})
		if _, err := auditTo(t, m, body); err != nil {
			t.Fatal(err)
		}
	})
}
