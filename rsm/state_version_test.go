package rsm

import (
	"context"
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// countedVersion counts how often it is asked for its version.
type countedVersion struct {
	memoryMachine
	asked int
}

func (m *countedVersion) StateVersion() uint64 {
	m.asked++
	return 3
}

// The version is asked for once, when the machine was made. Found when each snapshot's metadata that came from another host were held against it on the
// worker that receives: a machine that did not answer held up every shard's snapshots.
func TestTheStateVersionIsAskedForOnce(t *testing.T) {
	made := &countedVersion{}
	m := open(t, made)
	applyTo(t, m, numbered(3)...)
	for range 3 {
		if err := m.Accepts(&raftpb.SnapshotMeta{Kind: m.Kind().Snapshot(), StateVersion: 3}); err != nil {
			t.Error(err)
		}
		image, err := m.Prepare(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if got := image.Meta().StateVersion; got != 3 {
			t.Errorf("version %d", got)
		}
		if err := image.Close(); err != nil {
			t.Error(err)
		}
	}
	if made.asked != 1 {
		t.Errorf("asked %d times", made.asked)
	}
	another := &countedVersion{}
	if err := m.Renew(context.Background(), func() (StateMachine, error) { return another, nil }); err != nil || another.asked != 1 {
		t.Errorf("the next one was asked %d times: %v", another.asked, err)
	}
}
