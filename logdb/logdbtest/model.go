package logdbtest

import (
	"errors"

	"github.com/flotilla-raft/flotilla/logdb"
	"github.com/flotilla-raft/flotilla/logdb/modellog"
)

func isNotFound(err error) bool { return errors.Is(err, logdb.ErrNotFound) }

// Long random runs, with restarts in between, leave the same as in the model.
func testAgainstModel(s *suite) {
	for seed := range uint64(3) {
		w := newWorkload(seed, 6, 40)
		model := modellog.New(modellog.Options{Automatic: true})
		s.reset(w.keys())
		for i := range 120 {
			p := w.next()
			for _, db := range []logdb.LogDB{model, s.db} {
				groups, err := p.fill(db)
				if err != nil {
					s.Fatal(err)
				}
				done := make(chan error, 1)
				db.Commit(groups, func(err error) { done <- err })
				if err := <-done; err != nil {
					s.Fatalf("seed %d: commit %d: %v", seed, i, err)
				}
			}
			if i%40 == 39 {
				s.close()
				s.open()
			}
			if i%5 == 0 || i%40 == 39 {
				s.compare(model, w.keys(), seed, i)
			}
		}
	}
}

// reset removes the replicas.
func (s *suite) reset(keys []logdb.ReplicaKey) {
	s.Helper()
	s.commit(func(group logdb.Group) {
		for _, k := range keys {
			group.Remove(k)
		}
	})
}

func (s *suite) compare(model logdb.LogDB, keys []logdb.ReplicaKey, seed uint64, commit int) {
	s.Helper()
	want, err := fingerprint(model, keys)
	if err != nil {
		s.Fatalf("seed %d: commit %d: model: %v", seed, commit, err)
	}
	got, err := fingerprint(s.db, keys)
	if err != nil {
		s.Fatalf("seed %d: commit %d: %v", seed, commit, err)
	}
	if got != want {
		s.Fatalf("seed %d: after commit %d the store holds\n%s\nand the model\n%s", seed, commit, got, want)
	}
}
