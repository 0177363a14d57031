package raftpb

import "testing"

// replicateMessage is a typical Replicate with one small batch.
func replicateMessage(batches ...Batch) Message {
	return Message{
		Type: MessageReplicate, ShardID: 7, From: 1, To: 2,
		FromIncarnation: 0x1234567890abcdef, ToIncarnation: 0xfedcba0987654321,
		FromSession: 0x1111111111111111, ToSession: 0x2222222222222222,
		Term: 3, LogIndex: 1234567, LogTerm: 3, Commit: 1234500, Request: 98765,
		Batches: batches,
	}
}

func BenchmarkAppendMessage(b *testing.B) {
	message := replicateMessage()
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendMessage(dst[:0], &message)
	}
}

func BenchmarkDecodeMessage(b *testing.B) {
	const count = 100
	message := replicateMessage()
	var data []byte
	for range count {
		data = AppendMessage(data, &message)
	}
	var decoder Decoder
	b.ReportAllocs()
	for b.Loop() {
		decoder.Reset()
		if _, err := decoder.Decode(data); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/message")
}

func BenchmarkIterate(b *testing.B) {
	const count = 200
	var builder Builder
	builder.Reset(nil)
	for range count {
		builder.Add(make([]byte, 16))
	}
	batch := builder.Seal(7, KindCommands, Origin{}, 0)
	total := 0
	b.ReportAllocs()
	for b.Loop() {
		it := batch.Iterator()
		for it.Next() {
			total += len(it.Command())
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/entry")
}

func BenchmarkBuilder(b *testing.B) {
	const count = 200
	command := make([]byte, 16)
	buf := make([]byte, 0, HeaderSize+count*17)
	b.ReportAllocs()
	for b.Loop() {
		var builder Builder
		builder.Reset(buf)
		for range count {
			builder.Add(command)
		}
		builder.Seal(7, KindCommands, Origin{}, 0)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/entry")
}

func BenchmarkParseBatch(b *testing.B) {
	batch, _ := testBatch(10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseBatch(batch); err != nil {
			b.Fatal(err)
		}
	}
}
