package raftpb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"reflect"
	"testing"

	"github.com/klauspost/compress/s2"
	"google.golang.org/protobuf/proto"

	"github.com/flotilla-raft/flotilla/raftpb/schema"
)

// The fuzz targets give every decoder arbitrary bytes. Since mutated bytes hardly ever have a right checksum, the targets for
// batches make the checksums right after the mutation, as a hostile peer would: what is looked for lies behind them.

// seedBatches returns one batch of each form.
func seedBatches() []Batch {
	b, _ := testBatch(30)
	return []Batch{
		b, stamped(b.Clone(), 4, 100), b.Compress(0), stamped(b.Compress(0), 4, 100), stamped(b.Clone(), 4, 100).WithoutBody(),
		stamped(sessionBatch(10), 4, 100), NewNoOp(7), stamped(NewNoOp(7), 1, 1), NewMembership(7, testMembership()),
	}
}

func addSeedBatches(f *testing.F) {
	f.Add([]byte(nil))
	for _, b := range seedBatches() {
		f.Add([]byte(b))
		f.Add([]byte(b[:len(b)-1]))
	}
}

// forge makes the lengths and checksums of data right, so far as it has a header and, when it is compressed, a body that
// can be decompressed.
func forge(data []byte) []byte {
	if len(data) < HeaderSize {
		return data
	}
	b := Batch(bytes.Clone(data))
	claimed := b.PlainLength()
	b.sealPlainBody()
	if b.Flags()&FlagCompressed != 0 {
		put32(b, offPlainLength, claimed)
		if length, err := s2.DecodedLen(b.Body()); err == nil && length < 1<<20 {
			if plain, err := s2.Decode(nil, b.Body()); err == nil {
				put32(b, offPlainLength, uint32(length))
				put32(b, offPlainCRC, crc32.Checksum(plain, castagnoli))
			}
		}
	}
	b.seal()
	return b
}

func put32(b Batch, offset int, value uint32) { binary.LittleEndian.PutUint32(b[offset:], value) }

func FuzzParseBatch(f *testing.F) {
	addSeedBatches(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, data := range [][]byte{data, forge(data)} {
			b, err := ParseBatch(data)
			if err != nil {
				if !errors.Is(err, ErrBadBatch) {
					t.Fatal("error without a sentinel:", err)
				}
				continue
			}
			next, rest, err := NextBatch(data)
			if err != nil || len(rest) != 0 || !bytes.Equal(next, b) {
				t.Fatal("NextBatch differs from ParseBatch:", err)
			}
			_ = b.String()
			_, _ = b.Membership()
			mustParse(t, b.WithoutBody())
			if err := b.Verify(); err != nil && !errors.Is(err, ErrBodyChecksum) {
				t.Fatal("error without a sentinel:", err)
			}
			count := uint32(0)
			it := b.Iterator()
			for it.Next() {
				count++
			}
			switch {
			case it.Err() == nil && count != b.Count():
				t.Fatalf("%d entries, want %d", count, b.Count())
			case it.Err() != nil && !errors.Is(it.Err(), ErrBadBatch) && !errors.Is(it.Err(), ErrNotPlain):
				t.Fatal("error without a sentinel:", it.Err())
			}
		}
	})
}

func FuzzNextBatch(f *testing.F) {
	f.Add(bytes.Join(toBytes(seedBatches()), nil))
	f.Add(append(bytes.Clone(NewNoOp(1)), NewNoOp(2)[:50]...))
	f.Fuzz(func(t *testing.T, data []byte) {
		for len(data) > 0 {
			b, rest, err := NextBatch(data)
			if err != nil {
				if !errors.Is(err, ErrBadBatch) {
					t.Fatal("error without a sentinel:", err)
				}
				return
			}
			if len(b) < HeaderSize || len(b)+len(rest) != len(data) {
				t.Fatal("batch and rest do not add up")
			}
			if _, err := ParseBatch(b); err != nil {
				t.Fatal(err)
			}
			data = rest
		}
	})
}

func toBytes(batches []Batch) (data [][]byte) {
	for _, b := range batches {
		data = append(data, b)
	}
	return data
}

func FuzzPlain(f *testing.F) {
	addSeedBatches(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		b, err := ParseBatch(forge(data))
		if err != nil {
			return
		}
		plain, err := b.Plain(nil)
		if err != nil {
			if !errors.Is(err, ErrBadBatch) && !errors.Is(err, ErrBodyChecksum) && !errors.Is(err, ErrNotPlain) {
				t.Fatal("error without a sentinel:", err)
			}
			return
		}
		if cap(plain) > HeaderSize+MaxExpansion*len(b) {
			t.Fatalf("%d bytes out of %d", cap(plain), len(b))
		}
		mustParse(t, plain)
		if plain.Flags()&FlagCompressed != 0 || plain.Count() != b.Count() || plain.First() != b.First() {
			t.Fatal("plain batch is", plain, "of", b)
		}
		again := plain.Compress(0)
		mustParse(t, again)
		if back, err := again.Plain(nil); err != nil || !bytes.Equal(back, plain) {
			t.Fatal("compressing and decompressing changes the batch:", err)
		}
	})
}

func FuzzCut(f *testing.F) {
	for _, b := range seedBatches() {
		f.Add([]byte(b), uint64(0), uint64(0))
		f.Add([]byte(b), b.First(), b.Last())
		f.Add([]byte(b), b.First()+1, b.First()+2)
	}
	f.Fuzz(func(t *testing.T, data []byte, from, to uint64) {
		b, err := ParseBatch(forge(data))
		if err != nil {
			return
		}
		piece, err := b.Cut(from, to)
		if err != nil {
			if !errors.Is(err, ErrBadBatch) && !errors.Is(err, ErrBodyChecksum) {
				t.Fatal("error without a sentinel:", err)
			}
			return
		}
		mustParse(t, piece)
		if piece.First() != from || piece.Last() != to || uint64(piece.Origin().Piece) != uint64(b.Origin().Piece)+from-b.First() {
			t.Fatalf("piece %d to %d of %s is %s", from, to, b, piece)
		}
		if int(piece.Count()) < int(b.Count()) && piece.Flags() == 0 {
			if err := piece.VerifyEntries(); err != nil {
				t.Fatal("piece is malformed:", err)
			}
		}
	})
}

// fewestMessageBytes is the length of the shortest record of a message: its tag and length, type, sender and receiver.
const fewestMessageBytes = 8

func FuzzDecodeMessages(f *testing.F) {
	b, _ := testBatch(3)
	all := replicateMessage(b, b.Compress(0), b.WithoutBody())
	all.Payload, all.Reason, all.Transfer, all.HintIndex, all.HintTerm, all.Time = []byte("x"), ReasonBusy, true, 1, 2, -3
	frame := AppendMessages(nil, []Message{all, {Type: MessageVote, From: 1, To: 2}})
	f.Add([]byte(nil))
	f.Add(frame)
	f.Add(frame[:len(frame)-1])
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f})
	f.Add([]byte{0x0a, 0x06, 0x08, 0x01, 0x18, 0x01, 0x20, 0x01})
	f.Fuzz(func(t *testing.T, data []byte) {
		var decoder Decoder
		messages, err := decoder.Decode(data)
		if len(messages)*fewestMessageBytes > len(data) || len(decoder.batches)*HeaderSize > len(data) {
			t.Fatalf("%d messages and %d batches out of %d bytes", len(messages), len(decoder.batches), len(data))
		}
		if err != nil {
			if !errors.Is(err, ErrBadMessage) {
				t.Fatal("error without a sentinel:", err)
			}
			return
		}
		read := &schema.MessageBatch{}
		if err := proto.Unmarshal(data, read); err != nil {
			t.Fatal("the generated codec refuses what is accepted by hand:", err)
		}
		for i := range messages {
			_ = messages[i].String()
			if want := toSchema(messages[i]); !proto.Equal(dropUnknown(read.Messages[i]), want) {
				t.Fatalf("message %d is %v by hand, %v generated", i, want, read.Messages[i])
			}
		}
		again, err := DecodeMessages(nil, AppendMessages(nil, messages))
		if err != nil || len(again) != len(messages) || len(again) > 0 && !reflect.DeepEqual(normalize(again), normalize(messages)) {
			t.Fatalf("decoded again: %v, want %v: %v", again, messages, err)
		}
	})
}

func dropUnknown(m *schema.Message) *schema.Message {
	m.ProtoReflect().SetUnknown(nil)
	return m
}

// normalize makes an empty payload, which does not travel, no payload.
func normalize(messages []Message) []Message {
	for i := range messages {
		if len(messages[i].Payload) == 0 {
			messages[i].Payload = nil
		}
	}
	return messages
}

func FuzzDecodeSnapshotMeta(f *testing.F) {
	f.Add([]byte{})
	f.Add(AppendSnapshotMeta(nil, SnapshotMeta{
		ShardID: 7, ReplicaID: 2, Index: 99, Term: 5, Kind: SnapshotDisk, StateVersion: 3, Config: ConfigRecord{Index: 12, Membership: testMembership()},
	}))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzRecord(t, data, DecodeSnapshotMeta, AppendSnapshotMeta)
	})
}

func FuzzDecodeMembershipChange(f *testing.F) {
	f.Add([]byte{})
	f.Add(AppendMembershipChange(nil, MembershipChange{IfID: 7, Members: []MemberChange{
		{ReplicaID: 4, Kind: Voter, Address: "host-4:7000", Priority: PriorityLast}, {ReplicaID: 1},
	}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzRecord(t, data, DecodeMembershipChange, AppendMembershipChange)
	})
}

func FuzzDecodeMembership(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(EncodeMembership(testMembership()))
	f.Add(EncodeMembership(Membership{Members: []Member{{ReplicaID: 1, Kind: 4}}}))
	f.Fuzz(func(t *testing.T, data []byte) {
		fuzzRecord(t, data, DecodeMembership, AppendMembership)
		if m, err := DecodeMembership(data); err == nil && m.Validate() != nil {
			t.Fatal("decoding accepts what validation refuses:", m.Validate())
		}
	})
}

func FuzzDecodeHardState(f *testing.F) {
	f.Add(AppendHardState(nil, HardState{Term: 5, Vote: 2, Commit: 1 << 40}))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzRecord(t, data, DecodeHardState, AppendHardState) })
}

func FuzzDecodeConfigRecord(f *testing.F) {
	f.Add(AppendConfigRecord(nil, ConfigRecord{Index: 5, Membership: testMembership()}))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzRecord(t, data, DecodeConfigRecord, AppendConfigRecord) })
}

func FuzzDecodeBootstrap(f *testing.F) {
	f.Add(AppendBootstrap(nil, Bootstrap{Incarnation: 5, Initial: testMembership(), Complete: true}))
	f.Add(AppendBootstrap(nil, Bootstrap{Incarnation: 5, Join: true}))
	f.Fuzz(func(t *testing.T, data []byte) { fuzzRecord(t, data, DecodeBootstrap, AppendBootstrap) })
}

// fuzzRecord checks that what is accepted survives encoding and decoding, and that what is refused has its sentinel.
func fuzzRecord[T any](t *testing.T, data []byte, decode func([]byte) (T, error), appendTo func([]byte, T) []byte) {
	record, err := decode(data)
	if err != nil {
		if !errors.Is(err, ErrBadRecord) {
			t.Fatal("error without a sentinel:", err)
		}
		return
	}
	again, err := decode(appendTo(nil, record))
	if err != nil || !reflect.DeepEqual(again, record) {
		t.Fatalf("decoded again: %v, want %v: %v", again, record, err)
	}
}
