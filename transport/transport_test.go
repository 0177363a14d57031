package transport

import (
	"testing"

	"github.com/flotilla-raft/flotilla/raftpb"
)

// Bulk is what carries entries or waits behind them, snapshot what carries snapshots and asks for them; everything else is
// control, types that are added later included.
func TestLaneOf(t *testing.T) {
	lanes := map[raftpb.MessageType]Lane{
		raftpb.MessageReplicate: LaneBulk, raftpb.MessageProbe: LaneBulk, raftpb.MessageReplicateResponse: LaneBulk,
		raftpb.MessagePropose: LaneBulk, raftpb.MessageProposeResponse: LaneBulk,
		raftpb.MessageSnapshotPull: LaneSnapshot, raftpb.MessageSnapshotChunk: LaneSnapshot,
	}
	for kind := raftpb.MessageType(0); kind <= raftpb.MessageTypeCount; kind++ {
		if got := LaneOf(kind); got != lanes[kind] {
			t.Errorf("message type %v travels on the %v lane, want %v", kind, got, lanes[kind])
		}
	}
}

func TestLaneNames(t *testing.T) {
	for lane, want := range map[Lane]string{LaneControl: "control", LaneBulk: "bulk", LaneSnapshot: "snapshot", LaneCount: "unknown"} {
		if got := lane.String(); got != want {
			t.Errorf("lane %d is called %q, want %q", lane, got, want)
		}
	}
}

// The lists of batches leave the decoder's array, and what aliases nothing names no chunk.
func TestOwnBatches(t *testing.T) {
	list := []raftpb.Batch{raftpb.Batch("a"), raftpb.Batch("b"), raftpb.Batch("c")}
	messages := []raftpb.Message{
		{Batches: list[:2:2]}, {}, {Payload: []byte("p")}, {Batches: list[2:3:3]},
	}
	if !OwnBatches(messages, 5) {
		t.Error("messages with batches are said to alias nothing")
	}
	clear(list)
	if string(messages[0].Batches[0]) != "a" || string(messages[0].Batches[1]) != "b" || string(messages[3].Batches[0]) != "c" {
		t.Errorf("batches %q and %q share the list that they came in", messages[0].Batches, messages[3].Batches)
	}
	for i, want := range []uint64{5, 0, 5, 5} {
		if messages[i].Chunk != want {
			t.Errorf("message %d names chunk %d, want %d", i, messages[i].Chunk, want)
		}
	}
	if cap(messages[0].Batches) != 2 {
		t.Error("appending to one message's list would overwrite the next one's")
	}
	if OwnBatches([]raftpb.Message{{}, {}}, 5) {
		t.Error("messages without bytes are said to alias the chunk")
	}
}

func TestAllocationsOfOwnBatches(t *testing.T) {
	messages := []raftpb.Message{{}}
	if got := testing.AllocsPerRun(100, func() { OwnBatches(messages, 5) }); got != 0 {
		t.Errorf("%v allocations for messages without batches", got)
	}
}
