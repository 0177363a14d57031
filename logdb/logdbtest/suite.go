package logdbtest

import (
	"errors"
	"testing"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// Place is where a store under test lives.
type Place struct {
	// Open opens the store, anew after it was closed. Required.
	Open func() (logdb.LogDB, error)
	// Fail, if not nil, makes the open store's next write to the disk fail. The case about failures needs it.
	Fail func()
}

// Run runs the suite; newPlace makes an empty place for each case.
func Run(t *testing.T, newPlace func(t *testing.T) Place) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := &suite{T: t, place: newPlace(t)}
			s.open()
			t.Cleanup(func() {
				if s.db != nil {
					_ = s.db.Close() // a case that cares closes the store itself
				}
			})
			c.run(s)
		})
	}
}

var cases = []struct {
	name string
	run  func(*suite)
}{
	{"NotFound", testNotFound},
	{"SaveAndLoad", testSaveAndLoad},
	{"SaveReplacesOnlyWhatItHolds", testSaveReplacesOnlyWhatItHolds},
	{"SaveCopies", testSaveCopies},
	{"InvalidSaveChangesNothing", testInvalidSaveChangesNothing},
	{"GroupReports", testGroupReports},
	{"GroupsApplyInOrder", testGroupsApplyInOrder},
	{"ReadRange", testReadRange},
	{"ReadLimit", testReadLimit},
	{"ReadBelongsToCaller", testReadBelongsToCaller},
	{"ReadOutside", testReadOutside},
	{"BodyOmitted", testBodyOmitted},
	{"LargeBatches", testLargeBatches},
	{"Truncate", testTruncate},
	{"TruncateInsideBatch", testTruncateInsideBatch},
	{"TruncateConfigs", testTruncateConfigs},
	{"Compact", testCompact},
	{"CompactInsideBatch", testCompactInsideBatch},
	{"CompactBeyondTheEnd", testCompactBeyondTheEnd},
	{"CompactKeepsNewestConfig", testCompactKeepsNewestConfig},
	{"Installing", testInstalling},
	{"InstallingAgain", testInstallingAgain},
	{"Remove", testRemove},
	{"RemoveAndAddAgain", testRemoveAndAddAgain},
	{"List", testList},
	{"NeighboursAreApart", testNeighboursAreApart},
	{"Restart", testRestart},
	{"DoneInOrder", testDoneInOrder},
	{"DoneMeansVisible", testDoneMeansVisible},
	{"DoneMayCommit", testDoneMayCommit},
	{"CommitWithoutSync", testCommitWithoutSync},
	{"EmptyCommit", testEmptyCommit},
	{"ReadWhileCommitting", testReadWhileCommitting},
	{"CloseWaits", testCloseWaits},
	{"Closed", testClosed},
	{"FailureIsALatch", testFailureIsALatch},
	{"AgainstModel", testAgainstModel},
}

// suite is one case under way.
type suite struct {
	*testing.T
	place Place
	db    logdb.LogDB
}

func (s *suite) open() {
	s.Helper()
	db, err := s.place.Open()
	if err != nil {
		s.Fatalf("open: %v", err)
	}
	s.db = db
}

func (s *suite) close() {
	s.Helper()
	db := s.db
	s.db = nil
	if err := db.Close(); err != nil {
		s.Fatalf("close: %v", err)
	}
}

// start fills a group and commits it; the result is the error given to done, once it comes.
func (s *suite) start(fill func(logdb.Group)) <-chan error {
	group := s.db.NewGroup()
	fill(group)
	result := make(chan error, 1)
	s.db.Commit([]logdb.Group{group}, func(err error) { result <- err })
	return result
}

// commit fills a group, commits it and waits for done.
func (s *suite) commit(fill func(logdb.Group)) {
	s.Helper()
	if err := <-s.start(fill); err != nil {
		s.Fatalf("commit: %v", err)
	}
}

// save commits saves in one group.
func (s *suite) save(saves ...*raftpb.Save) {
	s.Helper()
	s.commit(func(group logdb.Group) { s.add(group, saves...) })
}

func (s *suite) add(group logdb.Group, saves ...*raftpb.Save) {
	s.Helper()
	for _, save := range saves {
		if err := group.Save(save); err != nil {
			s.Fatalf("save: %v", err)
		}
	}
}

func (s *suite) load(key logdb.ReplicaKey) raftpb.Stored {
	s.Helper()
	stored, err := s.db.Load(key)
	if err != nil {
		s.Fatalf("load %v: %v", key, err)
	}
	return stored
}

// expectLog checks the whole log of a replica, by Load and by Read.
func (s *suite) expectLog(key logdb.ReplicaKey, compacted uint64, want ...raftpb.Batch) {
	s.Helper()
	stored := s.load(key)
	last := compacted
	if len(want) > 0 {
		last = want[len(want)-1].Last()
	}
	if stored.Compacted != compacted || stored.Last != last {
		s.Errorf("%v: log (%d, %d], want (%d, %d]", key, stored.Compacted, stored.Last, compacted, last)
	}
	if last == compacted {
		s.expectRead(key, compacted+1, compacted+1, 1<<30, logdb.ErrUnavailable)
		return
	}
	s.expectRead(key, compacted+1, last, 1<<30, nil, want...)
}

// expectRead checks one Read.
func (s *suite) expectRead(
	key logdb.ReplicaKey, from, to uint64, maxBytes int, wantErr error, want ...raftpb.Batch,
) {
	s.Helper()
	marker := raftpb.Batch("what was in the slice before")
	got, err := s.db.Read(key, from, to, maxBytes, []raftpb.Batch{marker})
	if !errors.Is(err, wantErr) {
		s.Errorf("%v: read [%d, %d]: error %v, want %v", key, from, to, err, wantErr)
		return
	}
	if len(got) == 0 || string(got[0]) != string(marker) {
		s.Errorf("%v: read [%d, %d]: what was in the slice is lost", key, from, to)
		return
	}
	got = got[1:]
	if len(got) != len(want) {
		s.Errorf("%v: read [%d, %d]: %d batches, want %d", key, from, to, len(got), len(want))
		return
	}
	for i := range got {
		if string(got[i]) != string(want[i]) {
			s.Errorf("%v: read [%d, %d]: batch %d is [%d, %d] of term %d, want [%d, %d] of term %d, byte by byte", key,
				from, to, i, got[i].First(), got[i].Last(), got[i].Term(), want[i].First(), want[i].Last(), want[i].Term())
		}
	}
}

func (s *suite) expectNotFound(key logdb.ReplicaKey) {
	s.Helper()
	if stored, err := s.db.Load(key); !errors.Is(err, logdb.ErrNotFound) {
		s.Errorf("load %v: %+v, error %v, want ErrNotFound", key, stored, err)
	}
	if _, err := s.db.Read(key, 1, 1, 1, nil); !errors.Is(err, logdb.ErrNotFound) {
		s.Errorf("read %v: error %v, want ErrNotFound", key, err)
	}
}
