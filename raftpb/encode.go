package raftpb

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// Numbers of the fields in schema/flotilla.proto. The fields that nearly every message has are below 16, whose tags
// take one byte; random values are fixed64, which as varints would take ten bytes.
const (
	messageType            protowire.Number = 1
	messageShardID         protowire.Number = 2
	messageFrom            protowire.Number = 3
	messageTo              protowire.Number = 4
	messageFromIncarnation protowire.Number = 5
	messageToIncarnation   protowire.Number = 6
	messageFromSession     protowire.Number = 7
	messageToSession       protowire.Number = 8
	messageTerm            protowire.Number = 9
	messageLogIndex        protowire.Number = 10
	messageLogTerm         protowire.Number = 11
	messageCommit          protowire.Number = 12
	messageRequest         protowire.Number = 13
	messageBatches         protowire.Number = 14
	messageTime            protowire.Number = 15
	messageReason          protowire.Number = 16
	messageTransfer        protowire.Number = 17
	messageHintIndex       protowire.Number = 18
	messageHintTerm        protowire.Number = 19
	messagePayload         protowire.Number = 20
	messageBacklog         protowire.Number = 21

	batchMessages protowire.Number = 1
)

// AppendMessages appends the protobuf encoding of a MessageBatch that holds the messages. It is what AppendMessage
// appends for each of them in turn.
func AppendMessages(dst []byte, messages []Message) []byte {
	for i := range messages {
		dst = AppendMessage(dst, &messages[i])
	}
	return dst
}

// AppendMessage appends one record of a MessageBatch, so that a frame grows message by message. Batches and Payload are
// copied. Chunk does not travel.
func AppendMessage(dst []byte, m *Message) []byte {
	dst = appendMessageHead(dst, m)
	for _, batch := range m.Batches {
		dst = appendLength(dst, messageBatches, len(batch))
		dst = append(dst, batch...)
	}
	return appendMessageTail(dst, m)
}

// Splice is a place in encoded messages at which the bytes of a batch or payload were left out: they belong before the byte at
// Offset. Splices are in ascending order of Offset, and several may have the same.
type Splice struct {
	Offset int
	Batch  Batch
}

// AppendMessageSplit appends what AppendMessage would, but leaves out the bytes of each batch and payload that is at least
// threshold bytes long (a batch's header included) and appends a Splice for it instead: small batches are cheaper to copy, large ones are
// cheaper to write by writev from where they are. Offsets count from the beginning of dst, so that one dst and one list
// of splices serve all messages of a frame. AppendBuffers puts both together.
//
// The batches and payloads in splices must stay unchanged until the frame is written (R4).
func AppendMessageSplit(dst []byte, splices []Splice, m *Message, threshold int) ([]byte, []Splice) {
	dst = appendMessageHead(dst, m)
	for _, batch := range m.Batches {
		dst = appendLength(dst, messageBatches, len(batch))
		if len(batch) >= threshold {
			splices = append(splices, Splice{Offset: len(dst), Batch: batch})
		} else {
			dst = append(dst, batch...)
		}
	}
	dst = appendMessageMiddle(dst, m)
	if len(m.Payload) == 0 || len(m.Payload) < threshold {
		return appendMessageEnd(appendPayload(dst, m), m), splices
	}
	dst = appendLength(dst, messagePayload, len(m.Payload))
	splices = append(splices, Splice{Offset: len(dst), Batch: m.Payload})
	return appendMessageEnd(dst, m), splices
}

// AppendBuffers appends the slices, in order, whose concatenation is dst with the batches of splices in their places: the
// very bytes that AppendMessage would have made. They suit net.Buffers. Nothing is copied; empty slices are left out.
func AppendBuffers(buffers [][]byte, dst []byte, splices []Splice) [][]byte {
	written := 0
	for _, splice := range splices {
		if splice.Offset > written {
			buffers = append(buffers, dst[written:splice.Offset])
			written = splice.Offset
		}
		buffers = append(buffers, splice.Batch)
	}
	if written < len(dst) {
		buffers = append(buffers, dst[written:])
	}
	return buffers
}

// MessageSize returns how many bytes AppendMessage appends for m.
func MessageSize(m *Message) int {
	return sizeBytes(batchMessages, messageLength(m))
}

func appendMessageHead(dst []byte, m *Message) []byte {
	dst = appendLength(dst, batchMessages, messageLength(m))
	dst = appendUint(dst, messageType, uint64(m.Type))
	dst = appendUint(dst, messageShardID, m.ShardID)
	dst = appendUint(dst, messageFrom, m.From)
	dst = appendUint(dst, messageTo, m.To)
	dst = appendFixed(dst, messageFromIncarnation, m.FromIncarnation)
	dst = appendFixed(dst, messageToIncarnation, m.ToIncarnation)
	dst = appendFixed(dst, messageFromSession, m.FromSession)
	dst = appendFixed(dst, messageToSession, m.ToSession)
	dst = appendUint(dst, messageTerm, m.Term)
	dst = appendUint(dst, messageLogIndex, m.LogIndex)
	dst = appendUint(dst, messageLogTerm, m.LogTerm)
	dst = appendUint(dst, messageCommit, m.Commit)
	return appendUint(dst, messageRequest, m.Request)
}

func appendMessageTail(dst []byte, m *Message) []byte {
	return appendMessageEnd(appendPayload(appendMessageMiddle(dst, m), m), m)
}

func appendMessageMiddle(dst []byte, m *Message) []byte {
	dst = appendFixed(dst, messageTime, uint64(m.Time))
	dst = appendUint(dst, messageReason, uint64(m.Reason))
	dst = appendBool(dst, messageTransfer, m.Transfer)
	dst = appendUint(dst, messageHintIndex, m.HintIndex)
	return appendUint(dst, messageHintTerm, m.HintTerm)
}

func appendPayload(dst []byte, m *Message) []byte {
	if len(m.Payload) > 0 {
		dst = appendLength(dst, messagePayload, len(m.Payload))
		dst = append(dst, m.Payload...)
	}
	return dst
}

func appendMessageEnd(dst []byte, m *Message) []byte {
	return appendUint(dst, messageBacklog, m.Backlog)
}

// messageLength returns the encoded length of m without the record's tag and length.
func messageLength(m *Message) int {
	length := sizeUint(messageType, uint64(m.Type)) +
		sizeUint(messageShardID, m.ShardID) +
		sizeUint(messageFrom, m.From) +
		sizeUint(messageTo, m.To) +
		sizeFixed(messageFromIncarnation, m.FromIncarnation) +
		sizeFixed(messageToIncarnation, m.ToIncarnation) +
		sizeFixed(messageFromSession, m.FromSession) +
		sizeFixed(messageToSession, m.ToSession) +
		sizeUint(messageTerm, m.Term) +
		sizeUint(messageLogIndex, m.LogIndex) +
		sizeUint(messageLogTerm, m.LogTerm) +
		sizeUint(messageCommit, m.Commit) +
		sizeUint(messageRequest, m.Request) +
		sizeFixed(messageTime, uint64(m.Time)) +
		sizeUint(messageReason, uint64(m.Reason)) +
		sizeUint(messageTransfer, protowire.EncodeBool(m.Transfer)) +
		sizeUint(messageHintIndex, m.HintIndex) +
		sizeUint(messageBacklog, m.Backlog) +
		sizeUint(messageHintTerm, m.HintTerm)
	for _, batch := range m.Batches {
		length += sizeBytes(messageBatches, len(batch))
	}
	if len(m.Payload) > 0 {
		length += sizeBytes(messagePayload, len(m.Payload))
	}
	return length
}
