package raftpb

import (
	"errors"
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
)

// ErrBadMessage says that bytes are no messages. The error names the message by its position, the field, its value and
// what is accepted; for a bad batch inside it is an ErrBadBatch too.
var ErrBadMessage = errors.New("raftpb: bad message")

// MaxPayloadLength is the greatest length in bytes of a message's Payload.
const MaxPayloadLength = 1 << 20

var (
	messageBatchFields = []fieldSpec{batchMessages: {"messages", protowire.BytesType}}

	messageFields = []fieldSpec{
		messageType:            {"type", protowire.VarintType},
		messageShardID:         {"shard_id", protowire.VarintType},
		messageFrom:            {"from", protowire.VarintType},
		messageTo:              {"to", protowire.VarintType},
		messageFromIncarnation: {"from_incarnation", protowire.Fixed64Type},
		messageToIncarnation:   {"to_incarnation", protowire.Fixed64Type},
		messageFromSession:     {"from_session", protowire.Fixed64Type},
		messageToSession:       {"to_session", protowire.Fixed64Type},
		messageTerm:            {"term", protowire.VarintType},
		messageLogIndex:        {"log_index", protowire.VarintType},
		messageLogTerm:         {"log_term", protowire.VarintType},
		messageCommit:          {"commit", protowire.VarintType},
		messageRequest:         {"request", protowire.VarintType},
		messageBatches:         {"batches", protowire.BytesType},
		messageTime:            {"time", protowire.Fixed64Type},
		messageReason:          {"reason", protowire.VarintType},
		messageTransfer:        {"transfer", protowire.VarintType},
		messageHintIndex:       {"hint_index", protowire.VarintType},
		messageHintTerm:        {"hint_term", protowire.VarintType},
		messagePayload:         {"payload", protowire.BytesType},
		messageBacklog:         {"backlog", protowire.VarintType},
	}
)

// Decoder decodes frames of messages into lists that it owns and uses again after Reset, so that in the steady state
// decoding allocates nothing. The zero value is ready. A Decoder is not safe for concurrent use.
//
// Batches and Payload of the messages alias the decoded data: they are valid for as long as the data is left unchanged.
// They keep the data's capacity (they are cut with two indexes, not three), on purpose: cap(chunk) - cap(batch) is the
// offset of a batch within the chunk that it was received in, which is how the log cache finds it without keeping a
// pointer. Nobody may append to them.
type Decoder struct {
	messages []Message
	batches  []Batch
}

// Reset takes back what Decode returned since the last Reset, and drops every reference to decoded data.
func (d *Decoder) Reset() {
	clear(d.messages)
	clear(d.batches)
	d.messages, d.batches = d.messages[:0], d.batches[:0]
}

// Decode returns the messages of data, a MessageBatch. They are valid until Reset; further calls of Decode before that
// add to the lists and leave them alone. After an error, an ErrBadMessage, nothing of data was taken.
//
// Every message has a known type and reason and names both replicas; every batch has a header that ParseBatch accepts and
// the shard of its message. Bodies are not verified. Unknown fields are skipped. Memory grows with the messages and
// batches that are really present, by a small multiple of the length of data.
func (d *Decoder) Decode(data []byte) ([]Message, error) {
	firstMessage, firstBatch := len(d.messages), len(d.batches)
	reader := fieldReader{data: data, specs: messageBatchFields}
	for reader.next() {
		d.messages = append(d.messages, Message{})
		if err := d.decodeMessage(&d.messages[len(d.messages)-1], reader.bytes); err != nil {
			reader.err = fmt.Errorf("messages[%d].%w", len(d.messages)-1-firstMessage, err)
			break
		}
	}
	if reader.err != nil {
		clear(d.messages[firstMessage:])
		clear(d.batches[firstBatch:])
		d.messages, d.batches = d.messages[:firstMessage], d.batches[:firstBatch]
		return nil, fmt.Errorf("%w: %w", ErrBadMessage, reader.err)
	}
	return d.messages[firstMessage:len(d.messages):len(d.messages)], nil
}

// DecodeMessages appends the messages of data to dst; see Decoder.Decode for what is checked and what aliases data. It
// allocates the lists of batches anew: a reader of many frames uses a Decoder.
func DecodeMessages(dst []Message, data []byte) ([]Message, error) {
	decoder := Decoder{messages: dst}
	if _, err := decoder.Decode(data); err != nil {
		return dst, err
	}
	return decoder.messages, nil
}

func (d *Decoder) decodeMessage(m *Message, data []byte) error {
	firstBatch := len(d.batches)
	reader := fieldReader{data: data, specs: messageFields}
	for reader.next() {
		switch protowire.Number(reader.number) {
		case messageBatches:
			batch, err := ParseBatch(reader.bytes)
			if err != nil {
				return fmt.Errorf("batches[%d]: %w", len(d.batches)-firstBatch, err)
			}
			d.batches = append(d.batches, batch)
		case messagePayload:
			if len(reader.bytes) > MaxPayloadLength {
				return fmt.Errorf("payload: length %d, want at most %d", len(reader.bytes), MaxPayloadLength)
			}
			m.Payload = reader.bytes
		default:
			if err := m.setNumber(protowire.Number(reader.number), reader.value); err != nil {
				return err
			}
		}
	}
	if reader.err != nil {
		return reader.err
	}
	// A list that grew meanwhile has left the batches of earlier messages in its old array, where they stay valid.
	if end := len(d.batches); end > firstBatch {
		m.Batches = d.batches[firstBatch:end:end]
	}
	return m.check()
}

// setNumber sets a field that is not a list of bytes.
func (m *Message) setNumber(number protowire.Number, value uint64) error {
	switch number {
	case messageType:
		if value >= uint64(MessageTypeCount) {
			return fmt.Errorf("type: %d, want 1 to %d", value, MessageTypeCount-1)
		}
		m.Type = MessageType(value)
	case messageShardID:
		m.ShardID = value
	case messageFrom:
		m.From = value
	case messageTo:
		m.To = value
	case messageFromIncarnation:
		m.FromIncarnation = value
	case messageToIncarnation:
		m.ToIncarnation = value
	case messageFromSession:
		m.FromSession = value
	case messageToSession:
		m.ToSession = value
	case messageTerm:
		m.Term = value
	case messageLogIndex:
		m.LogIndex = value
	case messageLogTerm:
		m.LogTerm = value
	case messageCommit:
		m.Commit = value
	case messageRequest:
		m.Request = value
	case messageTime:
		m.Time = int64(value)
	case messageReason:
		if value >= uint64(ReasonCount) {
			return fmt.Errorf("reason: %d, want 0 to %d", value, ReasonCount-1)
		}
		m.Reason = Reason(value)
	case messageTransfer:
		m.Transfer = protowire.DecodeBool(value)
	case messageHintIndex:
		m.HintIndex = value
	case messageHintTerm:
		m.HintTerm = value
	case messageBacklog:
		m.Backlog = value
	}
	return nil
}

// check looks at what only the whole message shows.
func (m *Message) check() error {
	if m.Type == 0 {
		return fmt.Errorf("type: missing, want 1 to %d", MessageTypeCount-1)
	}
	if m.From == 0 || m.To == 0 {
		return fmt.Errorf("from and to: %d and %d, want replica IDs other than 0", m.From, m.To)
	}
	for i, batch := range m.Batches {
		if batch.ShardID() != m.ShardID {
			return fmt.Errorf("batches[%d]: shard %d, want the message's %d", i, batch.ShardID(), m.ShardID)
		}
	}
	return nil
}
