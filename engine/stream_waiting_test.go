package engine_test

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// Who waits for a snapshot, or exports one, of a state that is replaced by another replica's is told so. Found: it was told that the replica was
// stopped, which it was not.
func TestWhoWaitsForASnapshotIsToldOfAnInstallation(t *testing.T) {
	forKinds(t, streamed, func(t *testing.T, kind rsm.Kind) {
		c := newStreamCluster(t, 3, kind, nil)
		_, _, lagging := c.behind(100)
		r := c.list[lagging].replicas[1]
		var errs []error
		c.hosts[lagging].held = func(worker engine.Worker) bool { _, calls := worker.(*aside); return calls } // none of them gets anywhere
		c.cutOff(lagging, false)
		note := func(err error) { errs = append(errs, err) }
		r.Snapshot(func(_ uint64, err error) { note(err) })
		r.Snapshot(func(_ uint64, err error) { note(err) })
		want := 2
		if kind == rsm.KindOnDisk {
			want = 3
			r.Export(func(save func(io.Writer) (snapshot.Summary, error)) error {
				_, err := save(io.Discard)
				return err
			}, note)
		}
		c.until(time.Minute, "a snapshot comes", func() bool { return len(c.eventsOf(engine.EventSnapshotReceived)) > 0 })
		r.Snapshot(func(_ uint64, err error) { note(err) })
		c.hosts[lagging].held = nil
		c.waitState(lagging, 100)
		told := 0
		for _, err := range errs {
			if errors.Is(err, engine.ErrInstalling) {
				told++
			} else if err != nil || kind != rsm.KindOnDisk { // a Sync under way comes to its end
				t.Errorf("%v", err)
			}
		}
		if told < 1 {
			t.Error("nobody was told")
		}
		if len(errs) != want+1 {
			t.Errorf("%d answers, want %d", len(errs), want+1)
		}
		if got := c.counters(lagging).SnapshotsFailed; got != 0 {
			t.Errorf("%d count as failed", got)
		}
		c.run(time.Second)
		c.fill(101, 101)
		c.waitState(lagging, 101)
		c.take(lagging)
	})
}
