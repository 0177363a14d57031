package raftpb

import (
	"testing"

	"github.com/flotilla-raft/flotilla/internal/invariant"
)

// TestAllocations holds the budgets of the hot path: nothing per entry, per batch or per message once buffers have grown.
func TestAllocations(t *testing.T) {
	if invariant.Enabled {
		t.Skip("costly assertions allocate")
	}
	command := make([]byte, 200)
	arena := make([]byte, 0, HeaderSize+100*202)
	var builder Builder
	var sessions SessionBuilder
	batch, _ := testBatch(100)
	batch.Stamp(4, 1000)
	compressed := batch.Compress(0)
	plain := make([]byte, len(batch))
	message := replicateMessage(batch, batch)
	frame := AppendMessages(nil, []Message{message, message, message})
	dst := make([]byte, 0, len(frame))
	splices := make([]Splice, 0, 2)
	var buffers [][]byte
	var decoder Decoder
	state := HardState{Term: 1, Vote: 2, Commit: 3}
	membership := testMembership()
	encoded := AppendHardState(nil, state)
	for _, test := range []struct {
		name   string
		budget float64
		run    func()
	}{
		{"build and seal", 0, func() {
			builder.Reset(arena)
			for range 100 {
				builder.Add(command)
			}
			builder.Seal(7, KindCommands, testOrigin, 0).Stamp(4, 5)
		}},
		{"build and seal with sessions", 0, func() {
			sessions.Reset(arena)
			for range 50 {
				sessions.Add(SessionFields{1 << 60, 2, 3}, command)
			}
			sessions.Seal(7, KindCommands, testOrigin, 0)
		}},
		{"parse, verify and iterate", 0, func() {
			b, err := ParseBatch(batch)
			if err != nil || b.Verify() != nil || b.VerifyEntries() != nil {
				t.Error("batch refused", err)
			}
		}},
		{"decompress into a buffer", 0, func() {
			if _, err := compressed.Plain(plain); err != nil {
				t.Error(err)
			}
		}},
		{"clone", 1, func() { batch.Clone() }},
		{"cut", 1, func() {
			if _, err := batch.Cut(1010, 1020); err != nil {
				t.Error(err)
			}
		}},
		{"without a body", 1, func() { batch.WithoutBody() }},
		{"no-op", 1, func() { NewNoOp(7) }},
		{"encode a message", 0, func() { AppendMessage(dst, &message) }},
		{"encode a message and split it", 0, func() {
			head, spliced := AppendMessageSplit(dst, splices, &message, 1000)
			buffers = AppendBuffers(buffers[:0], head, spliced)
		}},
		{"decode a frame", 0, func() {
			decoder.Reset()
			if _, err := decoder.Decode(frame); err != nil {
				t.Error(err)
			}
		}},
		{"hard state", 0, func() {
			AppendHardState(dst, state)
			if _, err := DecodeHardState(encoded); err != nil {
				t.Error(err)
			}
		}},
		{"encode a membership", 0, func() { AppendMembership(dst, membership) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := testing.AllocsPerRun(100, test.run); got > test.budget {
				t.Errorf("%v allocations, want at most %v", got, test.budget)
			}
		})
	}
}
