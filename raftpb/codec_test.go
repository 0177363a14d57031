package raftpb

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/flotilla-raft/flotilla/raftpb/schema"
)

// drawBatch draws a batch of a shard: commands with or without sessions, compressed, without a body, stamped or not.
func drawBatch(t *rapid.T, shard uint64) Batch {
	var builder SessionBuilder
	builder.Reset(nil)
	var plain Builder
	plain.Reset(nil)
	for _, command := range rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 200), 1, 5).Draw(t, "commands") {
		builder.Add(SessionFields{rapid.Uint64().Draw(t, "client"), 1, 2}, command)
		plain.Add(command)
	}
	origin := Origin{Replica: rapid.Uint64().Draw(t, "origin"), Session: 5, Sequence: 6}
	b := plain.Seal(shard, KindCommands, origin, rapid.Uint64().Draw(t, "expected term"))
	if rapid.Bool().Draw(t, "sessions") {
		b = builder.Seal(shard, KindCommands, origin, 0)
	}
	if rapid.Bool().Draw(t, "compress") {
		b = b.Compress(0)
	}
	if rapid.Bool().Draw(t, "stamp") {
		b.Stamp(rapid.Uint64Range(1, 1<<63).Draw(t, "term"), rapid.Uint64Range(1, 1<<63).Draw(t, "first"))
	}
	if rapid.Bool().Draw(t, "without body") {
		b = b.WithoutBody()
	}
	return b
}

// drawNumber draws small and large numbers, and 0 often, which the encoding leaves out.
func drawNumber(t *rapid.T, name string) uint64 {
	return rapid.OneOf(rapid.Just(uint64(0)), rapid.Uint64Range(0, 300), rapid.Uint64()).Draw(t, name)
}

func drawMessage(t *rapid.T) Message {
	m := Message{
		Type:            MessageType(rapid.IntRange(1, int(MessageTypeCount)-1).Draw(t, "type")),
		Reason:          Reason(rapid.IntRange(0, int(ReasonCount)-1).Draw(t, "reason")),
		Transfer:        rapid.Bool().Draw(t, "transfer"),
		ShardID:         drawNumber(t, "shard"),
		From:            rapid.Uint64Range(1, 1<<64-1).Draw(t, "from"),
		To:              rapid.Uint64Range(1, 1<<64-1).Draw(t, "to"),
		FromIncarnation: drawNumber(t, "from incarnation"),
		ToIncarnation:   drawNumber(t, "to incarnation"),
		FromSession:     drawNumber(t, "from session"),
		ToSession:       drawNumber(t, "to session"),
		Term:            drawNumber(t, "term"),
		LogIndex:        drawNumber(t, "log index"),
		LogTerm:         drawNumber(t, "log term"),
		Commit:          drawNumber(t, "commit"),
		Request:         drawNumber(t, "request"),
		HintIndex:       drawNumber(t, "hint index"),
		HintTerm:        drawNumber(t, "hint term"),
		Backlog:         drawNumber(t, "backlog"),
		Time:            int64(drawNumber(t, "time")),
	}
	for range rapid.IntRange(0, 3).Draw(t, "batches") {
		m.Batches = append(m.Batches, drawBatch(t, m.ShardID))
	}
	if payload := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(t, "payload"); len(payload) > 0 {
		m.Payload = payload
	}
	return m
}

func toSchema(m Message) *schema.Message {
	s := &schema.Message{
		Type: schema.MessageType(m.Type), Reason: schema.Reason(m.Reason), Transfer: m.Transfer,
		ShardId: m.ShardID, From: m.From, To: m.To,
		FromIncarnation: m.FromIncarnation, ToIncarnation: m.ToIncarnation,
		FromSession: m.FromSession, ToSession: m.ToSession,
		Term: m.Term, LogIndex: m.LogIndex, LogTerm: m.LogTerm, Commit: m.Commit, Request: m.Request,
		HintIndex: m.HintIndex, HintTerm: m.HintTerm, Time: m.Time, Payload: m.Payload,
		Backlog: m.Backlog,
	}
	for _, batch := range m.Batches {
		s.Batches = append(s.Batches, batch)
	}
	return s
}

// TestMessageCodecsAgree: what one codec writes the other reads as the same message, and they even write the same bytes.
func TestMessageCodecsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages := rapid.SliceOfN(rapid.Custom(drawMessage), 0, 4).Draw(t, "messages")
		want := &schema.MessageBatch{}
		size := 0
		for _, m := range messages {
			want.Messages = append(want.Messages, toSchema(m))
			size += MessageSize(&m)
		}
		byHand := AppendMessages(nil, messages)
		if len(byHand) != size {
			t.Fatalf("encoded length is %d, MessageSize says %d", len(byHand), size)
		}
		read := &schema.MessageBatch{}
		if err := proto.Unmarshal(byHand, read); err != nil || !proto.Equal(read, want) {
			t.Fatal("protobuf reads", read, "want", want, err)
		}
		generated, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(generated, byHand) {
			t.Fatalf("bytes differ:\n%x by hand\n%x generated", byHand, generated)
		}
		got, err := DecodeMessages(nil, generated)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(messages) || len(got) > 0 && !reflect.DeepEqual(got, messages) {
			t.Fatalf("decoded %v, want %v", got, messages)
		}
	})
}

// TestSchemaNumbers holds the enums of the schema against the constants.
func TestSchemaNumbers(t *testing.T) {
	normal := func(name string) string { return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name)) }
	check := func(prefix string, count int, names map[int32]string, name func(int32) string) {
		if len(names) != count {
			t.Errorf("%s: the schema has %d values, want %d", prefix, len(names), count)
		}
		for value, schemaName := range names {
			want := normal(strings.TrimPrefix(schemaName, prefix))
			if got := normal(name(value)); got != want && want != "unspecified" {
				t.Errorf("%s: %d is %s, in the schema %s", prefix, value, got, want)
			}
		}
	}
	check("MESSAGE_TYPE_", int(MessageTypeCount), schema.MessageType_name, func(v int32) string { return MessageType(v).String() })
	check("REASON_", int(ReasonCount), schema.Reason_name, func(v int32) string { return Reason(v).String() })
	check("SNAPSHOT_KIND_", int(SnapshotWitness)+1, schema.SnapshotKind_name, func(v int32) string { return SnapshotKind(v).String() })
	check("MEMBER_GOAL_", int(goalCount), schema.MemberGoal_name, func(v int32) string { return MemberGoal(v).String() })
	check("MEMBER_KIND_", int(Witness)+1, schema.MemberKind_name, func(v int32) string { return MemberKind(v).String() })
}

func drawMembership(t *rapid.T) Membership {
	return Membership{
		ID: drawNumber(t, "id"), Operation: drawNumber(t, "operation"),
		Members: drawMembers(t), Outgoing: drawMembers(t),
	}
}

func drawMembers(t *rapid.T) (members []Member) {
	id := uint64(0)
	for range rapid.IntRange(0, 4).Draw(t, "members") {
		id += rapid.Uint64Range(1, 1<<40).Draw(t, "step")
		members = append(members, Member{
			ReplicaID:   id,
			Kind:        MemberKind(rapid.IntRange(1, 3).Draw(t, "kind")),
			Incarnation: drawNumber(t, "incarnation"),
			Address:     rapid.StringN(0, 50, MaxAddressLength).Draw(t, "address"),
			Goal:        MemberGoal(rapid.IntRange(0, int(goalCount)-1).Draw(t, "goal")),
			Priority:    Priority(rapid.IntRange(0, 255).Draw(t, "priority")),
			Added:       rapid.Bool().Draw(t, "added"),
			Healed:      MemberKind(rapid.IntRange(0, 3).Draw(t, "healed")),
		})
	}
	return members
}

func membershipToSchema(m Membership) *schema.Membership {
	return &schema.Membership{
		Id: m.ID, Operation: m.Operation, Members: membersToSchema(m.Members), Outgoing: membersToSchema(m.Outgoing),
	}
}

func membersToSchema(members []Member) (s []*schema.Member) {
	for _, member := range members {
		s = append(s, &schema.Member{
			ReplicaId: member.ReplicaID, Kind: schema.MemberKind(member.Kind), Incarnation: member.Incarnation,
			Address: member.Address, Goal: schema.MemberGoal(member.Goal), Priority: uint32(member.Priority),
			Added: member.Added, Healed: schema.MemberKind(member.Healed),
		})
	}
	return s
}

func drawChange(t *rapid.T) MembershipChange {
	change := MembershipChange{IfID: drawNumber(t, "if id")}
	for range rapid.IntRange(0, 4).Draw(t, "members") {
		change.Members = append(change.Members, MemberChange{
			ReplicaID: drawNumber(t, "replica"), Kind: MemberKind(rapid.IntRange(0, 3).Draw(t, "kind")),
			Address:  rapid.StringN(0, 50, MaxAddressLength).Draw(t, "address"),
			Priority: Priority(rapid.IntRange(0, 255).Draw(t, "priority")),
		})
	}
	return change
}

func changeToSchema(change MembershipChange) *schema.MembershipChange {
	s := &schema.MembershipChange{IfId: change.IfID}
	for _, member := range change.Members {
		s.Members = append(s.Members, &schema.MemberChange{
			ReplicaId: member.ReplicaID, Kind: schema.MemberKind(member.Kind), Address: member.Address,
			Priority: uint32(member.Priority),
		})
	}
	return s
}

// checkRecord holds both codecs of one kind of record against each other.
func checkRecord[T any](t *rapid.T, record T, want proto.Message, appendTo func([]byte, T) []byte, decode func([]byte) (T, error)) {
	byHand := appendTo(nil, record)
	generated, err := proto.MarshalOptions{Deterministic: true}.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(byHand, generated) {
		t.Fatalf("%T: bytes differ:\n%x by hand\n%x generated", record, byHand, generated)
	}
	read := want.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(byHand, read); err != nil || !proto.Equal(read, want) {
		t.Fatal("protobuf reads", read, "want", want, err)
	}
	got, err := decode(generated)
	if err != nil || !reflect.DeepEqual(got, record) {
		t.Fatalf("decoded %v, want %v: %v", got, record, err)
	}
}

func TestRecordCodecsAgree(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		membership := drawMembership(t)
		checkRecord(t, membership, membershipToSchema(membership), AppendMembership, DecodeMembership)
		meta := SnapshotMeta{
			ShardID: drawNumber(t, "shard"), ReplicaID: drawNumber(t, "replica"), Index: drawNumber(t, "index"), Term: drawNumber(t, "term"),
			Config: ConfigRecord{Index: drawNumber(t, "config"), Membership: membership},
			Kind:   SnapshotKind(rapid.IntRange(0, 3).Draw(t, "kind")), StateVersion: drawNumber(t, "version"),
		}
		checkRecord(t, meta, &schema.SnapshotMeta{
			ShardId: meta.ShardID, ReplicaId: meta.ReplicaID, Index: meta.Index, Term: meta.Term, Kind: schema.SnapshotKind(meta.Kind),
			Config: &schema.ConfigRecord{Index: meta.Config.Index, Membership: membershipToSchema(membership)}, StateVersion: meta.StateVersion,
		}, AppendSnapshotMeta, DecodeSnapshotMeta)
		change := drawChange(t)
		checkRecord(t, change, changeToSchema(change), AppendMembershipChange, DecodeMembershipChange)
		config := ConfigRecord{Index: drawNumber(t, "index"), Membership: membership}
		checkRecord(t, config, &schema.ConfigRecord{Index: config.Index, Membership: membershipToSchema(membership)},
			AppendConfigRecord, DecodeConfigRecord)
		state := HardState{Term: drawNumber(t, "term"), Vote: drawNumber(t, "vote"), Commit: drawNumber(t, "commit")}
		checkRecord(t, state, &schema.HardState{Term: state.Term, Vote: state.Vote, Commit: state.Commit},
			AppendHardState, DecodeHardState)
		bootstrap := Bootstrap{Incarnation: drawNumber(t, "incarnation"), Join: rapid.Bool().Draw(t, "join"),
			Initial: membership, Complete: rapid.Bool().Draw(t, "complete")}
		checkRecord(t, bootstrap, &schema.Bootstrap{Incarnation: bootstrap.Incarnation, Join: bootstrap.Join,
			Initial: membershipToSchema(membership), Complete: bootstrap.Complete}, AppendBootstrap, DecodeBootstrap)
	})
}

// TestSplitIsTheSameOnTheWire: whatever is spliced, the bytes are those of AppendMessage, and no large batch or payload was copied.
func TestSplitIsTheSameOnTheWire(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		messages := rapid.SliceOfN(rapid.Custom(drawMessage), 1, 4).Draw(t, "messages")
		threshold := rapid.IntRange(0, 600).Draw(t, "threshold")
		prefix := rapid.SliceOfN(rapid.Byte(), 0, 10).Draw(t, "prefix")
		dst := bytes.Clone(prefix)
		var splices []Splice
		large := 0
		for i := range messages {
			dst, splices = AppendMessageSplit(dst, splices, &messages[i], threshold)
			for _, batch := range messages[i].Batches {
				if len(batch) >= threshold {
					if large >= len(splices) || &splices[large].Batch[0] != &batch[0] {
						t.Fatal("a large batch is not spliced as it is")
					}
					large++
				}
			}
			if payload := messages[i].Payload; len(payload) > 0 && len(payload) >= threshold {
				if large >= len(splices) || &splices[large].Batch[0] != &payload[0] {
					t.Fatal("a large payload is not spliced as it is")
				}
				large++
			}
		}
		if large != len(splices) {
			t.Fatalf("%d splices, want %d", len(splices), large)
		}
		buffers := AppendBuffers(nil, dst, splices)
		for _, buffer := range buffers {
			if len(buffer) == 0 {
				t.Fatal("an empty buffer")
			}
		}
		got := bytes.Join(buffers, nil)
		if want := AppendMessages(bytes.Clone(prefix), messages); !bytes.Equal(got, want) {
			t.Fatalf("bytes differ:\n%x split\n%x whole", got, want)
		}
	})
}

func TestSplitThreshold(t *testing.T) {
	b, _ := testBatch(10)
	m := replicateMessage(b)
	for threshold, want := range map[int]int{len(b) - 1: 1, len(b): 1, len(b) + 1: 0} {
		if _, splices := AppendMessageSplit(nil, nil, &m, threshold); len(splices) != want {
			t.Errorf("%d splices of a batch of %d bytes at threshold %d, want %d", len(splices), len(b), threshold, want)
		}
	}
}

// TestDecodedBatchesKeepCapacity: the log cache computes a batch's offset in its chunk from capacities.
func TestDecodedBatchesKeepCapacity(t *testing.T) {
	b, _ := testBatch(10)
	message := replicateMessage(b, NewNoOp(7))
	message.Payload = []byte("payload")
	chunk := make([]byte, 100, 64<<10)
	chunk = AppendMessages(chunk, []Message{message, message})
	messages, err := DecodeMessages(nil, chunk[100:])
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		for _, batch := range m.Batches {
			offset := cap(chunk) - cap(batch)
			if !bytes.Equal(chunk[offset:offset+len(batch)], batch) || &chunk[offset] != &batch[0] {
				t.Fatalf("batch %s is not at offset %d of its chunk", batch, offset)
			}
		}
		if offset := cap(chunk) - cap(m.Payload); string(chunk[offset:offset+len(m.Payload)]) != "payload" {
			t.Fatal("payload is not at its offset")
		}
	}
}

func TestDecoderReuse(t *testing.T) {
	b, _ := testBatch(10)
	frame := AppendMessages(nil, []Message{replicateMessage(b), replicateMessage(), replicateMessage(b, b)})
	var decoder Decoder
	for range 3 {
		first, err := decoder.Decode(frame)
		if err != nil {
			t.Fatal(err)
		}
		want := []Message{replicateMessage(b), replicateMessage(), replicateMessage(b, b)}
		if _, err := decoder.Decode(append(bytes.Clone(frame), 0xff)); !errors.Is(err, ErrBadMessage) {
			t.Fatal("garbage at the end:", err)
		}
		if len(decoder.messages) != 3 || len(decoder.batches) != 3 {
			t.Fatal("a refused frame leaves messages or batches behind")
		}
		second, err := decoder.Decode(frame)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(first, want) || !reflect.DeepEqual(second, want) {
			t.Fatal("decoded", first, second)
		}
		decoder.Reset()
		if second[0].Batches != nil || first[2].Payload != nil {
			t.Fatal("Reset keeps references to the frame")
		}
	}
}

func TestDecodeMessagesAppends(t *testing.T) {
	have := []Message{{Type: MessageVote, From: 1, To: 2}}
	frame := AppendMessages(nil, []Message{replicateMessage()})
	got, err := DecodeMessages(have, frame)
	if err != nil || len(got) != 2 || got[0].Type != MessageVote || got[1].Type != MessageReplicate {
		t.Fatal(got, err)
	}
	got, err = DecodeMessages(have, []byte{1})
	if !errors.Is(err, ErrBadMessage) || len(got) != 1 {
		t.Fatal(got, err)
	}
}

func TestChunkDoesNotTravel(t *testing.T) {
	m := replicateMessage()
	m.Chunk = 99
	got, err := DecodeMessages(nil, AppendMessage(nil, &m))
	if err != nil || got[0].Chunk != 0 {
		t.Fatal(got, err)
	}
}

// TestUnknownFieldsAreSkipped: a later version may add fields.
func TestUnknownFieldsAreSkipped(t *testing.T) {
	body := AppendMessage(nil, &Message{Type: MessageVote, From: 1, To: 2})[2:]
	body = protowire.AppendVarint(protowire.AppendTag(body, 60, protowire.VarintType), 5)
	body = protowire.AppendFixed32(protowire.AppendTag(body, 1000, protowire.Fixed32Type), 5)
	body = protowire.AppendTag(body, 30, protowire.StartGroupType)
	body = protowire.AppendTag(body, 30, protowire.EndGroupType)
	data := protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), body)
	data = protowire.AppendBytes(protowire.AppendTag(data, 2, protowire.BytesType), []byte("more"))
	got, err := DecodeMessages(nil, data)
	if err != nil || !reflect.DeepEqual(got, []Message{{Type: MessageVote, From: 1, To: 2}}) {
		t.Fatal(got, err)
	}
}

func TestDecodeMessagesRefuses(t *testing.T) {
	good := schema.Message{Type: schema.MessageType_MESSAGE_TYPE_REPLICATE, ShardId: 7, From: 1, To: 2}
	damaged := NewNoOp(7)
	damaged[offTerm] ^= 1
	// change is applied to the second of two messages.
	for _, test := range []struct {
		name   string
		change func(*schema.Message)
		text   string
	}{
		{"no type", func(m *schema.Message) { m.Type = 0 }, fmt.Sprintf("type: missing, want 1 to %d", MessageTypeCount-1)},
		{"unknown type", func(m *schema.Message) { m.Type = 100 }, "type: 100, want 1 to "},
		{"negative type", func(m *schema.Message) { m.Type = -1 }, "type: 18446744073709551615"},
		{"unknown reason", func(m *schema.Message) { m.Reason = 100 }, "reason: 100, want 0 to "},
		{"no sender", func(m *schema.Message) { m.From = 0 }, "from and to: 0 and 2"},
		{"no receiver", func(m *schema.Message) { m.To = 0 }, "from and to: 1 and 0"},
		{"large payload", func(m *schema.Message) { m.Payload = make([]byte, MaxPayloadLength+1) }, "payload: length 1048577, want at most"},
		{"no batch", func(m *schema.Message) { m.Batches = [][]byte{NewNoOp(7), []byte("garbage")} }, "batches[1]: raftpb: bad batch: length: 7"},
		{"damaged header", func(m *schema.Message) { m.Batches = [][]byte{damaged} }, "batches[0]: raftpb: bad batch: header checksum"},
		{"batch of another shard", func(m *schema.Message) { m.Batches = [][]byte{NewNoOp(7), NewNoOp(8)} }, "batches[1]: shard 8, want the message's 7"},
	} {
		t.Run(test.name, func(t *testing.T) {
			bad := proto.Clone(&good).(*schema.Message)
			test.change(bad)
			data, err := proto.Marshal(&schema.MessageBatch{Messages: []*schema.Message{&good, bad}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = DecodeMessages(nil, data)
			if !errors.Is(err, ErrBadMessage) || !strings.Contains(err.Error(), "messages[1]."+test.text) {
				t.Fatalf("error %v, want %q", err, test.text)
			}
			if strings.Contains(test.text, "bad batch") && !errors.Is(err, ErrBadBatch) {
				t.Fatal("error is no ErrBadBatch:", err)
			}
		})
	}
	for _, test := range []struct {
		name string
		data []byte
		text string
	}{
		{"tag", []byte{0x80}, "field 0: field tag is cut off or too long"},
		{"wire type", []byte{0x08, 0x01}, "messages: wire type 0, want 2"},
		{"length", []byte{0x0a, 0x05, 0x00}, "messages: length 5, want at most the 1 bytes left"},
		{"huge length", []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, "messages: length 18446744073709551615"},
		{"missing length", []byte{0x0a}, "messages: varint is cut off"},
		{"fixed64", []byte{0x0a, 0x03, 0x29, 0x00, 0x00}, "messages[0].from_incarnation: cut off"},
		{"inner wire type", []byte{0x0a, 0x02, 0x2a, 0x00}, "messages[0].from_incarnation: wire type 2, want 1"},
		{"end of a group", []byte{0x0a, 0x02, 0xfc, 0x0a}, "messages[0].field 175: unknown field"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if _, err := DecodeMessages(nil, test.data); !errors.Is(err, ErrBadMessage) || !strings.Contains(err.Error(), test.text) {
				t.Fatalf("error %v, want %q", err, test.text)
			}
		})
	}
}
