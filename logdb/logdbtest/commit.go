package logdbtest

import (
	"errors"
	"sync"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/raftpb"
)

// Calls of done come in the order of the Commits, once each, whether they sync or not: the engine frees its budget and
// matches completions by it.
func testDoneInOrder(s *suite) {
	const commits = 200
	order := make(chan int, 2*commits)
	for i := range commits {
		group := s.db.NewGroup()
		save := saveBatches(key(1, 1), Batch(1, 1, uint64(i+1), 1, 100))
		save.MustSync = i%3 != 0
		s.add(group, save)
		s.db.Commit([]logdb.Group{group}, func(err error) {
			if err != nil {
				s.Errorf("commit %d: %v", i, err)
			}
			order <- i
		})
	}
	for want := range commits {
		if got := <-order; got != want {
			s.Fatalf("done of commit %d came when that of %d was due", got, want)
		}
	}
	s.close()
	if len(order) != 0 {
		s.Error("done was called twice")
	}
}

// What is done is seen by Load and Read that begin afterwards.
func testDoneMeansVisible(s *suite) {
	var log []raftpb.Batch
	for i := range 30 {
		batch := Batch(1, 1, uint64(i+1), 1, 100)
		log = append(log, batch)
		save := saveBatches(key(1, 1), batch)
		save.MustSync = i%2 == 0
		s.save(save)
		s.expectLog(key(1, 1), 0, log...)
	}
}

// done may commit: the log writer starts the next group commit from there.
func testDoneMayCommit(s *suite) {
	const commits = 50
	finished := make(chan error, 1)
	var next func(i int)
	next = func(i int) {
		group := s.db.NewGroup()
		if err := group.Save(saveBatches(key(1, 1), Batch(1, 1, uint64(i+1), 1, 10))); err != nil {
			finished <- err
			return
		}
		s.db.Commit([]logdb.Group{group}, func(err error) {
			if err != nil || i+1 == commits {
				finished <- err
				return
			}
			next(i + 1)
		})
	}
	next(0)
	if err := <-finished; err != nil {
		s.Fatal(err)
	}
	if last := s.load(key(1, 1)).Last; last != commits {
		s.Errorf("the log ends at %d, want %d", last, commits)
	}
}

// A commit that nothing waits for completes too, also when no other follows.
func testCommitWithoutSync(s *suite) {
	for commit := uint64(1); commit <= 10; commit++ {
		s.save(&raftpb.Save{ShardID: 1, ReplicaID: 1, StateChanged: true, State: raftpb.HardState{Term: 1, Commit: commit}})
		if state := s.load(key(1, 1)).State; state.Commit != commit {
			s.Errorf("state %+v, want commit %d", state, commit)
		}
	}
}

// Empty groups, and no groups, complete in their turn.
func testEmptyCommit(s *suite) {
	order := make(chan int, 3)
	s.db.Commit(nil, func(error) { order <- 1 })
	group := s.db.NewGroup()
	s.add(group, saveBatches(key(1, 1), Batch(1, 1, 1, 1, 10)))
	s.db.Commit([]logdb.Group{s.db.NewGroup(), group, s.db.NewGroup()}, func(err error) {
		if err != nil {
			s.Errorf("commit: %v", err)
		}
		order <- 2
	})
	s.db.Commit([]logdb.Group{s.db.NewGroup()}, func(error) { order <- 3 })
	for want := 1; want <= 3; want++ {
		if got := <-order; got != want {
			s.Errorf("done of %d came when that of %d was due", got, want)
		}
	}
	s.expectLog(key(1, 1), 0, Batch(1, 1, 1, 1, 10))
}

// Reads run beside commits and see a log that is whole at every moment, while its tail is replaced and its front removed.
func testReadWhileCommitting(s *suite) {
	s.save(saveBatches(key(1, 1), Batch(1, 1, 1, 10, 50)))
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				s.readOnce()
			}
		})
	}
	last, compacted := uint64(10), uint64(0)
	for term := uint64(2); term < 60; term++ {
		s.commit(func(group logdb.Group) {
			save := saveBatches(key(1, 1), Batch(1, term, last+1, 5, 50), Batch(1, term, last+6, 5, 50))
			s.add(group, save)
		})
		s.commit(func(group logdb.Group) {
			save := saveBatches(key(1, 1), Batch(1, term, last+6, 2, 50))
			save.TruncateFrom = last + 6
			s.add(group, save)
			if term%5 == 0 {
				compacted = last
				group.Compact(key(1, 1), compacted, term-1)
			}
		})
		last += 7
	}
	close(stop)
	readers.Wait()
	if stored := s.load(key(1, 1)); stored.Last != last || stored.Compacted != compacted {
		s.Errorf("load: %+v, want (%d, %d]", stored, compacted, last)
	}
}

// readOnce loads and reads while others commit. Between the two calls the log may be compacted.
func (s *suite) readOnce() {
	stored, err := s.db.Load(key(1, 1))
	if err != nil {
		s.Errorf("load: %v", err)
		return
	}
	batches, err := s.db.Read(key(1, 1), stored.Compacted+1, stored.Last, 1<<20, nil)
	if errors.Is(err, logdb.ErrCompacted) {
		return
	}
	if err != nil {
		s.Errorf("read: %v", err)
		return
	}
	for i := 1; i < len(batches); i++ {
		if batches[i].First() != batches[i-1].Last()+1 || batches[i].Term() < batches[i-1].Term() {
			s.Errorf("batch [%d, %d] of term %d follows [%d, %d] of term %d", batches[i].First(), batches[i].Last(),
				batches[i].Term(), batches[i-1].First(), batches[i-1].Last(), batches[i-1].Term())
		}
	}
}

// Close waits for the writes under way and calls their done.
func testCloseWaits(s *suite) {
	results := make([]<-chan error, 20)
	for i := range results {
		results[i] = s.start(func(group logdb.Group) {
			s.add(group, saveBatches(key(1, 1), Batch(1, 1, uint64(i+1), 1, 1000)))
		})
	}
	s.close()
	for i, result := range results {
		select {
		case err := <-result:
			if err != nil {
				s.Errorf("commit %d: %v", i, err)
			}
		default:
			s.Fatalf("commit %d was not done when Close returned", i)
		}
	}
	s.open()
	if last := s.load(key(1, 1)).Last; last != 20 {
		s.Errorf("the log ends at %d, want 20", last)
	}
}

// A closed store refuses everything with ErrClosed and does not panic.
func testClosed(s *suite) {
	db := s.db
	group := db.NewGroup()
	s.add(group, saveBatches(key(1, 1), Batch(1, 1, 1, 1, 10)))
	s.close()
	results := make(chan error, 1)
	db.Commit([]logdb.Group{group}, func(err error) { results <- err })
	_, loadErr := db.Load(key(1, 1))
	_, readErr := db.Read(key(1, 1), 1, 1, 1, nil)
	_, listErr := db.List()
	for name, err := range map[string]error{
		"Commit": <-results, "Load": loadErr, "Read": readErr, "List": listErr, "Close": db.Close(),
	} {
		if !errors.Is(err, logdb.ErrClosed) {
			s.Errorf("%s: error %v, want ErrClosed", name, err)
		}
	}
}

// A failed write is a latch (R9): it and every later one end with an error, also when the disk would work again, and
// reads go on.
func testFailureIsALatch(s *suite) {
	if s.place.Fail == nil {
		s.Skip("the place cannot make writes fail")
	}
	first := Batch(1, 1, 1, 1, 100)
	s.save(saveBatches(key(1, 1), first))
	s.place.Fail()
	for i := range uint64(5) {
		err := <-s.start(func(group logdb.Group) {
			s.add(group, saveBatches(key(1, 1), Batch(1, 1, 2+i, 1, 100)))
		})
		if !errors.Is(err, logdb.ErrFailed) {
			s.Errorf("commit %d after the failure: error %v, want ErrFailed", i+1, err)
		}
	}
	s.expectRead(key(1, 1), 1, 1, 1, nil, first)
	if stored := s.load(key(1, 1)); stored.Last < 1 {
		s.Errorf("load: %+v", stored)
	}
}
