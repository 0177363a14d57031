package transporttest

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/flotilla-raft/flotilla/raftpb"
)

const shard = 7

// ping is the smallest message, valid on any lane; number tells pings apart.
func ping(number uint64) raftpb.Message {
	return raftpb.Message{Type: raftpb.MessageHeartbeat, ShardID: shard, From: 1, To: 2, Request: number}
}

func pings(first, count uint64) []raftpb.Message {
	messages := make([]raftpb.Message, count)
	for i := range messages {
		messages[i] = ping(first + uint64(i))
	}
	return messages
}

// batch makes a batch with one command of size bytes that depend on number.
func batch(number uint64, size int) raftpb.Batch {
	command := make([]byte, max(size, 8))
	random := rand.New(rand.NewPCG(number, uint64(size)))
	for i := 0; i+8 <= len(command); i += 8 {
		binary.LittleEndian.PutUint64(command[i:], random.Uint64())
	}
	var builder raftpb.Builder
	builder.Reset(nil)
	builder.Add(command)
	b := builder.Seal(shard, raftpb.KindCommands, raftpb.Origin{Replica: 1, Session: 2, Sequence: number}, 0)
	b.Stamp(3, number+1)
	return b
}

// replicate makes a Replicate message with one batch for each size.
func replicate(number uint64, sizes ...int) raftpb.Message {
	m := raftpb.Message{Type: raftpb.MessageReplicate, ShardID: shard, From: 1, To: 2, Term: 3, Request: number}
	for i, size := range sizes {
		m.Batches = append(m.Batches, batch(number+uint64(i), size))
	}
	return m
}

// full returns a message of a type with every field set.
func full(t raftpb.MessageType) raftpb.Message {
	m := raftpb.Message{
		Type: t, Reason: raftpb.ReasonBusy, Transfer: true, ShardID: shard, From: 1, To: 2,
		FromIncarnation: 1<<63 + 4, ToIncarnation: 5, FromSession: 6, ToSession: 1<<62 + 7, Term: 8, LogIndex: 9, LogTerm: 10,
		Commit: 11, Request: 12, HintIndex: 13, HintTerm: 14, Time: -15, Payload: []byte("payload"),
	}
	if t == raftpb.MessageReplicate || t == raftpb.MessagePropose {
		m.Batches = []raftpb.Batch{batch(1, 100), batch(2, 20_000)}
	}
	return m
}
