package engine_test

import (
	"slices"
	"testing"
	"time"

	"github.com/flotilla-raft/flotilla/raftpb"
	"github.com/flotilla-raft/flotilla/rsm"
	"github.com/flotilla-raft/flotilla/snapshot"
)

// orphan puts a snapshot into a host's directory as a receiver does before the log knows of it.
func (c *streamCluster) orphan(i int, index uint64) {
	c.t.Helper()
	pending, err := c.list[i].directory.Create()
	if err != nil {
		c.t.Fatal(err)
	}
	writer, err := snapshot.NewWriter(pending, raftpb.SnapshotMeta{ShardID: 1, ReplicaID: 77, Index: index, Term: 1, Kind: c.kind.Snapshot()}, snapshot.WriterOptions{})
	if err == nil {
		_, err = writer.Close()
	}
	if err == nil {
		err = c.list[i].directory.Publish(snapshot.Finished{Pending: pending, Name: snapshot.Name{ShardID: 1, ReplicaID: uint64(i + 1), Index: index}})
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *streamCluster) indexes(i int) (list []uint64) {
	for _, name := range c.list[i].directory.List(1, uint64(i+1)) {
		list = append(list, name.Index)
	}
	return list
}

// A snapshot that was received and not installed counted as the newest one: those that the replica took itself were removed for it, with the
// log that goes on from them, and the next start removed the received one. Then nothing was left.
func TestAReceivedSnapshotTakesThePlaceOfNone(t *testing.T) {
	c := newStreamCluster(t, 1, rsm.KindConcurrent, nil)
	c.startAll()
	c.fill(1, 3)
	first := c.take(0)
	c.orphan(0, first+1000)
	c.fill(4, 6)
	second := c.take(0)
	if got, want := c.indexes(0), []uint64{first + 1000, second}; !slices.Equal(got, want) {
		t.Fatalf("snapshots at %v, want %v", got, want)
	}
	c.crash(0)
	c.startOn(0, nil)
	c.waitState(0, 6)
	if got, want := c.indexes(0), []uint64{second}; !slices.Equal(got, want) {
		t.Errorf("snapshots at %v after a start, want %v", got, want)
	}
}

// What was received for a state machine on disk and not installed, or not removed any more before a crash, stayed for ever.
func TestAStartRemovesWhatAMachineOnDiskDoesNotNeed(t *testing.T) {
	c := newStreamCluster(t, 1, rsm.KindOnDisk, nil)
	c.startAll()
	c.fill(1, 3)
	c.take(0)
	c.orphan(0, 2)
	c.orphan(0, 1000)
	c.crash(0)
	c.startOn(0, nil)
	c.until(time.Minute, "it is there again", func() bool { return c.has(0, 3) })
	if got := c.indexes(0); len(got) != 0 {
		t.Errorf("snapshots at %v after a start, want none", got)
	}
}

// A source sent what it had received itself and its core had refused, for it had the highest index of its files: whoever it sent that to refused
// it too, and asked again, for ever.
func TestASourceSendsNothingThatItHasNotInstalled(t *testing.T) {
	c := newStreamCluster(t, 3, rsm.KindConcurrent, nil)
	leader, other, lagging := c.behind(40)
	c.orphan(leader, 1000)
	c.orphan(other, 1000)
	c.cutOff(lagging, false)
	c.waitState(lagging, 40)
	if got := c.indexes(lagging); len(got) != 1 || got[0] >= 1000 {
		t.Errorf("received were snapshots at %v", got)
	}
}
