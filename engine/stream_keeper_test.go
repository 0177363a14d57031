package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/engine"
	"github.com/flotilla-raft/flotilla/rsm"
)

// keeperWords keeps sessions, that is, none, unless a Recover was interrupted: then something is there that makes no sense.
type keeperWords struct {
	*diskWords
	torn *bool
}

func (m *keeperWords) UpdateWithSessions(entries []rsm.Entry, delta *rsm.SessionDelta) error {
	*m.torn = false
	delta.Writes()
	if len(entries) == 0 {
		return nil
	}
	return m.Update(entries)
}

func (m *keeperWords) LoadSessions(yield func(key, value []byte) error) error {
	if *m.torn {
		return yield([]byte("torn"), nil)
	}
	return nil
}

func (m *keeperWords) Recover(ctx context.Context, from rsm.SnapshotReader) error {
	*m.torn = true
	return m.diskWords.Recover(ctx, from)
}

// The power fails in the middle of a Recover, and what is left of the sessions cannot be read. The replica could not be started any more, although
// the log said that the machine has to recover once more.
func TestAPowerCutInRecoverLeavesSessionsTorn(t *testing.T) {
	c := newStreamCluster(t, 3, rsm.KindOnDisk, nil)
	c.keeper = true
	_, _, lagging := c.behind(40)
	c.cutOff(lagging, false)
	c.until(time.Minute, "it recovers", func() bool { return c.list[lagging].torn })
	c.crash(lagging)
	c.startOn(lagging, nil)
	c.waitState(lagging, 40)
	if n := len(c.eventsOf(engine.EventReplicaDamaged)); n != 0 {
		t.Errorf("%d replicas are damaged", n)
	}
}
